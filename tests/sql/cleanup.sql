-- postern.cleanup: what has expired goes, in small batches (contract core.md 12.6).
begin;
select plan(51);
\ir support.psql
-- cleaned() runs it and lists what it deleted.
create function pg_temp.cleaned(batch integer default 100) returns text language sql as $$
    select coalesce((
        select string_agg(d.key || ' ' || d.value, ', ' order by d.key)
        from json_each_text(postern.cleanup(batch) #> '{body,deleted}') d where d.value <> '0'), 'nothing')
$$;
create function pg_temp.age(tbl text, cond text, col text, age interval) returns void language plpgsql security definer as $$
begin
    execute format('update auth.%I set %I = now() - %L::interval where %s', tbl, col, age, cond);
end
$$;
select pg_temp.account('ada@example.com') as ada \gset
set local session authorization postern_gateway;

select is(pg_temp.cleaned(), 'nothing', 'nothing to delete');
select is(postern.cleanup() #>> '{body,is_done}', 'true', 'so it is done');

-- Sessions and tokens
select pg_temp.signed_in(:'ada') as session \gset
select is(pg_temp.cleaned(), 'nothing', 'a session stays');
select pg_temp.age('sessions', 'true', 'not_after', '23 h') \g /dev/null
select is(pg_temp.cleaned(), 'nothing', 'one that ended less than a day ago too');
select pg_temp.age('sessions', 'true', 'not_after', '25 h') \g /dev/null
select is(pg_temp.cleaned(), 'refresh_tokens_revoked 1', 'after a day its token is revoked');
select is(pg_temp.cleaned(), 'nothing', 'once');
select pg_temp.age('refresh_tokens', 'true', 'updated_at', '25 h') \g /dev/null
select is(pg_temp.cleaned(), 'refresh_tokens 1', 'a day later the token goes');
select pg_temp.age('sessions', 'true', 'not_after', '73 h') \g /dev/null
select is(pg_temp.cleaned(), 'sessions 1', 'after three days the session');

select pg_temp.signed_in(:'ada') as session \gset
select pg_temp.age('sessions', 'true', 'created_at', '3 days') \g /dev/null
select pg_temp.age('refresh_tokens', 'true', 'updated_at', '3 days') \g /dev/null
select is(pg_temp.cleaned(), 'nothing', 'without a timebox an old session stays');
select pg_temp.set('sessions_timebox = ''2 days 1 hour''') \g /dev/null
select is(pg_temp.cleaned(), 'nothing', 'a session past its timebox stays for a day');
select pg_temp.set('sessions_timebox = ''47 hours''') \g /dev/null
select is(pg_temp.cleaned(), 'timed_out_sessions 1', 'and goes then');
select pg_temp.signed_in(:'ada') as session \gset
select pg_temp.age('refresh_tokens', 'true', 'updated_at', '3 days') \g /dev/null
select pg_temp.set('sessions_timebox = null, sessions_inactivity_timeout = ''47 hours''') \g /dev/null
select is(pg_temp.cleaned(), 'timed_out_sessions 1', 'a session that was never refreshed goes by its token');
select pg_temp.signed_in(:'ada') as session \gset
select pg_temp.run('update auth.sessions set refreshed_at = now() at time zone ''UTC''') \g /dev/null
select pg_temp.age('refresh_tokens', 'true', 'updated_at', '3 days') \g /dev/null
select is(pg_temp.cleaned(), 'nothing', 'one that was, by that time');
select pg_temp.run('update auth.sessions set refreshed_at = (now() - interval ''3 days'') at time zone ''UTC''') \g /dev/null
select is(pg_temp.cleaned(), 'timed_out_sessions 1', 'when it is long ago');

-- Anonymous users
select postern.sign_up_anonymously() \g /dev/null
select pg_temp.set('external_anonymous_users_enabled = true, sessions_inactivity_timeout = null') \g /dev/null
select postern.sign_up_anonymously() \g /dev/null
select is(pg_temp.cleaned(), 'nothing', 'an anonymous user stays');
select pg_temp.age('users', 'true', 'created_at', '31 days') \g /dev/null
select pg_temp.set('external_anonymous_users_enabled = false') \g /dev/null
select is(pg_temp.cleaned(), 'nothing', 'for ever, where anonymous sign-in is off');
select pg_temp.set('external_anonymous_users_enabled = true') \g /dev/null
select pg_temp.set('anonymous_users_retention = null') \g /dev/null
select is(pg_temp.cleaned(), 'nothing', 'for ever, where they are kept');
select pg_temp.set('anonymous_users_retention = ''32 days''') \g /dev/null
select is(pg_temp.cleaned(), 'nothing', 'as long as the settings say');
select pg_temp.set('anonymous_users_retention = ''30 days''') \g /dev/null
select is(pg_temp.cleaned(), 'nothing', 'and while it has signed in since');
select pg_temp.age('sessions', 'true', 'created_at', '31 days') \g /dev/null
select pg_temp.run('update auth.sessions set refreshed_at = (now() - interval ''29 days'') at time zone ''UTC''') \g /dev/null
select is(pg_temp.cleaned(), 'nothing', 'or refreshed since');
select pg_temp.run('update auth.sessions set refreshed_at = (now() - interval ''31 days'') at time zone ''UTC''') \g /dev/null
select is(pg_temp.cleaned(), 'anonymous_users 1', 'then it goes; accounts stay');
select postern.sign_up_anonymously() \g /dev/null
select pg_temp.age('users', 'is_anonymous', 'created_at', '31 days') \g /dev/null
select pg_temp.run('delete from auth.sessions where user_id in (select id from auth.users where is_anonymous)') \g /dev/null
select is(pg_temp.cleaned(), 'anonymous_users 1', 'who has signed out is gone after as long');
select throws_ok($$ select pg_temp.set('anonymous_users_retention = ''0''') $$, '23514', null, 'nobody is kept for no time');

-- A foreign key that refuses holds up its own part only.
select postern.sign_up_anonymously() \g /dev/null
select pg_temp.age('users', 'is_anonymous', 'created_at', '31 days') \g /dev/null
select pg_temp.age('sessions', 'true', 'created_at', '31 days') \g /dev/null
select pg_temp.run('create table public.notes (owner uuid references auth.users (id))') \g /dev/null
select pg_temp.run('insert into public.notes select id from auth.users where is_anonymous') \g /dev/null
select pg_temp.run($$ insert into auth.oauth_client_states (id, provider_type, created_at)
    values (gen_random_uuid(), 'x', now() - interval '25 h') $$) \g /dev/null
select postern.cleanup() as answer \gset
select is(:'answer'::json #>> '{body,deleted,oauth_client_states}', '1', 'a row that cannot go does not keep others');
select matches(:'answer'::json #>> '{body,problems,accounts}', '^23503: .*notes', 'and is named');
-- Nor does it hold up other accounts, the next to come into the same stretch included.
select postern.sign_up_anonymously() from generate_series(1, 3) \g /dev/null
select pg_temp.age('users', 'is_anonymous', 'created_at', '31 days') \g /dev/null
select pg_temp.age('sessions', 'true', 'created_at', '31 days') \g /dev/null
select pg_temp.run('insert into public.notes select id from auth.users u where is_anonymous and not exists (select from public.notes where owner = u.id) limit 1') \g /dev/null
select is(pg_temp.cleaned(), 'anonymous_users 2', 'whom nothing refers to goes, whoever else stays');
select is(pg_temp.cleaned(), 'nothing', 'who is referred to stays');
select pg_temp.run('drop table public.notes') \g /dev/null
select is(pg_temp.cleaned(), 'anonymous_users 2', 'without it, they go');

-- Stretches: a batch of 1 looks at 50 rows, and the next call goes on behind them.
create function pg_temp.position(part text) returns text language sql as $$
    select pg_temp.value(format('select after_id from auth.cleanup_positions where part = %L', part))
$$;
select pg_temp.run($$
    insert into auth.users (instance_id, id, aud, is_anonymous, is_sso_user, created_at, updated_at)
    select '00000000-0000-0000-0000-000000000000', ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'x', n in (49, 50, 61), false,
        now() - interval '31 days', now()
    from generate_series(1, 70) n$$) \g /dev/null
select is(pg_temp.cleaned(1), 'anonymous_users 1', 'a batch is full');
select is(right(pg_temp.position('anonymous_users'), 2), '49', 'the next one begins behind it');
select is(pg_temp.cleaned(1) || ', ' || right(pg_temp.position('anonymous_users'), 2), 'anonymous_users 1, 50', 'and finds the next');
select is(pg_temp.cleaned(1), 'anonymous_users 1', 'and so on');
select is(pg_temp.cleaned(1), 'nothing', 'there is nothing more');
select is(pg_temp.position('anonymous_users'), null, 'at the end it begins anew');
select pg_temp.run('update auth.users set is_anonymous = true where aud = ''x'' and right(id::text, 2) in (''01'', ''02'', ''03'')') \g /dev/null
select pg_temp.run('create table public.notes (owner uuid references auth.users (id))') \g /dev/null
select pg_temp.run('insert into public.notes select id from auth.users where right(id::text, 2) in (''01'', ''02'')') \g /dev/null
select is(pg_temp.cleaned(1) || ', ' || pg_temp.cleaned(1) || ', ' || pg_temp.cleaned(1), 'nothing, nothing, anonymous_users 1',
    'a batch that cannot go does not hold up the next one');
select pg_temp.run('drop table public.notes') \g /dev/null
-- Deletions that take their time must not be undone by statement_timeout.
select pg_temp.run('update auth.users set is_anonymous = true where aud = ''x'' and right(id::text, 2) in (''11'', ''12'', ''13'')') \g /dev/null
select pg_temp.run('create function public.slow() returns trigger language plpgsql as ''begin perform pg_sleep(1.1); return old; end''') \g /dev/null
select pg_temp.run('create trigger slow before delete on auth.users for each row when (old.is_anonymous) execute function public.slow()') \g /dev/null
select postern.cleanup() as answer \gset
select is(:'answer'::json #>> '{body,deleted,anonymous_users}', '2', 'after two seconds the rest waits');
select is(:'answer'::json #>> '{body,is_done}', 'false', 'for a call at once');
select is(right(pg_temp.position('anonymous_users'), 2), '12', 'which goes on there');
select pg_temp.run('drop trigger slow on auth.users; drop function public.slow()') \g /dev/null
select pg_temp.run('delete from auth.users where aud = ''x''') \g /dev/null

-- Codes, flows, factors
select pg_temp.run(format($$
    insert into auth.one_time_tokens (id, user_id, token_type, token_hash, relates_to, created_at)
    select gen_random_uuid(), %1$L, t.token_type, md5(random()::text), 'x', (now() - t.age) at time zone 'UTC'
    from (values ('recovery_token'::auth.one_time_token_type, interval '2 h'), ('confirmation_token', '30 min')) t (token_type, age);
    insert into auth.flow_state (id, provider_type, authentication_method, created_at)
    select gen_random_uuid(), 'email', 'magiclink', now() - t.age from (values (interval '25 h'), ('23 h')) t (age);
    insert into auth.mfa_factors (id, user_id, factor_type, status, friendly_name, created_at, updated_at)
    select gen_random_uuid(), %1$L, 'totp', t.status, t.name, now() - t.age, now()
    from (values ('unverified'::auth.factor_status, interval '25 h', 'a'), ('unverified', '23 h', 'b'), ('verified', '25 h', 'c')) t (status, age, name);
    insert into auth.mfa_challenges (id, factor_id, created_at, ip_address)
    select gen_random_uuid(), f.id, now() - t.age, '::1' from auth.mfa_factors f, (values (interval '25 h'), ('23 h')) t (age)
    where f.friendly_name = 'c';
    insert into auth.webauthn_challenges (challenge_type, session_data, expires_at)
    select 'authentication', '{}', now() + t.age from (values (interval '-1 min'), ('1 min')) t (age)$$, :'ada')) \g /dev/null
select pg_temp.set('mailer_otp_exp = 3600') \g /dev/null
select is(pg_temp.cleaned(), 'flow_state 1, mfa_challenges 1, mfa_factors 1, one_time_tokens 1, webauthn_challenges 1',
    'expired codes, flows, factors and challenges go; others stay');
select pg_temp.age('flow_state', 'true', 'created_at', '25 h') \g /dev/null
select pg_temp.set('mailer_otp_exp = 172800') \g /dev/null
select is(pg_temp.cleaned(), 'nothing', 'a flow stays as long as its link lives');

-- Outbox
select pg_temp.run($$
    insert into auth.outbox (id, channel, kind, recipient, state, created_at, sent_at, expires_at)
    select gen_random_uuid(), 'email', 'recovery', 'x', t.state, now() - t.created, now() - t.sent, now()
    from (values ('sent', interval '8 d', interval '8 d'), ('sent', '8 d', '6 d'), ('sent', '6 d', '6 d'), ('dead', '8 d', null), ('dead', '6 d', null),
        ('expired', '8 d', null), ('queued', '8 d', null)) t (state, created, sent)$$) \g /dev/null
select is(pg_temp.cleaned(), 'outbox 3', 'mails that were settled a week ago go; what is queued never does');
select is(pg_temp.value($$ select string_agg(state, ' ' order by state) from auth.outbox $$), 'dead queued sent sent', 'the others stay');

-- Limits
select pg_temp.run($$ insert into auth.rate_limits (limiter, key, full_at)
    values ('token', 'a', clock_timestamp() - interval '1 s'), ('token', 'b', clock_timestamp() + interval '1 h') $$) \g /dev/null
select is(pg_temp.cleaned(), 'rate_limits 1', 'a bucket that is full again goes');
select is(pg_temp.value('select string_agg(key, '' '') from auth.rate_limits'), 'b', 'others count on');
select pg_temp.run($$ insert into auth.rate_limits (limiter, key, full_at) values ('emails', '', clock_timestamp() - interval '1 s') $$) \g /dev/null
select is(pg_temp.cleaned(), 'nothing', 'the quota of all clients stays: its row is what they lock');
select pg_temp.run($$ delete from auth.rate_limits where key = '' $$) \g /dev/null

-- Batches
select pg_temp.run($$ insert into auth.rate_limits (limiter, key, full_at) select 'token', n::text, now() - interval '1 s' from generate_series(1, 25) n $$) \g /dev/null
select postern.cleanup(10) as answer \gset
select is(:'answer'::json #>> '{body,deleted,rate_limits}', '10', 'a batch is as large as asked');
select is(:'answer'::json #>> '{body,is_done}', 'false', 'and says that there is more');
select is(pg_temp.cleaned(10), 'rate_limits 10', 'the next one');
select is(pg_temp.cleaned(10), 'rate_limits 5', 'and the last');
select is(pg_temp.cleaned(null) || pg_temp.cleaned(0) || pg_temp.cleaned(-1), 'nothingnothingnothing', 'no size is an error');
select is(postern.cleanup() #>> '{body,is_busy}', 'false', 'a transaction does not lock itself out');

select * from finish();
rollback;
