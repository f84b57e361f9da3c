package config

import (
	"math"
	"time"
)

func factorVariables() []Variable {
	return area("Second factors", "mfa-hooks.md 9.1",
		setting("GOTRUE_MFA_CHALLENGE_EXPIRY_DURATION", Number, "300", "life of a challenge in seconds; less than 300 means 300").
			with(parseChallengeExpiry),
		setting("GOTRUE_MFA_FACTOR_EXPIRY_DURATION", Duration, "300s", "life of a factor that was never challenged; less than 300s means 300s").
			with(atLeast(300*time.Second)),
		setting("GOTRUE_MFA_RATE_LIMIT_CHALLENGE_AND_VERIFY", Number, "15", "challenges per client in a minute, and verifications").
			with(parseLimit),
		setting("GOTRUE_MFA_MAX_ENROLLED_FACTORS", Number, "10", "most factors of a user").with(parseLimit),
		setting("GOTRUE_MFA_MAX_VERIFIED_FACTORS", Int, "10", "most verified factors of a user").with(intBetween(0, math.MaxInt32)),
		setting("GOTRUE_MFA_TOTP_ENROLL_ENABLED", Bool, "true", "new factors by authenticator app"),
		setting("GOTRUE_MFA_TOTP_VERIFY_ENABLED", Bool, "true", "verification by authenticator app"),
		setting("GOTRUE_MFA_PHONE_ENROLL_ENABLED", Bool, "false", "new factors by SMS"),
		setting("GOTRUE_MFA_PHONE_VERIFY_ENABLED", Bool, "false", "verification by SMS"),
		setting("GOTRUE_MFA_PHONE_OTP_LENGTH", Int, "6", "digits of a code, 6 to 10; other numbers mean 6").with(parseCodeLength),
		process("GOTRUE_MFA_PHONE_TEMPLATE", Text, "Your code is {{ .Code }}", "text of the SMS",
			func(c *Config) *string { return &c.MFAPhoneTemplate }).with(textOr("Your code is {{ .Code }}")),
		setting("GOTRUE_MFA_PHONE_MAX_FREQUENCY", Duration, "1m", "time between two SMS to one factor; 0 is the default").
			with(parseFrequency),
		later("GOTRUE_MFA_WEB_AUTHN_ENROLL_ENABLED", Bool, "false", "new WebAuthn factors"),
		later("GOTRUE_MFA_WEB_AUTHN_VERIFY_ENABLED", Bool, "false", "sign-in with WebAuthn factors"),
	)
}

func passkeyVariables() []Variable {
	return area("Passkeys and WebAuthn", "mfa-hooks.md 9.1",
		process("GOTRUE_PASSKEY_ENABLED", Bool, "false", "passkeys", func(c *Config) *bool { return &c.PasskeyEnabled }).
			noticed("shown by /settings, but passkeys are not built yet"),
		later("GOTRUE_PASSKEY_MAX_PASSKEYS_PER_USER", Int, "10", "most passkeys of a user"),
		later("GOTRUE_WEBAUTHN_RP_ID", Text, "", "domain of the relying party").alias("RP_ID"),
		later("GOTRUE_WEBAUTHN_RP_DISPLAY_NAME", Text, "", "its name"),
		later("GOTRUE_WEBAUTHN_RP_ORIGINS", List, "", "its origins"),
		later("GOTRUE_WEBAUTHN_CHALLENGE_EXPIRY_DURATION", Duration, "5m", "life of a passkey challenge"),
	)
}

func externalVariables() []Variable {
	const issuers = "https://appleid.apple.com,https://accounts.google.com"
	return area("Identity providers", "external.md 11.2",
		later("GOTRUE_EXTERNAL_IOS_BUNDLE_ID", Text, "", "further audience of Apple's tokens"),
		later("GOTRUE_EXTERNAL_REDIRECTURL", Text, "", "fixed target after /callback"),
		later("GOTRUE_EXTERNAL_ALLOWED_ID_TOKEN_ISSUERS", List, issuers, "issuers accepted without a provider's name"),
		setting("GOTRUE_EXTERNAL_FLOW_STATE_EXPIRY_DURATION", Duration, "300s", "life of a PKCE code; less than 300s means 300s").
			with(atLeast(300*time.Second)).from("core.md 4.4"),
		later("GOTRUE_EXTERNAL_OIDC_PROVIDER_CACHE_TTL", Duration, "1h", "life of a cached discovery document"),
		later("GOTRUE_EXTERNAL_WEB3_SOLANA_ENABLED", Bool, "false", "sign-in with a Solana wallet"),
		later("GOTRUE_EXTERNAL_WEB3_SOLANA_MAXIMUM_VALIDITY_DURATION", Duration, "10m", "longest life of its message"),
		later("GOTRUE_EXTERNAL_WEB3_ETHEREUM_ENABLED", Bool, "false", "sign-in with an Ethereum wallet"),
		later("GOTRUE_EXTERNAL_WEB3_ETHEREUM_MAXIMUM_VALIDITY_DURATION", Duration, "10m", "longest life of its message"),
		later("GOTRUE_CUSTOM_OAUTH_ENABLED", Bool, "true", "providers made by administrators"),
		later("GOTRUE_CUSTOM_OAUTH_MAX_PROVIDERS", Int, "0", "most of them; 0 is no limit"),
		later("GOTRUE_CUSTOM_OAUTH_EXTERNAL_URL", Text, "", "base of their callback instead of API_EXTERNAL_URL"),
	)
}

