package http_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

const (
	phoneOn     = "GOTRUE_EXTERNAL_PHONE_ENABLED=true"
	smsConfirm  = "GOTRUE_SMS_AUTOCONFIRM=true"
	mailConfirm = "GOTRUE_MAILER_AUTOCONFIRM=true"
	mailUnsure  = "GOTRUE_MAILER_AUTOCONFIRM=false"
	anonymousOn = "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true"
)

// accountIn makes an account with goodPassword: confirmed by address and by number, or not.
func (s *server) accountIn(email, phone string, confirmed bool) string {
	s.t.Helper()
	return s.one(`select postern.create_user(email => nullif($1, ''), phone => nullif($2, ''), password_hash => $3, confirmed => $4,
		user_metadata => '{"kept": true}')`, email, phone, goodPasswordHash, confirmed)
}

func TestSignUp(t *testing.T) {
	t.Parallel()
	run(t, []Scenario{
		{
			Name:       "an address, confirmed at once",
			Request:    call{Method: "POST", Path: "/signup", Body: `{"email": "New.User@Example.com", "password": "correct horse", "data": {"nick": "nn", "sub": "x", "email_verified": "x"}}`},
			WantStatus: 200,
			WantBody: `{"access_token": "<text>", "token_type": "bearer", "expires_in": 3600, "expires_at": "<number>", "refresh_token": "<text>",
				"user": {
					"id": "<uuid>", "aud": "authenticated", "role": "authenticated", "email": "new.user@example.com", "phone": "",
					"email_confirmed_at": "<time>", "last_sign_in_at": "<time>",
					"app_metadata": {"provider": "email", "providers": ["email"]},
					"user_metadata": {"sub": "<uuid>", "email": "new.user@example.com", "email_verified": true, "phone_verified": false, "nick": "nn"},
					"identities": [{
						"identity_id": "<uuid>", "id": "<uuid>", "user_id": "<uuid>", "provider": "email", "email": "new.user@example.com",
						"identity_data": {"sub": "<uuid>", "email": "new.user@example.com", "email_verified": true, "phone_verified": false, "nick": "nn"},
						"last_sign_in_at": "<time>", "created_at": "<time>", "updated_at": "<time>"}],
					"created_at": "<time>", "updated_at": "<time>", "is_anonymous": false}}`,
			Exact: true, WantStatements: 1, WantAudit: []string{"user_signedup", "login"},
			WantHeader: map[string]string{
				"Content-Type": "application/json", "Sb-Auth-User-Id": "<any>", "Sb-Auth-Session-Id": "<any>",
				"Sb-Auth-Refresh-Token-Counter": "0", "Sb-Auth-Refresh-Token-Reuse": "",
			},
			Then: func(s *server, a *answer, _ values) {
				me := a.session()
				claims, _ := json.Marshal(claimsOf(s.t, me.Access))
				(&answer{t: s.t, Raw: claims}).holds(`{"iss": "`+s.URL+`", "sub": "`+me.UserID+`", "aud": "authenticated", "exp": "<number>", "iat": "<number>",
					"email": "new.user@example.com", "phone": "", "app_metadata": {"provider": "email", "providers": ["email"]},
					"user_metadata": {"nick": "nn", "sub": "`+me.UserID+`", "email": "new.user@example.com", "email_verified": true, "phone_verified": false},
					"role": "authenticated", "aal": "aal1", "amr": [{"method": "password", "timestamp": "<number>"}], "session_id": "<uuid>",
					"is_anonymous": false}`, true)
				if got := a.Header.Get("Sb-Auth-User-Id") + " " + a.Header.Get("Sb-Auth-Session-Id"); got != me.UserID+" "+me.ID {
					s.t.Errorf("headers name %s, want %s %s", got, me.UserID, me.ID)
				}
				if got := s.one(`select concat_ws(' ', left(encrypted_password, 7), confirmation_token = '', is_super_admin is null,
					instance_id = '00000000-0000-0000-0000-000000000000', phone is null, is_sso_user) from auth.users`); got != "$2a$10$ t t t t f" {
					s.t.Errorf("row %s", got)
				}
				// The stored identity keeps email_verified false (contract core.md 3.3).
				if got := s.one(`select identity_data ->> 'email_verified' from auth.identities`); got != "false" {
					s.t.Errorf("stored identity: email_verified %s", got)
				}
				if got := s.one(`select concat_ws(' ', aal, factor_id is null, not_after is null, refreshed_at is null, user_agent <> '', ip is not null, tag is null)
					from auth.sessions`); got != "aal1 t t t t t t" {
					s.t.Errorf("session %s", got)
				}
				s.get("/user", me.Access).want(200).holds(`{"confirmed_at": "<time>"}`, false)
			},
		},
		{
			Name: "a number, confirmed at once", Env: []string{phoneOn, smsConfirm},
			Request:    call{Method: "POST", Path: "/signup", Body: `{"phone": "+49 151 2345678", "password": "correct horse", "channel": "sms"}`},
			WantStatus: 200, WantAudit: []string{"user_signedup", "login"},
			WantBody: `{"user": {"email": "", "phone": "491512345678", "phone_confirmed_at": "<time>", "email_confirmed_at": "<none>",
				"app_metadata": {"provider": "phone", "providers": ["phone"]},
				"user_metadata": {"sub": "<uuid>", "email_verified": false, "phone_verified": false},
				"identities": [{"provider": "phone", "email": "<none>", "identity_data": {"email_verified": false, "phone_verified": false, "email": "<none>", "phone": "<none>"}}]}}`,
		},
		{
			Name: "an address that waits for its confirmation", Env: []string{mailUnsure},
			Request:    call{Method: "POST", Path: "/signup", Body: `{"email": "new@example.com", "password": "correct horse"}`},
			WantStatus: 200, WantAudit: []string{"user_confirmation_requested"},
			WantBody: `{"id": "<uuid>", "access_token": "<none>", "email_confirmed_at": "<none>", "confirmed_at": "<none>", "last_sign_in_at": "<none>",
				"user_metadata": {"email_verified": false}, "identities": [{"identity_data": {"email_verified": false}}]}`,
			Then: func(s *server, _ *answer, _ values) {
				if n := s.one(`select count(*) from auth.sessions`); n != "0" {
					s.t.Errorf("%s sessions", n)
				}
				s.post("/token?grant_type=password", `{"email": "new@example.com", "password": "correct horse"}`, "").
					refused(http.StatusBadRequest, "email_not_confirmed")
			},
		},
		{
			Name: "an anonymous user", Env: []string{anonymousOn},
			Request:    call{Method: "POST", Path: "/signup", Body: `{"data": {"cart": [1, 2], "email_verified": true}, "password": "x"}`},
			WantStatus: 200, WantAudit: []string{}, WantStatements: 1,
			WantBody: `{"user": {"email": "", "phone": "", "role": "authenticated", "app_metadata": {}, "user_metadata": {"cart": [1, 2], "email_verified": true},
				"identities": [], "is_anonymous": true, "last_sign_in_at": "<time>", "confirmed_at": "<none>"}}`,
			Then: func(s *server, a *answer, _ values) {
				claims := claimsOf(s.t, a.session().Access)
				if claims["is_anonymous"] != true || member(map[string]any(claims), "amr.0.method") != "anonymous" {
					s.t.Errorf("claims %v", claims)
				}
				if got := s.one(`select encrypted_password from auth.users`); got != "" {
					s.t.Errorf("encrypted_password %q", got)
				}
			},
		},
		{
			Name: "anonymous with empty address and number", Env: []string{anonymousOn},
			Request:    call{Method: "POST", Path: "/signup/", Body: `{"email": "", "phone": ""}`},
			WantStatus: 200, WantBody: `{"user": {"is_anonymous": true}}`,
		},
		{
			Name:       "a code challenge is ignored where addresses are confirmed at once",
			Request:    call{Method: "POST", Path: "/signup", Body: map[string]any{"email": "p@example.com", "password": "correct horse", "code_challenge": strings.Repeat("a", 43), "code_challenge_method": "S256"}},
			WantStatus: 200, WantBody: `{"access_token": "<text>"}`,
		},
		{
			Name:       "the longest password, in bytes",
			Request:    call{Method: "POST", Path: "/signup", Body: map[string]any{"email": "p@example.com", "password": strings.Repeat("ä", 36)}},
			WantStatus: 200,
		},
	})
}

