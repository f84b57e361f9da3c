package http_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

func TestAdminCreatesUsers(t *testing.T) {
	t.Parallel()
	post := func(body string) call {
		return call{Method: "POST", Path: "/admin/users", Body: body, Bearer: "{admin}"}
	}
	signedUp := []string{"user_signedup"}
	run(t, []Scenario{
		{
			Name: "with everything", WantStatus: 200, WantStatements: 1, WantAudit: signedUp, Exact: true,
			Env: []string{"GOTRUE_DISABLE_SIGNUP=true", "GOTRUE_EXTERNAL_EMAIL_ENABLED=false"},
			Request: post(`{"email": "New@Example.com", "phone": "+49 15", "email_confirm": true, "phone_confirm": true, "role": " editor ", "aud": "elsewhere", "ban_duration": "24h",
				"id": "6FA459EA-EE8A-4CA4-894E-DB77E160355E", "user_metadata": {"a": null, "email_verified": "x"}, "app_metadata": {"plan": "gold", "provider": "x", "providers": null}, "nonce": "x"}`),
			WantBody: `{"id": "6fa459ea-ee8a-4ca4-894e-db77e160355e", "aud": "elsewhere", "role": "editor", "email": "new@example.com", "email_confirmed_at": "<time>",
				"phone": "4915", "phone_confirmed_at": "<time>", "app_metadata": {"plan": "gold", "provider": "x"}, "user_metadata": {"a": null, "email_verified": true},
				"identities": [
					{"identity_id": "<uuid>", "id": "6fa459ea-ee8a-4ca4-894e-db77e160355e", "user_id": "6fa459ea-ee8a-4ca4-894e-db77e160355e", "provider": "email", "email": "new@example.com",
						"identity_data": {"sub": "6fa459ea-ee8a-4ca4-894e-db77e160355e", "email": "new@example.com", "email_verified": false, "phone_verified": false},
						"last_sign_in_at": "<time>", "created_at": "<time>", "updated_at": "<time>"},
					{"identity_id": "<uuid>", "id": "6fa459ea-ee8a-4ca4-894e-db77e160355e", "user_id": "6fa459ea-ee8a-4ca4-894e-db77e160355e", "provider": "phone",
						"identity_data": {"sub": "6fa459ea-ee8a-4ca4-894e-db77e160355e", "phone": "4915", "email_verified": false, "phone_verified": false},
						"last_sign_in_at": "<time>", "created_at": "<time>", "updated_at": "<time>"}],
				"created_at": "<time>", "updated_at": "<time>", "banned_until": "<time>", "is_anonymous": false}`,
			Then: func(s *server, a *answer, _ values) {
				if got := s.one(`select payload::text from auth.audit_log_entries`); !strings.Contains(got, `"actor_id":"00000000-0000-0000-0000-000000000000","actor_username":"service_role","actor_via_sso":false`) ||
					!strings.Contains(got, `"log_type":"team"`) || !strings.Contains(got, a.text("id")) {
					s.t.Errorf("audit entry %s", got)
				}
			},
		},
		{
			Name: "with an address only", Request: post(`{"email": "new@example.com"}`), WantStatus: 200, WantAudit: signedUp,
			WantBody: `{"role": "authenticated", "aud": "authenticated", "email_confirmed_at": "<none>", "banned_until": "<none>", "user_metadata": {},
				"app_metadata": {"provider": "email", "providers": ["email"]}, "identities": [{"provider": "email"}]}`,
		},
		{
			// Ours: without a password there is none, where the reference stores the hash of a random one (differences.md).
			Name: "without a password there is none", Request: post(`{"email": "new@example.com", "password": "", "email_confirm": true}`), WantStatus: 200,
			Then: func(s *server, _ *answer, _ values) {
				if got := s.one(`select coalesce(encrypted_password, '') from auth.users`); got != "" {
					s.t.Errorf("encrypted_password %q", got)
				}
			},
		},
		{
			Name: "with a password that is weak", Request: post(`{"email": "new@example.com", "password": "x", "email_confirm": true}`), WantStatus: 200,
			Then: func(s *server, _ *answer, _ values) {
				s.do(grant(`{"email": "new@example.com", "password": "x"}`)).want(200).holds(`{"weak_password": {"reasons": ["length"]}}`, false)
			},
		},
		{Name: "phone only", Request: post(`{"phone": "4915", "phone_confirm": true}`), WantStatus: 200, WantBody: `{"email": "", "phone_confirmed_at": "<time>", "app_metadata": {"provider": "phone", "providers": ["phone"]}}`},
		{Name: "in the header's audience", Request: call{Method: "POST", Path: "/admin/users", Body: `{"email": "new@example.com"}`, Bearer: "{admin}", Header: map[string]string{"X-JWT-AUD": "custom"}}, WantStatus: 200, WantBody: `{"aud": "custom"}`},
	})
}

