-- What an administrator sees of the limits, and can undo; and that no setting is too absurd for them.
begin;
select plan(26);
\ir support.psql
create function pg_temp.take(limiter text, key text, n integer default 1) returns integer language sql as $$
    select count(*) filter (where postern.take_limit(limiter, postern.caller(limiter_key => key)) -> 'error' is not null)::integer from generate_series(1, n)
$$;
create function pg_temp.status(key text) returns text language sql security definer as $$
    select string_agg(format('%s %s/%s %s', limiter, places_left, places,
        coalesce(round(extract(epoch from next_place_in) / 60)::text, '-')), ', ' order by limiter)
    from postern.rate_limit_status(key)
$$;
create function pg_temp.unblock(key text) returns integer language sql security definer as $$
    select postern.unblock(key)
$$;
select pg_temp.set('rate_limit_otp = 0.5, rate_limit_token_refresh = 0.5, rate_limit_anonymous_users = 3') \g /dev/null
set local session authorization postern_gateway;

-- For whom
select throws_ok($$ select * from postern.rate_limit_status('a') $$, '42501', null, 'the gateway does not ask');
select throws_ok($$ select postern.unblock('a') $$, '42501', null, 'nor forgive');

-- Status
select is(pg_temp.status('a'), null, 'a key that was never seen has no rows');
select pg_temp.take('signups', 'a') \g /dev/null
select is(pg_temp.status('a'), 'signups 29/30 -', 'one of 30 taken');
select pg_temp.take('anonymous_sign_ins', 'a', 3) \g /dev/null
select is(pg_temp.status('a'), 'anonymous_sign_ins 0/3 20, signups 29/30 -', 'an hour of 3 taken: one more in 20 minutes');
select pg_temp.take('signups', 'a', 29) \g /dev/null
select is(pg_temp.status('a'), 'anonymous_sign_ins 0/3 20, signups 0/30 10', 'all 30 taken');
select pg_temp.run($$ update auth.rate_limits set full_at = full_at - interval '11 min' where key = 'a' and limiter = 'signups' $$) \g /dev/null
select is(pg_temp.status('a'), 'anonymous_sign_ins 0/3 20, signups 1/30 -', 'one is free again');
select is(pg_temp.take('signups', 'a', 2), 1, 'which is so');
select pg_temp.run($$ update auth.rate_limits set full_at = full_at - interval '1 day' where key = 'a' and limiter = 'signups' $$) \g /dev/null
select is(pg_temp.status('a'), 'anonymous_sign_ins 0/3 20, signups 30/30 -', 'a bucket that is full again has all its places');
select is(pg_temp.status('b'), null, 'others are others');

-- Forgiving
select is(pg_temp.unblock('a'), 2, 'both buckets are forgiven');
select is(pg_temp.status('a'), null, 'and gone');
select is(pg_temp.take('anonymous_sign_ins', 'a', 3), 0, 'all places are there again');
select is(pg_temp.unblock('nobody'), 0, 'nothing to forgive');

-- The quotas of all clients have the empty key.
select pg_temp.set('rate_limit_email_sent = ''5/1h'', rate_limit_sms_sent = ''7''') \g /dev/null
reset session authorization;
select is(postern._take_quota('emails', '5/1h'), null, 'a mail');
select is(postern._take_quota('sms', '7'), null, 'an SMS');
select is(pg_temp.status(''), 'emails 4/5 -, sms 6/7 -', 'are counted under the empty key');

-- Absurd rates
select pg_temp.set('rate_limit_otp = 1e-300') \g /dev/null
set local session authorization postern_gateway;
select is(pg_temp.take('signups', 'x', 31), 1, 'one in 10^302 seconds: a bucket is a bucket');
select is((postern.take_limit('signups', postern.caller(limiter_key => 'x')) #>> '{error,retry_after}')::integer, 31536000,
    'and a year is the longest step');
select is(pg_temp.status('x'), 'signups 0/30 525600', 'which the status shows too');
reset session authorization;
select pg_temp.set('rate_limit_email_sent = ''999999999/999999999h999999999m999999999s''') \g /dev/null
select is((select postern._take_quota('emails', g.rate_limit_email_sent) from auth.settings g), null, 'the largest quota lets pass');
select is(pg_temp.status(''), 'emails 100/999999999 -, sms 6/7 -', 'and the status counts only as deep as a century');
select pg_temp.set('rate_limit_sms_sent = ''999999999''') \g /dev/null
select matches(pg_temp.status(''), 'sms \d+/999999999 -$', 'and steps of microseconds');
select is(postern._take_quota('many', '0/999999999h'), 31536000, 'a quota of nothing says to come in a year');
select is(postern._take_place('deep', 'a', 2147483647, interval '100000 years'), null, 'the deepest bucket');
select cmp_ok(postern._take_place('deep', 'b', 1, interval '100000 years'), 'is not distinct from', null, 'and the slowest one have a place');

select * from finish();
rollback;
