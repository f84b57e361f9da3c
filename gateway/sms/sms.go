// Package sms sends codes by SMS and WhatsApp through the providers that Supabase
// Auth knows (mfa-hooks.md 4.6).
package sms

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/postern-auth/postern/gateway/config"
)

const (
	defaultTimeout  = 10 * time.Second
	defaultTemplate = "Your code is {{ .Code }}"
	channelSMS      = "sms"
	channelWhatsApp = "whatsapp"
)

// ErrUnusable is what errors.Is finds when there is no provider to send with: none
// is configured, or what it needs is not set. The error's text names the variable.
// Such errors come from sending and not from New, as in the reference.
var ErrUnusable = errors.New("no usable SMS provider")

// Settings say how to send.
type Settings struct {
	// Provider is the value of GOTRUE_SMS_PROVIDER; empty is none.
	Provider string
	// Values are the provider's variables: name without GOTRUE_SMS_, in lower case, to value.
	Values map[string]config.Secret
	// BaseURL replaces scheme and host of the provider's address; empty is the provider's own.
	BaseURL string
	// Timeout is the limit of a call; 0 is 10 s.
	Timeout time.Duration
	// Template is the text, with {{ .Code }}; empty is the reference's.
	Template string
	// TemplateName is the variable that holds the text, for errors.
	TemplateName string
}

// Sender sends codes. It is safe for concurrent use.
type Sender struct {
	name     string
	text     *template.Template
	variable string // that holds the text
	provider provider
	unusable error // why provider is nil
	// Masks the keys in a text. A function and not the keys: fmt cannot look into it.
	mask func(text string) string
}

// message is what a provider is handed.
type message struct {
	phone   string // digits
	channel string
	code    string
	text    string
}

// provider is one vendor's API.
type provider interface {
	send(ctx context.Context, m message) (id string, err error)
}

// checker is a provider that makes and checks the codes itself.
type checker interface {
	check(ctx context.Context, phone, code string) (bool, error)
}

// New makes a sender. An error names the variable to correct.
func New(s Settings) (*Sender, error) {
	sender := &Sender{name: s.Provider, variable: s.TemplateName}
	if s.Provider == "" {
		sender.unusable = fmt.Errorf("%w: GOTRUE_SMS_PROVIDER is not set", ErrUnusable)
		return sender, nil
	}
	if s.Template == "" {
		s.Template = defaultTemplate
	}
	text, err := template.New("text").Parse(s.Template)
	if err == nil {
		err = text.Execute(new(strings.Builder), content{Code: "123456"})
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.TemplateName, err)
	}
	sender.text = text
	base, err := parseBase(s.BaseURL)
	if err != nil {
		return nil, err
	}
	sender.provider, sender.unusable = choose(s, newVendor(s, base))
	sender.mask = masker(s.Values)
	return sender, nil
}

// Unusable says why nothing can be sent, and is nil where a provider is ready.
func (s *Sender) Unusable() error { return s.unusable }

func masker(values map[string]config.Secret) func(string) string {
	var pairs []string
	for name, value := range values {
		if secret(name) && value.Reveal() != "" {
			pairs = append(pairs, value.Reveal(), masked)
		}
	}
	return strings.NewReplacer(pairs...).Replace
}

func parseBase(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	base, err := url.Parse(text)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, errors.New("base URL of the SMS provider: not an address of http or https")
	}
	return base, nil
}

