package http_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// noise is n characters that do not compress.
func noise(n int) string {
	raw := make([]byte, n/2)
	_, _ = rand.Read(raw) // never fails
	return hex.EncodeToString(raw)
}

func TestBearerTokensThatAreNotAccepted(t *testing.T) {
	t.Parallel()
	s := start(t)
	me := s.member("me@example.com")
	now := time.Now().Unix()
	const unverified = "invalid JWT: unable to parse or verify signature, "
	head := func(claims string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".AAAA"
	}
	signed := func(method jwt.SigningMethod, key any) string {
		text, err := jwt.NewWithClaims(method, claimsOf(t, me.Access)).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, c := range map[string]struct {
		token   string
		status  int
		code    string
		message string // a beginning, when it ends with an asterisk
	}{
		"two segments":     {"a.b", 403, "bad_jwt", unverified + "token is malformed: token contains an invalid number of segments"},
		"one segment":      {"nonsense", 403, "bad_jwt", unverified + "token is malformed: token contains an invalid number of segments"},
		"many segments":    {strings.Repeat("a.", 5000) + "a", 403, "bad_jwt", unverified + "token is malformed: token contains an invalid number of segments"},
		"header":           {"!!.e30.e30", 403, "bad_jwt", unverified + "token is malformed: could not base64 decode header: *"},
		"header no JSON":   {"AAAA.e30.e30", 403, "bad_jwt", unverified + "token is malformed: could not JSON decode header: *"},
		"claims no JSON":   {"eyJhbGciOiJIUzI1NiJ9.AAAA.AAAA", 403, "bad_jwt", unverified + "token is malformed: could not JSON decode claim: *"},
		"signature":        {me.Access[:len(me.Access)-4] + "AAAA", 403, "bad_jwt", unverified + "token signature is invalid: signature is invalid"},
		"unsigned":         {head(`{"sub":"` + me.UserID + `"}`), 403, "bad_jwt", unverified + "token signature is invalid: signature is invalid"},
		"none":             {signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType), 403, "bad_jwt", unverified + "token signature is invalid: signing method none is invalid"},
		"HS512":            {signed(jwt.SigningMethodHS512, []byte(jwtSecret)), 403, "bad_jwt", unverified + "token signature is invalid: signing method HS512 is invalid"},
		"other secret":     {signed(jwt.SigningMethodHS256, []byte("another secret of more than 32 characters")), 403, "bad_jwt", unverified + "token signature is invalid: signature is invalid"},
		"expired":          {s.edited(me.Access, map[string]any{"exp": now - 1}), 403, "bad_jwt", unverified + "token has invalid claims: token is expired"},
		"not yet valid":    {s.edited(me.Access, map[string]any{"nbf": now + 60}), 403, "bad_jwt", unverified + "token has invalid claims: token is not valid yet"},
		"exp a text":       {s.edited(me.Access, map[string]any{"exp": "soon"}), 403, "bad_jwt", unverified + "token is malformed: could not JSON decode claim: *"},
		"sub a number":     {s.edited(me.Access, map[string]any{"sub": 7}), 403, "bad_jwt", unverified + "token is malformed: could not JSON decode claim: *"},
		"amr a text":       {s.edited(me.Access, map[string]any{"amr": "password"}), 403, "bad_jwt", unverified + "token is malformed: could not JSON decode claim: *"},
		"metadata a list":  {s.edited(me.Access, map[string]any{"app_metadata": []int{1}}), 403, "bad_jwt", unverified + "token is malformed: could not JSON decode claim: *"},
		"no sub":           {s.edited(me.Access, map[string]any{"sub": nil}), 403, "bad_jwt", "invalid claim: missing sub claim"},
		"empty sub":        {s.edited(me.Access, map[string]any{"sub": ""}), 403, "bad_jwt", "invalid claim: missing sub claim"},
		"service role":     {s.serviceRole(), 403, "bad_jwt", "invalid claim: missing sub claim"},
		"sub no UUID":      {s.edited(me.Access, map[string]any{"sub": "me"}), 400, "bad_jwt", "invalid claim: sub claim must be a UUID"},
		"nobody":           {s.edited(me.Access, map[string]any{"sub": "6fa459ea-ee8a-4ca4-894e-db77e160355e"}), 403, "user_not_found", "User from sub claim in JWT does not exist"},
		"session no UUID":  {s.edited(me.Access, map[string]any{"session_id": "x"}), 403, "bad_jwt", "invalid claim: session_id claim must be a UUID"},
		"session gone":     {s.edited(me.Access, map[string]any{"session_id": "6fa459ea-ee8a-4ca4-894e-db77e160355e"}), 403, "session_not_found", "Session from session_id claim in JWT does not exist"},
		"claims of NUL":    {s.edited(me.Access, map[string]any{"sub": "\x00"}), 400, "bad_jwt", "invalid claim: sub claim must be a UUID"},
		"a refresh token":  {me.Refresh, 403, "bad_jwt", unverified + "token is malformed: token contains an invalid number of segments"},
		"huge claims":      {s.edited(me.Access, map[string]any{"sub": strings.Repeat("x", 50_000)}), 400, "bad_jwt", "invalid claim: sub claim must be a UUID"},
		"nested claims":    {s.edited(me.Access, map[string]any{"exp": nil, "sub": []any{[]any{}}}), 403, "bad_jwt", unverified + "token is malformed: could not JSON decode claim: *"},
		"sub and no claim": {s.mint(map[string]any{}), 403, "bad_jwt", "invalid claim: missing sub claim"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, request := range []call{{Method: "GET", Path: "/user"}, {Method: "PUT", Path: "/user", Body: "{}"}, {Method: "POST", Path: "/auth/v1/logout"}} {
				request.Bearer = c.token
				a := s.do(request).refused(c.status, c.code)
				begin, open := strings.CutSuffix(c.message, "*")
				if got := a.text("msg"); got != c.message && (!open || !strings.HasPrefix(got, begin)) {
					t.Errorf("%s %s: msg %q, want %q", request.Method, request.Path, got, c.message)
				}
			}
		})
	}
	if n := s.one(`select count(*) from auth.sessions`); n != "1" {
		t.Errorf("%s sessions remain, want 1", n)
	}
}