func TestRefusedCreations(t *testing.T) {
	t.Parallel()
	s := start(t)
	admin := s.serviceRole()
	taken := s.one(`select postern.create_user(email => 'taken@example.com', phone => '4915')`)
	for body, want := range map[string]string{
		`{}`:                         `400 validation_failed Cannot create a user without either an email or phone`,
		`{"email": "", "phone": ""}`: `400 validation_failed Cannot create a user without either an email or phone`,
		`{"email": "x"}`:             `400 validation_failed Unable to validate email address: invalid format`,
		`{"email": "` + strings.Repeat("a", 250) + `@b.com"}`: `400 validation_failed An email address is too long`,
		`{"email": "TAKEN@example.com", "phone": "x"}`:        `422 email_exists A user with this email address has already been registered`,
		`{"phone": "x"}`:      `400 validation_failed Invalid phone number format (E.164 required)`,
		`{"phone": "+49 15"}`: `422 phone_exists Phone number already registered by another user`,
		`{"email": "n@example.com", "password": "", "password_hash": "` + quickHash + `"}`: `400 validation_failed Only a password or a password hash should be provided`,
		`{"email": "n@example.com", "id": "x", "ban_duration": "x"}`:                       `400 validation_failed ID must conform to the uuid v4 format`,
		`{"email": "n@example.com", "id": "00000000-0000-0000-0000-000000000000"}`:         `400 validation_failed ID cannot be a nil uuid`,
		`{"email": "n@example.com", "ban_duration": "5"}`:                                  `400 validation_failed invalid format for ban duration: time: missing unit in duration "5"`,
		`{"email": "n@example.com", "ban_duration": "1d"}`:                                 `400 validation_failed invalid format for ban duration: time: unknown unit "d" in duration "1d"`,
		`{"email": "n@example.com", "ban_duration": "xyz"}`:                                `400 validation_failed invalid format for ban duration: time: invalid duration "xyz"`,
		`{"email": "n@example.com", "ban_duration": "99999999999h"}`:                       `400 validation_failed invalid format for ban duration: time: invalid duration "99999999999h"`,
		`{"email": "n@example.com", "password": "` + strings.Repeat("x", 73) + `"}`:        `400 validation_failed Password cannot be longer than 72 characters`,
	} {
		a := s.post("/admin/users", body, admin)
		if got := fmt.Sprint(a.Status, " ", a.text("error_code"), " ", a.text("msg")); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	// What only the database notices.
	s.post("/admin/users", map[string]any{"email": "n@example.com", "id": taken}, admin).want(500).holds(`{"code": "23505", "message": "<text>"}`, false)
	s.do(call{Method: "POST", Path: "/admin/users", Body: map[string]any{"email": "n@example.com", "id": taken}, Bearer: admin, Header: map[string]string{"X-Supabase-Api-Version": "2024-01-01"}}).
		want(500).holds(`{"code": "unexpected_failure", "message": "Database error creating new user"}`, true)
	s.do(call{Method: "POST", Path: "/admin/users", Body: `{"email": "taken@example.com"}`, Bearer: admin, Header: map[string]string{"X-JWT-AUD": "other"}}).
		want(500).holds(`{"code": "23505"}`, false)
	if got := s.one(`select count(*) || ' ' || (select count(*) from auth.audit_log_entries) from auth.users`); got != "1 0" {
		t.Errorf("users and entries: %s", got)
	}
}

func TestAdminReadsUsers(t *testing.T) {
	t.Parallel()
	s := start(t)
	me, admin := s.member("me@example.com"), s.serviceRole()
	want := s.get("/user", me.Access).want(200)
	if n, texts := s.statements(func() { s.get("/admin/users/"+me.UserID, admin).want(200) }); n != 1 {
		t.Errorf("%d statements: %v", n, texts)
	}
	for _, id := range []string{me.UserID, strings.ToUpper(me.UserID), strings.ReplaceAll(me.UserID, "-", "")} {
		if a := s.get("/admin/users/"+id, admin).want(200); string(a.Raw) != string(want.Raw) {
			t.Errorf("%s, GET /user says %s", a.Raw, want.Raw)
		}
	}
	for _, id := range []string{"x", me.UserID + "0", "{" + me.UserID + "}", "%00", "%ff", strings.Repeat("0", 33), "null", strings.Repeat("a", 4000)} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			a := s.do(call{Method: method, Path: "/admin/users/" + id, Bearer: admin, Body: "{}"}).refused(http.StatusNotFound, "validation_failed")
			if a.text("msg") != "user_id must be an UUID" {
				t.Errorf("msg %q", a.text("msg"))
			}
		}
	}
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		a := s.do(call{Method: method, Path: "/admin/users/6fa459ea-ee8a-4ca4-894e-db77e160355e", Bearer: admin, Body: "{}"}).refused(http.StatusNotFound, "user_not_found")
		if a.text("msg") != "User not found" {
			t.Errorf("msg %q", a.text("msg"))
		}
	}
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		s.do(call{Method: method, Path: "/admin/users/" + me.UserID, Bearer: me.Access, Body: "{}"}).refused(http.StatusForbidden, "not_admin")
	}
	s.do(call{Method: "POST", Path: "/admin/users", Bearer: me.Access, Body: `{"email": "x@example.com"}`}).refused(http.StatusForbidden, "not_admin")
	s.get("/admin/audit", me.Access).refused(http.StatusForbidden, "not_admin")
	s.exec(`update auth.users set instance_id = null`)
	s.get("/admin/users/"+me.UserID, admin).refused(http.StatusNotFound, "user_not_found")
	s.get("/user", me.Access).refused(http.StatusForbidden, "user_not_found")
}

