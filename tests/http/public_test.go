package http_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestReadySaysWhetherTheDatabaseFits(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.get("/ready", "").want(http.StatusOK).holds(`{"ready": true}`, true)
	s.get("/auth/v1/ready", "").want(http.StatusOK)

	s.exec(`create or replace function postern.schema_version() returns integer language sql immutable as 'select 1'`)
	a := s.get("/ready", "").want(http.StatusServiceUnavailable)
	if !strings.Contains(a.text("msg"), "tern migrate") {
		t.Errorf("the answer does not name the command: %s", a.Raw)
	}
	a.headers(map[string]string{"Retry-After": "<any>"})
	s.get("/health", "").want(http.StatusOK)
}

func TestSettings(t *testing.T) {
	t.Parallel()
	run(t, []Scenario{
		{
			Name: "as configured, in the order of the contract", Request: call{Method: "GET", Path: "/settings"}, WantStatus: 200,
			WantStatements: -1, WantHeader: map[string]string{"Content-Type": "application/json"},
			Then: func(_ *server, a *answer, _ values) {
				want := `{"external":{"anonymous_users":false,"apple":false,"azure":false,"bitbucket":false,"discord":false,` +
					`"facebook":false,"snapchat":false,"figma":false,"fly":false,"github":false,"gitlab":false,"google":false,` +
					`"keycloak":false,"kakao":false,"linkedin":false,"linkedin_oidc":false,"notion":false,"spotify":false,` +
					`"slack":false,"slack_oidc":false,"workos":false,"twitch":false,"twitter":false,"email":true,"phone":false,` +
					`"zoom":false},"disable_signup":false,"mailer_autoconfirm":true,"phone_autoconfirm":false,"sms_provider":"",` +
					`"saml_enabled":false,"saml_private_key_next_configured":true,"passkeys_enabled":false}`
				if string(a.Raw) != want {
					a.t.Errorf("got  %s\nwant %s", a.Raw, want)
				}
			},
		},
		{
			Name: "everything the other way round",
			Env: []string{
				"GOTRUE_EXTERNAL_EMAIL_ENABLED=false", "GOTRUE_EXTERNAL_PHONE_ENABLED=true",
				"GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true", "GOTRUE_DISABLE_SIGNUP=true", "GOTRUE_MAILER_AUTOCONFIRM=false",
				"GOTRUE_SMS_AUTOCONFIRM=true", "GOTRUE_SMS_PROVIDER=twilio",
			},
			Request: call{Method: "GET", Path: "/settings"}, WantStatus: 200,
			WantBody: `{"external": {"email": false, "phone": true, "anonymous_users": true}, "disable_signup": true,
				"mailer_autoconfirm": false, "phone_autoconfirm": true, "sms_provider": "twilio"}`,
		},
	})
}

func TestSettingsChangedWithSQLAreSeen(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.exec(`update auth.settings set disable_signup = true`)
	// The next answer from the database tells the gateway to look; without any it looks every five seconds.
	s.get("/admin/users", s.serviceRole()).want(http.StatusOK)
	s.eventually("/settings shows the change", func() bool { return s.get("/settings", "").at("disable_signup") == true })
}

// es256Keys is a private key that signs, and the shared secret's key that verifies.
const es256Keys = `[
	{"kty":"EC","kid":"the-key","use":"sig","key_ops":["sign","verify"],"alg":"ES256","crv":"P-256",
	 "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
	 "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"},
	{"kty":"oct","kid":"shared","alg":"HS256","key_ops":["verify"],"k":"YS1zaGFyZWQtc2VjcmV0LWZvci10ZXN0cy1vZi1tb3JlLXRoYW4tMzItY2hhcmFjdGVycw"}]`

