package http_test

import (
	"net/http"
	"strings"
	"testing"
)

// Statements per request (DESIGN 4): one everywhere, two where a password is compared or a limit is asked before hashing,
// three more where a SQL hook runs (begin, its time limit, commit: one round trip with the statement itself).
func TestStatementsPerRequest(t *testing.T) {
	t.Parallel()
	hooked := append([]string{limitOn, anonymousOn}, hookOn...)
	for name, c := range map[string]struct {
		env  []string
		more map[string]int // what differs from one statement
	}{
		"plain":       {[]string{anonymousOn}, map[string]int{"POST /token password": 2, "PUT /user password": 2}},
		"with limits": {[]string{anonymousOn, limitOn}, map[string]int{"POST /signup": 2, "POST /token password": 2, "PUT /user password": 2}},
		"with a hook": {hooked, map[string]int{"POST /signup": 5, "POST /signup anonymous": 4, "POST /token password": 5, "POST /token refresh": 4, "PUT /user password": 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, c.env...)
			s.exec(tokenHook(`return event`))
			me, admin := s.quickMember("me@example.com"), s.serviceRole()
			gone := s.account("gone@example.com")
			for _, r := range []struct {
				name string
				call call
			}{
				{"GET /ready", call{Method: "GET", Path: "/ready"}},
				{"POST /signup", call{Method: "POST", Path: "/signup", Body: `{"email": "new@example.com", "password": "correct horse"}`}},
				{"POST /signup anonymous", call{Method: "POST", Path: "/signup", Body: `{}`}},
				{"POST /token password", grant(`{"email": "me@example.com", "password": "correct horse battery"}`)},
				{"POST /token refresh", call{Method: "POST", Path: "/token?grant_type=refresh_token", Body: map[string]any{"refresh_token": me.Refresh}}},
				{"GET /user", call{Method: "GET", Path: "/user", Bearer: me.Access}},
				{"PUT /user", call{Method: "PUT", Path: "/user", Body: `{"data": {"a": 1}, "email": "me@example.com"}`, Bearer: me.Access}},
				{"PUT /user password", call{Method: "PUT", Path: "/user", Body: `{"password": "another one"}`, Bearer: me.Access}},
				{"POST /logout", call{Method: "POST", Path: "/logout", Bearer: me.Access}},
				{"GET /admin/users", call{Method: "GET", Path: "/admin/users", Bearer: admin}},
				{"POST /admin/users", call{Method: "POST", Path: "/admin/users", Body: `{"email": "made@example.com"}`, Bearer: admin}},
				{"GET /admin/users/{user_id}", call{Method: "GET", Path: "/admin/users/" + me.UserID, Bearer: admin}},
				{"PUT /admin/users/{user_id}", call{Method: "PUT", Path: "/admin/users/" + me.UserID, Body: `{"role": "x", "password": "yet another"}`, Bearer: admin}},
				{"DELETE /admin/users/{user_id}", call{Method: "DELETE", Path: "/admin/users/" + gone, Bearer: admin}},
				{"GET /admin/audit", call{Method: "GET", Path: "/admin/audit", Bearer: admin}},
				{"GET /admin/sso/providers", call{Method: "GET", Path: "/admin/sso/providers", Bearer: admin}},
			} {
				want := max(1, c.more[r.name])
				// On a new connection: pg_stat_statements counts begin, set and commit only the first time that they are prepared.
				s := startOn(t, s.db, c.env...)
				var a *answer
				if got, texts := s.statements(func() { a = s.do(r.call.from("1.2.3.4")) }); got != want {
					t.Errorf("%s: %d statements, want %d:\n%s", r.name, got, want, strings.Join(texts, "\n"))
				}
				if a.Status >= 300 {
					t.Errorf("%s: %d %s", r.name, a.Status, a.Raw)
				}
			}
		})
	}
}

