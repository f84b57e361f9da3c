-- auth.uid(), auth.jwt(), auth.role(), auth.email(): what policies see (contract schema.md 5).
begin;
select plan(37);
\ir support.psql

-- The four, as one line.
create function pg_temp.seen() returns text language sql as $$
    select concat_ws(' | ', coalesce(auth.uid()::text, '-'), coalesce(auth.role(), '-'), coalesce(auth.email(), '-'),
        coalesce(auth.jwt()::text, '-'))
$$;
-- with_claims() sets the settings of PostgREST, and of its releases up to 8.
create function pg_temp.with_claims(
    claims text default '', sub text default '', role text default '', email text default '',
    claim text default '')
returns text language sql as $$
    select concat(
        set_config('request.jwt.claims', claims, true), set_config('request.jwt.claim.sub', sub, true),
        set_config('request.jwt.claim.role', role, true), set_config('request.jwt.claim.email', email, true),
        set_config('request.jwt.claim', claim, true));
$$;
\set ada '\'263b8ea4-19c9-401f-861a-1e8b5d64d9bb\''
\set bob '\'6c569bbd-4daf-453f-bf09-74d842a85cb2\''

-- As PostgREST asks, not as the owner.
set local role anon;

select is(pg_temp.seen(), '- | - | - | -', 'nothing set on this connection yet: null from all four');

select pg_temp.with_claims() \g /dev/null
select is(pg_temp.seen(), '- | - | - | -',
    'set to nothing, as an earlier transaction leaves it: null from all four');

select pg_temp.with_claims('{"role": "anon"}') \g /dev/null
select is(pg_temp.seen(), '- | anon | - | {"role": "anon"}', 'the anon key: a role and no user');

select pg_temp.with_claims(format('{"sub": "%s", "role": "authenticated", "email": "a@example.com", "aal": "aal1"}',
    :ada))
\g /dev/null
select is(auth.uid(), :ada::uuid, 'a signed-in user: auth.uid()');
select is(auth.role(), 'authenticated', 'auth.role()');
select is(auth.email(), 'a@example.com', 'auth.email()');
select is(auth.jwt() ->> 'aal', 'aal1', 'auth.jwt() has all claims');

select pg_temp.with_claims(
    format('{"sub": "%s", "role": "authenticated", "email": "a@example.com"}', :ada),
    sub => :bob, role => 'anon', email => 'b@example.com') \g /dev/null
select is(auth.uid(), :bob::uuid, 'settings per claim and JSON both: uid() takes the former');
select is(auth.role(), 'anon', 'role() too');
select is(auth.email(), 'b@example.com', 'email() too');
select is(auth.jwt() ->> 'sub', :ada, 'but jwt() ignores settings per claim');

select pg_temp.with_claims(sub => :bob, role => 'authenticated', email => 'b@example.com') \g /dev/null
select is(pg_temp.seen(), :bob || ' | authenticated | b@example.com | -', 'settings per claim alone');

select pg_temp.with_claims(format('{"sub": "%s"}', :ada), claim => format('{"sub": "%s"}', :bob)) \g /dev/null
select is(auth.jwt() ->> 'sub', :bob, 'request.jwt.claim wins over request.jwt.claims in jwt()');
select is(auth.uid(), :ada::uuid, 'and means nothing to uid()');

select pg_temp.with_claims('{"sub": "not-a-uuid"}') \g /dev/null
select throws_ok('select auth.uid()', '22P02', 'invalid input syntax for type uuid: "not-a-uuid"',
    'a sub that is no UUID is an error');
select is(auth.role(), null, 'which is uid()''s alone');
select pg_temp.with_claims('{"sub": ""}') \g /dev/null
select throws_ok('select auth.uid()', '22P02', 'invalid input syntax for type uuid: ""',
    'so is an empty sub');
select pg_temp.with_claims('{"sub": null, "email": null}') \g /dev/null
select is(auth.uid(), null, 'a sub of null is none');
select is(auth.email(), null, 'an email of null is none');