func TestAdminListsUsers(t *testing.T) {
	t.Parallel()
	s := start(t)
	admin := s.serviceRole()
	s.exec(`select postern.create_user(email => 'user' || n || '@example.com', user_metadata => jsonb_build_object('full_name', 'Name ' || n)) from generate_series(1, 12) n;
		update auth.users set created_at = timestamptz '2020-01-01' + substring(email from '[0-9]+')::int * interval '1 day'`)
	list := func(query string) *answer { return s.get("/admin/users"+query, admin).want(200) }
	emails := func(a *answer) (out []string) {
		users, _ := a.at("users").([]any)
		for _, user := range users {
			email, _ := member(user, "email").(string)
			out = append(out, strings.TrimSuffix(strings.TrimPrefix(email, "user"), "@example.com"))
		}
		return out
	}
	if n, texts := s.statements(func() { list("") }); n != 1 {
		t.Errorf("%d statements: %v", n, texts)
	}
	all := list("")
	all.holds(`{"aud": "authenticated", "users": "<any>"}`, true)
	if shown, there := all.at("users.0").(map[string]any)["identities"]; !there || shown != nil {
		t.Errorf("lists show identities: %.600s", all.Raw)
	}
	for _, c := range []struct{ query, users, total, link string }{
		{"", "12 11 10 9 8 7 6 5 4 3 2 1", "12", `</admin/users?page=1>; rel="last"`},
		{"?page=&per_page=", "12 11 10 9 8 7 6 5 4 3 2 1", "12", `</admin/users?page=1&per_page=>; rel="last"`},
		{"?page=1&per_page=5", "12 11 10 9 8", "12", `</admin/users?page=2&per_page=5>; rel="next", </admin/users?page=3&per_page=5>; rel="last"`},
		{"?per_page=5&page=0", "12 11 10 9 8", "12", `</admin/users?page=2&per_page=5>; rel="next", </admin/users?page=3&per_page=5>; rel="last"`},
		{"?page=3&per_page=5", "2 1", "12", `</admin/users?page=3&per_page=5>; rel="last"`},
		{"?page=4&per_page=5", "", "12", `</admin/users?page=3&per_page=5>; rel="last"`},
		{"?page=2&per_page=12", "", "12", `</admin/users?page=1&per_page=12>; rel="last"`},
		{"?page=999999999999999999&per_page=999999999999999999", "", "12", `</admin/users?page=1&per_page=999999999999999999>; rel="last"`},
		{"?sort=created_at%20asc&per_page=3", "1 2 3", "12", `</admin/users?page=2&per_page=3&sort=created_at+asc>; rel="next", </admin/users?page=4&per_page=3&sort=created_at+asc>; rel="last"`},
		{"?sort=created_at+DESC&per_page=3", "12 11 10", "12", ""},
		{"?sort=created_at&sort=created_at+asc&per_page=3", "12 11 10", "12", ""},
		{"?filter=user1", "12 11 10 1", "4", `</admin/users?filter=user1&page=1>; rel="last"`},
		{"?filter=USER1", "", "0", `</admin/users?filter=USER1&page=0>; rel="last"`},
		{"?filter=NAME%201", "12 11 10 1", "4", ""},
		{"?filter=user_%40", "9 8 7 6 5 4 3 2 1", "9", ""},
		{"?filter=%25", "12 11 10 9 8 7 6 5 4 3 2 1", "12", ""},
		{"?filter=%5C", "", "0", ""},
		{"?filter=%27%3B+drop", "", "0", ""},
	} {
		a := list(c.query)
		if got := strings.Join(emails(a), " "); got != c.users {
			t.Errorf("%s: users %s, want %s", c.query, got, c.users)
		}
		want := map[string]string{"X-Total-Count": c.total}
		if c.link != "" {
			want["Link"] = c.link
		}
		a.headers(want)
		if c.users == "" && !strings.Contains(strings.ReplaceAll(string(a.Raw), " ", ""), `"users":[]`) {
			t.Errorf("%s: %s", c.query, a.Raw)
		}
	}
	for query, message := range map[string]string{
		"page=abc":                     `Bad Pagination Parameters: strconv.ParseUint: parsing "abc": invalid syntax`,
		"per_page=-1":                  `Bad Pagination Parameters: strconv.ParseUint: parsing "-1": invalid syntax`,
		"per_page=1.5":                 `Bad Pagination Parameters: strconv.ParseUint: parsing "1.5": invalid syntax`,
		"page=%2B1":                    `Bad Pagination Parameters: strconv.ParseUint: parsing "+1": invalid syntax`,
		"page=99999999999999999999":    `Bad Pagination Parameters: strconv.ParseUint: parsing "99999999999999999999": value out of range`,
		"per_page=0":                   `Bad Pagination Parameters: per_page must be greater than 0`,
		"sort=email&page=abc":          `Bad Sort Parameters: bad field for sort 'email'`,
		"sort=created_at+Foo":          `Bad Sort Parameters: bad direction for sort 'Foo', only 'asc' and 'desc' allowed`,
		"sort=created_at+foo":          `Bad Sort Parameters: bad direction for sort 'foo', only 'asc' and 'desc' allowed`,
		"sort=created_at+asc%3Bselect": `Bad Sort Parameters: bad direction for sort 'asc;select', only 'asc' and 'desc' allowed`,
		"sort=created_at&sort=u.id--":  `Bad Sort Parameters: bad field for sort 'u.id--'`,
	} {
		a := s.get("/admin/users?"+query, admin).refused(http.StatusBadRequest, "validation_failed")
		if a.text("msg") != message {
			t.Errorf("%s: msg %q, want %q", query, a.text("msg"), message)
		}
	}
	// Soft-deleted, single sign-on, anonymous and banned ones are shown; those of another audience or instance are not.
	s.exec(`update auth.users set deleted_at = now(), is_sso_user = true, is_anonymous = true, banned_until = now() + interval '1 day' where email = 'user1@example.com';
		update auth.users set aud = 'other' where email = 'user2@example.com'; update auth.users set instance_id = null where email = 'user3@example.com'`)
	if got := strings.Join(emails(list("")), " "); got != "12 11 10 9 8 7 6 5 4 1" {
		t.Errorf("users %s", got)
	}
	// Every account is on one page when they are as old as each other.
	s.exec(`update auth.users set created_at = now(), aud = 'authenticated', instance_id = '00000000-0000-0000-0000-000000000000'`)
	var seen []string
	for page := 1; page <= 4; page++ {
		seen = append(seen, emails(list(fmt.Sprintf("?page=%d&per_page=3", page)))...)
	}
	slices.Sort(seen)
	if seen = slices.Compact(seen); len(seen) != 12 {
		t.Errorf("paging shows %d of 12 accounts", len(seen))
	}
}

