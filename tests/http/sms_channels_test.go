package http_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/postern-auth/postern/gateway"
	"github.com/postern-auth/postern/tests/pgtest"
)

var byTwilio = []string{
	"GOTRUE_SMS_PROVIDER=twilio", "GOTRUE_SMS_TWILIO_ACCOUNT_SID=a", "GOTRUE_SMS_TWILIO_AUTH_TOKEN=t",
	"GOTRUE_SMS_TWILIO_MESSAGE_SERVICE_SID=+15550100",
}

// startTwilio starts a double of Twilio that takes every message, and hands on their forms.
func startTwilio(t *testing.T) (gateway.Endpoints, <-chan url.Values) {
	t.Helper()
	sent := make(chan url.Values, 3)
	twilio := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		sent <- r.PostForm
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"sid": "S1", "status": "queued"}`))
	}))
	t.Cleanup(twilio.Close)
	return gateway.Endpoints{SMS: twilio.URL}, sent
}

// WhatsApp is a channel where Twilio is the provider, and nowhere else (contract mfa-hooks.md 4.3).
func TestCodesByWhatsApp(t *testing.T) {
	t.Parallel()
	endpoints, sent := startTwilio(t)
	db := patient(t, pgtest.New(t))
	env := []string{"GOTRUE_EXTERNAL_PHONE_ENABLED=true", "GOTRUE_SMS_MAX_FREQUENCY=1ms"}
	s := startAsking(t, db, endpoints, append(env, byTwilio...)...)
	byWhatsApp := func(phone string) map[string]any { return map[string]any{"phone": phone, "channel": "whatsapp"} }
	arrived := func(to string) {
		t.Helper()
		if form := <-sent; form.Get("To") != to {
			t.Errorf("sent to %s, want %s", form.Get("To"), to)
		}
	}

	s.post("/otp", byWhatsApp("4915"), "").want(200)
	arrived("whatsapp:+4915")
	s.post("/signup", map[string]any{"phone": "4916", "password": "correct horse", "channel": "whatsapp"}, "").want(200)
	arrived("whatsapp:+4916")
	s.exec(`update auth.users set confirmation_sent_at = null where phone = '4916'`)
	s.post("/signup", map[string]any{"phone": "4916", "password": "correct horse", "channel": "whatsapp"}, "").want(200)
	arrived("whatsapp:+4916")
	s.put("/user", byWhatsApp("4917"), s.member("ada@example.com").Access).want(200)
	arrived("whatsapp:+4917")
	s.post("/otp", map[string]any{"phone": "4918", "channel": "pigeon"}, "").refused(400, "validation_failed")

	other := startOn(t, db, append(env, "GOTRUE_SMS_PROVIDER=textlocal", "GOTRUE_SMS_TEXTLOCAL_API_KEY=k", "GOTRUE_SMS_TEXTLOCAL_SENDER=s")...)
	other.post("/otp", byWhatsApp("4919"), "").refused(400, "validation_failed")
	if len(sent) > 0 {
		t.Errorf("also sent: %v", <-sent)
	}
}

// Who has no address reauthenticates by a number, with a code as long as those of SMS are.
func TestReauthenticationByNumber(t *testing.T) {
	t.Parallel()
	endpoints, sent := startTwilio(t)
	s := startAsking(t, patient(t, pgtest.New(t)), endpoints, append(byTwilio, "GOTRUE_EXTERNAL_PHONE_ENABLED=true",
		"GOTRUE_SMS_MAX_FREQUENCY=1ms", "GOTRUE_SMS_OTP_LENGTH=8", "GOTRUE_MAILER_OTP_LENGTH=6", "GOTRUE_SMS_TEMPLATE={{ .Code }}",
		"GOTRUE_SECURITY_UPDATE_PASSWORD_REQUIRE_REAUTHENTICATION=true")...)
	code := func() string {
		t.Helper()
		body := (<-sent).Get("Body")
		if len(body) != 8 {
			t.Errorf("the code %q", body)
		}
		return body
	}
	s.post("/otp", map[string]any{"phone": "4915"}, "").want(200)
	me := s.post("/verify", map[string]any{"type": "sms", "phone": "4915", "token": code()}, "").want(200).session()
	s.exec(`update auth.sessions set created_at = now() - interval '2 days'`)
	s.get("/reauthenticate", me.Access).want(200)
	change := func(nonce string) *answer {
		return s.put("/user", map[string]any{"password": "correct horse", "nonce": nonce}, me.Access)
	}
	texted := code()
	// As long as any code that is texted (contract core.md 6.7), by default a minute.
	s.exec(`update auth.users set reauthentication_sent_at = now() - interval '61 seconds'`)
	change(texted).refused(422, "reauthentication_not_valid")
	s.exec(`update auth.users set reauthentication_sent_at = now() - interval '50 seconds'`)
	change(texted).want(200)
}

// Who has a test number reauthenticates with the number's code (contract mfa-hooks.md 4.1, 4.5), which is no other number's.
func TestReauthenticationByTestNumber(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_EXTERNAL_PHONE_ENABLED=true", "GOTRUE_SMS_MAX_FREQUENCY=1ms", "GOTRUE_SMS_TEST_OTP=4915:123456,4916:654321",
		"GOTRUE_SECURITY_UPDATE_PASSWORD_REQUIRE_REAUTHENTICATION=true")
	s.post("/otp", map[string]any{"phone": "4915"}, "").want(200)
	me := s.post("/verify", map[string]any{"type": "sms", "phone": "4915", "token": "123456"}, "").want(200).session()
	s.exec(`update auth.sessions set created_at = now() - interval '2 days'`)
	change := func(password, nonce string) *answer {
		return s.put("/user", map[string]any{"password": password, "nonce": nonce}, me.Access)
	}
	change("correct horse", "123456").refused(422, "reauthentication_not_valid")
	s.get("/reauthenticate", me.Access).want(200)
	change("correct horse", "654321").refused(422, "reauthentication_not_valid")
	s.exec(`update auth.users set reauthentication_sent_at = now() - interval '61 seconds'`)
	change("correct horse", "123456").refused(422, "reauthentication_not_valid")
	s.exec(`update auth.users set reauthentication_sent_at = now()`)
	change("correct horse", "123456").want(200)
	change("another horse", "123456").refused(422, "reauthentication_not_valid")

	// Whose codes are mailed has none that is fixed.
	s.exec(`update auth.users set email = 'ada@example.com', email_confirmed_at = now()`)
	s.get("/reauthenticate", me.Access).want(200)
	change("another horse", "123456").refused(422, "reauthentication_not_valid")
}

// Where the provider names an SMS, those who ask for one again and those who reauthenticate are told (contract core.md 6.7, 7.6), and
// nobody else is (mfa-hooks.md 4.4). SMS to test numbers have a name of their own.
func TestNamesOfSMS(t *testing.T) {
	t.Parallel()
	endpoints, sent := startTwilio(t)
	s := startAsking(t, patient(t, pgtest.New(t)), endpoints, append(byTwilio, "GOTRUE_EXTERNAL_PHONE_ENABLED=true",
		"GOTRUE_SMS_MAX_FREQUENCY=1ms", "GOTRUE_SMS_TEST_OTP=4916:123456,4918:123456")...)
	for _, c := range []struct{ phone, next, id, signIn string }{
		{"4915", "4917", "S1", ""},
		{"4916", "4918", "test-otp", "test-otp"},
	} {
		told := func(what, id string, a *answer) {
			t.Helper()
			if got := a.want(200).text("message_id"); got != id {
				t.Errorf("%s: %s", what, a.Raw)
			}
			for len(sent) > 0 {
				<-sent
			}
		}
		told("otp of nobody", "", s.post("/otp", map[string]any{"phone": c.phone}, ""))
		told("resend", c.id, s.post("/resend", map[string]any{"type": "sms", "phone": c.phone}, ""))
		s.exec(`update auth.users set phone_confirmed_at = now() where phone = $1`, c.phone)
		told("otp", c.signIn, s.post("/otp", map[string]any{"phone": c.phone}, ""))
		me := s.open(s.one(`select id from auth.users where phone = $1`, c.phone))
		told("reauthentication", c.id, s.get("/reauthenticate", me.Access))
		s.put("/user", map[string]any{"phone": c.next}, me.Access).want(200)
		told("resend of a change", c.id, s.post("/resend", map[string]any{"type": "phone_change", "phone": c.phone}, ""))
	}
	told := s.post("/resend", map[string]any{"type": "signup", "email": "nobody@example.com"}, "").want(200)
	if strings.TrimSpace(string(told.Raw)) != "{}" {
		t.Errorf("resend to nobody: %s", told.Raw)
	}
}
