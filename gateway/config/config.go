// Package config reads the environment: which variables there are, what they mean, and what this process was told.
//
// What an operator decides about accounts (expiries, limits, what is enabled) lives in auth.settings and only passes through
// here, as Config.Policy. What belongs to one process (ports, keys, addresses) is a field of Config.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Config is what the environment says about this process.
type Config struct {
	Host        string // address to listen on; "" is all
	Port        int    // 0 lets the system choose
	ExternalURL string // as the environment spells it; http or https, with a host

	RequestIDHeader    string        // "" means that ids are made here
	MaxRequestDuration time.Duration // 0 is off
	CORSAllowedHeaders []string      // beyond the built-in ones
	SCIMEnabled        bool

	DatabaseURL Secret
	PoolSize    int           // at least 1
	PoolWait    time.Duration // positive

	JWTSecret       Secret
	JWTKeys         Secret // a JSON array, or ""
	JWTKeyID        string
	JWTValidMethods []string // empty means those of the keys
	TokenKeys       []Secret // newest first; empty means derived from JWTSecret

	RateLimitHeader string   // "" means that nobody is limited
	TrustedProxies  []string // networks and addresses, as clientip.Parse takes them; empty believes headers as they come
	SbForwardedFor  bool

	SMTP          SMTPRelay
	SMTPFallbacks [2]SMTPRelay        // tried after SMTP; Relays puts them together
	SMTPHeaders   map[string][]string // for every mail; $messageType in a value is the kind of the mail
	SMTPLogging   bool                // log each mail

	// By kind of mail in lower case, such as "confirmation" or "password_changed_notification".
	MailerSubjects  map[string]string // only those that are set
	MailerTemplates map[string]string // only those that are set
	MailerURLPaths  map[string]string // confirmation, invite, recovery (for magic_link too) and email_change

	MailerExternalHosts         []string
	MailerTemplateMaxSize       int // bytes
	MailerTemplateMaxAge        time.Duration
	MailerTemplateRetryInterval time.Duration
	TemplatesDir                string // <language>/<kind>.html below it; "" is one language
	VerifyConfirmPage           bool

	EmailValidation EmailValidation

	SMSProvider      string            // shown by /settings
	SMSCredentials   map[string]Secret // by name without GOTRUE_SMS_ in lower case, such as "twilio_auth_token"; only those that are set
	SMSTemplate      string
	MFAPhoneTemplate string
	HTTPTimeout      time.Duration // for calls to SMS providers

	HookSecrets map[string]Secret // by point in lower case, such as "send_sms": a list separated by |; only those that are set

	CaptchaProvider string // judged only when the environment switches captchas on
	CaptchaSecret   Secret
	CaptchaTimeout  time.Duration

	HIBPEnabled    bool
	HIBPFailClosed bool
	HIBPUserAgent  string

	SAMLEnabled    bool // shown by /settings
	PasskeyEnabled bool // shown by /settings

	LogLevel slog.Level

	// Policy holds the columns of auth.settings whose variables are set, with values that encode to JSON as the columns
	// take them: a duration is a text such as "90 seconds", a list is a []string.
	Policy map[string]any

	// Notices are lines for the log: what was accepted but will not act, and what is weak. They hold no values.
	Notices []string
}

// Load reads an environment in the form of os.Environ; of a name that stands there twice the last one counts. The error joins
// one line per mistake, each beginning with the name of the variable; no line holds the value of a secret.
func Load(environ []string) (*Config, error) {
	l := &loader{
		environment: environment(environ),
		config:      &Config{Policy: map[string]any{}},
		values:      map[string]any{},
		noticed:     map[string]bool{},
	}
	variables := Variables()
	for _, v := range variables {
		l.read(v)
	}
	l.checkAutoconfirm()
	l.checkHooks()
	l.checkCaptcha()
	l.noticeSender()
	l.noticeWeakSecret()
	l.noticeUnknown(variables)
	if err := errors.Join(l.mistakes...); err != nil {
		return nil, err
	}
	return l.config, nil
}

// DatabaseURL reads the database's address alone, for the commands that need nothing else. Its mistakes are those of Load.
func DatabaseURL(environ []string) (Secret, error) {
	l := &loader{environment: environment(environ), config: &Config{}, values: map[string]any{}, noticed: map[string]bool{}}
	l.read(databaseURL())
	if err := errors.Join(l.mistakes...); err != nil {
		return "", err
	}
	return l.config.DatabaseURL, nil
}

