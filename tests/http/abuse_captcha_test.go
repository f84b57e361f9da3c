package http_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/postern-auth/postern/gateway"
	"github.com/postern-auth/postern/tests/pgtest"
)

func captchaOn(more ...string) []string {
	return append([]string{"GOTRUE_SECURITY_CAPTCHA_ENABLED=true", "GOTRUE_SECURITY_CAPTCHA_SECRET=captcha-secret"}, more...)
}

const noCaptcha = "captcha protection: request disallowed (no captcha_token found)"

// withSecurity is a JSON body with the member that captchas are in.
func withSecurity(body, security string) string {
	comma := ", "
	if body == "{}" {
		comma = ""
	}
	return strings.TrimSuffix(body, "}") + comma + `"gotrue_meta_security": ` + security + "}"
}

// withToken is a JSON body with a captcha's token.
func withToken(body, token string) string {
	return withSecurity(body, `{"captcha_token": "`+token+`"}`)
}

func TestCaptchaGuardsItsRoutes(t *testing.T) {
	t.Parallel()
	provider := newDouble(t, `{"success": true}`)
	s := startAsking(t, pgtest.New(t), gateway.Endpoints{Captcha: provider.URL}, captchaOn(anonymousOn)...)
	me := s.member("me@example.com")
	for _, c := range []struct {
		path, body string
		status     int // once the captcha is solved
	}{
		{"/signup", `{"email": "new@example.com", "password": "correct horse"}`, 200},
		{"/signup", `{}`, 200},
		{"/token?grant_type=password", `{"email": "me@example.com", "password": "correct horse battery"}`, 200},
		{"/token?grant_type=web3", `{}`, 422},
		{"/token?grant_type=x", `{}`, 400},
		{"/recover", `{"email": "nobody@example.com"}`, 200},
		{"/magiclink", `{"email": "nobody@example"}`, 200},
		{"/otp", `{"email": "somebody@example.com"}`, 200},
		{"/resend", `{"email": "nobody@example.com", "type": "signup"}`, 200},
		{"/sso", `{}`, 404},
		{"/passkeys/authentication/options", `{}`, 404},
	} {
		for _, body := range []string{c.body, withSecurity(c.body, "{}"), withToken(c.body, "  ")} {
			a := s.post(c.path, body, "").refused(http.StatusBadRequest, "captcha_failed")
			if a.text("msg") != noCaptcha {
				t.Errorf("%s: msg %q", c.path, a.text("msg"))
			}
		}
		if asked := provider.took(); len(asked) != 0 {
			t.Errorf("%s: the provider was asked about no token", c.path)
		}
		s.post(c.path, withToken(c.body, " solved "), "").want(c.status)
		asked := provider.took()
		if len(asked) != 1 || asked[0].Path != "/siteverify" || asked[0].Form["response"][0] != "solved" ||
			asked[0].Form["secret"][0] != "captcha-secret" || asked[0].Form["remoteip"][0] != "127.0.0.1" {
			t.Errorf("%s: the provider was asked %v", c.path, asked)
		}
	}

	for path, body := range map[string]string{
		"/token?grant_type=refresh_token": `{"refresh_token": "` + me.Refresh + `"}`,
		"/token?grant_type=pkce":          `{}`,
		"/token?grant_type=id_token":      `{}`,
		"/verify":                         `{}`,
		"/logout":                         ``,
	} {
		if a := s.post(path, body, me.Access); strings.Contains(string(a.Raw), "captcha") {
			t.Errorf("%s: %s", path, a.Raw)
		}
	}
	if asked := provider.took(); len(asked) != 0 {
		t.Errorf("routes without a captcha asked %v", asked)
	}
}

func TestCaptchaRefusalsAndFailures(t *testing.T) {
	t.Parallel()
	provider := newDouble(t, "")
	s := startAsking(t, pgtest.New(t), gateway.Endpoints{Captcha: provider.URL}, captchaOn("GOTRUE_SECURITY_CAPTCHA_PROVIDER=turnstile")...)
	body := withToken(`{"email": "nobody@example.com"}`, "x")

	provider.answer(400, `{"success": false, "error-codes": ["invalid-input-response", "timeout-or-duplicate"]}`)
	a := s.post("/recover", body, "").refused(400, "captcha_failed")
	if a.text("msg") != "captcha protection: request disallowed (invalid-input-response, timeout-or-duplicate)" {
		t.Errorf("msg %q", a.text("msg"))
	}
	if path := provider.took()[0].Path; path != "/turnstile/v0/siteverify" {
		t.Errorf("asked at %s", path)
	}
	provider.answer(200, `<html>`)
	a = s.post("/recover", body, "").refused(500, "unexpected_failure")
	if a.text("msg") != "captcha verification process failed" {
		t.Errorf("msg %q", a.text("msg"))
	}
	s.post("/recover", "{", "").refused(400, "bad_json")
	s.post("/recover", `{"gotrue_meta_security": 1}`, "").refused(400, "bad_json")
	if strings.Contains(s.Log.String(), "captcha-secret") {
		t.Error("the log shows the secret")
	}
}

