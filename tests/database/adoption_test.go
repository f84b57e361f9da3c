package database_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/postern-auth/postern/tests/pgtest"
)

// restored is a copy of the database that Supabase Auth 2.196 left behind.
func restored(t testing.TB) *pgtest.DB {
	t.Helper()
	needsShared(t)
	dump, err := os.ReadFile(fixtureDump)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(dump)
	return pgtest.From(t, "database-fixture-"+hex.EncodeToString(sum[:8]), restore)
}

// restore makes the roles that the fixture's README names, which belong to the whole server, and reads the dump in.
func restore(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing pending
	for _, role := range []string{
		"supabase_admin login createrole createdb replication bypassrls", "supabase_auth_admin noinherit createrole login",
		"anon", "authenticated", "service_role bypassrls",
	} {
		// Tests of other packages make them too.
		if _, err := conn.Exec(ctx, "do $$ begin create role "+role+
			"; exception when duplicate_object or unique_violation then null; end $$"); err != nil {
			return fmt.Errorf("role %s: %w", role, err)
		}
	}
	out, err := exec.CommandContext(ctx, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-f", fixtureDump).CombinedOutput()
	if err != nil {
		return fmt.Errorf("psql: %w: %s", err, out)
	}
	return nil
}

// contents is every row of the tables that Supabase Auth and the user made, without columns of ours, and without what is stored of
// mailed codes and links, which adoption hashes once more (DESIGN 8).
func contents(t testing.TB, conn *pgx.Conn) map[string]bool {
	t.Helper()
	rows := map[string]bool{}
	for _, table := range lines(t, conn, `select c.oid::regclass::text from pg_class c
		where c.relkind = 'r' and c.relnamespace in ('auth'::regnamespace, 'public'::regnamespace)
			and c.relname !~ 'postern_version$' and not (c.relnamespace = 'auth'::regnamespace and c.relname in `+ours+`)`) {
		n := 0
		for _, row := range lines(t, conn, "select (to_jsonb(t) - '{counter,token_hash,confirmation_token,recovery_token,email_change_token_new,email_change_token_current,phone_change_token,reauthentication_token}'::text[])::text || ' ' || row_number() over (partition by t::text) from "+table+" t") {
			rows[table+" "+row] = true
			n++
		}
		rows[fmt.Sprintf("%s has %d rows", table, n)] = true
	}
	// The next token's id.
	rows["sequence "+ask[string](t, conn, "select last_value || ' ' || is_called from auth.refresh_tokens_id_seq")] = true
	return rows
}

func TestAdoptionKeepsEveryRowAndDownGivesThemBack(t *testing.T) {
	t.Parallel()
	db := restored(t)
	conn := pgtest.Connect(t, db.SuperDSN)
	rows, catalog := contents(t, conn), snapshot(t, conn)
	if len(rows) < 120 {
		t.Fatalf("the fixture has %d rows", len(rows))
	}

	mustMigrate(t, db.SuperDSN, latest(t))
	same(t, "rows after up", rows, contents(t, conn))
	up := snapshot(t, conn)
	for fact := range catalog {
		if !up[fact] && !changedByAdoption[fact] {
			t.Errorf("up took away: %s", fact)
		}
	}
	if !ask[bool](t, conn, "select (postern.get_settings() ->> 'adopted')::boolean") {
		t.Error("get_settings does not say that the database was adopted")
	}

	mustMigrate(t, db.SuperDSN, 0)
	same(t, "rows after down", rows, contents(t, conn))
	same(t, "catalog after down", catalog, snapshot(t, conn))

	mustMigrate(t, db.SuperDSN, latest(t))
	same(t, "rows after up again", rows, contents(t, conn))
	same(t, "catalog after up again", up, snapshot(t, conn))
}

// changedByAdoption are the facts of Supabase Auth's catalog that change while Postern is installed.
var changedByAdoption = map[string]bool{
	// Every refresh would write to all indexes of the table (013).
	"index CREATE INDEX refresh_tokens_updated_at_idx ON auth.refresh_tokens USING btree (updated_at DESC) t": true,
	// No query uses them (022).
	"index CREATE INDEX audit_logs_instance_id_idx ON auth.audit_log_entries USING btree (instance_id) t":                   true,
	"index CREATE INDEX refresh_tokens_instance_id_idx ON auth.refresh_tokens USING btree (instance_id) t":                  true,
	"index CREATE INDEX refresh_tokens_instance_id_user_id_idx ON auth.refresh_tokens USING btree (instance_id, user_id) t": true,
	"index CREATE INDEX refresh_tokens_parent_idx ON auth.refresh_tokens USING btree (parent) t":                            true,
	"index CREATE INDEX sessions_user_id_idx ON auth.sessions USING btree (user_id) t":                                      true,
	"index CREATE INDEX users_instance_id_idx ON auth.users USING btree (instance_id) t":                                    true,
	// Room for updates in place (012): fillfactor.
	"relation auth.users of supabase_auth_admin r p t f " + usersComment:                  true,
	"relation auth.sessions of supabase_auth_admin r p t f " + sessionsComment:            true,
	"relation auth.refresh_tokens of supabase_auth_admin r p t f " + refreshTokensComment: true,
}

// Comments of Supabase Auth.
const (
	usersComment         = "Auth: Stores user login data within a secure schema."
	sessionsComment      = "Auth: Stores session data associated to a user."
	refreshTokensComment = "Auth: Store of tokens used to refresh JWT tokens once they expire."
)

func TestAdoptedTriggerAndPolicyGoOnWorking(t *testing.T) {
	t.Parallel()
	db := restored(t)
	mustMigrate(t, db.SuperDSN, latest(t))
	conn := pgtest.Connect(t, db.SuperDSN)
	run(t, conn, "update auth.settings set mailer_autoconfirm = true, jwt_aud = 'authenticated', jwt_default_group_name = 'authenticated'")
	gateway := pgtest.Connect(t, db.GatewayDSN)
	id := ask[string](t, gateway, "select postern.sign_up(email => 'new@example.com', password_hash => 'h') #>> '{user,id}'")
	if got := ask[string](t, conn, "select email from public.profiles where id = $1", id); got != "new@example.com" {
		t.Errorf("handle_new_user wrote %q", got)
	}
	for _, email := range []string{"ada@example.com", "new@example.com"} {
		run(t, conn, "begin", "select postern.impersonate('"+email+"')")
		if got := ask[string](t, conn, "select string_agg(email, ',') from public.profiles"); got != email {
			t.Errorf("%s sees the profiles of %s", email, got)
		}
		run(t, conn, "rollback")
	}
}

// Rows that Postern wrote stay too, so that Supabase Auth can go on with them.
func TestDownAfterUseKeepsNewAccountsAndSessions(t *testing.T) {
	t.Parallel()
	db := restored(t)
	mustMigrate(t, db.SuperDSN, latest(t))
	conn := pgtest.Connect(t, db.SuperDSN)
	run(t, conn, "update auth.settings set external_anonymous_users_enabled = true", "select postern.sign_up_anonymously()",
		"select postern.refresh_session(id, 0) from auth.sessions where refreshed_at is null and refresh_token_hmac_key is null")
	rows := contents(t, conn)
	mustMigrate(t, db.SuperDSN, 0)
	same(t, "rows after down", rows, contents(t, conn))
	if got := ask[int](t, conn, "select count(*) from auth.users where null in (confirmation_token, recovery_token, email_change, email_change_token_new, aud, role)"); got != 0 {
		t.Errorf("%d accounts that Supabase Auth cannot read", got)
	}
}

func TestAdoptionInterruptedAtEachMigrationAndRunAgain(t *testing.T) {
	t.Parallel()
	db := restored(t)
	conn := pgtest.Connect(t, db.SuperDSN)
	rows, catalog := contents(t, conn), snapshot(t, conn)
	interruptEach(t, db, 1)
	same(t, "rows", rows, contents(t, conn))
	mustMigrate(t, db.SuperDSN, 0)
	same(t, "catalog after down", catalog, snapshot(t, conn))
}

// Only what Supabase Auth 2.196 made is adopted; anything else is refused by name and left as it is.
func TestAdoptionIsRefusedByName(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change string
		words  []string
	}{
		"a column is missing":      {"alter table auth.users drop column is_anonymous", []string{"column auth.users.is_anonymous is missing", "2.196"}},
		"a column of another type": {"alter table auth.sessions alter column tag type varchar(10)", []string{"column auth.sessions.tag is character varying, not text"}},
		"a table is missing":       {"drop table auth.webauthn_challenges", []string{"auth.webauthn_challenges"}},
		"a label is missing":       {"alter type auth.aal_level rename value 'aal3' to 'aal4'", []string{"type auth.aal_level lacks 'aal3'"}},
		"an older release":         {"delete from auth.schema_migrations where version = '20260302000000'", []string{"auth.schema_migrations lacks 20260302000000", "Start Supabase Auth 2.196"}},
		"a newer release":          {"insert into auth.schema_migrations values ('20270101000000')", []string{"after 2.196", "20270101000000"}},
		"somebody else's table": {"alter table auth.sessions owner to supabase_admin", []string{
			"auth.sessions belongs to supabase_admin", "alter table auth.sessions owner to supabase_auth_admin",
		}},
		"schema postern exists": {"create schema postern", []string{"schema postern exists already"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := restored(t)
			conn := pgtest.Connect(t, db.SuperDSN)
			run(t, conn, c.change)
			rows, catalog := contents(t, conn), snapshot(t, conn)
			refused(t, db.SuperDSN, latest(t), c.words...)
			same(t, "rows", rows, contents(t, conn))
			same(t, "catalog", catalog, snapshot(t, conn))
		})
	}
}

