package config

import (
	"cmp"
	"errors"
	"strings"
)

// SMTPRelay is one server that mails are handed to.
type SMTPRelay struct {
	Host       string // "" is no relay
	Port       int    // 465 is TLS from the start
	User       string // "" is no authentication
	Pass       Secret
	AdminEmail string // sender
	SenderName string
}

// Relays returns the relays that have a host, in the order in which they are tried. A fallback without a sender of its own sends
// as the first one does. Without relays mails are dropped (core.md 9.5).
func (c *Config) Relays() []SMTPRelay {
	var relays []SMTPRelay
	for _, relay := range append([]SMTPRelay{c.SMTP}, c.SMTPFallbacks[:]...) {
		if relay.Host == "" {
			continue
		}
		relay.AdminEmail = cmp.Or(relay.AdminEmail, c.SMTP.AdminEmail)
		relay.SenderName = cmp.Or(relay.SenderName, c.SMTP.SenderName)
		relays = append(relays, relay)
	}
	return relays
}

// EmailValidation says how addresses are judged before mail goes to them (mfa-hooks.md 6.3).
type EmailValidation struct {
	Extended       bool
	ServiceURL     string // "" is no service
	ServiceHeaders SecretHeaders
	BlockedMX      []string
}

// checkCaptcha judges provider and secret only when the environment switches captchas on, as the reference does.
func (l *loader) checkCaptcha() {
	if l.values["GOTRUE_SECURITY_CAPTCHA_ENABLED"] != true {
		return
	}
	if provider := l.config.CaptchaProvider; provider != "hcaptcha" && provider != "turnstile" {
		l.mistake("GOTRUE_SECURITY_CAPTCHA_PROVIDER", errors.New("unsupported captcha provider: "+shown(provider)))
	}
	if strings.TrimSpace(l.config.CaptchaSecret.Reveal()) == "" {
		l.mistake("GOTRUE_SECURITY_CAPTCHA_SECRET", errors.New("captcha provider secret is empty"))
	}
}

// noticeSender warns of relays that would refuse every mail.
func (l *loader) noticeSender() {
	for _, relay := range l.config.Relays() {
		if relay.AdminEmail == "" {
			l.notice("GOTRUE_SMTP_ADMIN_EMAIL", "not set, but a mail relay is: mails need a sender")
		}
	}
}
