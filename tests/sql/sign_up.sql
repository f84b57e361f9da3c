-- postern.sign_up and postern.sign_up_anonymously (contract core.md 3).
begin;
select plan(108);
\ir support.psql
select pg_temp.set('jwt_aud = ''authenticated'', jwt_default_group_name = '' authenticated ''') \g /dev/null
set local session authorization postern_gateway;

-- user_row() is an account's row without its times.
create function pg_temp.user_row(id text) returns jsonb language plpgsql as $$
begin
    return pg_temp.value(format($q$
        select to_jsonb(u) - '{created_at,updated_at,email_confirmed_at,phone_confirmed_at,confirmed_at,last_sign_in_at}'::text[]
          from auth.users u where u.id = %L $q$, id));
end
$$;

-- Confirmation needed

select postern.sign_up(
    email => 'Ada@Example.COM', password_hash => pg_temp.hash(), data => '{"full_name": "Ada", "email_verified": true, "sub": "x"}',
    caller => postern.caller(ip => '10.1.2.3', user_agent => 'curl/8', request_id => 'r1')) as answer \gset
select :'answer'::jsonb #>> '{body,id}' as ada \gset
select is(:'answer'::jsonb -> 'session', null, 'an address that must be confirmed opens no session');
select is((:'answer'::jsonb #>> '{v}')::bigint, pg_temp.value('select version from auth.settings')::bigint,
    'the answer carries the version of the settings');
select is(
    (:'answer'::jsonb -> 'body') - '{id,identities,created_at,updated_at}'::text[],
    format('{"aud": "authenticated", "role": "authenticated", "email": "ada@example.com", "phone": "",
        "app_metadata": {"provider": "email", "providers": ["email"]},
        "user_metadata": {"full_name": "Ada", "sub": "%s", "email": "ada@example.com",
        "email_verified": false,
            "phone_verified": false}, "is_anonymous": false}', :'ada')::jsonb,
    'it is the user object; data does not override what we know');
select is(
    (:'answer'::jsonb #> '{body,identities,0}') - '{identity_id,created_at,updated_at,last_sign_in_at}'::text[],
    format('{"id": "%1$s", "user_id": "%1$s", "provider": "email", "email": "ada@example.com",
        "identity_data": {"full_name": "Ada", "sub": "%1$s", "email": "ada@example.com",
        "email_verified": false,
            "phone_verified": false}}', :'ada')::jsonb,
    'with its e-mail identity');
select matches(:'answer'::jsonb #>> '{body,created_at}', '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$', 'times are UTC');

select is(
    pg_temp.user_row(:'ada'),
    jsonb_build_object(
        'instance_id', '00000000-0000-0000-0000-000000000000', 'id', :'ada'::text, 'aud', 'authenticated',
        'role', 'authenticated', 'email', 'ada@example.com', 'encrypted_password', pg_temp.hash(),
        'invited_at', null, 'confirmation_token', '', 'confirmation_sent_at', null, 'recovery_token', '',
        'recovery_sent_at', null, 'email_change_token_new', '', 'email_change', '', 'email_change_sent_at', null,
        'raw_app_meta_data', '{"provider": "email", "providers": ["email"]}'::jsonb,
        'raw_user_meta_data', format('{"full_name": "Ada", "sub": "%s", "email": "ada@example.com", "email_verified": false,
            "phone_verified": false}', :'ada')::jsonb,
        'is_super_admin', null, 'phone', null, 'phone_change', '', 'phone_change_token', '', 'phone_change_sent_at', null,
        'email_change_token_current', '', 'email_change_confirm_status', 0, 'banned_until', null,
        'reauthentication_token', '', 'reauthentication_sent_at', null, 'is_sso_user', false, 'deleted_at', null,
        'is_anonymous', false),
    'the row is that of contract schema.md 8: empty texts, no nulls, so that Supabase Auth could take over');
select is(pg_temp.value(format('select email_confirmed_at from auth.users
        where id = %L', :'ada')), null, 'not confirmed');
select is(pg_temp.audit(), 'user_confirmation_requested user', 'and the audit trail says so');
select is(pg_temp.value('select payload - array[]::text[] from (select payload::jsonb as payload
        from auth.audit_log_entries) a')::jsonb,
    format('{"action": "user_confirmation_requested", "actor_id": "%s", "actor_username": "ada@example.com", "actor_name": "Ada",
        "actor_via_sso": false, "log_type": "user", "traits": {"provider": "email"}}', :'ada')::jsonb, 'with these words');

select pg_temp.forget_audit() \g /dev/null
select pg_temp.user_row(:'ada') as before \gset
select postern.sign_up(email => 'ADA@example.com', password_hash => 'other', data => '{"full_name": "Eve"}') as again \gset
select is(:'again'::jsonb #>> '{body,id}', :'ada', 'again, before it is confirmed: the same account');
select is(pg_temp.user_row(:'ada'), :'before'::jsonb, 'whose password and data stay as they were');
select is(pg_temp.value('select count(*) from auth.users')::int, 1, 'and no second account');

select pg_temp.run('update auth.users set email_confirmed_at = now()') \g /dev/null
select pg_temp.forget_audit() \g /dev/null
select postern.sign_up(email => 'ada@example.com', password_hash => 'other', data => '{"a": 1}') as made_up \gset
select isnt(:'made_up'::jsonb #>> '{body,id}', :'ada', 'when it is confirmed: an account that does not exist');
select is((:'made_up'::jsonb -> 'body') - '{id,created_at,updated_at,confirmation_sent_at}'::text[],
    '{"aud": "authenticated", "role": "", "email": "ada@example.com", "phone": "", "identities": [], "is_anonymous": false,
      "app_metadata": {"provider": "email", "providers": ["email"]}, "user_metadata": {"a": 1}}'::jsonb,
    'with nothing of the real one in it');
select is((select count(*)::int from jsonb_object_keys(:'made_up'::jsonb -> 'body') k
    where k in ('id', 'created_at', 'updated_at', 'confirmation_sent_at')), 4, 'but looking fresh');
select is(pg_temp.audit(), 'user_repeated_signup user', 'the audit trail knows');
select is(pg_temp.value('select count(*) from auth.users')::int, 1, 'and nothing was made');

-- What is refused, in the contract's order

select is(pg_temp.refused(postern.sign_up(email => 'x@example.com', phone => '4912345',
    password_hash => 'h')),
    '400 validation_failed: Only an email address or phone number should be provided on signup.',
    'both address and number');
select is(pg_temp.refused(postern.sign_up(email => 'x@example.com', phone => '4912345', password_hash => 'h',
    password_problem => '{"status": 422, "code": "weak_password", "message": "weak"}')), '422 weak_password: weak',
    'a bad password comes before that');
select pg_temp.set('disable_signup = true') \g /dev/null
select is(pg_temp.refused(postern.sign_up(email => 'x@example.com', phone => '4912345',
    password_problem => '{"status": 422, "code": "weak_password", "message": "weak"}')),
    '422 signup_disabled: Signups not allowed for this instance', 'sign-ups switched off before all');
select pg_temp.set('disable_signup = false, external_email_enabled = false') \g /dev/null
select is(pg_temp.refused(postern.sign_up(email => 'not an address', password_hash => 'h')),
    '400 email_provider_disabled: Email signups are disabled',
    'addresses switched off, before the address is looked at');
select is(pg_temp.refused(postern.sign_up(email => 'x', password_hash => 'h', code_challenge => 'short',
    code_challenge_method => 's256')),
    '400 validation_failed: code challenge has to be between 43 and 128 characters',
    'but after the PKCE parameters');
select pg_temp.set('external_email_enabled = true') \g /dev/null
select is(pg_temp.refused(postern.sign_up(email => 'x@example.com', password_hash => 'h',
    code_challenge => repeat('a', 43))),
    '400 validation_failed: PKCE flow requires code_challenge_method and code_challenge',
    'a challenge without its method');
select is(pg_temp.refused(postern.sign_up(email => 'x@example.com', password_hash => 'h',
    code_challenge_method => 's256')),
    '400 validation_failed: PKCE flow requires code_challenge_method and code_challenge',
    'a method without its challenge');
select is(pg_temp.refused(postern.sign_up(email => 'x@example.com', password_hash => 'h',
    code_challenge => repeat('a', 42) || '=',
    code_challenge_method => 's256')),
    '400 validation_failed: code challenge can only contain alphanumeric characters, hyphens, periods, underscores and tildes',
    'a challenge with other characters');
select is(pg_temp.refused(postern.sign_up(email => 'x@example.com', password_hash => 'h',
    code_challenge => repeat('a', 129),
    code_challenge_method => 's256')), '400 validation_failed: code challenge has to be between 43 and 128 characters', 'or too long');
select is(pg_temp.refused(postern.sign_up(email => 'x@example.com', password_hash => 'h',
    code_challenge => repeat('a', 43),
    code_challenge_method => 'md5')), '400 validation_failed: code_challenge_method must be s256 or plain', 'or an unknown method');
select is(postern.sign_up(email => 'pkce@example.com', password_hash => 'h',
    code_challenge => repeat('a.~_-', 9),
    code_challenge_method => 'S256') #>> '{body,email}', 'pkce@example.com', 'good PKCE parameters are taken');

select is(pg_temp.refused(postern.sign_up(email => bad.address, password_hash => 'h')), bad.wanted,
    'bad address: ' || left(to_json(bad.address)::text, 30))
  from (values
    ('plain', '400 validation_failed: Unable to validate email address: invalid format'),
    (' ada@example.com', '400 validation_failed: Unable to validate email address: invalid format'),
    ('ada@example.com ', '400 validation_failed: Unable to validate email address: invalid format'),
    ('ada@', '400 validation_failed: Unable to validate email address: invalid format'),
    ('@example.com', '400 validation_failed: Unable to validate email address: invalid format'),
    ('ada@@example.com', '400 validation_failed: Unable to validate email address: invalid format'),
    ('ada@-example.com', '400 validation_failed: Unable to validate email address: invalid format'),
    ('ada@example-.com', '400 validation_failed: Unable to validate email address: invalid format'),
    ('ada@example..com', '400 validation_failed: Unable to validate email address: invalid format'),
    ('ada@' || repeat('a', 64) || '.com',
        '400 validation_failed: Unable to validate email address: invalid format'),
    (E'ada@example.com\nbcc', '400 validation_failed: Unable to validate email address: invalid format'),
    (E'ada@example.com\n', '400 validation_failed: Unable to validate email address: invalid format'),
    ('ädä@example.com', '400 validation_failed: Unable to validate email address: invalid format'),
    ('ada@exämple.com', '400 validation_failed: Unable to validate email address: invalid format'),
    (repeat('a', 244) || '@example.com', '400 validation_failed: An email address is too long'),
    (repeat('ä', 130) || '@example.com', '400 validation_failed: An email address is too long')) bad (address,
    wanted);
select is(postern.sign_up(email => good.address, password_hash => 'h') #>> '{body,email}',
    lower(good.address), 'good address: ' || left(good.address, 30))
  from (values ('a@b'), ('O''Hara+tag!#$%&*/=?^_`{|}~-.@sub.Example.com'), ('..@1-2.a'),
      (repeat('a', 243) || '@example.com')) good (address);

select is(pg_temp.refused(postern.sign_up(email => 'new@example.com')),
    '503 unexpected_failure: Please try again', 'a new account without a password hash is not made');

-- Numbers

select is(pg_temp.refused(postern.sign_up(phone => '+49 151 1', password_hash => 'h')),
    '400 phone_provider_disabled: Phone signups are disabled', 'numbers are switched off at first');
select pg_temp.set('external_phone_enabled = true') \g /dev/null
select is(pg_temp.refused(postern.sign_up(phone => '+49 151 1', password_hash => 'h', channel => 'pigeon')),
    '400 validation_failed: Invalid channel, supported values are ''sms'' or ''whatsapp''. ''whatsapp'' is only supported if Twilio '
    || 'or Twilio Verify is used as the provider.', 'an unknown channel');
select is(pg_temp.refused(postern.sign_up(phone => '+49 151 1', password_hash => 'h', code_challenge => 'x')),
    '400 validation_failed: PKCE not supported for phone signups', 'PKCE with a number');
select is(pg_temp.refused(postern.sign_up(phone => bad.number, password_hash => 'h')),
    '400 validation_failed: Invalid phone number format (E.164 required)', 'bad number: ' || bad.number)
  from (values ('0151'), ('+'), ('1'), ('abc'), ('++49151'), ('49-151'), ('1234567890123456'),
      ('٤٩١٥١')) bad (number);
select is(pg_temp.refused(postern.sign_up(password_hash => 'h')),
    '400 validation_failed: Invalid phone number format (E.164 required)', 'neither address nor number');
select postern.sign_up(phone => '+49 151 1234', password_hash => 'h',
    data => '{"phone_verified": true, "x": null}', channel => 'sms') as answer \gset
select is(:'answer'::jsonb #>> '{body,phone}', '491511234', 'a number is stored as digits');
select is(:'answer'::jsonb #>> '{body,email}', '', 'an account by number has no address');
select is(:'answer'::jsonb #> '{body,identities,0,identity_data}',
    jsonb_build_object('sub', :'answer'::jsonb #>> '{body,id}', 'email_verified', false, 'phone_verified',
        false, 'x', null),
    'and its identity no number');
select is(pg_temp.value('select email from auth.users where phone = ''491511234''')::text, null,
    'the address is null, not empty');
select pg_temp.set('sms_autoconfirm = true') \g /dev/null
select postern.sign_up(phone => '491510000', password_hash => 'h') as answer \gset
select isnt(:'answer'::jsonb #>> '{session,id}', null, 'numbers that need no confirmation open a session');
select isnt(:'answer'::jsonb #>> '{user,phone_confirmed_at}', null, 'and are confirmed');
select is(:'answer'::jsonb #>> '{user,user_metadata,phone_verified}', 'false', 'which metadata does not say');
select is(pg_temp.refused(postern.sign_up(phone => '+49151 0000', password_hash => 'h')),
    '422 user_already_exists: User already registered', 'a number that is taken');
select is(pg_temp.refused(postern.sign_up(email => 'ada@example.com', password_hash => 'h')),
    '422 user_already_exists: User already registered', 'either auto-confirm names a taken address');
select pg_temp.set('sms_autoconfirm = false, external_phone_enabled = false') \g /dev/null

-- Confirmed at once

select pg_temp.set('mailer_autoconfirm = true, jwt_exp = 600') \g /dev/null
select pg_temp.forget_audit() \g /dev/null
select postern.sign_up(email => 'bob@example.com', password_hash => pg_temp.hash(),
    caller => postern.caller(ip => '10.1.2.3', user_agent => 'curl/8')) as answer \gset
select :'answer'::jsonb #>> '{user,id}' as bob, :'answer'::jsonb #>> '{session,id}' as session \gset
select is((:'answer'::jsonb -> 'session') - 'expires_at',
    jsonb_build_object('id', :'session'::text, 'user_id', :'bob'::text, 'counter', 0, 'expires_in', 600),
    'a session with counter 0');
select is((:'answer'::jsonb #>> '{session,expires_at}')::bigint, extract(epoch from now())::bigint + 600,
    'that says when its token ends');
select is((:'answer'::jsonb -> 'claims') - '{iat,exp}'::text[],
    jsonb_build_object('sub', :'bob'::text, 'aud', 'authenticated', 'email', 'bob@example.com', 'phone', '',
        'role', 'authenticated',
        'aal', 'aal1', 'amr', jsonb_build_array(jsonb_build_object('method', 'password', 'timestamp',
            extract(epoch from now())::bigint)),
        'session_id', :'session'::text, 'is_anonymous', false,
        'app_metadata', '{"provider": "email", "providers": ["email"]}'::jsonb,
        'user_metadata', :'answer'::jsonb #> '{user,user_metadata}'), 'claims of contract core.md 5.1');
select is((:'answer'::jsonb #>> '{claims,exp}')::bigint - (:'answer'::jsonb #>> '{claims,iat}')::bigint,
    600::bigint, 'that end with it');
select is(:'answer'::jsonb #>> '{user,identities,0,identity_data,email_verified}', 'true',
    'this answer shows the identity as verified');
select is(pg_temp.value(format('select identity_data ->> ''email_verified'' from auth.identities
        where user_id = %L',
    :'bob')),
    'false',
    'the stored one is not');
select is(:'answer'::jsonb #>> '{user,user_metadata,email_verified}', 'true', 'user_metadata says verified');
select isnt(:'answer'::jsonb #>> '{user,email_confirmed_at}', null, 'the address is confirmed');
select isnt(:'answer'::jsonb #>> '{user,last_sign_in_at}', null, 'and signed in');
select is(:'answer'::jsonb #>> '{user,confirmed_at}', null,
    'confirmed_at is not in the answer that confirms');
select is(pg_temp.value(format('select concat_ws('' '', aal, user_agent, host(ip), refreshed_at, not_after, tag) from auth.sessions
    where id = %L and user_id = %L', :'session', :'bob')), 'aal1 curl/8 10.1.2.3', 'the session remembers who asked');
select is(pg_temp.value(format('select concat_ws('' '', user_id, revoked, counter, token, parent)
        from auth.refresh_tokens
    where session_id = %L', :'session')), :'bob' || ' f 0', 'one refresh token row, without a token in it');
select is(pg_temp.value(format('select string_agg(authentication_method, '','') from auth.mfa_amr_claims
        where session_id = %L',
    :'session')),
    'password', 'the method is recorded');
select is(pg_temp.audit(), 'user_signedup team, login account', 'the audit trail');
select is(pg_temp.refused(postern.sign_up(email => 'BOB@example.com', password_hash => 'h')),
    '422 user_already_exists: User already registered', 'a taken address');
select is(pg_temp.refused(postern.sign_up(email => 'pkce@example.com', password_hash => 'h')),
    '422 user_already_exists: User already registered',
    'an unconfirmed account is not handed over without its password (differs from Supabase Auth)');
select is(pg_temp.value('select count(*) from auth.sessions s join auth.users u on u.id = s.user_id
        where u.email = ''pkce@example.com''')::int,
    0, 'and gets no session');

-- Audience

select pg_temp.run('update auth.users set email = ''Mixed@Example.com''
        where email = ''pkce@example.com''') \g /dev/null
select is(pg_temp.refused(postern.sign_up(email => 'mixed@example.com', password_hash => 'h')),
    '422 user_already_exists: User already registered',
    'an address that a script stored in capitals is found');
select is(
    (postern.sign_up(email => 'bob@example.com', password_hash => 'h',
        caller => postern.caller(audience => 'other')) -> 'error')::jsonb
        - 'cause',
    '{"status": 500, "code": "unexpected_failure", "message": "Database error saving new user",
      "database": {"code": "23505", "message": "duplicate key value violates unique constraint \"users_email_partial_key\"",
                   "detail": "Key (email)=(bob@example.com) already exists."}}'::jsonb,
    'the same address in another audience is a unique violation, as in Supabase Auth');
select is(postern.sign_up(email => 'other@example.com', password_hash => 'h',
    caller => postern.caller(audience => 'other')) #>> '{claims,aud}',
    'other', 'the request''s audience becomes the account''s');
select is(postern.sign_up(email => 'empty@example.com', password_hash => 'h',
    caller => postern.caller(audience => '')) #>> '{claims,aud}',
    'authenticated', 'an empty one does not');
select pg_temp.run($$ update auth.users set is_sso_user = true where email = 'other@example.com' $$) \g /dev/null
select isnt(postern.sign_up(email => 'other@example.com', password_hash => 'h',
    caller => postern.caller(audience => 'other')) #>> '{user,id}',
    null, 'an address of an SSO account is free');

-- Anonymously

select pg_temp.forget_audit() \g /dev/null
select is(pg_temp.refused(postern.sign_up_anonymously()),
    '422 anonymous_provider_disabled: Anonymous sign-ins are disabled',
    'anonymous sign-up is switched off at first');
select pg_temp.set('external_anonymous_users_enabled = true, disable_signup = true') \g /dev/null
select is(pg_temp.refused(postern.sign_up_anonymously()),
    '422 signup_disabled: Signups not allowed for this instance', 'and with all sign-ups');
select pg_temp.set('disable_signup = false') \g /dev/null
select postern.sign_up_anonymously(data => '{"a": {"b": null}}') as answer \gset
select is((:'answer'::jsonb -> 'user') - '{id,created_at,updated_at,last_sign_in_at}'::text[],
    '{"aud": "authenticated", "role": "authenticated", "email": "", "phone": "", "app_metadata": {}, "user_metadata": {"a": {"b": null}},
      "identities": [], "is_anonymous": true}'::jsonb, 'an anonymous account');
select is(:'answer'::jsonb #>> '{claims,is_anonymous}', 'true', 'its claims say so');
select is(:'answer'::jsonb #>> '{claims,amr,0,method}', 'anonymous', 'and how it came');
select is(pg_temp.value(format('select concat(email, phone, ''|'', encrypted_password, ''|'', email_confirmed_at) from auth.users where id = %L',
    :'answer'::jsonb #>> '{user,id}')), '||', 'no address, no number, an empty password');
select is(pg_temp.audit(), null, 'no audit entry');
select is(postern.sign_up_anonymously(caller => postern.caller(audience => 'robots')) #>> '{user,aud}',
    'robots', 'with the request''s audience');

-- It answers with what it knows; that is what everybody else reads from the tables.
select is(:'answer'::jsonb -> 'user', pg_temp.value(format('select postern._user_json(%L)', :'answer'::jsonb #>> '{user,id}'))::jsonb,
    'the account as it is stored');
select is(:'answer'::jsonb -> 'claims', pg_temp.value(format('select postern._claims(%L, %L)', :'answer'::jsonb #>> '{user,id}',
        :'answer'::jsonb #>> '{session,id}'))::jsonb,
    'and the claims of its session');
select pg_temp.run($$
    create function public.identify() returns trigger language plpgsql security definer as $f$ begin
        insert into auth.identities (provider_id, user_id, identity_data, provider, created_at, updated_at)
        values ('7', new.id, '{"sub": "7"}', 'game', now(), now());
        return new;
    end $f$;
    create trigger identify after insert on auth.users for each row execute function public.identify() $$) \g /dev/null
select postern.sign_up_anonymously() as answer \gset
select is(:'answer'::jsonb #>> '{user,identities,0,provider}', 'game', 'an identity that a trigger gave it is there');
select is(:'answer'::jsonb -> 'user', pg_temp.value(format('select postern._user_json(%L)', :'answer'::jsonb #>> '{user,id}'))::jsonb,
    'as it is stored');
select pg_temp.run('drop trigger identify on auth.users') \g /dev/null

select pg_temp.set('rate_limit_anonymous_users = 1') \g /dev/null
select is((postern.sign_up_anonymously(caller => postern.caller(limiter_key => '10.0.0.1')) -> 'error')::text,
    null, 'within the limit');
select is(pg_temp.refused(postern.sign_up_anonymously(caller => postern.caller(limiter_key => '10.0.0.1'))),
    '429 over_request_rate_limit: Request rate limit reached', 'over it');
select pg_temp.set('external_anonymous_users_enabled = false') \g /dev/null
select is(pg_temp.refused(postern.sign_up_anonymously(caller => postern.caller(limiter_key => '10.0.0.1'))),
    '422 anonymous_provider_disabled: Anonymous sign-ins are disabled',
    'being switched off comes before the limit');

select pg_temp.set('audit_log_disable_postgres = true') \g /dev/null
select pg_temp.forget_audit() \g /dev/null
select postern.sign_up(email => 'quiet@example.com', password_hash => 'h') \g /dev/null
select is(pg_temp.audit(), null, 'an audit trail that is switched off stays empty');

reset session authorization;
select * from finish();
rollback;