func TestAuthorizationHeadersThatHoldNoBearerToken(t *testing.T) {
	t.Parallel()
	s := start(t)
	me := s.member("me@example.com")
	for _, value := range []string{
		"", "Bearer", "Bearer ", "Basic " + me.Access, me.Access, "Bearer  " + me.Access, "Bearer " + me.Access + " x", "Bearer a b",
		"Bearer\t" + me.Access, "Bearer: " + me.Access, "Token " + me.Access, "xBearer " + me.Access, "Bearer " + me.Access + "\tx",
	} {
		a := s.do(call{Method: "GET", Path: "/user", Header: map[string]string{"Authorization": value}})
		a.refused(http.StatusUnauthorized, "no_authorization")
		if a.text("msg") != "This endpoint requires a valid Bearer token" {
			t.Errorf("%q: msg %q", value, a.text("msg"))
		}
		s.do(call{Method: "GET", Path: "/admin/users", Header: map[string]string{"Authorization": value}}).refused(http.StatusUnauthorized, "no_authorization")
	}
	for _, scheme := range []string{"bearer", "BEARER", "bEaReR"} {
		s.do(call{Method: "GET", Path: "/user", Header: map[string]string{"Authorization": scheme + " " + me.Access}}).want(http.StatusOK)
	}
}

func TestBearerTokensThatAreAccepted(t *testing.T) {
	t.Parallel()
	s := start(t)
	me := s.member("me@example.com")
	now := time.Now().Unix()
	for name, changes := range map[string]map[string]any{
		"no end":           {"exp": nil},
		"issued later":     {"iat": now + 3600},
		"no session":       {"session_id": nil},
		"empty session":    {"session_id": ""},
		"nil session":      {"session_id": "00000000-0000-0000-0000-000000000000"},
		"other issuer":     {"iss": "https://elsewhere.example.com"},
		"audiences":        {"aud": []string{"authenticated", "other"}},
		"methods as texts": {"amr": []string{"password"}},
		"methods null":     {"amr": nil, "role": "whatever"},
		"upper case":       {"sub": strings.ToUpper(me.UserID)},
	} {
		t.Run(name, func(t *testing.T) {
			s.get("/user", s.edited(me.Access, changes)).want(http.StatusOK).holds(`{"id": "`+me.UserID+`"}`, false)
		})
	}
}

func TestAudiences(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true")
	me := s.member("me@example.com")
	with := func(audience any, role, header string) *answer {
		c := call{Method: "GET", Path: "/user", Bearer: s.edited(me.Access, map[string]any{"aud": audience, "role": role})}
		if header != "" {
			c.Header = map[string]string{"X-JWT-AUD": header}
		}
		return s.do(c)
	}
	for _, c := range []struct {
		audience     any
		role, header string
		accepted     bool
	}{
		{"authenticated", "authenticated", "", true},
		{"other", "authenticated", "", true},
		{[]string{"other", "authenticated"}, "authenticated", "other", true},
		{[]string{"other", "authenticated"}, "authenticated", "authenticated", false},
		{"authenticated", "authenticated", "other", false},
		{nil, "authenticated", "", false},
		{"", "authenticated", "", false},
		{[]string{}, "authenticated", "", false},
		{nil, "authenticated", "authenticated", false},
		{"authenticated", "service_role", "", true},
		{"other", "service_role", "", false},
		{"other", "service_role", "other", true},
	} {
		a := with(c.audience, c.role, c.header)
		if c.accepted {
			a.want(http.StatusOK)
			continue
		}
		a.refused(http.StatusBadRequest, "validation_failed")
		if a.text("msg") != "Token audience doesn't match request audience" {
			t.Errorf("%+v: msg %q", c, a.text("msg"))
		}
	}
	// PUT /user does not look.
	s.put("/user", "{}", s.edited(me.Access, map[string]any{"aud": nil})).want(http.StatusOK)

	// New users get the requested audience; listing shows those of the requested one.
	s.do(call{Method: "POST", Path: "/signup", Body: "{}", Header: map[string]string{"X-JWT-AUD": "custom"}}).want(http.StatusOK).
		holds(`{"user": {"aud": "custom"}}`, false)
	list := s.do(call{Method: "GET", Path: "/admin/users", Bearer: s.serviceRole(), Header: map[string]string{"X-JWT-AUD": "custom"}}).want(http.StatusOK)
	list.holds(`{"aud": "custom", "users": [{"aud": "custom", "is_anonymous": true}]}`, false)
	s.get("/admin/users", s.mint(map[string]any{"role": "service_role", "aud": "custom"})).want(http.StatusOK).
		holds(`{"aud": "authenticated", "users": [{"aud": "authenticated"}]}`, false)
	// The address of somebody in another audience is not found by sign-in.
	s.do(call{
		Method: "POST", Path: "/token?grant_type=password", Body: map[string]any{"email": "me@example.com", "password": goodPassword},
		Header: map[string]string{"X-JWT-AUD": "custom"},
	}).refused(http.StatusBadRequest, "invalid_credentials")
}

