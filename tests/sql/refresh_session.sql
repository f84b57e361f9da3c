-- postern.refresh_session: each row of the table in DESIGN 7, and the checks of contract core.md 4.6.
begin;
select plan(106);
\ir support.psql
select pg_temp.set('jwt_aud = ''authenticated''') \g /dev/null
select pg_temp.account('ada@example.com', '{"full_name": "Ada L"}') as ada \gset
select pg_temp.account('bob@example.com') as bob \gset

-- at() puts a session at a counter, some time after its last rotation.
create function pg_temp.at(session uuid, counter bigint, rotated interval default '0') returns void
language plpgsql security definer as $$
begin
    update auth.refresh_tokens set counter = at.counter, updated_at = now() - rotated, revoked = false where session_id = session;
end
$$;
-- rows() is what is stored of a session: counter, revoked, age of the row, and whether the session was refreshed.
create function pg_temp.rows(session uuid) returns text
language sql security definer as $$
    select string_agg(concat_ws(' ', t.counter, case when t.revoked then 'revoked' end, now() - t.updated_at,
        case when s.refreshed_at is not null then 'refreshed' end), ', ')
      from auth.sessions s left join auth.refresh_tokens t on t.session_id = s.id where s.id = session
$$;
-- aal_of() is the assurance, and the methods, in the claims of a session that these methods authenticated.
create function pg_temp.aal_of(session uuid, methods text[]) returns text language plpgsql security definer as $$
begin
    delete from auth.mfa_amr_claims where session_id = session;
    insert into auth.mfa_amr_claims (id, session_id, authentication_method, created_at, updated_at)
    select gen_random_uuid(), session, m, now(), now() from unnest(methods) m;
    return (
        select concat_ws(' ', c ->> 'aal', jsonb_path_query_array(c, '$.amr[*].method'))
        from (select postern._claims(user_id, id)::jsonb from auth.sessions where id = session) s (c));
end
$$;
-- got() is what a refresh answers: counter and reason, or the refusal.
create function pg_temp.got(session uuid, counter bigint, caller postern.caller default null) returns text
language plpgsql as $$
declare
    v_answer json := postern.refresh_session(session, got.counter, got.caller);
