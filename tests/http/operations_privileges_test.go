package http_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/postern-auth/postern/tests/pgtest"
)

// asOwner is the database with the owner's DSN for the gateway.
func asOwner(db *pgtest.DB) *pgtest.DB {
	out := *db
	out.GatewayDSN = db.OwnerDSN
	return &out
}

func TestGatewayRoleReadsNoTableAndCallsNoHelper(t *testing.T) {
	t.Parallel()
	s := start(t)
	role := pgtest.Connect(t, s.db.GatewayDSN)
	tables := s.column(`select oid::regclass from pg_class where relkind in ('r', 'v', 'm', 'p', 'f')
		and relnamespace in (select oid from pg_namespace where nspname in ('auth', 'postern', 'public'))
		and relname not like 'pg_stat_statements%'`)
	if len(tables) < 25 {
		t.Fatalf("only %d tables", len(tables))
	}
	for _, table := range tables {
		for _, statement := range []string{
			"select from " + table, "delete from " + table, "insert into " + table + " default values", "truncate " + table,
		} {
			_, err := role.Exec(t.Context(), statement)
			denied(t, statement, err)
		}
	}
	for _, privilege := range []string{"select", "insert", "update", "delete", "truncate", "references", "trigger"} {
		if got := s.column(`select c.oid::regclass from pg_class c join pg_namespace n on n.oid = c.relnamespace
			where n.nspname = 'auth' and c.relkind = 'r' and (has_table_privilege('postern_gateway', c.oid, $1)
			or ($1 in ('select', 'insert', 'update', 'references') and has_any_column_privilege('postern_gateway', c.oid, $1)))`,
			privilege); len(got) > 0 {
			t.Errorf("privilege %s on %q", privilege, got)
		}
	}
	if got := s.column(`select p.oid::regprocedure from pg_proc p where pronamespace = 'postern'::regnamespace
		and p.proname like '\_%' and has_function_privilege('postern_gateway', p.oid, 'execute')`); len(got) > 0 {
		t.Errorf("may execute helpers: %q", got)
	}
	_, err := role.Exec(t.Context(), `select postern._error(400, 'a', 'b')`)
	denied(t, "calling a helper", err)
	for _, owned := range []string{`select postern.create_user(email => 'a@b')`, `select postern.clear_one_time_tokens()`, `select postern.anonymous()`} {
		_, err := role.Exec(t.Context(), owned)
		denied(t, owned, err)
	}
}

func TestGatewayRoleCannotRunDDL(t *testing.T) {
	t.Parallel()
	s := start(t)
	role := pgtest.Connect(t, s.db.GatewayDSN)
	owner := s.one(`select pg_get_userbyid(relowner) from pg_class where oid = 'auth.users'::regclass`)
	for _, statement := range []string{
		"create table auth.mine ()", "create table postern.mine ()", "create table public.mine ()", "create schema mine",
		"create function postern.mine() returns int language sql as 'select 1'", "alter table auth.users add column mine int",
		"drop function postern.schema_version()", "create or replace function postern.schema_version() returns int language sql as 'select 1'",
		"create role mine", "grant select on auth.users to postern_gateway", "create trigger mine before insert on auth.users execute function mine()",
		"alter role " + owner + " login", "set role " + owner, "set session authorization " + owner,
	} {
		_, err := role.Exec(t.Context(), statement)
		denied(t, statement, err)
	}
	if got := s.one(`select concat(rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls) from pg_roles
		where rolname = 'postern_gateway'`); strings.Contains(got, "t") {
		t.Errorf("superuser, createrole, createdb, replication, bypassrls: %s", got)
	}
	if got := s.column(`select roleid::regrole from pg_auth_members where member = 'postern_gateway'::regrole`); len(got) > 0 {
		t.Errorf("member of %q", got)
	}
}

// denied wants a statement to have failed for lack of rights.
func denied(t *testing.T, what string, err error) {
	t.Helper()
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || pg.Code != "42501" {
		t.Errorf("%s: %v, want a lack of rights", what, err)
	}
}

func TestOwnersDSNWorksAndWarns(t *testing.T) {
	t.Parallel()
	const warning = "this role can read auth.users"
	ordinary := start(t)
	if strings.Contains(ordinary.Log.String(), warning) {
		t.Error("postern_gateway is warned of")
	}
	s := startOn(t, asOwner(ordinary.db))
	if log := s.Log.String(); !strings.Contains(log, warning) || !strings.Contains(log, `"level":"WARN"`) || !strings.Contains(log, "postern_gateway") {
		t.Errorf("no warning: %s", log)
	}
	x := s.signUp("ada@example.com", goodPassword)
	s.get("/user", x.Access).want(http.StatusOK)
	s.put("/user", map[string]any{"data": map[string]any{"a": 1}}, x.Access).want(http.StatusOK)
	s.renew(x.Refresh).want(http.StatusOK)
	s.get("/admin/users", s.serviceRole()).want(http.StatusOK)
	s.post("/logout", nil, x.Access).want(http.StatusNoContent)
}

// TestGatewayNeverRunsDDL compares the catalog before and after a gateway has served every kind of request.
func TestGatewayNeverRunsDDL(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	count := func() (n int) {
		conn := pgtest.Connect(t, db.SuperDSN)
		if err := conn.QueryRow(context.Background(), `select (select count(*) from pg_class where oid >= 16384)
			+ (select count(*) from pg_proc where oid >= 16384) + (select count(*) from pg_attribute where attrelid >= 16384)`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	s := startOn(t, asOwner(db), "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true")
	x := s.post("/signup", map[string]any{}, "").want(http.StatusOK).session()
	s.renew(x.Refresh).want(http.StatusOK)
	s.post("/admin/users", map[string]any{"email": "b@example.com"}, s.serviceRole()).want(http.StatusOK)
	s.get("/admin/audit", s.serviceRole()).want(http.StatusOK)
	if after := count(); after != before {
		t.Errorf("the catalog had %d entries, now %d", before, after)
	}
}
