-- postern.check_caller (contract core.md 1.8, admin.md 1), and postern._start_over, by which other functions end when an account goes.
begin;
select plan(11);
\ir support.psql
select pg_temp.account('ada@example.com') as ada \gset
select pg_temp.signed_in(:'ada') as session \gset
create function pg_temp.check(is_administration boolean, user_id text default null, session_id text default null, role text default null)
returns text language sql as $$
    select pg_temp.refused(postern.check_caller(
        postern.caller(user_id => user_id::uuid, session_id => session_id::uuid, role => role), is_administration))
$$;
create function pg_temp.version() returns text language sql security definer as $$
    select 'not refused: {"v" : ' || g.version || '}' from auth.settings g
$$;
set local session authorization postern_gateway;

select is(pg_temp.check(false, :'ada', :'session'), pg_temp.version(), 'a user with a session');
select is(pg_temp.check(false, :'ada'), pg_temp.version(), 'without one');
select is(pg_temp.check(false, gen_random_uuid()::text, :'session'),
    '403 user_not_found: User from sub claim in JWT does not exist', 'nobody');
select is(pg_temp.check(false, :'ada', gen_random_uuid()::text),
    '403 session_not_found: Session from session_id claim in JWT does not exist', 'a session that has ended');
select is(pg_temp.refused(postern.check_caller(null)),
    '403 user_not_found: User from sub claim in JWT does not exist', 'without a caller');
select pg_temp.run('update auth.users set banned_until = ''infinity''') \g /dev/null
select is(pg_temp.check(false, :'ada', :'session'), '403 user_banned: User is banned', 'a banned user');

select is(pg_temp.check(true, role => 'service_role'), pg_temp.version(), 'an administrator');
select is(pg_temp.check(true, :'ada', :'session', 'authenticated'), '403 not_admin: User not allowed', 'who is none');
select pg_temp.run('update auth.sessions set not_after = now() - interval ''1 s''') \g /dev/null
select is(pg_temp.check(true, :'ada', :'session', 'service_role'),
    '403 session_expired: Session is no longer valid', 'an administrator whose session is past its end');
select is(pg_temp.refused(postern.check_caller(null, true)), '403 not_admin: User not allowed', 'no administrator at all');

select throws_ok($$ select pg_temp.run('select postern._start_over(''6fa459ea-ee8a-4ca4-894e-db77e160355e'')') $$, '40001',
    'the account 6fa459ea-ee8a-4ca4-894e-db77e160355e changed meanwhile',
    'starting over passes every handler');
reset session authorization;
select * from finish();
rollback;
