-- postern.find_password and postern.sign_in_with_password (contract core.md 4.3).
begin;
select plan(77);
\ir support.psql
select pg_temp.set('jwt_aud = ''authenticated'', external_phone_enabled = true') \g /dev/null
select pg_temp.account('ada@example.com', '{"full_name": "Ada L"}') as ada \gset
select postern.create_user(phone => '+49 151 1', password_hash => pg_temp.hash(),
    confirmed => false) as bob \gset
select postern.create_user(email => 'new@example.com', password_hash => pg_temp.hash(),
    confirmed => false) as new \gset
select postern.create_user(email => 'none@example.com') as none \gset

set local session authorization postern_gateway;

-- The first half

select is(postern.find_password(email => 'ADA@example.com')::jsonb - 'v',
    jsonb_build_object('user_id', :'ada'::text, 'password_hash', pg_temp.hash()),
    'the hash of an address in any case');
select is(postern.find_password(phone => '+49 1511') ->> 'user_id', :'bob',
    'of a number with plus sign and blanks');
select is(postern.find_password(email => who.address)::jsonb - 'v',
    '{"user_id": null, "password_hash": null}'::jsonb,
    'no hash: ' || who.address)
  from (values ('who@example.com'), ('none@example.com'), ('not an address'), ('%'),
      ('ada@example.com ')) who (address);
select is(postern.find_password(phone => '0')::jsonb - 'v', '{"user_id": null, "password_hash": null}'::jsonb,
    'no hash: a number that is none');
select is(pg_temp.refused(postern.find_password(email => 'ada@example.com', phone => '491511')),
    '400 validation_failed: Only an email address or phone number should be provided on login.', 'both');
select is(pg_temp.refused(postern.find_password()), '400 validation_failed: missing email or phone',
    'neither');
select is(pg_temp.refused(postern.find_password(email => '', phone => '')),
    '400 validation_failed: missing email or phone', 'both empty');
select is((postern.find_password(email => 'ada@example.com',
    caller => postern.caller(audience => 'other')) ->> 'user_id'),
    null,
    'another audience has another ada');
select is((postern.find_password(email => 'ada@example.com',
    caller => postern.caller(audience => '')) ->> 'user_id'),
    :'ada',
    'an empty audience is the default one');
select pg_temp.set('external_email_enabled = false, external_phone_enabled = false') \g /dev/null
select is(pg_temp.refused(postern.find_password(email => 'ada@example.com')),
    '422 email_provider_disabled: Email logins are disabled', 'addresses switched off');
select is(pg_temp.refused(postern.find_password(phone => '491511')),
    '422 phone_provider_disabled: Phone logins are disabled', 'numbers switched off');
select is(pg_temp.refused(postern.find_password(email => 'ada@example.com', phone => '491511')),
    '400 validation_failed: Only an email address or phone number should be provided on login.',
    'both, before that');
select pg_temp.set('external_email_enabled = true, external_phone_enabled = true') \g /dev/null

select pg_temp.run(format('update auth.users set banned_until = now() + interval ''1 minute''
        where id in (%L, %L)',
    :'ada', :'none')) \g /dev/null
select is(pg_temp.refused(postern.find_password(email => 'ada@example.com')),
    '400 user_banned: User is banned', 'a ban, before the password is looked at');
select is((postern.find_password(email => 'none@example.com') ->> 'user_id'), null,
    'but an account without a password looks unknown, banned or not');
select pg_temp.run('update auth.users set banned_until = ''infinity''') \g /dev/null
select is(pg_temp.refused(postern.find_password(email => 'ada@example.com')),
    '400 user_banned: User is banned', 'a ban for ever');
select pg_temp.run('update auth.users set banned_until = now() - interval ''1 second''') \g /dev/null
select is(postern.find_password(email => 'ada@example.com') ->> 'user_id', :'ada', 'a ban that is over');
select pg_temp.run(format('update auth.users set is_sso_user = true where id = %L', :'ada')) \g /dev/null
select is((postern.find_password(email => 'ada@example.com') ->> 'user_id'), null,
    'SSO accounts have no password here');
