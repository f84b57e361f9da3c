package config

import (
	"math"
	"time"
)

func siteVariables() []Variable {
	return area("Site and sign-up", "core.md 13.3",
		setting("GOTRUE_SITE_URL", URL, "", "where users land when no other target is allowed").required().with(parseSiteURL),
		setting("GOTRUE_URI_ALLOW_LIST", List, "", "redirect targets allowed besides the site: patterns with `*`, `**`, `?`, `[…]`").
			from("core.md 8.3"),
		setting("GOTRUE_DISABLE_SIGNUP", Bool, "false", "no new users, except by invitation and by administrators"),
		setting("GOTRUE_EXTERNAL_EMAIL_ENABLED", Bool, "true", "sign-up and sign-in with an email address"),
		setting("GOTRUE_EXTERNAL_PHONE_ENABLED", Bool, "false", "sign-up and sign-in with a phone number"),
		setting("GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED", Bool, "false", "sign-up without email and phone"),
		setting("GOTRUE_EXTERNAL_EMAIL_MAGIC_LINK_ENABLED", Bool, "true", "sign-in links and codes by email"),
		setting("GOTRUE_EXTERNAL_EMAIL_AUTHORIZED_ADDRESSES", List, "", "the only addresses that receive mail; empty is all").
			from("core.md 9.6"),
	)
}

func sessionVariables() []Variable {
	return area("Sessions and refresh tokens", "core.md 13.5",
		setting("GOTRUE_SESSIONS_TIMEBOX", Duration, "", "a session ends this long after sign-in").with(parsePositiveDuration),
		setting("GOTRUE_SESSIONS_INACTIVITY_TIMEOUT", Duration, "", "a session ends this long after its last refresh").
			with(parsePositiveDuration),
		setting("GOTRUE_SESSIONS_ALLOW_LOW_AAL", Duration, "", "how long a session may go without the second factor its user has").
			with(parsePositiveDuration),
		setting("GOTRUE_SESSIONS_SINGLE_PER_USER", Bool, "false", "only the newest session of a user refreshes"),
		setting("GOTRUE_SESSIONS_TAGS", List, "", "groups within which single sessions are counted"),
		setting("GOTRUE_SECURITY_REFRESH_TOKEN_ROTATION_ENABLED", Bool, "true", "a spent refresh token that comes back ends what it opened"),
		setting("GOTRUE_SECURITY_REFRESH_TOKEN_REUSE_INTERVAL", Int, "0", "seconds in which a spent token still gets the current one").
			with(intBetween(0, math.MaxInt32)),
		setting("GOTRUE_SECURITY_REFRESH_TOKEN_ALLOW_REUSE", Bool, "false", "spent tokens stay usable (algorithm 2)"),
		setting("GOTRUE_SECURITY_REFRESH_TOKEN_ALGORITHM_VERSION", Int, "0",
			"reaction to a spent token: 0 and 1 revoke the token, 2 deletes the session").with(intBetween(0, 2)),
		process("POSTERN_TOKEN_KEYS", List, "", "keys of the refresh tokens, newest first, each at least 32 bytes; "+
			"empty derives one from GOTRUE_JWT_SECRET", func(c *Config) *[]Secret { return &c.TokenKeys }).
			secret().with(parseTokenKeys).from("Postern"),
		idle("GOTRUE_SECURITY_REFRESH_TOKEN_UPGRADE_PERCENTAGE", "every session has the newer form of refresh tokens"),
	)
}

