package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
	tern "github.com/jackc/tern/v2/migrate"

	"github.com/postern-auth/postern/sql"
)

const (
	gatewayRole  = "postern_gateway"
	versionTable = "public.postern_version"
	// templateLock keeps test processes on one cluster from building templates at the same time.
	templateLock = 7_305_511
)

// template is a database that tests' databases are copied from.
type template struct {
	name  string
	owner string // role that owns auth.users, "" when there is no such table
}

// template finds or builds the template called key. Only one test builds at a time, in this process by the
// instance's mutex and among processes by an advisory lock.
func (s *Instance) template(key string, build func(context.Context, string) error) (template, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if tpl, ok := s.templates[key]; ok {
		return tpl, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url.String())
	if err != nil {
		return template{}, err
	}
	defer conn.Close(ctx) //nolint:errcheck // the lock goes with the connection
	if _, err := conn.Exec(ctx, "select pg_advisory_lock($1)", templateLock); err != nil {
		return template{}, err
	}
	sum := sha256.Sum256([]byte(key))
	tpl := template{name: "template_" + hex.EncodeToString(sum[:8])}
	var exists bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", tpl.name).Scan(&exists); err != nil {
		return template{}, err
	}
	if !exists {
		if err := s.build(ctx, conn, tpl.name, build); err != nil {
			return template{}, err
		}
	}
	if tpl.owner, err = ownerOf(ctx, s.DSN(tpl.name)); err != nil {
		return template{}, err
	}
	s.templates[key] = tpl
	return tpl, nil
}

// build fills a database under another name and renames it when complete, so that a failed or killed build leaves
// no half template.
func (s *Instance) build(ctx context.Context, conn *pgx.Conn, name string, fill func(context.Context, string) error) error {
	building := name + "_building"
	for _, stmt := range []string{
		"drop database if exists " + building + " with (force)",
		"create database " + building + " template template0",
	} {
		if _, err := conn.Exec(ctx, stmt); err != nil {
			return fmt.Errorf("%s: %w", stmt, err)
		}
	}
	if err := s.addStatistics(ctx, building); err != nil {
		return err
	}
	if err := fill(ctx, s.DSN(building)); err != nil {
		return err
	}
	if err := s.admitGateway(ctx); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, "alter database "+building+" rename to "+name)
	return err
}

// addStatistics creates pg_stat_statements where the server has it loaded.
func (s *Instance) addStatistics(ctx context.Context, database string) error {
	conn, err := pgx.Connect(ctx, s.DSN(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing pending
	var loaded string
	if err := conn.QueryRow(ctx, "show shared_preload_libraries").Scan(&loaded); err != nil {
		return err
	}
	if !strings.Contains(loaded, "pg_stat_statements") {
		return nil
	}
	_, err = conn.Exec(ctx, "create extension if not exists pg_stat_statements")
	return err
}

// admitGateway gives postern_gateway the superuser's password on a server that asks for one.
func (s *Instance) admitGateway(ctx context.Context) error {
	password, ok := s.url.User.Password()
	if !ok {
		return nil
	}
	conn, err := pgx.Connect(ctx, s.url.String())
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing pending
	var statement string
	err = conn.QueryRow(ctx, `select format('alter role %I password %L', rolname, $2::text) from pg_roles where rolname = $1`,
		gatewayRole, password).Scan(&statement)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return err
}

// ownerOf returns the owner of auth.users, or "".
func ownerOf(ctx context.Context, dsn string) (string, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing pending
	var owner string
	err = conn.QueryRow(ctx, `select pg_get_userbyid(relowner) from pg_class where oid = to_regclass('auth.users')`).Scan(&owner)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return owner, err
}

// MigrateURL runs the embedded migrations, the way `tern migrate` does.
func MigrateURL(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing pending
	migrator, err := tern.NewMigrator(ctx, conn, versionTable)
	if err != nil {
		return fmt.Errorf("version table: %w", err)
	}
	if err := migrator.LoadMigrations(sql.FS); err != nil {
		return fmt.Errorf("loading migrations: %w", err)
	}
	if err := migrator.Migrate(ctx); err != nil {
		return fmt.Errorf("migrating: %w%s", err, place(err))
	}
	return nil
}

// place shows the statement's line that PostgreSQL points at, which the bare message does not name.
func place(err error) string {
	var pgErr tern.MigrationPgError
	if !errors.As(err, &pgErr) {
		return ""
	}
	where := ""
	if pgErr.Position > 0 {
		if line, lineErr := tern.ExtractErrorLine(pgErr.Sql, int(pgErr.Position)); lineErr == nil {
			where = fmt.Sprintf("\nline %d: %s", line.LineNum, line.Text)
		}
	}
	for _, more := range []string{pgErr.Detail, pgErr.Hint, pgErr.Where} {
		if more != "" {
			where += "\n" + more
		}
	}
	return where
}

// migrationsHash names the state of sql/.
func migrationsHash() (string, error) {
	hash := sha256.New()
	err := fs.WalkDir(sql.FS, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(sql.FS, path)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(hash, "%s %d\n%s", path, len(body), body)
		return err
	})
	return hex.EncodeToString(hash.Sum(nil)[:8]), err
}