// Existing accounts: every row of contract core.md 3.3.
func TestSignUpWithAKnownAddress(t *testing.T) {
	t.Parallel()
	again := call{Method: "POST", Path: "/signup", Body: `{"email": "KNOWN@example.com", "password": "another one", "data": {"nick": "intruder"}}`}
	untouched := func(s *server, _ *answer, v values) {
		s.t.Helper()
		got := s.one(`select concat_ws(' ', id, encrypted_password, raw_user_meta_data ->> 'nick', last_sign_in_at is null,
			(select count(*) from auth.users), (select count(*) from auth.sessions)) from auth.users where id = $1`, v["user"])
		if want := v["user"] + " " + goodPasswordHash + " t 1 0"; got != want {
			s.t.Errorf("the account: %s, want %s", got, want)
		}
	}
	given := func(email, phone string, confirmed bool) func(s *server) values {
		return func(s *server) values { return values{"user": s.accountIn(email, phone, confirmed)} }
	}
	madeUp := `{"id": "<uuid>", "aud": "authenticated", "role": "", "email": "known@example.com", "phone": "", "confirmation_sent_at": "<time>",
		"app_metadata": {"provider": "email", "providers": ["email"]}, "user_metadata": {"nick": "intruder"}, "identities": [],
		"created_at": "<time>", "updated_at": "<time>", "is_anonymous": false}`
	run(t, []Scenario{
		{
			Name: "unconfirmed, confirmation needed: the stored user", Env: []string{mailUnsure}, Given: given("known@example.com", "", false),
			Request: again, WantStatus: 200, WantAudit: []string{"user_confirmation_requested"}, Then: untouched,
			WantBody: `{"id": "{user}", "email": "known@example.com", "user_metadata": {"kept": true, "nick": "<none>"}, "identities": [{"provider": "email"}], "access_token": "<none>"}`,
		},
		{
			Name: "invited, confirmation needed: what the inviter knows does not show", Env: []string{mailUnsure},
			Given: func(s *server) values {
				id := s.accountIn("known@example.com", "", false)
				s.exec(`update auth.users set invited_at = now(), encrypted_password = ''`)
				return values{"user": id}
			},
			Request: again, WantStatus: 200, WantBody: `{"id": "{user}", "user_metadata": {"kept": "<none>"}, "identities": []}`,
		},
		{
			// Ours: no session without the password (differences.md).
			Name: "unconfirmed, confirmed at once: refused", Given: given("known@example.com", "", false),
			Request: again, WantStatus: 422, WantAudit: []string{}, Exact: true,
			WantBody: `{"code": 422, "error_code": "user_already_exists", "msg": "User already registered"}`,
			Then: func(s *server, a *answer, v values) {
				untouched(s, a, v)
				if s.one(`select email_confirmed_at is null from auth.users`) != "true" {
					s.t.Error("the address was confirmed")
				}
			},
		},
		{
			Name: "invited and without a password, confirmed at once: refused too", SQL: "",
			Given: func(s *server) values {
				id := s.accountIn("known@example.com", "", false)
				s.exec(`update auth.users set encrypted_password = '', invited_at = now()`)
				return values{"user": id}
			},
			Request: again, WantStatus: 422, WantBody: `{"error_code": "user_already_exists"}`,
			Then: func(s *server, _ *answer, _ values) {
				if n := s.one(`select count(*) from auth.sessions`); n != "0" {
					s.t.Errorf("%s sessions", n)
				}
			},
		},
		{
			Name: "confirmed, confirmed at once: refused", Given: given("known@example.com", "", true),
			Request: again, WantStatus: 422, WantAudit: []string{}, Then: untouched, WantBody: `{"error_code": "user_already_exists", "msg": "User already registered"}`,
		},
		{
			Name: "confirmed, numbers confirmed at once: refused", Env: []string{mailUnsure, smsConfirm}, Given: given("known@example.com", "", true),
			Request: again, WantStatus: 422, WantAudit: []string{}, Then: untouched, WantBody: `{"error_code": "user_already_exists"}`,
		},
		{
			Name: "unconfirmed, only numbers confirmed at once: the stored user", Env: []string{mailUnsure, smsConfirm}, Given: given("known@example.com", "", false),
			Request: again, WantStatus: 200, WantAudit: []string{"user_confirmation_requested"}, Then: untouched,
			WantBody: `{"id": "{user}", "confirmation_sent_at": "<time>", "user_metadata": {"kept": true, "nick": "<none>"}}`,
		},
		{
			Name: "an unconfirmed number, only addresses confirmed at once: the stored user", Env: []string{phoneOn, mailConfirm, "GOTRUE_SMS_TEST_OTP=4915111111:123456"},
			Given:   given("", "4915111111", false),
			Request: call{Method: "POST", Path: "/signup", Body: `{"phone": "4915111111", "password": "another one"}`}, WantStatus: 200,
			WantBody: `{"id": "{user}", "confirmation_sent_at": "<time>", "identities": [{"provider": "phone"}]}`,
		},
		{
			Name: "confirmed, confirmation needed: a made-up user", Env: []string{mailUnsure}, Given: given("known@example.com", "", true),
			Request: again, WantStatus: 200, WantAudit: []string{"user_repeated_signup"}, WantBody: madeUp, Exact: true,
			Then: func(s *server, a *answer, v values) {
				untouched(s, a, v)
				if a.text("id") == v["user"] {
					s.t.Error("the id is the real one")
				}
				if a.text("id") == s.do(a.call).text("id") {
					s.t.Error("the id is the same each time")
				}
			},
		},
		{
			Name: "confirmed with a second factor, banned and recovering: nothing of it shows", Env: []string{mailUnsure},
			Given: func(s *server) values {
				id := s.accountIn("known@example.com", "4915111111", true)
				s.exec(`update auth.users set recovery_sent_at = now(), banned_until = now() + interval '1 day', phone_change = '49', invited_at = now();
					insert into auth.mfa_factors (id, user_id, factor_type, status, created_at, updated_at) select gen_random_uuid(), id, 'totp', 'verified', now(), now() from auth.users`)
				return values{"user": id}
			},
			Request: again, WantStatus: 200, WantBody: madeUp, Exact: true,
		},
		{
			Name: "a known number, numbers confirmed at once: refused", Env: []string{phoneOn, smsConfirm, mailUnsure}, Given: given("", "4915111111", true),
			Request: call{Method: "POST", Path: "/signup", Body: `{"phone": "+49 15111111", "password": "another one"}`}, WantStatus: 422, Then: untouched,
			WantBody: `{"error_code": "user_already_exists"}`,
		},
		{
			Name: "a known number, confirmation needed: a made-up user", Env: []string{phoneOn, mailUnsure}, Given: given("", "4915111111", true),
			Request: call{Method: "POST", Path: "/signup", Body: `{"phone": "4915111111", "password": "another one"}`}, WantStatus: 200, Then: untouched,
			WantAudit: []string{"user_repeated_signup"},
			WantBody:  `{"role": "", "email": "", "phone": "4915111111", "identities": [], "app_metadata": {"provider": "phone", "providers": ["phone"]}, "user_metadata": {}}`,
		},
		{
			Name: "an unconfirmed number, confirmation needed: the stored user", Env: []string{phoneOn, mailUnsure, "GOTRUE_SMS_TEST_OTP=4915111111:123456"}, Given: given("", "4915111111", false),
			Request: call{Method: "POST", Path: "/signup", Body: `{"phone": "4915111111", "password": "another one"}`}, WantStatus: 200,
			WantBody: `{"id": "{user}", "identities": [{"provider": "phone"}]}`,
		},
		{
			Name: "of another audience: the database's own refusal", Given: given("known@example.com", "", true),
			Request:    call{Method: "POST", Path: "/signup", Body: again.Body, Header: map[string]string{"X-JWT-AUD": "custom"}},
			WantStatus: 500, WantAudit: []string{}, Then: untouched, WantBody: `{"code": "23505", "message": "<text>"}`,
			WantHeader: map[string]string{"X-Sb-Error-Code": "unexpected_failure"},
		},
		{
			Name: "of a single sign-on account: a new account", SQL: "",
			Given: func(s *server) values {
				id := s.accountIn("known@example.com", "", true)
				s.exec(`update auth.users set is_sso_user = true`)
				return values{"user": id}
			},
			Request: again, WantStatus: 200, WantBody: `{"user": {"email": "known@example.com"}}`,
		},
	})
}

