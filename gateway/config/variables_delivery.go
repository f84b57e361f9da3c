package config

import "math"

func mailPolicyVariables() []Variable {
	return area("Mail", "core.md 13.7",
		setting("GOTRUE_MAILER_AUTOCONFIRM", Bool, "false", "new email addresses count as confirmed"),
		setting("GOTRUE_MAILER_ALLOW_UNVERIFIED_EMAIL_SIGN_INS", Bool, "false",
			"identity providers may bring unconfirmed addresses; not together with GOTRUE_MAILER_AUTOCONFIRM"),
		setting("GOTRUE_MAILER_SECURE_EMAIL_CHANGE_ENABLED", Bool, "true", "a changed address is confirmed from the old one too"),
	)
}

func mailDeliveryVariables() []Variable {
	return area("Mail", "core.md 13.7",
		later("GOTRUE_MAILER_OTP_EXP", Int, "86400", "life of links and codes in seconds").with(intBetween(0, math.MaxInt)),
		later("GOTRUE_MAILER_OTP_LENGTH", Int, "6", "digits of a code, 6 to 10"),
		later("GOTRUE_MAILER_EXTERNAL_HOSTS", List, "", "hosts of X-Forwarded-Host that links may name").from("external.md 11.4"),
		later("GOTRUE_MAILER_EMAIL_BACKGROUND_SENDING", Bool, "false", "send while the request goes on"),
		later("GOTRUE_MAILER_EMAIL_VALIDATION_EXTENDED", Bool, "false", "refuse addresses that cannot receive mail").from("mfa-hooks.md 6.3"),
		later("GOTRUE_MAILER_EMAIL_VALIDATION_SERVICE_URL", Text, "", "service that judges addresses").from("mfa-hooks.md 6.3"),
		later("GOTRUE_MAILER_EMAIL_VALIDATION_SERVICE_HEADERS", JSON, "", "headers for it").secret().from("mfa-hooks.md 6.3"),
		later("GOTRUE_MAILER_EMAIL_VALIDATION_BLOCKED_MX", JSON, "", "mail hosts that are refused").from("mfa-hooks.md 6.3"),
		later("GOTRUE_MAILER_TEMPLATE_MAX_SIZE", Int, "1000000", "longest template in bytes").from("core.md 9.3"),
		later("GOTRUE_MAILER_TEMPLATE_MAX_AGE", Duration, "10m", "a template is loaded again after this").from("core.md 9.3"),
		later("GOTRUE_MAILER_TEMPLATE_RETRY_INTERVAL", Duration, "10s", "wait after a failed load").from("core.md 9.3"),
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
	kinds := []string{"CONFIRMATION", "INVITE", "RECOVERY", "MAGIC_LINK", "EMAIL_CHANGE", "REAUTHENTICATION"}
	for _, event := range events {
		kinds = append(kinds, event+"_NOTIFICATION")
	}
	var rows []Variable
	for _, kind := range kinds {
		rows = append(rows, later("GOTRUE_MAILER_SUBJECTS_"+kind, Text, "", "subject of a mail").family("GOTRUE_MAILER_SUBJECTS_<KIND>"))
	}
	for _, kind := range kinds {
		rows = append(rows, later("GOTRUE_MAILER_TEMPLATES_"+kind, Text, "", "where the template of a mail is").
			family("GOTRUE_MAILER_TEMPLATES_<KIND>"))
	}
	for _, kind := range kinds {
		rows = append(rows, later("GOTRUE_MAILER_URLPATHS_"+kind, Text, "/verify", "path of the link in a mail").
			family("GOTRUE_MAILER_URLPATHS_<KIND>"))
	}
	for _, event := range events {
		rows = append(rows, later("GOTRUE_MAILER_NOTIFICATIONS_"+event+"_ENABLED", Bool, "false", "tell the user by mail").
			family("GOTRUE_MAILER_NOTIFICATIONS_<EVENT>_ENABLED"))
	}
	return area("Mail", "core.md 9.1", rows...)
}

func smtpVariables() []Variable {
	return area("SMTP", "core.md 9.5",
		later("GOTRUE_SMTP_HOST", Text, "", "relay; empty drops mails"),
		later("GOTRUE_SMTP_PORT", Int, "587", "its port; 465 is TLS from the start"),
		later("GOTRUE_SMTP_USER", Text, "", "user at the relay"),
		later("GOTRUE_SMTP_PASS", Text, "", "password at the relay").secret(),
		later("GOTRUE_SMTP_ADMIN_EMAIL", Text, "", "sender"),
		later("GOTRUE_SMTP_SENDER_NAME", Text, "", "name of the sender"),
		later("GOTRUE_SMTP_MAX_FREQUENCY", Duration, "1m", "time between two mails to one user").from("core.md 7.3"),
		later("GOTRUE_SMTP_HEADERS", JSON, "", "extra headers"),
		later("GOTRUE_SMTP_LOGGING_ENABLED", Bool, "false", "log each mail"),
	)
}

func smsVariables() []Variable {
	return area("SMS", "core.md 13.8",
		setting("GOTRUE_SMS_AUTOCONFIRM", Bool, "false", "new phone numbers count as confirmed"),
		process("GOTRUE_SMS_PROVIDER", Text, "", "`twilio`, `twilio_verify`, `messagebird`, `textlocal` or `vonage`",
			func(c *Config) *string { return &c.SMSProvider }).noticed("shown by /settings, but sending SMS is not built yet"),
		later("GOTRUE_SMS_OTP_EXP", Int, "60", "life of a code in seconds").with(intBetween(0, math.MaxInt)),
		later("GOTRUE_SMS_OTP_LENGTH", Int, "6", "digits of a code, 6 to 10"),
		later("GOTRUE_SMS_MAX_FREQUENCY", Duration, "1m", "time between two SMS to one user"),
		later("GOTRUE_SMS_TEMPLATE", Text, "Your code is {{ .Code }}", "text of the SMS"),
		later("GOTRUE_SMS_TEST_OTP", Map, "", "codes of numbers for tests, to which nothing is sent").secret().from("core.md 11.3"),
		later("GOTRUE_SMS_TEST_OTP_VALID_UNTIL", Time, "", "end of that; empty is never").from("core.md 11.3"),
	)
}

func smsProviderVariables() []Variable {
	return area("SMS", "mfa-hooks.md 9.3",
		later("GOTRUE_SMS_TWILIO_ACCOUNT_SID", Text, "", "account"),
		later("GOTRUE_SMS_TWILIO_AUTH_TOKEN", Text, "", "key").secret(),
		later("GOTRUE_SMS_TWILIO_MESSAGE_SERVICE_SID", Text, "", "service or number that sends"),
		later("GOTRUE_SMS_TWILIO_CONTENT_SID", Text, "", "template for WhatsApp"),
		later("GOTRUE_SMS_TWILIO_VERIFY_ACCOUNT_SID", Text, "", "account"),
		later("GOTRUE_SMS_TWILIO_VERIFY_AUTH_TOKEN", Text, "", "key").secret(),
		later("GOTRUE_SMS_TWILIO_VERIFY_MESSAGE_SERVICE_SID", Text, "", "service that sends"),
		later("GOTRUE_SMS_MESSAGEBIRD_ACCESS_KEY", Text, "", "key").secret(),
		later("GOTRUE_SMS_MESSAGEBIRD_ORIGINATOR", Text, "", "sender"),
		later("GOTRUE_SMS_VONAGE_API_KEY", Text, "", "account").secret(),
		later("GOTRUE_SMS_VONAGE_API_SECRET", Text, "", "key").secret(),
		later("GOTRUE_SMS_VONAGE_FROM", Text, "", "sender"),
		later("GOTRUE_SMS_TEXTLOCAL_API_KEY", Text, "", "key").secret(),
		later("GOTRUE_SMS_TEXTLOCAL_SENDER", Text, "", "sender"),
	)
}
