-- Codes by SMS, and what becomes of them (contract core.md 6.6, 7.5, 7.8; mfa-hooks.md 4).
begin;
select plan(43);
\ir support.psql
select pg_temp.set('jwt_aud = ''authenticated'', jwt_default_group_name = ''authenticated'', rate_limit_sms_sent = ''1000'',
    external_phone_enabled = true, sms_max_frequency = ''0'', sms_test_otp = ''{"4900": "123456"}''') \g /dev/null

create function pg_temp.minted(name text) returns postern.envelope language sql as $$
    select postern.envelope(outbox_id => md5(name)::uuid, code_hmac => sha256(convert_to(name, 'UTF8')), link_digest => name, sealed => '\x00')
$$;
create function pg_temp.asked(phone text, name text) returns json language sql as $$
    select postern.request_sms(asked.phone, envelope => pg_temp.minted(name))
$$;
create function pg_temp.code(type text, phone text, name text) returns text language sql as $$
    select case when a -> 'session' is not null then 'session' else pg_temp.refused(a) end
    from postern.verify_one_time_token(type => code.type, phone => code.phone, code_hmacs => array[sha256(convert_to(name, 'UTF8'))]) a
$$;
create function pg_temp.me(id uuid) returns postern.caller language sql as $$ select postern.caller(user_id => id) $$;
create function pg_temp.who(phone text) returns uuid language sql as $$
    select pg_temp.value(format('select id from auth.users where phone = %L', phone))::uuid
$$;
create function pg_temp.one(id uuid, expression text) returns text language plpgsql as $$
begin
    return pg_temp.value(format('select %s from auth.users where id = %L', expression, id));
end
$$;
create function pg_temp.taken_back(name text) returns text language sql as $$ select postern.take_back(array[md5(name)::uuid]) ->> 'error' $$;
set local session authorization postern_gateway;

select pg_temp.set('external_phone_enabled = false') \g /dev/null
select is(pg_temp.refused(pg_temp.asked('4911', 'a')), '400 phone_provider_disabled: Unsupported phone provider', 'phones are off');
select pg_temp.set('external_phone_enabled = true, disable_signup = true') \g /dev/null
select is(pg_temp.refused(pg_temp.asked('x', 'a')), '400 validation_failed: Invalid phone number format (E.164 required)', 'no number');
select is(pg_temp.refused(pg_temp.asked('4911', 'a')), '422 signup_disabled: Signups not allowed for this instance', 'sign-ups are off');
select pg_temp.set('disable_signup = false') \g /dev/null
select is(pg_temp.refused(postern.request_sms('4911', create_user => false)), '422 otp_disabled: Signups not allowed for otp', 'nobody is made');
select is(pg_temp.refused(postern.request_sms('4911', code_challenge => 'x')),
    '400 validation_failed: PKCE flow requires code_challenge_method and code_challenge', 'half a challenge');

-- A new number
select is(pg_temp.asked('+4911', 'a1') -> 'delivery' ->> 'recipient', '4911', 'an SMS is to be sent');
select is(pg_temp.value('select concat_ws('' '', channel, kind, recipient, attempts, leased_by = id::text) from auth.outbox'), 'sms confirmation 4911 1 t',
    'by the gateway that asked: the row is leased to it');
select is(pg_temp.taken_back('a1'), null, 'the provider refuses');
select is(pg_temp.who('4911'), null, 'the account goes');
select is(pg_temp.value('select count(*) from auth.outbox'), '0', 'and the SMS');
select pg_temp.asked('4911', 'a2') \g /dev/null
select is(pg_temp.code('sms', '4911', 'a1'), '403 otp_expired: Token has expired or is invalid', 'a wrong code');
select is(pg_temp.code('foo', '4911', 'a2'), '403 otp_expired: Token has expired or is invalid', 'of no type');
select is(pg_temp.code('sms', '4912', 'a2'), '403 otp_expired: Token has expired or is invalid', 'of nobody');
select is(pg_temp.code('sms', '+4911', 'a2'), 'session', 'the right one');
select is(pg_temp.code('sms', '4911', 'a2'), '403 otp_expired: Token has expired or is invalid', 'once');
select pg_temp.who('4911') as ada \gset
select is(pg_temp.one(:'ada', 'phone_confirmed_at is not null'), 'true', 'it is confirmed');
select is(postern.record_delivery(md5('a2')::uuid, md5('a2')::uuid::text, 'sent') #>> '{body,recorded}', 'true', 'the SMS is out');

-- A known one
select is(pg_temp.asked('4911', 'b1') ->> 'body', '{}', 'a code to sign in with');
select is(pg_temp.taken_back('b1'), null, 'the provider refuses');
select is(pg_temp.one(:'ada', 'concat(confirmation_token, phone)'), '4911', 'the code goes, the account stays');
select pg_temp.asked('4911', 'b2') \g /dev/null
select pg_temp.run('update auth.users set confirmation_sent_at = now() - interval ''61 s''') \g /dev/null
select is(pg_temp.code('sms', '4911', 'b2'), '403 otp_expired: Token has expired or is invalid', 'after a minute');
select pg_temp.run('update auth.users set confirmation_sent_at = now(), banned_until = ''infinity''') \g /dev/null
select is(pg_temp.code('sms', '4911', 'b2'), '403 user_banned: User is banned', 'of somebody banned');
select pg_temp.run('update auth.users set banned_until = null') \g /dev/null
select is(pg_temp.code('sms', '4911', 'b2'), 'session', 'in time');
select is(postern.resend('sms', phone => '4911', envelope => pg_temp.minted('b3')) ->> 'delivery', null, 'nothing to confirm');
select pg_temp.run('update auth.users set phone_confirmed_at = null') \g /dev/null
select is(postern.resend('sms', phone => '4911', envelope => pg_temp.minted('b4')) #>> '{delivery,recipient}', '4911', 'sent again');
select is(pg_temp.code('sms', '4911', 'b4'), 'session', 'and confirmed');
select pg_temp.set('sms_max_frequency = ''1 min''') \g /dev/null
select pg_temp.run('update auth.users set confirmation_sent_at = now()') \g /dev/null
select matches(pg_temp.refused(pg_temp.asked('4911', 'b5')), '^429 over_sms_send_rate_limit: For security purposes', 'too soon');
select pg_temp.set('sms_max_frequency = ''0'', rate_limit_sms_sent = ''0''') \g /dev/null
select is(pg_temp.refused(pg_temp.asked('4911', 'b5')), '429 over_sms_send_rate_limit: SMS rate limit exceeded', 'too many');
select pg_temp.set('rate_limit_sms_sent = ''1000''') \g /dev/null

-- A number with a fixed code
select is(pg_temp.asked('4900', 'c1') #>> '{delivery,is_test}', 'true', 'nothing is sent');
select is((postern.verify_one_time_token(type => 'sms', phone => '4900', code_hmacs => array[sha256('x')], test_code => '123456') -> 'session') is not null,
    true, 'its code works');
select is(pg_temp.asked('4900', 'c2') #>> '{body,message_id}', 'test-otp', 'again');

-- Confirmed at once
select pg_temp.set('sms_autoconfirm = true') \g /dev/null
select is(pg_temp.asked('4913', 'd1') ->> 'body', '{}', 'a number that needs no confirmation');
select is(pg_temp.one(pg_temp.who('4913'), 'phone_confirmed_at is not null'), 'true', 'is confirmed');
select pg_temp.set('sms_autoconfirm = false') \g /dev/null

-- A change of number
select is(postern.update_user(pg_temp.me(:'ada'), phone => '4914', text_envelope => pg_temp.minted('e1')) #>> '{body,new_phone}', '4914', 'a new number waits');
select is(postern.resend('phone_change', phone => '4911', envelope => pg_temp.minted('e2')) #>> '{delivery,recipient}', '4914', 'sent again');
select is(pg_temp.code('phone_change', '4914', 'e1'), '403 otp_expired: Token has expired or is invalid', 'the first is void');
select is(pg_temp.code('phone_change', '4914', 'e2'), 'session', 'the second works');
select is(pg_temp.one(:'ada', 'concat_ws('' '', phone, phone_change)'), '4914 ', 'it is changed');
select is(postern.update_user(pg_temp.me(:'ada'), phone => '4915', text_envelope => pg_temp.minted('e3')) #>> '{body,new_phone}', '4915', 'another');
select is(pg_temp.taken_back('e3'), null, 'that the provider refuses');
select is(pg_temp.one(:'ada', 'phone_change_token'), '', 'has no code');
select postern.update_user(pg_temp.me(:'ada'), phone => '4916', text_envelope => pg_temp.minted('e4')) \g /dev/null
select pg_temp.run('update auth.users set phone = ''4916'' where phone = ''4913''') \g /dev/null
select is(pg_temp.code('phone_change', '4916', 'e4'), '422 phone_exists: A user with this phone number has already been registered', 'somebody else was quicker');

do $$ begin for i in 1..30 loop perform postern.request_sms('', caller => postern.caller(limiter_key => 'client')); end loop; end $$;
select is(pg_temp.refused(postern.request_sms('', caller => postern.caller(limiter_key => 'client'))), '429 over_request_rate_limit: Request rate limit reached', 'the limit per client');
select * from finish();
rollback;
