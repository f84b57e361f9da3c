package database_test

import (
	"encoding/json"
	"testing"

	"github.com/postern-auth/postern/tests/pgtest"
)

// The clean-up looks through large tables in stretches: no call scans one of them, and after enough calls all that is to go is gone.
func TestCleanupReadsLargeTablesInStretches(t *testing.T) {
	t.Parallel()
	const rows, stretch = 100_000, 5_000
	_, conn := installed(t)
	// Every account has one session; all are older than anything that is kept, and in use, but for a few.
	run(t, conn, `
		insert into auth.users (instance_id, id, aud, role, email, is_anonymous, is_sso_user, created_at, updated_at)
		select '00000000-0000-0000-0000-000000000000', gen_random_uuid(), 'authenticated', 'authenticated',
			case when n % 2 = 0 then n || '@example.com' end, n % 2 = 1, false, now() - interval '1 year', now()
		from generate_series(1, 100000) n;
		insert into auth.sessions (id, user_id, created_at, updated_at, refreshed_at, aal)
		select gen_random_uuid(), u.id, now() - interval '100 days', now(), now() at time zone 'UTC', 'aal1' from auth.users u;
		insert into auth.refresh_tokens (instance_id, user_id, session_id, revoked, counter, created_at, updated_at)
		select '00000000-0000-0000-0000-000000000000', s.user_id, s.id, false, 0, now(), now() from auth.sessions s`)
	run(t, conn, `
		update auth.sessions set refreshed_at = (now() - interval '40 days') at time zone 'UTC'
		where user_id in (select id from auth.users where is_anonymous limit 30);
		update auth.sessions set refreshed_at = (now() - interval '60 days') at time zone 'UTC'
		where user_id in (select id from auth.users where not is_anonymous limit 40);
		update auth.refresh_tokens set revoked = true, updated_at = now() - interval '2 days'
		where id in (select id from auth.refresh_tokens order by random() limit 50);
		update auth.settings set external_anonymous_users_enabled = true, sessions_timebox = '1 year', sessions_inactivity_timeout = '50 days'`)
	run(t, conn, `analyze auth.users, auth.sessions, auth.refresh_tokens`)

	// read is how many rows of the three tables this connection has read since it was last asked.
	var sequentialBefore, indexBefore int
	read := func() (bySequence, byIndex int) {
		const sum = `from pg_stat_xact_user_tables where schemaname = 'auth' and relname in ('users', 'sessions', 'refresh_tokens')`
		sequential, index := ask[int](t, conn, `select sum(seq_tup_read) `+sum), ask[int](t, conn, `select sum(idx_tup_fetch) `+sum)
		bySequence, byIndex = sequential-sequentialBefore, index-indexBefore
		sequentialBefore, indexBefore = sequential, index
		return bySequence, byIndex
	}
	deleted := map[string]int{}
	// As often as a pass takes, in one connection: from the sixth call on plans know no values.
	for range rows/stretch + 1 {
		tx, err := conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		read()
		answer := ask[string](t, conn, `select postern.cleanup() ->> 'body'`)
		var body struct {
			Deleted  map[string]int    `json:"deleted"`
			Problems map[string]string `json:"problems"`
		}
		if err := json.Unmarshal([]byte(answer), &body); err != nil || len(body.Problems) > 0 {
			t.Fatalf("%v: %s", err, answer)
		}
		for what, n := range body.Deleted {
			deleted[what] += n
		}
		bySequence, byIndex := read()
		if bySequence > 0 || byIndex > 8*stretch {
			t.Errorf("one call read %d rows sequentially, %d by index", bySequence, byIndex)
		}
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if deleted["anonymous_users"] != 30 || deleted["timed_out_sessions"] != 40 || deleted["refresh_tokens"] < 48 {
		t.Errorf("deleted %v", deleted)
	}
	if n := ask[int](t, conn, `select count(*) from auth.users`); n != rows-30 {
		t.Errorf("%d accounts are left", n)
	}
}

// What belongs to one account and is in use holds up that account only.
func TestCleanupPassesOverWhatIsInUse(t *testing.T) {
	t.Parallel()
	db, conn := installed(t)
	run(t, conn, `update auth.settings set external_anonymous_users_enabled = true`, `
		insert into auth.users (instance_id, id, is_anonymous, is_sso_user, created_at, updated_at)
		select '00000000-0000-0000-0000-000000000000', ('00000000-0000-4000-8000-00000000000' || n)::uuid, true, false, now() - interval '1 year', now()
		from generate_series(1, 2) n`,
		`create table public.notes (owner uuid references auth.users (id) on delete cascade)`,
		`insert into public.notes select id from auth.users order by id limit 1`,
		`grant all on public.notes to postern_owner`)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run(t, conn, `select from public.notes for update`)
	gateway := pgtest.Connect(t, db.GatewayDSN)
	run(t, gateway, `set lock_timeout = '50ms'`)
	const deleted = `select postern.cleanup() #>> '{body,deleted,anonymous_users}'`
	if n := ask[string](t, gateway, deleted); n != "1" {
		t.Errorf("%s accounts went", n)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := ask[string](t, gateway, deleted); n != "1" {
		t.Errorf("afterwards %s", n)
	}
}
