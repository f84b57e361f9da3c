-- postern.take_limit and what stands behind it: GCRA, one row per limiter and key (DESIGN 11, contract core.md 11.1).
begin;
select plan(26);
\ir support.psql
-- take() takes a place n times; how many were refused.
create function pg_temp.take(limiter text, key text, n integer default 1) returns integer language sql as $$
    select count(*) filter (where postern.take_limit(limiter, postern.caller(limiter_key => key)) -> 'error' is not null)::integer from generate_series(1, n)
$$;
create function pg_temp.row_of(key text) returns text language plpgsql as $$
begin
    return pg_temp.value(format('select concat_ws('' '', ctid, xmin, xmax, full_at) from auth.rate_limits
        where key = %L', key));
end
$$;
-- later() lets time pass: it moves the moment when the bucket is full again.
create function pg_temp.later(key text, passed interval) returns void language plpgsql as $$
begin
    perform pg_temp.run(format('update auth.rate_limits set full_at = full_at - %L::interval
        where key = %L', passed, key));
end
$$;
-- Slow enough that a test's own time does not refill: one place in ten minutes.
select pg_temp.set('rate_limit_otp = 0.5, rate_limit_token_refresh = 0.5, rate_limit_anonymous_users = 3') \g /dev/null
set local session authorization postern_gateway;

select is(postern.take_limit('signups', postern.caller(limiter_key => 'first'))::jsonb, jsonb_build_object('v', pg_temp.value('select version from auth.settings')::bigint),
    'a place taken is an answer without an error');
select is(pg_temp.take('signups', 'a', 30), 0, '30 requests pass');
select pg_temp.row_of('a') as before \gset
select is(pg_temp.take('signups', 'a', 5), 5, 'the 31st and the next fail');
select is(pg_temp.row_of('a'), :'before'::text, 'refusing writes nothing and locks nothing');
select is((postern.take_limit('signups', postern.caller(limiter_key => 'a')) -> 'error')::jsonb - 'retry_after',
    '{"status": 429, "code": "over_request_rate_limit", "message": "Request rate limit reached", "hint": "limiter signups, key a"}', 'with these words');
select is((postern.take_limit('signups', postern.caller(limiter_key => 'a')) #>> '{error,retry_after}')::integer between 590 and 600, true, 'and when to come again');
select is(pg_temp.take('signups', 'b'), 0, 'another client is another bucket');
select is(pg_temp.take('token', 'a'), 0, 'so is another limiter');
select is(pg_temp.take('user', 'a'), 0, 'and one more');

select pg_temp.later('a', '9 min 50 s') \g /dev/null
select is(pg_temp.take('signups', 'a'), 1, 'before a place is free');
select is((postern.take_limit('signups', postern.caller(limiter_key => 'a')) #>> '{error,retry_after}')::integer between 1 and 10, true, 'the time to wait is shorter');
select pg_temp.later('a', '10 s') \g /dev/null
select is(pg_temp.take('signups', 'a', 2), 1, 'after ten minutes one place');
select pg_temp.later('a', '20 min') \g /dev/null
select is(pg_temp.take('signups', 'a', 4), 2, 'after twenty more, two');
select pg_temp.later('a', '100 days') \g /dev/null
select is(pg_temp.take('signups', 'a', 35), 5, 'a bucket holds 30, however long it stood');

select is(pg_temp.take('anonymous_sign_ins', 'a', 5), 2, 'the anonymous bucket holds what an hour allows');
select is((postern.take_limit('anonymous_sign_ins', postern.caller(limiter_key => 'a')) #>> '{error,retry_after}')::integer between 1190 and 1200, true, 'one in twenty minutes');
select pg_temp.set('rate_limit_anonymous_users = 0') \g /dev/null
select is(pg_temp.take('anonymous_sign_ins', 'z', 2), 1, 'a limit of 0 lets one pass in an hour');
select pg_temp.set('rate_limit_token_refresh = 0') \g /dev/null
select is(pg_temp.take('token', 'z', 31), 1, 'elsewhere 30');
select is((postern.take_limit('token', postern.caller(limiter_key => 'z')) #>> '{error,retry_after}')::integer between 3590 and 3600, true, 'and tells to come in an hour');
select pg_temp.set('rate_limit_token_refresh = 1000000000') \g /dev/null
select is(pg_temp.take('token', 'y', 200), 0, 'a very high limit limits nobody');
select pg_temp.set('rate_limit_anonymous_users = 1000000000') \g /dev/null
select is(pg_temp.take('anonymous_sign_ins', 'y', 200), 0, 'for anonymous sign-ups too');

-- A limit lowered while a bucket is in use, and a clock that went back: no client is locked out for longer than the bucket is deep.
select pg_temp.set('rate_limit_otp = 30') \g /dev/null
select is(pg_temp.take('signups', 'c', 30), 0, 'at 30 in 5 minutes');
select pg_temp.set('rate_limit_otp = 0.5') \g /dev/null
select is(pg_temp.take('signups', 'c', 1), 0, 'lowered: what was taken counts as time, not as places');
select is(pg_temp.take('signups', 'same " key', 1), 0, 'a key is data');

-- Without a key
select lives_ok($$ select postern.take_limit('signups', postern.caller()) $$, 'without a key there is no limit (contract core.md 11.1)');
select lives_ok($$ select postern.take_limit('signups', null) $$, 'without a caller too');

reset session authorization;
select * from finish();
rollback;
