package database_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/postern-auth/postern/gateway/localpg"
	"github.com/postern-auth/postern/sql"
	"github.com/postern-auth/postern/tests/pgtest"
)

// Roles belong to a whole server, so that what their making does is tried on servers of their own.

func TestFourDatabasesOfOneFreshServerMigrateAtOnce(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Private(t, nil)
	super := pgtest.Connect(t, cluster.DSN("postgres", "postgres"))
	const databases = 4
	errs := make([]error, databases)
	var wg sync.WaitGroup
	for n := range databases {
		run(t, super, fmt.Sprintf("create database d%d", n))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for n := range databases {
		wg.Go(func() {
			errs[n] = migrateTo(ctx, cluster.DSN("postgres", fmt.Sprintf("d%d", n)), sql.FS, versionTable, latest(t))
		})
	}
	wg.Wait()
	var first map[string]bool
	for n, err := range errs {
		if err != nil {
			t.Fatalf("database %d: %s", n, explain(err))
		}
		conn := pgtest.Connect(t, cluster.DSN("postgres", fmt.Sprintf("d%d", n)))
		if first == nil {
			first = snapshot(t, conn)
		}
		same(t, "the first database, and another", first, snapshot(t, conn))
	}
	// The roles serve the other databases when one goes.
	mustMigrate(t, cluster.DSN("postgres", "d0"), 0)
	gateway := pgtest.Connect(t, cluster.DSN("postern_gateway", "d1"))
	if got := ask[int32](t, gateway, "select postern.schema_version()"); got != latest(t) {
		t.Errorf("version %d", got)
	}
}

func TestAnOrdinaryRoleMigratesWhenTheRolesWereMade(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Private(t, nil)
	super := pgtest.Connect(t, cluster.DSN("postgres", "postgres"))
	run(t, super,
		"create role anon nologin", "create role authenticated nologin", "create role service_role nologin bypassrls",
		"create role authenticator nologin noinherit in role anon, authenticated, service_role",
		"create role supabase_auth_admin nologin noinherit", "create role postern_gateway login",
		"alter role postern_gateway set statement_timeout = '10s'", "alter role postern_gateway set lock_timeout = '2s'",
		"create role app login", "grant supabase_auth_admin to app", "create database app owner app")
	dsn := cluster.DSN("app", "app")
	mustMigrate(t, dsn, latest(t))
	works(t, cluster, "app")
	conn := pgtest.Connect(t, dsn)
	if owner := ask[string](t, conn, "select tableowner from pg_tables where schemaname = 'auth' and tablename = 'users'"); owner != "app" {
		t.Errorf("auth.users belongs to %s", owner)
	}
	run(t, conn, "delete from auth.users")
	mustMigrate(t, dsn, 0)
	mustMigrate(t, dsn, latest(t))
}

// Whatever is not the migrating role's to do is refused with the commands for somebody who may; they are enough.
func TestAnOrdinaryRoleIsToldWhatASuperuserMustRun(t *testing.T) {
	t.Parallel()
	for role, attributes := range map[string]string{"plain": "login", "creator": "login createrole"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			cluster := pgtest.Private(t, nil)
			super := pgtest.Connect(t, cluster.DSN("postgres", "postgres"))
			run(t, super, "create role "+role+" "+attributes, "create database "+role)
			conn := pgtest.Connect(t, cluster.DSN("postgres", role))
			run(t, conn, "grant create on schema public to "+role)
			dsn := cluster.DSN(role, role)
			empty := snapshot(t, conn)
			run(t, super, commandsIn(t, dsn, "may not create schemas in database")...)
			run(t, super, commandsIn(t, dsn, "may not prepare the roles of the cluster")...)
			same(t, "after the refusals", empty, snapshot(t, conn))
			mustMigrate(t, dsn, latest(t))
			works(t, cluster, role)
		})
	}
}

// commandsIn is what a refused migration says to run as superuser.
func commandsIn(t *testing.T, dsn, reason string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := migrateTo(ctx, dsn, sql.FS, versionTable, latest(t))
	if err == nil {
		t.Fatalf("it is not refused: %s", reason)
	}
	text := explain(err)
	if !strings.Contains(text, reason) {
		t.Fatalf("refused, but not because the role %s: %s", reason, text)
	}
	_, commands, found := strings.Cut(text, "Run as superuser")
	_, commands, _ = strings.Cut(commands, ": ")
	commands, _, _ = strings.Cut(commands, "\n")
	if !found || commands == "" {
		t.Fatalf("no commands in: %s", text)
	}
	return strings.Split(strings.TrimSuffix(commands, ";"), "; ")
}

