package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-auth/postern/gateway/config"
)

func mistakes(t *testing.T, environ []string) []string {
	t.Helper()
	c, err := config.Load(environ)
	if err == nil {
		return nil
	}
	if c != nil {
		t.Error("a configuration with mistakes was returned")
	}
	return strings.Split(err.Error(), "\n")
}

func TestRequiredVariables(t *testing.T) {
	t.Parallel()
	want := []string{
		"API_EXTERNAL_URL: required, but not set (also read as GOTRUE_API_API_EXTERNAL_URL)",
		"DATABASE_URL: required, but not set (also read as GOTRUE_DB_DATABASE_URL)",
		"GOTRUE_SITE_URL: required, but not set",
		"GOTRUE_JWT_SECRET: required, but not set",
	}
	if diff := cmp.Diff(want, mistakes(t, nil)); diff != "" {
		t.Error(diff)
	}
	want = []string{
		"API_EXTERNAL_URL: required, but empty",
		"GOTRUE_DB_DATABASE_URL: required, but empty",
		"GOTRUE_SITE_URL: required, but empty",
		"GOTRUE_JWT_SECRET: required, but empty",
	}
	got := mistakes(t, environ("API_EXTERNAL_URL=", "GOTRUE_DB_DATABASE_URL=", "GOTRUE_SITE_URL=", "GOTRUE_JWT_SECRET="))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	const emptyDuration = "empty, write a duration such as 90s or 1h30m"
	for _, test := range []struct{ name, value, want string }{
		{"GOTRUE_DISABLE_SIGNUP", "", "empty, write true or false"},
		{"GOTRUE_DISABLE_SIGNUP", "yes", `"yes" is not true or false`},
		{"GOTRUE_MFA_TOTP_ENROLL_ENABLED", "on", `"on" is not true or false`},
		{"GOTRUE_JWT_EXP", "", "empty, write a whole number"},
		{"GOTRUE_JWT_EXP", "1h", `"1h" is not a whole number`},
		{"GOTRUE_JWT_EXP", "-1", `"-1" is not between 0 and 2147483647`},
		{"GOTRUE_JWT_EXP", "99999999999999999999", `"99999999999999999999" is not between 0 and 2147483647`},
		{"GOTRUE_SECURITY_REFRESH_TOKEN_ALGORITHM_VERSION", "3", `"3" is not between 0 and 2`},
		{"PORT", "http", `"http" is not a whole number`},
		{"GOTRUE_API_PORT", "65536", `"65536" is not between 0 and 65535`},
		{"GOTRUE_DB_MAX_POOL_SIZE", "-1", `"-1" is not between 0 and 10000`},
		{"GOTRUE_MAILER_OTP_EXP", "", "empty, write a whole number"},
		{"GOTRUE_RATE_LIMIT_OTP", "", "empty, write a number"},
		{"GOTRUE_RATE_LIMIT_OTP", "30/1h", `"30/1h" is not a number`},
		{"GOTRUE_RATE_LIMIT_OTP", "NaN", `"NaN" is not a number`},
		{"GOTRUE_RATE_LIMIT_OTP", "-1", `"-1" is below 0`},
		{"GOTRUE_RATE_LIMIT_EMAIL_SENT", "", "empty, write a number such as 30, or 30/1h"},
		{"GOTRUE_RATE_LIMIT_EMAIL_SENT", "30/0s", `"30/0s" is not a number such as 30, or 30/1h`},
		{"GOTRUE_RATE_LIMIT_SMS_SENT", "x/1h", `"x/1h" is not a number such as 30, or 30/1h`},
		{"GOTRUE_SESSIONS_TIMEBOX", "", emptyDuration},
		{"GOTRUE_SESSIONS_TIMEBOX", "24", `"24" is not a duration such as 90s or 1h30m`},
		{"GOTRUE_SESSIONS_TIMEBOX", "0s", `"0s" is not a positive duration`},
		{"GOTRUE_SESSIONS_INACTIVITY_TIMEOUT", "-1h", `"-1h" is not a positive duration`},
		{"GOTRUE_SESSIONS_ALLOW_LOW_AAL", "1ns", `"1ns" is not a positive duration`},
		{"GOTRUE_RATE_LIMIT_SMS_SENT", "1000000000/1h", `"1000000000/1h" is more than 999999999`},
		{"GOTRUE_RATE_LIMIT_SMS_SENT", "1/1h/1h", `"1/1h/1h" is not a number such as 30, or 30/1h`},
		{"GOTRUE_SMTP_MAX_FREQUENCY", "", emptyDuration},
		{"GOTRUE_SMS_MAX_FREQUENCY", "-1s", `"-1s" is below 0`},
		{"GOTRUE_SMTP_PORT", "65536", `"65536" is not between 1 and 65535`},
		{"POSTERN_SMTP_FALLBACK_2_PORT", "0", `"0" is not between 1 and 65535`},
		{"GOTRUE_SMTP_ADMIN_EMAIL", "Auth <auth@example.com>", `"Auth <auth@example.com>" is not an address such as auth@example.com`},
		{"GOTRUE_MAILER_URLPATHS_INVITE", "/%zz", `"/%zz" is not a path such as /verify`},
		{"GOTRUE_MAILER_EMAIL_VALIDATION_SERVICE_URL", "check.example.com", "not a URL such as https://check.example.com/address"},
		{"GOTRUE_PASSWORD_HIBP_USER_AGENT", "a\nb", `"a\nb" cannot be the value of a header`},
		{"POSTERN_TRUSTED_PROXIES", "10.0.0.0/8,proxy", "entry 2 is not a network or address such as 10.0.0.0/8 or 192.0.2.1"},
		{"GOTRUE_API_MAX_REQUEST_DURATION", "-1s", `"-1s" is below 0`},
		{"POSTERN_DB_POOL_WAIT", "0s", `"0s" is not a positive duration`},
		{"GOTRUE_SAML_RELAY_STATE_VALIDITY_PERIOD", "-2m", `"-2m" is below 0`},
		{"GOTRUE_SMS_TEST_OTP", "1:2,3", "entry 2 is not key:value"},
		{"GOTRUE_SMS_TEST_OTP", "1:2:3", "entry 1 is not key:value"},
		{"GOTRUE_SMS_TEST_OTP_VALID_UNTIL", "tomorrow", `"tomorrow" is not a time such as 2030-01-31T12:00:00Z`},
		{"API_EXTERNAL_URL", "auth.example.com", "not a URL such as https://auth.example.com"},
		{"API_EXTERNAL_URL", "https://", "not a URL such as https://auth.example.com"},
		{"GOTRUE_SITE_URL", "localhost:3000", "not an absolute URL such as https://app.example.com"},
		{"GOTRUE_SITE_URL", "https://app.\xff", "not valid UTF-8"},
		{"DATABASE_URL", "postgres://u:p%@h/d", "not a valid URL (special characters in the password must be percent-encoded)"},
		{"DATABASE_URL", "mysql://h/d", "not an address such as postgres://user:password@host:5432/database or host=… dbname=…"},
		{"GOTRUE_DB_DRIVER", "mysql", `"mysql" is not supported: the database is postgres`},
		{"DB_NAMESPACE", "public", `"public" is not supported: the tables live in schema auth`},
		{"GOTRUE_DB_DB_NAMESPACE", "", `"" is not supported: the tables live in schema auth`},
		{"GOTRUE_JWT_KEYS", `{"kty":"oct"}`, "not a JSON array of keys"},
		{"POSTERN_TOKEN_KEYS", longSecret + ",short", "key 2 is shorter than 32 bytes"},
		{"POSTERN_TOKEN_KEYS", longSecret + ",", "key 2 is shorter than 32 bytes"},
		{"GOTRUE_LOG_LEVEL", "loud", `"loud" is not one of trace, debug, info, warn, error, fatal, panic`},
		{"GOTRUE_RATE_LIMIT_HEADER", "X Client\n", `"X Client\n" is not the name of a header`},
		{"REQUEST_ID_HEADER", strings.Repeat("é", 60), `"` + strings.Repeat("é", 40) + `…" is not the name of a header`},
	} {
		want := []string{test.name + ": " + test.want}
		if diff := cmp.Diff(want, mistakes(t, environ(test.name+"="+test.value))); diff != "" {
			t.Errorf("%s=%s\n%s", test.name, test.value, diff)
		}
	}
}

