package http_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postern-auth/postern/gateway"
	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/tests/pgtest"
)

const hookURI = "pg-functions://postgres/public/token_hook"

// hookOn configures the custom_access_token hook.
var hookOn = []string{anonymousOn, "GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_ENABLED=true", "GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_URI=" + hookURI}

// tokenHook is a hook function with the given body, executable by supabase_auth_admin.
func tokenHook(body string) string {
	return fmt.Sprintf(`create or replace function public.token_hook(event jsonb) returns jsonb language plpgsql as $$
		declare claims jsonb := event -> 'claims';
		begin %s; end $$;
		revoke execute on function public.token_hook from public, anon, authenticated;
		grant usage on schema public to supabase_auth_admin;
		grant execute on function public.token_hook to supabase_auth_admin`, body)
}

func TestTokenHookChangesClaims(t *testing.T) {
	t.Parallel()
	s := start(t, hookOn...)
	s.exec(`create table public.log (event jsonb); grant all on public.log to public`)
	s.exec(tokenHook(`insert into public.log values (event);
		claims := claims - 'user_metadata' || '{"plan": "gold", "role": "manager", "app_metadata": {"n": [1, {"a": null}]}, "big": 12345678901234567890, "text": "<&> \u2028"}';
		return jsonb_build_object('claims', claims)`))
	a := s.post("/signup", `{"data": {"a": 1}}`, "").want(200)
	me := a.session()
	claims := claimsOf(t, me.Access)
	if claims["plan"] != "gold" || claims["role"] != "manager" || claims["user_metadata"] != nil || claims["text"] != "<&> \u2028" {
		t.Errorf("claims %v", claims)
	}
	a.holds(`{"user": {"role": "authenticated", "user_metadata": {"a": 1}}}`, false) // the account itself is as it was
	s.get("/user", me.Access).want(200)
	s.post("/token?grant_type=refresh_token", map[string]any{"refresh_token": me.Refresh}, "").want(200)
	s.account("me@example.com")
	s.signIn("me@example.com", goodPassword)

	events := s.column(`select event::text from public.log`)
	if len(events) != 3 {
		t.Fatalf("%d calls", len(events))
	}
	for i, method := range []string{"anonymous", "token_refresh", "password"} {
		(&answer{t: t, Raw: []byte(events[i])}).holds(`{"metadata": {"uuid": "<uuid>", "time": "<any>", "name": "<text>", "ip_address": "127.0.0.1"}, "user_id": "<uuid>",
			"authentication_method": "`+method+`", "claims": {"sub": "<uuid>", "aud": "authenticated", "exp": "<number>", "iat": "<number>", "iss": "`+s.URL+`", "email": "<any>", "phone": "",
			"role": "authenticated", "aal": "aal1", "amr": "<any>", "session_id": "<uuid>", "is_anonymous": "<any>", "app_metadata": "<any>", "user_metadata": "<any>"}}`, true)
	}
}