type loader struct {
	environment map[string]string
	config      *Config
	values      map[string]any // what was set, by Variable.Name, parsed
	mistakes    []error
	noticed     map[string]bool
}

func environment(environ []string) map[string]string {
	set := make(map[string]string, len(environ))
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			set[name] = value
		}
	}
	return set
}

// read takes one variable from the environment or from its default into the configuration.
func (l *loader) read(v Variable) {
	name, text, set := l.lookup(v)
	if !set {
		l.absent(v)
		return
	}
	if v.Required && text == "" {
		l.mistake(name, errors.New("required, but empty"))
		return
	}
	if v.Where == Settings && !utf8.ValidString(text) {
		l.mistake(name, errors.New("not valid UTF-8"))
		return
	}
	value, err := v.parse(text)
	if reason, ok := errors.AsType[ignored](err); ok {
		l.notice(name, reason.Error())
		return
	}
	if err != nil {
		l.mistake(name, err)
		return
	}
	l.values[v.Name] = value
	if v.apply != nil {
		v.apply(l.config, value)
	}
	// Switched off or empty asks for nothing, so there is nothing to warn about.
	if v.notice != "" && text != "" && value != false {
		l.notice(name, v.notice)
	}
}

// absent handles a variable that is not set. Defaults of settings are not applied: they belong to the database, where
// somebody may have changed them.
func (l *loader) absent(v Variable) {
	if v.Required {
		text := "required, but not set"
		if len(v.Aliases) > 0 {
			text += " (also read as " + strings.Join(v.Aliases, ", ") + ")"
		}
		l.mistake(v.Name, errors.New(text))
		return
	}
	if v.Default == "" || v.Where != Process || v.apply == nil {
		return
	}
	value, err := v.parse(v.Default)
	if err != nil {
		l.mistake(v.Name, fmt.Errorf("default: %w", err))
		return
	}
	v.apply(l.config, value)
}

// lookup finds the spelling that counts. A prefixed one wins even when it is empty, as in the reference.
func (l *loader) lookup(v Variable) (name, value string, set bool) {
	for _, name := range v.spellings() {
		if value, ok := l.environment[name]; ok {
			return name, value, true
		}
	}
	return v.Name, "", false
}

// spelled returns the name under which the operator set the variable.
func (l *loader) spelled(v Variable) string {
	name, _, _ := l.lookup(v)
	return name
}

func (l *loader) mistake(name string, err error) {
	l.mistakes = append(l.mistakes, fmt.Errorf("%s: %w", name, err))
}

// notice keeps one line per name: a shared name such as SECRETS serves several variables.
func (l *loader) notice(name, text string) {
	if !l.noticed[name] {
		l.noticed[name] = true
		l.config.Notices = append(l.config.Notices, name+": "+text)
	}
}

// checkAutoconfirm refuses the pair that would let anybody sign in to an account by claiming its address (core.md 13.7).
func (l *loader) checkAutoconfirm() {
	const unverified, autoconfirm = "GOTRUE_MAILER_ALLOW_UNVERIFIED_EMAIL_SIGN_INS", "GOTRUE_MAILER_AUTOCONFIRM"
	if l.values[unverified] == true && l.values[autoconfirm] == true {
		l.mistake(unverified, errors.New("cannot be true together with "+autoconfirm))
	}
}

func (l *loader) noticeWeakSecret() {
	if secret := l.config.JWTSecret; secret != "" && len(secret) < minKeyLength {
		l.notice("GOTRUE_JWT_SECRET", fmt.Sprintf("shorter than %d bytes: whoever guesses it can sign tokens for any account", minKeyLength))
	}
}

// noticeUnknown names what stands in our name spaces and is read by nobody: usually a typing error.
func (l *loader) noticeUnknown(variables []Variable) {
	known := map[string]bool{}
	var names []string
	for _, v := range variables {
		for _, name := range v.spellings() {
			if !known[name] {
				known[name] = true
				names = append(names, name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.environment)) {
		if !ours(name) || known[name] {
			continue
		}
		text := "not a variable that Postern knows"
		if near := nearest(name, names); near != "" {
			text += "; did you mean " + near + "?"
		}
		// Quoted and unquoted, so that a name with a line break in it stays on its line.
		l.notice(strings.Trim(strconv.Quote(name), `"`), text)
	}
}
