package http_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Bodies are read alike everywhere, so the cheapest endpoints stand for all: sign-up without address and number
// (anonymous), and sign-in.

func TestBodiesThatAreNoJSONObject(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true")
	me, admin := s.member("me@example.com"), s.serviceRole()
	const prefix = "Could not parse request body as JSON: "
	for _, body := range []string{
		"", " ", "{", `{"email"`, `{"email":}`, "{}x", "{}{}", "[]", `"text"`, "7", "true", "{'email': 'x'}", "\xef\xbb\xbf{}", "\x00", "{\"data\":\x00}",
		`{"email": 7}`, `{"email": {}}`, `{"phone": ["x"]}`, `{"password": 7}`, strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 20_000),
	} {
		for _, c := range []call{
			{Method: "POST", Path: "/signup"},
			{Method: "POST", Path: "/token?grant_type=password"},
			{Method: "PUT", Path: "/user", Bearer: me.Access},
			{Method: "POST", Path: "/admin/users", Bearer: admin},
			{Method: "PUT", Path: "/admin/users/" + me.UserID, Bearer: admin},
		} {
			c.Body = body
			a := s.do(c).refused(http.StatusBadRequest, "bad_json")
			if !strings.HasPrefix(a.text("msg"), prefix) {
				t.Errorf("%s %s %.40q: msg %q", c.Method, c.Path, body, a.text("msg"))
			}
			if body == "" && a.text("msg") != prefix+"unexpected end of JSON input" {
				t.Errorf("%s %s without a body: msg %q", c.Method, c.Path, a.text("msg"))
			}
		}
	}
	// Said in the body's own words.
	for body, want := range map[string]string{
		`[]`: "json: cannot unmarshal array into an object", `{"email": 7}`: "json: cannot unmarshal number into email",
		`{"data": {}, "email": {"a": 1}}`: "json: cannot unmarshal object into email",
	} {
		for _, path := range []string{"/signup", "/otp", "/recover", "/resend", "/verify", "/invite", "/admin/users", "/admin/generate_link"} {
			s.post(path, body, admin).refusedWith(http.StatusBadRequest, "bad_json", prefix+want)
		}
	}
	s.post("/token?grant_type=refresh_token", `{"refresh_token": 7}`, "").refused(http.StatusBadRequest, "bad_json")
	s.post("/signup", `{"data": []}`, "").refused(http.StatusBadRequest, "bad_json")
	s.post("/signup", `{"data": "x"}`, "").refused(http.StatusBadRequest, "bad_json")
	s.post("/admin/users", `{"email": "x@example.com", "email_confirm": "yes"}`, admin).refused(http.StatusBadRequest, "bad_json")
	s.delete("/admin/users/"+me.UserID, `{"should_soft_delete": 1}`, admin).refused(http.StatusBadRequest, "bad_json")
	s.delete("/admin/users/"+me.UserID, `nonsense`, admin).refused(http.StatusBadRequest, "bad_json")
	if n := s.one(`select count(*) from auth.users`); n != "1" {
		t.Errorf("%s users, want 1", n)
	}
}

func TestNullMembersAndBodiesCountAsAbsent(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true")
	me, admin := s.member("me@example.com"), s.serviceRole()
	s.post("/signup", "null", "").want(http.StatusOK).holds(`{"user": {"is_anonymous": true}}`, false)
	s.post("/signup", `{"email": null, "phone": null, "password": null, "data": null}`, "").want(http.StatusOK)
	s.post("/token?grant_type=password", "null", "").refused(http.StatusBadRequest, "validation_failed")
	s.post("/token?grant_type=refresh_token", "null", "").refused(http.StatusBadRequest, "validation_failed")
	s.put("/user", "null", me.Access).want(http.StatusOK)
	s.put("/user", `{"email": null, "password": null, "data": null, "app_metadata": null}`, me.Access).want(http.StatusOK)
	s.post("/admin/users", "null", admin).refused(http.StatusBadRequest, "validation_failed")
	s.put("/admin/users/"+me.UserID, "null", admin).want(http.StatusOK)
	s.delete("/admin/users/"+me.UserID, "null", admin).want(http.StatusOK)
}

func TestMembersOfABodyAreMatchedInAnyCaseAndTheLastOneCounts(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.account("me@example.com")
	for _, body := range []string{
		`{"EMAIL": "me@example.com", "Password": "wrong"}`, `{"email": "nobody@example.com", "email": "me@example.com", "password": "wrong"}`,
		`{"email": "me@example.com", "password": "wrong", "unknown": {"a": [1]}}`,
	} {
		s.post("/token?grant_type=password", body, "").refused(http.StatusBadRequest, "invalid_credentials")
	}
}