func TestAdminUpdatesUsers(t *testing.T) {
	t.Parallel()
	member := func(s *server) values { return of(s.quickMember("me@example.com")) }
	put := func(body string) call {
		return call{Method: "PUT", Path: "/admin/users/{user}", Body: body, Bearer: "{admin}"}
	}
	modified := []string{"user_modified"}
	run(t, []Scenario{
		{
			Name: "nothing: only an entry in the audit log", WantStatus: 200, WantAudit: modified, WantStatements: 1,
			Request: put(`{"email": "", "phone": null, "role": " ", "email_confirm": false, "ban_duration": "", "id": "x", "aud": "other", "password_hash": "x", "nonce": "x"}`),
			Given: func(s *server) values {
				v := member(s)
				v["before"] = s.one(`select md5(u::text) from auth.users u`)
				return v
			},
			Then: func(s *server, _ *answer, v values) {
				if got := s.one(`select md5(u::text) from auth.users u`); got != v["before"] {
					s.t.Error("the row changed")
				}
			},
		},
		{
			Name: "role, metadata and ban", Given: func(s *server) values {
				v := member(s)
				s.exec(`update auth.users set raw_user_meta_data = '{"kept": 1, "gone": 1}'`)
				return v
			},
			Request: put(`{"role": " editor ", "user_metadata": {"gone": null, "n": {"x": null}}, "app_metadata": {"plan": "gold", "providers": null}, "ban_duration": "1h30m"}`), WantStatus: 200, WantAudit: modified,
			WantBody: `{"role": "editor", "user_metadata": {"kept": 1, "gone": "<none>", "n": {"x": null}}, "app_metadata": {"plan": "gold", "provider": "email", "providers": "<none>"}, "banned_until": "<time>"}`,
			Then: func(s *server, a *answer, v values) {
				until, err := time.Parse(time.RFC3339Nano, a.text("banned_until"))
				if left := time.Until(until); err != nil || left < 89*time.Minute || left > 91*time.Minute {
					s.t.Errorf("banned until %s", a.text("banned_until"))
				}
				s.get("/user", v["access"]).refused(http.StatusForbidden, "user_banned")
				s.put("/admin/users/"+v["user"], `{"ban_duration": "none"}`, v["admin"]).want(200).holds(`{"banned_until": "<none>"}`, false)
				s.get("/user", v["access"]).want(200)
			},
		},
		{Name: "a ban of zero", Given: func(s *server) values {
			v := member(s)
			s.exec(`update auth.users set banned_until = now() + interval '1 day'`)
			return v
		}, Request: put(`{"ban_duration": "0"}`), WantStatus: 200, WantBody: `{"banned_until": "<none>"}`},
		{Name: "a ban in the past", Given: member, Request: put(`{"ban_duration": "-1h"}`), WantStatus: 200, WantBody: `{"banned_until": "<time>"}`, Then: func(s *server, _ *answer, v values) { s.get("/user", v["access"]).want(200) }},
		{Name: "a ban for ever and a day", Given: member, Request: put(`{"ban_duration": "876000h"}`), WantStatus: 200, WantBody: `{"banned_until": "<time>"}`},
		{
			Name: "a password ends all sessions", Given: func(s *server) values {
				v := member(s)
				s.exec(`insert into auth.one_time_tokens (id, user_id, token_type, token_hash, relates_to, created_at, updated_at) select gen_random_uuid(), id, 'recovery_token', 'b', email, now(), now() from auth.users`)
				return v
			},
			Request: put(`{"password": "another one"}`), WantStatus: 200, WantAudit: modified,
			Then: func(s *server, _ *answer, v values) {
				s.get("/user", v["access"]).refused(http.StatusForbidden, "session_not_found")
				if n := s.one(`select count(*) from auth.one_time_tokens`); n != "0" {
					s.t.Errorf("%s one-time tokens", n)
				}
				if err := bcrypt.CompareHashAndPassword([]byte(s.one(`select encrypted_password from auth.users`)), []byte("another one")); err != nil {
					s.t.Error(err)
				}
			},
		},
		{
			Name: "an address, confirmed", Given: member, Request: put(`{"email": "New@example.com", "email_confirm": true}`), WantStatus: 200, WantAudit: modified,
			WantBody: `{"email": "new@example.com", "user_metadata": {"email_verified": true}, "identities": [{"provider": "email", "email": "me@example.com"}]}`,
			Then: func(s *server, _ *answer, _ values) {
				if got := s.one(`select concat_ws(' ', identity_data ->> 'email', identity_data ->> 'email_verified', email, provider_id = user_id::text) from auth.identities`); got != "new@example.com true new@example.com t" {
					s.t.Errorf("identity %s", got)
				}
				if got := s.one(`select payload -> 'traits' ->> 'user_email' from auth.audit_log_entries`); got != "new@example.com" {
					s.t.Errorf("audit names %s", got)
				}
			},
		},
		{
			Name: "a number where there was none", Given: member, Request: put(`{"phone": "+49 15", "phone_confirm": true}`), WantStatus: 200,
			WantBody: `{"phone": "4915", "phone_confirmed_at": "<time>", "app_metadata": {"providers": ["email"]}, "identities": [{"provider": "email"}, {"provider": "phone", "identity_data": {"phone": "4915", "phone_verified": true}}]}`,
		},
		{
			Name: "confirmation of an address", Given: func(s *server) values {
				return values{"user": s.accountIn("me@example.com", "", false)}
			},
			Request: put(`{"email_confirm": true}`), WantStatus: 200, WantBody: `{"email_confirmed_at": "<time>", "confirmed_at": "<none>", "user_metadata": {"email_verified": true}}`,
			Then: func(s *server, _ *answer, v values) {
				s.get("/admin/users/"+v["user"], v["admin"]).holds(`{"confirmed_at": "<time>"}`, false)
			},
		},
		{
			Name: "an anonymous user, made permanent", Env: []string{anonymousOn}, Request: put(`{"email": "me@example.com", "email_confirm": true}`), WantStatus: 200,
			Given: func(s *server) values { return of(s.post("/signup", "{}", "").session()) }, WantBody: `{"is_anonymous": false, "identities": [{"provider": "email"}]}`,
		},
		{
			Name: "an anonymous user with an unconfirmed address", Env: []string{anonymousOn}, Request: put(`{"email": "me@example.com"}`), WantStatus: 200,
			Given: func(s *server) values { return of(s.post("/signup", "{}", "").session()) }, WantBody: `{"is_anonymous": true, "email": "me@example.com"}`,
		},
		{
			Name: "an address that is taken: the database's own refusal", Given: func(s *server) values { s.account("taken@example.com"); return member(s) },
			Request: put(`{"email": "taken@example.com", "role": "editor"}`), WantStatus: 500, WantBody: `{"code": "23505", "message": "<text>"}`, WantAudit: []string{},
			WantHeader: map[string]string{"X-Sb-Error-Code": "unexpected_failure"},
			Then: func(s *server, _ *answer, v values) {
				if got := s.one(`select role || (select count(*) from auth.identities) from auth.users where id = $1`, v["user"]); got != "authenticated2" {
					s.t.Errorf("what was half done remains: %s", got)
				}
			},
		},
		{
			Name: "a number that is taken, dated", Given: func(s *server) values { s.accountIn("", "4915", true); return member(s) },
			Request:    call{Method: "PUT", Path: "/admin/users/{user}", Body: `{"phone": "4915"}`, Bearer: "{admin}", Header: map[string]string{"X-Supabase-Api-Version": "2024-01-01"}},
			WantStatus: 500, WantBody: `{"code": "unexpected_failure", "message": "Error updating user"}`, Exact: true,
		},
		{Name: "no address", Given: member, Request: put(`{"email": "x", "phone": "x"}`), WantStatus: 400, WantBody: `{"msg": "Unable to validate email address: invalid format"}`, WantAudit: []string{}},
		{Name: "no number", Given: member, Request: put(`{"phone": "x", "ban_duration": "x"}`), WantStatus: 400, WantBody: `{"msg": "Invalid phone number format (E.164 required)"}`},
		{Name: "no ban", Given: member, Request: put(`{"ban_duration": "1w", "password": "x"}`), WantStatus: 400, WantBody: `{"msg": "invalid format for ban duration: time: unknown unit \"w\" in duration \"1w\""}`},
		{Name: "an empty password", Given: member, Request: put(`{"password": ""}`), WantStatus: 422, WantBody: `{"error_code": "weak_password"}`},
	})
}