func TestAllMistakesAreNamed(t *testing.T) {
	t.Parallel()
	var entries []string
	var want []string
	for _, v := range config.Variables() {
		switch v.Type {
		case config.Bool, config.Int, config.Number, config.Duration, config.Rate:
			entries = append(entries, v.Name+"=")
			want = append(want, v.Name)
		}
	}
	var got []string
	for _, line := range mistakes(t, environ(entries...)) {
		name, _, _ := strings.Cut(line, ": empty, write ")
		got = append(got, name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestUnverifiedSignInsWithAutoconfirm(t *testing.T) {
	t.Parallel()
	const unverified, autoconfirm = "GOTRUE_MAILER_ALLOW_UNVERIFIED_EMAIL_SIGN_INS", "GOTRUE_MAILER_AUTOCONFIRM"
	want := []string{unverified + ": cannot be true together with " + autoconfirm}
	if diff := cmp.Diff(want, mistakes(t, environ(unverified+"=true", autoconfirm+"=1"))); diff != "" {
		t.Error(diff)
	}
	load(t, unverified+"=true", autoconfirm+"=false")
	load(t, unverified+"=false", autoconfirm+"=true")
}

func TestHookAddresses(t *testing.T) {
	t.Parallel()
	const (
		http    = "only localhost, 127.0.0.1, and ::1 are supported with http"
		parts   = "URI path does not contain enough parts"
		refused = "only postgres hooks and HTTPS functions are supported at the moment"
	)
	for _, test := range []struct{ uri, want string }{
		{"", ""},
		{"pg-functions://postgres/public/claims", ""},
		{"pg-functions://anything/s_1/f_2/more", ""},
		{"pg-functions://postgres/public", parts},
		{"pg-functions://postgres", parts},
		{"pg-functions://postgres/1public/f", "invalid schema name: 1public"},
		{"pg-functions://postgres/public/f-g", "invalid table name: f-g"},
		{"pg-functions://postgres/public/", "invalid table name: "},
		{"pg-functions://postgres/public/a%0ab", "invalid table name: a%0ab"},
		{"pg-functions://postgres/public/" + strings.Repeat("f", 64), "invalid table name: " + strings.Repeat("f", 64)},
		{"http://localhost:54321/hook", ""},
		{"http://127.0.0.1/hook", ""},
		{"http://[::1]:80/hook", ""},
		{"http://host.docker.internal/hook", ""},
		{"http://hooks.example.com/hook", http},
		{"https://hooks.example.com/hook", ""},
		{"HTTPS://hooks.example.com/hook", ""},
		{"https:///hook", "not a valid URI"},
		{"ftp://hooks.example.com", refused},
		{"public.claims", refused},
		{"https://user:hunter2@host:port/", "not a valid URI"},
	} {
		for _, hook := range []string{
			"SEND_SMS", "SEND_EMAIL", "CUSTOM_ACCESS_TOKEN", "MFA_VERIFICATION_ATTEMPT",
			"PASSWORD_VERIFICATION_ATTEMPT", "BEFORE_USER_CREATED", "AFTER_USER_CREATED",
		} {
			name := "GOTRUE_HOOK_" + hook + "_URI"
			var want []string
			if test.want != "" {
				want = []string{name + ": " + test.want}
			}
			if diff := cmp.Diff(want, mistakes(t, environ(name+"="+test.uri))); diff != "" {
				t.Errorf("%s=%s\n%s", name, test.uri, diff)
			}
		}
	}
}

func TestHookSecrets(t *testing.T) {
	t.Parallel()
	symmetric := "v1,whsec_" + strings.Repeat("QUJD", 8)
	asymmetric := "v1a,whpk_" + strings.Repeat("QUJD", 11) + ":whsk_" + strings.Repeat("QUJD", 22)
	for _, test := range []struct {
		secrets string
		fine    bool
	}{
		{"", true},
		{symmetric, true},
		{asymmetric, true},
		{symmetric + "|" + asymmetric, true},
		{symmetric + "|", false},
		{"v1,whsec_short", false},
		{"whsec_" + strings.Repeat("QUJD", 8), false},
		{"v1a,whpk_short:whsk_short", false},
	} {
		const name, uri = "GOTRUE_HOOK_SEND_SMS_SECRETS", "GOTRUE_HOOK_SEND_SMS_URI=https://hooks.example.com"
		for _, spelled := range []string{name, "SECRETS"} {
			var want []string
			if !test.fine {
				want = []string{spelled + ": invalid secret format"}
			}
			if diff := cmp.Diff(want, mistakes(t, environ(uri, spelled+"="+test.secrets))); diff != "" {
				t.Errorf("%s\n%s", test.secrets, diff)
			}
		}
		load(t, name+"="+test.secrets, "GOTRUE_HOOK_SEND_SMS_URI=pg-functions://postgres/public/f")
	}
}

func TestHooksThatAreOn(t *testing.T) {
	t.Parallel()
	for _, hook := range []string{"SEND_SMS", "CUSTOM_ACCESS_TOKEN", "AFTER_USER_CREATED"} {
		enabled, uri := "GOTRUE_HOOK_"+hook+"_ENABLED", "GOTRUE_HOOK_"+hook+"_URI"
		for _, schema := range []string{"pg_catalog", "information_schema", "auth", "postern"} {
			want := []string{uri + ": a hook may not live in schema " + schema}
			if diff := cmp.Diff(want, mistakes(t, environ(uri+"=pg-functions://postgres/"+schema+"/f"))); diff != "" {
				t.Error(diff)
			}
		}
		for _, entries := range [][]string{{enabled + "=true"}, {enabled + "=true", uri + "="}} {
			want := []string{enabled + ": true, but " + uri + " is not set here: without one in auth.settings every call fails"}
			if diff := cmp.Diff(want, load(t, entries...).Notices); diff != "" {
				t.Error(diff)
			}
		}
		for _, address := range []string{"pg-functions://postgres/public/f", "https://hooks.example.com", "http://localhost/hook"} {
			if notices := load(t, enabled+"=true", uri+"="+address).Notices; notices != nil {
				t.Errorf("%q", notices)
			}
		}
	}
}

func TestCaptcha(t *testing.T) {
	t.Parallel()
	const enabled, provider, secret = "GOTRUE_SECURITY_CAPTCHA_ENABLED", "GOTRUE_SECURITY_CAPTCHA_PROVIDER", "GOTRUE_SECURITY_CAPTCHA_SECRET"
	want := []string{provider + `: unsupported captcha provider: "recaptcha"`, secret + ": captcha provider secret is empty"}
	if diff := cmp.Diff(want, mistakes(t, environ(enabled+"=true", provider+"=recaptcha"))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want[1:], mistakes(t, environ(enabled+"=true", secret+"= "))); diff != "" {
		t.Error(diff)
	}
	load(t, enabled+"=false", provider+"=recaptcha")
	if c := load(t, enabled+"=true", secret+"=0x0", provider+"=turnstile"); c.CaptchaProvider != "turnstile" || c.CaptchaSecret != "0x0" {
		t.Errorf("%+v", c)
	}
	if c := load(t, enabled+"=true", secret+"=0x0", provider+"="); c.CaptchaProvider != "hcaptcha" {
		t.Errorf("%+v", c)
	}
}

// Garbage in every secret, in forms that trip each of the parsers: neither a mistake nor a notice nor the configuration shows it.
func TestSecretsAreNeverPrinted(t *testing.T) {
	t.Parallel()
	const garbage = "gArBaGe"
	for _, form := range []string{
		garbage, garbage + "," + garbage, garbage + ":" + garbage, garbage + ":" + garbage + ":" + garbage, "{" + garbage, "[" + garbage + "]",
		"postgres://u:" + garbage + "%@" + garbage + ":port/", "://" + garbage, "v1,whsec_" + garbage + "|" + garbage,
		"\n" + garbage + "\x7f", `["` + garbage + `"]`, `{"` + garbage + `": ["` + garbage + `"]}`, garbage + strings.Repeat("=", 40), garbage + "\xff",
		"host=" + garbage + " " + strings.Repeat(garbage, 9),
	} {
		entries := []string{"GOTRUE_HOOK_SEND_EMAIL_URI=https://hooks.example.com"}
		for _, v := range config.Variables() {
			if v.Secret {
				entries = append(entries, v.Name+"="+form)
			}
			for _, alias := range v.Aliases {
				if v.Secret {
					entries = append(entries, alias+"="+form)
				}
			}
		}
		c, err := config.Load(environ(entries...))
		printed := fmt.Sprintf("%v %+v %#v", err, c, c)
		if c != nil {
			printed += strings.Join(c.Notices, "\n")
		}
		if strings.Contains(printed, garbage) {
			t.Errorf("%q shows in\n%s", form, printed)
		}
	}
	// One at a time, so that the rest of the environment is read to the end.
	for _, v := range config.Variables() {
		if !v.Secret {
			continue
		}
		c, err := config.Load(environ(v.Name + "=" + garbage))
		if printed := fmt.Sprintf("%v %+v", err, c); strings.Contains(printed, garbage) {
			t.Errorf("%s shows in\n%s", v.Name, printed)
		}
	}
}
