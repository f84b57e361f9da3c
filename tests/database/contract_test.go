package database_test

import (
	"encoding/csv"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/postern-auth/postern/tests/pgtest"
)

// Files beside the repository. Where the folder is not there, as in a clone that somebody made elsewhere, make test says what is left
// out; where it is, nothing here may be skipped.
const (
	sharedDir   = "../../../shared"
	contractDir = "../../../shared/contract/schema"
	fixtureDump = "../../../shared/fixtures/supabase-auth-2.196.sql"
)

// comparison is one of the contract's files beside the same from the catalog. A fact is a line of the file.
type comparison struct {
	file  string
	query string // one column of text, the facts in the form that fact gives them
	fact  func([]string) string
	// extra and missing are the intended differences: what the catalog has that the file has not, and the other way
	// round, each with its reason.
	extra, missing map[string]string
}

// ours are the tables that Supabase Auth does not have.
const ours = `('settings', 'rate_limits', 'adoption', 'outbox', 'hook_runs', 'disposable_domains', 'cleanup_positions')`

func join(fields []string) string { return strings.Join(fields, " | ") }

// ownerless writes the owner, who is somebody else here, as OWNER.
func ownerless(fields []string) string {
	owner := fields[4]
	if fields[1] == owner {
		fields[1] = "OWNER"
	}
	return join(fields[:4])
}

