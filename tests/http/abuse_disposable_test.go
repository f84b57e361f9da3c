package http_test

import (
	"net/http"
	"testing"
)

// Domains in auth.disposable_domains open no account; who has one signs in, and administrators may give out any address.
func TestDisposableDomains(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_MAILER_AUTOCONFIRM=false", "GOTRUE_RATE_LIMIT_EMAIL_SENT=1000", "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true")
	me, admin := s.member("ada@example.com"), s.serviceRole()
	s.account("old@trash.example")
	s.exec(`insert into auth.disposable_domains values ('trash.example')`)
	anonymous := s.post("/signup", `{}`, "").want(http.StatusOK).session()
	accounts := s.one(`select count(*) from auth.users`)
	for name, c := range map[string]call{
		"sign-up":              {Method: "POST", Path: "/signup", Body: `{"email": "New@Mail.Trash.Example", "password": "correct horse"}`},
		"sign-up, known":       {Method: "POST", Path: "/signup", Body: `{"email": "old@trash.example", "password": "correct horse"}`},
		"code":                 {Method: "POST", Path: "/otp", Body: `{"email": "new@trash.example"}`},
		"magic link":           {Method: "POST", Path: "/magiclink", Body: `{"email": "new@trash.example"}`},
		"change":               {Method: "PUT", Path: "/user", Body: `{"email": "new@trash.example"}`, Bearer: me.Access},
		"anonymous conversion": {Method: "PUT", Path: "/user", Body: `{"email": "new@trash.example"}`, Bearer: anonymous.Access},
	} {
		if a := s.do(c); a.Status != http.StatusBadRequest || a.text("error_code") != "email_address_invalid" {
			t.Errorf("%s: %d %s", name, a.Status, a.Raw)
		}
	}
	if got := s.one(`select count(*) from auth.users`); got != accounts || s.one(`select count(*) from auth.outbox`) != "0" {
		t.Errorf("%s accounts, before %s", got, accounts)
	}
	s.signIn("old@trash.example", goodPassword)
	s.post("/otp", `{"email": "old@trash.example"}`, "").want(http.StatusOK)
	s.post("/invite", `{"email": "invited@trash.example"}`, admin).want(http.StatusOK)
	s.post("/admin/users", `{"email": "made@trash.example"}`, admin).want(http.StatusOK)
	if got := s.one(`select count(*) from auth.outbox`); got != "2" {
		t.Errorf("%s mails, want the code and the invitation", got)
	}
}
