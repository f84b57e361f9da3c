package http_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// explained is what postern.explain_error says of the request of an answer, in these columns, once it says something.
func (s *server) explained(a *answer, columns string) string {
	s.t.Helper()
	id := a.Header.Get("X-Request-Id")
	if id == "" {
		s.t.Fatalf("%s %s: no X-Request-Id: %d %s", a.call.Method, a.call.Path, a.Status, a.Raw)
	}
	return s.recorded(id, columns)
}

func (s *server) recorded(id, columns string) string {
	s.t.Helper()
	query := `select coalesce(string_agg(concat_ws(' | ', ` + columns + `), e'\n'), '') from postern.explain_error($1)`
	var text string
	s.eventually("the cause of "+id+" is recorded", func() bool {
		text = s.one(query, id)
		return text != ""
	})
	return text
}

// explains ends the test unless explain_error says this of the request of an answer.
func (s *server) explains(a *answer, columns, want string) {
	s.t.Helper()
	if got := s.explained(a, columns); got != want {
		s.t.Errorf("%s %s: explained as\n%s\nwant\n%s", a.call.Method, a.call.Path, got, want)
	}
}

// "Database error saving new user" is never the end of the trail: whatever a trigger on a table of auth does, the client's error
// carries the request id, and postern.explain_error shows the cause.
func TestErrorsOfTriggersAreExplained(t *testing.T) {
	t.Parallel()
	s := start(t, anonymousOn)
	me, admin := s.quickMember("me@example.com"), s.serviceRole()
	signUp := call{Method: "POST", Path: "/signup", Body: `{"email": "new@example.com", "password": "correct horse"}`}
	dated := signUp
	dated.Header = map[string]string{"X-Supabase-Api-Version": "2024-01-01", "Origin": "https://app.example.com"}
	raises := `raise exception 'no room' using hint = 'the hint'`
	for _, c := range []struct {
		name, event, body string
		call              call
		status            int
		want              string // point, target, table_name, outcome, sqlstate, message, user_id
	}{
		{"raises", "insert on auth.users", raises, signUp, 500, "database | public.broken() | auth.users | failed | P0001 | no room"},
		{"raises, for a dated client", "insert on auth.users", raises, dated, 500, "database | public.broken() | auth.users | failed | P0001 | no room"},
		{
			"raises a status", "insert on auth.users", `raise sqlstate 'PT418' using message = 'tea'`, signUp, 418,
			"database | public.broken() | auth.users | failed | PT418 | tea",
		},
		{"divides by zero", "insert on auth.users", `perform 1 / 0`, signUp, 500, "database | public.broken() | auth.users | failed | 22012 | division by zero"},
		{
			"at an anonymous sign-up", "insert on auth.users", `perform 1 / 0`,
			call{Method: "POST", Path: "/signup", Body: `{}`},
			500,
			"database | public.broken() | auth.users | failed | 22012 | division by zero",
		},
		{
			"on sessions, at signing in", "insert on auth.sessions", raises, grant(`{"email": "me@example.com", "password": "` + goodPassword + `"}`), 500,
			"database | public.broken() | auth.sessions | failed | P0001 | no room",
		},
		{
			"on sessions, at a refresh", "update on auth.sessions", raises,
			call{Method: "POST", Path: "/token?grant_type=refresh_token", Body: map[string]any{"refresh_token": me.Refresh}},
			500,
			"database | public.broken() | auth.sessions | failed | P0001 | no room",
		},
		{
			"on sessions, at signing out", "delete on auth.sessions", raises,
			call{Method: "POST", Path: "/logout", Bearer: me.Access},
			500,
			"database | public.broken() | auth.sessions | failed | P0001 | no room | " + me.UserID,
		},
		{
			"at a change by the user", "update on auth.users", raises,
			call{Method: "PUT", Path: "/user", Body: `{"data": {"a": 1}}`, Bearer: me.Access},
			500,
			"database | public.broken() | auth.users | failed | P0001 | no room | " + me.UserID,
		},
		{
			"at a change by an administrator", "update on auth.users", raises,
			call{Method: "PUT", Path: "/admin/users/" + me.UserID, Body: `{"role": "x"}`, Bearer: admin},
			500,
			"database | public.broken() | auth.users | failed | P0001 | no room",
		},
		{
			"fired by a cascade", "delete on auth.identities", raises,
			call{Method: "DELETE", Path: "/admin/users/" + me.UserID, Bearer: admin},
			500,
			"database | public.broken() | auth.identities | failed | P0001 | no room",
		},
		{
			"at an invitation", "insert on auth.identities", raises,
			call{Method: "POST", Path: "/invite", Body: `{"email": "guest@example.com"}`, Bearer: admin},
			500,
			"database | public.broken() | auth.identities | failed | P0001 | no room",
		},
		{
			// The function is over then: the gateway records what the commit says, in which names are as the session's search_path has them.
			"at the commit", "insert on auth.users deferrable initially deferred", raises, signUp, 500,
			"database | broken() | failed | P0001 | no room",
		},
	} {
		kind, when := "trigger", "before "
		if strings.Contains(c.event, "deferred") {
			kind, when = "constraint trigger", "after "
		}
		s.exec(`create or replace function public.broken() returns trigger language plpgsql as $$ begin ` + c.body + `; return new; end $$;
			create ` + kind + ` broken ` + when + c.event + ` for each row execute function public.broken()`)
		a := s.do(c.call).want(c.status)
		s.explains(a, "point, target, table_name, outcome, sqlstate, message, user_id", c.want)
		if id := a.text("error_id"); id != "" && id != a.Header.Get("X-Request-Id") {
			t.Errorf("%s: error_id %q, X-Request-Id %q", c.name, id, a.Header.Get("X-Request-Id"))
		}
		if c.call.Header["Origin"] != "" && !strings.Contains(strings.Join(a.Header.Values("Access-Control-Expose-Headers"), ", "), "X-Request-Id") {
			t.Errorf("%s: browsers may not read X-Request-Id: %v", c.name, a.Header)
		}
		_, table, _ := strings.Cut(c.event, " on ")
		table, _, _ = strings.Cut(table, " ")
		s.exec(`drop trigger broken on ` + table)
	}
	if log := s.Log.String(); strings.Contains(log, "could not be recorded") {
		t.Error(log)
	}
}