func TestWellKnownDocuments(t *testing.T) {
	t.Parallel()
	cached := map[string]string{"Content-Type": "application/json", "Cache-Control": "public, max-age=600"}
	run(t, []Scenario{
		{
			Name: "no public keys with a shared secret", Request: call{Method: "GET", Path: "/.well-known/jwks.json"},
			WantStatus: 200, WantBody: `{"keys": []}`, Exact: true, WantHeader: cached, WantStatements: -1,
		},
		{
			Name: "public parts only", Env: []string{"GOTRUE_JWT_KEYS=" + es256Keys},
			Request: call{Method: "GET", Path: "/.well-known/jwks.json"}, WantStatus: 200, WantHeader: cached, WantStatements: -1,
			WantBody: `{"keys": [{"alg": "ES256", "crv": "P-256", "key_ops": ["verify"], "kid": "the-key", "kty": "EC", "use": "sig",
				"x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`, Exact: true,
		},
		{
			Name: "discovery", Env: []string{"GOTRUE_JWT_ISSUER=https://id.example.com/auth/v1//"},
			Request: call{Method: "GET", Path: "/.well-known/openid-configuration"}, WantStatus: 200, WantHeader: cached,
			WantStatements: -1, Exact: true,
			WantBody: `{"issuer": "https://id.example.com/auth/v1//",
				"authorization_endpoint": "https://id.example.com/auth/v1/oauth/authorize",
				"token_endpoint": "https://id.example.com/auth/v1/oauth/token",
				"jwks_uri": "https://id.example.com/auth/v1/.well-known/jwks.json",
				"userinfo_endpoint": "https://id.example.com/auth/v1/oauth/userinfo",
				"scopes_supported": ["openid", "profile", "email", "phone", "offline_access"],
				"response_types_supported": ["code"], "response_modes_supported": ["query"],
				"grant_types_supported": ["authorization_code", "refresh_token"], "subject_types_supported": ["public"],
				"id_token_signing_alg_values_supported": ["RS256", "HS256", "ES256"],
				"token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
				"claims_supported": ["sub", "aud", "iss", "exp", "iat", "auth_time", "nonce", "email", "email_verified",
					"phone_number", "phone_number_verified", "name", "picture", "preferred_username", "updated_at"],
				"code_challenge_methods_supported": ["S256", "plain"]}`,
		},
		{
			Name: "no issuer configured", Env: []string{"-GOTRUE_JWT_ISSUER"},
			Request: call{Method: "GET", Path: "/.well-known/openid-configuration"}, WantStatus: 200,
			WantBody: `{"issuer": "", "token_endpoint": "/oauth/token", "registration_endpoint": "<none>"}`,
		},
	})
}

func TestAsymmetricKeysSignAndTheSharedSecretStillVerifies(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_JWT_KEYS="+es256Keys, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true")
	me := s.post("/signup", "{}", "").want(http.StatusOK).session()
	header, _, _ := strings.Cut(me.Access, ".")
	if want := "eyJhbGciOiJFUzI1NiIsImtpZCI6InRoZS1rZXkiLCJ0eXAiOiJKV1QifQ"; header != want {
		t.Errorf("header of the access token %s, want %s", header, want)
	}
	s.get("/user", me.Access).want(http.StatusOK)
	s.get("/admin/users", s.serviceRole()).want(http.StatusOK)
}

func TestPathsThatAreNotThere(t *testing.T) {
	t.Parallel()
	s := start(t)
	admin, me := s.serviceRole(), s.member("me@example.com")
	for _, path := range []string{
		"/", "/nothing", "/auth", "/auth/v1", "/auth/v1/", "/auth/v1/nothing", "/auth/v1/auth/v1/health", "/authv1/health", "//signup",
		"/token/", "/settings/", "/health/", "/ready/", "/.well-known/jwks.json/", "/.well-known/", "/./health", "/x/../health",
		"/user//", "/HEALTH",
	} {
		a := s.get(path, "").want(http.StatusNotFound)
		a.headers(map[string]string{"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", "Location": ""})
		if string(a.Raw) != "404 page not found\n" {
			t.Errorf("%s: %q", path, a.Raw)
		}
	}
	// Where a token is needed, it is asked for before a path is found unknown.
	for path, token := range map[string]string{
		"/admin": admin, "/admin/": admin, "/admin/nothing": admin, "/admin/users/x/nothing": admin, "/user/nothing": me.Access,
	} {
		for _, prefix := range []string{"", "/auth/v1"} {
			s.get(prefix+path, "").refused(http.StatusUnauthorized, "no_authorization")
			s.get(prefix+path, token).want(http.StatusNotFound).headers(map[string]string{"Content-Type": "text/plain; charset=utf-8"})
		}
	}
}