// One statement more where a hook behind HTTP is asked before, or told after, an account is created (DESIGN 4), none where one
// sends; where a function sends, the code is handed to it in a statement of its own.
func TestStatementsOfRequestsWithSendingHooks(t *testing.T) {
	t.Parallel()
	d, r := newHookDouble(t), startRelay(t)
	created := d.on("before_user_created", "after_user_created")
	for name, c := range map[string]struct {
		env  []string
		want map[string]int
	}{
		"relay":        {mailing(r), map[string]int{"otp": 1, "recovery": 1, "invitation": 1, "address": 1}},
		"over HTTP":    {byHook(d, r), map[string]int{"otp": 1, "recovery": 1, "invitation": 1, "address": 1, "phone": 1}},
		"new accounts": {byHook(d, r, created...), map[string]int{"otp": 3, "recovery": 1, "invitation": 3, "address": 1, "phone": 3}},
		"functions":    {sendingFunctions(r), map[string]int{"otp": 5, "recovery": 5, "invitation": 5, "address": 5, "phone": 5}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, c.env...)
			s.sendingFunction(``)
			me := s.quickMember("me@example.com")
			for name, c2 := range map[string]call{
				"otp":        {Method: "POST", Path: "/otp", Body: `{"email": "new@example.com"}`},
				"recovery":   {Method: "POST", Path: "/recover", Body: `{"email": "me@example.com"}`},
				"invitation": {Method: "POST", Path: "/invite", Body: `{"email": "invited@example.com"}`, Bearer: s.serviceRole()},
				"address":    {Method: "PUT", Path: "/user", Body: `{"email": "other@example.com"}`, Bearer: me.Access},
				"phone":      {Method: "POST", Path: "/otp", Body: `{"phone": "4915"}`},
			} {
				want, asked := c.want[name]
				if !asked {
					continue
				}
				s := startOn(t, s.db, c.env...)
				var a *answer
				if got, texts := s.statements(func() { a = s.do(c2) }); got != want {
					t.Errorf("%s: %d statements, want %d:\n%s", name, got, want, strings.Join(texts, "\n"))
				}
				a.want(200)
			}
		})
	}
}

// Second factors: one statement, two to verify the code of an app or where a hook is asked; three more where a function is (begin, its
// time limit, commit), one more to check the claims that a receiver answers.
func TestStatementsOfSecondFactors(t *testing.T) {
	t.Parallel()
	function := []string{"GOTRUE_HOOK_MFA_VERIFICATION_ATTEMPT_ENABLED=true", "GOTRUE_HOOK_MFA_VERIFICATION_ATTEMPT_URI=" + factorHookURI}
	for name, c := range map[string]struct {
		env               []string
		points            []string // over HTTP
		wrong, app, phone int
	}{
		"plain":            {nil, nil, 2, 2, 1},
		"receiver":         {nil, []string{"mfa_verification_attempt"}, 2, 2, 2},
		"function":         {function, nil, 5, 5, 5},
		"token receiver":   {nil, []string{"custom_access_token"}, 2, 3, 2},
		"token function":   {hookOn, nil, 5, 5, 5},
		"limits of client": {[]string{limitOn}, nil, 2, 2, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newHookDouble(t)
			d.calling(func(_ string, event map[string]any) (int, any) { return 200, map[string]any{"claims": event["claims"]} })
			env := append(append(d.on(append(c.points, "send_sms")...), phoneFactors...), c.env...)
			s := start(t, env...)
			s.factorFunction(`return '{}';`)
			s.exec(tokenHook(`return event`))
			me, admin := s.quickMember("me@example.com"), s.serviceRole()
			app, secret := s.enrol(me, "app")
			phone := s.enrolPhone(me, "4915")
			opened, texted := s.challenged(me, app), s.challenged(me, phone)
			code, _ := member(d.took("send-sms")[0], "sms.otp").(string)
			factors := "/admin/users/" + me.UserID + "/factors"
			for _, r := range []struct {
				name   string
				call   call
				want   int
				status int
			}{
				{"enrol", call{Method: "POST", Path: "/factors", Body: `{"factor_type": "totp", "friendly_name": "b"}`}, 1, 200},
				{"challenge of an app", call{Method: "POST", Path: "/factors/" + app + "/challenge"}, 1, 200},
				{"challenge of a phone", call{Method: "POST", Path: "/factors/" + phone + "/challenge", Body: `{}`}, 1, 200},
				{"wrong code of an app", verifying(me, app, opened, wrongCode(t, secret)), c.wrong, 422},
				{"code of an app", verifying(me, app, opened, appCode(t, secret, 0)), c.app, 200},
				{"code of a phone", verifying(me, phone, texted, code), c.phone, 200},
				{"list", call{Method: "GET", Path: factors, Bearer: admin}, 1, 200},
				{"change", call{Method: "PUT", Path: factors + "/" + app, Body: `{"friendly_name": "c"}`, Bearer: admin}, 1, 200},
				{"remove", call{Method: "DELETE", Path: "/factors/" + app}, 1, 200},
				{"administrator removes", call{Method: "DELETE", Path: factors + "/" + phone, Bearer: admin}, 1, 200},
			} {
				if r.call.Bearer == "" {
					r.call.Bearer = me.Access
				}
				// On a new connection: pg_stat_statements counts begin, set and commit only the first time that they are prepared.
				s := startOn(t, s.db, env...)
				var a *answer
				if got, texts := s.statements(func() { a = s.do(r.call.from("127.0.0.1")) }); got != r.want {
					t.Errorf("%s: %d statements, want %d:\n%s", r.name, got, r.want, strings.Join(texts, "\n"))
				}
				a.want(r.status)
			}
		})
	}
}

