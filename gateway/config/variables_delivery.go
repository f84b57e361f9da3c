package config

import (
	"fmt"
	"strings"
	"time"
)

func mailPolicyVariables() []Variable {
	return area("Mail", "core.md 13.7",
		setting("GOTRUE_MAILER_AUTOCONFIRM", Bool, "false", "new email addresses count as confirmed"),
		setting("GOTRUE_MAILER_ALLOW_UNVERIFIED_EMAIL_SIGN_INS", Bool, "false",
			"identity providers may bring unconfirmed addresses; not together with GOTRUE_MAILER_AUTOCONFIRM"),
		setting("GOTRUE_MAILER_SECURE_EMAIL_CHANGE_ENABLED", Bool, "true", "a changed address is confirmed from the old one too"),
		setting("GOTRUE_MAILER_OTP_EXP", Int, "86400", "life of links and codes in seconds; 0 is the default").
			with(lifeOr(86400)).from("core.md 7.3"),
		setting("GOTRUE_MAILER_OTP_LENGTH", Int, "6", "digits of a code, 6 to 10; other numbers mean 6").
			with(parseCodeLength).from("core.md 7.1"),
		setting("GOTRUE_SMTP_MAX_FREQUENCY", Duration, "1m", "time between two mails to one user; 0 is the default").
			with(parseFrequency).from("core.md 7.3"),
	)
}

func mailDeliveryVariables() []Variable {
	return area("Mail", "core.md 13.7",
		process("GOTRUE_MAILER_EXTERNAL_HOSTS", List, "", "hosts of X-Forwarded-Host that links may name",
			func(c *Config) *[]string { return &c.MailerExternalHosts }).from("core.md 9.4"),
		process("POSTERN_VERIFY_CONFIRM_PAGE", Bool, "false", "links in mails open a page with a button, so that no scanner uses them up",
			func(c *Config) *bool { return &c.VerifyConfirmPage }).from("Postern"),
		idle("GOTRUE_MAILER_EMAIL_BACKGROUND_SENDING", "mails always leave through the outbox, after the request"),
		process("GOTRUE_MAILER_EMAIL_VALIDATION_EXTENDED", Bool, "false", "refuse addresses that cannot receive mail",
			func(c *Config) *bool { return &c.EmailValidation.Extended }).from("mfa-hooks.md 6.3"),
		process("GOTRUE_MAILER_EMAIL_VALIDATION_SERVICE_URL", URL, "", "service that judges addresses",
			func(c *Config) *string { return &c.EmailValidation.ServiceURL }).with(parseServiceURL).from("mfa-hooks.md 6.3"),
		process("GOTRUE_MAILER_EMAIL_VALIDATION_SERVICE_HEADERS", JSON, "", "headers for it: names and lists of values",
			func(c *Config) *SecretHeaders { return &c.EmailValidation.ServiceHeaders }).
			secret().with(parseSecretHeaders).from("mfa-hooks.md 6.3"),
		process("GOTRUE_MAILER_EMAIL_VALIDATION_BLOCKED_MX", JSON, "", "list of mail hosts that the extended validation refuses",
			func(c *Config) *[]string { return &c.EmailValidation.BlockedMX }).with(parseHosts).from("mfa-hooks.md 6.3"),
		process("GOTRUE_MAILER_TEMPLATE_MAX_SIZE", Int, "1000000", "longest template in bytes",
			func(c *Config) *int { return &c.MailerTemplateMaxSize }).with(sizeOr(1_000_000)).from("core.md 9.3"),
		process("GOTRUE_MAILER_TEMPLATE_MAX_AGE", Duration, "10m", "a template is loaded again after this",
			func(c *Config) *time.Duration { return &c.MailerTemplateMaxAge }).with(durationOr(10*time.Minute)).from("core.md 9.3"),
		process("GOTRUE_MAILER_TEMPLATE_RETRY_INTERVAL", Duration, "10s", "wait after a failed load",
			func(c *Config) *time.Duration { return &c.MailerTemplateRetryInterval }).with(durationOr(10*time.Second)).from("core.md 9.3"),
		process("POSTERN_TEMPLATES_DIR", Text, "", "folder of templates in several languages: `<language>/<kind>.html`, and `<language>/<kind>.subject` with the subject",
			func(c *Config) *string { return &c.TemplatesDir }).from("Postern"),
		later("GOTRUE_MAILER_TEMPLATE_RELOADING_ENABLED", Bool, "false", "load templates before they are needed").from("core.md 9.3"),
		later("GOTRUE_MAILER_TEMPLATE_RELOADING_MAX_IDLE", Duration, "20m", "stop that without mail").from("core.md 9.3"),
	)
}

