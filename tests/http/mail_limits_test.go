package http_test

import (
	"net/http"
	"strings"
	"testing"
)

// The next mail of its kind goes to a user after GOTRUE_SMTP_MAX_FREQUENCY, also when ten ask at once.
func TestMailsPerUserAreLimited(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		request func(s *server, me session) call
		column  string
		mails   int // of one request
	}{
		"recovery":   {func(*server, session) call { return post("/recover", `{"email": "ada@example.com"}`) }, "recovery_sent_at", 1},
		"otp":        {func(*server, session) call { return post("/otp", `{"email": "ada@example.com"}`) }, "recovery_sent_at", 1},
		"magic link": {func(*server, session) call { return post("/magiclink", `{"email": "ada@example.com"}`) }, "recovery_sent_at", 1},
		"resend": {func(s *server, _ session) call {
			s.exec(`update auth.users set email_confirmed_at = null`)
			return post("/resend", `{"type": "signup", "email": "ada@example.com"}`)
		}, "confirmation_sent_at", 1},
		"change of address": {func(_ *server, me session) call {
			return call{Method: http.MethodPut, Path: "/user", Body: `{"email": "new@example.com"}`, Bearer: me.Access}
		}, "email_change_sent_at", 2},
		"resend of a change": {func(s *server, _ session) call {
			s.exec(`update auth.users set email_change = 'new@example.com'`)
			return post("/resend", `{"type": "email_change", "email": "ada@example.com"}`)
		}, "email_change_sent_at", 2},
		"reauthentication": {func(_ *server, me session) call {
			return call{Method: http.MethodGet, Path: "/reauthenticate", Bearer: me.Access}
		}, "reauthentication_sent_at", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, r := startMailing(t, "GOTRUE_SMTP_MAX_FREQUENCY=60s")
			request := c.request(s, s.member("ada@example.com"))
			calls := make([]call, 10)
			for i := range calls {
				calls[i] = request
			}
			passed := 0
			for _, a := range s.atOnce(calls...) {
				if a.Status == http.StatusOK {
					passed++
					continue
				}
				a.refused(http.StatusTooManyRequests, "over_email_send_rate_limit")
				wantRetryAfter(t, a)
				if !strings.HasPrefix(a.text("msg"), "For security purposes, you can only request this after ") {
					t.Errorf("msg %q", a.text("msg"))
				}
			}
			s.drained()
			if passed != 1 || len(r.all()) != c.mails {
				t.Fatalf("%d requests passed, %d mails", passed, len(r.all()))
			}
			s.exec(`update auth.users set ` + c.column + ` = ` + c.column + ` - interval '60 seconds'`)
			s.do(request).want(http.StatusOK)
			s.drained()
			if len(r.all()) != 2*c.mails {
				t.Errorf("%d mails after a minute", len(r.all()))
			}
		})
	}
}

func post(path, body string) call { return call{Method: http.MethodPost, Path: path, Body: body} }

// The quota of all mails together holds across gateways, refused requests write nothing, and leave the quota alone.
func TestQuotaOfMails(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t, "GOTRUE_RATE_LIMIT_EMAIL_SENT=3")
	other := startOn(t, s.db, mailing(r, "GOTRUE_RATE_LIMIT_EMAIL_SENT=3")...)
	calls := make([]call, 8)
	for i := range calls {
		calls[i] = post("/otp", `{"email": "user`+string(rune('a'+i))+`@example.com"}`)
	}
	passed := 0
	for _, a := range append(s.atOnce(calls[:4]...), other.atOnce(calls[4:]...)...) {
		if a.Status == http.StatusOK {
			passed++
			continue
		}
		a.refusedWith(http.StatusTooManyRequests, "over_email_send_rate_limit", "email rate limit exceeded")
		wantRetryAfter(t, a)
	}
	s.drained()
	if users := s.one(`select count(*) from auth.users`); passed != 3 || users != "3" || len(r.all()) != 3 {
		t.Errorf("%d requests passed, %s accounts, %d mails", passed, users, len(r.all()))
	}
}

// One statement per request, whatever it mails; a sign-up asks its limit before it hashes, where there is one.
func TestMailRequestsCostOneStatement(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t)
	me := s.member("ada@example.com")
	s.exec(`update auth.users set email_change = 'new@example.com'`)
	s.account("bob@example.com")
	s.exec(`update auth.users set email_confirmed_at = null where email = 'bob@example.com'`)
	s.post("/recover", with(map[string]any{"email": "ada@example.com"}, challenge()), "").want(200)
	link := s.mail(r, "ada@example.com", 1).Link
	s.post("/otp", map[string]any{"email": "new@example.com"}, "").want(200)
	mail := s.mail(r, "new@example.com", 1)
	for _, c := range []struct {
		name string
		call call
	}{
		{"sign-up", post("/signup", `{"email": "x@example.com", "password": "correct horse"}`)},
		{"sign-up again", post("/signup", `{"email": "x@example.com", "password": "correct horse"}`)},
		{"recovery of nobody", post("/recover", `{"email": "nobody@example.com"}`)},
		{"verification by link", call{Method: http.MethodGet, Path: link.RequestURI()}},
		{"verification by code", verifyCode("signup", "new@example.com", mail.Code)},
		{"verification of a wrong code", verifyCode("signup", "bob@example.com", "000000")},
		{"recovery", post("/recover", `{"email": "ada@example.com"}`)},
		{"magic link", post("/magiclink", `{"email": "ada@example.com"}`)},
		{"otp", post("/otp", `{"email": "ada@example.com"}`)},
		{"otp of nobody", post("/otp", `{"email": "nobody@example.com"}`)},
		{"resend", post("/resend", `{"type": "signup", "email": "bob@example.com"}`)},
		{"resend of a change", post("/resend", `{"type": "email_change", "email": "ada@example.com"}`)},
		{"change of address", call{Method: http.MethodPut, Path: "/user", Body: `{"email": "other@example.com"}`, Bearer: me.Access}},
		{"reauthentication", call{Method: http.MethodGet, Path: "/reauthenticate", Bearer: me.Access}},
	} {
		var a *answer
		if got, texts := s.statements(func() { a = s.do(c.call) }); got != 1 {
			t.Errorf("%s: %d statements:\n%s", c.name, got, strings.Join(texts, "\n"))
		}
		if a.Status >= 400 && c.name != "verification of a wrong code" {
			t.Errorf("%s: %d %s", c.name, a.Status, a.Raw)
		}
	}
}