// works signs up, signs in and looks through a policy, on a database of a private server.
func works(t *testing.T, cluster *localpg.Cluster, database string) {
	t.Helper()
	super := pgtest.Connect(t, cluster.DSN("postgres", database))
	run(t, super, "update auth.settings set mailer_autoconfirm = true, jwt_default_group_name = 'authenticated'",
		"create table public.notes (user_id uuid, body text)", "alter table public.notes enable row level security",
		"grant select on public.notes to authenticated", "create policy own on public.notes using (user_id = auth.uid())")
	gateway := pgtest.Connect(t, cluster.DSN("postern_gateway", database))
	id := ask[string](t, gateway, "select postern.sign_up(email => 'ada@example.com', password_hash => 'h') #>> '{user,id}'")
	session := ask[string](t, gateway, `select postern.sign_in_with_password($1, 'email', true, encode(sha256('h'), 'hex')) #>> '{session,id}'`, id)
	if got := ask[string](t, gateway, "select postern.refresh_session($1, 0) #>> '{session,counter}'", session); got != "1" {
		t.Errorf("counter %s", got)
	}
	run(t, super, "insert into public.notes values ('"+id+"', 'mine'), (gen_random_uuid(), 'not mine')", "begin",
		"select postern.impersonate('ada@example.com')")
	if got := ask[string](t, super, "select string_agg(body, ',') from public.notes"); got != "mine" {
		t.Errorf("ada sees %q", got)
	}
	run(t, super, "rollback", "drop table public.notes")
}

// On a Supabase project nobody is a superuser; the owner of the tables migrates.
func TestSupabaseAuthAdminAdoptsItsOwnDatabase(t *testing.T) {
	t.Parallel()
	needsShared(t)
	cluster := pgtest.Private(t, nil)
	super := pgtest.Connect(t, cluster.DSN("postgres", "postgres"))
	run(t, super, "create database project")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dsn := cluster.DSN("postgres", "project")
	if err := restore(ctx, dsn); err != nil {
		t.Fatal(err)
	}
	conn := pgtest.Connect(t, dsn)
	run(t, conn, "grant create on database project to supabase_auth_admin",
		// What the image has, and a stand-alone server has not.
		"create role authenticator login noinherit in role anon, authenticated, service_role",
		"create role postern_gateway login", "alter role postern_gateway set statement_timeout = '10s'",
		"alter role postern_gateway set lock_timeout = '2s'")
	rows, catalog := contents(t, conn), snapshot(t, conn)
	const table = "auth.postern_version"
	owner := cluster.DSN("supabase_auth_admin", "project")
	if err := migrateTo(ctx, owner, sql.FS, table, latest(t)); err != nil {
		t.Fatal(explain(err))
	}
	same(t, "rows after up", rows, contents(t, conn))
	gateway := pgtest.Connect(t, cluster.DSN("postern_gateway", "project"))
	if got := ask[string](t, gateway, "select postern.find_password(email => 'ada@example.com', caller => postern.caller(audience => 'authenticated')) ->> 'user_id'"); got != "263b8ea4-19c9-401f-861a-1e8b5d64d9bb" {
		t.Errorf("ada is %s", got)
	}
	if err := migrateTo(ctx, owner, sql.FS, table, 0); err != nil {
		t.Fatal(explain(err))
	}
	same(t, "rows after down", rows, contents(t, conn))
	same(t, "catalog after down", catalog, snapshot(t, conn))
}

// Default privileges of a Supabase project hand out everything in public, and sometimes in auth.
func TestDefaultPrivilegesGiveNothingAway(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Private(t, nil)
	super := pgtest.Connect(t, cluster.DSN("postgres", "postgres"))
	run(t, super, "create role app login superuser", "create role anon", "create role authenticated", "create role service_role bypassrls",
		"create role postern_owner", "create database app")
	conn := pgtest.Connect(t, cluster.DSN("postgres", "app"))
	for _, role := range []string{"app", "postern_owner"} {
		run(t, conn,
			"alter default privileges for role "+role+" grant all on tables to public, anon, authenticated, service_role",
			"alter default privileges for role "+role+" grant all on sequences to anon, authenticated, service_role",
			"alter default privileges for role "+role+" grant all on functions to anon, authenticated, service_role",
			"alter default privileges for role "+role+" revoke execute on functions from public")
	}
	mustMigrate(t, cluster.DSN("app", "app"), latest(t))
	for _, query := range []string{
		`select distinct concat_ws(' ', r.rolname, c.oid::regclass, a.privilege_type)
			from pg_class c, aclexplode(c.relacl) a left join pg_roles r on r.oid = a.grantee
			where c.relnamespace in ('auth'::regnamespace, 'postern'::regnamespace)
				and (a.grantee = 0 or r.rolname in ('anon', 'authenticated', 'service_role', 'postern_gateway'))`,
		`select concat_ws(' ', r.rolname, p.oid::regprocedure)
			from pg_proc p, aclexplode(p.proacl) a left join pg_roles r on r.oid = a.grantee
			where p.pronamespace = 'postern'::regnamespace
				and (a.grantee = 0 or r.rolname in ('anon', 'authenticated', 'service_role'))`,
	} {
		if given := lines(t, conn, query); len(given) > 0 {
			t.Errorf("%d rights are given away, such as: %s", len(given), given[0])
		}
	}
	if !ask[bool](t, conn, "select has_function_privilege('anon', 'auth.uid()', 'execute')") {
		t.Error("auth.uid() is not for everybody")
	}
}
