// Package database_test proves what the migrations in sql/ promise: the catalog against the contract, up and down, who
// may migrate, adoption of a database that Supabase Auth made, and the code package.
package database_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	tern "github.com/jackc/tern/v2/migrate"

	"github.com/postern-auth/postern/sql"
	"github.com/postern-auth/postern/tests/pgtest"
)

const (
	versionTable = "public.postern_version"
	// patience bounds whatever a test waits for.
	patience = time.Minute
)

// ask answers a query for one value.
func ask[T any](t testing.TB, conn *pgx.Conn, query string, args ...any) T {
	t.Helper()
	var answer T
	if err := conn.QueryRow(t.Context(), query, args...).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return answer
}

// run executes statements that must succeed.
func run(t testing.TB, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// lines answers a query for one column of text.
func lines(t testing.TB, conn *pgx.Conn, query string, args ...any) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return found
}

// latest is the number of the last migration.
func latest(t testing.TB) int32 {
	t.Helper()
	names, err := tern.FindMigrations(sql.FS)
	if err != nil {
		t.Fatal(err)
	}
	return int32(len(names)) //nolint:gosec // a handful
}

// migrateTo migrates to a version with files (sql.FS unless a test has changed some) and returns what went wrong.
func migrateTo(ctx context.Context, dsn string, files fs.FS, table string, target int32) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // everything is committed or not
	migrator, err := tern.NewMigrator(ctx, conn, table)
	if err != nil {
		return err
	}
	if err := migrator.LoadMigrations(files); err != nil {
		return err
	}
	return migrator.MigrateTo(ctx, target)
}

// mustMigrate migrates to a version.
func mustMigrate(t testing.TB, dsn string, target int32) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := migrateTo(ctx, dsn, sql.FS, versionTable, target); err != nil {
		t.Fatalf("migrating to %d: %s", target, explain(err))
	}
}

// refused migrates to a version and expects an error that has all of words in it.
func refused(t testing.TB, dsn string, target int32, words ...string) {
	t.Helper()
	refusedWith(t, dsn, versionTable, target, words...)
}

func refusedWith(t testing.TB, dsn, table string, target int32, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := migrateTo(ctx, dsn, sql.FS, table, target)
	if err == nil {
		t.Fatalf("migrating to %d is not refused", target)
	}
	for _, word := range words {
		if !strings.Contains(explain(err), word) {
			t.Errorf("the refusal lacks %q: %s", word, explain(err))
		}
	}
}

// explain adds what PostgreSQL said beyond its message.
func explain(err error) string {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fmt.Sprintf("%s (%s)\ndetail: %s\nhint: %s", pgErr.Message, pgErr.Code, pgErr.Detail, pgErr.Hint)
	}
	return err.Error()
}

// installed is a migrated database with the superuser's connection to it.
func installed(t testing.TB) (*pgtest.DB, *pgx.Conn) {
	t.Helper()
	db := pgtest.New(t)
	return db, pgtest.Connect(t, db.SuperDSN)
}

func itoa(n int) string { return strconv.Itoa(n) }

// waitFor asks until the answer is yes.
func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