// The id of a proxy is the one to ask for.
func TestErrorsAreExplainedByTheIDOfTheProxy(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_API_REQUEST_ID_HEADER=X-Trace")
	s.exec(raiseOn("insert on auth.users", "P0001"))
	a := s.do(call{
		Method: "POST", Path: "/signup", Body: signUpBodyOf("new@example.com"), Header: map[string]string{"X-Trace": "trace-77"},
	}).want(500)
	if id := a.Header.Get("X-Request-Id"); id != "trace-77" {
		t.Errorf("X-Request-Id %q", id)
	}
	s.explains(a, "message", "no room")
}

// A link that fails sends the browser on; what failed is in the log and found by the redirect's header.
func TestErrorsBehindLinksAreExplained(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.accountIn("new@example.com", "", false)
	link := s.post("/admin/generate_link", map[string]any{"type": "magiclink", "email": "new@example.com"}, s.serviceRole()).want(200)
	s.exec(raiseOn("update on auth.users", "22012"))
	a := s.get("/verify?type=magiclink&token="+link.text("hashed_token"), "").want(http.StatusSeeOther)
	if target := a.Header.Get("Location"); !strings.Contains(target, "error=server_error") {
		t.Errorf("sent to %s", target)
	}
	s.explains(a, "target, table_name, sqlstate", "public.refuse() | auth.users | 22012")
	if !strings.Contains(s.Log.String(), `"msg":"request failed","request_id":"`+a.Header.Get("X-Request-Id")) {
		t.Error("the log does not say why")
	}
}

