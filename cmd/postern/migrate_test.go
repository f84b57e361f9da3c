package main

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/postern-auth/postern/tests/pgtest"
)

func databaseIs(dsn string) []string { return []string{"DATABASE_URL=" + dsn} }

// objects counts everything that is not PostgreSQL's own.
func objects(t *testing.T, dsn string) (count int) {
	t.Helper()
	err := pgtest.Connect(t, dsn).QueryRow(t.Context(), `select (select count(*) from pg_class where oid >= 16384)
		+ (select count(*) from pg_namespace where oid >= 16384) + (select count(*) from pg_proc where oid >= 16384)`).Scan(&count)
	if err != nil {
		t.Fatal(err)
	}
	return count
}

func TestMigrateUpDownAndCheck(t *testing.T) {
	t.Parallel()
	latest, err := latestMigration()
	if err != nil {
		t.Fatal(err)
	}
	done := fmt.Sprintf("schema version %d", latest)
	db := pgtest.Empty(t)
	env := databaseIs(db.SuperDSN)

	o := postern(t, env, "migrate").succeeded(t)
	if !strings.Contains(o.stdout, "up 001_") || !strings.HasSuffix(o.stdout, done+"\n") {
		t.Errorf("migrate printed %q", o.stdout)
	}
	if o := postern(t, env, "migrate", "--check").succeeded(t); !strings.Contains(o.stdout, done) {
		t.Errorf("migrate --check printed %q", o.stdout)
	}
	if o := postern(t, env, "migrate").succeeded(t); o.stdout != done+"\n" {
		t.Errorf("a second migrate printed %q", o.stdout)
	}

	execute(t, db.SuperDSN, `select postern.create_user(email => 'ada@example.com')`)
	postern(t, env, "migrate", "--to", "0").failed(t, "auth.users has 1 rows")
	postern(t, env, "migrate", "--check").succeeded(t)
	execute(t, db.SuperDSN, `select postern.delete_user(id) from auth.users`)
	postern(t, env, "migrate", "--to", "0").succeeded(t)
	postern(t, env, "migrate", "--check").failedWith(t, "`postern migrate`", "`tern migrate")
	postern(t, env, "migrate", "--to", "3").succeeded(t)
	postern(t, env, "migrate", "--check").failedWith(t, "version 3", fmt.Sprint(latest))
	postern(t, env, "migrate").succeeded(t)
	serveInBackground(t, gatewayEnvironment(db.SuperDSN))
}

// failed wants an error, of one line or several, that holds a text.
func (o outcome) failed(t *testing.T, part string) {
	t.Helper()
	if o.err == nil || !strings.Contains(o.err.Error(), part) {
		t.Errorf("error %v, want one with %q", o.err, part)
	}
}

func TestMigrateCheckChangesNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	before := objects(t, db.SuperDSN)
	postern(t, databaseIs(db.SuperDSN), "migrate", "--check").failedWith(t, "`postern migrate`")
	if after := objects(t, db.SuperDSN); after != before {
		t.Errorf("migrate --check left %d objects in an empty database", after-before)
	}

	// It can be asked by a role that may not change anything.
	execute(t, db.SuperDSN, `revoke create on schema public from public, pg_database_owner`)
	postern(t, databaseIs(strings.Replace(db.SuperDSN, "?", "?options=-c%20role%3Dpg_monitor&", 1)), "migrate", "--check").
		failedWith(t, "`postern migrate`")
}

func TestMigrateToAVersionThatThereIsNot(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	env := databaseIs(db.SuperDSN)
	before := objects(t, db.SuperDSN)
	for _, version := range []string{"999", "-5", "three"} {
		if o := postern(t, env, "migrate", "--to", version); o.err == nil {
			t.Errorf("migrate --to %s: %s", version, o.stdout)
		}
	}
	// A database that a newer release migrated is not for this one to change.
	execute(t, db.SuperDSN, `update public.postern_version set version = 1000`)
	if o := postern(t, env, "migrate"); o.err == nil {
		t.Errorf("migrating a newer schema: %s", o.stdout)
	}
	o := postern(t, env, "migrate", "--check")
	if o.err == nil || strings.Contains(o.err.Error(), "run `postern migrate`") {
		t.Errorf("--check of a newer schema advises what cannot work: %v", o.err)
	}
	if after := objects(t, db.SuperDSN); after != before {
		t.Errorf("%d objects before, %d after", before, after)
	}
}