func passwordVariables() []Variable {
	return area("Passwords", "core.md 13.6",
		setting("GOTRUE_PASSWORD_MIN_LENGTH", Int, "6", "shortest password in bytes; less than 6 means 6").with(parseMinLength),
		setting("GOTRUE_PASSWORD_REQUIRED_CHARACTERS", Text, "",
			"groups separated by `:`, one character of each is needed; `\\:` is a colon").with(parseCharacterGroups),
		setting("GOTRUE_SECURITY_UPDATE_PASSWORD_REQUIRE_REAUTHENTICATION", Bool, "false",
			"a new password needs a recent sign-in or a code").from("core.md 6.4"),
		setting("GOTRUE_SECURITY_UPDATE_PASSWORD_REQUIRE_CURRENT_PASSWORD", Bool, "false",
			"a new password needs the current one").from("core.md 6.4"),
		process("GOTRUE_PASSWORD_HIBP_ENABLED", Bool, "false", "refuse passwords known from breaches, by a lookup at HaveIBeenPwned.org",
			func(c *Config) *bool { return &c.HIBPEnabled }).from("core.md 10.3"),
		process("GOTRUE_PASSWORD_HIBP_FAIL_CLOSED", Bool, "false", "refuse passwords that cannot be looked up",
			func(c *Config) *bool { return &c.HIBPFailClosed }).from("core.md 10.3"),
		process("GOTRUE_PASSWORD_HIBP_USER_AGENT", Text, "https://github.com/supabase/gotrue", "user agent of the lookup",
			func(c *Config) *string { return &c.HIBPUserAgent }).with(parseHeaderValue).from("core.md 10.3"),
		idle("GOTRUE_PASSWORD_HIBP_BLOOM_ENABLED", "answers are always kept for a while"),
		idle("GOTRUE_PASSWORD_HIBP_BLOOM_ITEMS", "answers are always kept for a while"),
		idle("GOTRUE_PASSWORD_HIBP_BLOOM_FALSE_POSITIVES", "answers are always kept for a while"),
	)
}

func limitVariables() []Variable {
	return area("Limits", "core.md 11.1",
		process("GOTRUE_RATE_LIMIT_HEADER", Text, "", "request header that holds the client's address; empty limits nobody",
			func(c *Config) *string { return &c.RateLimitHeader }).with(parseHeaderName),
		process("GOTRUE_SECURITY_SB_FORWARDED_FOR_ENABLED", Bool, "false", "believe the header Sb-Forwarded-For",
			func(c *Config) *bool { return &c.SbForwardedFor }).from("core.md 1.11"),
		process("POSTERN_TRUSTED_PROXIES", List, "", "networks (`10.0.0.0/8`) and addresses of the proxies in front, whose headers "+
			"say where a request came from; others' are not believed; empty believes all", func(c *Config) *[]string { return &c.TrustedProxies }).
			with(parseProxies).from("Postern"),
		setting("GOTRUE_RATE_LIMIT_OTP", Number, "30", "sign-ups, codes and user updates per client in 5 minutes, each for itself").
			with(parseLimit),
		setting("GOTRUE_RATE_LIMIT_TOKEN_REFRESH", Number, "150", "token requests per client in 5 minutes").with(parseLimit),
		setting("GOTRUE_RATE_LIMIT_ANONYMOUS_USERS", Number, "30", "anonymous sign-ups per client in an hour").with(parseLimit),
		setting("GOTRUE_RATE_LIMIT_VERIFY", Number, "30", "verifications per client in 5 minutes").with(parseLimit),
		later("GOTRUE_RATE_LIMIT_WEB3", Number, "30", "wallet sign-ins per client in 5 minutes"),
		later("GOTRUE_RATE_LIMIT_SSO", Number, "30", "SSO requests per client in 5 minutes"),
		later("GOTRUE_RATE_LIMIT_PASSKEY", Number, "30", "passkey options per client in 5 minutes"),
		later("GOTRUE_RATE_LIMIT_O_AUTH_DYNAMIC_CLIENT_REGISTER", Number, "10", "OAuth clients registered per client in 5 minutes").
			alias("GOTRUE_RATE_LIMIT_OAUTH_DYNAMIC_CLIENT_REGISTER"),
		setting("GOTRUE_RATE_LIMIT_EMAIL_SENT", Rate, "30", "mails in an hour, for all clients; `30/1m` is a bucket of 30 that gains one a minute").
			from("core.md 11.2"),
		setting("GOTRUE_RATE_LIMIT_SMS_SENT", Rate, "30", "the same for SMS").from("core.md 11.2"),
	)
}

