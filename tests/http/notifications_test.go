package http_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// Changes of an account are told to its address as it was before (contract core.md 9.1), when the settings say so.
func TestChangesAreTold(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t, "GOTRUE_EXTERNAL_PHONE_ENABLED=true", "GOTRUE_SMS_AUTOCONFIRM=true", "GOTRUE_MAILER_SECURE_EMAIL_CHANGE_ENABLED=false",
		"GOTRUE_MAILER_NOTIFICATIONS_PASSWORD_CHANGED_ENABLED=true", "GOTRUE_MAILER_NOTIFICATIONS_EMAIL_CHANGED_ENABLED=true",
		"GOTRUE_MAILER_NOTIFICATIONS_PHONE_CHANGED_ENABLED=true", "GOTRUE_MAILER_NOTIFICATIONS_IDENTITY_LINKED_ENABLED=true")
	me := s.member("ada@example.com")
	for _, c := range []struct {
		change   map[string]any
		told     int // mails to the old address so far
		subject  string
		mentions []string
	}{
		{map[string]any{"password": "another good password"}, 1, "Your password was changed", nil},
		{map[string]any{"phone": "+49 1511"}, 2, "A new sign-in method was linked to your account", []string{"phone"}}, // a first number changes none
		{map[string]any{"phone": "+49 1522"}, 3, "Your phone number was changed", []string{"491511", "491522"}},
		{map[string]any{"email": "new@example.com"}, 4, "Your email address was changed", []string{"ada@example.com", "new@example.com"}},
	} {
		s.put("/user", c.change, me.Access).want(http.StatusOK)
		if c.change["email"] != nil {
			s.follow(s.mail(r, "new@example.com", 1)).want(http.StatusSeeOther)
		}
		s.drained()
		got := r.to("ada@example.com")
		if len(got) != c.told {
			t.Fatalf("%v: %d mails, want %d", c.change, len(got), c.told)
		}
		mail := got[len(got)-1]
		if mail.Subject != c.subject {
			t.Errorf("%v: the last mail is %q", c.change, mail.Subject)
		}
		for _, text := range c.mentions {
			if !strings.Contains(mail.HTML, text) {
				t.Errorf("%v: the mail does not name %s: %s", c.change, text, mail.HTML)
			}
		}
	}
}

// Without the settings nothing is told, and with no mails left a change is made all the same.
func TestChangesThatAreNotTold(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{
		"not wanted":    nil,
		"no mails left": {"GOTRUE_MAILER_NOTIFICATIONS_PASSWORD_CHANGED_ENABLED=true", "GOTRUE_RATE_LIMIT_EMAIL_SENT=0"},
		"not on the list": {
			"GOTRUE_MAILER_NOTIFICATIONS_PASSWORD_CHANGED_ENABLED=true", "GOTRUE_EXTERNAL_EMAIL_AUTHORIZED_ADDRESSES=ops@example.com",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, append(env, confirmByMail)...)
			s.put("/user", map[string]any{"password": "another good password"}, s.member("ada@example.com").Access).want(http.StatusOK)
			if got := s.one(`select count(*) from auth.outbox`); got != "0" {
				t.Errorf("%s mails", got)
			}
			s.signIn("ada@example.com", "another good password")
		})
	}
}

// What is told is in the account's language, else in that of whoever made the change.
func TestChangesAreToldInALanguage(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t, "GOTRUE_EXTERNAL_PHONE_ENABLED=true", "GOTRUE_SMS_AUTOCONFIRM=true", "GOTRUE_MAILER_SECURE_EMAIL_CHANGE_ENABLED=false",
		"GOTRUE_MAILER_NOTIFICATIONS_PASSWORD_CHANGED_ENABLED=true", "GOTRUE_MAILER_NOTIFICATIONS_EMAIL_CHANGED_ENABLED=true",
		"GOTRUE_MAILER_NOTIFICATIONS_PHONE_CHANGED_ENABLED=true")
	const german = "de-AT, en;q=0.5"
	put := func(me session, languages string, change map[string]any) {
		t.Helper()
		s.do(call{
			Method: http.MethodPut, Path: "/user", Body: change, Bearer: me.Access, Header: map[string]string{"Accept-Language": languages},
		}).want(http.StatusOK)
	}
	subjects := func(email string) string {
		s.drained()
		var out []string
		for _, mail := range r.to(email) {
			out = append(out, mail.Subject)
		}
		slices.Sort(out)
		return strings.Join(out, ", ")
	}

	ada := s.member("ada@example.com")
	s.exec(`update auth.users set phone = '491511', phone_confirmed_at = now()`)
	put(ada, german, map[string]any{"password": "another good password"})
	put(ada, german, map[string]any{"phone": "+49 1522"})
	s.put("/user", map[string]any{"email": "new@example.com"}, ada.Access).want(http.StatusOK)
	link := s.mail(r, "new@example.com", 1).Link.RequestURI()
	s.do(call{Method: http.MethodGet, Path: link, Header: map[string]string{"Accept-Language": german}}).want(http.StatusSeeOther)
	if got := subjects("ada@example.com"); got != "Ihr Passwort wurde geändert, Ihre E-Mail-Adresse wurde geändert, Ihre Telefonnummer wurde geändert" {
		t.Errorf("Ada was told %s", got)
	}

	bob := s.member("bob@example.com")
	s.exec(`update auth.users set raw_user_meta_data = '{"locale": "en"}' where email = 'bob@example.com'`)
	put(bob, german, map[string]any{"password": "another good password"})
	if got := subjects("bob@example.com"); got != "Your password was changed" {
		t.Errorf("Bob was told %s", got)
	}
}
