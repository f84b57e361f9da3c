// Package captcha asks hCaptcha or Turnstile whether a request's captcha was solved (mfa-hooks.md 6.1).
package captcha

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/postern-auth/postern/gateway/config"
)

// maxAnswer is far more than the providers answer, in bytes.
const maxAnswer = 64 << 10

// noToken is what stands in place of the provider's codes when there was nothing to ask about.
const noToken = "no captcha_token found" //nolint:gosec // G101: a wire message

// Refused says that the captcha was not solved. Error returns the message of the wire: 400 captcha_failed.
type Refused struct {
	Codes []string // of the provider
}

func (r *Refused) Error() string {
	return "captcha protection: request disallowed (" + strings.Join(r.Codes, ", ") + ")"
}

// Unavailable says that nobody could tell whether the captcha was solved. Error returns the message of the wire: 500
// unexpected_failure; the cause is for the log, and holds neither the token nor the secret.
type Unavailable struct {
	Cause error
}

func (*Unavailable) Error() string { return "captcha verification process failed" }

func (u *Unavailable) Unwrap() error { return u.Cause }

// Verifier asks one provider. It is safe for concurrent use.
type Verifier struct {
	address string
	secret  config.Secret
	client  *http.Client
}

// New makes a Verifier for hcaptcha or turnstile. A timeout of 0 is none of its own; baseURL stands in place of the provider's
// scheme and host, "" for the provider itself.
func New(provider string, secret config.Secret, timeout time.Duration, baseURL string) (*Verifier, error) {
	host, path := "", ""
	switch provider {
	case "hcaptcha":
		host, path = "https://hcaptcha.com", "/siteverify"
	case "turnstile":
		host, path = "https://challenges.cloudflare.com", "/turnstile/v0/siteverify"
	default:
		return nil, fmt.Errorf("unsupported captcha provider: %s", provider)
	}
	if strings.TrimSpace(secret.Reveal()) == "" {
		return nil, errors.New("captcha provider secret is empty")
	}
	if baseURL != "" {
		host = strings.TrimSuffix(baseURL, "/")
	}
	return &Verifier{address: host + path, secret: secret, client: &http.Client{
		Timeout: timeout,
		// The form with the secret goes to the provider and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Verify returns nil for a solved captcha, else a *Refused or an *Unavailable. A blank token is refused without asking;
// remoteIP is the client's address, "" when unknown.
func (v *Verifier) Verify(ctx context.Context, token, remoteIP string) error {
	token = strings.TrimSpace(token)
	if token == "" {
		return &Refused{Codes: []string{noToken}}
	}
	form := url.Values{"secret": {v.secret.Reveal()}, "response": {token}}
	if remoteIP != "" {
		form.Set("remoteip", remoteIP)
	}
	answer, err := v.ask(ctx, form)
	if err != nil {
		return &Unavailable{Cause: err}
	}
	if !answer.Success {
		return &Refused{Codes: answer.Codes}
	}
	return nil
}

type answer struct {
	Success bool     `json:"success"`
	Codes   []string `json:"error-codes"`
}

// ask reads the answer whatever its status is, as the reference does: both providers explain refusals in it.
func (v *Verifier) ask(ctx context.Context, form url.Values) (answer, error) {
	var a answer
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, v.address, strings.NewReader(form.Encode()))
	if err != nil {
		return a, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := v.client.Do(request)
	if err != nil {
		return a, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return a, fmt.Errorf("reading the provider's answer: %w", err)
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return a, fmt.Errorf("the provider's answer with status %d is not the expected JSON: %w", response.StatusCode, err)
	}
	return a, nil
}
