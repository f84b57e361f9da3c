package database_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/postern-auth/postern/sql"
	"github.com/postern-auth/postern/tests/pgtest"
)

func TestUpDownUpLeavesTheSameDatabase(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	conn := pgtest.Connect(t, db.SuperDSN)
	empty := snapshot(t, conn)
	mustMigrate(t, db.SuperDSN, latest(t))
	first := snapshot(t, conn)
	mustMigrate(t, db.SuperDSN, 0)
	same(t, "down to 0", empty, snapshot(t, conn))
	mustMigrate(t, db.SuperDSN, latest(t))
	same(t, "up again", first, snapshot(t, conn))
}

func TestEachStepDownAndUpAgain(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	conn := pgtest.Connect(t, db.SuperDSN)
	states := make([]map[string]bool, latest(t)+1)
	states[0] = snapshot(t, conn)
	for version := int32(1); version <= latest(t); version++ {
		mustMigrate(t, db.SuperDSN, version)
		states[version] = snapshot(t, conn)
		mustMigrate(t, db.SuperDSN, version-1)
		down := snapshot(t, conn)
		if version == 14 {
			// The grants to role postgres go with their tables.
			maps.DeleteFunc(down, func(fact string, _ bool) bool {
				return !states[13][fact] && strings.HasPrefix(fact, "grant relation auth.") && strings.Contains(fact, " postgres SELECT ")
			})
		}
		same(t, "down to "+itoa(int(version-1)), states[version-1], down)
		mustMigrate(t, db.SuperDSN, version)
	}
}

func TestSchemaVersionIsTheNumberOfMigrations(t *testing.T) {
	t.Parallel()
	db, _ := installed(t)
	conn := pgtest.Connect(t, db.GatewayDSN)
	if got := ask[int32](t, conn, "select postern.schema_version()"); got != latest(t) {
		t.Errorf("schema_version() is %d, and there are %d migrations", got, latest(t))
	}
}

func TestDownRefusesWhileThereAreUsers(t *testing.T) {
	t.Parallel()
	db, conn := installed(t)
	run(t, conn, "select postern.create_user(email => 'u' || n || '@example.com') from generate_series(1, 3) n")
	before := snapshot(t, conn)
	for _, target := range []int32{latest(t) - 1, 0} {
		refused(t, db.SuperDSN, target, "auth.users has 3 rows", "nothing is dropped")
	}
	same(t, "after a refusal", before, snapshot(t, conn))
	if got := ask[int](t, conn, "select count(*) from auth.users"); got != 3 {
		t.Errorf("%d users are left", got)
	}
	run(t, conn, "delete from auth.users")
	mustMigrate(t, db.SuperDSN, 0)
}

func TestDownRefusesWhileATableRefersToUsers(t *testing.T) {
	t.Parallel()
	db, conn := installed(t)
	run(t, conn, "create table public.profiles (id uuid primary key references auth.users (id))")
	before := snapshot(t, conn)
	refused(t, db.SuperDSN, 0, "profiles", "nothing is dropped")
	same(t, "after a refusal", before, snapshot(t, conn))
}

// A cascade would take a policy along without a word, and open or shut a table.
func TestDownNamesThePolicyThatCallsAuthUID(t *testing.T) {
	t.Parallel()
	db, conn := installed(t)
	run(t, conn, "create table public.notes (user_id uuid)",
		`create policy "mine only" on public.notes using (user_id = auth.uid())`)
	refused(t, db.SuperDSN, 0, "auth.uid()", "mine only")
	if got := ask[int](t, conn, "select count(*) from pg_policies where policyname = 'mine only'"); got != 1 {
		t.Error("the policy is gone")
	}
	run(t, conn, "drop table public.notes")
	mustMigrate(t, db.SuperDSN, 0)
}

func TestDownNamesWhatUsesAFunctionOfTheEngine(t *testing.T) {
	t.Parallel()
	db, conn := installed(t)
	run(t, conn, "create view public.version as select postern.schema_version() as v")
	refused(t, db.SuperDSN, 0, "postern.schema_version()", "view public.version")
	run(t, conn, "drop view public.version")
	mustMigrate(t, db.SuperDSN, 0)
}

func TestDownLeavesTheUsersOwnTableInSchemaAuth(t *testing.T) {
	t.Parallel()
	db, conn := installed(t)
	run(t, conn, "create table auth.notes (body text)", "insert into auth.notes values ('mine')")
	refused(t, db.SuperDSN, 0, "auth.notes")
	if got := ask[string](t, conn, "select body from auth.notes"); got != "mine" {
		t.Errorf("body = %q", got)
	}
}

