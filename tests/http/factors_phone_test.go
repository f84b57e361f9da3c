package http_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/postern-auth/postern/gateway"
	"github.com/postern-auth/postern/tests/pgtest"
)

// phoneFactors switches factors by SMS on.
var phoneFactors = []string{
	"GOTRUE_MFA_PHONE_ENROLL_ENABLED=true", "GOTRUE_MFA_PHONE_VERIFY_ENABLED=true", "GOTRUE_MFA_PHONE_MAX_FREQUENCY=1us",
}

// enrolPhone adds a number to the account.
func (s *server) enrolPhone(me session, phone string) (factor string) {
	s.t.Helper()
	return s.post("/factors", map[string]any{"factor_type": "phone", "friendly_name": phone, "phone": phone}, me.Access).want(200).text("id")
}

// Codes of factors have a text, a length and a frequency of their own, count against no quota, and are stored as a digest.
func TestCodesOfPhoneFactors(t *testing.T) {
	t.Parallel()
	endpoints, sent := startTwilio(t)
	s := startAsking(t, patient(t, pgtest.New(t)), endpoints, append(append(phoneFactors, byTwilio...), "GOTRUE_MFA_PHONE_TEMPLATE=Second: {{ .Code }}",
		"GOTRUE_MFA_PHONE_OTP_LENGTH=8", "GOTRUE_RATE_LIMIT_SMS_SENT=0", "GOTRUE_SMS_TEST_OTP=4915:123456")...)
	me := s.quickMember("ada@example.com")
	enrolled := s.post("/factors", `{"factor_type": "phone", "friendly_name": "mobile", "phone": "+49 15"}`, me.Access).want(200)
	factor := enrolled.text("id")
	enrolled.holds(`{"id": "<uuid>", "type": "phone", "friendly_name": "mobile", "phone": "+49 15"}`, true)
	s.get("/user", me.Access).holds(`{"factors": [{"phone": "4915", "factor_type": "phone"}]}`, false)
	path := "/factors/" + factor + "/challenge"

	s.post(path, "", me.Access).refused(400, "bad_json")
	s.post(path, `{"channel": "pigeon"}`, me.Access).refused(400, "validation_failed")
	code := func(body, to string) (challenge, code string) {
		t.Helper()
		a := s.post(path, body, me.Access).want(200)
		a.holds(`{"id": "<uuid>", "type": "phone", "expires_at": "<number>"}`, true)
		form := <-sent
		code, found := strings.CutPrefix(form.Get("Body"), "Second: ")
		if !found || len(code) != 8 || form.Get("To") != to {
			t.Errorf("sent %v", form)
		}
		return a.text("id"), code
	}
	challenge, right := code(`{}`, "+4915")
	if got := s.one(`select otp_code from auth.mfa_challenges where id = $1::text::uuid`, challenge); len(got) != 64 {
		t.Errorf("stored as %s", got)
	}
	s.eventually("the SMS is noted as sent", func() bool {
		return s.one(`select concat(kind, ' ', state, ' ', sealed is null) from auth.outbox where id = $1::text::uuid`, challenge) == "mfa sent t"
	})
	for _, wrong := range []string{"00000000", right + " ", s.one(`select otp_code from auth.mfa_challenges`)} {
		a := s.do(verifying(me, factor, challenge, wrong)).refused(422, "mfa_verification_failed")
		if a.text("msg") != "Invalid MFA Phone code entered" {
			t.Errorf("msg %q", a.text("msg"))
		}
	}
	another, second := code(`{"channel": "whatsapp"}`, "whatsapp:+4915")
	s.do(verifying(me, factor, another, right)).refused(422, "mfa_verification_failed") // it was for the first challenge
	strong := s.do(verifying(me, factor, challenge, right)).want(200).session()
	if aalOf(t, strong.Access) != "aal2" || !strings.Contains(fmt.Sprint(claimsOf(t, strong.Access)["amr"]), "method:mfa/phone") {
		t.Errorf("claims %v", claimsOf(t, strong.Access))
	}
	s.do(verifying(strong, factor, another, second)).want(200) // open challenges stay open
	a := s.post("/factors", `{"factor_type": "phone", "friendly_name": "other", "phone": "4915"}`, strong.Access)
	a.refused(422, "mfa_verified_factor_exists")

	s.set(`mfa_phone_max_frequency = '1 hour'`)
	a = s.post(path, `{}`, strong.Access).refused(429, "over_sms_send_rate_limit")
	if !strings.HasPrefix(a.text("msg"), "For security purposes, you can only request this after 3") || a.Header.Get("Retry-After") == "" {
		t.Errorf("%s", a.Raw)
	}
	if strings.Contains(s.Log.String(), right) {
		t.Error("a code is in the log")
	}
}