func TestRefusedSignUps(t *testing.T) {
	t.Parallel()
	challenge := strings.Repeat("a", 43)
	s := start(t, phoneOn, smsConfirm)
	for name, c := range map[string]struct {
		body    map[string]any
		status  int
		code    string
		message string
	}{
		"no password":          {map[string]any{"email": "a@example.com"}, 400, "validation_failed", "Signup requires a valid password"},
		"empty password":       {map[string]any{"phone": "49151", "password": ""}, 400, "validation_failed", "Signup requires a valid password"},
		"73 bytes":             {map[string]any{"email": "a@example.com", "password": strings.Repeat("a", 73)}, 400, "validation_failed", "Password cannot be longer than 72 characters"},
		"73 bytes of 37 chars": {map[string]any{"email": "a@example.com", "password": strings.Repeat("ä", 36) + "a"}, 400, "validation_failed", "Password cannot be longer than 72 characters"},
		"weak before wrong":    {map[string]any{"email": "no address", "phone": "x", "password": "short"}, 422, "weak_password", "Password should be at least 6 characters."},
		"both":                 {map[string]any{"email": "a@example.com", "phone": "49151", "password": "correct horse"}, 400, "validation_failed", "Only an email address or phone number should be provided on signup."},
		"channel":              {map[string]any{"phone": "x", "password": "correct horse", "channel": "whatsapp", "code_challenge": "x"}, 400, "validation_failed", "Invalid channel, supported values are 'sms' or 'whatsapp'. 'whatsapp' is only supported if Twilio or Twilio Verify is used as the provider."},
		"challenge with phone": {map[string]any{"phone": "x", "password": "correct horse", "code_challenge": challenge, "code_challenge_method": "s256"}, 400, "validation_failed", "PKCE not supported for phone signups"},
		"challenge alone":      {map[string]any{"email": "x", "password": "correct horse", "code_challenge": challenge}, 400, "validation_failed", "PKCE flow requires code_challenge_method and code_challenge"},
		"method alone":         {map[string]any{"email": "x", "password": "correct horse", "code_challenge_method": "s256"}, 400, "validation_failed", "PKCE flow requires code_challenge_method and code_challenge"},
		"short challenge":      {map[string]any{"email": "x", "password": "correct horse", "code_challenge": challenge[1:], "code_challenge_method": "s256"}, 400, "validation_failed", "code challenge has to be between 43 and 128 characters"},
		"long challenge":       {map[string]any{"email": "x", "password": "correct horse", "code_challenge": strings.Repeat("a", 129), "code_challenge_method": "plain"}, 400, "validation_failed", "code challenge has to be between 43 and 128 characters"},
		"odd challenge":        {map[string]any{"email": "x", "password": "correct horse", "code_challenge": challenge + "+", "code_challenge_method": "plain"}, 400, "validation_failed", "code challenge can only contain alphanumeric characters, hyphens, periods, underscores and tildes"},
		"number":               {map[string]any{"phone": "0151", "password": "correct horse"}, 400, "validation_failed", "Invalid phone number format (E.164 required)"},
		"anonymous":            {map[string]any{"password": "correct horse"}, 422, "anonymous_provider_disabled", "Anonymous sign-ins are disabled"},
	} {
		t.Run(name, func(t *testing.T) {
			if a := s.post("/signup", c.body, "").refused(c.status, c.code); a.text("msg") != c.message {
				t.Errorf("msg %q, want %q", a.text("msg"), c.message)
			}
		})
	}
	// Ours: named up front (differences.md).
	s.post("/signup", map[string]any{"email": "a@example.com", "password": "correct horse", "code_challenge": challenge, "code_challenge_method": "s512"}, "").
		refused(http.StatusBadRequest, "validation_failed")
	if n := s.one(`select count(*) from auth.users`); n != "0" {
		t.Errorf("%s users", n)
	}
	if len(s.audit()) != 0 {
		t.Errorf("audit log %v", s.audit())
	}
}

