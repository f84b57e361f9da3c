-- postern.log_out (contract core.md 6.8).
begin;
select plan(19);
\ir support.psql
select pg_temp.account('ada@example.com') as ada \gset
select pg_temp.account('bob@example.com') as bob \gset
create function pg_temp.me(user_id text, session_id text default null) returns postern.caller language sql as $$
    select postern.caller(user_id => user_id::uuid, session_id => session_id::uuid)
$$;
create function pg_temp.sessions(user_id text) returns int language plpgsql as $$
begin
    return pg_temp.value(format('select count(*) from auth.sessions where user_id = %L', user_id));
end
$$;
set local session authorization postern_gateway;
select pg_temp.signed_in(:'bob') as bobs \gset

select pg_temp.signed_in(:'ada') as one, pg_temp.signed_in(:'ada') as two,
    pg_temp.signed_in(:'ada') as three \gset
select is(pg_temp.refused(postern.log_out(pg_temp.me(:'ada', :'one'), 'everywhere')),
    '400 validation_failed: Unsupported logout scope "everywhere"', 'an unknown scope');
select is(pg_temp.sessions(:'ada'), 3, 'ends nothing');
select pg_temp.forget_audit() \g /dev/null
select is((postern.log_out(pg_temp.me(:'ada', :'one'), 'local') -> 'error')::text, null, 'local');
select is(pg_temp.value(format('select count(*) from auth.sessions where id = %L', :'one')), '0',
    'ends this session');
select is(pg_temp.sessions(:'ada'), 2, 'and no other');
select is(pg_temp.audit(), 'logout account', 'the audit trail');
select is(pg_temp.value(format('select (select count(*) from auth.refresh_tokens
        where session_id = %1$L) + (select count(*) from auth.mfa_amr_claims where session_id = %1$L)',
    :'one')),
    '0',
    'its tokens and methods go along');
select is(pg_temp.refused(postern.log_out(pg_temp.me(:'ada', :'one'), 'local')),
    '403 session_not_found: Session from session_id claim in JWT does not exist',
    'a second time: no such session');
select is(pg_temp.refused(postern.refresh_session(:'one', 0)),
    '400 refresh_token_not_found: Invalid Refresh Token: Refresh Token Not Found', 'nor does it refresh');
select is((postern.log_out(pg_temp.me(:'ada', :'two'), 'others') -> 'error')::text, null, 'others');
select is(pg_temp.value(format('select string_agg(id::text, '','') from auth.sessions where user_id = %L',
    :'ada')),
    :'two', 'leaves this one');
select pg_temp.signed_in(:'ada') \g /dev/null
select is((postern.log_out(pg_temp.me(:'ada', :'two')) -> 'error')::text, null, 'by default');
select is(pg_temp.sessions(:'ada'), 0, 'all end');
select pg_temp.signed_in(:'ada') as one \gset
select postern.log_out(pg_temp.me(:'ada', :'one'), '') \g /dev/null
select is(pg_temp.sessions(:'ada'), 0, 'an empty scope is global');
select pg_temp.signed_in(:'ada') as one \gset
select postern.log_out(pg_temp.me(:'ada', :'one'), null) \g /dev/null
select is(pg_temp.sessions(:'ada'), 0, 'so is none');
select pg_temp.signed_in(:'ada') as one \gset
select postern.log_out(pg_temp.me(:'ada'), 'local') \g /dev/null
select is(pg_temp.sessions(:'ada'), 0, 'without a session in the token every scope is global');
select pg_temp.signed_in(:'ada') as one \gset
select postern.log_out(pg_temp.me(:'ada'), 'others') \g /dev/null
select is(pg_temp.sessions(:'ada'), 0, 'others too');
select is(pg_temp.sessions(:'bob'), 1, 'nobody else is signed out by all this');
-- Session and account of a token are not compared (contract core.md 1.8); each deletes only the account's own.
select postern.log_out(pg_temp.me(:'ada', :'bobs'), 'local') \g /dev/null
select is(pg_temp.sessions(:'bob'), 1, 'not even by a token with another account''s session');

reset session authorization;
select * from finish();
rollback;