// mailContentVariables are those of each kind of mail.
func mailContentVariables() []Variable {
	events := []string{
		"PASSWORD_CHANGED", "EMAIL_CHANGED", "PHONE_CHANGED", "IDENTITY_LINKED", "IDENTITY_UNLINKED", "MFA_FACTOR_ENROLLED",
		"MFA_FACTOR_UNENROLLED",
	}
	kinds := []string{"CONFIRMATION", "INVITE", "RECOVERY", "EMAIL_CHANGE", "MAGIC_LINK", "REAUTHENTICATION"}
	for _, event := range events {
		kinds = append(kinds, event+"_NOTIFICATION")
	}
	linked, others := kinds[:4], kinds[4:] // with a path of their own for the link, and without
	var rows []Variable
	for _, kind := range kinds {
		rows = append(rows, entry("GOTRUE_MAILER_SUBJECTS_"+kind, Text, "", "subject of a mail, a template too; empty is the built-in one",
			strings.ToLower(kind), func(c *Config) *map[string]string { return &c.MailerSubjects }).family("GOTRUE_MAILER_SUBJECTS_<KIND>"))
	}
	for _, kind := range kinds {
		rows = append(rows, entry("GOTRUE_MAILER_TEMPLATES_"+kind, Text, "",
			"template of a mail: its text, a file, or a URL (a path is below the site's); empty is the built-in one",
			strings.ToLower(kind), func(c *Config) *map[string]string { return &c.MailerTemplates }).family("GOTRUE_MAILER_TEMPLATES_<KIND>"))
	}
	for _, kind := range linked {
		rows = append(rows, entry("GOTRUE_MAILER_URLPATHS_"+kind, Text, "/verify",
			"path of the link in a mail, below the host of API_EXTERNAL_URL; sign-in links use that of RECOVERY",
			strings.ToLower(kind), func(c *Config) *map[string]string { return &c.MailerURLPaths }).
			with(parseURLPath).family("GOTRUE_MAILER_URLPATHS_<LINK>").from("core.md 9.4"))
	}
	for _, kind := range others {
		rows = append(rows, idle("GOTRUE_MAILER_URLPATHS_"+kind, "unused, in the reference too").family("GOTRUE_MAILER_URLPATHS_<OTHER>"))
	}
	for _, event := range events {
		rows = append(rows, setting("GOTRUE_MAILER_NOTIFICATIONS_"+event+"_ENABLED", Bool, "false", "tell the user by mail").
			family("GOTRUE_MAILER_NOTIFICATIONS_<EVENT>_ENABLED"))
	}
	return area("Mail", "core.md 9.1", rows...)
}

func smtpVariables() []Variable {
	first := func(c *Config) *SMTPRelay { return &c.SMTP }
	rows := append(relayVariables("GOTRUE_SMTP_", "relay; empty drops mails, unless there is a fallback", first),
		process("GOTRUE_SMTP_HEADERS", JSON, "", "extra headers: names and lists of values; `$messageType` in them is the kind of mail",
			func(c *Config) *map[string][]string { return &c.SMTPHeaders }).with(parseHeaders),
		process("GOTRUE_SMTP_LOGGING_ENABLED", Bool, "false", "log each mail", func(c *Config) *bool { return &c.SMTPLogging }))
	return area("SMTP", "core.md 9.5", rows...)
}

// smtpFallbackVariables are those of the relays that mails go to while the ones before them are down.
func smtpFallbackVariables() []Variable {
	var rows []Variable
	for i := range (&Config{}).SMTPFallbacks {
		prefix := fmt.Sprintf("POSTERN_SMTP_FALLBACK_%d_", i+1)
		for _, row := range relayVariables(prefix, "relay for mails that those before it do not take",
			func(c *Config) *SMTPRelay { return &c.SMTPFallbacks[i] }) {
			rows = append(rows, row.family("POSTERN_SMTP_FALLBACK_<N>_"+strings.TrimPrefix(row.Name, prefix)))
		}
	}
	return area("SMTP", "Postern", rows...)
}

