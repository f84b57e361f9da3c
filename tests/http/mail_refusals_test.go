package http_test

import (
	"fmt"
	"strings"
	"testing"
)

// Of several things that are wrong with a request for a code, and with a verification, the client is told the one that the contract
// tells first (core.md 7.4 to 7.8).
func TestWhichMistakeIsTold(t *testing.T) {
	t.Parallel()
	s := start(t, confirmByMail, "GOTRUE_EXTERNAL_PHONE_ENABLED=true")
	const (
		pkce      = "PKCE flow requires code_challenge_method and code_challenge"
		malformed = "Unable to validate email address: invalid format"
		noAddress = "Password recovery requires an email"
	)
	for _, c := range []struct {
		path, body string
		status     int
		code, msg  string
	}{
		{"/recover", `{"email": "x", "code_challenge": "x"}`, 400, "validation_failed", malformed},
		{"/recover", `{"code_challenge": "x"}`, 400, "validation_failed", noAddress},
		{"/recover", `{"email": "a@example.com", "code_challenge": "x"}`, 400, "validation_failed", pkce},
		{"/magiclink", `{"email": "x", "code_challenge": "x"}`, 400, "validation_failed", malformed},
		{"/magiclink", `{"code_challenge": "x"}`, 422, "validation_failed", noAddress},
		{"/magiclink", `{"email": "a@example.com", "code_challenge": "x"}`, 400, "validation_failed", pkce},
		{"/otp", `{"email": "x", "code_challenge": "x"}`, 400, "validation_failed", pkce},
		{"/otp", `{"code_challenge": "x"}`, 400, "validation_failed", pkce},
		{"/otp", `{"create_user": false}`, 400, "validation_failed", "One of email or phone must be set"},
		{"/otp", `{"create_user": false, "email": "x"}`, 422, "otp_disabled", "Signups not allowed for otp"},
		{"/verify", `{"type": "signup", "email": "x", "token": "1"}`, 422, "validation_failed", "Invalid email format"},
		{"/verify", `{"type": "foo", "email": "` + strings.Repeat("x", 255) + `@example.com", "token": "1"}`, 422, "validation_failed", "Invalid email format"},
		{"/verify", `{"type": "foo", "email": "a@example.com", "token": "1"}`, 403, "otp_expired", "Token has expired or is invalid"},
		{"/otp", `{"phone": " +4915"}`, 400, "validation_failed", "Invalid phone number format (E.164 required)"},
		{"/otp", `{"phone": "\t4915"}`, 400, "validation_failed", "Invalid phone number format (E.164 required)"},
		{"/verify", `{"type": "sms", "phone": "x", "token": "1"}`, 400, "validation_failed", "Invalid phone number format (E.164 required)"},
	} {
		if msg := s.do(call{Method: "POST", Path: c.path, Body: c.body}).refused(c.status, c.code).text("msg"); msg != c.msg {
			t.Errorf("%s %s: %q, want %q", c.path, c.body, msg, c.msg)
		}
	}
}

// Where nobody may sign up, codes are for accounts that are confirmed: who still has to confirm address or number would sign up with
// theirs (contract core.md 7.5). A recovery and what is asked for once more are no sign-ups.
func TestCodesWhereNobodyMaySignUp(t *testing.T) {
	t.Parallel()
	s := start(t, confirmByMail, "GOTRUE_DISABLE_SIGNUP=true", "GOTRUE_SMTP_MAX_FREQUENCY=1ms", "GOTRUE_SMS_MAX_FREQUENCY=1ms",
		"GOTRUE_EXTERNAL_PHONE_ENABLED=true", "GOTRUE_SMS_TEST_OTP=4915:123456")
	s.account("ada@example.com")
	byMail, byPhone := map[string]any{"email": "ada@example.com"}, map[string]any{"phone": "4915"}
	s.exec(`update auth.users set phone = '4915', phone_confirmed_at = now()`)
	s.post("/otp", byMail, "").want(200)
	s.post("/magiclink", byMail, "").want(200)
	s.post("/otp", byPhone, "").want(200)

	s.exec(`update auth.users set email_confirmed_at = null, phone_confirmed_at = null`)
	s.post("/otp", byMail, "").refused(422, "signup_disabled")
	s.post("/otp", with(byMail, map[string]any{"create_user": false}), "").refused(422, "signup_disabled")
	s.post("/magiclink", byMail, "").refused(422, "signup_disabled")
	s.post("/otp", byPhone, "").refused(422, "signup_disabled")
	s.post("/recover", byMail, "").want(200)
	s.post("/resend", with(byMail, map[string]any{"type": "signup"}), "").want(200)
	s.post("/resend", with(byPhone, map[string]any{"type": "sms"}), "").want(200)
}

