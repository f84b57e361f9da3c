-- Rules that the whole catalog keeps (STYLE 4.4). An exception stands here by name, with its reason.
begin;
select plan(49);

create temp view functions as
    select p.oid,
           p.oid::regprocedure::text as signature,
           p.proname as name,
           p.proname like E'\\_%' as is_helper,
           p.prorettype = 'trigger'::regtype as is_trigger,
           -- Only for the owner: seeds, policies tried by hand, handing back, forgiving.
           p.proname in (
               'impersonate', 'anonymous', 'create_user', 'set_password_hash', 'delete_user',
               'hand_back_sessions', 'replace_factor_secrets', 'clear_one_time_tokens', 'list_outbox', 'retry_outbox', 'drop_outbox', 'rate_limit_status', 'unblock',
               'explain_error') as is_owners,
           l.lanname as language,
           p.prosecdef as is_definer,
           p.prosrc as source,
           p.proconfig as config,
           p.proacl as acl,
           p.proowner as owner,
           coalesce(obj_description(p.oid, 'pg_proc'), '') as comment
      from pg_proc p
      join pg_language l on l.oid = p.prolang
     where p.pronamespace = 'postern'::regnamespace;

create temp view tables as
    select c.oid, c.relname as name, c.relkind as kind, c.relrowsecurity as has_rls, c.relowner as owner
      from pg_class c
     where c.relnamespace = 'auth'::regnamespace
       and c.relkind in ('r', 'p')
       -- tern's own, where the owner may not create tables in public.
       and c.relname !~ 'postern_version$';

-- Functions

select cmp_ok((select count(*) from functions), '>', 40::bigint, 'schema postern holds the engine');

select is_empty(
    $$
        select signature from functions
         where not is_helper and not is_trigger and language <> 'plpgsql'
           -- Make the composite arguments; inlined.
           and name not in ('caller', 'envelope')
    $$,
    'public functions are PL/pgSQL: a SQL function that cannot be inlined is planned at every call');

select is_empty(
    $$
        select signature from functions
         where not is_helper and not is_trigger and not is_definer
           -- caller, envelope: touch nothing. impersonate, anonymous: a definer function cannot set the role.
           and name not in ('caller', 'envelope', 'impersonate', 'anonymous')
    $$,
    'public functions are security definer');

select is_empty(
    $$
        select signature from functions
         where is_definer and is_helper
           -- The claims of an account, for postern.impersonate, which runs with its caller's rights.
           and name <> '_impersonation_claims'
    $$,
    'helpers run with the rights of whoever calls them');

select is_empty(
    $$ select signature from functions where is_trigger and (name !~ '^tg_[a-z_]+__[a-z_]+$' or is_definer) $$,
    'trigger functions are named tg_<table>__<task> and run with the rights of who fires them');

-- Functions that write accounts, or run a hook, run code of users: that sees search_path auth, as it does in Supabase
-- Auth. Which they are is read from their source, through the helpers they call.
create temp view firing as
    with recursive
    calls as (
        select distinct f.name as caller, g.name as callee
          from functions f
          join functions g
            on f.source ~ ('\mpostern\.' || g.name || '\(')
    ),
    firing as (
        select name
          from functions
         where source ~* '\m(insert into|update|delete from) auth\.(?!settings|rate_limits|outbox|hook_runs|cleanup_positions)'
            or name = '_call_sql_hook'
         union
        select c.caller from calls c join firing f on f.name = c.callee
    )
    select name from firing;

select cmp_ok((select count(*) from firing), '>', 15::bigint, 'functions that fire users'' code are found');

select is_empty(
    $$
        select signature, config from functions
         where (is_definer or is_trigger)
           and name in (select name from firing)
           and config is distinct from array['search_path=auth, pg_temp']
    $$,
    'functions that fire users'' code pin search_path = auth, pg_temp (DESIGN 15)');

select is_empty(
    $$
        select signature, config from functions
         where (is_definer or is_trigger)
           and name not in (select name from firing)
           and (config is null or array_length(array_remove(config, 'plan_cache_mode=force_generic_plan'), 1) <> 1 or config[1] !~ '^search_path=')
    $$,
    'every other definer and trigger function pins its search_path too');

