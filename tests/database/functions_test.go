package database_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/postern-auth/postern/gateway/localpg"
	"github.com/postern-auth/postern/sql"
	"github.com/postern-auth/postern/tests/pgtest"
)

// leastCoverage is what the pgTAP tests must reach in each file, in percent of statements.
const leastCoverage = 90

// checked is a migrated database on a server that has plpgsql_check loaded. There is no plpgsql_check for the newest
// PostgreSQL, so this is the newest server that has it, whatever POSTERN_TEST_PG_BIN says.
func checked(t *testing.T) (*localpg.Cluster, *pgx.Conn) {
	t.Helper()
	bin := ""
	for _, installation := range localpg.Installations() {
		if bin == "" && localpg.HasLibrary(installation.Dir, "plpgsql_check") {
			bin = installation.Dir
		}
	}
	if bin == "" {
		t.Fatal("no PostgreSQL on this machine has plpgsql_check: make tools")
	}
	dir, err := os.MkdirTemp("", "postern-checked-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // in the temporary folder anyway
	settings := pgtest.Settings(bin)
	settings["shared_preload_libraries"] = "plpgsql,plpgsql_check"
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cluster, err := localpg.Start(ctx, localpg.Options{Dir: dir, BinDir: bin, Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	run(t, pgtest.Connect(t, cluster.DSN("postgres", "postgres")), "create database checked")
	mustMigrate(t, cluster.DSN("postgres", "checked"), latest(t))
	conn := pgtest.Connect(t, cluster.DSN("postgres", "checked"))
	run(t, conn, "create extension plpgsql_check", "create extension pgtap")
	return cluster, conn
}

// ourFunctions are the PL/pgSQL functions of the package, with the table of each trigger that uses one.
const ourFunctions = `(select p.oid, p.proname, p.oid::regprocedure::text as signature, coalesce(t.tgrelid, 0) as relation,
	p.prorettype = 'trigger'::regtype and t.oid is null as unused
	from pg_proc p join pg_language l on l.oid = p.prolang and l.lanname = 'plpgsql'
	left join pg_trigger t on t.tgfoid = p.oid and not t.tgisinternal
	where p.pronamespace = 'postern'::regnamespace)`

func TestPLpgSQLCheckFindsNothing(t *testing.T) {
	t.Parallel()
	_, conn := checked(t)
	if unused := lines(t, conn, "select signature from "+ourFunctions+" f where unused"); len(unused) > 0 {
		t.Errorf("trigger functions without a trigger, which cannot be checked: %v", unused)
	}
	if n := ask[int](t, conn, "select count(*) from "+ourFunctions+" f"); n < 40 {
		t.Fatalf("only %d functions to check", n)
	}
	for _, finding := range lines(t, conn, `select concat_ws(' ', f.signature, 'line', c.lineno, c.level, c.sqlstate, c.message, c.detail, c.hint)
		from `+ourFunctions+` f, plpgsql_check_function_tb(f.oid, f.relation, other_warnings => true, extra_warnings => true,
			performance_warnings => true, security_warnings => true) c`) {
		t.Error(finding)
	}
}

func TestPgTAPReachesEveryFileOfThePackage(t *testing.T) {
	t.Parallel()
	cluster, conn := checked(t)
	tests, err := filepath.Glob("../sql/*.sql")
	if err != nil || len(tests) == 0 {
		t.Fatalf("no tests in tests/sql: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, test := range tests {
		psql := exec.CommandContext(ctx, "psql", "-XqAt", "-d", cluster.DSN("postgres", "checked"), "-f", test)
		psql.Env = append(os.Environ(), "PGOPTIONS=-c plpgsql_check.profiler=on")
		// What fails, make test-sql reports.
		if out, err := psql.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", test, err, out)
		}
	}

	// The handler is one text for all functions: hook_runs.sql and triggers.sql go through it.
	const beforeHandler = `s.lineno < coalesce(array_length(string_to_array(
		left(p.prosrc, nullif(strpos(p.prosrc, 'exception when others or assert_failure then'), 0)), E'\n'), 1), 2147483647)`
	files := filesOfFunctions(t)
	type count struct{ statements, reached int }
	counts, missed := map[string]count{}, map[string][]string{}
	rows, err := conn.Query(ctx, `select f.proname, f.signature, count(*)::int, (count(*) filter (where s.exec_stmts > 0))::int,
			coalesce(string_agg(distinct s.lineno::text, ',') filter (where coalesce(s.exec_stmts, 0) = 0), '')
		from `+ourFunctions+` f join pg_proc p on p.oid = f.oid, plpgsql_profiler_function_statements_tb(f.oid) s
		where s.lineno > 0 and `+beforeHandler+` group by f.proname, f.signature`)
	if err != nil {
		t.Fatal(err)
	}
	var name, signature, unreached string
	var statements, reached int
	_, err = pgx.ForEachRow(rows, []any{&name, &signature, &statements, &reached, &unreached}, func() error {
		file := files[name]
		c := counts[file]
		counts[file] = count{c.statements + statements, c.reached + reached}
		if unreached != "" {
			missed[file] = append(missed[file], signature[:strings.Index(signature, "(")]+" lines "+unreached)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var all count
	report := "statements of sql/postern that tests/sql reaches:\n"
	for _, file := range slices.Sorted(maps.Keys(counts)) {
		c := counts[file]
		all = count{all.statements + c.statements, all.reached + c.reached}
		percent := 100 * float64(c.reached) / float64(c.statements)
		report += fmt.Sprintf("%6.1f %%  %3d/%3d  %s  %s\n", percent, c.reached, c.statements, file, strings.Join(missed[file], "; "))
		if percent < leastCoverage {
			t.Errorf("%s: %.1f %% of the statements are reached, want %d %%: not %s", file, percent, leastCoverage, strings.Join(missed[file], "; "))
		}
	}
	t.Logf("%s%6.1f %%  %3d/%3d  all", report, 100*float64(all.reached)/float64(all.statements), all.reached, all.statements)
}

var functionName = regexp.MustCompile(`(?m)^create or replace function postern\.(\w+)`)

// filesOfFunctions tells in which file of the package a function stands.
func filesOfFunctions(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(sql.FS, "postern", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(sql.FS, path)
		for _, match := range functionName.FindAllSubmatch(body, -1) {
			files[string(match[1])] = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
