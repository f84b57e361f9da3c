package config_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-auth/postern/gateway/config"
)

const (
	longSecret  = "a secret that is long enough: 0123456789"
	otherSecret = "another one that is long enough: 0123456789"
)

// environ is the smallest environment that starts, with the entries added; they win over it.
func environ(entries ...string) []string {
	return append([]string{
		"GOTRUE_SITE_URL=https://app.example.com",
		"API_EXTERNAL_URL=https://auth.example.com/auth/v1",
		"DATABASE_URL=postgres://postern_gateway:pw@db/app",
		"GOTRUE_JWT_SECRET=" + longSecret,
	}, entries...)
}

func load(t *testing.T, entries ...string) *config.Config {
	t.Helper()
	c, err := config.Load(environ(entries...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLoadDefaults(t *testing.T) {
	t.Parallel()
	c := load(t, "HOME=/root", "JWT_EXP=nothing of ours")
	want := &config.Config{
		Port: 8081, ExternalURL: "https://auth.example.com/auth/v1", MaxRequestDuration: 10 * time.Second,
		DatabaseURL: "postgres://postern_gateway:pw@db/app", PoolSize: 8, PoolWait: 2 * time.Second,
		JWTSecret: longSecret, LogLevel: slog.LevelInfo,
		SMTP: config.SMTPRelay{Port: 587}, SMTPFallbacks: [2]config.SMTPRelay{{Port: 587}, {Port: 587}},
		MailerURLPaths: map[string]string{
			"confirmation": "/verify", "invite": "/verify", "recovery": "/verify", "email_change": "/verify",
		},
		MailerTemplateMaxSize: 1_000_000, MailerTemplateMaxAge: 10 * time.Minute, MailerTemplateRetryInterval: 10 * time.Second,
		SMSTemplate: "Your code is {{ .Code }}", MFAPhoneTemplate: "Your code is {{ .Code }}", HTTPTimeout: 10 * time.Second,
		CaptchaProvider: "hcaptcha", CaptchaTimeout: 10 * time.Second, HIBPUserAgent: "https://github.com/supabase/gotrue",
		Policy: map[string]any{"site_url": "https://app.example.com"},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
}

func TestLoadProcess(t *testing.T) {
	t.Parallel()
	keys := `[{"kty":"oct"}]`
	for _, test := range []struct {
		entry string
		got   func(*config.Config) any
		want  any
	}{
		{"GOTRUE_API_HOST=127.0.0.1", func(c *config.Config) any { return c.Host }, "127.0.0.1"},
		{"PORT=80", func(c *config.Config) any { return c.Port }, 80},
		{"GOTRUE_API_PORT=0", func(c *config.Config) any { return c.Port }, 0},
		{"GOTRUE_API_API_EXTERNAL_URL=http://[::1]:9999", func(c *config.Config) any { return c.ExternalURL }, "http://[::1]:9999"},
		{"REQUEST_ID_HEADER=X-Request-Id", func(c *config.Config) any { return c.RequestIDHeader }, "X-Request-Id"},
		{"GOTRUE_API_REQUEST_ID_HEADER=", func(c *config.Config) any { return c.RequestIDHeader }, ""},
		{"GOTRUE_API_MAX_REQUEST_DURATION=0", func(c *config.Config) any { return c.MaxRequestDuration }, time.Duration(0)},
		{"GOTRUE_API_MAX_REQUEST_DURATION=1m30s", func(c *config.Config) any { return c.MaxRequestDuration }, 90 * time.Second},
		{"GOTRUE_CORS_ALLOWED_HEADERS=apikey, x-b", func(c *config.Config) any { return c.CORSAllowedHeaders }, []string{"apikey", " x-b"}},
		{"GOTRUE_CORS_ALLOWED_HEADERS= ", func(c *config.Config) any { return len(c.CORSAllowedHeaders) }, 0},
		{"GOTRUE_DB_DATABASE_URL=host=/run dbname=app", func(c *config.Config) any { return c.DatabaseURL.Reveal() }, "host=/run dbname=app"},
		{"DATABASE_URL=postgresql://u:p@a:1,b:2/d", func(c *config.Config) any { return c.DatabaseURL.Reveal() }, "postgresql://u:p@a:1,b:2/d"},
		{"GOTRUE_DB_MAX_POOL_SIZE=0", func(c *config.Config) any { return c.PoolSize }, 8},
		{"GOTRUE_DB_MAX_POOL_SIZE=3", func(c *config.Config) any { return c.PoolSize }, 3},
		{"POSTERN_DB_POOL_WAIT=150ms", func(c *config.Config) any { return c.PoolWait }, 150 * time.Millisecond},
		{"GOTRUE_JWT_KEYS=" + keys, func(c *config.Config) any { return c.JWTKeys.Reveal() }, keys},
		{"GOTRUE_JWT_KEYS=", func(c *config.Config) any { return c.JWTKeys.Reveal() }, ""},
		{"GOTRUE_JWT_KEY_ID=k1", func(c *config.Config) any { return c.JWTKeyID }, "k1"},
		{"GOTRUE_JWT_VALID_METHODS=HS256,ES256", func(c *config.Config) any { return c.JWTValidMethods }, []string{"HS256", "ES256"}},
		{
			"POSTERN_TOKEN_KEYS=" + longSecret + "," + otherSecret, func(c *config.Config) any { return c.TokenKeys },
			[]config.Secret{longSecret, otherSecret},
		},
		{"POSTERN_TOKEN_KEYS=", func(c *config.Config) any { return len(c.TokenKeys) }, 0},
		{"GOTRUE_RATE_LIMIT_HEADER=X-Client", func(c *config.Config) any { return c.RateLimitHeader }, "X-Client"},
		{"GOTRUE_SECURITY_SB_FORWARDED_FOR_ENABLED=1", func(c *config.Config) any { return c.SbForwardedFor }, true},
		{"POSTERN_TRUSTED_PROXIES=10.0.0.0/8,::1", func(c *config.Config) any { return c.TrustedProxies }, []string{"10.0.0.0/8", "::1"}},
		{"GOTRUE_SMS_PROVIDER=twilio", func(c *config.Config) any { return c.SMSProvider }, "twilio"},
		{"GOTRUE_SAML_ENABLED=T", func(c *config.Config) any { return c.SAMLEnabled }, true},
		{"GOTRUE_EXPERIMENTAL_SCIM_ENABLED=1", func(c *config.Config) any { return c.SCIMEnabled }, true},
		{"GOTRUE_PASSKEY_ENABLED=True", func(c *config.Config) any { return c.PasskeyEnabled }, true},
		{"GOTRUE_LOG_LEVEL=trace", func(c *config.Config) any { return c.LogLevel }, slog.LevelDebug},
		{"GOTRUE_LOG_LEVEL=WARNING", func(c *config.Config) any { return c.LogLevel }, slog.LevelWarn},
		{"GOTRUE_LOG_LEVEL=fatal", func(c *config.Config) any { return c.LogLevel }, slog.LevelError},
		{"GOTRUE_LOG_LEVEL=", func(c *config.Config) any { return c.LogLevel }, slog.LevelInfo},
	} {
		if diff := cmp.Diff(test.want, test.got(load(t, test.entry))); diff != "" {
			t.Errorf("%s\n%s", test.entry, diff)
		}
	}
}

func TestLoadPolicy(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		entry  string
		column string
		want   any
	}{
		{"GOTRUE_SITE_URL=myapp://home", "site_url", "myapp://home"},
		{"GOTRUE_URI_ALLOW_LIST=https://*.a.com/**, b://**", "uri_allow_list", []string{"https://*.a.com/**", " b://**"}},
		{"GOTRUE_URI_ALLOW_LIST=", "uri_allow_list", []string{}},
		{"GOTRUE_DISABLE_SIGNUP=TRUE", "disable_signup", true},
		{"GOTRUE_EXTERNAL_EMAIL_ENABLED=f", "external_email_enabled", false},
		{"GOTRUE_JWT_EXP=60", "jwt_exp", 60},
		{"GOTRUE_JWT_EXP=0", "jwt_exp", 3600},
		{"GOTRUE_JWT_AUD=", "jwt_aud", ""},
		{"GOTRUE_JWT_ADMIN_GROUP_NAME=", "jwt_admin_group_name", "admin"},
		{"GOTRUE_JWT_ADMIN_ROLES=", "jwt_admin_roles", []string{"service_role", "supabase_admin"}},
		{"GOTRUE_JWT_ADMIN_ROLES=boss", "jwt_admin_roles", []string{"boss"}},
		{"GOTRUE_PASSWORD_MIN_LENGTH=3", "password_min_length", 6},
		{"GOTRUE_PASSWORD_MIN_LENGTH=12", "password_min_length", 12},
		{`GOTRUE_PASSWORD_REQUIRED_CHARACTERS=abc::0\:1:!\`, "password_required_characters", []string{"abc", "0:1", `!\`}},
		{"GOTRUE_PASSWORD_REQUIRED_CHARACTERS=", "password_required_characters", []string{}},
		{"GOTRUE_SECURITY_REFRESH_TOKEN_ALGORITHM_VERSION=2", "security_refresh_token_algorithm_version", 2},
		{"GOTRUE_SECURITY_REFRESH_TOKEN_REUSE_INTERVAL=10", "security_refresh_token_reuse_interval", 10},
		{"GOTRUE_SESSIONS_TIMEBOX=24h", "sessions_timebox", "86400 seconds"},
		{"GOTRUE_SESSIONS_INACTIVITY_TIMEOUT=1.5s", "sessions_inactivity_timeout", "1.5 seconds"},
		{"GOTRUE_SESSIONS_ALLOW_LOW_AAL=1us", "sessions_allow_low_aal", "0.000001 seconds"},
		{"GOTRUE_SESSIONS_TAGS=web,mobile", "sessions_tags", []string{"web", "mobile"}},
		{"GOTRUE_RATE_LIMIT_OTP=0.5", "rate_limit_otp", 0.5},
		{"GOTRUE_RATE_LIMIT_TOKEN_REFRESH=0", "rate_limit_token_refresh", 0.0},
		{
			"GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_URI=pg-functions://postgres/public/claims", "hook_custom_access_token_uri",
			"pg-functions://postgres/public/claims",
		},
		{"GOTRUE_HOOK_SEND_SMS_URI=PG-functions://h/public/claims/more", "hook_send_sms_uri", "pg-functions://h/public/claims"},
		{"GOTRUE_HOOK_SEND_EMAIL_URI=HTTPS://hooks.example.com/A", "hook_send_email_uri", "https://hooks.example.com/A"},
		{"GOTRUE_HOOK_AFTER_USER_CREATED_URI=", "hook_after_user_created_uri", ""},
		{"GOTRUE_HOOK_MFA_VERIFICATION_ATTEMPT_ENABLED=true", "hook_mfa_verification_attempt_enabled", true},
		{"GOTRUE_MAILER_OTP_EXP=600", "mailer_otp_exp", 600},
		{"GOTRUE_MAILER_OTP_EXP=0", "mailer_otp_exp", 86400},
		{"GOTRUE_MAILER_OTP_EXP=99999999999", "mailer_otp_exp", 2147483647},
		{"GOTRUE_SMS_OTP_EXP=0", "sms_otp_exp", 60},
		{"GOTRUE_MAILER_OTP_LENGTH=10", "mailer_otp_length", 10},
		{"GOTRUE_MAILER_OTP_LENGTH=11", "mailer_otp_length", 6},
		{"GOTRUE_SMS_OTP_LENGTH=-8", "sms_otp_length", 6},
		{"GOTRUE_SMS_OTP_LENGTH=8", "sms_otp_length", 8},
		{"GOTRUE_SMTP_MAX_FREQUENCY=0s", "smtp_max_frequency", "60 seconds"},
		{"GOTRUE_SMTP_MAX_FREQUENCY=1ms", "smtp_max_frequency", "0.001 seconds"},
		{"GOTRUE_SMS_MAX_FREQUENCY=1h", "sms_max_frequency", "3600 seconds"},
		{"GOTRUE_SMS_TEST_OTP_VALID_UNTIL=2030-01-31T12:00:00.5+01:00", "sms_test_otp_valid_until", "2030-01-31T12:00:00.5+01:00"},
		{"GOTRUE_SMS_TEST_OTP_VALID_UNTIL=", "sms_test_otp_valid_until", nil},
		{"GOTRUE_MAILER_NOTIFICATIONS_MFA_FACTOR_ENROLLED_ENABLED=1", "mailer_notifications_mfa_factor_enrolled_enabled", true},
		{"GOTRUE_RATE_LIMIT_EMAIL_SENT=100000", "rate_limit_email_sent", "100000"},
		{"GOTRUE_RATE_LIMIT_EMAIL_SENT=2/1h", "rate_limit_email_sent", "2/1h"},
		{"GOTRUE_RATE_LIMIT_EMAIL_SENT=+1e2/1.5h", "rate_limit_email_sent", "100/1h30m"},
		{"GOTRUE_RATE_LIMIT_SMS_SENT=0.5/90µs", "rate_limit_sms_sent", "0.5/90us"},
		{"GOTRUE_RATE_LIMIT_SMS_SENT=3/25h0m1s", "rate_limit_sms_sent", "3/25h1s"},
		{"GOTRUE_RATE_LIMIT_VERIFY=1", "rate_limit_verify", 1.0},
		{"GOTRUE_EXTERNAL_EMAIL_AUTHORIZED_ADDRESSES=a@b.c,d@e.f", "external_email_authorized_addresses", []string{"a@b.c", "d@e.f"}},
		{"GOTRUE_EXTERNAL_EMAIL_MAGIC_LINK_ENABLED=false", "external_email_magic_link_enabled", false},
		{"GOTRUE_EXTERNAL_FLOW_STATE_EXPIRY_DURATION=1s", "external_flow_state_expiry_duration", "300 seconds"},
		{"GOTRUE_EXTERNAL_FLOW_STATE_EXPIRY_DURATION=10m", "external_flow_state_expiry_duration", "600 seconds"},
		{"GOTRUE_DB_CLEANUP_ENABLED=true", "db_cleanup_enabled", true},
		{"POSTERN_ANONYMOUS_USERS_RETENTION=36h", "anonymous_users_retention", "129600 seconds"},
		{"POSTERN_ANONYMOUS_USERS_RETENTION=0s", "anonymous_users_retention", nil},
	} {
		policy := load(t, test.entry).Policy
		if diff := cmp.Diff(test.want, policy[test.column]); diff != "" {
			t.Errorf("%s\n%s", test.entry, diff)
		}
		if _, err := json.Marshal(policy); err != nil {
			t.Errorf("%s: %v", test.entry, err)
		}
	}
}

func TestAliasesPrefixedFormWins(t *testing.T) {
	t.Parallel()
	c := load(t, "PORT=1", "GOTRUE_API_PORT=2", "GOTRUE_API_REQUEST_ID_HEADER=", "REQUEST_ID_HEADER=X-Id",
		"GOTRUE_DB_DATABASE_URL=postgres://prefixed/", "GOTRUE_API_API_EXTERNAL_URL=https://prefixed")
	if c.Port != 2 || c.RequestIDHeader != "" || c.DatabaseURL != "postgres://prefixed/" || c.ExternalURL != "https://prefixed" {
		t.Errorf("%+v", c)
	}
	if c := load(t, "PORT=1", "PORT=2"); c.Port != 2 {
		t.Errorf("of two entries the last one should count, got %d", c.Port)
	}
}

func TestDatabaseURLAlone(t *testing.T) {
	t.Parallel()
	got, err := config.DatabaseURL([]string{"DATABASE_URL=postgres://a/", "GOTRUE_SITE_URL="})
	if err != nil || got.Reveal() != "postgres://a/" {
		t.Errorf("%v, %v", got.Reveal(), err)
	}
	if _, err := config.DatabaseURL(nil); err == nil || !strings.HasPrefix(err.Error(), "DATABASE_URL: required") {
		t.Errorf("%v", err)
	}
}

// sample is a text that the variable accepts.
func sample(v config.Variable) string {
	if v.Default != "" {
		return v.Default
	}
	switch {
	case v.Name == "POSTERN_TOKEN_KEYS", v.Name == "GOTRUE_JWT_SECRET":
		return longSecret
	case v.Name == "DATABASE_URL":
		return "postgres://db/app"
	case strings.HasSuffix(v.Name, "_URI") && strings.HasPrefix(v.Name, "GOTRUE_HOOK_"):
		return "pg-functions://postgres/public/f"
	case strings.HasSuffix(v.Name, "_ADMIN_EMAIL"):
		return "auth@example.com"
	case v.Name == "POSTERN_TRUSTED_PROXIES":
		return "10.0.0.0/8"
	}
	switch v.Type {
	case config.Duration:
		return "90s"
	case config.URL:
		return "https://sample.example.com"
	case config.Map:
		return "k:v,l:w"
	case config.Time:
		return "2030-01-31T12:00:00Z"
	case config.JSON:
		return "[]"
	default:
		return "sample"
	}
}

// Every variable reads a good value under every spelling; a setting ends in its column, one not built yet in a notice.
func TestEveryVariableIsAccepted(t *testing.T) {
	t.Parallel()
	for _, v := range config.Variables() {
		for _, name := range append([]string{v.Name}, v.Aliases...) {
			if strings.Contains(v.Default, "\n") || v.Meaning == "" || v.Area == "" || v.Section == "" {
				t.Errorf("%s: incomplete", v.Name)
			}
			entry := name + "=" + sample(v)
			c, err := config.Load(environ(entry))
			if err != nil {
				t.Errorf("%s: %v", entry, err)
				continue
			}
			if _, ok := c.Policy[v.Column]; v.Where == config.Settings && !ok {
				t.Errorf("%s: no policy", entry)
			}
			wanted := v.Where == config.NotBuilt && sample(v) != "false"
			if noticed := slices.Contains(c.Notices, name+": accepted, but not built yet: it has no effect"); noticed != wanted {
				t.Errorf("%s: notices %q", entry, c.Notices)
			}
		}
	}
}

func TestNamesAreUnique(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, v := range config.Variables() {
		for _, name := range append([]string{v.Name}, v.Aliases...) {
			if seen[name] != "" && name != "SECRETS" { // shared by all hooks
				t.Errorf("%s belongs to %s and %s", name, seen[name], v.Name)
			}
			seen[name] = v.Name
		}
	}
}

// The columns of auth.settings, which the migrations declare.
func TestPolicyColumns(t *testing.T) {
	t.Parallel()
	want := strings.Fields(`
		site_url uri_allow_list disable_signup external_email_enabled external_phone_enabled external_anonymous_users_enabled
		mailer_autoconfirm sms_autoconfirm mailer_secure_email_change_enabled mailer_allow_unverified_email_sign_ins
		jwt_exp jwt_aud jwt_issuer jwt_default_group_name jwt_admin_group_name jwt_admin_roles
		password_min_length password_required_characters
		security_update_password_require_reauthentication security_update_password_require_current_password
		security_refresh_token_rotation_enabled security_refresh_token_reuse_interval security_refresh_token_allow_reuse
		security_refresh_token_algorithm_version
		sessions_timebox sessions_inactivity_timeout sessions_allow_low_aal sessions_single_per_user sessions_tags
		rate_limit_otp rate_limit_token_refresh rate_limit_anonymous_users
		mailer_otp_exp mailer_otp_length smtp_max_frequency sms_otp_exp sms_otp_length sms_max_frequency
		sms_test_otp sms_test_otp_valid_until
		mailer_notifications_password_changed_enabled mailer_notifications_email_changed_enabled
		mailer_notifications_phone_changed_enabled mailer_notifications_identity_linked_enabled
		mailer_notifications_identity_unlinked_enabled mailer_notifications_mfa_factor_enrolled_enabled
		mailer_notifications_mfa_factor_unenrolled_enabled
		rate_limit_email_sent rate_limit_sms_sent rate_limit_verify external_email_authorized_addresses
		external_email_magic_link_enabled external_flow_state_expiry_duration
		hook_send_sms_enabled hook_send_sms_uri hook_send_email_enabled hook_send_email_uri
		hook_mfa_verification_attempt_enabled hook_mfa_verification_attempt_uri
		hook_password_verification_attempt_enabled hook_password_verification_attempt_uri
		hook_before_user_created_enabled hook_before_user_created_uri
		hook_after_user_created_enabled hook_after_user_created_uri
		hook_runs_slow_ms hook_runs_retention
		mfa_challenge_expiry_duration mfa_factor_expiry_duration mfa_rate_limit_challenge_and_verify mfa_max_enrolled_factors
		mfa_max_verified_factors mfa_totp_enroll_enabled mfa_totp_verify_enabled mfa_phone_enroll_enabled mfa_phone_verify_enabled
		mfa_phone_otp_length mfa_phone_max_frequency
		security_captcha_enabled db_cleanup_enabled anonymous_users_retention
		audit_log_disable_postgres experimental_create_email_identity_on_password_set_enabled
		experimental_cursor_pagination_enabled hook_custom_access_token_enabled hook_custom_access_token_uri`)
	var got []string
	for _, v := range config.Variables() {
		if v.Where == config.Settings {
			got = append(got, v.Column)
			if upper := strings.ToUpper(v.Column); v.Name != "GOTRUE_"+upper && v.Name != "POSTERN_"+upper {
				t.Errorf("%s sets %s", v.Name, v.Column)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzLoad(f *testing.F) {
	variables := config.Variables()
	f.Add(uint16(0), "x")
	f.Add(uint16(7), "90s,k:v\n\x00")
	f.Fuzz(func(t *testing.T, index uint16, text string) {
		v := variables[int(index)%len(variables)]
		c, err := config.Load(environ(v.Name + "=" + text))
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.Contains(line, ": ") {
					t.Errorf("%q does not name a variable", line)
				}
			}
			return
		}
		if _, err := json.Marshal(c.Policy); err != nil {
			t.Error(err)
		}
		_ = fmt.Sprint(c)
	})
}