// What is over time, or waits for a lock in vain, leaves nothing in its own transaction: the gateway records it.
func TestStatementsThatDoNotEndAreExplained(t *testing.T) {
	t.Parallel()
	s := start(t, anonymousOn)
	const columns = "point, target, table_name, outcome, sqlstate, message, ms > 100"
	s.slowUsers("30")
	for name, c := range map[string]struct{ parameter, env, want string }{
		"the server ends it": {
			"statement_timeout=200", "GOTRUE_API_MAX_REQUEST_DURATION=0",
			"database | public.slow() | auth.users | timeout | 57014 | canceling statement due to statement timeout | t",
		},
		"the request's time is up": {"", "GOTRUE_API_MAX_REQUEST_DURATION=300ms", "database | postern.sign_up_anonymously_text | timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			dsn := *s.db
			dsn.GatewayDSN += separator(dsn.GatewayDSN) + c.parameter
			s := startOn(t, &dsn, anonymousOn, c.env)
			a := s.post("/signup", map[string]any{}, "").refused(http.StatusGatewayTimeout, "request_timeout")
			if got := s.explained(a, columns); !strings.HasPrefix(got, c.want) {
				t.Errorf("explained as %s, want %s", got, c.want)
			}
		})
	}

	s.exec(`drop trigger slow on auth.users`)
	me := s.quickMember("me@example.com")
	dsn := *s.db
	dsn.GatewayDSN += separator(dsn.GatewayDSN) + "lock_timeout=100"
	s = startOn(t, &dsn)
	hold := s.begin(`select from auth.sessions where id = $1::uuid for update`, me.ID)
	s.explains(s.renew(me.Refresh).want(http.StatusConflict), "point, target, table_name, outcome, sqlstate, advice",
		"database | postern.refresh_session_text | auth.sessions | failed | 55P03 | "+
			"Another transaction held a row or table for longer than lock_timeout: look for it in pg_stat_activity and pg_locks.")
	hold.commit()
}

func TestRunsOfSQLHooksAreRecorded(t *testing.T) {
	t.Parallel()
	s := start(t, hookOn...)
	me := s.member("me@example.com")
	renew := func() *answer {
		return s.post("/token?grant_type=refresh_token", map[string]any{"refresh_token": me.Refresh}, "")
	}
	const columns = "point, target, outcome, sqlstate, message, user_id"
	hook := "custom_access_token | " + hookURI + " | "

	s.exec(tokenHook(`raise exception 'no seats'`))
	s.explains(renew().want(500), columns, hook+"failed | P0001 | no seats | "+me.UserID)
	s.exec(tokenHook(`return '{"error": {"http_code": 403, "message": "not you"}}'`))
	s.explains(renew().want(403), columns, hook+"refused | not you | "+me.UserID)
	s.exec(tokenHook(`return '{}'`))
	s.explains(renew().want(500), columns, hook+"output | output claims field is missing | "+me.UserID)
	s.exec(tokenHook(`perform pg_sleep(1800); return event`))
	s.explains(renew().want(500), columns, hook+"timeout | 57014 | canceling statement due to statement timeout | "+me.UserID)

	// Successes: slow ones, and all on request.
	runs := func() string {
		return s.one(`select coalesce(string_agg(concat_ws(' ', outcome, ms >= 50, request_id is not null), ', '), '') from auth.hook_runs where outcome = 'ok'`)
	}
	s.exec(tokenHook(`return event`))
	s.set(`hook_runs_slow_ms = 60000`)
	me.Refresh = renew().want(200).session().Refresh
	if got := runs(); got != "" {
		t.Errorf("after a quick call: %s", got)
	}
	s.exec(tokenHook(`perform pg_sleep(0.1); return event`))
	s.set(`hook_runs_slow_ms = 50`)
	me.Refresh = renew().want(200).session().Refresh
	if got := runs(); got != "ok t t" {
		t.Errorf("after a slow call: %s", got)
	}
	s.exec(`delete from auth.hook_runs`)
	s.exec(tokenHook(`return event`))
	s.set(`hook_runs_slow_ms = 0`)
	renew().want(200)
	if got := runs(); !strings.HasPrefix(got, "ok ") {
		t.Errorf("after a call of which all are recorded: %s", got)
	}
}