// What an address and a number look like is asked of the seed function, which needs no hash; sign-up uses the same check.
func TestAddressesAndNumbers(t *testing.T) {
	t.Parallel()
	s := start(t, phoneOn, smsConfirm)
	admin := s.serviceRole()
	for address, message := range map[string]string{
		"plain": "invalid", "a@": "invalid", "@b": "invalid", "a b@example.com": "invalid", " a@example.com": "invalid", "a@example.com ": "invalid",
		"a@example.com\n": "invalid", "a@-b.com": "invalid", "a@b-.com": "invalid", "a@b..com": "invalid", "a@.com": "invalid", "a@b.com.": "invalid", "ä@example.com": "invalid",
		"a@ex_ample.com": "invalid", "a@" + strings.Repeat("x", 64) + ".com": "invalid", `"a"@example.com`: "invalid", "a@b@c": "invalid", "a@bücher.example": "invalid",
		strings.Repeat("a", 250) + "@b.com": "long", "a@b": "", "a@1.2.3.4": "", "A.!#$%&'*+/=?^_`{|}~-z@Example.COM": "", "a@" + strings.Repeat("x", 63) + ".com": "",
		strings.Repeat("a", 249) + "@b.com": "",
	} {
		a := s.post("/admin/users", map[string]any{"email": address}, admin)
		switch message {
		case "":
			a.want(http.StatusOK).holds(`{"email": `+quoted(strings.ToLower(address))+`}`, false)
		case "long":
			if a.refused(http.StatusBadRequest, "validation_failed"); a.text("msg") != "An email address is too long" {
				t.Errorf("%.30q: msg %q", address, a.text("msg"))
			}
		default:
			if a.refused(http.StatusBadRequest, "validation_failed"); a.text("msg") != "Unable to validate email address: invalid format" {
				t.Errorf("%q: msg %q", address, a.text("msg"))
			}
		}
	}
	for number, stored := range map[string]string{
		"+1 555 0100": "15550100", "49151": "49151", "12": "12", "123456789012345": "123456789012345", "0151": "", "1": "", "1234567890123456": "",
		"+": "", "++49": "", "49-151": "", "49 151 x": "", "４９１": "", "49\n151": "", " ": "",
	} {
		a := s.post("/admin/users", map[string]any{"phone": number}, admin)
		if stored != "" {
			a.want(http.StatusOK).holds(`{"phone": "`+stored+`"}`, false)
		} else if a.refused(http.StatusBadRequest, "validation_failed"); a.text("msg") != "Invalid phone number format (E.164 required)" {
			t.Errorf("%q: msg %q", number, a.text("msg"))
		}
	}
}

