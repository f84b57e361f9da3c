package http_test

import (
	"net/http"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

func TestGetUser(t *testing.T) {
	t.Parallel()
	run(t, []Scenario{
		{
			Name: "as stored", Given: func(s *server) values { return of(s.member("me@example.com")) },
			Request: call{Method: "GET", Path: "/user", Bearer: "{access}"}, WantStatus: 200, WantStatements: 1, WantAudit: []string{}, Exact: true,
			WantHeader: map[string]string{"Content-Type": "application/json", "X-Supabase-Api-Version": ""},
			WantBody: `{"id": "{user}", "aud": "authenticated", "role": "authenticated", "email": "me@example.com", "email_confirmed_at": "<time>", "phone": "",
				"confirmed_at": "<time>", "app_metadata": {"provider": "email", "providers": ["email"]}, "user_metadata": {"email_verified": true},
				"identities": [{"identity_id": "<uuid>", "id": "{user}", "user_id": "{user}", "provider": "email", "email": "me@example.com",
					"identity_data": {"sub": "{user}", "email": "me@example.com", "email_verified": false, "phone_verified": false},
					"last_sign_in_at": "<time>", "created_at": "<time>", "updated_at": "<time>"}],
				"created_at": "<time>", "updated_at": "<time>", "is_anonymous": false}`,
		},
		{
			Name: "with everything there can be", Given: func(s *server) values {
				me := s.member("me@example.com")
				s.exec(`update auth.users set phone = '4915', phone_confirmed_at = now(), invited_at = now(), confirmation_sent_at = now(), recovery_sent_at = now(),
						email_change = 'new@example.com', email_change_sent_at = now(), phone_change = '4916', phone_change_sent_at = now(),
						reauthentication_sent_at = now(), last_sign_in_at = now(), banned_until = now() - interval '1 hour', deleted_at = now(),
						raw_app_meta_data = 'null', raw_user_meta_data = null, is_anonymous = true;
					insert into auth.mfa_factors (id, user_id, factor_type, status, friendly_name, secret, created_at, updated_at)
						select gen_random_uuid(), id, 'totp', 'verified', 'my "phone"', 'the secret', now(), now() from auth.users;
					insert into auth.identities (provider_id, user_id, identity_data, provider, created_at, updated_at)
						select '77', id, '{}', 'github', now() + interval '1 hour', now() from auth.users`)
				return of(me)
			},
			Request: call{Method: "GET", Path: "/user", Bearer: "{access}"}, WantStatus: 200, Exact: true,
			WantBody: `{"id": "{user}", "aud": "authenticated", "role": "authenticated", "email": "me@example.com", "email_confirmed_at": "<time>", "invited_at": "<time>",
				"phone": "4915", "phone_confirmed_at": "<time>", "confirmation_sent_at": "<time>", "confirmed_at": "<time>", "recovery_sent_at": "<time>",
				"new_email": "new@example.com", "email_change_sent_at": "<time>", "new_phone": "4916", "phone_change_sent_at": "<time>",
				"reauthentication_sent_at": "<time>", "last_sign_in_at": "<time>", "app_metadata": {}, "user_metadata": {},
				"factors": [{"id": "<uuid>", "created_at": "<time>", "updated_at": "<time>", "status": "verified", "friendly_name": "my \"phone\"", "factor_type": "totp",
					"phone": "", "last_challenged_at": null}],
				"identities": ["<any>", {"identity_id": "<uuid>", "id": "77", "user_id": "{user}", "provider": "github", "created_at": "<time>", "updated_at": "<time>"}],
				"created_at": "<time>", "updated_at": "<time>", "banned_until": "<time>", "deleted_at": "<time>", "is_anonymous": true}`,
		},
		{
			Name: "text that JSON must escape", Given: func(s *server) values {
				me := s.member("me@example.com")
				s.exec(`update auth.users set email = E'a"b\\c\n<d>\u2028@x', role = 'r"o', email_change = 'q"q', raw_user_meta_data = '{"k\"": "v\n\\"}'`)
				return of(me)
			},
			Request: call{Method: "GET", Path: "/user", Bearer: "{access}"}, WantStatus: 200,
			WantBody: `{"email": "a\"b\\c\n<d>\u2028@x", "role": "r\"o", "new_email": "q\"q", "user_metadata": {"k\"": "v\n\\"}}`,
		},
	})
}

func TestUpdateUser(t *testing.T) {
	t.Parallel()
	member := func(s *server) values { return of(s.quickMember("me@example.com")) }
	put := func(body string) call { return call{Method: "PUT", Path: "/user", Body: body, Bearer: "{access}"} }
	run(t, []Scenario{
		{
			Name: "data is merged key by key", WantStatements: 1, WantAudit: []string{"user_modified"},
			Given: func(s *server) values {
				v := member(s)
				s.exec(`update auth.users set raw_user_meta_data = '{"kept": 1, "gone": 2, "nested": {"a": 1, "b": 2}}'`)
				return v
			},
			Request: put(`{"data": {"gone": null, "missing": null, "nested": {"c": null}, "new": [1]}, "role": "service_role", "aud": "x", "id": "y"}`), WantStatus: 200,
			WantBody: `{"id": "{user}", "role": "authenticated", "aud": "authenticated",
				"user_metadata": {"kept": 1, "gone": "<none>", "missing": "<none>", "nested": {"c": null, "a": "<none>"}, "new": [1]}}`,
		},
		{
			Name: "data into null", Request: put(`{"data": {"a": 1}}`), WantStatus: 200, WantBody: `{"user_metadata": {"a": 1}}`,
			Given: func(s *server) values {
				v := member(s)
				s.exec(`update auth.users set raw_user_meta_data = null`)
				return v
			},
		},
		{
			Name: "nothing: only an entry in the audit log", Given: func(s *server) values {
				v := member(s)
				v["before"] = s.one(`select updated_at::text from auth.users`)
				return v
			},
			Request: put(`{"nothing": 1}`), WantStatus: 200, WantAudit: []string{"user_modified"},
			Then: func(s *server, _ *answer, v values) {
				if got := s.one(`select updated_at::text from auth.users`); got != v["before"] {
					s.t.Error("updated_at moved")
				}
				s.put("/user", `{"data": {}}`, v["access"]).want(200)
				if got := s.one(`select updated_at::text from auth.users`); got == v["before"] {
					s.t.Error("updated_at did not move for empty data")
				}
			},
		},
		{
			Name: "app_metadata is for administrators", Given: member, Request: put(`{"app_metadata": {}}`), WantStatus: 403, Exact: true, WantAudit: []string{},
			WantBody: `{"code": 403, "error_code": "not_admin", "msg": "Updating app_metadata requires admin privileges"}`,
		},
		{
			Name: "app_metadata by the role of the token: refused", Request: call{Method: "PUT", Path: "/user", Body: `{"app_metadata": {"a": 1}}`, Bearer: "{forged}"}, WantStatus: 403,
			Given: func(s *server) values {
				me := s.quickMember("me@example.com")
				return values{"forged": s.edited(me.Access, map[string]any{"role": "admin"})}
			},
			WantBody: `{"error_code": "not_admin"}`,
		},
		{
			Name: "app_metadata by the admin group", Request: put(`{"app_metadata": {"plan": "gold", "provider": null}}`), WantStatus: 200,
			Given:    func(s *server) values { v := member(s); s.exec(`update auth.users set role = 'admin'`); return v },
			WantBody: `{"app_metadata": {"plan": "gold", "provider": "<none>", "providers": ["email"]}}`,
		},
		{
			Name: "the same address, in another case", Given: member, Request: put(`{"email": "ME@example.com"}`), WantStatus: 200, WantBody: `{"new_email": "<none>"}`,
		},
		{
			Name: "another address waits for its confirmation", Given: member, Request: put(`{"email": "New@example.com"}`), WantStatus: 200, WantAudit: []string{"user_modified"},
			WantBody: `{"email": "me@example.com", "new_email": "new@example.com"}`,
		},
		{
			Name: "an address that is taken", Request: put(`{"email": "taken@example.com", "data": {"a": 1}}`), WantStatus: 422, Exact: true, WantAudit: []string{},
			Given: func(s *server) values {
				s.account("taken@example.com")
				return member(s)
			},
			WantBody: `{"code": 422, "error_code": "email_exists", "msg": "A user with this email address has already been registered"}`,
		},
		{Name: "no address", Given: member, Request: put(`{"email": "x"}`), WantStatus: 400, WantBody: `{"error_code": "validation_failed", "msg": "Unable to validate email address: invalid format"}`},
		{Name: "no number", Given: member, Request: put(`{"phone": "x"}`), WantStatus: 400, WantBody: `{"error_code": "validation_failed", "msg": "Invalid phone number format (E.164 required)"}`},
		{Name: "no channel", Given: member, Request: put(`{"phone": "4915", "channel": "pigeon"}`), WantStatus: 400, WantBody: `{"error_code": "validation_failed"}`},
		{
			Name: "a number that is taken", Request: put(`{"phone": "+49 15"}`), WantStatus: 422, Exact: true,
			Given: func(s *server) values {
				s.accountIn("", "4915", true)
				return member(s)
			},
			WantBody: `{"code": 422, "error_code": "phone_exists", "msg": "A user with this phone number has already been registered"}`,
		},
		{
			Name: "a number, confirmed at once", Env: []string{smsConfirm}, Given: member, Request: put(`{"phone": "+49 15"}`), WantStatus: 200,
			WantBody: `{"phone": "4915", "phone_confirmed_at": "<time>", "app_metadata": {"providers": ["email"]},
				"identities": [{"provider": "email"}, {"provider": "phone", "identity_data": {"phone": "4915", "phone_verified": true}}]}`,
		},
		{
			Name: "a number that waits", Given: member, Env: []string{"GOTRUE_SMS_TEST_OTP=4915:123456"}, Request: put(`{"phone": "+49 15"}`), WantStatus: 200, WantBody: `{"phone": "", "new_phone": "4915", "phone_confirmed_at": "<none>"}`,
		},
		{
			Name: "a single sign-on account", Request: put(`{"password": "another one"}`), WantStatus: 422, Exact: true,
			Given:    func(s *server) values { v := member(s); s.exec(`update auth.users set is_sso_user = true`); return v },
			WantBody: `{"code": 422, "error_code": "user_sso_managed", "msg": "Updating email, phone, password of a SSO account only possible via SSO"}`,
		},
		{
			Name: "data of a single sign-on account", Request: put(`{"data": {"a": 1}}`), WantStatus: 200,
			Given: func(s *server) values { v := member(s); s.exec(`update auth.users set is_sso_user = true`); return v },
		},
		{
			Name: "a nonce from a single sign-on account", Request: put(`{"nonce": "1"}`), WantStatus: 422, WantBody: `{"error_code": "user_sso_managed"}`,
			Given: func(s *server) values { v := member(s); s.exec(`update auth.users set is_sso_user = true`); return v },
		},
	})
}

func TestSecondFactorIsNeededToChangeAddressAndPassword(t *testing.T) {
	t.Parallel()
	s := start(t, smsConfirm)
	me := s.quickMember("me@example.com")
	s.exec(`insert into auth.mfa_factors (id, user_id, factor_type, status, created_at, updated_at) select gen_random_uuid(), id, 'totp', 'verified', now(), now() from auth.users`)
	for _, body := range []string{`{"email": "new@example.com"}`, `{"phone": "4915"}`, `{"password": "another one"}`, `{"password": "another one", "data": {"a": 1}}`} {
		for _, token := range []string{me.Access, s.edited(me.Access, map[string]any{"session_id": nil}), s.edited(me.Access, map[string]any{"aal": "aal2"})} {
			a := s.put("/user", body, token).refused(http.StatusUnauthorized, "insufficient_aal")
			if a.text("msg") != "AAL2 session is required to update email or password when MFA is enabled." {
				t.Errorf("msg %q", a.text("msg"))
			}
		}
	}
	s.put("/user", `{"data": {"a": 1}, "email": "me@example.com"}`, me.Access).want(http.StatusOK)
	s.exec(`update auth.mfa_factors set status = 'unverified'`)
	s.put("/user", `{"email": "new@example.com"}`, me.Access).want(http.StatusOK)
	s.exec(`update auth.mfa_factors set status = 'verified'; update auth.sessions set aal = 'aal2'`)
	s.put("/user", `{"phone": "4915"}`, me.Access).want(http.StatusOK)
}

func TestChangeOfPassword(t *testing.T) {
	t.Parallel()
	member := func(s *server) values { return of(s.quickMember("me@example.com")) }
	put := func(body string) call { return call{Method: "PUT", Path: "/user", Body: body, Bearer: "{access}"} }
	unchanged := func(s *server, _ *answer, _ values) {
		s.t.Helper()
		if got := s.one(`select encrypted_password from auth.users`); got != quickHash {
			s.t.Errorf("the password changed: %q", got)
		}
	}
	current, reauth := "GOTRUE_SECURITY_UPDATE_PASSWORD_REQUIRE_CURRENT_PASSWORD=true", "GOTRUE_SECURITY_UPDATE_PASSWORD_REQUIRE_REAUTHENTICATION=true"
	run(t, []Scenario{
		{
			Name: "ends the other sessions and voids what was mailed", WantStatements: 2, WantAudit: []string{"user_updated_password", "user_modified"},
			Given: func(s *server) values {
				v := member(s)
				v["other"] = s.open(v["user"]).Access
				s.exec(`update auth.users set confirmation_token = 'a', recovery_token = 'b', email_change_token_new = 'c', email_change_token_current = 'd', email_change = 'kept@example.com',
						phone_change_token = 'e', reauthentication_token = 'f', recovery_sent_at = now(), confirmation_sent_at = now(), email_change_sent_at = now();
					insert into auth.one_time_tokens (id, user_id, token_type, token_hash, relates_to, created_at, updated_at)
						select gen_random_uuid(), id, 'recovery_token', 'b', email, now(), now() from auth.users`)
				return v
			},
			Request: put(`{"password": "another one"}`), WantStatus: 200, WantBody: `{"id": "{user}", "new_email": "kept@example.com", "recovery_sent_at": "<none>"}`,
			Then: func(s *server, _ *answer, v values) {
				s.get("/user", v["access"]).want(200)
				s.get("/user", v["other"]).refused(http.StatusForbidden, "session_not_found")
				if got := s.one(`select concat(confirmation_token, recovery_token, email_change_token_new, email_change_token_current, phone_change_token, reauthentication_token,
					confirmation_sent_at, email_change_sent_at, (select count(*) from auth.one_time_tokens)) from auth.users`); got != "0" {
					s.t.Errorf("what remains: %q", got)
				}
				if err := bcrypt.CompareHashAndPassword([]byte(s.one(`select encrypted_password from auth.users`)), []byte("another one")); err != nil {
					s.t.Error(err)
				}
			},
		},
		{
			Name: "without a session: ends all", Given: func(s *server) values {
				me := s.quickMember("me@example.com")
				return values{"access": s.edited(me.Access, map[string]any{"session_id": nil})}
			},
			Request: put(`{"password": "another one"}`), WantStatus: 200,
			Then: func(s *server, _ *answer, _ values) {
				if n := s.one(`select count(*) from auth.sessions`); n != "0" {
					s.t.Errorf("%s sessions", n)
				}
			},
		},
		{
			Name: "the same one", Given: member, Request: put(`{"password": "correct horse battery", "data": {"a": 1}}`), WantStatus: 422, Exact: true, WantAudit: []string{}, Then: unchanged,
			WantBody: `{"code": 422, "error_code": "same_password", "msg": "New password should be different from the old password."}`,
		},
		{Name: "an empty one is weak", Given: member, Request: put(`{"password": ""}`), WantStatus: 422, WantBody: `{"error_code": "weak_password", "weak_password": {"reasons": ["length"]}}`, Then: unchanged, WantStatements: 1},
		{Name: "too long", Given: member, Request: put(`{"password": "` + strings.Repeat("x", 73) + `"}`), WantStatus: 400, WantBody: `{"error_code": "validation_failed", "msg": "Password cannot be longer than 72 characters"}`, Then: unchanged},
		{
			Name: "the current one is missing", Env: []string{current}, Given: member, Request: put(`{"password": "another one", "current_password": ""}`), WantStatus: 400, Exact: true, Then: unchanged,
			WantBody: `{"code": 400, "error_code": "current_password_required", "msg": "Current password required when setting new password."}`,
		},
		{
			Name: "the current one is wrong", Env: []string{current}, Given: member, Request: put(`{"password": "another one", "current_password": "wrong"}`), WantStatus: 400, Exact: true, Then: unchanged,
			WantBody: `{"code": 400, "error_code": "current_password_invalid", "msg": "Current password required when setting new password."}`,
		},
		{
			Name: "the current one is right", Env: []string{current}, Given: member, WantStatements: 2, WantStatus: 200,
			Request: put(`{"password": "another one", "current_password": "correct horse battery"}`),
		},
		{
			Name: "the current one is missing before the same one is noticed", Env: []string{current}, Given: member, Request: put(`{"password": "correct horse battery"}`), WantStatus: 400,
			WantBody: `{"error_code": "current_password_required"}`,
		},
		{
			Name: "a recovery session needs no current one", Env: []string{current}, WantStatus: 200, Request: put(`{"password": "another one"}`),
			Given: func(s *server) values {
				v := member(s)
				s.exec(`update auth.mfa_amr_claims set authentication_method = 'recovery'`)
				return v
			},
		},
		{
			Name: "a first password needs no current one", Env: []string{current}, WantStatus: 200, Request: put(`{"password": "another one"}`),
			Given: func(s *server) values {
				v := member(s)
				s.exec(`update auth.users set encrypted_password = ''`)
				return v
			},
		},
		{Name: "a young session needs no code", Env: []string{reauth}, Given: member, Request: put(`{"password": "another one"}`), WantStatus: 200},
		{
			Name: "an old session needs a code", Env: []string{reauth}, Request: put(`{"password": "another one"}`), WantStatus: 400, Exact: true, Then: unchanged,
			Given: func(s *server) values {
				v := member(s)
				s.exec(`update auth.sessions set created_at = now() - interval '25 hours'`)
				return v
			},
			WantBody: `{"code": 400, "error_code": "reauthentication_needed", "msg": "Password update requires reauthentication"}`,
		},
		{
			Name: "no session needs a code", Env: []string{reauth}, Request: put(`{"password": "another one"}`), WantStatus: 400, WantBody: `{"error_code": "reauthentication_needed"}`,
			Given: func(s *server) values {
				return values{"access": s.edited(s.quickMember("me@example.com").Access, map[string]any{"session_id": nil})}
			},
		},
		{
			Name: "a code nobody sent", Env: []string{reauth}, Request: put(`{"password": "another one", "nonce": "123456"}`), WantStatus: 422, Exact: true, Then: unchanged,
			Given: func(s *server) values {
				v := member(s)
				s.exec(`update auth.sessions set created_at = now() - interval '25 hours'`)
				return v
			},
			WantBody: `{"code": 422, "error_code": "reauthentication_not_valid", "msg": "Nonce has expired or is invalid"}`,
		},
		{
			Name: "a code is not accepted as the text that is stored", Env: []string{reauth}, Request: put(`{"password": "another one", "nonce": ""}`), WantStatus: 400, Then: unchanged,
			Given: func(s *server) values {
				v := member(s)
				s.exec(`update auth.sessions set created_at = now() - interval '25 hours'; update auth.users set reauthentication_token = ''`)
				return v
			},
		},
		{
			Name: "makes the identity that goes with it", Env: []string{"GOTRUE_EXPERIMENTAL_CREATE_EMAIL_IDENTITY_ON_PASSWORD_SET_ENABLED=true"}, WantStatus: 200,
			Given: func(s *server) values {
				v := member(s)
				s.exec(`update auth.users set encrypted_password = null; update auth.identities set provider = 'github', provider_id = '7'`)
				return v
			},
			Request: put(`{"password": "another one"}`), WantBody: `{"identities": [{"provider": "github"}, {"provider": "email", "identity_data": {"email_verified": true}}],
				"app_metadata": {"provider": "github", "providers": ["github", "email"]}}`,
		},
	})
}

func TestAnonymousUsersBecomePermanent(t *testing.T) {
	t.Parallel()
	guest := func(s *server) values { return of(s.post("/signup", `{"data": {"cart": 1}}`, "").want(200).session()) }
	put := func(body string) call { return call{Method: "PUT", Path: "/user", Body: body, Bearer: "{access}"} }
	run(t, []Scenario{
		{
			Name: "by an address, at once", Env: []string{anonymousOn}, Given: guest, Request: put(`{"email": "Now@example.com"}`), WantStatus: 200,
			WantBody: `{"id": "{user}", "email": "now@example.com", "email_confirmed_at": "<time>", "confirmed_at": "<none>", "is_anonymous": false, "app_metadata": {},
				"user_metadata": {"cart": 1, "email_verified": true},
				"identities": [{"provider": "email", "identity_data": {"email": "now@example.com", "email_verified": true, "phone_verified": false, "sub": "{user}"}}]}`,
			Then: func(s *server, _ *answer, v values) {
				next := s.post("/token?grant_type=refresh_token", map[string]any{"refresh_token": v["refresh"]}, "").want(200).session()
				if claimsOf(s.t, next.Access)["is_anonymous"] != false {
					s.t.Error("the next token is still anonymous")
				}
			},
		},
		{
			Name: "by an address and a password", Env: []string{anonymousOn}, Given: guest, WantStatus: 200, WantBody: `{"is_anonymous": false}`,
			Request: put(`{"email": "now@example.com", "password": "correct horse battery"}`),
			Then:    func(s *server, _ *answer, _ values) { s.signIn("now@example.com", goodPassword) },
		},
		{
			Name: "not by a password alone", Env: []string{anonymousOn}, Given: guest, Request: put(`{"password": "correct horse battery"}`), WantStatus: 422, Exact: true,
			WantBody: `{"code": 422, "error_code": "validation_failed", "msg": "Updating password of an anonymous user without an email or phone is not allowed"}`,
		},
		{
			Name: "by a number, at once", Env: []string{anonymousOn, phoneOn, smsConfirm}, Given: guest, Request: put(`{"phone": "+4915"}`), WantStatus: 200,
			WantBody: `{"phone": "4915", "phone_confirmed_at": "<time>", "is_anonymous": false, "identities": [{"provider": "phone"}]}`,
		},
		{
			Name: "not before the address is confirmed", Env: []string{anonymousOn, mailUnsure}, Given: guest, Request: put(`{"email": "now@example.com"}`), WantStatus: 200,
			WantBody: `{"email": "", "new_email": "now@example.com", "is_anonymous": true, "identities": []}`,
		},
		{
			Name: "not by an address that is taken", Env: []string{anonymousOn}, Request: put(`{"email": "taken@example.com", "password": "another one"}`), WantStatus: 422,
			Given: func(s *server) values { s.account("taken@example.com"); return guest(s) }, WantBody: `{"error_code": "email_exists"}`,
			Then: func(s *server, _ *answer, _ values) {
				if got := s.one(`select encrypted_password from auth.users where is_anonymous`); got != "" {
					s.t.Error("the password was stored")
				}
			},
		},
		{
			Name: "their data can change before", Env: []string{anonymousOn}, Given: guest, Request: put(`{"data": {"cart": null, "nick": "x"}}`), WantStatus: 200,
			WantBody: `{"user_metadata": {"nick": "x", "cart": "<none>"}, "is_anonymous": true}`,
		},
	})
}

func TestLogOut(t *testing.T) {
	t.Parallel()
	two := func(s *server) values {
		v := of(s.quickMember("me@example.com"))
		v["other"] = s.open(v["user"]).Access
		v["stranger"] = s.quickMember("stranger@example.com").Access
		v["sessionless"] = s.edited(v["access"], map[string]any{"session_id": nil})
		return v
	}
	after := func(mine, other bool) func(s *server, a *answer, v values) {
		return func(s *server, a *answer, v values) {
			s.t.Helper()
			if len(a.Raw) != 0 {
				s.t.Errorf("body %q", a.Raw)
			}
			s.get("/user", v["stranger"]).want(200)
			for token, lives := range map[string]bool{"access": mine, "other": other} {
				if lives {
					s.get("/user", v[token]).want(200)
				} else {
					s.get("/user", v[token]).refused(http.StatusForbidden, "session_not_found")
				}
			}
			if !mine {
				s.post("/logout", nil, v["access"]).refused(http.StatusForbidden, "session_not_found")
				s.post("/token?grant_type=refresh_token", map[string]any{"refresh_token": v["refresh"]}, "").refused(http.StatusBadRequest, "refresh_token_not_found")
			}
		}
	}
	out := func(query, bearer string) call {
		return call{Method: "POST", Path: "/logout" + query, Bearer: bearer, Body: `{"scope": "nonsense"}`}
	}
	logout := []string{"logout"}
	run(t, []Scenario{
		{Name: "of all", Given: two, Request: out("", "{access}"), WantStatus: 204, WantAudit: logout, WantStatements: 1, Then: after(false, false)},
		{Name: "of all, with an empty scope", Given: two, Request: out("?scope=", "{access}"), WantStatus: 204, WantAudit: logout, Then: after(false, false)},
		{Name: "global", Given: two, Request: out("?scope=global", "{access}"), WantStatus: 204, WantAudit: logout, Then: after(false, false)},
		{Name: "local", Given: two, Request: out("?scope=local", "{access}"), WantStatus: 204, WantAudit: logout, Then: after(false, true)},
		{Name: "others", Given: two, Request: out("?scope=others", "{access}"), WantStatus: 204, WantAudit: logout, Then: after(true, false)},
		{Name: "local without a session is all", Given: two, Request: out("?scope=local", "{sessionless}"), WantStatus: 204, WantAudit: logout, Then: after(false, false)},
		{Name: "others without a session is all", Given: two, Request: out("?scope=others", "{sessionless}"), WantStatus: 204, WantAudit: logout, Then: after(false, false)},
		{
			Name: "another scope", Given: two, Request: out("?scope=every%22one", "{access}"), WantStatus: 400, Exact: true, WantAudit: []string{},
			WantBody: `{"code": 400, "error_code": "validation_failed", "msg": "Unsupported logout scope \"every\"one\""}`,
			Then:     func(s *server, _ *answer, v values) { s.get("/user", v["access"]).want(200) },
		},
		{Name: "scopes are matched as written", Given: two, Request: out("?scope=GLOBAL", "{access}"), WantStatus: 400},
	})
}

// Accounts that were made with psql hold what the columns allow. Whatever it is, the answer can be read and the token is accepted.
func TestRowsMadeByHandCanBeRead(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.exec(`insert into auth.users (id, instance_id, aud, role, email, encrypted_password, email_confirmed_at)
		values (gen_random_uuid(), '00000000-0000-0000-0000-000000000000', 'authenticated', 'authenticated', 'hand@example.com', '` + quickHash + `', now())`)
	id := s.one(`select id from auth.users`)
	for _, columns := range []string{
		"created_at = null, updated_at = null", "created_at = '-infinity', banned_until = '-infinity'", "banned_until = 'infinity'", "raw_user_meta_data = '[1]', raw_app_meta_data = '\"x\"'",
		"raw_user_meta_data = 'null', raw_app_meta_data = 'null'",
	} {
		s.exec(`update auth.users set created_at = now(), updated_at = now(), banned_until = null, raw_user_meta_data = null, raw_app_meta_data = null`)
		s.exec(`update auth.users set ` + columns)
		want := `{"id": "` + id + `", "created_at": "<time>", "updated_at": "<time>", "app_metadata": {}, "user_metadata": {}, "identities": "<any>"}`
		s.get("/admin/users/"+id, s.serviceRole()).want(http.StatusOK).holds(want, false)
		s.get("/admin/users", s.serviceRole()).want(http.StatusOK).holds(`{"users": [`+want+`]}`, false)
		if columns == "banned_until = 'infinity'" {
			s.do(grant(`{"email": "hand@example.com", "password": "wrong"}`)).refused(http.StatusBadRequest, "user_banned")
			continue
		}
		me := s.post("/token?grant_type=refresh_token", map[string]any{"refresh_token": s.open(id).Refresh}, "").want(http.StatusOK).session()
		s.get("/user", me.Access).want(http.StatusOK).holds(want, false)
		s.put("/user", `{"data": {"a": 1}}`, me.Access).want(http.StatusOK).holds(`{"user_metadata": {"a": 1}}`, false)
	}
}