func relayVariables(prefix, host string, relay func(*Config) *SMTPRelay) []Variable {
	sender, name := "sender", "name of the sender"
	if strings.HasPrefix(prefix, "POSTERN_") {
		sender, name = "sender; empty is that of GOTRUE_SMTP_ADMIN_EMAIL", "name of the sender; empty is that of GOTRUE_SMTP_SENDER_NAME"
	}
	return []Variable{
		process(prefix+"HOST", Text, "", host, func(c *Config) *string { return &relay(c).Host }),
		process(prefix+"PORT", Int, "587", "its port; 465 is TLS from the start", func(c *Config) *int { return &relay(c).Port }).
			with(intBetween(1, 65535)),
		process(prefix+"USER", Text, "", "user at the relay", func(c *Config) *string { return &relay(c).User }),
		process(prefix+"PASS", Text, "", "password at the relay", func(c *Config) *Secret { return &relay(c).Pass }).
			secret().with(parseSecret),
		process(prefix+"ADMIN_EMAIL", Text, "", sender, func(c *Config) *string { return &relay(c).AdminEmail }).with(parseSender),
		process(prefix+"SENDER_NAME", Text, "", name, func(c *Config) *string { return &relay(c).SenderName }),
	}
}

func smsVariables() []Variable {
	return area("SMS", "core.md 13.8",
		setting("GOTRUE_SMS_AUTOCONFIRM", Bool, "false", "new phone numbers count as confirmed"),
		process("GOTRUE_SMS_PROVIDER", Text, "", "`twilio`, `twilio_verify`, `messagebird`, `textlocal` or `vonage`",
			func(c *Config) *string { return &c.SMSProvider }),
		setting("GOTRUE_SMS_OTP_EXP", Int, "60", "life of a code in seconds; 0 is the default").with(lifeOr(60)).from("core.md 7.3"),
		setting("GOTRUE_SMS_OTP_LENGTH", Int, "6", "digits of a code, 6 to 10; other numbers mean 6").
			with(parseCodeLength).from("core.md 7.1"),
		setting("GOTRUE_SMS_MAX_FREQUENCY", Duration, "1m", "time between two SMS to one user; 0 is the default").
			with(parseFrequency).from("core.md 7.3"),
		process("GOTRUE_SMS_TEMPLATE", Text, "Your code is {{ .Code }}", "text of the SMS",
			func(c *Config) *string { return &c.SMSTemplate }).with(textOr("Your code is {{ .Code }}")),
		setting("GOTRUE_SMS_TEST_OTP", Map, "", "codes of numbers for tests, to which nothing is sent").
			secret().with(parseTestCodes).from("core.md 11.3"),
		setting("GOTRUE_SMS_TEST_OTP_VALID_UNTIL", Time, "", "end of that; empty is never").from("core.md 11.3"),
	)
}

func smsProviderVariables() []Variable {
	credential := func(name, meaning string) Variable {
		return entry("GOTRUE_SMS_"+name, Text, "", meaning, strings.ToLower(name),
			func(c *Config) *map[string]Secret { return &c.SMSCredentials }).with(parseSecret)
	}
	return area("SMS", "mfa-hooks.md 9.3",
		credential("TWILIO_ACCOUNT_SID", "account"),
		credential("TWILIO_AUTH_TOKEN", "key").secret(),
		credential("TWILIO_MESSAGE_SERVICE_SID", "service or number that sends"),
		credential("TWILIO_CONTENT_SID", "template for WhatsApp"),
		credential("TWILIO_VERIFY_ACCOUNT_SID", "account"),
		credential("TWILIO_VERIFY_AUTH_TOKEN", "key").secret(),
		credential("TWILIO_VERIFY_MESSAGE_SERVICE_SID", "service that sends"),
		credential("MESSAGEBIRD_ACCESS_KEY", "key").secret(),
		credential("MESSAGEBIRD_ORIGINATOR", "sender"),
		credential("VONAGE_API_KEY", "account").secret(),
		credential("VONAGE_API_SECRET", "key").secret(),
		credential("VONAGE_FROM", "sender"),
		credential("TEXTLOCAL_API_KEY", "key").secret(),
		credential("TEXTLOCAL_SENDER", "sender"),
	)
}