// A form names the grant, and holds no JSON (contract core.md 4.1).
func TestGrantsNamedByAForm(t *testing.T) {
	t.Parallel()
	s := start(t)
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	for _, c := range []struct{ query, body, code string }{
		{"", "grant_type=password&email=me@example.com", "bad_json"},
		{"", "grant_type=refresh_token", "bad_json"},
		{"?grant_type=password", "grant_type=nonsense", "invalid_credentials"},
		{"?grant_type=password", "email=me@example.com", "bad_json"},
		{"", "email=me@example.com", "invalid_credentials"},
		{"", "", "invalid_credentials"},
	} {
		s.do(call{Method: "POST", Path: "/token" + c.query, Body: c.body, Header: form}).refused(http.StatusBadRequest, c.code)
	}
}

func TestLargeBodies(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true")
	me, admin := s.member("me@example.com"), s.serviceRole()
	sized := func(size int) string {
		const frame = `{"data":{"x":""}}`
		return `{"data":{"x":"` + strings.Repeat("a", size-len(frame)) + `"}}`
	}
	s.post("/signup", sized(1<<20), "").want(http.StatusOK)
	for _, c := range []call{
		{Method: "POST", Path: "/signup"},
		{Method: "POST", Path: "/token?grant_type=password"},
		{Method: "POST", Path: "/token?grant_type=refresh_token"},
		{Method: "PUT", Path: "/user", Bearer: me.Access},
		{Method: "POST", Path: "/admin/users", Bearer: admin},
		{Method: "PUT", Path: "/admin/users/" + me.UserID, Bearer: admin},
		{Method: "DELETE", Path: "/admin/users/" + me.UserID, Bearer: admin},
	} {
		c.Body = sized(1<<20 + 1)
		a := s.do(c).refused(http.StatusRequestEntityTooLarge, "request_entity_too_large")
		if want := "Request body too large (max 1048576 bytes)"; a.text("msg") != want {
			t.Errorf("%s %s: msg %q", c.Method, c.Path, a.text("msg"))
		}
	}
	// What needs no body does not care.
	s.do(call{Method: "GET", Path: "/user", Bearer: me.Access, Body: sized(1<<20 + 1)}).want(http.StatusOK)
}

func TestFormsAreNotRead(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true")
	for _, kind := range []string{"application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=utf-8"} {
		for _, body := range []string{`{}`, `email=a%40example.com&password=secret1`} {
			a := s.do(call{Method: "POST", Path: "/signup", Body: body, Header: map[string]string{"Content-Type": kind}})
			a.refused(http.StatusBadRequest, "bad_json")
			if want := "Could not parse request body as JSON: unexpected end of JSON input"; a.text("msg") != want {
				t.Errorf("msg %q", a.text("msg"))
			}
		}
	}
	for _, kind := range []string{"text/plain", "application/octet-stream", "application/json; charset=utf-16", "nonsense"} {
		s.do(call{Method: "POST", Path: "/signup", Body: "{}", Header: map[string]string{"Content-Type": kind}}).want(http.StatusOK)
	}
}