// comparisons are all files but columns.csv, whose ordinals need more than a comparison.
var comparisons = []comparison{
	{
		file: "columns.csv",
		query: `select concat_ws(' | ', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), left(a.attnotnull::text, 1),
				case when a.attgenerated = '' then coalesce(pg_get_expr(d.adbin, d.adrelid), '') else '' end,
				case when a.attgenerated <> '' then pg_get_expr(d.adbin, d.adrelid) else '' end)
			from pg_class c
			join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
			left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
			where c.relnamespace = 'auth'::regnamespace and c.relkind = 'r' and c.relname not in ` + ours,
		fact: func(f []string) string { return join(append([]string{f[0]}, f[2:]...)) },
		extra: map[string]string{
			"refresh_tokens | counter | bigint | t | 0 | ": "generation of the session's live token (DESIGN 7)",
		},
	},
	{
		file: "constraints.csv",
		query: `select concat_ws(' | ', c.relname, n.conname,
				case n.contype when 'p' then 'primary key' when 'f' then 'foreign key' when 'c' then 'check' when 'u' then 'unique' else n.contype::text end,
				pg_get_constraintdef(n.oid))
			from pg_constraint n join pg_class c on c.oid = n.conrelid
			-- PostgreSQL 18 lists not null, which columns.csv has, as constraints too.
			where n.connamespace = 'auth'::regnamespace and n.contype <> 'n' and c.relname not in ` + ours,
		fact: join,
	},
	{
		file: "indexes.csv",
		query: `select concat_ws(' | ', tablename, indexname, indexdef) from pg_indexes
			where schemaname = 'auth' and tablename not in ` + ours,
		fact: join,
		missing: map[string]string{
			"refresh_tokens | refresh_tokens_updated_at_idx | CREATE INDEX refresh_tokens_updated_at_idx ON auth.refresh_tokens USING btree (updated_at DESC)":                        "every refresh would write to all indexes; only Supabase Auth's clean-up uses it (013)",
			"audit_log_entries | audit_logs_instance_id_idx | CREATE INDEX audit_logs_instance_id_idx ON auth.audit_log_entries USING btree (instance_id)":                            "all rows have the same (022)",
			"refresh_tokens | refresh_tokens_instance_id_idx | CREATE INDEX refresh_tokens_instance_id_idx ON auth.refresh_tokens USING btree (instance_id)":                          "all rows have the same (022)",
			"refresh_tokens | refresh_tokens_instance_id_user_id_idx | CREATE INDEX refresh_tokens_instance_id_user_id_idx ON auth.refresh_tokens USING btree (instance_id, user_id)": "tokens are looked for within their session (022)",
			"refresh_tokens | refresh_tokens_parent_idx | CREATE INDEX refresh_tokens_parent_idx ON auth.refresh_tokens USING btree (parent)":                                         "parents are looked for within their session (022)",
			"sessions | sessions_user_id_idx | CREATE INDEX sessions_user_id_idx ON auth.sessions USING btree (user_id)":                                                              "user_id_created_at_idx finds by user_id too (022)",
			"users | users_instance_id_idx | CREATE INDEX users_instance_id_idx ON auth.users USING btree (instance_id)":                                                              "all rows have the same (022)",
		},
		extra: map[string]string{
			"mfa_challenges | mfa_challenges_factor_id_idx | CREATE INDEX mfa_challenges_factor_id_idx ON auth.mfa_challenges USING btree (factor_id)":                              "removing a factor would read all challenges (021)",
			"users | users_capital_email_idx | CREATE INDEX users_capital_email_idx ON auth.users USING btree (lower((email)::text)) WHERE ((email)::text <> lower((email)::text))": "addresses are looked for as they are stored now, in lower case, and then in it (018)",
			"users | users_phone_change_idx | CREATE INDEX users_phone_change_idx ON auth.users USING btree (phone_change) WHERE (phone_change <> ''::text)":                        "a code for a new number finds its account by it (018)",
		},
	},
	{
		file: "types.csv",
		query: `select concat_ws(' | ', t.typname, string_agg(e.enumlabel, '|' order by e.enumsortorder))
			from pg_type t join pg_enum e on e.enumtypid = t.oid where t.typnamespace = 'auth'::regnamespace group by t.oid, t.typname`,
		fact: join,
	},
	{
		file: "functions.csv",
		query: `select concat_ws(' | ', p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), l.lanname,
				case p.provolatile when 's' then 'stable' when 'i' then 'immutable' else 'volatile' end)
			from pg_proc p join pg_language l on l.oid = p.prolang where p.pronamespace = 'auth'::regnamespace`,
		fact: join,
	},
	{
		file: "grants.csv",
		query: `with objects as (
				select 'table auth.' || relname as name, relowner as owner, coalesce(relacl, acldefault('r', relowner)) as acl
				from pg_class where relnamespace = 'auth'::regnamespace and relkind = 'r' and relname not in ` + ours + `
				union all
				select 'sequence auth.' || relname, relowner, coalesce(relacl, acldefault('s', relowner))
				from pg_class where relnamespace = 'auth'::regnamespace and relkind = 'S'
				union all
				select 'function ' || oid::regprocedure, proowner, coalesce(proacl, acldefault('f', proowner))
				from pg_proc where pronamespace = 'auth'::regnamespace
				union all
				select 'schema auth', nspowner, coalesce(nspacl, acldefault('n', nspowner)) from pg_namespace where nspname = 'auth')
			select concat_ws(' | ', o.name,
				case when a.grantee = 0 then 'PUBLIC' when a.grantee = o.owner then 'OWNER' else a.grantee::regrole::text end,
				a.privilege_type, left(a.is_grantable::text, 1))
			from objects o, aclexplode(o.acl) a
			-- A privilege that PostgreSQL has since 17, which the owner has like all others.
			where not (a.privilege_type = 'MAINTAIN' and a.grantee = o.owner)`,
		fact: ownerless,
		extra: map[string]string{
			"schema auth | anon | USAGE | f":          "auth.uid() in policies (contract schema.md 4); a Supabase project has it",
			"schema auth | authenticated | USAGE | f": "the same",
			"schema auth | service_role | USAGE | f":  "the same",
			"schema auth | postgres | USAGE | f":      "its grants on tables mean nothing without it",
		},
	},
	{
		file: "rls.csv",
		query: `select concat_ws(' | ', c.relname, left(c.relrowsecurity::text, 1), left(c.relforcerowsecurity::text, 1),
				(select count(*) from pg_policy p where p.polrelid = c.oid))
			from pg_class c where c.relnamespace = 'auth'::regnamespace and c.relkind = 'r' and c.relname not in ` + ours,
		fact:    join,
		extra:   rlsOn("t"),
		missing: rlsOn("f"),
	},
}

// rlsOn lists the tables on which Supabase Auth leaves row level security off.
func rlsOn(enabled string) map[string]string {
	facts := map[string]string{}
	for _, table := range []string{
		"custom_oauth_providers", "oauth_authorizations", "oauth_client_states", "oauth_clients", "oauth_consents",
		"webauthn_challenges", "webauthn_credentials",
	} {
		facts[table+" | "+enabled+" | f | 0"] = "every table of auth has row level security (issue 2, section 2)"
	}
	return facts
}

func TestTheCatalogIsThatOfTheContract(t *testing.T) {
	t.Parallel()
	_, conn := installed(t)
	for _, c := range comparisons {
		t.Run(c.file, func(t *testing.T) { c.check(t, conn) })
	}
}