func TestTokenHooksThatRefuse(t *testing.T) {
	t.Parallel()
	body := func(code, message string) string {
		return fmt.Sprintf(`{"error_code": "%s", "msg": %s}`, code, quoted(message))
	}
	claims := func(change string) string {
		return tokenHook(`claims := ` + change + `; return jsonb_build_object('claims', claims)`)
	}
	problem := func(line string) string {
		return body("unexpected_failure", "output claims do not conform to the expected schema: \n- "+line+"\n")
	}
	uri := body("unexpected_failure", "Error running hook URI: "+hookURI)
	output := body("unexpected_failure", "Error unmarshaling JSON output.")
	signIn := grant(`{"email": "me@example.com", "password": "correct horse battery"}`)
	scenarios := []Scenario{
		{Name: "an error", SQL: tokenHook(`return '{"error": {"http_code": 403, "message": "not you"}}'`), WantStatus: 403, WantBody: body("unknown", "not you"), WantHeader: map[string]string{"X-Sb-Error-Code": ""}},
		{Name: "an error without a status", SQL: tokenHook(`return '{"error": {"message": "not you"}}'`), WantStatus: 500, WantBody: body("unexpected_failure", "not you")},
		{Name: "an error of status zero", SQL: tokenHook(`return '{"error": {"http_code": 0, "message": "not you"}}'`), WantStatus: 500, WantBody: body("unexpected_failure", "not you")},
		{Name: "an error of an odd status", SQL: tokenHook(`return '{"error": {"http_code": 99, "message": "not you"}}'`), WantStatus: 500, WantBody: body("unexpected_failure", "Internal Server Error")},
		{Name: "an error of a huge status", SQL: tokenHook(`return '{"error": {"http_code": 1e30, "message": "not you"}}'`), WantStatus: 500, WantBody: `{"error_code": "unexpected_failure"}`},
		{Name: "a raised exception", SQL: tokenHook(`raise exception 'broken' using detail = 'd', hint = 'h'`), WantStatus: 500, WantBody: `{"code": "P0001", "message": "broken", "detail": "d", "hint": "h"}`, Exact: true, WantHeader: map[string]string{"X-Sb-Error-Code": "unexpected_failure"}},
		{Name: "a raised status", SQL: tokenHook(`raise exception 'broken' using errcode = 'PT402'`), WantStatus: 402, WantBody: `{"code": "PT402", "message": "broken"}`, Exact: true},
		{Name: "another failure", SQL: tokenHook(`perform 1 / 0; return event`), WantStatus: 500, WantBody: uri},
		{Name: "no such function", SQL: "", WantStatus: 500, WantBody: uri},
		{Name: "a function nobody granted", SQL: tokenHook(`return event`) + `; revoke execute on function public.token_hook from supabase_auth_admin`, WantStatus: 500, WantBody: uri},
		{Name: "no claims", SQL: tokenHook(`return '{}'`), WantStatus: 500, WantBody: body("unexpected_failure", "output claims field is missing")},
		{Name: "null", SQL: tokenHook(`return null`), WantStatus: 500, WantBody: problem("(root): Invalid type. Expected: object, given: null")},
		{Name: "claims null", SQL: claims(`'null'`), WantStatus: 500, WantBody: problem("(root): Invalid type. Expected: object, given: null")},
		{Name: "claims a text", SQL: claims(`'"x"'`), WantStatus: 500, WantBody: output},
		{Name: "a list", SQL: tokenHook(`return '[]'`), WantStatus: 500, WantBody: output},
		{Name: "a claim is missing", SQL: claims(`claims - 'aal'`), WantStatus: 500, WantBody: problem("(root): aal is required")},
		{Name: "two claims are missing", SQL: claims(`claims - 'sub' - 'aud'`), WantStatus: 500, WantBody: body("unexpected_failure", "output claims do not conform to the expected schema: \n- (root): aud is required\n- (root): sub is required\n")},
		{Name: "a text for a number", SQL: claims(`claims || '{"exp": "soon"}'`), WantStatus: 500, WantBody: problem("exp: Invalid type. Expected: integer, given: string")},
		{Name: "a number for a text", SQL: claims(`claims || '{"role": 7}'`), WantStatus: 500, WantBody: problem("role: Invalid type. Expected: string, given: integer")},
		{Name: "a list for an object", SQL: claims(`claims || '{"app_metadata": []}'`), WantStatus: 500, WantBody: problem("app_metadata: Invalid type. Expected: object, given: array")},
		{
			Name: "half an hour", SQL: tokenHook(`perform pg_sleep(1800); return event`), WantStatus: 500, WantBody: uri,
			Then: func(s *server, _ *answer, _ values) {
				if n := s.one(`select count(*) from auth.sessions`); n != "0" {
					s.t.Errorf("%s sessions", n)
				}
			},
		},
	}
	for i := range scenarios {
		scenarios[i].Env = hookOn
		scenarios[i].Request = signIn
		scenarios[i].WantAudit = []string{}
		scenarios[i].Given = func(s *server) values {
			s.exec(`select postern.create_user(email => 'me@example.com', password_hash => '` + quickHash + `')`)
			return nil
		}
		then := scenarios[i].Then
		scenarios[i].Then = func(s *server, a *answer, v values) {
			if n := s.one(`select (select count(*) from auth.sessions) + (select count(*) from auth.refresh_tokens)`); n != "0" {
				s.t.Errorf("%s rows of a session remain", n)
			}
			if then != nil {
				then(s, a, v)
			}
		}
	}
	run(t, scenarios)
}

