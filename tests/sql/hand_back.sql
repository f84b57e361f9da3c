-- postern.hand_back_sessions, replace_factor_secrets and clear_one_time_tokens: what goes back to Supabase Auth.
begin;
select plan(13);
\ir support.psql
select pg_temp.account('ada@example.com') as ada \gset
select pg_temp.signed_in(:'ada') as one, pg_temp.signed_in(:'ada') as two, pg_temp.signed_in(:'ada') as three,
    pg_temp.signed_in(:'ada') as four \gset
select postern.refresh_session(:'one', 0) \g /dev/null
update auth.refresh_tokens set revoked = true where session_id = :'two';
-- As Supabase Auth keeps its second-generation tokens: a key and a counter, and no row.
update auth.sessions set refresh_token_hmac_key = 'theirs', refresh_token_counter = 7 where id = :'three';
delete from auth.refresh_tokens where session_id = :'three';
delete from auth.refresh_tokens where session_id = :'four';
create function pg_temp.keys(session uuid) returns text language sql as $$
    select concat_ws(' ', refresh_token_hmac_key, refresh_token_counter) from auth.sessions where id = session
$$;
select quote_ident(pg_get_userbyid(nspowner)) as owner from pg_namespace where nspname = 'postern' \gset
set local role :owner;

select is(postern.hand_back_sessions(array[:'one', :'two', :'three', :'four',
    gen_random_uuid()::text]::uuid[], '{k1,k2,k3,k4,k5}'),
    1, 'one session is handed back');
select is(pg_temp.keys(:'one'), 'k1 1', 'with its key and counter');
select is(pg_temp.keys(:'two'), '', 'a revoked one gets no key');
select is(pg_temp.keys(:'three'), 'theirs 7', 'one that kept Supabase Auth''s key keeps it');
select is(pg_temp.keys(:'four'), '', 'one without a token gets none');
select postern.hand_back_sessions(array[:'one']::uuid[], '{k1}') \g /dev/null
select is(postern.hand_back_sessions('{}', '{}'), 0, 'no session, nothing to do');
select is(pg_temp.keys(:'one'), 'k1 1', 'a second run leaves the key');

reset role;
insert into auth.mfa_factors (id, user_id, factor_type, status, friendly_name, secret, created_at, updated_at)
select md5(secret)::uuid, :'ada', 'totp', 'verified', secret, secret, now(), now() from unnest('{s1,s2,s3}'::text[]) secret;
insert into auth.mfa_challenges (id, factor_id, created_at, ip_address, otp_code)
select gen_random_uuid(), f.id, now(), '::1', nullif(f.secret, 's3') from auth.mfa_factors f;
set local role :owner;
select is(postern.replace_factor_secrets(array[md5('s1'), md5('s2'), md5('s3')]::uuid[], '{s1,changed,s3}', '{p1,p2,null}'),
    1, 'one secret is handed back');
select is((select string_agg(secret, ',' order by secret) from auth.mfa_factors), 'p1,s2,s3', 'one that changed, and one that cannot be read, stay');
reset role;
insert into auth.one_time_tokens (id, user_id, token_type, token_hash, relates_to) values (gen_random_uuid(),
    :'ada', 'recovery_token', 'h', 'x');
update auth.users set confirmation_token = 'a', recovery_token = 'b', email_change_token_new = 'c',
    email_change_token_current = 'd', phone_change_token = 'e',
    reauthentication_token = 'f', email_change = 'n@x';
-- A user's trigger on the accounts, as Supabase Auth would run it: search_path = auth (contract schema.md 8).
create table auth.seen (path text);
create function public.note() returns trigger language plpgsql security definer as $$ begin insert into seen values (current_setting('search_path')); return new; end $$;
create trigger note after update on auth.users for each row execute function public.note();
set local role :owner;
select lives_ok('select postern.clear_one_time_tokens()', 'users'' triggers find the tables of auth');
reset role;
drop trigger note on auth.users;
set local role :owner;
select postern.clear_one_time_tokens() \g /dev/null
select is((select count(*)::int from auth.one_time_tokens), 0, 'codes are void');
select is((select count(*)::int from auth.mfa_challenges), 1, 'of challenges those with a code');
select is((select concat(confirmation_token, recovery_token, email_change_token_new, email_change_token_current, phone_change_token, reauthentication_token, email_change) from auth.users),
    'n@x', 'and links, but not what they were for');
reset role;

select * from finish();
rollback;
