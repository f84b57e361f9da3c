-- Mails with codes and links, and what becomes of both (contract core.md 3, 6.5, 6.7, 7).
begin;
select plan(103);
\ir support.psql
select pg_temp.set('jwt_aud = ''authenticated'', jwt_default_group_name = ''authenticated'', rate_limit_email_sent = ''1000'',
    mailer_autoconfirm = false, smtp_max_frequency = ''0'', sms_max_frequency = ''0'', site_url = ''https://app.example.com''') \g /dev/null
select pg_temp.account('ada@example.com') as ada, pg_temp.account('bob@example.com') as bob \gset
select pg_temp.run(format('update auth.users set email_confirmed_at = null where id = %L', :'bob')) \g /dev/null

create function pg_temp.minted(name text) returns postern.envelope language sql as $$
    select postern.envelope(outbox_id => gen_random_uuid(), code_hmac => sha256(convert_to(name, 'UTF8')),
        link_digest => name, sealed => '\x00', redirect_to => 'https://app.example.com')
$$;
create function pg_temp.me(id uuid) returns postern.caller language sql as $$ select postern.caller(user_id => id) $$;
create function pg_temp.client() returns postern.caller language sql as $$ select postern.caller(limiter_key => 'client') $$;
create function pg_temp.code(type text, email text, name text) returns json language sql as $$
    select postern.verify_one_time_token(type => code.type, email => code.email,
        code_hmacs => array[sha256('another'), sha256(convert_to(name, 'UTF8'))], adopted_digest => 'adopted ' || name)
$$;
create function pg_temp.link(type text, name text, pkce boolean default false) returns json language sql as $$
    select postern.verify_one_time_token(type => link.type, link_digest => name, is_pkce => pkce)
$$;
-- mails() lists what was queued since the last look.
create function pg_temp.mails() returns text language plpgsql security definer as $$
declare
    v_text text;
begin
    select string_agg(kind || ' ' || recipient, ', ' order by recipient) into v_text from auth.outbox;
    delete from auth.outbox;
    return v_text;
end
$$;
create function pg_temp.one(id uuid, expression text) returns text language plpgsql as $$
begin
    return pg_temp.value(format('select %s from auth.users where id = %L', expression, id));
end
$$;
create function pg_temp.done(answer json) returns text language sql as $$
    select case when answer #> '{session}' is not null then 'session' when answer -> 'body' is not null then answer ->> 'body'
        else pg_temp.refused(answer) end
$$;
create function pg_temp.empty_limits() returns void language sql security definer as $$ delete from auth.rate_limits $$;
set local session authorization postern_gateway;

-- Recovery
select is(pg_temp.done(postern.request_recovery('nobody@example.com')), '{}', 'an unknown address gets the same answer');
select is(pg_temp.mails(), null, 'and no mail');
select is(pg_temp.refused(postern.request_recovery('')), '400 validation_failed: Password recovery requires an email', 'no address');
select is(pg_temp.refused(postern.request_recovery('x')), '400 validation_failed: Unable to validate email address: invalid format', 'none');
select is(pg_temp.refused(postern.request_recovery('ada@example.com', 'short', 's256')),
    '400 validation_failed: code challenge has to be between 43 and 128 characters', 'a bad challenge');
select is(pg_temp.refused(postern.request_recovery('ada@example.com', repeat('ä', 43), 's256')),
    '400 validation_failed: code challenge can only contain alphanumeric characters, hyphens, periods, underscores and tildes', 'another');
select is(pg_temp.refused(postern.request_recovery('ada@example.com', repeat('a', 43), 'md5')),
    '400 validation_failed: code_challenge_method must be s256 or plain', 'an unknown method');
select is(pg_temp.refused(postern.request_recovery('ada@example.com', repeat('a', 43))),
    '400 validation_failed: PKCE flow requires code_challenge_method and code_challenge', 'half of it');
select is(pg_temp.done(postern.request_recovery('ADA@example.com', envelope => pg_temp.minted('r1'))), '{}', 'a known one');
select is(pg_temp.mails(), 'recovery ada@example.com', 'is mailed');
select is(pg_temp.one(:'ada', 'recovery_token'),
    encode(sha256('ada@example.com'::bytea || sha256('r1')), 'hex'), 'stored is a digest of address and keyed code');
select is(pg_temp.refused(pg_temp.code('recovery', 'ada@example.com', 'r2')), '403 otp_expired: Token has expired or is invalid', 'a wrong code');
select is(pg_temp.refused(pg_temp.code('recovery', 'bob@example.com', 'r1')), '403 otp_expired: Token has expired or is invalid', 'of somebody else');
select is(pg_temp.refused(pg_temp.code('signup', 'ada@example.com', 'r1')), '403 otp_expired: Token has expired or is invalid', 'for something else');
select is(pg_temp.refused(pg_temp.code('foo', 'ada@example.com', 'r1')), '403 otp_expired: Token has expired or is invalid', 'of no type');
select is(pg_temp.done(pg_temp.code('recovery', 'Ada@example.com', 'r1')), 'session', 'the right one');
select is(pg_temp.refused(pg_temp.code('recovery', 'ada@example.com', 'r1')), '403 otp_expired: Token has expired or is invalid', 'works once');
select is(pg_temp.refused(pg_temp.link('recovery', 'r1')), '403 otp_expired: Email link is invalid or has expired', 'and so does its link');
select pg_temp.set('smtp_max_frequency = ''1 min''') \g /dev/null
select matches(pg_temp.refused(postern.request_recovery('ada@example.com', envelope => pg_temp.minted('r3'))),
    '^429 over_email_send_rate_limit: For security purposes, you can only request this after \d+ seconds\.$', 'again too soon');
select pg_temp.set('smtp_max_frequency = ''100 years''') \g /dev/null
select is(postern.request_recovery('ada@example.com', envelope => pg_temp.minted('r3')) #>> '{error,retry_after}', '2147483647',
    'nobody is told to come in a century');
select pg_temp.set('smtp_max_frequency = ''0'', external_email_enabled = false') \g /dev/null
select is(pg_temp.refused(postern.request_recovery('ada@example.com')), '400 email_provider_disabled: Email logins are disabled', 'mail is off');
select is(pg_temp.refused(postern.request_magic_link('ada@example.com')), '422 email_provider_disabled: Email logins are disabled', 'for magic links too');
select is(pg_temp.refused(postern.resend('signup', 'ada@example.com')), '400 email_provider_disabled: Email logins are disabled', 'and resend');
select pg_temp.set('external_email_enabled = true, external_email_magic_link_enabled = false') \g /dev/null
select is(pg_temp.refused(postern.request_magic_link('ada@example.com')), '422 email_provider_disabled: Login with magic link is disabled', 'or only these');
select pg_temp.set('external_email_magic_link_enabled = true, rate_limit_email_sent = ''0''') \g /dev/null
select is(pg_temp.refused(postern.request_recovery('ada@example.com', envelope => pg_temp.minted('r4'))),
    '429 over_email_send_rate_limit: email rate limit exceeded', 'a quota of nothing');
select pg_temp.set('mailer_autoconfirm = true') \g /dev/null
select is(pg_temp.refused(postern.request_recovery('ada@example.com', envelope => pg_temp.minted('r4'))),
    '429 over_email_send_rate_limit: email rate limit exceeded', 'which holds where mails are not counted, too');
select pg_temp.set('mailer_autoconfirm = false, rate_limit_email_sent = ''1000'', external_email_authorized_addresses = ''{Ada@example.com}''') \g /dev/null
select is(pg_temp.refused(postern.request_recovery('bob@example.com', envelope => pg_temp.minted('r5'))),
    '400 email_address_not_authorized: Email address "bob@example.com" cannot be used as it is not authorized', 'not on the list');
select is(pg_temp.done(postern.request_recovery('ada@example.com', envelope => pg_temp.minted('r6'))), '{}', 'on it');
select pg_temp.set('external_email_authorized_addresses = ''{}''') \g /dev/null
select is(pg_temp.mails(), 'recovery ada@example.com', 'and mailed');
select pg_temp.run('update auth.users set recovery_sent_at = now() - interval ''86401 seconds''') \g /dev/null
select is(pg_temp.refused(pg_temp.link('recovery', 'r6')), '403 otp_expired: Email link is invalid or has expired', 'a day later');
select pg_temp.run('update auth.users set recovery_sent_at = now(), banned_until = ''infinity''') \g /dev/null
select is(pg_temp.refused(pg_temp.link('recovery', 'r6')), '403 user_banned: User is banned', 'of somebody banned');
select pg_temp.run('update auth.users set banned_until = null') \g /dev/null
select is(pg_temp.refused(pg_temp.link('foo', 'r6')), '400 validation_failed: Invalid email verification type', 'no type of link');
select is(pg_temp.done(pg_temp.link('magiclink', 'r6')), 'session', 'a link; recovery and magiclink are one');
select is(pg_temp.done(postern.request_recovery('bob@example.com', envelope => pg_temp.minted('r7'))), '{}', 'who is not confirmed');
select is(pg_temp.done(pg_temp.link('recovery', 'r7')), 'session', 'gets in');
select isnt(pg_temp.one(:'bob', 'email_confirmed_at'), null, 'and is confirmed');
select pg_temp.mails() \g /dev/null

-- Codes that Supabase Auth mailed
select pg_temp.run(format('update auth.users set recovery_token = ''adopted a1'' where id = %L', :'ada')) \g /dev/null
select is(pg_temp.done(pg_temp.code('recovery', 'ada@example.com', 'a1')), 'session', 'an adopted code works');

-- Magic link and otp
select is(pg_temp.refused(postern.request_magic_link('')), '400 validation_failed: One of email or phone must be set', 'no address');
select is(pg_temp.refused(postern.request_magic_link('', limiter => 'magic_link')),
    '422 validation_failed: Password recovery requires an email', 'none for a link');
select is(pg_temp.refused(postern.request_magic_link('new@example.com', create_user => false)), '422 otp_disabled: Signups not allowed for otp', 'nobody is made');
select is(pg_temp.done(postern.request_magic_link('ada@example.com', envelope => pg_temp.minted('m1'))), '{}', 'a known address');
select is(pg_temp.mails(), 'magic_link ada@example.com', 'gets a link');
select is(pg_temp.link('email', 'm1') ->> 'verified', 'recovery_token', 'which type email accepts, and tells apart');
select pg_temp.set('disable_signup = true') \g /dev/null
select is(pg_temp.refused(postern.request_magic_link('new@example.com')), '422 signup_disabled: Signups not allowed for this instance', 'sign-ups are off');
select pg_temp.set('disable_signup = false') \g /dev/null
select is(pg_temp.done(postern.request_magic_link('New@example.com', data => '{"a": 1}', envelope => pg_temp.minted('m2'))), '{}', 'a new address');
select is(pg_temp.mails(), 'confirmation new@example.com', 'is to be confirmed');
select pg_temp.value('select id from auth.users where email = ''new@example.com''') as new \gset
select is(pg_temp.one(:'new', 'raw_user_meta_data - ''sub'''),
    '{"a": 1, "email": "new@example.com", "email_verified": false, "phone_verified": false}', 'with its data');
select is(pg_temp.link('email', 'm2') ->> 'verified', 'confirmation_token', 'confirmed');
select is(pg_temp.one(:'new', 'raw_user_meta_data ->> ''email_verified'''), 'true', 'as it says');
select pg_temp.set('mailer_autoconfirm = true') \g /dev/null
select is(pg_temp.done(postern.request_magic_link('sure@example.com', envelope => pg_temp.minted('m3'))), '{}', 'confirmed at once');
select is(pg_temp.mails(), 'magic_link sure@example.com', 'it gets a link to sign in with');
select pg_temp.set('mailer_autoconfirm = false') \g /dev/null

-- Sign-up and resend
select is(postern.sign_up(email => 'wait@example.com', password_hash => pg_temp.hash(), envelope => pg_temp.minted('s1')) #>> '{body,email}',
    'wait@example.com', 'a sign-up');
select is(pg_temp.mails(), 'confirmation wait@example.com', 'is mailed');
select is(postern.sign_up(email => 'wait@example.com', password_hash => pg_temp.hash(), envelope => pg_temp.minted('s2')) #>> '{body,email}',
    'wait@example.com', 'another');
select is(pg_temp.refused(pg_temp.link('signup', 's1')), '403 otp_expired: Email link is invalid or has expired', 'voids the first mail');
select is(pg_temp.done(postern.resend('signup', 'wait@example.com', envelope => pg_temp.minted('s3'))), '{}', 'sent again');
select is(pg_temp.done(pg_temp.code('invite', 'wait@example.com', 's3')), 'session', 'signup and invite are one');
select is(pg_temp.value('select identity_data ->> ''email_verified'' from auth.identities where email = ''wait@example.com'''), 'true', 'the identity too');
select pg_temp.mails() \g /dev/null
select is(pg_temp.done(postern.resend('signup', 'wait@example.com', envelope => pg_temp.minted('s4'))), '{}', 'who is confirmed');
select is(pg_temp.done(postern.resend('email_change', 'wait@example.com', envelope => pg_temp.minted('s4'))), '{}', 'or changes nothing');
select is(pg_temp.done(postern.resend('signup', 'nobody@example.com', envelope => pg_temp.minted('s4'))), '{}', 'or is nobody');
select is(pg_temp.mails(), null, 'gets none');
select is(pg_temp.refused(postern.resend('x')), '400 validation_failed: Missing one of these types: signup, email_change, sms, phone_change', 'no type');
select is(pg_temp.refused(postern.resend('signup')), '400 validation_failed: Type provided requires an email address', 'no address');
select is(pg_temp.refused(postern.resend('sms')), '400 validation_failed: Type provided requires a phone number', 'no number');
select is(pg_temp.refused(postern.resend('sms', 'a@b.c', '4915')), '400 validation_failed: Only an email address or phone number should be provided.', 'both');
select is(pg_temp.refused(postern.resend('sms', phone => '4915')), '400 phone_provider_disabled: Phone logins are disabled', 'phones are off');
select is(pg_temp.refused(postern.resend('email_change')), '400 validation_failed: Missing email address or phone number', 'neither');

-- Change of address
select is(postern.update_user(pg_temp.me(:'ada'), email => 'ada@example.org', envelope => pg_temp.minted('c1'), second_envelope => pg_temp.minted('c2')) #>> '{body,new_email}',
    'ada@example.org', 'a new address');
select is(pg_temp.mails(), 'email_change ada@example.com, email_change ada@example.org', 'both are asked');
select is(pg_temp.done(pg_temp.code('email_change', 'ada@example.org', 'c1')),
    '{"code" : "200", "msg" : "Confirmation link accepted. Please proceed to confirm link sent to the other email"}', 'one agrees');
select is(pg_temp.refused(pg_temp.link('email_change', 'c1')), '403 otp_expired: Email link is invalid or has expired', 'once');
select is(pg_temp.done(pg_temp.code('email_change', 'ada@example.com', 'c2')), 'session', 'both do');
select is(pg_temp.one(:'ada', 'concat_ws('' '', email, email_change, email_change_confirm_status)'), 'ada@example.org  0', 'it is changed');
select pg_temp.set('mailer_secure_email_change_enabled = false') \g /dev/null
select postern.update_user(pg_temp.me(:'ada'), email => 'ada@example.net', envelope => pg_temp.minted('c3')) \g /dev/null
select is(pg_temp.mails(), 'email_change ada@example.net', 'or the new one alone');
select is(pg_temp.done(postern.resend('email_change', 'ada@example.org', envelope => pg_temp.minted('c4'))), '{}', 'again');
select is(pg_temp.refused(pg_temp.link('email_change', 'c3')), '403 otp_expired: Email link is invalid or has expired', 'the first is void');
select postern.update_user(pg_temp.me(:'bob'), email => 'ada@example.net', envelope => pg_temp.minted('c5')) \g /dev/null
select is(pg_temp.done(pg_temp.code('email_change', 'ada@example.net', 'c4')), 'session', 'of two who want it, the code tells');
select is(pg_temp.refused(pg_temp.link('email_change', 'c5')), '422 email_exists: A user with this email address has already been registered', 'the other is late');
select pg_temp.set('mailer_secure_email_change_enabled = true') \g /dev/null
select postern.sign_up_anonymously() \g /dev/null
select pg_temp.set('external_anonymous_users_enabled = true') \g /dev/null
select postern.sign_up_anonymously() #>> '{session,user_id}' as anon \gset
select postern.update_user(pg_temp.me(:'anon'), email => 'anon@example.com', envelope => pg_temp.minted('c6'), second_envelope => pg_temp.minted('c7')) \g /dev/null
select is(pg_temp.done(pg_temp.link('email_change', 'c6')), 'session', 'an anonymous account has only the new one');
select is(pg_temp.one(:'anon', 'concat_ws('' '', email, is_anonymous, raw_app_meta_data ->> ''provider'')'), 'anon@example.com f email', 'and is no longer anonymous');
select pg_temp.mails() \g /dev/null

-- Reauthentication
select is(pg_temp.refused(postern.reauthenticate(caller => pg_temp.me(gen_random_uuid()))), '403 user_not_found: User from sub claim in JWT does not exist', 'nobody');
select is(pg_temp.done(postern.reauthenticate(pg_temp.minted('n1'), pg_temp.me(:'ada'))), '{}', 'a code for a change of password');
select is(pg_temp.mails(), 'reauthentication ada@example.net', 'is mailed');
select pg_temp.run(format('update auth.users set email_confirmed_at = null where id = %L', :'ada')) \g /dev/null
select is(pg_temp.refused(postern.reauthenticate(pg_temp.minted('n2'), pg_temp.me(:'ada'))), '422 email_not_confirmed: Please verify your email first.', 'not confirmed');
select pg_temp.run(format('update auth.users set email = null, phone = ''4915'' where id = %L', :'ada')) \g /dev/null
select is(pg_temp.refused(postern.reauthenticate(pg_temp.minted('n2'), pg_temp.me(:'ada'))), '422 phone_not_confirmed: Please verify your phone first.', 'a number neither');
select pg_temp.run(format('update auth.users set phone_confirmed_at = now() where id = %L', :'ada')) \g /dev/null
select is(postern.reauthenticate(pg_temp.minted('n3'), pg_temp.me(:'ada')) #>> '{delivery,recipient}', '4915', 'by SMS');
select pg_temp.run(format('update auth.users set phone = null where id = %L', :'ada')) \g /dev/null
select is(pg_temp.refused(postern.reauthenticate(pg_temp.minted('n2'), pg_temp.me(:'ada'))),
    '400 validation_failed: Reauthentication requires the user to have an email or a phone number', 'neither');
select pg_temp.mails() \g /dev/null

-- PKCE
select repeat('v', 43) as verifier \gset
select postern.request_recovery('bob@example.com', :'verifier', 'plain', pg_temp.minted('p1')) \g /dev/null
select pg_temp.link('recovery', 'p1', true) #>> '{body,auth_code}' as code \gset
select isnt(:'code'::text, '', 'a link leads to an auth code');
select is(pg_temp.refused(postern.exchange_auth_code('', 'x')), '400 validation_failed: invalid request: both auth code and code verifier should be non-empty', 'none');
select is(pg_temp.refused(postern.exchange_auth_code('x', 'x')), '404 flow_state_not_found: invalid flow state, no valid flow state found', 'an unknown one');
select is(pg_temp.refused(postern.exchange_auth_code(:'code', 'x')), '400 bad_code_verifier: code challenge does not match previously saved code verifier', 'a wrong verifier');
select is(pg_temp.done(postern.exchange_auth_code(:'code', :'verifier')), 'session', 'the right one');
select is(pg_temp.refused(postern.exchange_auth_code(:'code', :'verifier')), '404 flow_state_not_found: invalid flow state, no valid flow state found', 'once');
select postern.request_recovery('bob@example.com', :'verifier', 'plain', pg_temp.minted('p2')) \g /dev/null
select pg_temp.link('recovery', 'p2', true) #>> '{body,auth_code}' as code \gset
select pg_temp.run('update auth.flow_state set created_at = now() - interval ''301 s''') \g /dev/null
select is(pg_temp.refused(postern.exchange_auth_code(:'code', :'verifier')), '422 flow_state_expired: invalid flow state, flow state has expired', 'in time');
select postern.request_recovery('bob@example.com', envelope => pg_temp.minted('p3')) \g /dev/null
select is(pg_temp.refused(pg_temp.link('signup', 'p3', true)), '403 otp_expired: Email link is invalid or has expired', 'of its type');
select pg_temp.run('delete from auth.flow_state') \g /dev/null
select is(pg_temp.refused(pg_temp.link('recovery', 'p3', true)), '400 flow_state_not_found: No associated flow state found. 422: No valid flow state found for user.', 'with a flow');
select is(pg_temp.done(pg_temp.link('recovery', 'p3')), 'session', 'without one it was not used up');

-- Limits per client
select pg_temp.empty_limits() \g /dev/null
do $$ begin for i in 1..30 loop
    perform postern.request_recovery('', caller => pg_temp.client());
    perform postern.request_magic_link('', caller => pg_temp.client());
    perform postern.resend('', caller => pg_temp.client());
    perform postern.verify_one_time_token('x', link_digest => 'x', caller => pg_temp.client());
end loop; end $$;
select is(pg_temp.refused(postern.request_recovery('', caller => pg_temp.client())), '429 over_request_rate_limit: Request rate limit reached', 'recover');
select is(pg_temp.refused(postern.request_magic_link('', caller => pg_temp.client())), '429 over_request_rate_limit: Request rate limit reached', 'otp');
select is(pg_temp.refused(postern.resend('', caller => pg_temp.client())), '429 over_request_rate_limit: Request rate limit reached', 'resend');
select is(pg_temp.refused(postern.verify_one_time_token('x', link_digest => 'x', caller => pg_temp.client())), '429 over_request_rate_limit: Request rate limit reached', 'verify');
select pg_temp.set('rate_limit_token_refresh = 0') \g /dev/null
do $$ begin for i in 1..30 loop perform postern.exchange_auth_code('', '', caller => pg_temp.client()); end loop; end $$;
select is(pg_temp.refused(postern.exchange_auth_code('', '', caller => pg_temp.client())), '429 over_request_rate_limit: Request rate limit reached', 'token');
select * from finish();
rollback;