func quoted(text string) string {
	raw, _ := json.Marshal(text) // a text always marshals
	return string(raw)
}

func TestSignUpsThatAreSwitchedOff(t *testing.T) {
	t.Parallel()
	run(t, []Scenario{
		{
			Name: "all: before the password is looked at", Env: []string{"GOTRUE_DISABLE_SIGNUP=true"}, WantAudit: []string{}, WantStatements: 1,
			Request: call{Method: "POST", Path: "/signup", Body: `{"email": "no address", "phone": "x"}`}, WantStatus: 422, Exact: true,
			WantBody: `{"code": 422, "error_code": "signup_disabled", "msg": "Signups not allowed for this instance"}`,
		},
		{
			Name: "all, anonymous ones too", Env: []string{"GOTRUE_DISABLE_SIGNUP=true", anonymousOn},
			Request: call{Method: "POST", Path: "/signup", Body: `{}`}, WantStatus: 422, WantBody: `{"error_code": "signup_disabled"}`,
		},
		{
			Name: "anonymous ones are off before all are", Env: []string{"GOTRUE_DISABLE_SIGNUP=true"},
			Request: call{Method: "POST", Path: "/signup", Body: `{}`}, WantStatus: 422, WantBody: `{"error_code": "anonymous_provider_disabled"}`,
		},
		{
			Name: "addresses", Env: []string{"GOTRUE_EXTERNAL_EMAIL_ENABLED=false"}, WantStatus: 400,
			Request:  call{Method: "POST", Path: "/signup", Body: `{"email": "no address", "password": "correct horse"}`},
			WantBody: `{"error_code": "email_provider_disabled", "msg": "Email signups are disabled"}`,
		},
		{
			Name: "numbers", WantStatus: 400, Request: call{Method: "POST", Path: "/signup", Body: `{"phone": "no number", "password": "correct horse"}`},
			WantBody: `{"error_code": "phone_provider_disabled", "msg": "Phone signups are disabled"}`,
		},
	})
}