func TestMethodsThatAreNotThere(t *testing.T) {
	t.Parallel()
	s := start(t)
	admin, me := s.serviceRole(), s.member("me@example.com")
	for _, c := range []struct{ method, path, bearer, allow string }{
		{"POST", "/health", "", "GET"},
		{"HEAD", "/health", "", "GET"},
		{"OPTIONS", "/health", "", "GET"},
		{"DELETE", "/settings", "", "GET"},
		{"POST", "/.well-known/jwks.json", "", "GET"},
		{"GET", "/signup", "", "POST"},
		{"GET", "/signup/", "", "POST"},
		{"GET", "/token", "", "POST"},
		{"PUT", "/token", "", "POST"},
		{"PATCH", "/user", me.Access, "GET | PUT"},
		{"POST", "/user/", me.Access, "GET | PUT"},
		{"GET", "/logout", "", "POST"},
		{"GET", "/invite", "", "POST"},
		{"GET", "/factors/", me.Access, "POST"},
		{"PUT", "/admin/users", admin, "GET | POST"},
		{"POST", "/admin/audit", admin, "GET"},
		{"PATCH", "/admin/users/x", admin, "GET | PUT | DELETE"},
		{"PATCH", "/admin/users/x/", admin, "GET | PUT | DELETE"},
		{"POST", "/admin/users/x/factors/", admin, "GET"},
		{"GET", "/admin/users/x/factors/y/", admin, "PUT | DELETE"},
	} {
		a := s.do(call{Method: c.method, Path: c.path, Bearer: c.bearer}).want(http.StatusMethodNotAllowed)
		a.headers(map[string]string{"Allow": c.allow})
		if len(a.Raw) != 0 {
			t.Errorf("%s %s: body %q", c.method, c.path, a.Raw)
		}
	}
	s.do(call{Method: "PATCH", Path: "/user"}).refused(http.StatusUnauthorized, "no_authorization")
	s.do(call{Method: "PATCH", Path: "/admin/users"}).refused(http.StatusUnauthorized, "no_authorization")
}

func TestEveryEndpointIsAlsoBelowAuthV1(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, c := range []call{
		{Method: "GET", Path: "/health"},
		{Method: "GET", Path: "/ready"},
		{Method: "GET", Path: "/settings"},
		{Method: "GET", Path: "/.well-known/jwks.json"},
		{Method: "GET", Path: "/.well-known/openid-configuration"},
		{Method: "POST", Path: "/signup", Body: `{"email": "x"}`},
		{Method: "POST", Path: "/signup/", Body: `{"email": "x"}`},
		{Method: "POST", Path: "/token?grant_type=password", Body: "{}"},
		{Method: "POST", Path: "/token?grant_type=refresh_token", Body: "{}"},
		{Method: "GET", Path: "/user"},
		{Method: "GET", Path: "/user/"},
		{Method: "PUT", Path: "/user"},
		{Method: "POST", Path: "/logout"},
		{Method: "GET", Path: "/admin/users"},
		{Method: "GET", Path: "/admin/users/"},
		{Method: "POST", Path: "/admin/users"},
		{Method: "GET", Path: "/admin/users/x"},
		{Method: "GET", Path: "/admin/users/x/"},
		{Method: "GET", Path: "/admin/users/x/factors/"},
		{Method: "DELETE", Path: "/admin/users/x/factors/y/"},
		{Method: "PUT", Path: "/admin/users/x", Body: "{}"},
		{Method: "DELETE", Path: "/admin/users/x"},
		{Method: "GET", Path: "/admin/audit"},
		{Method: "GET", Path: "/admin/audit/"},
		{Method: "GET", Path: "/admin/sso/providers"},
	} {
		plain := s.do(c)
		if strings.HasPrefix(c.Path, "/admin") || strings.HasPrefix(c.Path, "/user") || c.Path == "/logout" {
			plain.refused(http.StatusUnauthorized, "no_authorization")
		} else if plain.Status == http.StatusNotFound || plain.Status == http.StatusMethodNotAllowed {
			t.Errorf("%s %s: %d", c.Method, c.Path, plain.Status)
		}
		c.Path = "/auth/v1" + c.Path
		below := s.do(c)
		if below.Status != plain.Status || string(below.Raw) != string(plain.Raw) {
			t.Errorf("%s %s: %d %s, at the root %d %s", c.Method, c.Path, below.Status, below.Raw, plain.Status, plain.Raw)
		}
	}
}

func TestCrossOriginRequests(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_CORS_ALLOWED_HEADERS=X-Trace")
	preflight := func(method, headers string) *answer {
		return s.do(call{Method: "OPTIONS", Path: "/token", Header: map[string]string{
			"Origin": "https://app.example.com", "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers,
		}}).want(http.StatusNoContent)
	}
	for _, headers := range []string{
		"", "authorization,content-type", "accept,authorization,content-type,x-client-info,x-client-ip,x-jwt-aud,x-supabase-api-version,x-use-cookie",
		"apikey,authorization,x-trace",
	} {
		a := preflight("PUT", headers)
		a.headers(map[string]string{
			"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "true", "Access-Control-Allow-Methods": "PUT",
			"Access-Control-Allow-Headers": headers, "Access-Control-Max-Age": "",
			"Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
		})
	}
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		preflight(method, "").headers(map[string]string{"Access-Control-Allow-Methods": method})
	}
	preflight("TRACE", "").headers(map[string]string{"Access-Control-Allow-Origin": ""})
	preflight("GET", "x-unknown").headers(map[string]string{"Access-Control-Allow-Origin": "", "Access-Control-Allow-Headers": ""})

	actual := s.do(call{Method: "GET", Path: "/settings", Header: map[string]string{"Origin": "https://elsewhere.example.com"}})
	actual.want(http.StatusOK).headers(map[string]string{
		"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "true", "Vary": "Origin",
		"Access-Control-Expose-Headers": "X-Total-Count, Link, X-Supabase-Api-Version",
	})
	// Errors, too, must be readable for a browser.
	s.do(call{Method: "GET", Path: "/user", Header: map[string]string{"Origin": "https://app.example.com"}}).
		want(http.StatusUnauthorized).headers(map[string]string{"Access-Control-Allow-Origin": "*"})
	s.get("/settings", "").headers(map[string]string{"Access-Control-Allow-Origin": "", "Vary": "Origin"})
}

