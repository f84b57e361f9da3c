package http_test

import (
	"crypto/sha1"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/postern-auth/postern/gateway"
	"github.com/postern-auth/postern/tests/pgtest"
)

const (
	hibpOn  = "GOTRUE_PASSWORD_HIBP_ENABLED=true"
	isPwned = "Password is known to be weak and easy to guess, please choose a different one."
	hibpMsg = "Unable to perform password strength check with HaveIBeenPwned.org."
)

// breached is the answer of the service that knows these passwords, whatever it is asked for.
func breached(passwords ...string) string {
	lines := []string{"0000000000000000000000000000000000A:0"}
	for _, password := range passwords {
		lines = append(lines, fmt.Sprintf("%X", sha1.Sum([]byte(password)))[5:]+":42")
	}
	return strings.Join(lines, "\r\n")
}

func TestBreachedPasswordsAreRefused(t *testing.T) {
	t.Parallel()
	const known, short = "known from a breach", "known"
	service := newDouble(t, breached(known, short, goodPassword))
	s := startAsking(t, pgtest.New(t), gateway.Endpoints{HIBP: service.URL}, hibpOn, "GOTRUE_PASSWORD_HIBP_USER_AGENT=tests")
	me, admin := s.quickMember("me@example.com"), s.serviceRole()
	weak := func(a *answer, message string, reasons ...string) {
		t.Helper()
		a.refused(http.StatusUnprocessableEntity, "weak_password")
		if got := fmt.Sprint(a.at("weak_password.reasons")); a.text("msg") != message || got != fmt.Sprint(reasons) {
			t.Errorf("%s: %s", a.call.Path, a.Raw)
		}
	}

	weak(s.post("/signup", map[string]any{"email": "new@example.com", "password": known}, ""), isPwned, "pwned")
	asked := service.took()
	if len(asked) != 1 || len(asked[0].Path) != len("/range/12345") || asked[0].Header.Get("User-Agent") != "tests" ||
		asked[0].Header.Get("Add-Padding") != "true" {
		t.Errorf("the service was asked %+v", asked)
	}
	weak(s.post("/signup", map[string]any{"email": "new@example.com", "password": short}, ""),
		"Password should be at least 6 characters. "+isPwned, "length", "pwned")
	weak(s.put("/user", map[string]any{"password": known}, me.Access), isPwned, "pwned")
	weak(s.put("/admin/users/"+me.UserID, map[string]any{"password": known}, admin), isPwned, "pwned")
	s.post("/admin/users", map[string]any{"email": "made@example.com", "password": known, "email_confirm": true}, admin).want(200)

	s.post("/signup", map[string]any{"email": "new@example.com", "password": "nobody knows this one"}, "").want(200)
	s.put("/user", map[string]any{"password": "nor this other one"}, me.Access).want(200)

	// Signing in tells, and lets in.
	a := s.post("/token?grant_type=password", map[string]any{"email": "made@example.com", "password": known}, "").want(200)
	if a.text("weak_password.message") != isPwned || fmt.Sprint(a.at("weak_password.reasons")) != "[pwned]" {
		t.Errorf("sign-in: %s", a.text("weak_password"))
	}
	// Whoever does not get in learns nothing, and nobody is asked.
	service.took()
	s.post("/token?grant_type=password", map[string]any{"email": "made@example.com", "password": "wrong, " + known}, "").refused(400, "invalid_credentials")
	if asked := service.took(); len(asked) != 0 {
		t.Errorf("a failed sign-in asked %v", asked)
	}
}

func TestPasswordsThatCannotBeLookedUp(t *testing.T) {
	t.Parallel()
	service := newDouble(t, "")
	service.answer(503, "")
	db := pgtest.New(t)
	open := startAsking(t, db, gateway.Endpoints{HIBP: service.URL}, hibpOn)
	shut := startAsking(t, db, gateway.Endpoints{HIBP: service.URL}, hibpOn, "GOTRUE_PASSWORD_HIBP_FAIL_CLOSED=true")

	me := open.post("/signup", map[string]any{"email": "me@example.com", "password": goodPassword}, "").want(200).session()
	if !strings.Contains(open.Log.String(), "lookup among breached passwords failed") {
		t.Error("the failed lookup is not in the log")
	}
	for name, a := range map[string]*answer{
		"sign-up":      shut.post("/signup", map[string]any{"email": "new@example.com", "password": goodPassword}, ""),
		"change":       shut.put("/user", map[string]any{"password": "another good one"}, me.Access),
		"admin update": shut.put("/admin/users/"+me.UserID, map[string]any{"password": "another good one"}, shut.serviceRole()),
	} {
		if a.Status != 500 || a.text("error_code") != "unexpected_failure" || a.text("msg") != hibpMsg {
			t.Errorf("%s: %d %s", name, a.Status, a.Raw)
		}
	}
	if got := shut.one(`select count(*) from auth.users`); got != "1" {
		t.Errorf("%s accounts", got)
	}
	a := shut.post("/token?grant_type=password", map[string]any{"email": "me@example.com", "password": goodPassword}, "").want(200)
	if a.at("weak_password") != nil {
		t.Errorf("sign-in: %s", a.text("weak_password"))
	}
}

func TestLookupsCostNoStatementAndComeAfterTheLimit(t *testing.T) {
	t.Parallel()
	service := newDouble(t, breached("known from a breach"))
	endpoints := gateway.Endpoints{HIBP: service.URL}
	first := startAsking(t, pgtest.New(t), endpoints, hibpOn, limitOn)
	me := first.quickMember("me@example.com")
	for _, c := range []struct {
		name string
		call call
		want int
	}{
		{"sign-up", call{Method: "POST", Path: "/signup", Body: `{"email": "a@example.com", "password": "correct horse"}`}, 2},
		{"sign-up, breached", call{Method: "POST", Path: "/signup", Body: `{"email": "b@example.com", "password": "known from a breach"}`}, 2},
		{"sign-in", grant(`{"email": "me@example.com", "password": "correct horse battery"}`), 2},
		{"change", call{Method: "PUT", Path: "/user", Body: `{"password": "another one"}`, Bearer: me.Access}, 2},
	} {
		s := startAsking(t, first.db, endpoints, hibpOn, limitOn)
		if got, texts := s.statements(func() { s.do(c.call.from("1.2.3.4")) }); got != c.want {
			t.Errorf("%s: %d statements, want %d:\n%s", c.name, got, c.want, strings.Join(texts, "\n"))
		}
		if asked := service.took(); len(asked) != 1 {
			t.Errorf("%s: %d lookups", c.name, len(asked))
		}
	}
	first.exec(`update auth.rate_limits set full_at = now() + interval '1 day'`)
	first.do(call{Method: "POST", Path: "/signup", Body: `{"email": "c@example.com", "password": "a fresh one"}`}.from("1.2.3.4")).refusedByLimit()
	if asked := service.took(); len(asked) != 0 {
		t.Errorf("a client over its limit asked %v", asked)
	}
}