// Each migration fails once, at its end; what it did before must be undone, and the next run goes on from there.
func TestInterruptedAtEachMigrationAndRunAgain(t *testing.T) {
	t.Parallel()
	_, fresh := installed(t)
	db := pgtest.Empty(t)
	interruptEach(t, db, 1)
	same(t, "in one go, and interrupted", snapshot(t, fresh), snapshot(t, pgtest.Connect(t, db.SuperDSN)))
}

// interruptEach migrates from a version to the latest, each step failing first.
func interruptEach(t *testing.T, db *pgtest.DB, from int32) {
	t.Helper()
	conn := pgtest.Connect(t, db.SuperDSN)
	for version := from; version <= latest(t); version++ {
		before := snapshot(t, conn)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := migrateTo(ctx, db.SuperDSN, failingUp(t, version), versionTable, version)
		cancel()
		if pgErr, ok := errors.AsType[*pgconn.PgError](err); !ok || pgErr.Message != "the power failed" {
			t.Fatalf("migration %d does not fail as told: %v", version, err)
		}
		same(t, "after migration "+itoa(int(version))+" failed", before, snapshot(t, conn))
		mustMigrate(t, db.SuperDSN, version)
	}
}

const separator = "---- create above / drop below ----"

// failingUp is a copy of the migrations in which the way up of one fails at its end.
func failingUp(t *testing.T, version int32) fs.FS {
	t.Helper()
	return edited(t, version, func(text string) string {
		up, down, ok := strings.Cut(text, separator)
		if !ok {
			t.Fatalf("migration %d has no way down", version)
		}
		return up + "\ndo $$ begin raise exception 'the power failed'; end $$;\n\n" + separator + down
	})
}

// edited is a copy of the migrations with one changed.
func edited(t *testing.T, version int32, edit func(string) string) fs.FS {
	t.Helper()
	files := fstest.MapFS{}
	err := fs.WalkDir(sql.FS, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(sql.FS, path)
		if strings.HasPrefix(path, zeroes(version)+"_") {
			body = []byte(edit(string(body)))
		}
		files[path] = &fstest.MapFile{Data: body}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func zeroes(version int32) string {
	digits := itoa(int(version))
	return strings.Repeat("0", 3-len(digits)) + digits
}

// 013 goes down outside a transaction: its half is done when it fails.
func TestDownInterruptedWhileAnIndexIsBuilt(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	conn := pgtest.Connect(t, db.SuperDSN)
	mustMigrate(t, db.SuperDSN, 12)
	want := snapshot(t, conn)
	mustMigrate(t, db.SuperDSN, 13)
	files := edited(t, 13, func(text string) string {
		const build = "create index concurrently refresh_tokens_updated_at_idx on auth.refresh_tokens (updated_at desc);"
		if !strings.Contains(text, build) {
			t.Fatal("013 builds its index in other words")
		}
		return strings.Replace(text, build, build+"\nselect 1 / 0;", 1)
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := migrateTo(ctx, db.SuperDSN, files, versionTable, 12); err == nil {
		t.Fatal("it did not fail")
	}
	mustMigrate(t, db.SuperDSN, 12)
	same(t, "down to 12", want, snapshot(t, conn))
	mustMigrate(t, db.SuperDSN, latest(t))
}

func TestAKilledMigrationIsRunAgain(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	mustMigrate(t, db.SuperDSN, 11)
	conn := pgtest.Connect(t, db.SuperDSN)
	before := snapshot(t, conn)

	holder := pgtest.Connect(t, db.SuperDSN)
	run(t, holder, "begin", "lock table auth.refresh_tokens in access exclusive mode")
	result := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() { result <- migrateTo(ctx, db.SuperDSN, sql.FS, versionTable, latest(t)) }()
	kill := `select count(pg_terminate_backend(l.pid)) > 0 from pg_locks l
		where not l.granted and l.locktype = 'relation' and l.database = (select oid from pg_database where datname = current_database())`
	waitFor(t, "the migration to wait for the table", func() bool { return ask[bool](t, conn, kill) })
	if err := <-result; err == nil {
		t.Fatal("a killed migration succeeded")
	}
	run(t, holder, "rollback")
	same(t, "after the kill", before, snapshot(t, conn))
	mustMigrate(t, db.SuperDSN, latest(t))
}