func TestAdministratorsNeedNoCaptcha(t *testing.T) {
	t.Parallel()
	provider := newDouble(t, `{"success": false}`)
	s := startAsking(t, pgtest.New(t), gateway.Endpoints{Captcha: provider.URL}, captchaOn()...)
	me := s.member("me@example.com")
	body := `{"email": "nobody@example.com"}`
	s.post("/recover", body, s.serviceRole()).want(200)
	for name, bearer := range map[string]string{
		"a user": me.Access, "nonsense": "x", "a changed token": s.serviceRole() + "x",
		"an expired one": s.mint(map[string]any{"role": "service_role", "exp": 1}),
	} {
		if a := s.post("/recover", body, bearer); a.Status != 400 || a.text("error_code") != "captcha_failed" {
			t.Errorf("%s: %d %s", name, a.Status, a.Raw)
		}
	}
	if asked := provider.took(); len(asked) != 0 {
		t.Errorf("asked %v", asked)
	}
	// The token says nothing else: a new account is nobody's but its own.
	s.post("/signup", `{"email": "new@example.com", "password": "correct horse"}`, s.serviceRole()).want(200)
	if got := s.one(`select role || ' ' || aud from auth.users where email = 'new@example.com'`); got != "authenticated authenticated" {
		t.Errorf("account is %q", got)
	}
}

// The limit stands before the captcha, but for /signup and /token; what captchas refuse counts.
func TestLimitsComeBeforeCaptchas(t *testing.T) {
	t.Parallel()
	provider := newDouble(t, `{"success": true}`)
	s := startAsking(t, pgtest.New(t), gateway.Endpoints{Captcha: provider.URL}, captchaOn(limitOn)...)
	for path, limiter := range map[string]string{"/recover": "recover", "/magiclink": "magic_link", "/otp": "otp", "/resend": "resend"} {
		request := call{Method: "POST", Path: path, Body: `{"email": "nobody@example.com", "create_user": false, "type": "signup"}`}.from("a")
		for range 3 {
			s.do(request).refused(400, "captcha_failed")
		}
		if got := s.one(`select round(extract(epoch from full_at - now()) / 10)::integer from auth.rate_limits where limiter = $1`, limiter); got != "3" {
			t.Errorf("%s: %s places taken", path, got)
		}
		s.exec(`update auth.rate_limits set full_at = now() + interval '1 day' where limiter = $1`, limiter)
		s.do(request).refusedByLimit()
	}
	for range 3 {
		s.do(call{Method: "POST", Path: "/signup", Body: `{"email": "x"}`}.from("a")).refused(400, "captcha_failed")
		s.do(grant(`{}`).from("a")).refused(400, "captcha_failed")
	}
	if got := s.one(`select count(*) from auth.rate_limits where limiter in ('signups', 'token')`); got != "0" {
		t.Error("a refused captcha counted at /signup or /token")
	}
}

func TestCaptchasCostNoStatement(t *testing.T) {
	t.Parallel()
	provider := newDouble(t, `{"success": true}`)
	endpoints := gateway.Endpoints{Captcha: provider.URL}
	first := startAsking(t, pgtest.New(t), endpoints, captchaOn(limitOn)...)
	for _, c := range []struct {
		name, path, body string
		want             int
	}{
		{"solved", "/recover", withToken(`{"email": "nobody@example.com"}`, "x"), 1},
		{"not solved, limited", "/recover", `{"email": "nobody@example.com"}`, 1},
		{"sign-up not solved", "/signup", `{"email": "a@example.com", "password": "correct horse"}`, 0},
		{"sign-up solved", "/signup", withToken(`{"email": "a@example.com", "password": "correct horse"}`, "x"), 2},
		{"sign-in not solved", "/token?grant_type=password", `{"email": "a@example.com", "password": "correct horse"}`, 0},
		{"sign-in solved", "/token?grant_type=password", withToken(`{"email": "a@example.com", "password": "correct horse"}`, "x"), 2},
	} {
		s := startAsking(t, first.db, endpoints, captchaOn(limitOn)...)
		request := call{Method: "POST", Path: c.path, Body: c.body}.from("1.2.3.4")
		if got, texts := s.statements(func() { s.do(request) }); got != c.want {
			t.Errorf("%s: %d statements, want %d:\n%s", c.name, got, c.want, strings.Join(texts, "\n"))
		}
	}
}

func TestCaptchasSwitchedOnWithSQL(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.post("/recover", `{"email": "nobody@example.com"}`, "").want(200)
	s.set("security_captcha_enabled = true")
	a := s.post("/recover", withToken(`{"email": "nobody@example.com"}`, "x"), "").refused(500, "unexpected_failure")
	if a.text("msg") != "captcha verification process failed" || !strings.Contains(s.Log.String(), "captcha provider secret is empty") {
		t.Errorf("without a secret: %s", a.Raw)
	}
}
