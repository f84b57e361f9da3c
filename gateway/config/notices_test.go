package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNotices(t *testing.T) {
	t.Parallel()
	const later = ": accepted, but not built yet: it has no effect"
	const unknown = ": not a variable that Postern knows"
	for _, test := range []struct {
		name    string
		entries []string
		want    []string
	}{
		{"nothing to say", nil, nil},
		{"a feature not built yet", []string{"GOTRUE_WEBAUTHN_RP_ID=app"}, []string{"GOTRUE_WEBAUTHN_RP_ID" + later}},
		{"switched off or empty asks for nothing", []string{"GOTRUE_MFA_WEB_AUTHN_ENROLL_ENABLED=false", "GOTRUE_WEBAUTHN_RP_ID="}, nil},
		{"a relay without a sender", []string{"GOTRUE_SMTP_HOST=mail", "POSTERN_SMTP_FALLBACK_1_HOST=mail2"}, []string{
			"GOTRUE_SMTP_ADMIN_EMAIL: not set, but a mail relay is: mails need a sender",
		}},
		{"a relay with one", []string{"POSTERN_SMTP_FALLBACK_1_HOST=mail", "POSTERN_SMTP_FALLBACK_1_ADMIN_EMAIL=a@b.c"}, nil},
		{"what cannot be read and does not stop the start", []string{
			`GOTRUE_SMTP_HEADERS={"a": "b"}`,
			`GOTRUE_MAILER_EMAIL_VALIDATION_SERVICE_HEADERS={"x-key": ["a\nb"]}`, "GOTRUE_MAILER_EMAIL_VALIDATION_BLOCKED_MX=mx",
		}, []string{
			"GOTRUE_MAILER_EMAIL_VALIDATION_SERVICE_HEADERS: one of the values cannot be a header's: ignored",
			"GOTRUE_MAILER_EMAIL_VALIDATION_BLOCKED_MX: not a JSON list of host names: ignored",
			"GOTRUE_SMTP_HEADERS: not a JSON object of header names and lists of values: ignored",
		}},
		{"no effect anywhere", []string{
			"GOTRUE_LOG_FIELDS=a", "GOTRUE_OPERATOR_TOKEN=b", "GOTRUE_EXTERNAL_X_API_URL=c",
			"GOTRUE_DB_DRIVER=postgres", "POSTERN_VERSION_TABLE=x.y",
		}, nil},
		{"shown but not built", []string{"GOTRUE_SAML_ENABLED=true", "GOTRUE_PASSKEY_ENABLED=true"}, []string{
			"GOTRUE_PASSKEY_ENABLED: shown by /settings, but passkeys are not built yet",
			"GOTRUE_SAML_ENABLED: shown by /settings, but SAML is not built yet",
		}},
		{"a weak secret", []string{"GOTRUE_JWT_SECRET=short"}, []string{
			"GOTRUE_JWT_SECRET: shorter than 32 bytes: whoever guesses it can sign tokens for any account",
		}},
		{
			"typing errors",
			[]string{"GOTRUE_JWT_EXPP=1", "GOTRUE_JTW_AUD=a", "POSTERN_TOKEN_KEY=k", "GOTRUE_EXTERNAL_GITHUBB_ENABLED=true"},
			[]string{
				"GOTRUE_EXTERNAL_GITHUBB_ENABLED" + unknown + "; did you mean GOTRUE_EXTERNAL_GITHUB_ENABLED?",
				"GOTRUE_JTW_AUD" + unknown + "; did you mean GOTRUE_JWT_AUD?",
				"GOTRUE_JWT_EXPP" + unknown + "; did you mean GOTRUE_JWT_EXP?",
				"POSTERN_TOKEN_KEY" + unknown + "; did you mean POSTERN_TOKEN_KEYS?",
			},
		},
		{
			"names from elsewhere",
			[]string{"GOTRUE_SOMETHING_ELSE=1", "POSTERN_\n=1", "OTHER=1"},
			[]string{"GOTRUE_SOMETHING_ELSE" + unknown, `POSTERN_\n` + unknown},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, load(t, test.entries...).Notices); diff != "" {
				t.Error(diff)
			}
		})
	}
}
