-- What a hole in the gateway would give away (DESIGN 5): the calls of schema postern, and nothing else.
begin;
select plan(34);
\ir support.psql

select pg_temp.account('ada@example.com') as ada \gset
select pg_temp.signed_in(:'ada') as session \gset

set local session authorization postern_gateway;

select throws_ok('select * from auth.users', '42501', null, 'postern_gateway reads no account');
select throws_ok('select * from auth.settings', '42501', null, 'nor the settings');
select throws_ok('select * from auth.sessions', '42501', null, 'nor a session');
select throws_ok('select auth.uid()', '42501', null, 'nor does it use schema auth');
select throws_ok('delete from auth.audit_log_entries', '42501', null, 'it cannot wipe its traces');
select throws_ok('create table postern.mine ()', '42501', null, 'it creates nothing in schema postern');
select throws_ok('create table auth.mine ()', '42501', null, 'nor in auth');
select throws_ok('create schema mine', '42501', null, 'nor a schema');
select throws_ok('set local role anon', '42501', null, 'it becomes no other role');
select throws_ok(
    $$ do $do$ begin execute 'set local role ' || (
           select quote_ident(pg_get_userbyid(nspowner)) from pg_namespace where nspname = 'postern'); end $do$ $$,
    '42501', null, 'least of all the owner');

select throws_ok(
    $$ select postern.create_user(email => 'eve@example.com') $$, '42501', null,
    'seed functions are not for it');
select throws_ok(format($$ select postern.set_password_hash(%L, pg_temp.hash()) $$, :'ada'), '42501', null,
    'nor is setting a password without asking for the old one');
select throws_ok(format($$ select postern.delete_user(%L) $$, :'ada'), '42501', null, 'nor deleting');
select throws_ok($$ select postern.impersonate('ada@example.com') $$, '42501', null, 'nor impersonation');
select throws_ok($$ select postern._impersonation_claims('ada@example.com') $$, '42501', null,
    'nor the claims of anybody');
select throws_ok(format($$ select postern._user_json(%L) $$, :'ada'), '42501', null,
    'nor helpers that ask for no token');
select throws_ok(format($$ select postern._tokens(%L, %L, 'password') $$, :'ada', :'session'), '42501', null,
    'nor the helper that makes tokens');
select throws_ok($$ select postern.hand_back_sessions('{}', '{}') $$, '42501', null,
    'nor going back to Supabase Auth');

select lives_ok($$ select postern.schema_version() $$, 'it may ask for the version');
select lives_ok($$ select postern.get_settings() $$, 'and for the settings that it needs');

-- The gateway sets policy (apply_environment), the name of a hook included: that must not make a function of its own run as the owner.
create function pg_temp.own_hook(event jsonb) returns jsonb language plpgsql as $$
begin
    if current_user <> 'postern_gateway' then
        raise exception 'running as %', current_user;
    end if;
    return event;
end
$$;
select pg_temp.set(format('hook_custom_access_token_enabled = true, hook_custom_access_token_uri = %L',
    'pg-functions://x/' || pg_my_temp_schema()::regnamespace || '/own_hook')) \g /dev/null
select doesnt_match(postern.refresh_session(:'session', 0)::text, 'running as',
    'nor is a temporary function run as a hook');
select pg_temp.set('hook_custom_access_token_enabled = false, hook_custom_access_token_uri = default') \g /dev/null

-- Types are looked up in pg_temp first when search_path does not name it: even "text" and "uuid".
create function pg_temp.who_am_i(value pg_catalog.uuid) returns boolean language plpgsql as $$
begin
    if current_user <> 'postern_gateway' then
        raise exception 'running as %', current_user;
    end if;
    return true;
end
$$;
create function pg_temp.who_am_i(value pg_catalog.text) returns boolean language plpgsql as $$
begin
    if current_user <> 'postern_gateway' then
        raise exception 'running as %', current_user;
    end if;
    return true;
end
$$;
create domain pg_temp.uuid as pg_catalog.uuid check (pg_temp.who_am_i(value));
create domain pg_temp.text as pg_catalog.text check (pg_temp.who_am_i(value));

select lives_ok(
    format($$ select postern.admin_get_user(postern.caller(role => 'service_role'), %L) $$, :'ada'),
    'a temporary type of the gateway''s making is not used by postern.admin_get_user');
select lives_ok($$ select postern.admin_list_users(postern.caller(role => 'service_role')) $$,
    'nor by postern.admin_list_users');
select lives_ok($$ select postern.find_password(email => 'ada@example.com') $$,
    'nor by postern.find_password');
select lives_ok(
    format($$ select postern.get_user(postern.caller(user_id => %L, session_id => %L)) $$, :'ada',
        :'session'),
    'nor by postern.get_user');
select lives_ok($$ select postern.apply_environment('{"site_url": "https://example.com"}') $$,
    'nor by postern.apply_environment');
select lives_ok($$ select postern.admin_list_audit_log(postern.caller(role => 'service_role')) $$,
    'nor by postern.admin_list_audit_log');
select lives_ok($$ select postern.sign_up(email => 'bob@example.com', password_hash => pg_temp.hash()) $$,
    'nor by postern.sign_up');
select lives_ok(format($$ select postern.refresh_session(%L, 0) $$, :'session'),
    'nor by postern.refresh_session');

-- Functions that update accounts name auth first: a temporary table is not taken for one of it.
create temp table users (id pg_catalog.uuid);
create temp table settings (version bigint);
select lives_ok(format($$ select postern.refresh_session(%L, 1) $$, :'session'),
    'nor is a temporary table taken for one of auth');

-- With everything that PUBLIC has, and being signed in nowhere:
reset session authorization;
set local role anon;
select throws_ok($$ select postern.schema_version() $$, '42501', null, 'anon may call nothing');
select lives_ok($$ select auth.uid(), auth.jwt(), auth.role(), auth.email() $$,
    'but the functions for policies');
select throws_ok($$ select * from auth.users $$, '42501', null, 'and reads no account');
reset role;
set local role service_role;
select throws_ok($$ select * from auth.users $$, '42501', null,
    'nor does service_role, whatever it bypasses');
reset role;

select * from finish();
rollback;
