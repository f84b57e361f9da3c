package database_test

import (
	"context"
	_ "embed" // testdata
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/postern-auth/postern/sql"
	"github.com/postern-auth/postern/tests/pgtest"
)

const repository = "../.."

// programs builds the published tern CLI and our own command, once for all tests, where other tools lie too.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := filepath.Abs(filepath.Join(repository, ".cache", "tested"))
	if err != nil {
		return "", err
	}
	for _, from := range [][2]string{
		{filepath.Join(repository, "tools", "pinned"), "github.com/jackc/tern/v2"},
		{repository, "./cmd/postern"},
	} {
		cmd := exec.Command("go", "build", "-o", dir+"/", from[1]) //nolint:gosec // ours
		cmd.Dir = from[0]
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("building %s: %w: %s", from[1], err, out)
		}
	}
	return dir, nil
})

// command runs one of the programs in the repository and returns all it says.
func command(t *testing.T, name, dsn string, args ...string) (string, error) {
	t.Helper()
	return commandWith(t, "", name, dsn, args...)
}

// commandWith is command with a variable more in its environment.
func commandWith(t *testing.T, variable, name, dsn string, args ...string) (string, error) {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, name), args...) //nolint:gosec // ours
	cmd.Dir = repository
	cmd.Env = append(withoutVersionTable(os.Environ()), "DATABASE_URL="+dsn, variable)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func withoutVersionTable(environ []string) []string {
	kept := make([]string, 0, len(environ))
	for _, entry := range environ {
		if !strings.HasPrefix(entry, "POSTERN_VERSION_TABLE=") {
			kept = append(kept, entry)
		}
	}
	return kept
}

func TestTernMigrateAndPosternMigrateGiveTheSameDatabase(t *testing.T) {
	t.Parallel()
	one, two := pgtest.Empty(t), pgtest.Empty(t)
	if out, err := command(t, "tern", one.SuperDSN, "migrate", "-c", "tern.conf", "-m", "sql"); err != nil {
		t.Fatalf("tern migrate: %v\n%s", err, out)
	}
	if out, err := command(t, "postern", two.SuperDSN, "migrate"); err != nil {
		t.Fatalf("postern migrate: %v\n%s", err, out)
	}
	connOne, connTwo := pgtest.Connect(t, one.SuperDSN), pgtest.Connect(t, two.SuperDSN)
	want := snapshot(t, connOne)
	same(t, "tern's, and ours", want, snapshot(t, connTwo))
	for _, conn := range []*pgx.Conn{connOne, connTwo} {
		if got := ask[int32](t, conn, "select max(version) from public.postern_version"); got != latest(t) {
			t.Errorf("version %d", got)
		}
	}

	// Each goes on where the other stopped.
	if out, err := command(t, "postern", one.SuperDSN, "migrate", "--check"); err != nil {
		t.Errorf("postern migrate --check after tern: %v\n%s", err, out)
	}
	if out, err := command(t, "tern", two.SuperDSN, "migrate", "-c", "tern.conf", "-m", "sql", "-d", "0"); err != nil {
		t.Errorf("tern migrate -d 0: %v\n%s", err, out)
	}
	if out, err := command(t, "postern", two.SuperDSN, "migrate", "--check"); err == nil || !strings.Contains(out, "tern migrate") {
		t.Errorf("--check of an empty database: %v\n%s", err, out)
	}
	if out, err := command(t, "postern", one.SuperDSN, "migrate", "--to", "5"); err != nil {
		t.Errorf("postern migrate --to 5: %v\n%s", err, out)
	}
	if out, err := command(t, "tern", one.SuperDSN, "migrate", "-c", "tern.conf", "-m", "sql"); err != nil {
		t.Errorf("tern migrate from 5: %v\n%s", err, out)
	}
	if out, err := command(t, "tern", one.SuperDSN, "code", "install", "sql", "-c", "tern.conf"); err != nil {
		t.Errorf("tern code install: %v\n%s", err, out)
	}
	same(t, "in one go, and by turns", want, snapshot(t, connOne))
}

// 17 is the schema of an earlier release.
func TestRollbackKeepsAccountsAndFunctions(t *testing.T) {
	t.Parallel()
	for name, back := range map[string]func(t *testing.T, dsn string) (string, error){
		"postern": func(t *testing.T, dsn string) (string, error) {
			return command(t, "postern", dsn, "migrate", "--to", "17")
		},
		"tern": func(t *testing.T, dsn string) (string, error) {
			return commandWith(t, "POSTERN_ROLLBACK=yes", "tern", dsn, "migrate", "-c", "tern.conf", "-m", "sql", "-d", "17")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, conn := installed(t)
			run(t, conn, "select postern.create_user(email => 'ada@example.com')",
				"create view public.accounts as select postern.schema_version() as version, u.id from auth.users u")
			before := snapshot(t, conn)
			if out, err := back(t, db.SuperDSN); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if got := ask[int](t, conn, "select version from public.postern_version"); got != 17 {
				t.Errorf("the schema version is %d", got)
			}
			if got := ask[int](t, conn, "select count(*) from public.accounts where version > 17"); got != 1 {
				t.Errorf("%d accounts are left", got)
			}
			mustMigrate(t, db.SuperDSN, latest(t))
			same(t, "up again", before, snapshot(t, conn))
		})
	}
}