// lockedBuffer is a buffer for output that several migrations write to.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

// together migrates a database several times at once.
func together(t *testing.T, dsn string) {
	t.Helper()
	var out lockedBuffer
	errs := make([]error, 4)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() { errs[i] = migrateUp(t.Context(), dsn, &out) })
	}
	group.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("migration %d of %d at once: %v", i+1, len(errs), err)
		}
	}
	if count := strings.Count(out.String(), "up 001_"); count != 1 {
		t.Errorf("001 ran %d times", count)
	}
	postern(t, databaseIs(dsn), "migrate", "--check").succeeded(t)
}

func TestMigrateOneDatabaseSeveralTimesAtOnce(t *testing.T) {
	t.Parallel()
	t.Run("as superuser", func(t *testing.T) {
		t.Parallel()
		together(t, pgtest.Empty(t).SuperDSN)
	})
	t.Run("as a role that may not create in public", func(t *testing.T) {
		t.Parallel()
		db := pgtest.Empty(t)
		dsn := ordinaryRole(t, db)
		execute(t, db.SuperDSN, `revoke create on schema public from public, pg_database_owner`)
		together(t, dsn)
		var table *string
		if err := pgtest.Connect(t, db.SuperDSN).QueryRow(t.Context(), `select to_regclass('auth.postern_version')::text`).Scan(&table); err != nil || table == nil {
			t.Errorf("no version table in schema auth: %v", err)
		}
	})
}

// ordinaryRole makes a role for this test with CREATE on the database and CREATEROLE, and returns its DSN.
func ordinaryRole(t *testing.T, db *pgtest.DB) string {
	t.Helper()
	role := "migrates_" + db.Name
	super := pgtest.Connect(t, db.SuperDSN)
	// service_role's bypassrls needs a superuser, so that role is there beforehand.
	for _, statement := range []string{
		`do $$ begin create role service_role bypassrls; exception when duplicate_object or unique_violation then null; end $$`,
		`create role ` + role + ` login createrole password 'hunter2'`, `grant create on database ` + db.Name + ` to ` + role,
	} {
		if _, err := super.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { dropRole(t, db, role) })
	u, err := url.Parse(db.SuperDSN)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "hunter2")
	return u.String()
}

// dropRole gives a role's things to the superuser, whose database ends with the test, and drops it.
func dropRole(t *testing.T, db *pgtest.DB, role string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.SuperDSN)
	if err != nil {
		t.Log(err) // the context of a finished test; the role has the database's random name
		return
	}
	defer conn.Close(t.Context()) //nolint:errcheck // a test's
	_, _ = conn.Exec(t.Context(), `reassign owned by `+role+` to current_user; drop owned by `+role+`; drop role `+role)
}

func TestMigrateNamesTheVariable(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{
		"missing":        nil,
		"empty":          {"DATABASE_URL="},
		"no URL":         {"DATABASE_URL=hunter2"},
		"nobody listens": {"DATABASE_URL=postgres://u:hunter2@127.0.0.1:1/x"},
		"broken":         {"DATABASE_URL=postgres://u:hunter2@127.0.0.1:nan/x"},
		"unknown option": {"DATABASE_URL=postgres://u:hunter2@127.0.0.1:1/x?sslmode=sometimes"},
	} {
		for _, args := range [][]string{{"migrate"}, {"migrate", "--check"}, {"migrate", "--to", "0"}} {
			o := postern(t, env, args...)
			t.Run(name+" "+strings.Join(args, " "), func(t *testing.T) { o.failedWith(t, "DATABASE_URL") })
			if o.err != nil && strings.Contains(o.err.Error(), "hunter2") {
				t.Errorf("%s: the error shows the password: %v", name, o.err)
			}
		}
	}
}