// What cannot succeed costs no statement at all.
func TestRequestsThatNeverReachTheDatabase(t *testing.T) {
	t.Parallel()
	s := start(t)
	me := s.member("me@example.com")
	for name, c := range map[string]call{
		"health":            {Method: "GET", Path: "/health"},
		"settings":          {Method: "GET", Path: "/settings"},
		"keys":              {Method: "GET", Path: "/.well-known/jwks.json"},
		"discovery":         {Method: "GET", Path: "/.well-known/openid-configuration"},
		"nowhere":           {Method: "GET", Path: "/nowhere"},
		"method":            {Method: "PATCH", Path: "/signup"},
		"no token":          {Method: "GET", Path: "/user"},
		"bad token":         {Method: "GET", Path: "/user", Bearer: me.Access[:len(me.Access)-3]},
		"bad body":          {Method: "POST", Path: "/signup", Body: "{"},
		"large body":        {Method: "POST", Path: "/signup", Body: strings.Repeat(" ", 1<<20+1)},
		"grant type":        {Method: "POST", Path: "/token?grant_type=x", Body: "{}"},
		"malformed refresh": {Method: "POST", Path: "/token?grant_type=refresh_token", Body: `{"refresh_token": "x"}`},
		"forged refresh":    {Method: "POST", Path: "/token?grant_type=refresh_token", Body: map[string]any{"refresh_token": forgedRefresh(t, me.ID)}},
		"preflight":         {Method: "OPTIONS", Path: "/signup", Header: map[string]string{"Origin": "https://x.example.com", "Access-Control-Request-Method": "POST"}},
	} {
		if got, texts := s.statements(func() { s.do(c) }); got != 0 {
			t.Errorf("%s: %d statements:\n%s", name, got, strings.Join(texts, "\n"))
		}
	}
	s.do(call{Method: "POST", Path: "/token?grant_type=refresh_token", Body: map[string]any{"refresh_token": forgedRefresh(t, me.ID)}}).
		refused(http.StatusBadRequest, "refresh_token_not_found")
}

// forgedRefresh is a well-formed refresh token of a session, made with a key of another server.
func forgedRefresh(t *testing.T, sessionID string) string {
	t.Helper()
	return mintRefreshWith(t, "a key of somebody else, of more than 32 characters", sessionID, 0)
}