select pg_temp.run(format('update auth.users set is_sso_user = false, instance_id = null where id = %L',
    :'ada')) \g /dev/null
select is((postern.find_password(email => 'ada@example.com') ->> 'user_id'), null,
    'accounts of another instance are not seen');
select pg_temp.run('update auth.users set instance_id = ''00000000-0000-0000-0000-000000000000'', banned_until = null') \g /dev/null

select pg_temp.set('rate_limit_token_refresh = 0') \g /dev/null
select postern.find_password(email => 'ada@example.com',
    caller => postern.caller(limiter_key => 'k')) from generate_series(1, 30) \g /dev/null
select is(pg_temp.refused(postern.find_password(email => 'ada@example.com',
    caller => postern.caller(limiter_key => 'k'))),
    '429 over_request_rate_limit: Request rate limit reached', 'the 31st try of one client is refused');
select is((postern.find_password(email => 'ada@example.com',
    caller => postern.caller(limiter_key => 'l')) -> 'error')::text,
    null, 'another client is not');
select is((postern.find_password(email => 'ada@example.com') -> 'error')::text, null,
    'nor is one without a key');

-- The second half

select pg_temp.forget_audit() \g /dev/null
select is(pg_temp.refused(postern.sign_in_with_password(null, 'email', false)),
    '400 invalid_credentials: Invalid login credentials', 'an unknown account');
select is(pg_temp.refused(postern.sign_in_with_password(null, 'email', true)),
    '400 invalid_credentials: Invalid login credentials', 'whatever was compared');
select is(pg_temp.refused(postern.sign_in_with_password(:'ada', 'email', false, pg_temp.digest())),
    '400 invalid_credentials: Invalid login credentials', 'a wrong password');
select is(pg_temp.refused(postern.sign_in_with_password(:'ada', 'email', null, pg_temp.digest())),
    '400 invalid_credentials: Invalid login credentials', 'a password of which nothing is known');
select is(pg_temp.refused(postern.sign_in_with_password(gen_random_uuid(), 'email', true, pg_temp.digest())),
    '400 invalid_credentials: Invalid login credentials', 'an account deleted meanwhile');
select is(pg_temp.refused(postern.sign_in_with_password(:'ada', 'email', true, pg_temp.digest('another'))),
    '409 conflict: The password changed during the sign-in', 'a password changed meanwhile');
select is(pg_temp.refused(postern.sign_in_with_password(:'ada', 'email', true)),
    '409 conflict: The password changed during the sign-in', 'without the digest it is not believed');
select is(pg_temp.refused(postern.sign_in_with_password(:'new', 'email', true, pg_temp.digest())),
    '400 email_not_confirmed: Email not confirmed', 'an address that is not confirmed');
select is(pg_temp.refused(postern.sign_in_with_password(:'bob', 'phone', true, pg_temp.digest())),
    '400 phone_not_confirmed: Phone not confirmed', 'a number that is not confirmed');
select is(pg_temp.refused(postern.sign_in_with_password(:'none', 'email', true, pg_temp.digest(''))),
    '400 invalid_credentials: Invalid login credentials', 'an account without a password');
select pg_temp.run(format('update auth.users set deleted_at = now() where id = %L', :'ada')) \g /dev/null
select is(pg_temp.refused(postern.sign_in_with_password(:'ada', 'email', true, pg_temp.digest())),
    '400 invalid_credentials: Invalid login credentials', 'an account deleted softly');
select pg_temp.run(format('update auth.users set deleted_at = null, banned_until = now() + interval ''1 h'' where id = %L',
    :'ada')) \g /dev/null
select is(pg_temp.refused(postern.sign_in_with_password(:'ada', 'email', true, pg_temp.digest())),
    '400 user_banned: User is banned', 'an account banned meanwhile');
select pg_temp.run('update auth.users set banned_until = null, last_sign_in_at = null') \g /dev/null
select is(pg_temp.value('select count(*) from auth.sessions')::int, 0, 'none of these opened a session');
select is(pg_temp.audit(), null, 'or is in the audit trail');