func TestErrorFormats(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.exec(raiseOn("insert on auth.users", "P0001"))
	get := func(version string) *answer {
		header := map[string]string{"X-Supabase-Api-Version": version}
		return s.do(call{Method: "GET", Path: "/user", Header: header}).want(http.StatusUnauthorized)
	}
	for _, version := range []string{"", "garbage", "2024-1-1", "2023-12-31", "2024-01-01T00:00:00Z", "20240101"} {
		a := get(version)
		a.holds(`{"code": 401, "error_code": "no_authorization", "msg": "This endpoint requires a valid Bearer token"}`, true)
		a.headers(map[string]string{"X-Supabase-Api-Version": "", "X-Sb-Error-Code": "no_authorization", "Content-Type": "application/json"})
	}
	for _, version := range []string{"2024-01-01", "2024-01-02", "2031-12-31"} {
		a := get(version)
		a.holds(`{"code": "no_authorization", "message": "This endpoint requires a valid Bearer token"}`, true)
		a.headers(map[string]string{"X-Supabase-Api-Version": "2024-01-01", "X-Sb-Error-Code": "no_authorization"})
	}
	s.do(call{Method: "GET", Path: "/settings", Header: map[string]string{"X-Supabase-Api-Version": "2024-01-01"}}).
		want(http.StatusOK).headers(map[string]string{"X-Supabase-Api-Version": ""})
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	// A trigger that divides by zero makes a 500, which shows its id.
	broken := `create function public.broken() returns trigger language plpgsql as $$ begin perform 1 / 0; return new; end $$;
		create trigger broken before insert on auth.users for each row execute function public.broken()`
	s := start(t, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true")
	s.exec(broken)
	one, two := s.post("/signup", "{}", "").want(500), s.post("/signup", "{}", "").want(500)
	one.holds(`{"code": 500, "error_code": "unexpected_failure", "msg": "Database error creating anonymous user", "error_id": "<uuid>"}`, true)
	if one.text("error_id") == two.text("error_id") {
		t.Error("two requests have the same id")
	}
	if !strings.Contains(s.Log.String(), one.text("error_id")) {
		t.Error("the id is not in the log")
	}
	s.do(call{Method: "POST", Path: "/signup", Body: "{}", Header: map[string]string{"X-Request-Id": "mine"}}).want(500).
		holds(`{"error_id": "<uuid>"}`, false)

	s = startOn(t, s.db, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true", "GOTRUE_API_REQUEST_ID_HEADER=X-Request-Id")
	mine := s.do(call{Method: "POST", Path: "/signup", Body: "{}", Header: map[string]string{"X-Request-Id": "mine-77"}}).want(500)
	mine.holds(`{"error_id": "mine-77"}`, false)
	if !strings.Contains(s.Log.String(), `"request_id":"mine-77"`) {
		t.Error("the given id is not in the log")
	}
}

func TestRequestsThatTakeTooLongAreUndone(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_API_MAX_REQUEST_DURATION=300ms", "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true")
	s.exec(`create function public.slow() returns trigger language plpgsql as $$ begin perform pg_sleep(60); return new; end $$;
		create trigger slow before insert on auth.users for each row execute function public.slow()`)
	began := time.Now()
	a := s.post("/signup", "{}", "").refused(http.StatusGatewayTimeout, "request_timeout")
	if a.text("msg") != "Processing this request timed out, please retry after a moment." {
		t.Errorf("msg %q", a.text("msg"))
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
	s.eventually("the statement ends", func() bool {
		return s.one(`select count(*) from pg_stat_activity where datname = current_database() and query like '%sign_up%'
			and state = 'active' and pid <> pg_backend_pid()`) == "0"
	})
	if n := s.one(`select count(*) from auth.users`); n != "0" {
		t.Errorf("%s users remain", n)
	}
}
