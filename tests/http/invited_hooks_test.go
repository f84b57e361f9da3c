package http_test

import (
	"fmt"
	"net/http"
	"testing"
)

// New accounts by an administrator: both hooks at invitations and generated links, none at /admin/users (contract mfa-hooks.md 3.6).
func TestHooksOfInvitedAccounts(t *testing.T) {
	t.Parallel()
	d := newHookDouble(t)
	s := start(t, append(d.on("before_user_created", "after_user_created"), confirmByMail, "GOTRUE_DISABLE_SIGNUP=true",
		"GOTRUE_MAILER_NOTIFICATIONS_PASSWORD_CHANGED_ENABLED=true")...)
	admin, known := s.serviceRole(), s.account("known@example.com")
	link := func(kind, email string) call {
		return call{Method: http.MethodPost, Path: "/admin/generate_link", Bearer: admin, Body: map[string]any{
			"type": kind, "email": email, "password": goodPassword, "data": map[string]any{"a": 1},
		}}
	}
	invite := func(email string) call {
		return call{Method: http.MethodPost, Path: "/invite", Bearer: admin, Body: map[string]any{"email": email, "data": map[string]any{"a": 1}}}
	}
	for _, c := range []struct {
		name   string
		call   call
		before bool
		after  bool
	}{
		{"invitation", invite("i@example.com"), true, true},
		{"invitation again", invite("i@example.com"), false, true},
		{"link of a sign-up", link("signup", "s@example.com"), true, true},
		{"link of a sign-up again", link("signup", "s@example.com"), false, false},
		{"link of an invitation", link("invite", "l@example.com"), true, true},
		{"magic link of nobody", link("magiclink", "m@example.com"), true, true},
		{"magic link", link("magiclink", "known@example.com"), false, false},
		{"recovery", link("recovery", "known@example.com"), false, false},
		{"an account", call{Method: http.MethodPost, Path: "/admin/users", Bearer: admin, Body: `{"email": "made@example.com"}`}, false, false},
		{"a change", call{Method: http.MethodPut, Path: "/admin/users/" + known, Bearer: admin, Body: `{"user_metadata": {"a": 1}}`}, false, false},
	} {
		id := s.do(c.call).want(200).text("id")
		before, after := d.took("before-user-created"), d.took("after-user-created")
		if (len(before) == 1) != c.before || (len(after) == 1) != c.after || len(before)+len(after) > 2 {
			t.Errorf("%s: asked %d times before, told %d times after", c.name, len(before), len(after))
			continue
		}
		for _, event := range append(before, after...) {
			if member(event, "user.id") != id || member(event, "user.user_metadata.a") != 1.0 || member(event, "metadata.ip_address") != "127.0.0.1" {
				t.Errorf("%s: told %v", c.name, event)
			}
		}
		if c.before && (member(before[0], "user.role") != "" || member(before[0], "user.app_metadata.provider") != "email") {
			t.Errorf("%s: before it is created, told %v", c.name, before[0])
		}
	}

	// Who may not invite has nobody asked, and what would be refused anyway is not asked about.
	nobody := invite("x@example.com")
	nobody.Bearer = s.member("me@example.com").Access
	s.do(nobody).refused(403, "not_admin")
	weak := link("signup", "w@example.com")
	weak.Body = `{"type": "signup", "email": "w@example.com", "password": "x"}`
	s.do(weak).refused(422, "weak_password")
	s.do(link("magic", "w@example.com")).refused(400, "validation_failed")
	s.do(invite("known@example.com")).refused(422, "email_exists")
	s.do(invite("nonsense")).refused(400, "validation_failed")
	if n := len(d.took("before-user-created")) + len(d.took("after-user-created")); n != 0 {
		t.Errorf("%d calls", n)
	}

	users := s.one(`select count(*) from auth.users`)
	d.answering(200, refusing(418, "not here"))
	for _, c := range []call{invite("new@example.com"), link("signup", "new@example.com"), link("magiclink", "new@example.com"), link("invite", "new@example.com")} {
		if msg := s.do(c).refused(418, "unknown").text("msg"); msg != "not here" {
			t.Errorf("msg %q", msg)
		}
	}
	if got := s.one(`select count(*) from auth.users`); got != users {
		t.Errorf("%s accounts, want %s", got, users)
	}
	// Afterwards, the account stays, and an administrator gets the hook's own words.
	d.calling(func(name string, _ map[string]any) (int, any) {
		if name == "after-user-created" {
			return 200, refusing(418, "too late")
		}
		return 204, nil
	})
	for i, c := range []call{invite("n1@example.com"), link("signup", "n2@example.com")} {
		if msg := s.do(c).refused(418, "unknown").text("msg"); msg != "too late" {
			t.Errorf("msg %q", msg)
		}
		if got := s.one(`select count(*) from auth.users where email = $1`, fmt.Sprintf("n%d@example.com", i+1)); got != "1" {
			t.Error("the account is gone")
		}
	}
}