func TestAdministratorsTokens(t *testing.T) {
	t.Parallel()
	s := start(t)
	me := s.member("me@example.com")
	ask := func(claims map[string]any) *answer { return s.get("/admin/users", s.mint(claims)) }
	ask(map[string]any{"role": "service_role"}).want(http.StatusOK)
	ask(map[string]any{"role": "supabase_admin"}).want(http.StatusOK)
	// Without a session nobody asks who it is.
	for _, sub := range []any{"", "1234567890", "my backend", me.UserID, "6fa459ea-ee8a-4ca4-894e-db77e160355e"} {
		ask(map[string]any{"role": "service_role", "sub": sub, "aud": "elsewhere"}).want(http.StatusOK)
	}
	ask(map[string]any{"role": "service_role", "session_id": "", "sub": "x"}).want(http.StatusOK)
	ask(map[string]any{"role": "service_role", "session_id": "00000000-0000-0000-0000-000000000000"}).want(http.StatusOK)

	for _, role := range []any{nil, "", "anon", "authenticated", "admin", "SERVICE_ROLE", "service_role ", "postgres", "service_role\x00"} {
		a := ask(map[string]any{"role": role}).refused(http.StatusForbidden, "not_admin")
		if a.text("msg") != "User not allowed" {
			t.Errorf("role %v: msg %q", role, a.text("msg"))
		}
	}
	s.get("/admin/users", me.Access).refused(http.StatusForbidden, "not_admin")
	ask(map[string]any{"role": "service_role", "exp": time.Now().Unix() - 1}).refused(http.StatusForbidden, "bad_jwt")

	// With a session, it and its user count.
	own := map[string]any{"role": "service_role"}
	s.get("/admin/users", s.edited(me.Access, own)).want(http.StatusOK)
	for _, c := range []struct {
		changes map[string]any
		status  int
		code    string
	}{
		{map[string]any{"role": "service_role", "sub": nil}, 403, "bad_jwt"},
		{map[string]any{"role": "service_role", "sub": "x"}, 400, "bad_jwt"},
		{map[string]any{"role": "service_role", "session_id": "x"}, 403, "bad_jwt"},
		{map[string]any{"role": "service_role", "sub": "6fa459ea-ee8a-4ca4-894e-db77e160355e"}, 403, "user_not_found"},
		{map[string]any{"role": "service_role", "session_id": "6fa459ea-ee8a-4ca4-894e-db77e160355e"}, 403, "session_not_found"},
	} {
		s.get("/admin/users", s.edited(me.Access, c.changes)).refused(c.status, c.code)
	}
	s.exec(`update auth.users set banned_until = now() + interval '1 hour'`)
	s.get("/admin/users", s.edited(me.Access, own)).want(http.StatusOK) // bans are not checked here
	s.exec(`update auth.sessions set not_after = now() - interval '1 second'`)
	a := s.get("/admin/users", s.edited(me.Access, own)).refused(http.StatusForbidden, "session_expired")
	if a.text("msg") != "Session is no longer valid" {
		t.Errorf("msg %q", a.text("msg"))
	}
	// A user whose own role is an administrator's is one.
	s.exec(`update auth.users set role = 'service_role', banned_until = null; update auth.sessions set not_after = null`)
	s.get("/admin/users", s.open(me.UserID).Access).want(http.StatusOK)
}

func TestBannedUsersAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	me := s.member("me@example.com")
	s.exec(`update auth.users set banned_until = now() + interval '1 hour'`)
	for _, c := range []call{{Method: "GET", Path: "/user"}, {Method: "PUT", Path: "/user", Body: "{}"}, {Method: "POST", Path: "/logout"}} {
		c.Bearer = me.Access
		if a := s.do(c).refused(http.StatusForbidden, "user_banned"); a.text("msg") != "User is banned" {
			t.Errorf("msg %q", a.text("msg"))
		}
	}
	s.exec(`update auth.users set banned_until = now() - interval '1 second'`)
	s.get("/user", me.Access).want(http.StatusOK)
}
