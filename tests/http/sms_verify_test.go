package http_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/postern-auth/postern/gateway"
	"github.com/postern-auth/postern/tests/pgtest"
)

// byTwilioVerify has codes by SMS made and checked by Twilio Verify.
var byTwilioVerify = []string{
	"GOTRUE_SMS_PROVIDER=twilio_verify", "GOTRUE_SMS_TWILIO_VERIFY_ACCOUNT_SID=a",
	"GOTRUE_SMS_TWILIO_VERIFY_AUTH_TOKEN=t", "GOTRUE_SMS_TWILIO_VERIFY_MESSAGE_SERVICE_SID=s",
}

// startTwilioVerify starts a double that approves the code 271828 for one number, and counts what it is asked about.
func startTwilioVerify(t *testing.T) (gateway.Endpoints, *atomic.Int64) {
	t.Helper()
	var checks atomic.Int64
	twilio := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/VerificationCheck") {
			checks.Add(1)
			valid := r.FormValue("To") == "+4915" && r.FormValue("Code") == "271828"
			_, _ = fmt.Fprintf(w, `{"sid": "V1", "status": %q, "valid": %t}`, map[bool]string{true: "approved", false: "pending"}[valid], valid)
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"sid": "V1", "status": "pending"}`))
	}))
	t.Cleanup(twilio.Close)
	return gateway.Endpoints{SMS: twilio.URL}, &checks
}

// Twilio Verify makes the codes and checks them: the one that it sent signs in, and it alone.
func TestCodesOfTwilioVerify(t *testing.T) {
	t.Parallel()
	endpoints, checks := startTwilioVerify(t)
	s := startAsking(t, patient(t, pgtest.New(t)), endpoints, append(byTwilioVerify, limitOn, "GOTRUE_EXTERNAL_PHONE_ENABLED=true", "GOTRUE_SMS_MAX_FREQUENCY=1ms",
		"GOTRUE_SMS_TEST_OTP=4999:123456", "GOTRUE_SMS_TEST_OTP_VALID_UNTIL=2100-01-01T00:00:00Z")...)
	verify := func(kind, phone, code string) *answer {
		t.Helper()
		return s.post("/verify", map[string]any{"type": kind, "phone": phone, "token": code}, "")
	}
	s.post("/otp", map[string]any{"phone": "+4915"}, "").want(200)
	for _, code := range []string{"000000", "checked by the provider"} {
		verify("sms", "4915", code).refused(403, "otp_expired")
	}
	me := verify("sms", "+49 15", "271828").want(200).session()
	verify("sms", "4915", "271828").refused(403, "otp_expired") // nothing is pending any more

	asked := checks.Load()
	s.post("/otp", map[string]any{"phone": "4999"}, "").want(200)
	verify("sms", "4999", "123456").want(200)
	if checks.Load() != asked {
		t.Error("the provider was asked about a test number")
	}

	s.put("/user", map[string]any{"phone": "4916"}, me.Access).want(200)
	verify("phone_change", "4916", "271828").refused(403, "otp_expired") // it was sent to another number

	// A client over its limit costs no call.
	before := checks.Load()
	for range 40 {
		s.do(call{
			Method: http.MethodPost, Path: "/verify", Body: map[string]any{"type": "sms", "phone": "4917", "token": "1"},
			Header: map[string]string{"X-Client": "one"},
		})
	}
	if n := checks.Load() - before; n != 30 {
		t.Errorf("the provider was asked %d times", n)
	}
}
