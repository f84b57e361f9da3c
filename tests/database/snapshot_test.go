package database_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// snapshotQuery is the catalog of everything that is not PostgreSQL's own, one line per fact, by name and not by oid.
const snapshotQuery = `
with schemas as (
	select oid, nspname, nspowner, nspacl from pg_namespace
	where nspname !~ '^pg_' and nspname <> 'information_schema'),
relations as (
	select c.* from pg_class c join schemas s on s.oid = c.relnamespace
	where not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')),
functions as (
	select p.* from pg_proc p join schemas s on s.oid = p.pronamespace
	where not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')),
grants as (
	select concat_ws(' ', 'schema', nspname) as name, nspowner as owner, coalesce(nspacl, acldefault('n', nspowner)) as acl from schemas
	union all
	select concat_ws(' ', 'relation', oid::regclass), relowner,
		coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner))
	from relations where relkind not in ('i', 'I', 'c')
	union all
	select concat_ws(' ', 'function', oid::regprocedure), proowner, coalesce(proacl, acldefault('f', proowner)) from functions)
select concat_ws(' ', 'schema', nspname, 'of', nspowner::regrole, obj_description(oid, 'pg_namespace')) from schemas
union all
select concat_ws(' ', 'grant', g.name, case when a.grantee = 0 then 'PUBLIC' else a.grantee::regrole::text end, a.privilege_type,
	a.is_grantable, 'by', a.grantor::regrole)
from grants g, aclexplode(g.acl) a
union all
select concat_ws(' ', 'relation', c.oid::regclass, 'of', c.relowner::regrole, c.relkind, c.relpersistence, c.relrowsecurity,
	c.relforcerowsecurity, c.reloptions, obj_description(c.oid, 'pg_class'))
from relations c where c.relkind not in ('i', 'I')
union all
select concat_ws(' ', 'column', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated,
	a.attidentity, pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum))
from pg_attribute a join relations c on c.oid = a.attrelid
left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
where a.attnum > 0 and not a.attisdropped and c.relkind not in ('i', 'I')
union all
select concat_ws(' ', 'constraint', n.conrelid::regclass, n.conname, pg_get_constraintdef(n.oid), n.convalidated)
from pg_constraint n join schemas s on s.oid = n.connamespace
union all
select concat_ws(' ', 'index', pg_get_indexdef(i.indexrelid), i.indisvalid) from pg_index i join relations c on c.oid = i.indexrelid
union all
select concat_ws(' ', 'type', t.oid::regtype, 'of', t.typowner::regrole, t.typtype, (
	select string_agg(e.enumlabel, ',' order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid), obj_description(t.oid, 'pg_type'))
from pg_type t join schemas s on s.oid = t.typnamespace
-- Not those that come with a table, or with another type.
where t.typelem = 0 and not exists (select from pg_class c where c.oid = t.typrelid and c.relkind <> 'c')
union all
select concat_ws(' ', 'function', p.oid::regprocedure, 'of', p.proowner::regrole, md5(concat(pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc'))))
from functions p
union all
select concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid)) from pg_trigger t where not t.tgisinternal
union all
select concat_ws(' ', 'policy', schemaname, tablename, policyname, permissive, roles, cmd, qual, with_check) from pg_policies
union all
select concat_ws(' ', 'default grants', d.defaclrole::regrole, d.defaclobjtype, d.defaclacl) from pg_default_acl d`

// snapshot lists what a database consists of. The version table belongs to tern.
func snapshot(t testing.TB, conn *pgx.Conn) map[string]bool {
	t.Helper()
	facts := map[string]bool{}
	for _, fact := range lines(t, conn, "select fact from ("+snapshotQuery+") f (fact) where fact !~ 'postern_version'") {
		facts[fact] = true
	}
	if len(facts) == 0 {
		t.Fatal("the database has no catalog")
	}
	return facts
}

// same reports what was there before and is no more, and what was not there.
func same(t testing.TB, what string, before, after map[string]bool) {
	t.Helper()
	for _, fact := range slices.Sorted(maps.Keys(before)) {
		if !after[fact] {
			t.Errorf("%s: gone: %s", what, fact)
		}
	}
	for _, fact := range slices.Sorted(maps.Keys(after)) {
		if !before[fact] {
			t.Errorf("%s: new: %s", what, fact)
		}
	}
}

func hasPrefix(facts map[string]bool, prefix string) bool {
	for fact := range facts {
		if strings.HasPrefix(fact, prefix) {
			return true
		}
	}
	return false
}