func TestTokenHooksThatAreAccepted(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"an empty message":          `return event || '{"error": {"http_code": 403, "message": ""}}'`,
		"an error of another shape": `return event || '{"error": "no"}'`,
		"a status as text":          `return event || '{"error": {"http_code": "403", "message": "no"}}'`,
		"an error null":             `return event || '{"error": null}'`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, hookOn...)
			s.exec(tokenHook(body))
			s.post("/signup", "{}", "").want(200).session()
		})
	}
	for _, kind := range []string{"json", "jsonb", "text"} {
		t.Run("argument and result "+kind, func(t *testing.T) {
			t.Parallel()
			s := start(t, hookOn...)
			s.exec(fmt.Sprintf(`create function public.token_hook(event %[1]s) returns %[1]s language sql as 'select ((event::jsonb) #- ''{claims,email}'' || jsonb_build_object(''claims'', (event::jsonb -> ''claims'') || ''{"plan": "gold"}''))::%[1]s';
				grant execute on function public.token_hook to supabase_auth_admin`, kind))
			if plan := claimsOf(t, s.post("/signup", "{}", "").want(200).session().Access)["plan"]; plan != "gold" {
				t.Errorf("plan %v", plan)
			}
		})
	}
}

// Ours: a refused token undoes the sign-up, which the client may repeat then, and anonymous clients see why (differences.md).
func TestTokenHookThatRefusesUndoesTheSignUp(t *testing.T) {
	t.Parallel()
	s := start(t, hookOn...)
	s.exec(tokenHook(`return '{"error": {"http_code": 403, "message": "not you"}}'`))
	for _, body := range []string{`{"email": "new@example.com", "password": "correct horse"}`, `{}`} {
		s.post("/signup", body, "").refused(http.StatusForbidden, "unknown").holds(`{"msg": "not you"}`, false)
	}
	if n := s.one(`select count(*) from auth.users`); n != "0" {
		t.Errorf("%s users", n)
	}
}

func TestTokenHookRunsForTwoSecondsAtMost(t *testing.T) {
	t.Parallel()
	s := start(t, hookOn...)
	me := s.member("me@example.com")
	s.exec(tokenHook(`perform pg_sleep(1800); return event`))
	began := time.Now()
	a := s.post("/token?grant_type=refresh_token", map[string]any{"refresh_token": me.Refresh}, "").refused(http.StatusInternalServerError, "unexpected_failure")
	if took := time.Since(began); took < 1500*time.Millisecond || took > 30*time.Second {
		t.Errorf("took %s", took)
	}
	if !strings.Contains(a.text("msg"), hookURI) {
		t.Errorf("msg %q", a.text("msg"))
	}
	// The connection goes on without that limit, and the token was not spent.
	s.exec(tokenHook(`return event`))
	s.post("/token?grant_type=refresh_token", map[string]any{"refresh_token": me.Refresh}, "").want(200).headers(map[string]string{"Sb-Auth-Refresh-Token-Counter": "1"})
}

// A hook that is switched on with SQL is followed by a running gateway, without a restart.
func TestTokenHookSwitchedOnWithSQL(t *testing.T) {
	t.Parallel()
	s := start(t, anonymousOn)
	s.exec(tokenHook(`return jsonb_build_object('claims', claims || '{"plan": "gold"}')`))
	s.set(`hook_custom_access_token_enabled = true, hook_custom_access_token_uri = '` + hookURI + `'`)
	if plan := claimsOf(t, s.post("/signup", "{}", "").want(200).session().Access)["plan"]; plan != "gold" {
		t.Errorf("plan %v", plan)
	}
}

// A hook may not be a function that was not made to be one.
func TestTokenHookURIsThatAreNoHooks(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{
		"pg-functions://postgres/pg_catalog/pg_sleep", "pg-functions://postgres/auth/uid", "pg-functions://postgres/postern/delete_user",
		"pg-functions://postgres/public/token_hook(1)", "pg-functions://postgres/public", "pg-functions://postgres/public/x;drop",
		"ftp://example.com", "nonsense",
	} {
		t.Run(uri, func(t *testing.T) {
			t.Parallel()
			if err := startError(t, "GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_ENABLED=true", "GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_URI="+uri); err == nil {
				t.Error("the gateway starts")
			} else if !strings.Contains(err.Error(), "GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_URI") {
				t.Errorf("the error does not name the variable: %v", err)
			}
		})
	}
}

// startError is why a gateway does not start with these variables; nil when it does.
func startError(t *testing.T, env ...string) error {
	t.Helper()
	db := pgtest.New(t)
	cfg, err := config.Load(environment("http://127.0.0.1:1", db.GatewayDSN, env...))
	if err != nil {
		return err
	}
	g, err := gateway.New(t.Context(), cfg, gateway.Options{SchemaVersion: latestMigration(t), Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		g.Close()
	}
	return err
}