func securityVariables() []Variable {
	return area("Captcha, linking and encryption", "core.md 13.6",
		setting("GOTRUE_SECURITY_CAPTCHA_ENABLED", Bool, "false", "sign-up, sign-in and mails need a solved captcha").from("core.md 11.4"),
		process("GOTRUE_SECURITY_CAPTCHA_PROVIDER", Text, "hcaptcha", "`hcaptcha` or `turnstile`",
			func(c *Config) *string { return &c.CaptchaProvider }).with(textOr("hcaptcha")).from("core.md 11.4"),
		process("GOTRUE_SECURITY_CAPTCHA_SECRET", Text, "", "key for the provider; required with captchas",
			func(c *Config) *Secret { return &c.CaptchaSecret }).secret().with(parseSecret).from("core.md 11.4"),
		process("GOTRUE_SECURITY_CAPTCHA_TIMEOUT", Duration, "10s", "limit for the provider's answer",
			func(c *Config) *time.Duration { return &c.CaptchaTimeout }).with(durationOr(10*time.Second)).from("core.md 11.4"),
		later("GOTRUE_SECURITY_MANUAL_LINKING_ENABLED", Bool, "false", "users may link and unlink identities").from("external.md 4.9"),
		later("GOTRUE_SECURITY_DB_ENCRYPTION_ENCRYPT", Bool, "false", "encrypt secrets in columns").from("core.md 10.5"),
		later("GOTRUE_SECURITY_DB_ENCRYPTION_ENCRYPTION_KEY_ID", Text, "", "id of the active key").from("core.md 10.5"),
		later("GOTRUE_SECURITY_DB_ENCRYPTION_ENCRYPTION_KEY", Text, "", "the active key, 256 bits in base64url").secret().from("core.md 10.5"),
		later("GOTRUE_SECURITY_DB_ENCRYPTION_DECRYPTION_KEYS", Map, "", "all keys by id").secret().from("core.md 10.5"),
	)
}

func auditVariables() []Variable {
	return area("Audit log", "core.md 14",
		setting("GOTRUE_AUDIT_LOG_DISABLE_POSTGRES", Bool, "false", "write no rows of the audit log"),
	)
}

func hookVariables() []Variable {
	var rows []Variable
	for _, part := range []string{"ENABLED", "URI", "SECRETS"} {
		for _, hook := range hookNames() {
			rows = append(rows, hookVariable(hook, part).family("GOTRUE_HOOK_<HOOK>_"+part))
		}
	}
	rows = append(rows,
		setting("POSTERN_HOOK_RUNS_SLOW_MS", Int, "1000", "milliseconds from which on a call of a hook is recorded although it "+
			"went well; 0 records all calls").with(intBetween(0, math.MaxInt32)).from("Postern"),
		setting("POSTERN_HOOK_RUNS_RETENTION", Duration, "168h", "how long the records are kept").with(parsePositiveDuration).from("Postern"),
	)
	return area("Hooks", "mfa-hooks.md 9.2", rows...)
}

func experimentalVariables() []Variable {
	return area("Experimental", "admin.md 24",
		setting("GOTRUE_EXPERIMENTAL_CREATE_EMAIL_IDENTITY_ON_PASSWORD_SET_ENABLED", Bool, "false",
			"a first password makes an email identity").from("core.md 6.4"),
		setting("GOTRUE_EXPERIMENTAL_CURSOR_PAGINATION_ENABLED", Bool, "false", "pages of users by cursor"),
		process("GOTRUE_EXPERIMENTAL_SCIM_ENABLED", Bool, "false", "SCIM endpoints, which describe themselves and provision nothing",
			func(c *Config) *bool { return &c.SCIMEnabled }).from("admin.md 22"),
		later("GOTRUE_EXPERIMENTAL_PROVIDER_LINKING_DOMAINS", Text, "", "`provider=domain,…`: which identities may be one user").
			from("external.md 4.1"),
		later("GOTRUE_EXPERIMENTAL_PROVIDERS_WITH_OWN_LINKING_DOMAIN", List, "", "older form of the same").from("external.md 4.1"),
	)
}