// An SMS that cannot be sent leaves no challenge behind, and the client learns only that it was not sent (contract mfa-hooks.md 1.6).
func TestCodesOfPhoneFactorsThatAreNotSent(t *testing.T) {
	t.Parallel()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"code": 21211, "message": "not a number", "more_info": "", "status": 400}`))
	}))
	t.Cleanup(refusing.Close)
	d := newHookDouble(t)
	d.answering(200, map[string]any{"error": map[string]any{"http_code": 418, "message": "no"}})
	function := []string{"GOTRUE_HOOK_SEND_SMS_ENABLED=true", "GOTRUE_HOOK_SEND_SMS_URI=" + sendingURI}
	for name, c := range map[string]struct {
		env []string
		msg string
	}{
		"refused by the provider":  {byTwilio, "error sending message"},
		"no provider":              {nil, "Failed to get SMS provider"},
		"a provider without a key": {byTwilio[:2], "Failed to get SMS provider"},
		"refused by the hook":      {d.on("send_sms"), "error invoking hook"},
		"refused by a function":    {function, "error invoking hook"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startAsking(t, patient(t, pgtest.New(t)), gateway.Endpoints{SMS: refusing.URL}, append(append([]string{}, phoneFactors...), c.env...)...)
			s.sendingFunction(`raise exception 'the code is %', event -> 'sms' ->> 'otp';`)
			me := s.quickMember("ada@example.com")
			factor := s.enrolPhone(me, "4915")
			before := s.one(`select f::text from auth.mfa_factors f`)
			a := s.post("/factors/"+factor+"/challenge", `{}`, me.Access).refused(500, "unexpected_failure")
			if a.text("msg") != c.msg {
				t.Errorf("msg %q", a.text("msg"))
			}
			if after := s.one(`select f::text from auth.mfa_factors f`); after != before {
				t.Errorf("the factor was %s and is %s", before, after)
			}
			if left := s.one(`select (select count(*) from auth.mfa_challenges) + (select count(*) from auth.outbox)`); left != "0" {
				t.Errorf("%s challenges and SMS are left", left)
			}
		})
	}
}

// A hook sends instead of the provider, and is told that the code is for a second factor (contract mfa-hooks.md 3.6).
func TestCodesOfPhoneFactorsByHook(t *testing.T) {
	t.Parallel()
	d := newHookDouble(t)
	for name, env := range map[string][]string{
		"over HTTP":   d.on("send_sms"),
		"as function": {"GOTRUE_HOOK_SEND_SMS_ENABLED=true", "GOTRUE_HOOK_SEND_SMS_URI=" + sendingURI},
	} {
		s := start(t, append(env, phoneFactors...)...)
		s.sendingFunction(``)
		me := s.quickMember("ada@example.com")
		factor := s.enrolPhone(me, "+4915")
		challenge := s.post("/factors/"+factor+"/challenge", `{"channel": "pigeon"}`, me.Access).want(200).text("id")
		told := d.took("send-sms")
		if name == "as function" {
			told = s.eventsOfFunction()
		}
		if len(told) != 1 {
			t.Fatalf("%s: told %d times", name, len(told))
		}
		for path, want := range map[string]any{
			"sms.sms_type": "mfa", "sms.phone": "4915", "metadata.name": "send-sms", "metadata.ip_address": "127.0.0.1", "user.id": me.UserID,
			"user.factors.0.last_challenged_at": nil, "user.factors.0.id": factor,
		} {
			if got := member(told[0], path); got != want {
				t.Errorf("%s: %s is %v, want %v", name, path, got, want)
			}
		}
		code, _ := member(told[0], "sms.otp").(string)
		s.do(verifying(me, factor, challenge, code)).want(200)
	}
}

// Twilio Verify makes the codes of factors too, and checks them; a hook's codes are our own.
func TestPhoneFactorsWithTwilioVerify(t *testing.T) {
	t.Parallel()
	endpoints, checks := startTwilioVerify(t)
	d := newHookDouble(t)
	env := append(append(d.on("mfa_verification_attempt"), phoneFactors...), byTwilioVerify...)
	db := patient(t, pgtest.New(t))
	s := startAsking(t, db, endpoints, env...)
	me := s.quickMember("ada@example.com")
	factor := s.enrolPhone(me, "+4915")
	challenge := s.challenged(me, factor)
	a := s.do(verifying(me, factor, challenge, "000000")).refused(403, "otp_expired")
	if a.text("msg") != "Token has expired or is invalid" || len(d.took("mfa-verification")) != 0 {
		t.Errorf("msg %q", a.text("msg"))
	}
	s.do(verifying(me, factor, challenge, "")).refused(400, "validation_failed")
	asked := checks.Load()
	me = s.do(verifying(me, factor, challenge, "271828")).want(200).session()
	if checks.Load() != asked+1 || len(d.took("mfa-verification")) != 1 {
		t.Errorf("%d checks", checks.Load())
	}
	s.do(verifying(me, factor, challenge, "271828")).refused(422, "mfa_ip_address_mismatch")
	if checks.Load() != asked+1 {
		t.Error("the provider is asked about a challenge that is over")
	}

	hooked := startAsking(t, db, endpoints, append(env, d.on("send_sms")...)...)
	challenge = hooked.challenged(me, factor)
	code, _ := member(d.took("send-sms")[0], "sms.otp").(string)
	hooked.do(verifying(me, factor, challenge, code)).want(200)
}
