package http_test

import (
	"fmt"
	"net/http"
	"testing"
)

// raiseOn is a trigger that raises an error before the given event.
func raiseOn(event, state string) string {
	return fmt.Sprintf(`
		create or replace function public.refuse() returns trigger language plpgsql as $$
		begin
			raise exception 'no room' using errcode = '%s', detail = 'the detail', hint = 'the hint';
		end $$;
		create trigger refuse before %s for each row execute function public.refuse()`, state, event)
}

// A trigger that raises undoes the sign-up and reaches the client in the contract's shape, with its message.
func TestTriggersThatRaise(t *testing.T) {
	t.Parallel()
	signUp := call{Method: "POST", Path: "/signup", Body: `{"email": "new@example.com", "password": "correct horse"}`}
	dated := signUp
	dated.Header = map[string]string{"X-Supabase-Api-Version": "2024-01-01"}
	code := map[string]string{"X-Sb-Error-Code": "unexpected_failure"}
	nothing := func(s *server, _ *answer, _ values) {
		s.t.Helper()
		if got := s.one(`select concat_ws(' ', (select count(*) from auth.users), (select count(*) from auth.identities), (select count(*) from auth.sessions),
			(select count(*) from auth.refresh_tokens))`); got != "0 0 0 0" {
			s.t.Errorf("what remains: %s", got)
		}
	}
	member := func(s *server) values { return of(s.quickMember("me@example.com")) }
	passed := `{"code": "%s", "message": "no room", "detail": "the detail", "hint": "the hint"}`
	general := `{"code": 500, "error_code": "unexpected_failure", "msg": "Database error saving new user", "error_id": "<uuid>"}`
	scenarios := []Scenario{
		{
			Name: "dated clients get the general text", SQL: raiseOn("insert on auth.users", "P0001"), Request: dated, WantStatus: 500, Exact: true, WantHeader: code, Then: nothing,
			WantBody: `{"code": "unexpected_failure", "message": "Database error saving new user"}`, WantAudit: []string{},
		},
		{
			Name: "another kind of error", SQL: raiseOn("insert on auth.users", "22012"), Request: signUp, WantStatus: 500, Exact: true, WantHeader: code, Then: nothing,
			WantBody: general,
		},
		{
			Name: "a status of its own, of which dated clients learn nothing", SQL: raiseOn("insert on auth.users", "PT418"), Request: dated, WantStatus: 500, Exact: true, WantHeader: code, Then: nothing,
			WantBody: `{"code": "unexpected_failure", "message": "Database error saving new user"}`, WantAudit: []string{},
		},
		{
			Name: "a status of its own", SQL: raiseOn("insert on auth.users", "PT418"), Request: signUp, WantStatus: 418, Exact: true, WantHeader: code, Then: nothing,
			WantBody: fmt.Sprintf(passed, "PT418"),
		},
		{
			Name: "a code for a new address", SQL: raiseOn("insert on auth.users", "22012"), Request: call{Method: "POST", Path: "/otp", Body: `{"email": "new@example.com"}`},
			WantStatus: 500, Exact: true, WantHeader: code, Then: nothing, WantBody: general,
		},
		{
			Name: "a code for a new number", Env: []string{"GOTRUE_EXTERNAL_PHONE_ENABLED=true"}, SQL: raiseOn("insert on auth.identities", "22012"),
			Request: call{Method: "POST", Path: "/otp", Body: `{"phone": "4915"}`}, WantStatus: 500, Exact: true, WantHeader: code, Then: nothing, WantBody: general,
		},
		{
			// Ours: passed on here too (differences.md).
			Name: "anonymous ones", Env: []string{anonymousOn}, SQL: raiseOn("insert on auth.users", "P0001"), Request: call{Method: "POST", Path: "/signup", Body: `{}`}, WantStatus: 500, Then: nothing,
			WantBody: fmt.Sprintf(passed, "P0001"), Exact: true,
		},
		{
			Name: "after the row is there", SQL: raiseOn("insert on auth.refresh_tokens", "P0001"), Request: signUp, WantStatus: 500, WantBody: fmt.Sprintf(passed, "P0001"), Exact: true, Then: nothing, WantAudit: []string{},
		},
		{
			Name: "at signing in", SQL: raiseOn("update on auth.users", "P0001"), Given: func(s *server) values {
				s.exec(`alter table auth.users disable trigger refuse`)
				s.account("me@example.com")
				s.exec(`alter table auth.users enable trigger refuse`)
				return nil
			},
			Request: grant(`{"email": "me@example.com", "password": "correct horse battery"}`), WantStatus: 500, WantBody: fmt.Sprintf(passed, "P0001"), Exact: true, WantAudit: []string{},
		},
		{
			Name: "at a change by the user", Given: func(s *server) values {
				v := member(s)
				s.exec(raiseOn("update on auth.users", "P0001"))
				return v
			},
			Request: call{Method: "PUT", Path: "/user", Body: `{"data": {"a": 1}}`, Bearer: "{access}"}, WantStatus: 500, WantBody: fmt.Sprintf(passed, "P0001"), Exact: true, WantAudit: []string{},
		},
		{
			Name: "at a change by an administrator", Given: func(s *server) values {
				v := member(s)
				s.exec(raiseOn("update on auth.users", "23514"))
				return v
			},
			Request: call{Method: "PUT", Path: "/admin/users/{user}", Body: `{"role": "x"}`, Bearer: "{admin}"}, WantStatus: 500, WantBody: fmt.Sprintf(passed, "23514"), Exact: true, WantAudit: []string{},
		},
		{
			Name: "at a deletion", Given: func(s *server) values {
				v := member(s)
				s.exec(raiseOn("delete on auth.users", "PT409"))
				return v
			},
			Request: call{Method: "DELETE", Path: "/admin/users/{user}", Bearer: "{admin}"}, WantStatus: 409, WantBody: fmt.Sprintf(passed, "PT409"), Exact: true, WantAudit: []string{},
		},
		{
			Name: "at signing out", Given: func(s *server) values {
				v := member(s)
				s.exec(raiseOn("delete on auth.sessions", "P0001"))
				return v
			},
			Request: call{Method: "POST", Path: "/logout", Bearer: "{access}"}, WantStatus: 500, WantBody: fmt.Sprintf(passed, "P0001"), Exact: true, WantAudit: []string{},
			Then: func(s *server, _ *answer, v values) { s.get("/user", v["access"]).want(200) },
		},
		{
			Name: "at a refresh", Given: func(s *server) values {
				v := member(s)
				s.exec(raiseOn("update on auth.sessions", "P0001"))
				return v
			},
			Request: call{Method: "POST", Path: "/token?grant_type=refresh_token", Body: `{"refresh_token": "{refresh}"}`}, WantStatus: 500, WantBody: fmt.Sprintf(passed, "P0001"), Exact: true, WantAudit: []string{},
			Then: func(s *server, _ *answer, v values) {
				s.exec(`drop trigger refuse on auth.sessions`)
				s.post("/token?grant_type=refresh_token", map[string]any{"refresh_token": v["refresh"]}, "").want(200)
			},
		},
	}
	run(t, scenarios)
	passedOn := make([]Scenario, 0, 8)
	for _, state := range []string{"P0001", "23000", "23001", "23502", "23503", "23505", "23514", "23P01"} {
		passedOn = append(passedOn, Scenario{
			Name: "passed on: " + state, SQL: raiseOn("insert on auth.identities", state), Request: signUp, WantStatus: 500, Exact: true, WantHeader: code, Then: nothing,
			WantBody: fmt.Sprintf(passed, state), WantAudit: []string{},
		})
	}
	run(t, passedOn)
}