func (c comparison) check(t *testing.T, conn *pgx.Conn) {
	wanted := map[string]bool{}
	for _, record := range readCSV(t, c.file) {
		wanted[c.fact(record)] = true
	}
	found := map[string]bool{}
	for _, fact := range lines(t, conn, c.query) {
		found[fact] = true
	}
	if len(found) == 0 || len(wanted) == 0 {
		t.Fatalf("%d facts in the catalog, %d in %s", len(found), len(wanted), c.file)
	}
	differ(t, "the catalog has, and "+c.file+" has not", found, wanted, c.extra)
	differ(t, c.file+" has, and the catalog has not", wanted, found, c.missing)
}

// differ reports what is in one and not in other, unless it is intended, and intentions that came to nothing.
func differ(t *testing.T, what string, one, other map[string]bool, intended map[string]string) {
	t.Helper()
	left := maps.Clone(intended)
	for _, fact := range slices.Sorted(maps.Keys(one)) {
		if other[fact] {
			continue
		}
		if _, ok := left[fact]; !ok {
			t.Errorf("%s: %s", what, fact)
		}
		delete(left, fact)
	}
	for fact, reason := range left {
		t.Errorf("an intended difference is none: %s: %s (%s)", what, fact, reason)
	}
}

// Where Supabase Auth dropped a column, the ordinals of the file have a gap. A table made in one go has none; the
// order is the same.
func TestColumnsStandInTheContractsOrder(t *testing.T) {
	t.Parallel()
	_, conn := installed(t)
	order, gaps := map[string][]string{}, map[string]bool{}
	for _, record := range readCSV(t, "columns.csv") {
		table := record[0]
		order[table] = append(order[table], record[2])
		if record[1] != itoa(len(order[table])) {
			gaps[table] = true
		}
	}
	if got := slices.Sorted(maps.Keys(gaps)); !slices.Equal(got, []string{"oauth_clients", "saml_relay_states"}) {
		t.Errorf("tables with a dropped column: %v", got)
	}
	if len(order) != 23 {
		t.Errorf("%d tables", len(order))
	}
	order["refresh_tokens"] = append(order["refresh_tokens"], "counter")
	for table, want := range order {
		got := lines(t, conn, `select attname::text from pg_attribute
			where attrelid = ('auth.' || $1)::regclass and attnum > 0 and not attisdropped order by attnum`, table)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", table, got, want)
		}
		if last := ask[int](t, conn, `select max(attnum)::int from pg_attribute where attrelid = ('auth.' || $1)::regclass`, table); last != len(want) {
			t.Errorf("%s has a dropped column", table)
		}
	}
}

func TestSchemaMigrationsListsWhatSupabaseAuthWouldHaveRun(t *testing.T) {
	t.Parallel()
	_, conn := installed(t)
	records := readCSV(t, "schema_migrations.csv")
	want := make([]string, 0, len(records))
	for _, record := range records {
		want = append(want, record[0])
	}
	slices.Sort(want)
	if got := lines(t, conn, `select version::text from auth.schema_migrations order by version collate "C"`); !slices.Equal(got, want) {
		t.Errorf("%d versions, want %d: %v", len(got), len(want), got)
	}
}

// The catalog of an adopted database is that of a new one, apart from who owns it and columns that were dropped long ago.
func TestAnAdoptedDatabaseEndsUpAsANewOne(t *testing.T) {
	t.Parallel()
	_, fresh := installed(t)
	db := restored(t)
	mustMigrate(t, db.SuperDSN, latest(t))
	old := pgtest.Connect(t, db.SuperDSN)
	for _, c := range comparisons {
		if c.file == "grants.csv" || c.file == "rls.csv" {
			continue // Left as they are: the server may be started on these tables again.
		}
		one, two := set(lines(t, fresh, c.query)), set(lines(t, old, c.query))
		differ(t, "new, and not adopted", one, two, nil)
		differ(t, "adopted, and not new", two, one, nil)
	}
}

func set(facts []string) map[string]bool {
	s := map[string]bool{}
	for _, fact := range facts {
		s[fact] = true
	}
	return s
}

// needsShared skips the test where the folder is not there.
func needsShared(t testing.TB) {
	t.Helper()
	if _, err := os.Stat(sharedDir); errors.Is(err, fs.ErrNotExist) {
		t.Skip("not beside this checkout: " + sharedDir)
	}
}

// readCSV reads a file of the contract, without its heading.
func readCSV(t *testing.T, name string) [][]string {
	t.Helper()
	needsShared(t)
	file, err := os.Open(filepath.Join(contractDir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // only read
	records, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return records[1:]
}