func TestTextThatPostgreSQLCannotStore(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true", "GOTRUE_EXTERNAL_PHONE_ENABLED=true")
	me, admin := s.member("me@example.com"), s.serviceRole()
	nul := `\u0000`
	for _, c := range []call{
		{Method: "POST", Path: "/signup", Body: `{"data": {"a": "` + nul + `"}}`},
		{Method: "POST", Path: "/signup", Body: `{"data": {"` + nul + `": 1}}`},
		{Method: "POST", Path: "/signup", Body: `{"data": {"a": [{"b": "x` + nul + `"}]}}`},
		{Method: "POST", Path: "/signup", Body: `{"email": "a` + nul + `@example.com", "password": "secret1"}`},
		{Method: "POST", Path: "/signup", Body: `{"phone": "4930` + nul + `", "password": "secret1"}`},
		{Method: "POST", Path: "/token?grant_type=password", Body: `{"email": "` + nul + `", "password": "secret1"}`},
		{Method: "POST", Path: "/token?grant_type=refresh_token", Body: `{"refresh_token": "` + nul + `"}`},
		{Method: "PUT", Path: "/user", Body: `{"data": {"a": "` + nul + `"}}`, Bearer: me.Access},
		{Method: "PUT", Path: "/user", Body: `{"nonce": "` + nul + `", "password": "secret1"}`, Bearer: me.Access},
		{Method: "POST", Path: "/admin/users", Body: `{"email": "n@example.com", "role": "` + nul + `"}`, Bearer: admin},
		{Method: "POST", Path: "/admin/users", Body: `{"email": "n@example.com", "id": "` + nul + `"}`, Bearer: admin},
		{Method: "PUT", Path: "/admin/users/" + me.UserID, Body: `{"user_metadata": {"a": "` + nul + `"}}`, Bearer: admin},
		{Method: "PUT", Path: "/admin/users/" + me.UserID, Body: `{"ban_duration": "` + nul + `"}`, Bearer: admin},
	} {
		s.do(c).refused(http.StatusBadRequest, "bad_json")
	}
	// Six characters that only look like it.
	a := s.post("/signup", `{"data": {"a": "\\u0000"}}`, "").want(http.StatusOK)
	if got := a.text("user.user_metadata.a"); got != `\u0000` {
		t.Errorf("stored %q", got)
	}
	// Lone surrogates and broken UTF-8 become the replacement character, as in the reference.
	for body, want := range map[string]string{
		`{"data": {"a": "x\ud800y"}}`: "x\ufffdy", `{"data": {"a": "\udc00"}}`: "\ufffd", `{"data": {"a": "\ud83d\ude00"}}`: "😀",
		"{\"data\": {\"a\": \"x\xffy\"}}": "x\ufffdy",
	} {
		if got := s.post("/signup", body, "").want(http.StatusOK).text("user.user_metadata.a"); got != want {
			t.Errorf("%q: stored %q, want %q", body, got, want)
		}
	}
	s.post("/signup", `{"data": {"\ud800": 1, "": {"": null}}}`, "").want(http.StatusOK)
	s.post("/signup", `{"email": "a\ud800@example.com", "password": ""}`, "").refused(http.StatusBadRequest, "validation_failed")
	s.post("/token?grant_type=refresh_token", `{"refresh_token": "\ud800\ud800\ud800\ud800"}`, "").refused(http.StatusBadRequest, "validation_failed")
}

func TestNumbersKeepTheirDigits(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true")
	a := s.post("/signup", `{"data": {"big": 12345678901234567890123, "small": 0.1234567890123456789, "neg": -0, "exp": 1e3}}`, "").want(http.StatusOK)
	for _, want := range []string{"12345678901234567890123", "0.1234567890123456789", "1000"} {
		if !strings.Contains(string(a.Raw), want) {
			t.Errorf("%s is missing: %s", want, a.Raw)
		}
	}
}

func TestNumbersThatPostgreSQLCannotStore(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true")
	me := s.member("me@example.com")
	for _, number := range []string{strings.Repeat("9", 140_000), "0." + strings.Repeat("1", 20_000)} {
		for _, c := range []call{{Method: "POST", Path: "/signup"}, {Method: "PUT", Path: "/user", Bearer: me.Access}} {
			c.Body = `{"data": {"n": ` + number + `}}`
			s.do(c).refused(http.StatusBadRequest, "validation_failed")
		}
	}
	if got := s.one(`select count(*) from auth.users`); got != "1" {
		t.Errorf("%s users", got)
	}
}

// PostgreSQL writes jsonb numbers out in full: 1e131071 is 8 bytes here and 128 KiB in every answer and token, so that one
// request of 1 MiB would ask the database for gigabytes. The reference refuses what is no float64.
func TestNumbersOfAFewBytesDoNotBecomeMegabytes(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true")
	me, admin := s.member("me@example.com"), s.serviceRole()
	for _, number := range []string{"1e400", "-1e400", "1e131071", "1e200000", "1e999999999999", "1e-16000", "1e-999999999999"} {
		body := fmt.Sprintf(`{"data": {"n": [%s]}, "user_metadata": {"n": [%[1]s]}, "app_metadata": {}, "email": ""}`, number)
		for _, c := range []call{
			{Method: "POST", Path: "/signup"},
			{Method: "PUT", Path: "/user", Bearer: me.Access},
			{Method: "PUT", Path: "/admin/users/" + me.UserID, Bearer: admin},
		} {
			c.Body = body
			if c.Path == "/user" {
				c.Body = strings.Replace(body, `"app_metadata": {}, `, "", 1)
			}
			a := s.do(c)
			if a.Status >= 500 || a.Status < 400 && len(a.Raw) > 4000 {
				t.Errorf("%s %s %s: %d with %d bytes", c.Method, c.Path, number, a.Status, len(a.Raw))
			}
		}
	}
}

