-- Guessing codes: 30 attempts per account in five minutes, whoever makes them (issue 3, 5).
begin;
select plan(31);
\ir support.psql
-- guess() tries a code n times; the answers by error code and how often.
create function pg_temp.guess(type text, email text, phone text default null, n integer default 1, link text default null)
returns text language sql as $$
    select string_agg(code || ' ' || times, ', ' order by code)
    from (
        select coalesce(postern.verify_one_time_token(
            type => guess.type, link_digest => guess.link, code_hmacs => array['\x00'::bytea], email => guess.email,
            phone => guess.phone) #>> '{error,code}', 'none') as code, count(*) as times
        from generate_series(1, n) group by 1) x
$$;
create function pg_temp.places(key text) returns integer language sql security definer as $$
    select places_left from postern.rate_limit_status(key) where limiter = 'guesses'
$$;
create function pg_temp.unblock(key text) returns integer language sql security definer as $$
    select postern.unblock(key)
$$;
select pg_temp.set('jwt_aud = ''authenticated''') \g /dev/null
select pg_temp.account('ada@example.com') as ada \gset
select pg_temp.account('bob@example.com') as bob \gset
select pg_temp.account('eve@example.com') as eve \gset
update auth.users set phone = '15551230001', phone_confirmed_at = now() where id = :'bob';
update auth.users set phone_change = '15551230002' where id = :'eve';
set local session authorization postern_gateway;

select is(pg_temp.guess('magiclink', 'ada@example.com', n => 30), 'otp_expired 30', '30 wrong codes are wrong codes');
select is(pg_temp.guess('magiclink', 'ada@example.com', n => 3), 'over_request_rate_limit 3', 'the 31st is not looked at');
select is(pg_temp.places(:'ada'), 0, 'what was counted stayed counted, though each was refused');
select is((postern.verify_one_time_token(type => 'magiclink', email => 'ada@example.com') -> 'error')::jsonb - 'retry_after',
    jsonb_build_object('status', 429, 'code', 'over_request_rate_limit', 'message', 'Request rate limit reached',
        'hint', 'limiter guesses, key ' || :'ada'), 'with the words of the other limits');
select is((postern.verify_one_time_token(type => 'magiclink', email => 'ada@example.com') #>> '{error,retry_after}')::integer between 1 and 10, true,
    'and when to come again: one in ten seconds');
select is(pg_temp.guess('signup', 'ADA@example.com'), 'over_request_rate_limit 1', 'another type and spelling is the same account');
select is(pg_temp.guess('magiclink', 'bob@example.com'), 'otp_expired 1', 'another account is another bucket');
select is(pg_temp.places(:'bob'), 29, 'of 30');
select is(pg_temp.guess('sms', null, '+1 5551230001'), 'otp_expired 1', 'codes in SMS');
select is(pg_temp.places(:'bob'), 28, 'count with those in mails');
select is(pg_temp.guess('phone_change', null, '15551230002', n => 31), 'otp_expired 30, over_request_rate_limit 1', 'a change of number');
select is(pg_temp.places(:'eve'), 0, 'counts for who changes it');
select is(pg_temp.guess('magiclink', 'nobody@example.com', n => 40), 'otp_expired 40', 'who is nobody has no bucket');
select is(pg_temp.guess('sms', null, '19999999999', n => 31), 'otp_expired 31', 'with a number neither');
select is(pg_temp.guess('magiclink', null, n => 31), 'otp_expired 31', 'nor without an address');
select is(pg_temp.value($$ select count(*) from auth.rate_limits where limiter = 'guesses' $$), '3', 'three accounts, three rows');

-- Links
select is(pg_temp.guess('magiclink', null, link => repeat('0', 64), n => 31), 'otp_expired 31', 'links are not counted');
select is(pg_temp.guess('magiclink', 'ada@example.com', link => repeat('0', 64)), 'otp_expired 1', 'nor held up');

-- A right code finds the door shut too, until a place is free.
select pg_temp.run(format($$ update auth.users set recovery_sent_at = now(),
    recovery_token = postern._code_digest('ada@example.com', '\x00') where id = %L $$, :'ada')) \g /dev/null
select is(pg_temp.guess('magiclink', 'ada@example.com'), 'over_request_rate_limit 1', 'a right code is not looked at either');
select pg_temp.run($$ update auth.rate_limits set full_at = full_at - interval '10 s' where limiter = 'guesses' $$) \g /dev/null
select is(pg_temp.guess('magiclink', 'ada@example.com'), 'none 1', 'after ten seconds it opens');
select is(pg_temp.guess('magiclink', 'ada@example.com'), 'over_request_rate_limit 1', 'and took the place');
select is(pg_temp.unblock(:'ada'), 1, 'an administrator forgives an account');

-- The code that a change of password asks for
create function pg_temp.try(session uuid, nonce text, n integer default 1, hash text default 'n', problem json default null) returns text language sql as $$
    select string_agg(code || ' ' || times, ', ' order by code)
    from (
        select coalesce(postern.update_user(postern.caller(user_id => pg_temp.value('select id from auth.users where email = ''ada@example.com''')::uuid,
            session_id => try.session), password_hash => try.hash, password_problem => try.problem, compared_digest => pg_temp.digest(), nonce => try.nonce,
            nonce_hmacs => array[convert_to(try.nonce, 'UTF8')]) #>> '{error,code}', 'none') as code, count(*) as times
        from generate_series(1, n) group by 1) x
$$;
select pg_temp.set('security_update_password_require_reauthentication = true') \g /dev/null
select pg_temp.signed_in(:'ada') as session \gset
select pg_temp.run(format($$ update auth.users set reauthentication_sent_at = now(),
    reauthentication_token = postern._code_digest('ada@example.com', '123456') where id = %L $$, :'ada')) \g /dev/null
select is(pg_temp.try(:'session', '1', hash => null), 'none 1', 'without a password no code is compared');
select pg_temp.run('update auth.sessions set created_at = now() - interval ''25 hours''') \g /dev/null
select is(pg_temp.try(:'session', ''), 'reauthentication_needed 1', 'nor without a code');
select is(pg_temp.try(:'session', '1', problem => '{"status": 422, "code": "weak_password", "message": "weak"}'), 'weak_password 1', 'nor for a password that nobody may have');
select is(pg_temp.places(:'ada'), null, 'so nothing was counted');
select is(pg_temp.try(:'session', '1', 20), 'reauthentication_not_valid 20', 'wrong codes');
select is(pg_temp.guess('magiclink', 'ada@example.com', n => 10), 'otp_expired 10', 'count with those of sign-ins');
select is(pg_temp.try(:'session', '123456'), 'over_request_rate_limit 1', 'and a right one finds the door shut');
select is(pg_temp.unblock(:'ada'), 1, 'until it opens');
select is(pg_temp.try(:'session', '123456'), 'none 1', 'then it is taken');

select * from finish();
rollback;
