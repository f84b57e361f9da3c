-- No function of a request reads a table from one end to the other: in a young database before its first analyze, after a bulk
-- import, and with good statistics.
begin;
\ir support.psql
select pg_temp.set('jwt_aud = ''authenticated'', jwt_default_group_name = ''authenticated'', rate_limit_email_sent = ''100000'',
    mailer_autoconfirm = false, smtp_max_frequency = ''0'', sms_autoconfirm = false, sms_max_frequency = ''0'',
    external_phone_enabled = true, external_anonymous_users_enabled = true, sessions_single_per_user = true') \g /dev/null
-- The first account, with the first session of all: whatever reads tables backwards meets it last.
select pg_temp.account('ada@example.com') as ada \gset
select pg_temp.signed_in(:'ada') as session \gset

-- The others come from a bulk import, with a sign-up under way, a flow, a mail and an old kind of refresh token each.
create temporary table imported as
select n, gen_random_uuid() as id, format('user%s@example.org', n) as email, (44000000000 + n)::text as phone
from generate_series(1, 20000) n;
create function pg_temp.import(first integer, last integer) returns void language plpgsql security definer as $$
begin
    create temporary table import on commit drop as select * from imported where n between first and last;
    insert into auth.users (instance_id, id, aud, role, email, phone, encrypted_password, created_at, updated_at, confirmation_token,
        phone_change, is_anonymous)
    select '00000000-0000-0000-0000-000000000000', id, 'authenticated', 'authenticated', email, phone, '', now(), now(),
        format('c%s', n), (55000000000 + n)::text, n % 2 = 0
    from import;
    insert into auth.identities (provider_id, user_id, identity_data, provider, created_at, updated_at)
    select id::text, id, jsonb_build_object('sub', id, 'email', email), 'email', now(), now() from import;
    insert into auth.sessions (id, user_id, created_at, updated_at, aal) select id, id, now(), now(), 'aal1' from import;
    insert into auth.refresh_tokens (instance_id, token, user_id, session_id, revoked, created_at, updated_at)
    select '00000000-0000-0000-0000-000000000000', format('t%s', n), id, id, false, now(), now() from import;
    insert into auth.mfa_amr_claims (id, session_id, authentication_method, created_at, updated_at)
    select gen_random_uuid(), id, 'password', now(), now() from import;
    insert into auth.one_time_tokens (id, user_id, token_type, token_hash, relates_to)
    select gen_random_uuid(), id, 'confirmation_token', format('c%s', n), email from import;
    insert into auth.flow_state (id, user_id, auth_code, code_challenge_method, code_challenge, provider_type, authentication_method,
        created_at, updated_at)
    select gen_random_uuid(), id, format('a%s', n), 's256', repeat('x', 43), 'email', 'recovery', now(), now() from import;
    insert into auth.outbox (id, user_id, channel, kind, recipient, state, next_attempt_at, expires_at)
    select gen_random_uuid(), id, 'email', 'recovery', email, 'queued', now() + interval '1 day', now() + interval '2 days' from import;
    drop table import;
end
$$;
select pg_temp.import(1, 2000) \g /dev/null

-- reads() is how many rows of the data a statement reads, deletes and updates included.
create function pg_temp.rows_read() returns bigint language sql security definer as $$
    select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_xact_user_tables where schemaname = 'auth'
$$;
create function pg_temp.reads(statement text) returns bigint language plpgsql as $$
declare
    v_before bigint := pg_temp.rows_read();
begin
    execute statement;
    return pg_temp.rows_read() - v_before;
end
$$;
create function pg_temp.few(statement text) returns text language plpgsql as $$
declare
    v_read bigint := pg_temp.reads(statement);
begin
    return ok(v_read between 1 and 100, format('%s: %s rows', statement, v_read));
end
$$;
create function pg_temp.minted(name text) returns text language sql as $$
    select format('postern.envelope(outbox_id => gen_random_uuid(), code_hmac => sha256(%L), link_digest => %L, sealed => ''\x00'')', name, name)
$$;

create temporary table requests (place integer generated always as identity, statement text);
insert into requests (statement)
select format(s, :'ada', :'session', pg_temp.minted('m' || row_number() over ()),
    (select id from imported where n = 19), (select id from imported where n = 20), (select o.id from auth.outbox o limit 1))
from unnest(array[
    'select postern.get_user(postern.caller(user_id => %1$L, session_id => %2$L))',
    'select * from postern.get_users(array[%1$L, %1$L, %4$L]::uuid[], array[%2$L, null, %4$L]::uuid[])',
    'select postern.refresh_session(%2$L, (select counter from auth.refresh_tokens where session_id = %2$L))',
    'select postern.refresh_session(%2$L, (select counter - 1 from auth.refresh_tokens where session_id = %2$L))',
    'select postern.refresh_adopted_session(token => ''t1'', token_digest => ''d1'')',
    'select postern.refresh_adopted_session(token => ''nobody'', token_digest => ''nobody'')',
    'select postern.find_password(email => ''ada@example.com'')',
    'select postern.find_password(email => ''nobody@example.com'')',
    'select postern.find_password(phone => ''44000000007'')',
    'select postern.sign_in_with_password(user_id => %1$L, provider => ''email'', is_valid => true, compared_digest => pg_temp.digest())',
    'select postern.sign_up(email => ''new@example.com'', password_hash => pg_temp.hash(), envelope => %3$s)',
    'select postern.sign_up(email => ''user9@example.org'', password_hash => pg_temp.hash(), envelope => %3$s)',
    'select postern.sign_up(phone => ''44000000008'', password_hash => pg_temp.hash(), envelope => %3$s)',
    'select postern.sign_up_anonymously()',
    'select postern.request_recovery(''ada@example.com'', repeat(''x'', 43), ''s256'', envelope => %3$s)',
    'select postern.request_magic_link(''user10@example.org'', envelope => %3$s)',
    'select postern.request_magic_link(''nobody@example.org'', envelope => %3$s)',
    'select postern.request_sms(''44000000011'', envelope => %3$s)',
    'select postern.request_sms(''44000000021'', envelope => postern.envelope(outbox_id => md5(''taken'')::uuid,
        code_hmac => sha256(''x''), link_digest => ''taken'', sealed => ''\x00''))',
    'select postern.take_back(array[md5(''taken'')::uuid])',
    'select postern.prepare_user(email => ''nobody@example.net'')',
    'select postern.resend(''signup'', email => ''user12@example.org'', envelope => %3$s)',
    'select postern.resend(''phone_change'', phone => ''55000000012'', envelope => %3$s)',
    'select postern.reauthenticate(envelope => %3$s, caller => postern.caller(user_id => %1$L))',
    'select postern.update_user(caller => postern.caller(user_id => %1$L), data => ''{"a": 1}'')',
    'select postern.update_user(caller => postern.caller(user_id => %1$L), email => ''ada2@example.com'', envelope => %3$s,
        second_envelope => ' || pg_temp.minted('second') || ')',
    'select postern.update_user(caller => postern.caller(user_id => %1$L), phone => ''66000000001'', envelope => %3$s)',
    'select postern.verify_one_time_token(type => ''signup'', link_digest => ''c13'')',
    'select postern.verify_one_time_token(type => ''recovery'', link_digest => ''m14'', is_pkce => true)',
    'select postern.verify_one_time_token(type => ''email'', email => ''user14@example.org'', code_hmacs => array[sha256(''x'')])',
    'select postern.verify_one_time_token(type => ''email_change'', email => ''ada2@example.com'', code_hmacs => array[sha256(''x'')])',
    'select postern.verify_one_time_token(type => ''sms'', phone => ''44000000015'', code_hmacs => array[sha256(''x'')])',
    'select postern.verify_one_time_token(type => ''phone_change'', phone => ''55000000016'', code_hmacs => array[sha256(''x'')])',
    'select postern.exchange_auth_code(''a17'', repeat(''x'', 43))',
    'select postern.exchange_auth_code(''nobody'', repeat(''x'', 43))',
    'select postern.admin_get_user(postern.caller(role => ''service_role''), %1$L)',
    'select postern.admin_create_user(postern.caller(role => ''service_role''), email => ''made@example.com'')',
    'select postern.admin_update_user(postern.caller(role => ''service_role''), %1$L, email => ''ada3@example.com'')',
    'select postern.admin_invite_user(postern.caller(role => ''service_role''), email => ''guest@example.com'', envelope => %3$s)',
    'select postern.admin_generate_link(postern.caller(role => ''service_role''), type => ''magiclink'', email => ''user18@example.org'', envelope => %3$s)',
    'select postern.admin_delete_user(postern.caller(role => ''service_role''), %4$L)',
    'select postern.delete_user(%5$L)',
    'select postern.claim_outbox(''worker'')',
    'select postern.record_delivery(%6$L, ''worker'', ''sent'')',
    'select postern.log_out(postern.caller(user_id => %1$L, session_id => %2$L), ''others'')',
    'select postern.log_out(postern.caller(user_id => %1$L, session_id => %2$L))']) s;

select plan((select 3 * count(*)::integer from requests));
savepoint young;
select pg_temp.few(statement) from requests order by place;
rollback to savepoint young;
select pg_temp.import(2001, 20000) \g /dev/null
savepoint imported;
select pg_temp.few(statement) from requests order by place;
rollback to savepoint imported;
analyze auth.users, auth.identities, auth.sessions, auth.refresh_tokens, auth.mfa_amr_claims, auth.one_time_tokens, auth.flow_state, auth.outbox;
select pg_temp.few(statement) from requests order by place;

select * from finish();
rollback;