select postern.sign_in_with_password(:'ada', 'email', true, pg_temp.digest(),
    caller => postern.caller(ip => '2001:db8::1', user_agent => '')) as answer \gset
select :'answer'::jsonb #>> '{session,id}' as session \gset
select is(:'answer'::jsonb #>> '{session,counter}', '0', 'the right password opens a session');
select is(:'answer'::jsonb #>> '{user,id}', :'ada', 'of this account');
select is(:'answer'::jsonb #>> '{claims,sub}', :'ada', 'claims for it');
select is(:'answer'::jsonb #>> '{claims,session_id}', :'session', 'with the session');
select is(:'answer'::jsonb #>> '{claims,amr,0,method}', 'password', 'by password');
select is(:'answer'::jsonb #>> '{claims,iss}', null, 'no issuer when none is set');
select isnt(:'answer'::jsonb #>> '{user,confirmed_at}', null, 'the user as stored');
select is(pg_temp.value(format('select concat_ws(''|'', host(ip), user_agent, aal) from auth.sessions
        where id = %L',
    :'session')),
    '2001:db8::1|aal1', 'an empty user agent is stored as none');
select is(pg_temp.value(format('select last_sign_in_at = now() and updated_at = now() from auth.users
        where id = %L',
    :'ada')),
    'true', 'the account remembers when');
select is(pg_temp.value('select jsonb_agg(payload) from auth.audit_log_entries')::jsonb,
    jsonb_build_array(jsonb_build_object('action', 'login', 'actor_id', :'ada'::text, 'actor_username',
        'ada@example.com', 'actor_via_sso', false,
        'actor_name', 'Ada L', 'log_type', 'account', 'traits',
        '{"provider": "email"}'::jsonb)), 'and so does the audit trail');
select isnt(pg_temp.signed_in(:'ada')::text, :'session', 'each sign-in is a session of its own');

select postern.sign_in_with_password(:'ada', 'email', true, pg_temp.digest(),
    new_hash => 'rehashed') -> 'error' as e \gset
select is(pg_temp.value(format('select encrypted_password from auth.users where id = %L', :'ada')),
    'rehashed', 'a hash of another algorithm is replaced');
select is(pg_temp.refused(postern.sign_in_with_password(:'ada', 'email', true, pg_temp.digest(),
    new_hash => 'once more')),
    '409 conflict: The password changed during the sign-in',
    'once: the second of two at the same time starts again');
select is(pg_temp.value(format('select encrypted_password from auth.users where id = %L', :'ada')),
    'rehashed', 'and replaces nothing');

-- Numbers, issuer, assurance

select pg_temp.run(format('update auth.users set phone_confirmed_at = now() where id = %L',
    :'bob')) \g /dev/null
select pg_temp.set('jwt_issuer = ''https://auth "example"'', jwt_exp = 1') \g /dev/null
select postern.sign_in_with_password(:'bob', 'phone', true, pg_temp.digest()) as answer \gset
select is(:'answer'::jsonb #>> '{claims,phone}', '491511', 'a number signs in');
select is(:'answer'::jsonb #>> '{claims,iss}', 'https://auth "example"', 'the issuer is a claim, quoted');
select is(pg_temp.value('select payload ->> ''actor_username'' from auth.audit_log_entries
        order by created_at desc limit 1'),
    '491511',
    'the trail names an account by its number');
select is(:'answer'::jsonb #>> '{session,expires_in}', '1', 'lifetime as set');

select pg_temp.set('sessions_allow_low_aal = ''10 minutes'', jwt_exp = 3600') \g /dev/null
select is(postern.sign_in_with_password(:'bob', 'phone', true, pg_temp.digest()) #>> '{session,expires_in}',
    '3600', 'a limit for low assurance does not meet an account without a factor');
select pg_temp.run(format($$ insert into auth.mfa_factors (id, user_id, factor_type, status, created_at, updated_at, secret)
    values (gen_random_uuid(), %L, 'totp', 'unverified', now(), now(), 'x') $$, :'bob')) \g /dev/null
select is(postern.sign_in_with_password(:'bob', 'phone', true, pg_temp.digest()) #>> '{session,expires_in}',
    '3600', 'nor one whose factor is not verified');
select pg_temp.run('update auth.mfa_factors set status = ''verified''') \g /dev/null
select postern.sign_in_with_password(:'bob', 'phone', true, pg_temp.digest()) as answer \gset
select is(:'answer'::jsonb #>> '{session,expires_in}', '600',
    'but one with a verified factor: its token ends with the session');
select is((:'answer'::jsonb #>> '{claims,exp}')::bigint - (:'answer'::jsonb #>> '{claims,iat}')::bigint,
    600::bigint, 'so do its claims');
select is(:'answer'::jsonb #>> '{claims,aal}', 'aal1', 'a password is aal1');
select is(:'answer'::jsonb #> '{user,factors,0}' ->> 'factor_type', 'totp', 'the user shows the factor');
select is(:'answer'::jsonb #> '{user,factors,0}' -> 'secret', null, 'not its secret');
select is((:'answer'::jsonb #> '{user,factors,0}') - '{id,created_at,updated_at}'::text[],
    '{"status": "verified", "factor_type": "totp", "phone": "", "last_challenged_at": null}'::jsonb,
    'as contract admin.md 2 has it');

-- Accounts that scripts made: whatever may be null is null.
select pg_temp.run($$ insert into auth.users (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at)
    values ('00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-00000000005e', 'authenticated', 'authenticated',
        'Seed@Example.com', pg_temp.hash(), now()) $$) \g /dev/null
select is(postern.find_password(email => 'seed@example.com') ->> 'password_hash', pg_temp.hash(),
    'an account inserted with NULL token columns has its password found');
select postern.sign_in_with_password('00000000-0000-0000-0000-00000000005e', 'email', true,
    pg_temp.digest()) as answer \gset
select is(:'answer'::jsonb #>> '{error,cause}', null, 'and signs in');
select is(:'answer'::jsonb #>> '{claims,email}', 'Seed@Example.com', 'with its address');
select is(:'answer'::jsonb #> '{claims,app_metadata}', '{}', 'metadata that is null is {}');
select is(:'answer'::jsonb #> '{user,user_metadata}', '{}', 'in the user too');
select is(:'answer'::jsonb #> '{user,identities}', '[]', 'no identity is []');
select isnt(:'answer'::jsonb #>> '{user,created_at}', '',
    'a time that is null is left out or null, not an empty text');
select pg_temp.run($$ update auth.users set aud = null, role = null, raw_app_meta_data = 'null', raw_user_meta_data = 'null'
    where id = '00000000-0000-0000-0000-00000000005e' $$) \g /dev/null
select postern.sign_in_with_password('00000000-0000-0000-0000-00000000005e', 'email', true,
    pg_temp.digest()) as answer \gset
select is(:'answer'::jsonb #>> '{claims,role}', '', 'no role is an empty one');
select is(:'answer'::jsonb #>> '{claims,aud}', '', 'no audience too');
select is(:'answer'::jsonb #> '{claims,user_metadata}', '{}', 'metadata that is JSON null is {}');
select pg_temp.run($$ insert into auth.identities (provider_id, user_id, identity_data, provider)
    values ('x', '00000000-0000-0000-0000-00000000005e', '{}', 'google'), ('y', '00000000-0000-0000-0000-00000000005e', '{"email": "A@b"}', 'email') $$) \g /dev/null
select postern.sign_in_with_password('00000000-0000-0000-0000-00000000005e', 'email', true,
    pg_temp.digest()) as answer \gset
select is(jsonb_array_length(:'answer'::jsonb #> '{user,identities}'), 2, 'identities with null times');
select is(jsonb_path_exists(:'answer'::jsonb, '$.user.identities[*].* ? (@ == "")'), false,
    'which are not empty texts either');

reset session authorization;
select * from finish();
rollback;