// Nor do many of them: what a body may hold (1 MiB) would come back as 127 MB.
func TestManySmallNumbersDoNotBecomeAHugeAnswer(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true")
	for _, number := range []string{"1e308", "-9e-300"} {
		body := `{"data": {"n": [` + strings.TrimSuffix(strings.Repeat(number+",", 20_000), ",") + `]}}`
		if a := s.post("/signup", body, ""); a.Status >= 500 || len(a.Raw) > 20*len(body) {
			t.Errorf("%s: %d bytes are answered with %d and %d bytes", number, len(body), a.Status, len(a.Raw))
		}
	}
}

func TestDeepNesting(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true")
	me, admin := s.member("me@example.com"), s.serviceRole()
	for _, depth := range []int{500, 5000, 9995, 10_001} {
		object := strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
		list := `{"a":` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) + "}"
		for _, nested := range []string{object, list} {
			for _, c := range []call{
				{Method: "POST", Path: "/signup", Body: `{"data":` + nested + "}"},
				{Method: "PUT", Path: "/user", Body: `{"data":` + nested + "}", Bearer: me.Access},
				{Method: "PUT", Path: "/admin/users/" + me.UserID, Body: `{"app_metadata":` + nested + "}", Bearer: admin},
				{Method: "GET", Path: "/user", Bearer: me.Access},
				{Method: "GET", Path: "/admin/users", Bearer: admin},
			} {
				if a := s.do(c); a.Status != http.StatusOK && a.Status != http.StatusBadRequest {
					t.Errorf("%s %s, depth %d: %d %.300s", c.Method, c.Path, depth, a.Status, a.Raw)
				}
			}
		}
	}
	// Whatever was taken in can be read again, by its owner and by a refresh.
	s.get("/user", me.Access).want(http.StatusOK)
	s.post("/token?grant_type=refresh_token", map[string]any{"refresh_token": me.Refresh}, "").want(http.StatusOK)
}

func TestHeadersOfAnyKind(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true", "GOTRUE_RATE_LIMIT_HEADER=X-Client", "GOTRUE_RATE_LIMIT_ANONYMOUS_USERS=1000",
		"GOTRUE_API_REQUEST_ID_HEADER=X-Request-Id")
	me := s.member("me@example.com")
	for _, name := range []string{"User-Agent", "X-Client", "X-Request-Id", "X-Forwarded-For", "X-JWT-AUD", "X-Supabase-Api-Version"} {
		for _, value := range []string{"\xff\xfe", "'; drop table auth.users; --", "\u202e\u0000"[:3], "%00", noise(256), noise(6000), noise(60_000)} {
			header := map[string]string{name: value}
			for _, c := range []call{
				{Method: "POST", Path: "/signup", Body: "{}", Header: header},
				{Method: "PUT", Path: "/user", Body: `{"data": {}}`, Bearer: me.Access, Header: header},
				{Method: "POST", Path: "/token?grant_type=refresh_token", Body: map[string]any{"refresh_token": me.Refresh}, Header: header},
			} {
				if a := s.do(c); a.Status >= 500 {
					t.Errorf("%s %s, %s of %d bytes: %d %s", c.Method, c.Path, name, len(value), a.Status, a.Raw)
				}
			}
		}
	}
}

func TestValuesLongerThanTheirColumns(t *testing.T) {
	t.Parallel()
	s := start(t)
	me, admin := s.member("me@example.com"), s.serviceRole()
	for _, c := range []call{
		{Method: "POST", Path: "/admin/users", Body: map[string]any{"email": "long@example.com", "role": noise(300)}, Bearer: admin},
		{Method: "POST", Path: "/admin/users", Body: map[string]any{"email": "long@example.com", "aud": noise(300)}, Bearer: admin},
		{Method: "PUT", Path: "/admin/users/" + me.UserID, Body: map[string]any{"role": noise(300)}, Bearer: admin},
	} {
		if a := s.do(c); a.Status < 400 || a.Status >= 500 {
			t.Errorf("%s %s %.20s: %d %s", c.Method, c.Path, c.Body, a.Status, a.Raw)
		}
	}
}
