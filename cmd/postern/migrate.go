package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	tern "github.com/jackc/tern/v2/migrate"
	"github.com/urfave/cli/v2"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/sql"
)

const (
	publicVersionTable = "public.postern_version"
	authVersionTable   = "auth.postern_version"

	// oldestSchema is the first version with functions: down to it is a rollback, which keeps accounts; below it is a removal.
	oldestSchema = 17
)

func migrateCommand(environ []string) *cli.Command {
	return &cli.Command{
		Name:  "migrate",
		Usage: "bring a database to the schema of this release",
		Description: "Runs the tern migrations that are embedded in this binary, the same files as `tern migrate -m sql`.\n" +
			"DATABASE_URL names the database, as a role that may CREATE in it and CREATEROLE (or with the roles made\n" +
			"beforehand); it must be a direct connection, not a pooler in transaction mode. A database that Supabase\n" +
			"Auth made is adopted in place. An interrupted run can be repeated.",
		UsageText: "postern migrate\npostern migrate --check    # only say whether something is to do: exit status 1 if so\n" +
			"postern migrate --to 17     # back to the schema of an earlier release, whose functions are then to be installed\n" +
			"postern migrate --to 0      # remove Postern (refused while there are users of its own)",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "check", Usage: "change nothing; exit status 1 unless the schema is that of this release"},
			&cli.IntFlag{Name: "to", Value: -1, DefaultText: "newest", Usage: "migrate up or down to this `VERSION`"},
		},
		Action: func(c *cli.Context) error {
			url, err := config.DatabaseURL(environ)
			if err != nil {
				return err
			}
			if c.IsSet("to") && c.Int("to") < 0 {
				return fmt.Errorf("--to: %d is not a schema version", c.Int("to"))
			}
			if c.Bool("check") {
				return migrateCheck(c.Context, url.Reveal(), c.App.Writer)
			}
			return migrateTo(c.Context, url.Reveal(), c.Int("to"), c.App.Writer)
		},
	}
}

// migrateUp brings the database that dsn names to the newest version and tells stdout about each step.
func migrateUp(ctx context.Context, dsn string, stdout io.Writer) error {
	return migrateTo(ctx, dsn, -1, stdout)
}

// migrateTo migrates to a version, -1 for the newest.
func migrateTo(ctx context.Context, dsn string, target int, stdout io.Writer) error {
	return withMigrator(ctx, dsn, target >= oldestSchema, func(migrator *tern.Migrator) error {
		if target < 0 {
			target = len(migrator.Migrations)
		}
		migrator.OnStart = func(sequence int32, name, direction, _ string) {
			_, _ = fmt.Fprintf(stdout, "%s %s\n", direction, name)
		}
		if err := migrator.MigrateTo(ctx, int32(target)); err != nil { //nolint:gosec // G115: a handful of migrations
			return explainMigration(err)
		}
		_, err := fmt.Fprintf(stdout, "schema version %d\n", target)
		return err
	})
}

// migrateCheck compares versions and changes nothing, not even by making a version table.
func migrateCheck(ctx context.Context, dsn string, stdout io.Writer) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return explainConnection(err)
	}
	defer conn.Close(ctx) //nolint:errcheck // only read
	current, err := currentVersion(ctx, conn)
	if err != nil {
		return err
	}
	newest, err := latestMigration()
	switch {
	case err != nil:
		return err
	case current < newest:
		return fmt.Errorf("the database is at schema version %d, this release has %d: run `postern migrate` or `tern migrate -m sql`", current, newest)
	case current > newest:
		return fmt.Errorf("the database is at schema version %d, newer than this release's %d: use a newer release", current, newest)
	}
	_, err = fmt.Fprintf(stdout, "schema version %d, nothing to do\n", current)
	return err
}

// currentVersion reads the version where it is kept; 0 where Postern was never installed.
func currentVersion(ctx context.Context, conn *pgx.Conn) (version int, err error) {
	for _, table := range []string{publicVersionTable, authVersionTable} {
		var exists bool
		if err := conn.QueryRow(ctx, `select to_regclass($1) is not null`, table).Scan(&exists); err != nil {
			return 0, fmt.Errorf("looking for the version table: %w", err)
		}
		if !exists {
			continue
		}
		if err := conn.QueryRow(ctx, `select coalesce(max(version), 0) from `+table).Scan(&version); err != nil {
			return 0, explainMigration(err)
		}
		return version, nil
	}
	return 0, nil
}

// withMigrator lends a migrator. Migrating down as a rollback keeps accounts and functions.
func withMigrator(ctx context.Context, dsn string, rollback bool, do func(*tern.Migrator) error) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return explainConnection(err)
	}
	defer conn.Close(ctx) //nolint:errcheck // everything is committed or not
	table, err := versionTable(ctx, conn)
	if err != nil {
		return err
	}
	migrator, err := tern.NewMigrator(ctx, conn, table)
	if err != nil {
		return explainMigration(err)
	}
	migrator.Data["rollback"] = rollback
	if err := migrator.LoadMigrations(sql.FS); err != nil {
		return fmt.Errorf("reading the embedded migrations: %w", err)
	}
	return do(migrator)
}

// versionTable finds where this database keeps its version: where it is, else in public if we may create there, else in
// schema auth, which is made if need be (DESIGN, Migrations).
func versionTable(ctx context.Context, conn *pgx.Conn) (string, error) {
	var inPublic, inAuth, mayCreate bool
	err := conn.QueryRow(ctx, `select to_regclass($1) is not null, to_regclass($2) is not null,
		coalesce((select has_schema_privilege(oid, 'create') from pg_namespace where nspname = 'public'), false)`,
		publicVersionTable, authVersionTable).Scan(&inPublic, &inAuth, &mayCreate)
	switch {
	case err != nil:
		return "", fmt.Errorf("looking for the version table: %w", err)
	case inPublic:
		return publicVersionTable, nil
	case inAuth:
		return authVersionTable, nil
	case mayCreate:
		return publicVersionTable, nil
	}
	// Asked first: "if not exists" would still need CREATE on the database.
	_, err = conn.Exec(ctx, `do $$ begin
		if to_regnamespace('auth') is null then
			create schema auth;
		end if;
	exception when duplicate_schema or unique_violation then
		null; -- another migration was faster
	end $$`)
	if err != nil {
		return "", fmt.Errorf("creating schema auth: %w", err)
	}
	return authVersionTable, nil
}

// latestMigration is the number of the last embedded migration.
func latestMigration() (int, error) {
	names, err := tern.FindMigrations(sql.FS)
	if err != nil {
		return 0, fmt.Errorf("reading the embedded migrations: %w", err)
	}
	return len(names), nil
}

// explainMigration puts what PostgreSQL said beyond the message into the error.
func explainMigration(err error) error {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return fmt.Errorf("migrating: %w", err)
	}
	lines := []string{"migrating: " + pg.Message + " (SQLSTATE " + pg.Code + ")"}
	for _, line := range []string{pg.Detail, pg.Hint} {
		if line != "" {
			lines = append(lines, line)
		}
	}
	return errors.New(strings.Join(lines, "\n"))
}

// explainConnection says why the database could not be reached, without its address, which holds the password.
func explainConnection(err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fmt.Errorf("DATABASE_URL: %s", pg.Message)
	}
	if _, ok := errors.AsType[*pgconn.ParseConfigError](err); ok {
		return errors.New("DATABASE_URL: not a PostgreSQL connection URL")
	}
	if connect, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		err = connect.Unwrap()
	}
	return errors.New("DATABASE_URL: the database cannot be reached: " + strings.ReplaceAll(err.Error(), "\n", "; "))
}