func TestWeakPasswords(t *testing.T) {
	t.Parallel()
	rules := []string{"GOTRUE_PASSWORD_MIN_LENGTH=8", `GOTRUE_PASSWORD_REQUIRED_CHARACTERS=abcdefghijklmnopqrstuvwxyz:0123456789:\::!`}
	const both = "Password should be at least 8 characters. Password should contain at least one character of each: abcdefghijklmnopqrstuvwxyz, 0123456789, :, !."
	signUp := call{Method: "POST", Path: "/signup", Body: `{"email": "a@example.com", "password": "short"}`}
	dated := signUp
	dated.Header = map[string]string{"X-Supabase-Api-Version": "2024-01-01"}
	run(t, []Scenario{
		{
			Name: "all reasons", Env: rules, Request: signUp, WantStatus: 422, Exact: true, WantHeader: map[string]string{"X-Sb-Error-Code": "weak_password"},
			WantBody: `{"code": 422, "error_code": "weak_password", "msg": ` + quoted(both) + `, "weak_password": {"reasons": ["length", "characters"]}}`,
		},
		{
			Name: "all reasons, dated", Env: rules, Request: dated, WantStatus: 422, Exact: true, WantHeader: map[string]string{"X-Sb-Error-Code": ""},
			WantBody: `{"code": "weak_password", "message": ` + quoted(both) + `, "weak_password": {"reasons": ["length", "characters"]}}`,
		},
		{
			Name: "length only", Request: signUp, WantStatus: 422,
			WantBody: `{"msg": "Password should be at least 6 characters.", "weak_password": {"reasons": ["length"]}}`,
		},
		{
			Name: "characters only", Env: rules, WantStatus: 422,
			Request:  call{Method: "POST", Path: "/signup", Body: `{"email": "a@example.com", "password": "long enough 1!"}`},
			WantBody: `{"weak_password": {"reasons": ["characters"]}}`,
		},
		{
			Name: "strong enough", Env: rules, WantStatus: 200,
			Request: call{Method: "POST", Path: "/signup", Body: `{"email": "a@example.com", "password": "abc123:!"}`},
		},
		{
			Name: "an administrator's change", Env: rules, WantStatus: 422, Given: func(s *server) values { return of(s.member("me@example.com")) },
			Request:  call{Method: "PUT", Path: "/admin/users/{user}", Body: `{"password": "short"}`, Bearer: "{admin}"},
			WantBody: `{"error_code": "weak_password", "weak_password": {"reasons": ["length", "characters"]}}`,
		},
		{
			Name: "the user's own change", Env: rules, WantStatus: 422, Given: func(s *server) values { return of(s.member("me@example.com")) },
			Request:  call{Method: "PUT", Path: "/user", Body: `{"password": ""}`, Bearer: "{access}"},
			WantBody: `{"error_code": "weak_password", "weak_password": {"reasons": ["length", "characters"]}}`,
		},
		{
			Name: "rules changed with SQL are followed", Request: signUp, WantStatus: 422,
			Given:    func(s *server) values { s.set("password_min_length = 10"); return nil },
			WantBody: `{"msg": "Password should be at least 10 characters."}`,
		},
	})
}