begin
    if v_answer -> 'error' is not null then
        return pg_temp.refused(v_answer) || coalesce(' (' || (v_answer #>> '{error,fact}') || ')', '');
    end if;
    return concat_ws(' ', v_answer #>> '{session,counter}', v_answer #>> '{session,reuse}');
end
$$;
\set used '\'400 refresh_token_already_used: Invalid Refresh Token: Already Used\''

set local session authorization postern_gateway;

-- Nothing there

select is(pg_temp.got(gen_random_uuid(), 0),
    '400 refresh_token_not_found: Invalid Refresh Token: Refresh Token Not Found', 'no session');
select is(pg_temp.got(null, null),
    '400 refresh_token_not_found: Invalid Refresh Token: Refresh Token Not Found', 'nothing at all');
select pg_temp.signed_in(:'ada') as s \gset
select pg_temp.run(format('delete from auth.refresh_tokens where session_id = %L', :'s')) \g /dev/null
select is(pg_temp.got(:'s', 0), '400 refresh_token_not_found: Invalid Refresh Token: Refresh Token Not Found',
    'a session without its row');
select is(pg_temp.rows(:'s'), '', 'which is not touched');

-- c = n: rotate

select pg_temp.signed_in(:'ada') as s \gset
select pg_temp.run('update auth.users set last_sign_in_at = null, updated_at = now() - interval ''1 day''') \g /dev/null
select pg_temp.at(:'s', 0, '1 h') \g /dev/null
select pg_temp.forget_audit() \g /dev/null
select postern.refresh_session(:'s', 0,
    postern.caller(ip => '10.9.9.9', user_agent => 'phone')) as answer \gset
select is(:'answer'::jsonb -> 'session' ->> 'counter', '1', 'c = n: rotate');
select is(:'answer'::jsonb -> 'session' -> 'reuse', null, 'without a reason to explain');
select is(:'answer'::jsonb #>> '{claims,session_id}', :'s', 'claims of the session');
select is(:'answer'::jsonb #>> '{claims,amr,0,method}', 'password', 'that was opened by password');
select is(:'answer'::jsonb #>> '{user,id}', :'ada', 'and its user');
select is(pg_temp.rows(:'s'), '1 00:00:00 refreshed', 'the row is updated in place');
select is(pg_temp.value(format('select concat_ws('' '', host(ip), user_agent, refreshed_at = now() at time zone ''UTC'') from auth.sessions where id = %L',
    :'s')),
    '10.9.9.9 phone t', 'the session remembers who asked, and when in UTC');
select is(pg_temp.value(format('select updated_at < now() and last_sign_in_at is null from auth.users
        where id = %L',
    :'ada')),
    'true', 'the account is not touched (DESIGN 15)');
select is(pg_temp.audit(), 'token_refreshed token', 'the audit trail');
select is(pg_temp.value('select payload ->> ''actor_name'' from auth.audit_log_entries'), 'Ada L',
    'with the full name');
select is(pg_temp.got(:'s', 1), '2', 'and the next');
select is(pg_temp.value(format('select concat_ws('' '', ip, user_agent) from auth.sessions where id = %L',
    :'s')),
    '', 'what is not known any more is forgotten');

-- c > n

select is(pg_temp.got(:'s', 4), '400 validation_failed: Invalid Refresh Token: Not Issued By This Server',
    'c > n + 1: never issued');
select is(pg_temp.got(:'s', 9223372036854775807),
    '400 validation_failed: Invalid Refresh Token: Not Issued By This Server', 'the largest counter');
select is(pg_temp.rows(:'s'), '2 00:00:00 refreshed', 'nothing written');
select is(pg_temp.got(:'s', 3), '4', 'c = n + 1: the commit that issued it was lost, and it rotates');
select is(pg_temp.got(:'s', 3), '4 fail-to-save', 'its lost response hurts nobody');
select is(pg_temp.got(:'s', 2), :used, 'the one before it is spent');
select pg_temp.run(format('update auth.refresh_tokens set revoked = false where session_id = %L',
    :'s')) \g /dev/null
select pg_temp.at(:'s', 2, '0') \g /dev/null

-- revoked, whoever did it

select pg_temp.run(format('update auth.refresh_tokens set revoked = true where session_id = %L',
    :'s')) \g /dev/null
select is(pg_temp.got(:'s', 2), :used, 'a row revoked from psql: already used');
select is(pg_temp.got(:'s', 1), :used, 'its predecessor too');
select is(pg_temp.got(:'s', 3), :used, 'and one whose commit was lost');
select is(pg_temp.got(:'s', 4), '400 validation_failed: Invalid Refresh Token: Not Issued By This Server',
    'what was never issued stays so');
select is(pg_temp.rows(:'s'), '2 revoked 00:00:00 refreshed', 'nothing written');
select pg_temp.run(format('update auth.refresh_tokens set revoked = null where session_id = %L',
    :'s')) \g /dev/null
select is(pg_temp.got(:'s', 2), '3', 'revoked of null is not revoked');

-- c = n-1: a lost response hurts nobody, ever

select pg_temp.run(format('update auth.refresh_tokens set revoked = false where session_id = %L',
    :'s')) \g /dev/null
select pg_temp.at(:'s', 5, '30 days') \g /dev/null
select pg_temp.run(format('update auth.sessions set refreshed_at = null where id = %L', :'s')) \g /dev/null
select is(pg_temp.got(:'s', 4), '5 fail-to-save', 'c = n-1: the current token again, a month later');
select is(pg_temp.got(:'s', 4), '5 fail-to-save', 'and again');
select is(pg_temp.rows(:'s'), '5 30 days refreshed', 'no rotation; the session counts as used');
select is(pg_temp.got(:'s', 5), '6', 'the current one rotates still');
select pg_temp.set('security_refresh_token_rotation_enabled = false') \g /dev/null
select is(pg_temp.got(:'s', 5), '6 fail-to-save', 'with rotation off too');
select pg_temp.set('security_refresh_token_rotation_enabled = true, security_refresh_token_algorithm_version = 2') \g /dev/null
select is(pg_temp.got(:'s', 5), '6 fail-to-save', 'and in algorithm 2');
select pg_temp.set('security_refresh_token_algorithm_version = 0') \g /dev/null

-- c < n-1, within the reuse interval

select pg_temp.set('security_refresh_token_reuse_interval = 60') \g /dev/null
select pg_temp.at(:'s', 5, '59 s') \g /dev/null
select is(pg_temp.got(:'s', 3), '5 concurrent-refresh', 'c < n-1 within the interval: the current token');
select is(pg_temp.got(:'s', 0), '5 concurrent-refresh', 'the first one too');
select is(pg_temp.rows(:'s'), '5 00:00:59 refreshed', 'the window is not extended');
select pg_temp.at(:'s', 5, '60 s') \g /dev/null
select is(pg_temp.got(:'s', 3), '5 concurrent-refresh', 'at its end');

-- c < n-1, later; rotation on, algorithm 0 and 1

select pg_temp.at(:'s', 5, '60.001 s') \g /dev/null
select pg_temp.forget_audit() \g /dev/null
select is(pg_temp.got(:'s', 3), :used, 'later: already used');
select is(pg_temp.rows(:'s'), '5 revoked 00:00:00 refreshed', 'the row is revoked, the session stays');
select is(pg_temp.got(:'s', 5), :used, 'so that the live token is dead');
select is(pg_temp.got(:'s', 4), :used, 'and its predecessor');
select is(pg_temp.got(:'s', 3), :used, 'and the interval opens nothing again (differs from Supabase Auth)');
select is(pg_temp.audit(), null, 'the audit trail tells nothing');
select pg_temp.set('security_refresh_token_algorithm_version = 1, security_refresh_token_reuse_interval = 0') \g /dev/null
select pg_temp.at(:'s', 5) \g /dev/null
select is(pg_temp.got(:'s', 3), :used, 'algorithm 1, no interval: already used in the same moment');
select is(pg_temp.rows(:'s'), '5 revoked 00:00:00 refreshed', 'revoked');
select is((postern.get_user(postern.caller(user_id => :'ada', session_id => :'s')) -> 'error')::text, null,
    'access tokens of the session go on until they end');

-- algorithm 2

select pg_temp.set('security_refresh_token_algorithm_version = 2') \g /dev/null
select pg_temp.at(:'s', 5) \g /dev/null
select is(pg_temp.got(:'s', 3), :used || ' (session_ended)',
    'algorithm 2: already used, and the answer says that the session ended');
select is(pg_temp.rows(:'s'), null, 'it is gone');
select is(pg_temp.got(:'s', 5), '400 refresh_token_not_found: Invalid Refresh Token: Refresh Token Not Found',
    'with its live token');
select pg_temp.signed_in(:'ada') as s \gset
select pg_temp.set('security_refresh_token_allow_reuse = true') \g /dev/null
select pg_temp.at(:'s', 5, '1 h') \g /dev/null
select is(pg_temp.got(:'s', 0), '5 always-allow', 'unless reuse is allowed');
select pg_temp.set('security_refresh_token_algorithm_version = 1') \g /dev/null
select is(pg_temp.got(:'s', 0), :used, 'which means nothing in algorithm 1');
select pg_temp.set('security_refresh_token_allow_reuse = false') \g /dev/null

-- rotation off

select pg_temp.set('security_refresh_token_rotation_enabled = false') \g /dev/null
select pg_temp.at(:'s', 5, '1 h') \g /dev/null
select is(pg_temp.got(:'s', 3), :used, 'rotation off: already used');
select is(pg_temp.rows(:'s'), '5 01:00:00 refreshed', 'and nothing is written');
select is(pg_temp.got(:'s', 5), '6', 'the live token lives');
select pg_temp.set('security_refresh_token_algorithm_version = 2') \g /dev/null
select is(pg_temp.got(:'s', 3), :used, 'in algorithm 2 too');
select is(pg_temp.got(:'s', 6), '7', 'where the session lives on');
select pg_temp.set('security_refresh_token_rotation_enabled = true, security_refresh_token_algorithm_version = 0') \g /dev/null

-- Who waits for the disk: a rotation does not, whose loss hurts nobody

create function pg_temp.commit_of(session uuid, counter bigint) returns text language plpgsql as $$
begin
    set local synchronous_commit = on;
    return pg_temp.got(session, counter) || ', ' || current_setting('synchronous_commit');
end
$$;
select pg_temp.at(:'s', 5, '1 h') \g /dev/null
select is(pg_temp.commit_of(:'s', 5), '6, off', 'a rotation');
select is(pg_temp.commit_of(:'s', 7), '8, on', 'one after a lost commit does: that is as far as a client gets ahead');
select is(pg_temp.commit_of(:'s', 7), '8 fail-to-save, on', 'a repetition');
select is(pg_temp.commit_of(:'s', 6), :used || ', on', 'a revocation');
select pg_temp.at(:'s', 5, '1 h') \g /dev/null
select pg_temp.set('hook_custom_access_token_uri = ''https://hooks.example.com'', hook_custom_access_token_enabled = true') \g /dev/null
select is(pg_temp.commit_of(:'s', 5), '6, on', 'a rotation with a hook');
select pg_temp.set('hook_custom_access_token_uri = default, hook_custom_access_token_enabled = false') \g /dev/null

-- Bans and ends, before reuse is looked at: none of them writes

select pg_temp.run(format('update auth.users set banned_until = now() + interval ''1 s'' where id = %L',
    :'ada')) \g /dev/null
select pg_temp.at(:'s', 5) \g /dev/null
select is(pg_temp.got(:'s', 5), '400 user_banned: Invalid Refresh Token: User Banned', 'banned');
select is(pg_temp.got(:'s', 0), '400 user_banned: Invalid Refresh Token: User Banned',
    'with a spent token too');
select is(pg_temp.value(format('select revoked from auth.refresh_tokens where session_id = %L', :'s')),
    'false', 'which is not held against the session');
select pg_temp.run('update auth.users set banned_until = null') \g /dev/null

select pg_temp.run(format('update auth.sessions set not_after = now() - interval ''1 us'' where id = %L',
    :'s')) \g /dev/null
select is(pg_temp.got(:'s', 5), '400 session_expired: Invalid Refresh Token: Session Expired',
    'past its own end');
select pg_temp.run(format('update auth.sessions set not_after = now() where id = %L', :'s')) \g /dev/null
select is(pg_temp.got(:'s', 5), '6', 'not before it');
select pg_temp.run('update auth.sessions set not_after = null') \g /dev/null

select pg_temp.set('sessions_timebox = ''1 hour''') \g /dev/null
select pg_temp.run(format('update auth.sessions set created_at = now() - interval ''59 min'', refreshed_at = null where id = %L',
    :'s')) \g /dev/null
select is(pg_temp.got(:'s', 6), '7', 'within the timebox');
select pg_temp.run(format('update auth.sessions set created_at = now() - interval ''1:00:01'' where id = %L',
    :'s')) \g /dev/null
select is(pg_temp.got(:'s', 7), '400 session_expired: Invalid Refresh Token: Session Expired',
    'past it, however often refreshed');
select pg_temp.set('sessions_timebox = null, sessions_inactivity_timeout = ''1 hour''') \g /dev/null
select is(pg_temp.got(:'s', 7), '8', 'a refresh within the pause allowed');
select pg_temp.run(format('update auth.sessions set refreshed_at = (now() - interval ''1:00:01'') at time zone ''UTC'' where id = %L',
    :'s')) \g /dev/null
select is(pg_temp.got(:'s', 8), '400 session_expired: Invalid Refresh Token: Session Expired (Inactivity)',
    'after a longer pause');
set local timezone = 'America/New_York';
select pg_temp.run(format('update auth.sessions set refreshed_at = (now() - interval ''59 min'') at time zone ''UTC'' where id = %L',
    :'s')) \g /dev/null
select is(pg_temp.got(:'s', 8), '9', 'whatever the session''s time zone');
reset timezone;
select pg_temp.run(format('update auth.sessions set refreshed_at = null where id = %L', :'s')) \g /dev/null
select is(pg_temp.value(format('select postern._session_refusal(%L)', :'s')), null, 'one never refreshed counts from its token');
select pg_temp.set('security_refresh_token_algorithm_version = 2') \g /dev/null
select is(pg_temp.got(:'s', 9), '400 session_expired: Invalid Refresh Token: Session Expired (Inactivity)',
    'or, with tokens of the second kind, from its beginning');
select pg_temp.set('security_refresh_token_algorithm_version = 0') \g /dev/null
select pg_temp.run(format('update auth.refresh_tokens set updated_at = now() - interval ''1:00:01'' where session_id = %L', :'s')) \g /dev/null
select is(pg_temp.got(:'s', 9), '400 session_expired: Invalid Refresh Token: Session Expired (Inactivity)', 'its token is as old');
select pg_temp.run(format('update auth.refresh_tokens set updated_at = now() where session_id = %L', :'s')) \g /dev/null
select pg_temp.set('sessions_inactivity_timeout = null') \g /dev/null

select pg_temp.set('sessions_allow_low_aal = ''1 hour''') \g /dev/null
select is(pg_temp.got(:'s', 9), '10', 'low assurance without a factor goes on');
select pg_temp.run(format($$ insert into auth.mfa_factors (id, user_id, factor_type, status, created_at, updated_at)
    values (gen_random_uuid(), %L, 'totp', 'unverified', now(), now()) $$, :'ada')) \g /dev/null
select is(pg_temp.got(:'s', 10), '11', 'and with a factor that is not verified');
select pg_temp.run('update auth.mfa_factors set status = ''verified''') \g /dev/null
select is(pg_temp.got(:'s', 11),
    '400 session_expired: Invalid Refresh Token: Session Expired (Low AAL: User Needs MFA Verification)',
    'with a verified one it ends');
select pg_temp.run(format('update auth.sessions set aal = null where id = %L', :'s')) \g /dev/null
select is(pg_temp.got(:'s', 11),
    '400 session_expired: Invalid Refresh Token: Session Expired (Low AAL: User Needs MFA Verification)',
    'aal of null is aal1');
select pg_temp.run(format('update auth.sessions set aal = ''aal2'' where id = %L', :'s')) \g /dev/null
select is(pg_temp.got(:'s', 11), '12', 'an aal2 session goes on');
select pg_temp.run(format('update auth.sessions set aal = ''aal1'', created_at = now() where id = %L',
    :'s')) \g /dev/null
select is(pg_temp.got(:'s', 12), '13', 'a young one too');
select pg_temp.run(format($$ insert into auth.mfa_amr_claims (id, session_id, authentication_method, created_at, updated_at)
    values (gen_random_uuid(), %L, 'totp', now(), now() + interval '1 s') $$, :'s')) \g /dev/null
select postern.refresh_session(:'s', 13) #> '{claims}' as claims \gset
select is(:'claims'::jsonb ->> 'aal', 'aal2', 'aal is computed from how the session was authenticated');
select is(jsonb_path_query_array(:'claims'::jsonb, '$.amr[*].method'), '["totp", "password"]'::jsonb,
    'newest method first');
select pg_temp.set('sessions_allow_low_aal = null') \g /dev/null
select is(pg_temp.aal_of(:'s', m.methods), m.aal, 'assurance of ' || m.methods::text)
from (values
    ('{password,totp}'::text[], 'aal2 ["password", "totp"]'), ('{otp,mfa/phone}', 'aal2 ["otp", "mfa/phone"]'),
    ('{mfa/webauthn}', 'aal2 ["mfa/webauthn"]'), ('{oauth,magiclink}', 'aal1 ["oauth", "magiclink"]'),
    ('{mfa/other,totp2,xtotp}', 'aal1 ["mfa/other", "totp2", "xtotp"]'),
    ('{"\",\"method\":\"totp\""}', 'aal1 ["\",\"method\":\"totp\""]'), ('{}', 'aal1 []')) m (methods, aal);

-- One session per user

select pg_temp.run('delete from auth.sessions') \g /dev/null
select pg_temp.set('sessions_single_per_user = true') \g /dev/null
select pg_temp.signed_in(:'ada') as old \gset
select pg_temp.run('update auth.sessions set created_at = now() - interval ''1 h''') \g /dev/null
select pg_temp.signed_in(:'ada') as new \gset
select pg_temp.signed_in(:'bob') as other \gset
\set newer '\'400 session_expired: Invalid Refresh Token: Session Expired (Revoked by Newer Login)\''
select is(pg_temp.got(:'old', 0), :newer, 'single session: the older one ends');
select is(pg_temp.got(:'old', -1), :newer, 'whatever is presented');
select is(pg_temp.got(:'new', 0), '1', 'the newer goes on');
select is(pg_temp.got(:'other', 0), '1', 'other users'' sessions do not count');
select pg_temp.run(format('update auth.sessions set not_after = now() - interval ''1 s'' where id = %L',
    :'new')) \g /dev/null
select is(pg_temp.got(:'old', 0), '1', 'nor does one that is past its end');
select pg_temp.run(format('update auth.sessions set not_after = null, refreshed_at = (now() + interval ''1 s'') at time zone ''UTC'' where id = %L',
    :'new')) \g /dev/null
select pg_temp.set('sessions_tags = ''{web,app}''') \g /dev/null
select is(pg_temp.got(:'old', 1), :newer, 'sessions without a tag are of the first one');
select pg_temp.run(format('update auth.sessions set tag = ''app'' where id = %L', :'new')) \g /dev/null
select is(pg_temp.got(:'old', 1), '2', 'tags count apart');
select pg_temp.run(format('update auth.sessions set tag = ''app'' where id = %L', :'old')) \g /dev/null
select pg_temp.run(format('update auth.sessions set refreshed_at = null where id = %L', :'old')) \g /dev/null
select is(pg_temp.got(:'old', 2), :newer, 'the same tag');
select pg_temp.run(format('update auth.sessions set tag = ''tv'' where id = %L', :'new')) \g /dev/null
select is(pg_temp.got(:'old', 2), '3', 'an unknown tag is the first one');
select pg_temp.set('sessions_single_per_user = false') \g /dev/null

-- Sessions of OAuth clients

select pg_temp.run($$ insert into auth.oauth_clients (id, registration_type, redirect_uris, grant_types, client_name, client_type, token_endpoint_auth_method)
    values ('00000000-0000-0000-0000-0000000000c1', 'manual', 'https://x', 'refresh_token', 'x', 'public', 'none') $$) \g /dev/null
select pg_temp.run(format('update auth.sessions set oauth_client_id = ''00000000-0000-0000-0000-0000000000c1'', scopes = ''a "b'' where id = %L',
    :'old')) \g /dev/null
select is(pg_temp.got(:'old', 3), '400 invalid_client: Client authentication required for OAuth session',
    'a session of an OAuth client');
select pg_temp.run('update auth.sessions set oauth_client_id = null') \g /dev/null
select is(postern.refresh_session(:'old', 3) #>> '{claims,scope}', 'a "b', 'scopes are a claim');

-- Limit

select pg_temp.set('rate_limit_token_refresh = 0') \g /dev/null
select pg_temp.got(gen_random_uuid(), 0, postern.caller(limiter_key => 'k')) from generate_series(1,
    30) \g /dev/null
select is(pg_temp.got(:'old', 4, postern.caller(limiter_key => 'k')),
    '429 over_request_rate_limit: Request rate limit reached', 'one client''s 31st');
select is(pg_temp.got(:'old', 4), '5', 'which did not rotate');

-- Rows of a script's making: more than one live row, times that are null

select pg_temp.run(format($$ insert into auth.refresh_tokens (session_id, user_id, counter) values (%L, 'x', 40) $$, :'old')) \g /dev/null
select is(pg_temp.got(:'old', 40), '41', 'the newest row counts');
select is(pg_temp.got(:'old', 5), :used, 'an old row''s counter is a spent one');
select pg_temp.run(format('update auth.sessions set created_at = null, updated_at = null, refreshed_at = null where id = %L', :'other')) \g /dev/null
select pg_temp.run(format('update auth.refresh_tokens set created_at = null, updated_at = null
        where session_id = %L', :'other')) \g /dev/null
select pg_temp.set('sessions_timebox = ''1 h'', sessions_inactivity_timeout = ''1 h'', sessions_single_per_user = true, sessions_allow_low_aal = ''1 h'',
    security_refresh_token_reuse_interval = 10') \g /dev/null
select is(pg_temp.got(:'other', 1), '2', 'a session without times goes on');

reset session authorization;
select * from finish();
rollback;
