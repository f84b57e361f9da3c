package config_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-auth/postern/gateway/config"
)

func TestRelays(t *testing.T) {
	t.Parallel()
	if relays := load(t, "GOTRUE_SMTP_USER=u", "POSTERN_SMTP_FALLBACK_1_USER=u").Relays(); relays != nil {
		t.Errorf("without a host: %v", relays)
	}
	c := load(t, "GOTRUE_SMTP_HOST=one", "GOTRUE_SMTP_USER=u", "GOTRUE_SMTP_PASS=p", "GOTRUE_SMTP_ADMIN_EMAIL=auth@example.com",
		"GOTRUE_SMTP_SENDER_NAME=Example", "GOTRUE_SMTP_PORT=465", "POSTERN_SMTP_FALLBACK_2_HOST=three", "POSTERN_SMTP_FALLBACK_2_PORT=25",
		"POSTERN_SMTP_FALLBACK_2_SENDER_NAME=Third")
	want := []config.SMTPRelay{
		{Host: "one", Port: 465, User: "u", Pass: "p", AdminEmail: "auth@example.com", SenderName: "Example"},
		// A user and a password belong to one relay; the sender does not.
		{Host: "three", Port: 25, AdminEmail: "auth@example.com", SenderName: "Third"},
	}
	if diff := cmp.Diff(want, c.Relays()); diff != "" {
		t.Error(diff)
	}
}

func TestDelivery(t *testing.T) {
	t.Parallel()
	c := load(t,
		`GOTRUE_SMTP_HEADERS={"X-Kind": ["$messageType", "b"]}`, "GOTRUE_SMTP_LOGGING_ENABLED=true",
		"GOTRUE_MAILER_SUBJECTS_MAGIC_LINK=Hello {{ .Email }}", "GOTRUE_MAILER_SUBJECTS_INVITE=",
		"GOTRUE_MAILER_TEMPLATES_PASSWORD_CHANGED_NOTIFICATION=/mails/changed.html",
		"GOTRUE_MAILER_URLPATHS_RECOVERY=/auth/v1/verify", "GOTRUE_MAILER_URLPATHS_INVITE=", "GOTRUE_MAILER_URLPATHS_MAGIC_LINK=%zz",
		"GOTRUE_MAILER_EXTERNAL_HOSTS=a.example.com,b.example.com", "GOTRUE_MAILER_TEMPLATE_MAX_SIZE=10", "GOTRUE_MAILER_TEMPLATE_MAX_AGE=0s",
		"GOTRUE_MAILER_TEMPLATE_RETRY_INTERVAL=1s", "POSTERN_TEMPLATES_DIR=/etc/postern/mails", "POSTERN_VERIFY_CONFIRM_PAGE=true",
		"GOTRUE_MAILER_EMAIL_VALIDATION_EXTENDED=true", "GOTRUE_MAILER_EMAIL_VALIDATION_SERVICE_URL=https://check.example.com/a",
		`GOTRUE_MAILER_EMAIL_VALIDATION_SERVICE_HEADERS={"X-Key": ["k"]}`, `GOTRUE_MAILER_EMAIL_VALIDATION_BLOCKED_MX=["mx.parking.net"]`,
		"GOTRUE_SMS_TWILIO_VERIFY_AUTH_TOKEN=t", "GOTRUE_SMS_TEXTLOCAL_SENDER=s", "GOTRUE_SMS_VONAGE_FROM=", "GOTRUE_SMS_TEMPLATE=",
		"GOTRUE_INTERNAL_HTTP_TIMEOUT=3s", "SECRETS=shared", "GOTRUE_HOOK_SEND_SMS_SECRETS=own", "GOTRUE_HOOK_SEND_EMAIL_SECRETS=",
		"GOTRUE_SECURITY_CAPTCHA_TIMEOUT=2s", "GOTRUE_PASSWORD_HIBP_ENABLED=true", "GOTRUE_PASSWORD_HIBP_FAIL_CLOSED=true",
		"GOTRUE_PASSWORD_HIBP_USER_AGENT=me")
	want := load(t)
	want.SMTPHeaders, want.SMTPLogging = map[string][]string{"X-Kind": {"$messageType", "b"}}, true
	want.MailerSubjects = map[string]string{"magic_link": "Hello {{ .Email }}"}
	want.MailerTemplates = map[string]string{"password_changed_notification": "/mails/changed.html"}
	want.MailerURLPaths["recovery"] = "/auth/v1/verify"
	want.MailerExternalHosts = []string{"a.example.com", "b.example.com"}
	want.MailerTemplateMaxSize, want.MailerTemplateRetryInterval = 10, time.Second
	want.TemplatesDir, want.VerifyConfirmPage = "/etc/postern/mails", true
	want.EmailValidation = config.EmailValidation{
		Extended: true, ServiceURL: "https://check.example.com/a",
		ServiceHeaders: config.SecretHeaders{"X-Key": {"k"}}, BlockedMX: []string{"mx.parking.net"},
	}
	want.SMSCredentials = map[string]config.Secret{"twilio_verify_auth_token": "t", "textlocal_sender": "s"}
	want.HTTPTimeout = 3 * time.Second
	want.HookSecrets = map[string]config.Secret{
		"send_sms": "own", "custom_access_token": "shared", "mfa_verification_attempt": "shared",
		"password_verification_attempt": "shared", "before_user_created": "shared", "after_user_created": "shared",
	}
	want.CaptchaTimeout = 2 * time.Second
	want.HIBPEnabled, want.HIBPFailClosed, want.HIBPUserAgent = true, true, "me"
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
}

// The codes of test numbers reach the database, and nothing that is printed.
func TestCodesOfTestNumbers(t *testing.T) {
	t.Parallel()
	c := load(t, "GOTRUE_SMS_TEST_OTP=+1 555 0100:123456,15550101:654321, +3:9")
	encoded, err := json.Marshal(c.Policy)
	if want := `"sms_test_otp":{"+3":"9","15550100":"123456","15550101":"654321"}`; err != nil || !strings.Contains(string(encoded), want) {
		t.Errorf("%s, %v", encoded, err)
	}
	if printed := fmt.Sprintf("%v %+v %#v %s", c, c, c, c.Policy["sms_test_otp"]); strings.Contains(printed, "123456") {
		t.Error(printed)
	}
	if encoded, err := json.Marshal(load(t, "GOTRUE_SMS_TEST_OTP=").Policy); err != nil || !strings.Contains(string(encoded), `"sms_test_otp":{}`) {
		t.Errorf("%s, %v", encoded, err)
	}
}

func TestSecretHeadersDoNotPrint(t *testing.T) {
	t.Parallel()
	headers := config.SecretHeaders{"X-Key": {"hunter2"}}
	encoded, err := json.Marshal(headers)
	if printed := fmt.Sprintf("%v %+v %#v %s %x %s", headers, headers, headers, headers.LogValue(), headers, encoded); err != nil ||
		strings.Contains(printed, "hunter2") || strings.Contains(printed, "68756e") {
		t.Error(printed)
	}
}