func TestRunsOfHTTPHooksAreRecorded(t *testing.T) {
	t.Parallel()
	d := newHookDouble(t)
	s := start(t, append(d.on("before_user_created", "custom_access_token"), "POSTERN_HOOK_RUNS_SLOW_MS=60000")...)
	const columns = "point, target, outcome, message"
	prefix := "before_user_created | " + d.URL + " | "
	n := 0
	signUp := func() *answer {
		n++
		return s.post("/signup", signUpBodyOf("u"+string(rune('a'+n))+"@example.com"), "")
	}
	for want, give := range map[string]struct {
		status int
		body   any
	}{
		"refused | not here": {200, refusing(418, "not here")},
		"status | Unexpected status code returned from hook: 500":                                                                 {500, nil},
		"output | Error unmarshaling JSON output.: json: cannot unmarshal array into Go value of type map[string]json.RawMessage": {200, []int{1}},
		"timeout | Failed to reach hook within maximum time of 5.000000 seconds: context deadline exceeded":                       {0, nil},
	} {
		d.answering(give.status, give.body)
		if got := s.explained(signUp(), columns); got != prefix+want {
			t.Errorf("explained as\n%s\nwant\n%s", got, prefix+want)
		}
	}
	if ms := s.one(`select min(ms) >= 4900 from auth.hook_runs where outcome = 'timeout'`); ms != "true" {
		t.Error("the time of the call that was not answered is not that of the limit")
	}

	// Claims that cannot be signed: SQL judges them, after the call itself went well.
	answering := func(pause time.Duration) {
		d.calling(func(name string, event map[string]any) (int, any) {
			if name != "customize-access-token" {
				return http.StatusNoContent, nil
			}
			time.Sleep(pause) // a slow receiver
			return 200, map[string]any{"claims": event["claims"]}
		})
	}
	d.calling(func(name string, _ map[string]any) (int, any) {
		if name == "customize-access-token" {
			return 200, map[string]any{"claims": map[string]any{}}
		}
		return http.StatusNoContent, nil
	})
	if got := s.explained(signUp().want(500), columns); !strings.HasPrefix(got,
		"custom_access_token | "+d.URL+" | output | output claims do not conform to the expected schema: ") {
		t.Errorf("claims that cannot be signed: %s", got)
	}

	// Successes: slow ones, and all on request. Recording them holds up nobody.
	s.exec(`delete from auth.hook_runs`)
	answering(0)
	signUp().want(200)
	s.set(`hook_runs_slow_ms = 200`)
	answering(250 * time.Millisecond)
	signUp().want(200)
	s.eventually("the slow call is recorded", func() bool {
		return s.one(`select count(*) from auth.hook_runs where point = 'custom_access_token' and outcome = 'ok' and ms >= 200`) == "1"
	})
	s.exec(`delete from auth.hook_runs`)
	s.set(`hook_runs_slow_ms = 0`)
	answering(0)
	lock := s.begin(`lock table auth.hook_runs in access exclusive mode`)
	signUp().want(200)
	lock.commit()
	s.eventually("all calls are recorded", func() bool {
		got := s.one(`select coalesce(string_agg(concat_ws(' ', point, outcome), ', ' order by created_at), '') from auth.hook_runs`)
		return got == "before_user_created ok, custom_access_token ok"
	})
}

// Failures cost no statement that the client waits for, and the record of them holds no secret of the request.
func TestRecordsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_MAILER_AUTOCONFIRM=false", "GOTRUE_SMTP_HOST=127.0.0.1", "GOTRUE_SMTP_ADMIN_EMAIL=a@example.com")
	s.exec(`alter table auth.users add constraint mine check (false) not valid`)
	a := s.post("/signup", map[string]any{"email": "new@example.com", "password": "s3cr3t-s3cr3t"}, "").want(500)
	s.explains(a, "sqlstate, message", `23514 | new row for relation "users" violates check constraint "mine"`)
	if got := s.one(`select count(*) from auth.hook_runs h where h::text ~ '\$2[ab]\$|s3cr3t'`); got != "0" {
		t.Errorf("%s records hold a password or its hash", got)
	}
}

func TestOldRunsAreDeleted(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_DB_CLEANUP_ENABLED=true", "POSTERN_HOOK_RUNS_RETENTION=1h")
	s.exec(`insert into auth.hook_runs (point, outcome, created_at)
		select 'database', 'failed', now() - interval '61 minutes' from generate_series(1, 250)
		union all select 'send_sms', 'failed', now() - interval '59 minutes'`)
	// Another gateway cleans up at its start, without waiting.
	s = startOn(t, s.db, "GOTRUE_DB_CLEANUP_ENABLED=true", "POSTERN_HOOK_RUNS_RETENTION=1h")
	s.eventually("old records go", func() bool { return s.one(`select string_agg(point, ' ') from auth.hook_runs`) == "send_sms" })
}