select pg_temp.with_claims('this is not JSON') \g /dev/null
select throws_ok('select auth.uid()', '22P02', 'invalid input syntax for type json',
    'claims that are no JSON are an error in uid()');
select throws_ok('select auth.role()', '22P02', 'invalid input syntax for type json', 'in role()');
select throws_ok('select auth.email()', '22P02', 'invalid input syntax for type json', 'in email()');
select throws_ok('select auth.jwt()', '22P02', 'invalid input syntax for type json', 'in jwt()');
select pg_temp.with_claims('this is not JSON', sub => :ada, role => 'anon',
    email => 'x@example.com') \g /dev/null
select is(auth.uid(), :ada::uuid, 'unless a setting per claim answers first: uid()');
select is(auth.role() || auth.email(), 'anonx@example.com', 'role() and email()');

select pg_temp.with_claims('[]') \g /dev/null
select is(auth.uid(), null, 'JSON that is no object has no claims');

select pg_temp.with_claims(format(
    '{"sub": "%s", "app_metadata": {"role": "editor"}, "user_metadata": {"x": 1}, "amr": [{"method": "password"}],
      "is_anonymous": false, "session_id": "s"}', :ada)) \g /dev/null
select is(auth.jwt() -> 'app_metadata' ->> 'role', 'editor', 'paths that policies use: app_metadata');
select is((auth.jwt() ->> 'is_anonymous')::boolean, false, 'is_anonymous');
select is(auth.jwt() -> 'amr' -> 0 ->> 'method', 'password', 'amr');

-- A caller's search_path must not change what they mean.
reset role;
create function public.current_setting(text, boolean) returns text language sql as $$ select 'hijacked' $$;
set local search_path = public, pg_catalog;
select is(auth.uid(), :ada::uuid, 'a function of the same name in front of search_path is not called');
reset search_path;
drop function public.current_setting(text, boolean);

-- Inlined: no call is left in the plan, so that an index is used and a row does not cost a call.
create table public.things (id int, user_id uuid, tenant text, kind text, email text);
create index things_user_id_idx on public.things (user_id);
create index things_email_idx on public.things (email);
create index things_tenant_idx on public.things (tenant);
insert into public.things
select n, md5((n % 1000)::text)::uuid, 't' || n % 1000, 'k', n % 1000 || '@example.com' from generate_series(1, 20000) n;
analyze public.things;
create function pg_temp.plan_of(query text) returns text language plpgsql as $$
declare
    v_line text;
    v_plan text := '';
begin
    for v_line in execute 'explain (costs off) ' || query loop
        v_plan := v_plan || v_line || E'\n';
    end loop;
    return v_plan;
end
$$;

select matches(pg_temp.plan_of('select * from public.things where user_id = auth.uid()'),
    E'Index Cond: \\(user_id = .*current_setting', 'auth.uid() is inlined into an index condition');
select doesnt_match(pg_temp.plan_of('select * from public.things where user_id = auth.uid()'),
    E'auth\\.|\\muid\\(', 'and no call of it is left');
select matches(pg_temp.plan_of('select * from public.things where email = auth.email()'),
    E'Index Cond: \\(.*email.* = .*current_setting', 'so is auth.email()');
select matches(pg_temp.plan_of($$select * from public.things where tenant = auth.jwt() -> 'app_metadata' ->> 'tenant'$$),
    E'Index Cond: \\(tenant = .*current_setting', 'so is auth.jwt()');
select doesnt_match(
    pg_temp.plan_of($$select * from public.things where tenant = auth.jwt() ->> 'tenant' and auth.role() = 'authenticated'$$),
    E'auth\\.|\\mjwt\\(|\\mrole\\(', 'and auth.role()');
select matches(pg_temp.plan_of('select * from public.things where user_id = (select auth.uid())'),
    E'InitPlan', 'written as (select auth.uid()) it is evaluated once');
select results_eq(
    $$ select distinct provolatile::text, proparallel::text from pg_proc where pronamespace = 'auth'::regnamespace $$,
    $$ values ('s', 's') $$, 'stable, which (select auth.uid()) relies on; and no policy keeps a query to one process');

select * from finish();
rollback;