-- PostgreSQL looks for types in pg_temp before all else, unless the path names it: with search_path = '' whoever may make
-- a temporary domain called uuid has its check run as the owner (see least_privilege.sql).
select is_empty(
    $$
        select signature, config from functions
         where (is_definer or is_trigger)
           and config[1] !~ '(=|, )pg_temp$'
    $$,
    'definer and trigger functions name pg_temp in their search_path, behind everything else');

select is_empty(
    $$ select signature, config from functions where not is_definer and not is_trigger and config is not null $$,
    'nothing that could be inlined carries settings');

select is_empty(
    $$ select signature from functions where acl is null or exists (
           select from aclexplode(acl) a where a.grantee = 0) $$,
    'PUBLIC may execute nothing in schema postern');

select is_empty(
    $$
        select f.signature, a.grantee::regrole
          from functions f, aclexplode(f.acl) a
         where a.grantee not in (f.owner, 'postern_gateway'::regrole)
    $$,
    'nobody but the owner and postern_gateway may execute anything there');

select is_empty(
    $$
        select signature, has_function_privilege('postern_gateway', oid, 'execute') from functions
         where has_function_privilege('postern_gateway', oid, 'execute')
            is distinct from not (is_helper or is_trigger or is_owners)
    $$,
    'postern_gateway may execute the public functions, no helper, and nothing that is the owner''s');

select is_empty(
    $$ select f.signature, a.grantee::regrole from functions f, aclexplode(f.acl) a where a.is_grantable $$,
    'the right to execute cannot be passed on');

select is_empty(
    $$ select signature, owner::regrole from functions
        where owner <> (select relowner from pg_class where oid = 'auth.users'::regclass) $$,
    'the functions belong to the owner of auth.users');

select is_empty(
    $$ select r.rolname from pg_roles r where r.oid in (select owner from functions) and r.rolsuper $$,
    'who is not a superuser');

select is_empty(
    $$
        select signature, comment from functions
         where comment !~ '^[A-Z][^\n]+[.][\n]Called by: [^\n]+[.][\n]Refuses: [^\n]+[.]$'
    $$,
    'every function''s comment has three lines: a sentence, "Called by:", "Refuses:"');

select is_empty(
    $$
        select signature from functions
         where not is_helper and not is_trigger and name !~ '^[a-z]+(_[a-z]+)*$'
    $$,
    'names are words');

select is_empty(
    $$ select name from functions where not is_helper and name <> 'impersonate' group by name having count(*) > 1 $$,
    'a public function is not overloaded, so that the gateway''s call by name has one meaning');

-- Arguments: the gateway of the last release calls with fewer.
select is_empty(
    $$
        select f.signature from functions f join pg_proc p on p.oid = f.oid
         where not f.is_helper and not f.is_trigger and p.pronargs > 0
           and (p.proargnames is null or '' = any (p.proargnames))
    $$,
    'every argument has a name');

-- Functions for policies

select set_eq(
    $$ select p.proname::text from pg_proc p where p.pronamespace = 'auth'::regnamespace $$,
    array['uid', 'jwt', 'role', 'email'],
    'schema auth holds the four claims functions and no other');

select is_empty(
    $$
        select p.oid::regprocedure
          from pg_proc p join pg_language l on l.oid = p.prolang
         where p.pronamespace = 'auth'::regnamespace
           and (l.lanname <> 'sql' or p.provolatile <> 's' or p.prosecdef or p.proconfig is not null
                or p.proisstrict or p.pronargs > 0 or not has_function_privilege('anon', p.oid, 'execute')
                or obj_description(p.oid, 'pg_proc') is null)
    $$,
    'they are SQL, stable, invoker, unpinned, not strict, for everybody, and commented');

-- Tables

select is((select count(*)::integer from tables), 30,
    '23 tables of Supabase Auth, and settings, rate_limits, adoption, outbox, hook_runs, disposable_domains, cleanup_positions');

select is_empty($$ select name from tables where not has_rls $$, 'every table has row level security');

