package database_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	tern "github.com/jackc/tern/v2/migrate"

	"github.com/postern-auth/postern/sql"
	"github.com/postern-auth/postern/tests/pgtest"
)

// reinstall does what `tern code install sql` does.
func reinstall(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // everything is committed or not
	code, err := tern.LoadCodePackage(sql.FS)
	if err != nil {
		return err
	}
	return tern.InstallCodePackage(ctx, conn, map[string]any{}, code)
}

func mustReinstall(t *testing.T, dsn string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := reinstall(ctx, dsn); err != nil {
		t.Fatalf("installing the code package: %s", explain(err))
	}
}

func TestReinstallingTheCodePackageChangesNothing(t *testing.T) {
	t.Parallel()
	db, conn := installed(t)
	// A user's own, on all that is never dropped, and on what the package replaces.
	run(t, conn, "create table public.notes (user_id uuid default auth.uid(), body text)",
		"alter table public.notes enable row level security",
		"create policy own on public.notes using (user_id = auth.uid() and auth.role() = 'authenticated' and auth.jwt() is not null and auth.email() <> '')",
		"create view public.version as select postern.schema_version() as v",
		"create role developer_"+db.Name, "grant execute on function postern.impersonate(text) to developer_"+db.Name)
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), db.SuperDSN)
		if err == nil {
			_, err = conn.Exec(context.Background(), "drop owned by developer_"+db.Name+"; drop role developer_"+db.Name)
			_ = conn.Close(context.Background()) // nothing pending
		}
		if err != nil {
			t.Error(err)
		}
	})
	before := snapshot(t, conn)
	oid := ask[uint32](t, conn, "select 'auth.uid()'::regprocedure::oid::bigint")
	mustReinstall(t, db.SuperDSN)
	mustReinstall(t, db.SuperDSN)
	same(t, "after the reinstall", before, snapshot(t, conn))
	if again := ask[uint32](t, conn, "select 'auth.uid()'::regprocedure::oid::bigint"); again != oid {
		t.Error("auth.uid() was made anew")
	}
	gateway := pgtest.Connect(t, db.GatewayDSN)
	if got := ask[int32](t, gateway, "select postern.schema_version()"); got != latest(t) {
		t.Errorf("version %d", got)
	}
}

func TestReinstallDropsFunctionsThatLeftThePackage(t *testing.T) {
	t.Parallel()
	db, conn := installed(t)
	before := snapshot(t, conn)
	owner := ask[string](t, conn, "select quote_ident(pg_get_userbyid(nspowner)) from pg_namespace where nspname = 'postern'")
	run(t, conn, "set role "+owner,
		"create function postern.left_long_ago() returns int language sql as 'select 1'",
		"create function postern.sign_up(old_argument text) returns int language sql as 'select 1'",
		"create function postern._helper_of_old(a int default 1, b text[] default '{}') returns int language sql as 'select 1'",
		"reset role")
	mustReinstall(t, db.SuperDSN)
	same(t, "after the reinstall", before, snapshot(t, conn))
}

func TestReinstallNamesWhoDependsOnADroppedFunction(t *testing.T) {
	t.Parallel()
	db, conn := installed(t)
	owner := ask[string](t, conn, "select quote_ident(pg_get_userbyid(nspowner)) from pg_namespace where nspname = 'postern'")
	run(t, conn, "set role "+owner, "create function postern.left_long_ago() returns boolean language sql as 'select true'", "reset role",
		"create table public.notes (body text)", `create policy "by an old function" on public.notes using (postern.left_long_ago())`)
	before := snapshot(t, conn)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	pgErr, ok := errors.AsType[*pgconn.PgError](reinstall(ctx, db.SuperDSN))
	if !ok || pgErr.Code != "2BP01" || !strings.Contains(pgErr.Message+pgErr.Detail, "by an old function") {
		t.Fatalf("the error does not name the policy: %v", pgErr)
	}
	same(t, "after the refusal", before, snapshot(t, conn))
}

func TestReinstallsAtOnceSettle(t *testing.T) {
	t.Parallel()
	db, conn := installed(t)
	before := snapshot(t, conn)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	errs := make([]error, 3)
	var wg sync.WaitGroup
	for n := range errs {
		wg.Go(func() { errs[n] = reinstall(ctx, db.SuperDSN) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(explain(err))
	}
	same(t, "after the reinstalls", before, snapshot(t, conn))
}

// Requests go on while functions are replaced.
func TestReinstallUnderUse(t *testing.T) {
	t.Parallel()
	db, conn := installed(t)
	run(t, conn, "update auth.settings set external_anonymous_users_enabled = true")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stop := make(chan struct{})
	failed := make(chan error, 1)
	gateway := pgtest.Connect(t, db.GatewayDSN)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			var refusal *string
			if err := gateway.QueryRow(ctx, "select postern.sign_up_anonymously() #>> '{error,cause}'").Scan(&refusal); err != nil || refusal != nil {
				failed <- errors.Join(err, errors.New("a request failed"))
				return
			}
		}
	})
	for range 3 {
		mustReinstall(t, db.SuperDSN)
	}
	close(stop)
	wg.Wait()
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
}