// POST /magiclink reads its body in a way of its own (contract core.md 1.5): what follows the object does not matter, members of
// POST /otp are unknown to it, and all trouble has one text.
func TestBodiesOfMagicLinks(t *testing.T) {
	t.Parallel()
	s := start(t, confirmByMail)
	s.do(call{Method: "POST", Path: "/magiclink", Body: `{"email": "a@example.com", "create_user": "maybe", "channel": 1} and more`}).want(200)
	for _, body := range []string{"", "x", "[]", `{"email": 1}`, `{"email": "` + strings.Repeat("x", 1<<20) + `"}`, `{"email": "\u0000"}`} {
		msg := s.do(call{Method: "POST", Path: "/magiclink", Body: body}).refused(400, "bad_json").text("msg")
		if detail, ok := strings.CutPrefix(msg, "Could not read verification params: "); !ok || strings.HasPrefix(detail, "Could not") {
			t.Errorf("%.20q: %q", body, msg)
		}
	}
}

// What a client sends counts even when it is refused without a look into the database (contract core.md 11.1).
func TestRefusedRequestsCount(t *testing.T) {
	t.Parallel()
	s := start(t, limitOn, confirmByMail)
	for _, c := range []call{
		{Method: "POST", Path: "/recover", Body: "nonsense"},
		{Method: "POST", Path: "/magiclink", Body: "nonsense"},
		{Method: "POST", Path: "/otp", Body: `{"email": "a@example.com", "phone": "49151"}`},
		{Method: "POST", Path: "/resend", Body: "nonsense"},
		{Method: "POST", Path: "/verify", Body: "{}"},
		{Method: "GET", Path: "/verify?type=signup"},
		{Method: "PUT", Path: "/user", Body: "nonsense", Bearer: s.member("me@example.com").Access},
	} {
		client := strings.ReplaceAll(c.Method+c.Path, "/", "")
		for range 30 {
			s.do(c.from(client)).want(400)
		}
		s.do(c.from(client)).refusedByLimit()
		s.do(c.from("somebody else")).want(400)
	}
}

// An accepted invitation voids whatever else was sent to the invited, and the times it was sent (contract core.md 7.8).
func TestAcceptedInvitationsVoidWhatWasSent(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t)
	const email = "ada@example.com"
	s.post("/invite", map[string]any{"email": email}, s.serviceRole()).want(200)
	invitation := s.mail(r, email, 1)
	s.post("/recover", map[string]any{"email": email}, "").want(200)
	recovery := s.mail(r, email, 2)
	a := s.do(verifyCode("invite", email, invitation.Code)).want(200)
	for _, member := range []string{"confirmation_sent_at", "recovery_sent_at"} {
		if got := a.text("user." + member); got != "" {
			t.Errorf("%s is %s", member, got)
		}
	}
	if a.text("user.invited_at") == "" || a.text("user.email_confirmed_at") == "" {
		t.Errorf("answer %s", a.Raw)
	}
	if got := s.one(`select encrypted_password from auth.users`); got != "" {
		t.Errorf("a password is stored: %s", got)
	}
	s.do(verifyCode("recovery", email, recovery.Code)).refused(403, "otp_expired")
	s.do(verifyHash("recovery", recovery.token())).refused(403, "otp_expired")

	// Whoever signs up keeps them.
	s.post("/signup", map[string]any{"email": "bob@example.com", "password": goodPassword}, "").want(200)
	a = s.do(verifyCode("signup", "bob@example.com", s.mail(r, "bob@example.com", 1).Code)).want(200)
	if a.text("user.confirmation_sent_at") == "" {
		t.Errorf("answer %s", a.Raw)
	}
}