select is_empty(
    $$ select name from tables where obj_description(oid, 'pg_class') is null $$,
    'every table has a comment');

select is_empty(
    $$
        select t.name, a.attname
          from tables t
          join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
         where (t.name in ('settings', 'rate_limits', 'adoption', 'outbox', 'hook_runs', 'disposable_domains', 'cleanup_positions')
                or (t.name, a.attname) in (('refresh_tokens', 'counter')))
           and col_description(t.oid, a.attnum) is null
    $$,
    'every column of ours has a comment');

select is_empty(
    $$
        select a.attname from pg_attribute a
         where a.attrelid = (select typrelid from pg_type where oid = 'postern.caller'::regtype)
           and col_description(a.attrelid, a.attnum) is null
    $$,
    'so has every field of postern.caller');

select is_empty(
    $$
        select c.relname, t.typname, s.nspname
          from pg_namespace s
          left join pg_class c on c.relnamespace = s.oid and c.relowner <> (
               select relowner from pg_class where oid = 'auth.users'::regclass)
          left join pg_type t on t.typnamespace = s.oid and t.typowner <> (
               select relowner from pg_class where oid = 'auth.users'::regclass)
         where s.nspname in ('auth', 'postern')
           and (c.oid is not null or t.oid is not null)
           and coalesce(c.relname, '') !~ 'postern_version'
           and coalesce(t.typname, '') !~ 'postern_version'
    $$,
    'everything in auth and postern has one owner');

select is_empty(
    $$ select schemaname, tablename, policyname from pg_policies where schemaname in ('auth', 'postern') $$,
    'no policy opens a table of auth');

-- The owner of a table passes its row level security, unless it is forced.
select is_empty(
    $$ select c.relname from pg_class c join tables t on t.oid = c.oid where c.relforcerowsecurity $$,
    'row level security is not forced on the owner, who runs the functions');

select set_eq(
    $$
        select c.conname::text
          from pg_constraint c
         where c.contype = 'f'
           and c.connamespace in ('auth'::regnamespace, 'postern'::regnamespace)
           and not exists (
               select from pg_index i
                where i.indrelid = c.conrelid
                  and i.indisvalid
                  and i.indpred is null
                  and i.indkey[0] = c.conkey[1]
                  and i.indnkeyatts >= array_length(c.conkey, 1))
    $$,
    -- The contract (schema/indexes.csv) gives these none; rows there are few or short-lived.
    array[
        'oauth_authorizations_client_id_fkey',
        'oauth_authorizations_user_id_fkey',
        'oauth_consents_client_id_fkey',
        'saml_relay_states_flow_state_id_fkey'],
    'every foreign key has an index, but for those that Supabase Auth gives none');

select is_empty(
    $$
        select c.relname, i.relname
          from pg_index x
          join pg_class i on i.oid = x.indexrelid
          join pg_class c on c.oid = x.indrelid
         where c.relnamespace = 'auth'::regnamespace
           and not (x.indisvalid and x.indisready)
    $$,
    'every index is complete');

select is_empty(
    $$
        select c.conrelid::regclass, c.conname from pg_constraint c
         where c.connamespace = 'auth'::regnamespace and not c.convalidated
    $$,
    'every constraint has been validated');

-- A refresh must not write to an index: nothing it changes is indexed, and pages have room.
select is_empty(
    $$
        select i.relname, a.attname
          from pg_index x
          join pg_class i on i.oid = x.indexrelid
          join pg_attribute a on a.attrelid = x.indrelid and a.attnum = any (x.indkey)
         where (x.indrelid = 'auth.refresh_tokens'::regclass and a.attname in ('counter', 'updated_at'))
            or (x.indrelid = 'auth.sessions'::regclass and a.attname in ('refreshed_at', 'updated_at', 'ip', 'user_agent'))
    $$,
    'no index on what a refresh changes');

select set_eq(
    $$
        select c.relname || ' ' || o.option_value
          from pg_class c, pg_options_to_table(c.reloptions) o
         where c.relnamespace = 'auth'::regnamespace and c.relkind = 'r' and o.option_name = 'fillfactor'
    $$,
    array['users 80', 'sessions 70', 'refresh_tokens 70', 'rate_limits 70', 'outbox 70'],
    'room for updates in place');