// An error is never answered with a status of success, whatever code a trigger makes up: clients would take the error for data.
func TestTriggersCannotMakeAnErrorLookLikeSuccess(t *testing.T) {
	t.Parallel()
	s := start(t)
	me := s.quickMember("me@example.com")
	for _, state := range []string{"PT100", "PT101", "PT150", "PT199"} {
		s.exec(`drop trigger if exists refuse on auth.users`)
		s.exec(raiseOn("update on auth.users", state))
		a := s.put("/user", `{"data": {"a": 1}}`, me.Access)
		if a.Status < 400 {
			t.Errorf("%s: %d %s", state, a.Status, a.Raw)
		}
	}
}

// The example of Supabase's documentation, which most applications begin with.
func TestHandleNewUser(t *testing.T) {
	t.Parallel()
	s := start(t, anonymousOn)
	s.exec(`
		create table public.profiles (
			id uuid not null references auth.users on delete cascade, first_name text, last_name text, primary key (id));
		alter table public.profiles enable row level security;
		create function public.handle_new_user() returns trigger language plpgsql security definer set search_path = '' as $$
		begin
			insert into public.profiles (id, first_name, last_name)
			values (new.id, new.raw_user_meta_data ->> 'first_name', new.raw_user_meta_data ->> 'last_name');
			return new;
		end $$;
		create trigger on_auth_user_created after insert on auth.users for each row execute procedure public.handle_new_user()`)
	me := s.post("/signup", `{"email": "ada@example.com", "password": "correct horse", "data": {"first_name": "Ada", "last_name": "Lovelace"}}`, "").want(200).session()
	s.post("/signup", `{"data": {"first_name": "Guest"}}`, "").want(200)
	s.post("/admin/users", `{"email": "bob@example.com", "user_metadata": {"first_name": "Bob"}}`, s.serviceRole()).want(200)
	if got := s.one(`select string_agg(concat_ws(' ', first_name, last_name), ', ' order by first_name) from public.profiles`); got != "Ada Lovelace, Bob, Guest" {
		t.Errorf("profiles: %s", got)
	}
	s.delete("/admin/users/"+me.UserID, nil, s.serviceRole()).want(200)
	if got := s.one(`select count(*) from public.profiles`); got != "2" {
		t.Errorf("%s profiles", got)
	}
	// Its own constraint undoes the sign-up.
	s.exec(`alter table public.profiles add constraint named check (first_name is not null)`)
	s.post("/signup", `{"email": "nameless@example.com", "password": "correct horse"}`, "").want(500).
		holds(`{"code": "23514", "message": "<text>", "detail": "<text>"}`, true)
	if got := s.one(`select count(*) from auth.users where email = 'nameless@example.com'`); got != "0" {
		t.Error("the account remains")
	}
}

