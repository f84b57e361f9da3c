-- postern.refresh_adopted_session: tokens that Supabase Auth issued (DESIGN 7; contract core.md 4.7, 4.8).
begin;
select plan(60);
\ir support.psql
select pg_temp.set('jwt_aud = ''authenticated''') \g /dev/null
select pg_temp.account('ada@example.com') as ada \gset

-- RFC 4231, cases 1, 2, 3 and 6 (a key longer than a block).
select is(encode(postern._hmac_sha256(v.key, v.message), 'hex'), v.mac, 'HMAC-SHA-256: RFC 4231 case ' || v.n)
  from (values
    (1, decode(repeat('0b', 20), 'hex'), 'Hi There'::bytea,
        'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7'),
    (2, 'Jefe', 'what do ya want for nothing?',
        '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'),
    (3, decode(repeat('aa', 20), 'hex'), decode(repeat('dd', 50), 'hex'),
        '773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe'),
    (6, decode(repeat('aa', 131), 'hex'), 'Test Using Larger Than Block-Size Key - Hash Key First',
        '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54')) v (n, key, message, mac);
select is(postern._base64url_decode(v.given), v.wanted::bytea, 'base64url: ' || v.given)
  from (values ('', ''), ('_-8', '\xffef'), ('Zg', 'f'), ('Zm8', 'fo'), ('Zm9v', 'foo'),
      ('Zm9vYg', 'foob')) v (given, wanted);

-- old_session() is a session as Supabase Auth leaves it, with its chain of tokens: each the parent of the next, all but the
-- last revoked.
create function pg_temp.old_session(tokens text[]) returns uuid
language plpgsql security definer as $$
declare
    v_session uuid := gen_random_uuid();
begin
    insert into auth.sessions (id, user_id, created_at, updated_at, aal)
    select v_session, id, now() - interval '1 day', now() - interval '1 day', 'aal1' from auth.users;
    insert into auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, parent, session_id)
    select '00000000-0000-0000-0000-000000000000', t.token, u.id, t.n < array_length(tokens, 1), now() - interval '1 h',
           now() - interval '1 h', lag(t.token) over (order by t.n), v_session
      from auth.users u, unnest(tokens) with ordinality t (token, n)
     order by t.n;
    return v_session;
end
$$;
create function pg_temp.sha(token text) returns text language sql immutable as $$
    select encode(sha256(convert_to(token, 'UTF8')), 'hex')