select set_eq($$ select relname::text from pg_class where relnamespace = 'auth'::regnamespace and relkind = 'r' and relpersistence = 'u' $$,
    array['rate_limits', 'cleanup_positions'], 'limits and positions are not logged');

-- Roles

select is_empty(
    $$
        select r.rolname from pg_roles r
         where r.rolname = 'postern_gateway'
           and (r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolbypassrls or not r.rolcanlogin)
    $$,
    'postern_gateway may log in, and nothing else');

select is_empty(
    $$ select m.roleid::regrole from pg_auth_members m where m.member = 'postern_gateway'::regrole $$,
    'it is a member of nothing');

select is_empty(
    $$
        select c.oid::regclass from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname !~ '^(pg_|information_schema$|public$)'
           and case
               when c.relkind in ('r', 'p', 'v', 'm', 'f') then
                   has_table_privilege('postern_gateway', c.oid, 'select, insert, update, delete, truncate, references, trigger')
                   or has_any_column_privilege('postern_gateway', c.oid, 'select, insert, update, references')
               when c.relkind = 'S' then has_sequence_privilege('postern_gateway', c.oid, 'select, usage, update')
           end
    $$,
    'it may touch no table, view or sequence');

select is_empty(
    $$ select n.nspname from pg_namespace n
        where n.nspname not like 'pg_temp%' and has_schema_privilege('postern_gateway', n.oid, 'create') $$,
    'it may create nothing in any schema');

select ok(not has_schema_privilege('postern_gateway', 'auth', 'usage'),
    'it may not even name what is in schema auth');
select ok(has_schema_privilege('postern_gateway', 'postern', 'usage'), 'it may use schema postern');
select ok(not has_database_privilege('postern_gateway', current_database(), 'create'),
    'it may create no schema');

select set_eq(
    $$
        select unnest(setconfig) from pg_db_role_setting
         where setrole = 'postern_gateway'::regrole and setdatabase = 0
    $$,
    array['statement_timeout=10s', 'lock_timeout=2s'],
    'its statements and its waits for locks end');

select is_empty(
    $$
        select r.rolname, t.name
          from tables t, pg_roles r
         where r.rolname in ('anon', 'authenticated', 'service_role', 'authenticator')
           and (has_table_privilege(r.rolname, t.oid, 'select, insert, update, delete, truncate, references, trigger')
                or has_any_column_privilege(r.rolname, t.oid, 'select, insert, update, references'))
    $$,
    'the roles of the API may touch no table of auth either');

select is_empty(
    $$ select t.name, a.privilege_type from tables t join pg_class c on c.oid = t.oid, aclexplode(c.relacl) a
        where a.grantee = 0 $$,
    'nor may PUBLIC');

select is_empty(
    $$ select r.rolname from pg_roles r
        where r.rolname in ('anon', 'authenticated', 'service_role', 'postgres')
          and not has_schema_privilege(r.rolname, 'auth', 'usage') $$,
    'they may use schema auth, or auth.uid() in a policy would fail');

select is_empty(
    $$ select r.rolname from pg_roles r
        where r.rolname in ('anon', 'authenticated', 'service_role', 'authenticator')
          and (has_schema_privilege(r.rolname, 'auth', 'create') or has_schema_privilege(r.rolname, 'postern', 'usage')) $$,
    'they may create nothing there, and use nothing of schema postern');

select is_empty(
    $$
        select r.rolname from pg_roles r
         where r.rolname in ('anon', 'authenticated', 'service_role', 'authenticator', 'supabase_auth_admin')
           and (r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolcanlogin
                or r.rolbypassrls <> (r.rolname = 'service_role'))
           -- Made before us by whoever set up Supabase: it logs in there.
           and not (r.rolname in ('supabase_auth_admin', 'authenticator') and not r.rolsuper)
    $$,
    'they cannot log in, and only service_role passes row level security');

select * from finish();
rollback;
