-- postern.get_user, find_own_password, update_user (contract core.md 1.8, 6.1 to 6.6).
begin;
select plan(89);
\ir support.psql
select pg_temp.set('jwt_aud = ''authenticated''') \g /dev/null
select pg_temp.account('ada@example.com', '{"full_name": "Ada", "nested": {"a": 1, "b": 2}}') as ada \gset
select pg_temp.account('bob@example.com') as bob \gset
select pg_temp.signed_in(:'ada') as session \gset
select pg_temp.signed_in(:'ada') as other_session \gset

-- As the gateway calls: the caller is who the token says.
create function pg_temp.me(user_id text, session_id text default null) returns postern.caller language sql as $$
    select postern.caller(user_id => user_id::uuid, session_id => session_id::uuid)
$$;
create function pg_temp.column_of(user_id text, expression text) returns text language plpgsql as $$
begin
    return pg_temp.value(format('select %s from auth.users u where id = %L', expression, user_id));
end
$$;
set local session authorization postern_gateway;

-- Who asks

select is(postern.get_user(pg_temp.me(:'ada', :'session')) #>> '{body,id}', :'ada', 'the caller''s account');
select is(postern.get_user(pg_temp.me(:'ada')) #>> '{body,email}', 'ada@example.com',
    'without a session in the token too');
select is(pg_temp.refused(postern.get_user(pg_temp.me(gen_random_uuid()::text))),
    '403 user_not_found: User from sub claim in JWT does not exist', 'an account that is gone');
select is(pg_temp.refused(postern.get_user(null)),
    '403 user_not_found: User from sub claim in JWT does not exist', 'nobody');
select is(pg_temp.refused(postern.get_user(pg_temp.me(:'ada', gen_random_uuid()::text))),
    '403 session_not_found: Session from session_id claim in JWT does not exist', 'a session that is gone');
select pg_temp.run(format('update auth.users set banned_until = now() + interval ''1 s'' where id = %L',
    :'ada')) \g /dev/null
select is(pg_temp.refused(f.answer), '403 user_banned: User is banned', 'banned: ' || f.name)
  from (values
    ('get_user', postern.get_user(pg_temp.me(:'ada', :'session'))),
    ('update_user', postern.update_user(pg_temp.me(:'ada', :'session'), data => '{}')),
    ('find_own_password', postern.find_own_password(pg_temp.me(:'ada', :'session'))),
    ('log_out', postern.log_out(pg_temp.me(:'ada', :'session')))) f (name, answer);
select pg_temp.run('update auth.users set banned_until = null') \g /dev/null
select pg_temp.run(format('update auth.users set instance_id = null where id = %L', :'bob')) \g /dev/null
select is(pg_temp.refused(postern.get_user(pg_temp.me(:'bob'))),
    '403 user_not_found: User from sub claim in JWT does not exist', 'an account of another instance');
select pg_temp.run('update auth.users set instance_id = ''00000000-0000-0000-0000-000000000000''') \g /dev/null

-- Several at once: to each what get_user answers

select pg_temp.account('eve@example.com') as eve \gset
select pg_temp.signed_in(:'eve') as eves \gset
select pg_temp.run(format('update auth.users set banned_until = now() + interval ''1 s'' where id = %L', :'eve')) \g /dev/null
create temporary table askers (n bigint generated always as identity, user_id uuid, session_id uuid);
insert into askers (user_id, session_id)
values (:'ada', :'session'), (gen_random_uuid(), null), (:'bob', null), (:'ada', gen_random_uuid()), (:'eve', :'eves'), (null, null),
    (:'ada', :'session'), (:'bob', :'session');
select results_eq(
    $$ select a.n, a.answer from postern.get_users(
        (select array_agg(user_id order by n) from askers), (select array_agg(session_id order by n) from askers)) a order by a.n $$,
    $$ select n, postern.get_user(postern.caller(user_id => user_id, session_id => session_id))::text from askers order by n $$,
    'the accounts and refusals of several callers');
select is(array_agg(coalesce(a.answer::json #>> '{body,email}', a.answer::json #>> '{error,code}') order by a.n),
    '{ada@example.com,user_not_found,bob@example.com,session_not_found,user_banned,user_not_found,ada@example.com,bob@example.com}',
    'which are theirs')
from postern.get_users((select array_agg(user_id order by n) from askers), (select array_agg(session_id order by n) from askers)) a;
select is((select count(*) from postern.get_users('{}', '{}')), 0::bigint, 'of none');
select is((select count(*) from postern.get_users(null, null)), 0::bigint, 'or of nothing');
select pg_temp.run(format('update auth.users set banned_until = null where id = %L', :'eve')) \g /dev/null

-- The user object with everything in it
select pg_temp.run(format($$ update auth.users set invited_at = 'epoch', confirmation_sent_at = 'epoch', recovery_sent_at = 'epoch', email_change = 'n@x',
    email_change_sent_at = 'epoch', phone_change = '49', phone_change_sent_at = 'epoch', reauthentication_sent_at = 'epoch', last_sign_in_at = 'epoch',
    banned_until = 'epoch', deleted_at = 'epoch', phone = '4911', phone_confirmed_at = 'epoch', email_confirmed_at = 'epoch',
    created_at = 'epoch', updated_at = '2030-01-02 03:04:05.060708+00' where id = %L $$, :'bob')) \g /dev/null
set local timezone = 'Asia/Kolkata';
set local datestyle = 'German';
select is((postern.get_user(pg_temp.me(:'bob')) -> 'body')::jsonb - '{app_metadata,user_metadata,identities,id}'::text[],
    (select jsonb_object_agg(k, '1970-01-01T00:00:00.000000Z') from unnest(array['invited_at',
        'confirmation_sent_at', 'recovery_sent_at',
        'email_change_sent_at', 'phone_change_sent_at', 'reauthentication_sent_at', 'last_sign_in_at',
        'banned_until', 'deleted_at',
        'phone_confirmed_at', 'email_confirmed_at', 'confirmed_at', 'created_at']) k)
    || '{"aud": "authenticated", "role": "authenticated", "email": "bob@example.com", "phone": "4911", "new_email": "n@x", "new_phone": "49",
         "updated_at": "2030-01-02T03:04:05.060708Z", "is_anonymous": false}', 'all of the user object, whatever time zone and date style are set');
reset timezone;
reset datestyle;
select pg_temp.run(format($$ update auth.users set banned_until = 'infinity' where id = %L $$,
    :'bob')) \g /dev/null
select isnt(postern.admin_get_user(postern.caller(role => 'service_role'), :'bob') #>> '{body,banned_until}',
    '', 'a ban for ever is not shown as an empty text');
select pg_temp.run(format($$ update auth.users set banned_until = null, email_change = '', phone_change = '', deleted_at = null, phone = null where id = %L $$,
    :'bob')) \g /dev/null
select pg_temp.run(format($$ insert into auth.identities (provider_id, user_id, identity_data, provider, created_at)
    values ('x"y', %L, '{"email": "B@C"}', 'sso:"', 'epoch'), ('e', %1$L, '{}', 'google', 'infinity') $$, :'bob')) \g /dev/null
select is(jsonb_path_query_array(postern.get_user(pg_temp.me(:'bob'))::jsonb,
    '$.body.identities[*].provider'),
    '["sso:\"", "email", "google"]', 'identities, oldest first, quoted');

-- Nothing, and metadata

select pg_temp.forget_audit() \g /dev/null
select pg_temp.run('update auth.users set updated_at = now() - interval ''1 h''') \g /dev/null
select is(postern.update_user(pg_temp.me(:'ada', :'session')) #>> '{body,id}', :'ada', 'nothing to change');
select is(pg_temp.column_of(:'ada', 'updated_at < now()'), 'true', 'changes nothing');
select is(pg_temp.audit(), 'user_modified user', 'but is in the audit trail');
select postern.update_user(pg_temp.me(:'ada', :'session'), data => '{}') \g /dev/null
select is(pg_temp.column_of(:'ada', 'updated_at = now()'), 'true', 'empty data counts as a change');
select is(postern.update_user(pg_temp.me(:'ada', :'session'),
    data => '{"full_name": null, "nested": {"c": null}, "x": [1, null], "missing": null}')
    #> '{body,user_metadata}' #>> '{}', '{"x": [1, null], "nested": {"c": null}, "email_verified": true}',
    'data is merged key by key; null removes one, inside it stays');
select is(pg_temp.column_of(:'ada', 'raw_user_meta_data')::jsonb,
    '{"x": [1, null], "nested": {"c": null}, "email_verified": true}'::jsonb, 'and stored so');
select pg_temp.run(format('update auth.users set raw_user_meta_data = null where id = %L',
    :'ada')) \g /dev/null
select is(postern.update_user(pg_temp.me(:'ada'), data => '{"a": 1}') #>> '{body,user_metadata,a}', '1',
    'into metadata that is null too');
select pg_temp.run(format('update auth.users set raw_user_meta_data = ''null'' where id = %L',
    :'ada')) \g /dev/null
select is(postern.update_user(pg_temp.me(:'ada'), data => '{"a": 2}') #>> '{body,user_metadata,a}', '2',
    'or JSON null');

select is(pg_temp.refused(postern.update_user(pg_temp.me(:'ada'), app_metadata => '{}')),
    '403 not_admin: Updating app_metadata requires admin privileges', 'app_metadata is not the user''s');
select pg_temp.run(format('update auth.users set role = ''admin'' where id = %L', :'ada')) \g /dev/null
select is(postern.update_user(pg_temp.me(:'ada'),
    app_metadata => '{"plan": "x", "provider": null}') #>> '{body,app_metadata}',
    '{"plan": "x", "providers": ["email"]}', 'but an admin''s');
select pg_temp.run(format('update auth.users set aud = ''other'' where id = %L', :'ada')) \g /dev/null
select is(pg_temp.refused(postern.update_user(pg_temp.me(:'ada'), app_metadata => '{}')),
    '403 not_admin: Updating app_metadata requires admin privileges', 'of this audience');
select pg_temp.run(format('update auth.users set aud = ''authenticated'', role = ''authenticated''
        where id = %L',
    :'ada')) \g /dev/null

-- Address and number

select is(pg_temp.refused(postern.update_user(pg_temp.me(:'ada'), email => 'x')),
    '400 validation_failed: Unable to validate email address: invalid format', 'no address');
select is(pg_temp.refused(postern.update_user(pg_temp.me(:'ada'), phone => 'x')),
    '400 validation_failed: Invalid phone number format (E.164 required)', 'no number');
select is(pg_temp.refused(postern.update_user(pg_temp.me(:'ada'), email => 'Bob@example.com')),
    '422 email_exists: A user with this email address has already been registered', 'a taken address');
select pg_temp.run(format('update auth.users set phone = ''4999'' where id = %L', :'bob')) \g /dev/null
select is(pg_temp.refused(postern.update_user(pg_temp.me(:'ada'), phone => '+49 99')),
    '422 phone_exists: A user with this phone number has already been registered', 'a taken number');
select is(postern.update_user(pg_temp.me(:'ada'), email => 'ADA@example.com',
    phone => '') #>> '{body,new_email}',
    null, 'the own address is no change');
select is(postern.update_user(pg_temp.me(:'ada'), email => 'Ada@New.example') #>> '{body,new_email}',
    'ada@new.example', 'a new address waits for confirmation');
select is(pg_temp.column_of(:'ada', 'concat_ws('' '', email, email_change, email_change_confirm_status)'),
    'ada@example.com ada@new.example 0', 'beside the old one');
select is(postern.update_user(pg_temp.me(:'ada'), phone => '+491234') #>> '{body,new_phone}', '491234',
    'a new number too');
select pg_temp.set('sms_autoconfirm = true') \g /dev/null
select is(postern.update_user(pg_temp.me(:'ada'), phone => '+491234') #>> '{body,phone}', '491234',
    'or is taken at once, where numbers need no confirmation');
select is(pg_temp.value(format('select identity_data from auth.identities where user_id = %L
        and provider = ''phone''',
    :'ada'))::jsonb,
    jsonb_build_object('sub', :'ada'::text, 'phone', '491234', 'phone_verified', true, 'email_verified',
        false), 'with its identity');
select is(postern.update_user(pg_temp.me(:'ada'), phone => '+495678') #>> '{body,phone}', '495678',
    'once more');
select is(pg_temp.value(format('select count(*) || string_agg(identity_data ->> ''phone'', '','')
        from auth.identities where user_id = %L and provider = ''phone''',
    :'ada')),
    '1495678', 'updates that identity');

-- Passwords

select is(postern.find_own_password(pg_temp.me(:'ada', :'session')) ->> 'password_hash', pg_temp.hash(),
    'the hash to compare with');
select is(pg_temp.refused(postern.update_user(pg_temp.me(:'ada', :'session'),
    password_problem => '{"status": 422, "code": "weak_password", "message": "weak"}', app_metadata => '{}')),
    '422 weak_password: weak', 'a weak password, before rights are looked at');
select is(pg_temp.refused(postern.update_user(pg_temp.me(:'ada', :'session'), password_hash => 'new',
    compared_digest => pg_temp.digest('x'))),
    '409 conflict: The password changed meanwhile', 'the stored hash changed meanwhile');
select is(pg_temp.refused(postern.update_user(pg_temp.me(:'ada', :'session'), password_hash => 'new')),
    '409 conflict: The password changed meanwhile', 'nothing was compared');
select is(pg_temp.refused(postern.update_user(pg_temp.me(:'ada', :'session'), password_hash => 'new',
    compared_digest => pg_temp.digest(), is_same_password => true)),
    '422 same_password: New password should be different from the old password.', 'the old password again');
select pg_temp.run(format($$ insert into auth.one_time_tokens (id, user_id, token_type, token_hash, relates_to)
    values (gen_random_uuid(), %L, 'recovery_token', 'h', 'ada@example.com') $$, :'ada')) \g /dev/null
select pg_temp.run(format($$ update auth.users set recovery_token = 'h', recovery_sent_at = now(), confirmation_token = 'h1', email_change_token_new = 'h2',
    email_change_token_current = 'h3', phone_change_token = 'h4', reauthentication_token = 'h5' where id = %L $$, :'ada')) \g /dev/null
select pg_temp.forget_audit() \g /dev/null
select is((postern.update_user(pg_temp.me(:'ada', :'session'), password_hash => 'new',
    compared_digest => pg_temp.digest(), is_same_password => false) -> 'error')::text,
    null, 'a new password');
select is(pg_temp.column_of(:'ada',
    'concat(encrypted_password, confirmation_token, recovery_token, email_change_token_new, email_change_token_current, phone_change_token, reauthentication_token, recovery_sent_at)'),
    'new', 'is stored, and everything mailed is void');
select is(pg_temp.column_of(:'ada', 'email_change'), 'ada@new.example', 'but the pending address stays');
select is(pg_temp.value(format('select count(*) from auth.one_time_tokens where user_id = %L', :'ada')), '0',
    'codes too');
select is(pg_temp.value(format('select string_agg(id::text, '','') from auth.sessions where user_id = %L',
    :'ada')),
    :'session', 'other sessions end');
select is(pg_temp.audit(), 'user_updated_password user, user_modified user', 'the audit trail');
select is((postern.update_user(pg_temp.me(:'ada'), password_hash => 'newer',
    compared_digest => pg_temp.digest('new')) -> 'error')::text,
    null, 'from a token without a session');
select is(pg_temp.value(format('select count(*) from auth.sessions where user_id = %L', :'ada')), '0',
    'all sessions end');

-- Current password
select pg_temp.run(format('update auth.users set encrypted_password = %L where id = %L', pg_temp.hash(),
    :'ada')) \g /dev/null
select pg_temp.signed_in(:'ada') as session \gset
select pg_temp.set('security_update_password_require_current_password = true') \g /dev/null
select is(pg_temp.refused(postern.update_user(pg_temp.me(:'ada', :'session'), password_hash => 'n',
    compared_digest => pg_temp.digest(), is_same_password => true)),
    '400 current_password_required: Current password required when setting new password.',
    'the current password is asked for, before the same one is noticed');
select is(pg_temp.refused(postern.update_user(pg_temp.me(:'ada', :'session'), password_hash => 'n',
    compared_digest => pg_temp.digest(), is_current_password => false)),
    '400 current_password_invalid: Current password required when setting new password.', 'a wrong one');
select is(pg_temp.refused(postern.update_user(pg_temp.me(:'ada'), password_hash => 'n',
    compared_digest => pg_temp.digest())),
    '400 current_password_required: Current password required when setting new password.',
    'without a session too');
select pg_temp.run(format('update auth.mfa_amr_claims set authentication_method = ''recovery''
        where session_id = %L',
    :'session')) \g /dev/null
select is((postern.update_user(pg_temp.me(:'ada', :'session'), password_hash => pg_temp.hash(),
    compared_digest => pg_temp.digest()) -> 'error')::text,
    null, 'a session that came by recovery needs none');
select pg_temp.run('update auth.mfa_amr_claims set authentication_method = ''password''') \g /dev/null
select is((postern.update_user(pg_temp.me(:'ada', :'session'), password_hash => pg_temp.hash(),
    compared_digest => pg_temp.digest(), is_current_password => true) -> 'error')::text,
    null, 'the right one');
select pg_temp.run(format('update auth.users set encrypted_password = '''' where id = %L',
    :'ada')) \g /dev/null
select is((postern.update_user(pg_temp.me(:'ada', :'session'),
    password_hash => pg_temp.hash()) -> 'error')::text,
    null, 'a first password needs none');
select pg_temp.set('security_update_password_require_current_password = false, security_update_password_require_reauthentication = true') \g /dev/null

-- Reauthentication
select is((postern.update_user(pg_temp.me(:'ada', :'session'), password_hash => pg_temp.hash(),
    compared_digest => pg_temp.digest()) -> 'error')::text,
    null, 'a young session needs no code');
select pg_temp.run(format('update auth.sessions set created_at = now() - interval ''24:00:01'' where id = %L',
    :'session')) \g /dev/null
select is(pg_temp.refused(postern.update_user(pg_temp.me(:'ada', :'session'), password_hash => 'n',
    compared_digest => pg_temp.digest())),
    '400 reauthentication_needed: Password update requires reauthentication', 'one older than a day does');
select is(pg_temp.refused(postern.update_user(pg_temp.me(:'ada', :'session'), password_hash => 'n',
    compared_digest => pg_temp.digest(), nonce => '123456')),
    '422 reauthentication_not_valid: Nonce has expired or is invalid', 'a code that nobody sent');
select is(pg_temp.refused(postern.update_user(pg_temp.me(:'ada'), password_hash => 'n',
    compared_digest => pg_temp.digest())),
    '400 reauthentication_needed: Password update requires reauthentication',
    'so does a token without a session');
select pg_temp.account('num@example.com') as num \gset
create function pg_temp.texted(age interval) returns text language plpgsql as $$
begin
    perform pg_temp.run(format('update auth.users set email = null, phone = ''4915'', reauthentication_sent_at = now() - interval %L,
        reauthentication_token = postern._code_digest(''4915'', ''123456'') where email = ''num@example.com'' or phone = ''4915''', age));
    return postern.update_user(pg_temp.me(pg_temp.value('select id from auth.users where phone = ''4915''')), password_hash => pg_temp.hash(),
        compared_digest => pg_temp.digest(), is_same_password => true, nonce => '123456', nonce_hmacs => array[convert_to('123456', 'UTF8')])
        #>> '{error,code}';
end
$$;
select is(pg_temp.texted('59 s'), 'same_password', 'a code that came by SMS is taken');
select is(pg_temp.texted('61 s'), 'reauthentication_not_valid', 'as long as codes by SMS are');
select pg_temp.set('security_update_password_require_reauthentication = false') \g /dev/null

-- Second factor
select pg_temp.run(format($$ insert into auth.mfa_factors (id, user_id, factor_type, status, created_at, updated_at)
    values (gen_random_uuid(), %L, 'totp', 'verified', now(), now()) $$, :'ada')) \g /dev/null
select is(pg_temp.refused(f.answer),
    '401 insufficient_aal: AAL2 session is required to update email or password when MFA is enabled.',
    'with a second factor, at aal1: ' || f.what)
  from (values
    ('password',
        postern.update_user(pg_temp.me(:'ada', :'session'), password_hash => 'n',
            compared_digest => pg_temp.digest())),
    ('address', postern.update_user(pg_temp.me(:'ada', :'session'), email => 'n@example.com')),
    ('number', postern.update_user(pg_temp.me(:'ada', :'session'), phone => '498888')),
    ('no session', postern.update_user(pg_temp.me(:'ada'), phone => '498888'))) f (what, answer);
select is((postern.update_user(pg_temp.me(:'ada', :'session'), data => '{"b": 1}') -> 'error')::text, null,
    'metadata may change');
select pg_temp.run(format('update auth.sessions set aal = ''aal2'' where id = %L', :'session')) \g /dev/null
select is((postern.update_user(pg_temp.me(:'ada', :'session'), password_hash => 'n',
    compared_digest => pg_temp.digest()) -> 'error')::text,
    null, 'at aal2 all may');

-- Anonymous and SSO accounts
select pg_temp.set('external_anonymous_users_enabled = true, sms_autoconfirm = false') \g /dev/null
select postern.sign_up_anonymously() as answer \gset
select :'answer'::jsonb #>> '{user,id}' as nobody \gset
select is(pg_temp.refused(postern.update_user(pg_temp.me(:'nobody'), password_hash => 'n')),
    '422 validation_failed: Updating password of an anonymous user without an email or phone is not allowed',
    'an anonymous account sets no password alone');
select is((postern.update_user(pg_temp.me(:'nobody'), email => 'some@example.com',
    password_hash => 'n') -> 'error')::text,
    null, 'but with an address');
select is(pg_temp.column_of(:'nobody', 'concat_ws('' '', is_anonymous, email_change, email)'),
    't some@example.com', 'which waits');
select pg_temp.set('mailer_autoconfirm = true') \g /dev/null
select is(postern.update_user(pg_temp.me(:'nobody'), email => 'some@example.com') #>> '{body,is_anonymous}',
    'false', 'and is taken at once where addresses need no confirmation');
select is(pg_temp.column_of(:'nobody',
    'concat_ws('' '', email, email_confirmed_at is not null, raw_user_meta_data)'),
    'some@example.com t {"email_verified": true}', 'confirmed');
select is(pg_temp.value(format('select identity_data - ''sub'' from auth.identities where user_id = %L',
    :'nobody'))::jsonb,
    '{"email": "some@example.com", "email_verified": true, "phone_verified": false}', 'with its identity');
select pg_temp.run(format('update auth.users set is_sso_user = true where id = %L', :'bob')) \g /dev/null
select is(pg_temp.refused(f.answer),
    '422 user_sso_managed: Updating email, phone, password of a SSO account only possible via SSO',
    'SSO account: ' || f.what)
  from (values
    ('password', postern.update_user(pg_temp.me(:'bob'), password_hash => 'n')),
    ('address', postern.update_user(pg_temp.me(:'bob'), email => 'n@example.com')),
    ('number', postern.update_user(pg_temp.me(:'bob'), phone => '498888')),
    ('code', postern.update_user(pg_temp.me(:'bob'), nonce => '1'))) f (what, answer);
select is((postern.update_user(pg_temp.me(:'bob'), data => '{}', nonce => '') -> 'error')::text, null,
    'SSO account: metadata may change');

-- The identity that a first password makes
select pg_temp.set('experimental_create_email_identity_on_password_set_enabled = true') \g /dev/null
select postern.sign_up_anonymously() #>> '{user,id}' as later \gset
select pg_temp.run(format($$ update auth.users set email = 'later@example.com', email_confirmed_at = now(), is_anonymous = false where id = %L $$,
    :'later')) \g /dev/null
select is(postern.update_user(pg_temp.me(:'later'), password_hash => 'n') #>> '{body,identities,0,provider}',
    'email', 'a first password makes the e-mail identity');
select is(pg_temp.column_of(:'later', 'raw_app_meta_data')::jsonb,
    '{"provider": "email", "providers": ["email"]}', 'and the providers');
select pg_temp.run(format($$ delete from auth.identities where user_id = %L $$, :'later')) \g /dev/null
select is(postern.update_user(pg_temp.me(:'later'), password_hash => 'n2',
    compared_digest => pg_temp.digest('n')) #>> '{body,identities,0}',
    null, 'a second one does not');

-- Limit
select pg_temp.set('rate_limit_otp = 0') \g /dev/null
select postern.find_own_password(postern.caller(user_id => :'ada',
    limiter_key => 'k')) from generate_series(1,
    29) \g /dev/null
select is((postern.update_user(postern.caller(user_id => :'ada', limiter_key => 'k')) -> 'error')::text, null,
    'the 30th of one client');
select is(pg_temp.refused(postern.update_user(postern.caller(user_id => :'ada', limiter_key => 'k'))),
    '429 over_request_rate_limit: Request rate limit reached', 'the 31st');
select is(pg_temp.refused(postern.find_own_password(postern.caller(user_id => :'ada', limiter_key => 'k'))),
    '429 over_request_rate_limit: Request rate limit reached', 'for either half');
select is(pg_temp.refused(postern.update_user(postern.caller(user_id => gen_random_uuid(), limiter_key => 'k'))),
    '403 user_not_found: User from sub claim in JWT does not exist', 'who is asked before');

reset session authorization;
select * from finish();
rollback;