// providerVariables are those of each identity provider.
func providerVariables() []Variable {
	providers := []string{
		"APPLE", "AZURE", "BITBUCKET", "DISCORD", "FACEBOOK", "FIGMA", "FLY", "GITHUB", "GITLAB", "GOOGLE", "KAKAO",
		"KEYCLOAK", "LINKEDIN", "LINKEDIN_OIDC", "NOTION", "SLACK", "SLACK_OIDC", "SNAPCHAT", "SPOTIFY", "TWITCH", "TWITTER",
		"VERCEL_MARKETPLACE", "WORKOS", "X", "ZOOM",
	}
	suffixes := []Variable{
		later("ENABLED", Bool, "false", "sign-in with the provider"),
		later("CLIENT_ID", List, "", "our ids at the provider; the first one signs in, all may stand in ID tokens"),
		later("SECRET", Text, "", "our secret at the provider").secret(),
		later("REDIRECT_URI", Text, "", "our callback, as the provider knows it"),
		later("URL", Text, "", "address of the provider, where it has several"),
		idle("API_URL", "unused, in the reference too"),
		later("EMAIL_OPTIONAL", Bool, "false", "users without an email address"),
		later("SKIP_NONCE_CHECK", Bool, "false", "ID tokens without a nonce"),
	}
	var rows []Variable
	for _, row := range suffixes {
		suffix := row.Name
		for _, provider := range providers {
			row.Name = "GOTRUE_EXTERNAL_" + provider + "_" + suffix
			rows = append(rows, row.family("GOTRUE_EXTERNAL_<PROVIDER>_"+suffix))
		}
	}
	return area("Identity providers", "external.md 11.1", rows...)
}

func samlVariables() []Variable {
	return area("SAML", "external.md 11.2",
		process("GOTRUE_SAML_ENABLED", Bool, "false", "single sign-on with SAML", func(c *Config) *bool { return &c.SAMLEnabled }).
			noticed("shown by /settings, but SAML is not built yet"),
		later("GOTRUE_SAML_PRIVATE_KEY", Text, "", "RSA key, PKCS#1 in base64, at least 2048 bits").secret(),
		later("GOTRUE_SAML_PRIVATE_KEY_NEXT", Text, "", "the next key, while keys change").secret(),
		later("GOTRUE_SAML_ALLOW_ENCRYPTED_ASSERTIONS", Bool, "false", "accept encrypted assertions"),
		later("GOTRUE_SAML_RELAY_STATE_VALIDITY_PERIOD", Duration, "2m", "life of a relay state").with(parseNonNegativeDuration),
		later("GOTRUE_SAML_EXTERNAL_URL", Text, "", "base of the SAML URLs instead of API_EXTERNAL_URL"),
		later("GOTRUE_SAML_RATE_LIMIT_ASSERTION", Number, "15", "assertions per client in 5 minutes"),
	)
}

func oauthServerVariables() []Variable {
	return area("OAuth server", "admin.md 24",
		later("GOTRUE_OAUTH_SERVER_ENABLED", Bool, "false", "sign-in for other applications"),
		later("GOTRUE_OAUTH_SERVER_ALLOW_DYNAMIC_REGISTRATION", Bool, "false", "applications may register themselves"),
		later("GOTRUE_OAUTH_SERVER_AUTHORIZATION_PATH", Text, "", "page of the site that asks for consent"),
		later("GOTRUE_OAUTH_SERVER_AUTHORIZATION_TTL", Duration, "10m", "life of an authorization and of its code"),
		later("GOTRUE_OAUTH_SERVER_DEFAULT_SCOPE", Text, "email", "scope when none is asked for"),
	)
}