// What triggers see: DESIGN 15 and contract schema.md 8.
func TestTriggersSeeTheRowsAsTheReferenceWritesThem(t *testing.T) {
	t.Parallel()
	s := start(t, anonymousOn)
	s.exec(`
		create table public.seen (n serial, what text);
		create function public.see() returns trigger language plpgsql security definer as $$
		begin
			insert into public.seen (what) values (concat_ws(' ', lower(tg_op), new.role, new.email, 'confirmed=' || (new.email_confirmed_at is not null),
				'signed_in=' || (new.last_sign_in_at is not null), 'anonymous=' || new.is_anonymous, 'path=' || current_setting('search_path')));
			return new;
		end $$;
		create trigger see before insert or update on auth.users for each row execute function public.see()`)
	s.post("/signup", `{"email": "ada@example.com", "password": "correct horse"}`, "").want(200)
	want := []string{
		"insert authenticated ada@example.com confirmed=false signed_in=false anonymous=false path=auth, pg_temp",
		"update authenticated ada@example.com confirmed=false signed_in=false anonymous=false path=auth, pg_temp",
		"update authenticated ada@example.com confirmed=true signed_in=true anonymous=false path=auth, pg_temp",
	}
	got := s.column(`select what from public.seen order by n`)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("sign-up: %q, want %q", got, want)
	}
	// A refresh does not touch the account.
	me := s.post("/signup", "{}", "").want(200).session()
	s.exec(`delete from public.seen`)
	s.post("/token?grant_type=refresh_token", map[string]any{"refresh_token": me.Refresh}, "").want(200)
	if got := s.column(`select what from public.seen`); len(got) != 0 {
		t.Errorf("a refresh: %q", got)
	}
}

// A trigger may change the row: the answer and the token show what was stored.
func TestTriggersThatChangeTheRow(t *testing.T) {
	t.Parallel()
	s := start(t, anonymousOn)
	s.exec(`
		create function public.stamp() returns trigger language plpgsql as $$
		begin
			new.raw_app_meta_data := new.raw_app_meta_data || '{"tenant": 7}';
			new.role := 'member';
			return new;
		end $$;
		create trigger stamp before insert on auth.users for each row execute function public.stamp()`)
	for _, body := range []string{`{"email": "ada@example.com", "password": "correct horse"}`, `{}`} {
		a := s.post("/signup", body, "").want(200)
		a.holds(`{"user": {"role": "member", "app_metadata": {"tenant": 7}}}`, false)
		claims := claimsOf(t, a.session().Access)
		if claims["role"] != "member" || member(map[string]any(claims), "app_metadata.tenant") != 7.0 {
			t.Errorf("claims %v", claims)
		}
	}
	s.post("/admin/users", `{"email": "bob@example.com"}`, s.serviceRole()).want(http.StatusOK).holds(`{"role": "member", "app_metadata": {"tenant": 7}}`, false)
	// Ours: what an administrator gives is merged with it (differences.md).
	s.post("/admin/users", `{"email": "eve@example.com", "app_metadata": {"plan": "gold"}}`, s.serviceRole()).want(http.StatusOK).
		holds(`{"app_metadata": {"tenant": 7, "plan": "gold", "provider": "email"}}`, false)
}