// What a Supabase project has besides: a wider version column, grants to other roles, an index of its own, a fillfactor.
func TestAdoptionOfAProjectWithItsOwnTouches(t *testing.T) {
	t.Parallel()
	db := restored(t)
	conn := pgtest.Connect(t, db.SuperDSN)
	run(t, conn,
		"alter table auth.schema_migrations alter column version type varchar(255)",
		"grant all on auth.users to service_role", "grant select on auth.sessions to authenticated",
		"create index idx_users_email on auth.users (email)",
		"alter table auth.sessions set (fillfactor = 55)",
		"drop index auth.refresh_tokens_updated_at_idx",
		"create table auth.notes (body text)", "insert into auth.notes values ('mine')",
		"drop function auth.jwt()",
		"create function auth.mine() returns int language sql as 'select 1'",
		"create policy own on auth.mfa_factors for select to authenticated using (user_id = auth.uid())",
		"create trigger on_user_updated after update on auth.users for each row execute function public.handle_new_user()")
	rows, catalog := contents(t, conn), snapshot(t, conn)
	mustMigrate(t, db.SuperDSN, latest(t))
	same(t, "rows after up", rows, contents(t, conn))
	up := snapshot(t, conn)
	for _, fact := range []string{"policy auth mfa_factors own", "trigger CREATE TRIGGER on_user_updated", "index CREATE INDEX idx_users_email"} {
		if !hasPrefix(up, fact) {
			t.Errorf("up took away: %s", fact)
		}
	}
	if !hasPrefix(up, "function auth.jwt()") {
		t.Error("auth.jwt() was missing, and is still")
	}
	mustMigrate(t, db.SuperDSN, 0)
	same(t, "rows after down", rows, contents(t, conn))
	same(t, "catalog after down", catalog, snapshot(t, conn))
}