func newVendor(s Settings, base *url.URL) *vendor {
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	client := &http.Client{
		// What is sent holds codes and keys: it goes to the configured address or nowhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &vendor{client: client, base: base, timeout: timeout}
}

// choose makes the provider, or says why it cannot be used.
func choose(s Settings, v *vendor) (provider, error) {
	var missing string
	need := func(name string) string {
		value := s.Values[name].Reveal()
		if value == "" && missing == "" {
			missing = "GOTRUE_SMS_" + strings.ToUpper(name)
		}
		return value
	}
	var made provider
	v.name = s.Provider
	switch s.Provider {
	case "twilio":
		made = &twilio{
			vendor: v, account: need("twilio_account_sid"), token: need("twilio_auth_token"),
			from: need("twilio_message_service_sid"), content: s.Values["twilio_content_sid"].Reveal(),
		}
	case "twilio_verify":
		v.name = "twilio" // one vendor, one kind of error text
		made = &twilioVerify{
			vendor: v, account: need("twilio_verify_account_sid"), token: need("twilio_verify_auth_token"),
			service: need("twilio_verify_message_service_sid"),
		}
	case "messagebird":
		made = &messageBird{vendor: v, key: need("messagebird_access_key"), originator: need("messagebird_originator")}
	case "vonage":
		made = &vonage{vendor: v, key: need("vonage_api_key"), secret: need("vonage_api_secret"), from: need("vonage_from")}
	case "textlocal":
		made = &textLocal{vendor: v, key: need("textlocal_api_key"), sender: need("textlocal_sender")}
	default:
		return nil, fmt.Errorf("%w: GOTRUE_SMS_PROVIDER is none of twilio, twilio_verify, messagebird, vonage and textlocal", ErrUnusable)
	}
	if missing != "" {
		return nil, fmt.Errorf("%w: %s is not set", ErrUnusable, missing)
	}
	return made, nil
}

// secret tells the variables whose values must never be seen from those that only
// name an account or a sender.
func secret(name string) bool {
	return strings.HasSuffix(name, "_token") || strings.HasSuffix(name, "_key") || strings.HasSuffix(name, "_secret")
}

// content is what a template may use.
type content struct{ Code string }

// Text returns what the SMS with a code says.
func (s *Sender) Text(code string) (string, error) {
	if s.text == nil {
		return "", s.unusable
	}
	var text strings.Builder
	if err := s.text.Execute(&text, content{Code: code}); err != nil {
		return "", fmt.Errorf("%s: %w", s.variable, err)
	}
	return text.String(), nil
}

// Channels are those that the provider knows (mfa-hooks.md 4.3); without one there is SMS, for hooks and tests.
func (s *Sender) Channels() []string {
	if s != nil && (s.name == "twilio" || s.name == "twilio_verify") {
		return []string{channelSMS, channelWhatsApp}
	}
	return []string{channelSMS}
}

// Send sends a code to a phone, whose number begins with the country's; an empty
// channel is sms. The id is the vendor's, if it gives one. An error is a *Failure,
// whose text is the vendor's, or an ErrUnusable.
func (s *Sender) Send(ctx context.Context, phone, channel, code string) (string, error) {
	if s.provider == nil {
		return "", s.unusable
	}
	if channel == "" {
		channel = channelSMS
	}
	if !slices.Contains(s.Channels(), channel) {
		return "", &Failure{Text: fmt.Sprintf("channel type %q is not supported", channel)}
	}
	text, err := s.Text(code)
	if err != nil {
		return "", err
	}
	id, err := s.provider.send(ctx, message{phone: strings.TrimPrefix(phone, "+"), channel: channel, code: code, text: text})
	if err != nil {
		return "", s.fit(err, code)
	}
	return tidy(id, 255), nil
}

// ChecksCodes says whether the provider makes the codes and checks them: then the
// code given to Send means nothing, and Check decides.
func (s *Sender) ChecksCodes() bool { return s.name == "twilio_verify" }

// Check asks the provider whether the code is the one it sent to the phone. Both
// false and an error mean that it was not accepted; the error is for the log.
func (s *Sender) Check(ctx context.Context, phone, code string) (bool, error) {
	if s.provider == nil {
		return false, s.unusable
	}
	asked, ok := s.provider.(checker)
	if !ok {
		return false, fmt.Errorf("%w: %s does not check codes", ErrUnusable, s.name)
	}
	valid, err := asked.check(ctx, strings.TrimPrefix(phone, "+"), code)
	if err != nil {
		return false, s.fit(err, code)
	}
	return valid, nil
}