// What the audit log says of codes (contract mfa-hooks.md 5.2), and clients of codes for test numbers.
func TestAuditOfCodes(t *testing.T) {
	t.Parallel()
	env := []string{
		confirmByMail, "GOTRUE_SMTP_MAX_FREQUENCY=1ms", "GOTRUE_EXTERNAL_PHONE_ENABLED=true", "GOTRUE_SMS_MAX_FREQUENCY=1ms",
		"GOTRUE_SMS_TEST_OTP=4915:123456,4916:123456,4917:123456",
	}
	for _, c := range []struct {
		name, path, body, answer string
		env, audit               []string
		given                    []call
	}{
		{
			"resend of a sign-up", "/resend", `{"type": "signup", "email": "a@example.com"}`, `{}`, nil,
			[]string{"user_confirmation_requested -"},
			[]call{{Method: "POST", Path: "/otp", Body: `{"email": "a@example.com"}`}},
		},
		{
			"otp for an unconfirmed address", "/otp", `{"email": "a@example.com"}`, `{}`, nil,
			[]string{`user_confirmation_requested {"provider" : "email"}`},
			[]call{{Method: "POST", Path: "/otp", Body: `{"email": "a@example.com"}`}},
		},
		{
			"otp for a new number", "/otp", `{"phone": "4915"}`, `{}`, nil,
			[]string{`user_confirmation_requested {"provider" : "phone"}`},
			nil,
		},
		{
			"otp for a new number that is confirmed at once", "/otp", `{"phone": "4915"}`, `{"message_id" : "test-otp"}`,
			[]string{"GOTRUE_SMS_AUTOCONFIRM=true"},
			[]string{`user_signedup {"provider" : "phone", "channel" : "sms"}`, `user_recovery_requested {"channel" : "sms"}`},
			nil,
		},
		{
			"otp for a new address that is confirmed at once", "/otp", `{"email": "a@example.com"}`, `{}`,
			[]string{"GOTRUE_MAILER_AUTOCONFIRM=true"},
			[]string{`user_signedup {"provider" : "email"}`, `user_recovery_requested -`},
			nil,
		},
		{
			"sign-up by phone that is confirmed at once", "/signup", `{"phone": "4915", "password": "correct horse"}`, "",
			[]string{"GOTRUE_SMS_AUTOCONFIRM=true"},
			[]string{`user_signedup {"provider" : "phone", "channel" : "sms"}`, `login {"provider" : "phone"}`},
			nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, append(env, c.env...)...)
			for _, given := range c.given {
				s.do(given).want(200)
			}
			s.exec(`delete from auth.audit_log_entries`)
			a := s.do(call{Method: "POST", Path: c.path, Body: c.body}).want(200)
			if got := strings.TrimSpace(string(a.Raw)); c.answer != "" && got != c.answer {
				t.Errorf("answer %s, want %s", got, c.answer)
			}
			got := strings.Join(s.column(`select (payload ->> 'action') || ' ' || coalesce(payload ->> 'traits', '-')
				from auth.audit_log_entries order by created_at`), "\n")
			if want := strings.Join(c.audit, "\n"); got != want {
				t.Errorf("audit\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// A code for an account that is still to be confirmed is a sign-up again, which after_user_created is told of (contract
// mfa-hooks.md 3.6); a code to sign in with is not.
func TestAfterUserCreatedHookOfRepeatedCodes(t *testing.T) {
	t.Parallel()
	d := newHookDouble(t)
	s := start(t, append(d.on("after_user_created"), confirmByMail, "GOTRUE_SMTP_MAX_FREQUENCY=1ms",
		"GOTRUE_EXTERNAL_PHONE_ENABLED=true", "GOTRUE_SMS_MAX_FREQUENCY=1ms", "GOTRUE_SMS_TEST_OTP=4915:123456")...)
	for _, body := range []string{`{"email": "a@example.com"}`, `{"phone": "4915"}`} {
		request := call{Method: "POST", Path: "/otp", Body: body}
		for _, want := range []int{1, 1} {
			s.do(request).want(200)
			if got := len(d.took("after-user-created")); got != want {
				t.Errorf("%s: told %d times, want %d", body, got, want)
			}
		}
		s.exec(`update auth.users set email_confirmed_at = now(), phone_confirmed_at = now()`)
		s.do(request).want(200)
		if got := len(d.took("after-user-created")); got != 0 {
			t.Errorf("%s: told of a sign-in", body)
		}
	}
}

// A link whose use somebody's trigger refuses leads on with a failure of the server, whatever status the trigger raises.
func TestLinksThatATriggerRefuses(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t)
	s.account("ada@example.com")
	s.post("/recover", map[string]any{"email": "ada@example.com"}, "").want(200)
	mail := s.mail(r, "ada@example.com", 1)
	s.exec(raiseOn("insert on auth.sessions", "PT402"))
	_, _, fragment := s.follow(mail).landed()
	if got := fragment.Get("error") + " " + fragment.Get("error_code") + " " + fragment.Get("error_description"); got != "server_error unexpected_failure Error confirming user" {
		t.Errorf("%v", fragment)
	}
	s.exec(`drop trigger refuse on auth.sessions`)
	s.landedWith(s.follow(mail), "recovery")
}

// A link whose token a hook refuses leads on with the hook's words. They have no code, as in the kit's hooks_http.refused_registration.
func TestLinksThatAHookRefuses(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t, hookOn...)
	s.account("ada@example.com")
	s.post("/recover", map[string]any{"email": "ada@example.com"}, "").want(200)
	mail := s.mail(r, "ada@example.com", 1)
	for status, name := range map[int]string{403: "access_denied", 418: "", 500: "server_error"} {
		s.exec(tokenHook(fmt.Sprintf(`return '{"error": {"http_code": %d, "message": "not for you"}}'`, status)))
		_, _, fragment := s.follow(mail).landed()
		if fragment.Get("error") != name || !fragment.Has("error_code") || fragment.Get("error_code") != "" ||
			fragment.Get("error_description") != "not for you" {
			t.Errorf("%d: %v", status, fragment)
		}
	}
	s.exec(tokenHook(`return event`))
	s.landedWith(s.follow(mail), "recovery")
}