func TestPosternMigrateUsesTheVersionTableThatExists(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	conn := pgtest.Connect(t, db.SuperDSN)
	run(t, conn, "create schema auth")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := migrateTo(ctx, db.SuperDSN, sql.FS, "auth.postern_version", 7); err != nil {
		t.Fatal(explain(err))
	}
	if out, err := command(t, "postern", db.SuperDSN, "migrate"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := ask[int32](t, conn, "select max(version) from auth.postern_version"); got != latest(t) {
		t.Errorf("auth.postern_version says %d", got)
	}
	if ask[bool](t, conn, "select to_regclass('public.postern_version') is not null") {
		t.Error("a second version table was made")
	}
	// Down leaves the version table, and with it the schema; up again works.
	for range 2 {
		if out, err := command(t, "postern", db.SuperDSN, "migrate", "--to", "0"); err != nil {
			t.Fatalf("down: %v\n%s", err, out)
		}
		if out, err := command(t, "postern", db.SuperDSN, "migrate"); err != nil {
			t.Fatalf("up: %v\n%s", err, out)
		}
	}
}

func TestPosternMigratePutsTheVersionWhereItMay(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Private(t, nil)
	super := pgtest.Connect(t, cluster.DSN("postgres", "postgres"))
	run(t, super, "create database prepared")
	mustMigrate(t, cluster.DSN("postgres", "prepared"), latest(t)) // makes the roles
	run(t, super, "create role app login", "grant supabase_auth_admin to app", "create database app", "grant create on database app to app")
	conn := pgtest.Connect(t, cluster.DSN("postgres", "app"))
	run(t, conn, "revoke create on schema public from public")
	if out, err := command(t, "postern", cluster.DSN("app", "app"), "migrate"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := ask[int32](t, conn, "select max(version) from auth.postern_version"); got != latest(t) {
		t.Errorf("auth.postern_version says %d", got)
	}
	works(t, cluster, "app")
	for _, table := range []string{"auth.postern_version", "auth.users"} {
		if owner := ask[string](t, conn, "select pg_get_userbyid(relowner) from pg_class where oid = to_regclass($1)", table); owner != "app" {
			t.Errorf("%s belongs to %s", table, owner)
		}
	}
	if given := lines(t, conn, `select a.grantee::regrole::text from pg_class c, aclexplode(c.relacl) a
		where c.oid = 'auth.postern_version'::regclass and a.grantee <> c.relowner`); len(given) > 0 {
		t.Errorf("the version table is open to %v", given)
	}
}

// Two version tables would install twice.
func TestASecondVersionTableIsRefused(t *testing.T) {
	t.Parallel()
	t.Run("public first", func(t *testing.T) {
		t.Parallel()
		db, conn := installed(t)
		before := snapshot(t, conn)
		refusedWith(t, db.SuperDSN, "auth.postern_version", latest(t), "public.postern_version says that Postern is installed here",
			"POSTERN_VERSION_TABLE=public.postern_version")
		same(t, "after the refusal", before, snapshot(t, conn))
	})
	t.Run("auth first", func(t *testing.T) {
		t.Parallel()
		db := pgtest.Empty(t)
		conn := pgtest.Connect(t, db.SuperDSN)
		run(t, conn, "create schema auth")
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := migrateTo(ctx, db.SuperDSN, sql.FS, "auth.postern_version", latest(t)); err != nil {
			t.Fatal(explain(err))
		}
		refused(t, db.SuperDSN, latest(t), "auth.postern_version says that Postern is installed here", "POSTERN_VERSION_TABLE=auth.postern_version")
		// Interrupted after its first migration it is installed too.
		if err := migrateTo(ctx, db.SuperDSN, sql.FS, "auth.postern_version", 1); err != nil {
			t.Fatal(explain(err))
		}
		refused(t, db.SuperDSN, latest(t), "auth.postern_version says that Postern is installed here at version 1")
	})
	t.Run("another one first", func(t *testing.T) {
		t.Parallel()
		db := pgtest.Empty(t)
		conn := pgtest.Connect(t, db.SuperDSN)
		run(t, conn, "create schema ops")
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := migrateTo(ctx, db.SuperDSN, sql.FS, "ops.migrations", latest(t)); err != nil {
			t.Fatal(explain(err))
		}
		refused(t, db.SuperDSN, latest(t), "auth.adoption says that Postern is installed here", "POSTERN_VERSION_TABLE")
		if err := migrateTo(ctx, db.SuperDSN, sql.FS, "ops.migrations", 0); err != nil {
			t.Fatal(explain(err))
		}
		// Gone from there, it may come back elsewhere: the table left behind says 0.
		mustMigrate(t, db.SuperDSN, latest(t))
	})
}

// testdata/functions-23.txt lists the functions of the last release: signature, names of arguments, result.
//
//go:embed testdata/functions-23.txt
var lastRelease string

// Functions are replaced in both directions by "create or replace", which keeps names of arguments and results; and a gateway of the
// last release finds the arguments that it names.
func TestFunctionsFitThoseOfTheLastRelease(t *testing.T) {
	t.Parallel()
	_, conn := installed(t)
	for line := range strings.Lines(lastRelease) {
		part := strings.Split(strings.TrimSuffix(line, "\n"), " | ")
		signature, names, result := part[0], part[1], part[2]
		if now := ask[string](t, conn, `select coalesce((select array_to_string(proargnames, ' ') || ' | ' || pg_get_function_result(oid)
			from pg_proc where oid = to_regprocedure($1)), '')`, signature); now != "" && now != names+" | "+result {
			t.Errorf("%s was %s | %s, and is %s: another form needs another name", signature, names, result, now)
		}
		name := signature[len("postern."):strings.Index(signature, "(")]
		if strings.HasPrefix(name, "_") {
			continue
		}
		if !ask[bool](t, conn, `select exists (select from pg_proc where pronamespace = 'postern'::regnamespace and proname = $1
			and string_to_array($2, ' ') <@ coalesce(proargnames, '{}'))`, name, names) {
			t.Errorf("a gateway that calls %s (%s) finds none", name, names)
		}
	}
}