func TestAdminDeletesUsers(t *testing.T) {
	t.Parallel()
	full := func(s *server) values {
		v := of(s.quickMember("me@example.com"))
		s.exec(`update auth.users set phone = '4915', phone_confirmed_at = now(), raw_user_meta_data = '{"full_name": "Secret"}', email_change = '', banned_until = now() - interval '1 day';
			insert into auth.one_time_tokens (id, user_id, token_type, token_hash, relates_to, created_at, updated_at) select gen_random_uuid(), id, 'recovery_token', 'b', email, now(), now() from auth.users;
			insert into auth.mfa_factors (id, user_id, factor_type, status, created_at, updated_at) select gen_random_uuid(), id, 'totp', 'verified', now(), now() from auth.users`)
		return v
	}
	del := func(body any) call {
		return call{Method: "DELETE", Path: "/admin/users/{user}", Body: body, Bearer: "{admin}"}
	}
	deleted := []string{"user_deleted"}
	none := func(s *server, _ *answer, v values) {
		s.t.Helper()
		if got := s.one(`select concat_ws(' ', (select count(*) from auth.users), (select count(*) from auth.identities), (select count(*) from auth.sessions),
			(select count(*) from auth.refresh_tokens), (select count(*) from auth.mfa_factors), (select count(*) from auth.one_time_tokens))`); got != "0 0 0 0 0 0" {
			s.t.Errorf("what remains: %s", got)
		}
		s.get("/user", v["access"]).refused(http.StatusForbidden, "user_not_found")
	}
	run(t, []Scenario{
		{Name: "hard, without a body", Given: full, Request: del(nil), WantStatus: 200, WantBody: `{}`, Exact: true, WantAudit: deleted, WantStatements: 1, Then: none},
		{Name: "hard, said so", Given: full, Request: del(`{"should_soft_delete": false}`), WantStatus: 200, WantBody: `{}`, Exact: true, WantAudit: deleted, Then: none},
		{
			Name: "soft", Given: full, Request: del(`{"should_soft_delete": true}`), WantStatus: 200, WantBody: `{}`, Exact: true, WantAudit: deleted, WantStatements: 1,
			Then: func(s *server, _ *answer, v values) {
				hash := func(text string) string {
					return s.one(`select translate(encode(sha256(convert_to($1 || $2, 'UTF8')), 'base64'), '+/=', '-_')`, v["user"], text)
				}
				want := strings.Join([]string{hash("me@example.com"), hash("4915")[:15], hash(""), hash("")[:15], "t {} {} t t t authenticated"}, " ")
				if got := s.one(`select concat_ws(' ', email, phone, email_change, phone_change, encrypted_password is null, raw_user_meta_data, raw_app_meta_data, deleted_at is not null,
					email_confirmed_at is not null, banned_until is not null, role) from auth.users`); got != want {
					s.t.Errorf("row  %s\nwant %s", got, want)
				}
				if got := s.one(`select concat_ws(' ', provider_id, identity_data, email is null) from auth.identities`); got != hash("email:"+v["user"])+" {} t" {
					s.t.Errorf("identity %s", got)
				}
				if got := s.one(`select concat((select count(*) from auth.sessions), (select count(*) from auth.mfa_factors), (select count(*) from auth.one_time_tokens))`); got != "000" {
					s.t.Errorf("what remains: %s", got)
				}
				s.get("/user", v["access"]).refused(http.StatusForbidden, "session_not_found")
				s.do(grant(`{"email": "me@example.com", "password": "correct horse battery"}`)).refused(http.StatusBadRequest, "invalid_credentials")
				s.post("/token?grant_type=refresh_token", map[string]any{"refresh_token": v["refresh"]}, "").refused(http.StatusBadRequest, "refresh_token_not_found")
				s.get("/admin/users/"+v["user"], v["admin"]).want(200).holds(`{"deleted_at": "<time>", "user_metadata": {}, "app_metadata": {}, "identities": [{"identity_data": "<none>", "email": "<none>"}]}`, false)

				// Again changes nothing; the address is free; a hard deletion removes it.
				before := s.one(`select md5(u::text) from auth.users u`)
				s.delete("/admin/users/"+v["user"], `{"should_soft_delete": true}`, v["admin"]).want(200)
				if s.one(`select md5(u::text) from auth.users u`) != before || len(s.audit()) != 2 {
					s.t.Errorf("a repeated deletion: audit %v", s.audit())
				}
				s.post("/admin/users", `{"email": "me@example.com", "phone": "4915"}`, v["admin"]).want(200)
				s.delete("/admin/users/"+v["user"], nil, v["admin"]).want(200)
				s.get("/admin/users/"+v["user"], v["admin"]).refused(http.StatusNotFound, "user_not_found")
			},
		},
		{
			Name: "soft, of an anonymous one", Env: []string{anonymousOn}, Given: func(s *server) values { return of(s.post("/signup", "{}", "").session()) },
			Request: del(`{"should_soft_delete": true}`), WantStatus: 200,
		},
		{
			Name: "refused by an application's table", SQL: `create table public.invoices (owner uuid references auth.users (id))`,
			Given: func(s *server) values {
				v := full(s)
				s.exec(`insert into public.invoices select id from auth.users`)
				return v
			}, Request: del(nil), WantStatus: 500,
			WantBody: `{"code": "23503", "message": "<text>", "detail": "<text>"}`, WantAudit: []string{}, WantHeader: map[string]string{"X-Sb-Error-Code": "unexpected_failure"},
			Then: func(s *server, _ *answer, v values) { s.get("/user", v["access"]).want(200) },
		},
		{
			Name: "with an application's rows", SQL: `create table public.profiles (id uuid references auth.users (id) on delete cascade)`,
			Given: func(s *server) values {
				v := full(s)
				s.exec(`insert into public.profiles select id from auth.users`)
				return v
			}, Request: del(nil), WantStatus: 200,
			Then: func(s *server, _ *answer, _ values) {
				if n := s.one(`select count(*) from public.profiles`); n != "0" {
					s.t.Errorf("%s profiles", n)
				}
			},
		},
	})
}