$$;
-- outcome() is what an answer says: counter and reason, or the refusal.
create function pg_temp.outcome(answer json) returns text language sql immutable as $$
    select case when answer -> 'error' is not null
        then pg_temp.refused(answer) || coalesce(' (' || (answer #>> '{error,fact}') || ')', '')
        else concat_ws(' ', answer #>> '{session,counter}', answer #>> '{session,reuse}') end
$$;
-- present() presents a 12-character token, as the gateway does.
create function pg_temp.present(token text, caller postern.caller default null) returns text language sql as $$
    select pg_temp.outcome(postern.refresh_adopted_session(
        token => present.token, token_digest => pg_temp.sha(present.token), caller => present.caller))
$$;
create function pg_temp.chain(session uuid) returns text language sql security definer as $$
    select string_agg(concat_ws(' ', left(coalesce(token, '-'), 12), case when revoked then 'revoked' end, counter), ', ' order by id)
      from auth.refresh_tokens where session_id = session
$$;
\set used '\'400 refresh_token_already_used: Invalid Refresh Token: Already Used\''
\set unknown '\'400 refresh_token_not_found: Invalid Refresh Token: Refresh Token Not Found\''

-- 12 characters, never refreshed

select pg_temp.old_session('{aaaaaaaaaaa1}') as s \gset
set local session authorization postern_gateway;
select is(pg_temp.present('aaaaaaaaaaa2'), :unknown, 'an unknown token');
select is(pg_temp.present('aaaaaaaaaaa1'), '1', 'the live token counts as 0 and rotates');
select is(pg_temp.value(format('select token from auth.refresh_tokens where session_id = %L', :'s')),
    pg_temp.sha('aaaaaaaaaaa1'),
    'at first use it is replaced by its SHA-256');
select is(pg_temp.present('aaaaaaaaaaa1'), '1 fail-to-save',
    'presented again: the current token, a lost response hurts nobody');
select is(pg_temp.outcome(postern.refresh_session(:'s', 1)), '2', 'whose successor rotates as ours do');
select is(pg_temp.present('aaaaaaaaaaa1'), :used, 'then it is spent');
select is(pg_temp.chain(:'s'), left(pg_temp.sha('aaaaaaaaaaa1'), 12) || ' revoked 2',
    'and its reuse revokes the session''s tokens');

-- A chain

reset session authorization;
select pg_temp.old_session('{bbbbbbbbbbb1,bbbbbbbbbbb2,bbbbbbbbbbb3}') as s \gset
set local session authorization postern_gateway;
select matches(pg_temp.present('bbbbbbbbbbb2'), '^0 ',
    'the parent of a live token: the current one again, after an hour');
select is(pg_temp.value(format('select counter from auth.refresh_tokens where session_id = %L
        order by id desc limit 1',
    :'s')),
    '0', 'without rotating');
select is(pg_temp.present('bbbbbbbbbbb3'), '1', 'the live one rotates');
select is(pg_temp.present('bbbbbbbbbbb2'), :used, 'after which its parent is spent');
select is(pg_temp.outcome(postern.refresh_session(:'s', 1)), :used,
    'and its reuse ends the tokens of the session');
reset session authorization;
select pg_temp.old_session('{ccccccccccc1,ccccccccccc2,ccccccccccc3}') as s \gset
set local session authorization postern_gateway;
select is(pg_temp.present('ccccccccccc1'), :used, 'a grandparent is spent');
select is(pg_temp.present('ccccccccccc3'), :used, 'and its reuse ends the live one');
reset session authorization;
select pg_temp.old_session('{ddddddddddd1,ddddddddddd2,ddddddddddd3}') as s \gset
select pg_temp.set('security_refresh_token_rotation_enabled = false') \g /dev/null
set local session authorization postern_gateway;
select is(pg_temp.present('ddddddddddd1'), :used, 'with rotation off a grandparent is spent');
select is(pg_temp.present('ddddddddddd3'), '1', 'but ends nothing');
select pg_temp.set('security_refresh_token_rotation_enabled = true, security_refresh_token_reuse_interval = 7200') \g /dev/null
reset session authorization;
select pg_temp.old_session('{eeeeeeeeeee1,eeeeeeeeeee2,eeeeeeeeeee3}') as s \gset
set local session authorization postern_gateway;
select is(pg_temp.present('eeeeeeeeeee1'), '0 concurrent-refresh',
    'within the reuse interval a grandparent gets the current token');
select pg_temp.set('security_refresh_token_reuse_interval = 0') \g /dev/null

-- A sibling that the reuse interval of Supabase Auth made: both live.
reset session authorization;
select pg_temp.old_session('{fffffffffff1,fffffffffff2}') as s \gset
update auth.refresh_tokens set revoked = false where token = 'fffffffffff1';
set local session authorization postern_gateway;
select matches(pg_temp.present('fffffffffff1'), '^0 ', 'of two live tokens the older gets the current one');
select is(pg_temp.present('fffffffffff2'), '1', 'the newer rotates');

-- All revoked: signed out by reuse, there.
reset session authorization;
select pg_temp.old_session('{ggggggggggg1,ggggggggggg2}') as s \gset
update auth.refresh_tokens set revoked = true where session_id = :'s';
set local session authorization postern_gateway;
select is(pg_temp.present('ggggggggggg2'), :used, 'revoked by Supabase Auth stays revoked');
select is(pg_temp.present('ggggggggggg1'), :used, 'its parent too');

-- No session, banned, limited
reset session authorization;
insert into auth.refresh_tokens (token, user_id, revoked) values ('hhhhhhhhhhh1', :'ada', false);
select pg_temp.old_session('{hhhhhhhhhhh2}') as s \gset
set local session authorization postern_gateway;
select is(pg_temp.present('hhhhhhhhhhh1'),
    '400 session_not_found: Invalid Refresh Token: No Valid Session Found', 'a token without a session');
select is(pg_temp.present('hhhhhhhhhhh1'), :unknown, 'is deleted');
select pg_temp.run('update auth.users set banned_until = ''infinity''') \g /dev/null
select is(pg_temp.present('hhhhhhhhhhh2'), '400 user_banned: Invalid Refresh Token: User Banned', 'banned');
select is(pg_temp.chain(:'s'), 'hhhhhhhhhhh2 0', 'a refusal replaces nothing');
select pg_temp.run('update auth.users set banned_until = null') \g /dev/null
select pg_temp.set('rate_limit_token_refresh = 0') \g /dev/null
select pg_temp.present('x', postern.caller(limiter_key => 'k')) from generate_series(1, 29) \g /dev/null
select is(pg_temp.present('hhhhhhhhhhh2', postern.caller(limiter_key => 'k')), '1',
    'the 30th of one client: it counts once, though two functions run');
select is(pg_temp.present('hhhhhhhhhhh2', postern.caller(limiter_key => 'k')),
    '429 over_request_rate_limit: Request rate limit reached', 'the 31st');
select pg_temp.set('rate_limit_token_refresh = 150') \g /dev/null

-- Second generation: session id, counter, and a MAC with the session's key

reset session authorization;
create function pg_temp.old_v2(counter bigint) returns uuid language plpgsql security definer as $$
declare
    v_session uuid := gen_random_uuid();
begin
    insert into auth.sessions (id, user_id, created_at, updated_at, aal, refresh_token_hmac_key, refresh_token_counter)
    select v_session, id, now() - interval '1 day', now(), 'aal1', translate(encode(sha256('key'), 'base64'), '+/=', '-_'), old_v2.counter
      from auth.users;
    return v_session;
end
$$;
create function pg_temp.present_v2(session uuid, counter bigint, mac bytea default null) returns text language plpgsql as $$
declare
    v_signed bytea := decode('00' || replace(session::text, '-', ''), 'hex') || set_byte('\x00'::bytea, 0, counter::integer);
begin
    return pg_temp.outcome(postern.refresh_adopted_session(
        session_id => session, counter => present_v2.counter, signed => v_signed,
        mac => coalesce(mac, pg_temp.value(format('select substr(postern._hmac_sha256(sha256(''key''), %L), 1, 16)', v_signed))::bytea),
        token_digest => pg_temp.sha(session::text || '.' || counter)));
end
$$;
create function pg_temp.keys(session uuid) returns text language sql security definer as $$
    select concat_ws(' ', left(refresh_token_hmac_key, 4), refresh_token_counter, (
        select string_agg(concat_ws('/', counter, left(parent, 6), case when revoked then 'revoked' end), ', ' order by t.id)
          from auth.refresh_tokens t where t.session_id = s.id))
      from auth.sessions s where s.id = session
$$;

set local session authorization postern_gateway;
select pg_temp.value('select pg_temp.old_v2(2)') as s \gset
select is(pg_temp.present_v2(:'s', 2, '\x00'), :unknown, 'v2: a wrong MAC');
select is(pg_temp.present_v2(:'s', 2, ''), :unknown, 'no MAC');
select is(pg_temp.present_v2(gen_random_uuid(), 2), :unknown, 'an unknown session');
select is(pg_temp.keys(:'s'), left(translate(encode(sha256('key'), 'base64'), '+/=', '-_'), 4) || ' 2', 'nothing is written for these');
select is(pg_temp.present_v2(:'s', 4), '400 validation_failed: Invalid Refresh Token: Not Issued By This Server', 'a counter never issued');
select is(pg_temp.present_v2(:'s', 1), '2 fail-to-save', 'd = 1: the current token again');
select is(pg_temp.present_v2(:'s', 2), '3', 'd = 0: rotates');
select is(pg_temp.keys(:'s'), '3/' || left(pg_temp.sha(:'s' || '.2'), 6), 'from then on the derived key counts; of the old one the last token is remembered');
select is(pg_temp.present_v2(:'s', 2), '3 fail-to-save', 'presented again: the current token, a lost response hurts nobody');
select is(pg_temp.present_v2(:'s', 1), :unknown, 'older ones are not known any more');
select is(pg_temp.outcome(postern.refresh_session(:'s', 3)), '4', 'the successor rotates as ours do');
select is(pg_temp.present_v2(:'s', 2), :used, 'then the last old one is spent');
select is(pg_temp.outcome(postern.refresh_session(:'s', 4)), :used, 'and its reuse revokes the session''s token');

select pg_temp.value('select pg_temp.old_v2(5)') as s \gset
select is(pg_temp.present_v2(:'s', 3), :used || ' (session_ended)', 'v2, d > 1: already used, the session ends, as there');
select is(pg_temp.keys(:'s'), null, 'it is gone');
select pg_temp.value('select pg_temp.old_v2(5)') as s \gset
select pg_temp.set('security_refresh_token_rotation_enabled = false') \g /dev/null
select is(pg_temp.present_v2(:'s', 3), :used, 'with rotation off it stays');
select is(pg_temp.present_v2(:'s', 5), '6', 'and goes on');
select pg_temp.set('security_refresh_token_rotation_enabled = true, security_refresh_token_reuse_interval = 172800') \g /dev/null
select pg_temp.value('select pg_temp.old_v2(5)') as s \gset
select is(pg_temp.present_v2(:'s', 3), '5 concurrent-refresh', 'within the reuse interval: the current token');
select pg_temp.set('security_refresh_token_reuse_interval = 0') \g /dev/null

-- What a broken row holds must not be a server error for ever, or a way in.
select pg_temp.value('select pg_temp.old_v2(0)') as s \gset
select pg_temp.run(format('update auth.sessions set refresh_token_counter = null
        where id = %L', :'s')) \g /dev/null
select matches(pg_temp.present_v2(:'s', 0), '^(400 refresh_token_not_found: |1$)', 'a key without a counter is no server error');
select pg_temp.run(format('update auth.sessions set refresh_token_hmac_key = ''{"key_id":"x"}''
        where id = %L', :'s')) \g /dev/null
select matches(pg_temp.present_v2(:'s', 0), '^(400 refresh_token_not_found|500 unexpected_failure)', 'a key encrypted by Supabase Auth opens nothing');
select is(pg_temp.outcome(postern.refresh_adopted_session()), :unknown, 'nothing presented');
select pg_temp.value('select pg_temp.old_v2(0)') as s \gset
select is(pg_temp.outcome(postern.refresh_adopted_session(session_id => :'s', counter => 0)), :unknown, 'a missing MAC is a wrong MAC');
select is(pg_temp.outcome(postern.refresh_adopted_session(session_id => :'s', counter => 0, signed => '\x00')), :unknown, 'with signed bytes too');

reset session authorization;
select * from finish();
rollback;
