package http_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/postern-auth/postern/tests/pgtest"
)

// A request that waits for the row of an account, which is deleted meanwhile, answers as if the account had never been.
func TestRequestsWhileTheAccountIsDeleted(t *testing.T) {
	t.Parallel()
	s, _ := startMailing(t, "GOTRUE_SMTP_MAX_FREQUENCY=1ms", "GOTRUE_RATE_LIMIT_EMAIL_SENT=1000")
	admin := s.serviceRole()
	for name, c := range map[string]struct {
		method, path string
		body         map[string]any
		bearer       string // "user" for the account's own token
		status       int
		code         string
	}{
		"update":            {"PUT", "/admin/users/{id}", map[string]any{"user_metadata": map[string]any{"a": 1}}, admin, 404, "user_not_found"},
		"new address":       {"PUT", "/admin/users/{id}", map[string]any{"email": "new@example.com"}, admin, 404, "user_not_found"},
		"new password":      {"PUT", "/admin/users/{id}", map[string]any{"password": "another one"}, admin, 404, "user_not_found"},
		"delete":            {"DELETE", "/admin/users/{id}", nil, admin, 200, ""},
		"own metadata":      {"PUT", "/user", map[string]any{"data": map[string]any{"a": 1}}, "user", 403, "user_not_found"},
		"recovery":          {"POST", "/recover", map[string]any{"email": "{email}"}, "", 200, ""},
		"magic link":        {"POST", "/magiclink", map[string]any{"email": "{email}"}, "", 200, ""},
		"code":              {"POST", "/otp", map[string]any{"email": "{email}", "create_user": false}, "", 422, "otp_disabled"},
		"reauthentication":  {"GET", "/reauthenticate", nil, "user", 403, "user_not_found"},
		"generated link":    {"POST", "/admin/generate_link", map[string]any{"type": "recovery", "email": "{email}"}, admin, 404, "user_not_found"},
		"invitation":        {"POST", "/invite", map[string]any{"email": "{email}"}, admin, 200, ""},
		"confirmation":      {"POST", "/signup", map[string]any{"email": "{email}", "password": "another one"}, "", 200, ""},
		"generated sign-in": {"POST", "/admin/generate_link", map[string]any{"type": "magiclink", "email": "{email}"}, admin, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			email := strings.ReplaceAll(name, " ", "-") + "@example.com"
			me := s.member(email)
			if name == "invitation" || name == "confirmation" {
				s.exec(`update auth.users set email_confirmed_at = null where email = $1`, email)
			}
			request := call{Method: c.method, Path: strings.ReplaceAll(c.path, "{id}", me.UserID), Bearer: c.bearer}
			if c.bearer == "user" {
				request.Bearer = me.Access
			}
			if c.body != nil {
				if c.body["email"] == "{email}" {
					c.body["email"] = email
				}
				request.Body = c.body
			}
			hold := s.holdUser(email)
			waiting := s.later(request)
			s.awaitLocked("1")
			hold.exec(`delete from auth.users where email = $1`, email)
			hold.commit()
			a := waiting()
			if a.Status != c.status || len(a.Raw) == 0 {
				t.Errorf("status %d, want %d: %s", a.Status, c.status, a.Raw)
			} else if c.status >= http.StatusBadRequest {
				a.refused(c.status, c.code)
			}
		})
	}
}

// A request for a code that waits for the row of an account, whose address changes meanwhile, sends nothing to the former address.
func TestRequestsWhileTheAddressChanges(t *testing.T) {
	t.Parallel()
	s, _ := startMailing(t, "GOTRUE_SMTP_MAX_FREQUENCY=1ms", "GOTRUE_RATE_LIMIT_EMAIL_SENT=1000", "GOTRUE_EXTERNAL_PHONE_ENABLED=true",
		"GOTRUE_DISABLE_SIGNUP=true")
	for name, c := range map[string]struct {
		path, given string
		body        map[string]any
		status      int
	}{
		"recovery":     {"/recover", "", map[string]any{"email": "{email}"}, 200},
		"magic link":   {"/magiclink", "", map[string]any{"email": "{email}"}, 422},
		"code":         {"/otp", "", map[string]any{"email": "{email}", "create_user": false}, 422},
		"confirmation": {"/resend", "email_confirmed_at = null", map[string]any{"type": "signup", "email": "{email}"}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			email := strings.ReplaceAll(name, " ", "-") + "@example.com"
			id := s.account(email)
			if c.given != "" {
				s.exec(`update auth.users set `+c.given+` where email = $1`, email)
			}
			c.body["email"] = email
			hold := s.holdUser(email)
			waiting := s.later(call{Method: http.MethodPost, Path: c.path, Body: c.body})
			s.awaitLocked("1")
			hold.exec(`update auth.users set email = 'new-' || email where email = $1`, email)
			hold.commit()
			waiting().want(c.status)
			if got := s.one(`select (select count(*) from auth.one_time_tokens where user_id = $1::uuid) || ' ' ||
				(select count(*) from auth.outbox where user_id = $1::uuid)`, id); got != "0 0" {
				t.Errorf("one-time tokens, mails: %s", got)
			}
		})
	}
}

func TestRequestsWhileTheNumberChanges(t *testing.T) {
	t.Parallel()
	endpoints, sent := startTwilio(t)
	s := startAsking(t, patient(t, pgtest.New(t)), endpoints, append(byTwilio, "GOTRUE_EXTERNAL_PHONE_ENABLED=true",
		"GOTRUE_SMS_MAX_FREQUENCY=1ms", "GOTRUE_DISABLE_SIGNUP=true")...)
	id := s.accountIn("", "4915111111", true)
	hold := s.begin(`select from auth.users where id = $1::uuid for update`, id)
	waiting := s.later(call{Method: http.MethodPost, Path: "/otp", Body: map[string]any{"phone": "4915111111"}})
	s.awaitLocked("1")
	hold.exec(`update auth.users set phone = '4916222222' where id = $1::uuid`, id)
	hold.commit()
	waiting().refused(422, "signup_disabled")
	if got := s.one(`select count(*) from auth.one_time_tokens`); got != "0" || len(sent) > 0 {
		t.Errorf("one-time tokens: %s, SMS: %d", got, len(sent))
	}
}
