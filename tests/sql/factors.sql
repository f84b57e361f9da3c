-- Second factors: enrolment, challenges, verification, removal, administration (contract mfa-hooks.md 1, admin.md 8), and a policy that
-- demands them. The gateway's part, comparing TOTP codes, is played by is_valid.
begin;
select plan(130);
\ir support.psql
select pg_temp.set('jwt_aud = ''authenticated'', mfa_phone_enroll_enabled = true, mfa_phone_verify_enabled = true') \g /dev/null
select pg_temp.account('ada@example.com') as ada, pg_temp.account('bob@example.com') as bob \gset
create schema app;
grant usage on schema app to supabase_auth_admin, authenticated;
create table app.seen (event jsonb);
grant all on app.seen to public;
-- hook() makes app.hook, which notes what it is told and then does as the body says, and enables it.
create function pg_temp.hook(body text) returns void language plpgsql security definer as $$
begin
    execute format('create or replace function app.hook(event jsonb) returns jsonb language plpgsql as %L', 'begin insert into app.seen values (event); ' || body || ' end');
    execute 'grant execute on function app.hook to supabase_auth_admin';
    perform pg_temp.set('hook_mfa_verification_attempt_enabled = true, hook_mfa_verification_attempt_uri = ''pg-functions://postgres/app/hook''');
end
$$;

select pg_temp.signed_in(:'ada') as session, pg_temp.signed_in(:'ada') as other, pg_temp.signed_in(:'bob') as bobs \gset
set local session authorization postern_gateway;

create function pg_temp.me(session text, ip inet default '192.0.2.1') returns postern.caller language sql as $$
    select postern.caller(user_id => pg_temp.value(format('select user_id from auth.sessions where id = %L', session))::uuid,
        session_id => session::uuid, ip => ip, request_id => 'r')
$$;
-- totp() enrols a factor of the type totp; it is its id.
create function pg_temp.totp(session text, name text) returns text language sql as $$
    select postern.enroll_factor(pg_temp.me(session), 'totp', name, sealed_secret => 'sealed ' || name) #>> '{body,id}'
$$;
create function pg_temp.phone(session text, name text, phone text) returns json language sql as $$
    select postern.enroll_factor(pg_temp.me(session), 'phone', name, phone)
$$;
create function pg_temp.challenge(session text, factor text) returns json language sql as $$
    select postern.challenge_factor(pg_temp.me(session), factor, envelope => postern.envelope(
        outbox_id => gen_random_uuid(), code_hmac => 'right', sealed => 'sealed'))
$$;
create function pg_temp.check(session text, factor text, challenge text, code bytea default 'right', ip inet default '192.0.2.1')
returns json language sql as $$
    select postern.check_factor_code(pg_temp.me(session, ip), factor, challenge::uuid,
        case when code is null then '{}' else array['older', code]::bytea[] end)
$$;
create function pg_temp.verify(session text, factor text, challenge text, is_valid boolean default true, compared text default null,
    sealed text default null, output text default null) returns json language sql as $$
    select postern.verify_factor(pg_temp.me(session), factor, challenge::uuid, is_valid, encode(sha256(coalesce(compared,
        pg_temp.value(format('select coalesce(nullif(f.secret, ''''), c.otp_code) from auth.mfa_challenges c
            join auth.mfa_factors f on f.id = c.factor_id where c.id = %L', challenge)))::bytea), 'hex'), sealed, output)
$$;
create function pg_temp.factor(id text, columns text) returns text language sql as $$
    select pg_temp.value(format('select concat_ws('' '', %s) from auth.mfa_factors where id = %L', columns, id))
$$;
create function pg_temp.session(id text) returns text language sql as $$
    select pg_temp.value(format('select concat_ws('' '', s.aal, s.factor_id is not null, t.counter, (select string_agg(m.authentication_method, '','' order by m.authentication_method)
        from auth.mfa_amr_claims m where m.session_id = s.id)) from auth.sessions s join auth.refresh_tokens t on t.session_id = s.id where s.id = %L', id))
$$;

-- Enrolment

select is(pg_temp.refused(postern.enroll_factor(postern.caller(user_id => gen_random_uuid(), session_id => :'session'), 'totp')),
    '403 user_not_found: User from sub claim in JWT does not exist', 'nobody');
select is(pg_temp.refused(postern.enroll_factor(postern.caller(user_id => :'ada'), 'totp')),
    '500 unexpected_failure: A valid session and a registered user are required to enroll a factor', 'a token without a session');
select pg_temp.run(format('update auth.users set is_anonymous = true where id = %L', :'bob')) \g /dev/null
select is(pg_temp.refused(postern.enroll_factor(pg_temp.me(:'bobs'), 'totp')),
    '403 no_authorization: Anonymous user not allowed to perform these actions', 'an anonymous account');
select pg_temp.run(format('update auth.users set is_anonymous = false where id = %L', :'bob')) \g /dev/null
select is(pg_temp.refused(postern.enroll_factor(pg_temp.me(:'session'), type)),
    '400 validation_failed: factor_type needs to be totp, phone, or webauthn', 'the type ' || coalesce(type, 'null'))
  from unnest(array['', null, 'TOTP', 'carrier-pigeon']) type;
select is(pg_temp.refused(postern.enroll_factor(pg_temp.me(:'session'), 'webauthn')),
    '422 mfa_webauthn_enroll_not_enabled: MFA enroll is disabled for WebAuthn', 'WebAuthn is not built');
select is(pg_temp.refused(pg_temp.phone(:'session', 'p', number)), '400 validation_failed: ' || message, 'a number: ' || number)
  from (values ('', 'Phone number required to enroll Phone factor'), ('twelve', 'Invalid phone number format (E.164 required)'),
      ('+0123', 'Invalid phone number format (E.164 required)')) n (number, message);

select pg_temp.forget_audit() \g /dev/null
select pg_temp.totp(:'session', 'app') as app \gset
select is(pg_temp.factor(:'app', 'friendly_name, factor_type, status, secret, phone is null, last_challenged_at is null'),
    'app totp unverified sealed app t t', 'a factor by authenticator app');
select is(pg_temp.audit(), 'factor_in_progress factor', 'is in the audit trail');
select is(pg_temp.value('select concat(ip_address, '' '', payload -> ''traits'') from auth.audit_log_entries'),
    format('192.0.2.1 {"factor_id" : "%s"}', :'app'), 'with address and id');
select pg_temp.phone(:'session', 'mobile', '+49 151') as mobile \gset
select is((:'mobile'::jsonb -> 'body') - 'id', '{"type": "phone", "friendly_name": "mobile", "phone": "+49 151"}', 'a factor by SMS');
select :'mobile'::jsonb #>> '{body,id}' as mobile \gset
select is(pg_temp.factor(:'mobile', 'secret = '''', phone'), 't 49151', 'has its number as accounts do');
select is(pg_temp.refused(postern.enroll_factor(pg_temp.me(:'session'), 'totp', 'app')),
    '422 mfa_factor_name_conflict: A factor with the friendly name "app" for this user already exists', 'a name is used once');
select isnt(pg_temp.totp(:'session', ''), null, 'without a name');
select is(pg_temp.refused(postern.enroll_factor(pg_temp.me(:'session'), 'phone', '', '+4917')),
    '422 mfa_factor_name_conflict: A factor with the friendly name "" for this user already exists', 'once, too');
select isnt(pg_temp.totp(:'bobs', 'app'), null, 'another account has names of its own');
select pg_temp.phone(:'session', 'app', '+49151') \g /dev/null
select is(pg_temp.factor(:'mobile', 'id'), null, 'an unverified factor of the same number goes, even when the new one is refused');
select pg_temp.set('mfa_max_enrolled_factors = 2') \g /dev/null
select is(pg_temp.refused(postern.enroll_factor(pg_temp.me(:'session'), 'totp', 'third')),
    '422 too_many_enrolled_mfa_factors: Maximum number of verified factors reached, unenroll to continue', 'as many as allowed');
select pg_temp.run(format('update auth.mfa_factors set created_at = now() - interval ''6 minutes'' where id <> %L', :'app')) \g /dev/null
select isnt(pg_temp.totp(:'session', 'third'), null, 'factors that nobody challenged in time make room');
select is(pg_temp.value('select count(*) from auth.mfa_factors f join auth.users u on u.id = f.user_id where u.email = ''bob@example.com'''), '1',
    'those of other accounts are left to the clean-up');
select pg_temp.set('mfa_max_enrolled_factors = 10, mfa_totp_enroll_enabled = false, mfa_phone_enroll_enabled = false') \g /dev/null
select is(pg_temp.refused(postern.enroll_factor(pg_temp.me(:'session'), type, 'x', '+49')), wanted, 'switched off: ' || type)
  from (values ('totp', '422 mfa_totp_enroll_not_enabled: MFA enroll is disabled for TOTP'),
      ('phone', '422 mfa_phone_enroll_not_enabled: MFA enroll is disabled for Phone')) t (type, wanted);
select pg_temp.set('mfa_totp_enroll_enabled = true, mfa_phone_enroll_enabled = true') \g /dev/null
select pg_temp.run(format('update auth.users set email = null where id = %L', :'bob')) \g /dev/null
select is(pg_temp.refused(postern.enroll_factor(pg_temp.me(:'bobs'), 'totp', 'app2')),
    '500 unexpected_failure: Error generating QR Code', 'without an address there is no label for the app');
select pg_temp.run(format('update auth.users set email = ''bob@example.com'' where id = %L', :'bob')) \g /dev/null

-- Challenges

select is(pg_temp.refused(pg_temp.challenge(:'session', 'x')), '404 validation_failed: factor_id must be an UUID', 'no id');
select is(pg_temp.refused(pg_temp.challenge(:'bobs', :'app')), '404 mfa_factor_not_found: Factor not found', 'somebody else''s factor');
select pg_temp.forget_audit() \g /dev/null
select pg_temp.challenge(:'session', :'app') as challenge \gset
select is((:'challenge'::jsonb -> 'body') - 'id', jsonb_build_object('type', 'totp', 'expires_at', floor(extract(epoch from now()))::bigint + 300),
    'a challenge says until when');
select is(:'challenge'::jsonb -> 'delivery', 'null', 'and nothing is sent');
select is(pg_temp.audit(), 'challenge_created factor', 'it is in the audit trail');
select :'challenge'::jsonb #>> '{body,id}' as challenge \gset
select is(pg_temp.factor(:'app', 'last_challenged_at = now()'), 't', 'the factor knows when');
select lives_ok(format('select pg_temp.challenge(%L, %L)', :'session', pg_temp.totp(:'session', 'fourth')), 'two in one microsecond');
select pg_temp.phone(:'session', 'mobile', '+49151') #>> '{body,id}' as mobile \gset
select is(pg_temp.refused(postern.challenge_factor(pg_temp.me(:'session'), :'mobile', body_problem => 'no body')),
    '400 bad_json: no body', 'phones need a body');
select is(pg_temp.refused(postern.challenge_factor(pg_temp.me(:'session'), :'mobile', 'pigeon')) like '400 validation_failed: Invalid channel%', true, 'and a channel that exists');
select pg_temp.challenge(:'session', :'mobile') as texted \gset
select is((:'texted'::jsonb -> 'delivery') - array['id', 'sealed', 'payload'],
    '{"channel": "sms", "kind": "mfa", "recipient": "49151", "request_id": "r", "hook": null, "user": null}', 'an SMS is on its way');
select is(:'texted'::jsonb #>> '{delivery,id}', :'texted'::jsonb #>> '{body,id}', 'which has the challenge''s id');
select is(pg_temp.refused(pg_temp.challenge(:'session', :'mobile')),
    '429 over_sms_send_rate_limit: For security purposes, you can only request this after 60 seconds.', 'not twice in a minute');
select :'texted'::jsonb #>> '{body,id}' as texted \gset
select is(pg_temp.value(format('select otp_code from auth.mfa_challenges where id = %L', :'texted')),
    encode(sha256(:'texted'::bytea || 'right'::bytea), 'hex'), 'of the code a digest is stored, of this challenge only');
select postern.take_back(array[:'texted']::uuid[]) \g /dev/null
select is(pg_temp.value('select count(*) from auth.mfa_challenges where otp_code <> '''''), '0', 'an SMS that is refused takes its challenge back');
select is(pg_temp.factor(:'mobile', 'last_challenged_at is null'), 't', 'and the factor was never challenged');
select pg_temp.challenge(:'session', :'mobile') #>> '{body,id}' as texted \gset
select pg_temp.set('mfa_totp_verify_enabled = false, mfa_phone_verify_enabled = false') \g /dev/null
select is(pg_temp.refused(answer), wanted, 'switched off: ' || name)
  from (values
      ('challenge of an app', pg_temp.challenge(:'session', :'app'), '422 mfa_totp_verify_not_enabled: MFA verification is disabled for TOTP'),
      ('challenge of a phone', pg_temp.challenge(:'session', :'mobile'), '422 mfa_phone_verify_not_enabled: MFA verification is disabled for Phone'),
      ('code of an app', pg_temp.check(:'session', :'app', :'challenge'), '422 mfa_totp_verify_not_enabled: MFA verification is disabled for TOTP'),
      ('code of a phone', pg_temp.check(:'session', :'mobile', :'texted'), '422 mfa_phone_verify_not_enabled: MFA verification is disabled for Phone')
  ) c (name, answer, wanted);
select pg_temp.set('mfa_totp_verify_enabled = true, mfa_phone_verify_enabled = true') \g /dev/null
select gen_random_uuid() as key \gset
select pg_temp.run(format('insert into auth.mfa_factors (id, user_id, friendly_name, factor_type, status, created_at, updated_at) values (%L, %L, ''key'', ''webauthn'', ''verified'', now(), now())', :'key', :'bob')) \g /dev/null
select is(pg_temp.refused(pg_temp.challenge(:'bobs', :'key')), '422 mfa_webauthn_verify_not_enabled: MFA verification is disabled for WebAuthn', 'a security key of Supabase Auth');
select is(pg_temp.refused(pg_temp.check(:'bobs', :'key', null, null)), '422 mfa_webauthn_verify_not_enabled: MFA verification is disabled for WebAuthn', 'is not verified here');
select is(pg_temp.refused(pg_temp.phone(:'bobs', 'second', '+4999')), '403 insufficient_aal: AAL2 required to enroll a new factor', 'but it counts');
select pg_temp.run(format('delete from auth.mfa_factors where id = %L', :'key')) \g /dev/null

-- What is refused before a code is looked at

select is(pg_temp.refused(pg_temp.check(:'session', :'app', :'challenge', null)), '400 validation_failed: Code needs to be non-empty', 'no code');
select is(pg_temp.refused(postern.check_factor_code(postern.caller(user_id => :'ada'), :'app', :'challenge', '{x}')),
    '500 unexpected_failure: Cannot read SessionId claim as UUID', 'a token without a session');
select is(pg_temp.refused(pg_temp.check(:'session', :'app', challenge)), '422 mfa_factor_not_found: MFA factor with the provided challenge ID not found', name)
  from (values ('no challenge', null), ('an unknown one', gen_random_uuid()::text), ('that of another factor', :'texted')) c (name, challenge);
select is(pg_temp.refused(pg_temp.check(:'session', :'app', :'challenge', ip => '192.0.2.2')),
    '422 mfa_ip_address_mismatch: Challenge and verify IP addresses mismatch.', 'from another address');
select is((pg_temp.check(:'session', :'app', :'challenge') -> 'factor')::jsonb, jsonb_build_object('id', :'app', 'type', 'totp', 'user_id', :'ada',
    'stored', 'sealed app', 'phone', null, 'is_valid', false), 'the gateway is told what to compare a code with');
select is(pg_temp.refused(pg_temp.verify(:'session', :'app', :'challenge', false)), '422 mfa_verification_failed: Invalid TOTP code entered', 'a wrong code');
select is(pg_temp.refused(pg_temp.check(:'session', :'mobile', :'texted', 'wrong')), '422 mfa_verification_failed: Invalid MFA Phone code entered', 'a wrong code by SMS');
select is(pg_temp.refused(pg_temp.verify(:'session', :'app', :'challenge', compared => 'another secret')), '409 conflict: The factor changed during the verification', 'a secret that changed meanwhile');
select pg_temp.challenge(:'session', :'app') #>> '{body,id}' as expired \gset
select pg_temp.run(format('update auth.mfa_challenges set created_at = now() - interval ''301 seconds'' where id = %L', :'expired')) \g /dev/null
select is(pg_temp.refused(pg_temp.check(:'session', :'app', :'expired')), format(
    '422 mfa_challenge_expired: MFA challenge %s has expired, verify against another challenge or create a new challenge.', :'expired'), 'too late');
select is(pg_temp.value(format('select count(*) from auth.mfa_challenges where id = %L', :'expired')), '0', 'and it is gone');

-- Verification

select pg_temp.run('delete from auth.rate_limits') \g /dev/null
select pg_temp.signed_in(:'ada') as nulled \gset
select pg_temp.run(format('update auth.sessions set aal = null where id = %L', :'nulled')) \g /dev/null
select pg_temp.set('mailer_notifications_mfa_factor_enrolled_enabled = true, mailer_notifications_mfa_factor_unenrolled_enabled = true') \g /dev/null
select pg_temp.forget_audit() \g /dev/null
select pg_temp.verify(:'session', :'app', :'challenge') as answer \gset
select is(array(select json_object_keys(:'answer'::json)), '{v,session,claims,user}', 'a right code is answered with tokens');
select is(:'answer'::jsonb #> '{session,counter}', '2', 'the counter goes up by two');
select is(:'answer'::jsonb #>> '{claims,aal}', 'aal2', 'the token says aal2');
select is((select string_agg(m ->> 'method', ',' order by m ->> 'method') from jsonb_array_elements(:'answer'::jsonb #> '{claims,amr}') m), 'password,totp', 'and how');
select is(pg_temp.session(:'session'), 'aal2 t 2 password,totp', 'the session, too');
select is(pg_temp.audit(), 'verification_attempted factor', 'it is in the audit trail');
select is(pg_temp.value(format('select string_agg(id::text, '','' order by aal nulls last) from auth.sessions where user_id = %L', :'ada')),
    format('%s,%s', :'session', :'nulled'), 'sessions below aal2 are gone, those of no level stay');
select is(pg_temp.value(format('select string_agg(friendly_name || '' '' || status, '','' order by friendly_name) from auth.mfa_factors where user_id = %L', :'ada')),
    'app verified,mobile unverified', 'unverified factors of the same type are gone');
select is(jsonb_array_length(:'answer'::jsonb #> '{user,factors}') > 2, true, 'but shown once more');
select is(pg_temp.value('select string_agg(concat(kind, '' '', recipient, '' '', payload ->> ''factor_type''), '','') from auth.outbox where channel = ''email'''),
    'mfa_factor_enrolled_notification ada@example.com totp', 'the account is told');
select is(pg_temp.refused(pg_temp.check(:'session', :'app', :'challenge')), '422 mfa_ip_address_mismatch: Challenge and verify IP addresses mismatch.', 'a challenge is answered once');
select is(pg_temp.refused(postern.refresh_session(:'session', 0)), '400 refresh_token_already_used: Invalid Refresh Token: Already Used', 'the old refresh token is used up');
select is(pg_temp.refused(postern.refresh_session(:'session', 2)), '400 refresh_token_already_used: Invalid Refresh Token: Already Used', 'which ends what it opened, as everywhere');

-- Once more, with a reuse interval: a token of before must not become one of aal2.
select pg_temp.set('security_refresh_token_reuse_interval = 10') \g /dev/null
select pg_temp.signed_in(:'ada') as session \gset
select pg_temp.challenge(:'session', :'app') #>> '{body,id}' as challenge \gset
select pg_temp.verify(:'session', :'app', :'challenge', sealed => 'sealed anew') #>> '{session,counter}' as counter \gset
select is(pg_temp.factor(:'app', 'secret'), 'sealed anew', 'a secret is sealed anew');
select is(pg_temp.refused(postern.refresh_session(:'session', 0)), '400 refresh_token_already_used: Invalid Refresh Token: Already Used', 'no interval saves it');
select is(pg_temp.value('select count(*) from auth.outbox where channel = ''email'''), '1', 'later verifications are not told');

-- Sessions of Supabase Auth
select pg_temp.signed_in(:'ada') as adopted, pg_temp.signed_in(:'ada') as legacy \gset
select pg_temp.run(format('delete from auth.refresh_tokens where session_id = %1$L; update auth.sessions set refresh_token_hmac_key = ''k'', refresh_token_counter = 7 where id = %1$L', :'adopted')) \g /dev/null
select pg_temp.challenge(:'adopted', :'app') #>> '{body,id}' as challenge \gset
select is(pg_temp.verify(:'adopted', :'app', :'challenge') #>> '{session,counter}', '9', 'a session with a key of its own');
select is(pg_temp.value(format('select refresh_token_hmac_key is null from auth.sessions where id = %L', :'adopted')), 'true', 'has it no longer');
select is(pg_temp.refused(postern.refresh_adopted_session(session_id => :'adopted', counter => 7, signed => 's', mac => 'm', token_digest => 'd')),
    '400 refresh_token_not_found: Invalid Refresh Token: Refresh Token Not Found', 'and its token is unknown');
select pg_temp.signed_in(:'ada') as legacy \gset
select pg_temp.run(format('update auth.refresh_tokens set token = ''abcdefghijkl'' where session_id = %L', :'legacy')) \g /dev/null
select pg_temp.challenge(:'legacy', :'app') #>> '{body,id}' as challenge \gset
select pg_temp.verify(:'legacy', :'app', :'challenge') \g /dev/null
select is(pg_temp.refused(postern.refresh_adopted_session(token => 'abcdefghijkl', token_digest => encode(sha256('abcdefghijkl'), 'hex'))),
    '400 refresh_token_already_used: Invalid Refresh Token: Already Used', 'a token of 12 characters is used up');
select is(pg_temp.value(format('select token from auth.refresh_tokens where session_id = %L', :'legacy')), encode(sha256('abcdefghijkl'), 'hex'), 'and stored no longer');
select pg_temp.signed_in(:'ada') as revoked \gset
select pg_temp.run(format('update auth.refresh_tokens set revoked = true where session_id = %L', :'revoked')) \g /dev/null
select pg_temp.challenge(:'revoked', :'app') #>> '{body,id}' as challenge \gset
select is(pg_temp.refused(pg_temp.verify(:'revoked', :'app', :'challenge')),
    '500 unexpected_failure: Unexpected failure, please check server logs for more information', 'a revoked session is not revived');

-- By SMS: one statement
select pg_temp.signed_in(:'ada') as session \gset
select pg_temp.run(format('update auth.mfa_factors set last_challenged_at = null where id = %L', :'mobile')) \g /dev/null
select pg_temp.challenge(:'session', :'mobile') #>> '{body,id}' as texted \gset
select is(pg_temp.check(:'session', :'mobile', :'texted') #>> '{claims,aal}', 'aal2', 'a right code by SMS');
select is(pg_temp.session(:'session'), 'aal2 t 2 mfa/phone,password', 'is a method of its own');
select is(pg_temp.refused(pg_temp.phone(:'session', 'again', '+49151')),
    '422 mfa_verified_factor_exists: A verified phone factor already exists, unenroll the existing factor to continue', 'a number is verified once');

-- Hooks

select pg_temp.hook('return ''{"decision": "continue"}'';') \g /dev/null
select pg_temp.run(format('update auth.mfa_factors set last_challenged_at = null where id = %L', :'mobile')) \g /dev/null
select pg_temp.challenge(:'session', :'mobile') #>> '{body,id}' as texted \gset
select is(pg_temp.check(:'session', :'mobile', :'texted') #>> '{factor,is_valid}', 'true', 'with a hook, an SMS takes two statements');
select is(pg_temp.verify(:'session', :'mobile', :'texted') #>> '{claims,aal}', 'aal2', 'the hook lets it go on');
select is(pg_temp.value('select (event - ''metadata'')::text from app.seen')::jsonb, jsonb_build_object(
    'user_id', :'ada', 'factor_id', :'mobile', 'factor_type', 'phone', 'valid', true), 'and knows what is verified');
select is(pg_temp.value('select ((event -> ''metadata'') - ''uuid'' - ''time'')::text from app.seen')::jsonb,
    '{"name": "mfa-verification", "ip_address": "192.0.2.1"}', 'and who does');
select pg_temp.challenge(:'session', :'app') #>> '{body,id}' as challenge \gset
select is(pg_temp.refused(pg_temp.verify(:'session', :'app', :'challenge', false)), '422 mfa_verification_failed: Invalid TOTP code entered', 'a wrong code is one all the same');
select is(pg_temp.value('select string_agg(event ->> ''valid'', '','' order by event ->> ''valid'') from app.seen'), 'false,true', 'of which the hook is told');
select pg_temp.hook('return ''{"error": {"http_code": 418, "message": "not now"}}'';') \g /dev/null
select is(pg_temp.refused(pg_temp.verify(:'session', :'app', :'challenge')), '418 unknown: not now', 'a hook that refuses');
select pg_temp.set('hook_mfa_verification_attempt_uri = ''https://hooks.example.com/x''') \g /dev/null
select is(pg_temp.refused(pg_temp.verify(:'session', :'app', :'challenge')), '503 unexpected_failure: Please try again', 'a hook behind HTTP that nobody asked');
select is(pg_temp.refused(pg_temp.verify(:'session', :'app', :'challenge', output => '{"decision": 1}')), '500 unexpected_failure: Error unmarshaling JSON output.', 'one that answers something else');
select is(pg_temp.verify(:'session', :'app', :'challenge', output => 'null') #>> '{claims,aal}', 'aal2', 'one that says nothing');
select pg_temp.challenge(:'session', :'app') #>> '{body,id}' as challenge \gset
select is(pg_temp.refused(pg_temp.verify(:'session', :'app', :'challenge', output => '{"decision": "reject", "message": ""}')),
    '403 mfa_verification_rejected: Further MFA verification attempts will be rejected.', 'one that rejects');
select is(pg_temp.value(format('select count(*) from auth.sessions where user_id = %L', :'ada')), '0', 'ends all sessions');
select pg_temp.set('hook_mfa_verification_attempt_enabled = false') \g /dev/null

-- A policy that demands a second factor, as at docs/policies.md

select pg_temp.run('create table app.papers (owner uuid, title text);
    alter table app.papers enable row level security;
    grant select on app.papers to authenticated;
    create policy own on app.papers using (owner = (select auth.uid()));
    create policy second_factor on app.papers as restrictive using ((select auth.jwt() ->> ''aal'') = ''aal2'')') \g /dev/null
select pg_temp.run(format('insert into app.papers values (%L, ''will'')', :'ada')) \g /dev/null
select pg_temp.signed_in(:'ada') as session \gset
select pg_temp.challenge(:'session', :'app') #>> '{body,id}' as challenge \gset
select pg_temp.verify(:'session', :'app', :'challenge') -> 'claims' as strong \gset
select (postern.refresh_session(pg_temp.signed_in(:'ada'), 0) -> 'claims')::text as weak \gset
reset session authorization;
select set_config('request.jwt.claims', :'weak', true) \g /dev/null
set local role authenticated;
select count(*) as weakly from app.papers \gset
reset role;
select set_config('request.jwt.claims', :'strong', true) \g /dev/null
set local role authenticated;
select count(*) as strongly from app.papers \gset
reset role;
set local session authorization postern_gateway;
select is(:'weakly'::text, '0', 'a policy that wants aal2 shows nothing at aal1');
select is(:'strongly'::text, '1', 'and the row at aal2');

-- Removal

select pg_temp.signed_in(:'ada') as weak, pg_temp.totp(:'session', 'draft') as draft \gset
select is(pg_temp.refused(postern.unenroll_factor(postern.caller(user_id => :'ada'), :'draft')),
    '500 unexpected_failure: A valid session and factor are required to unenroll a factor', 'a token without a session');
select is(pg_temp.refused(postern.unenroll_factor(pg_temp.me(:'bobs'), :'draft')), '404 mfa_factor_not_found: Factor not found', 'somebody else''s factor');
select is(postern.unenroll_factor(pg_temp.me(:'weak'), :'draft')::jsonb -> 'body', jsonb_build_object('id', :'draft'), 'an unverified factor goes from any session');
select is(pg_temp.refused(postern.unenroll_factor(pg_temp.me(:'weak'), :'draft')), '404 mfa_factor_not_found: Factor not found', 'once');
select is(pg_temp.refused(postern.unenroll_factor(pg_temp.me(:'weak'), :'app')), '422 insufficient_aal: AAL2 required to unenroll verified factor', 'a verified one at aal2 only');
select pg_temp.forget_audit(), pg_temp.run('delete from auth.outbox') \g /dev/null
select is(postern.unenroll_factor(pg_temp.me(:'session'), :'app')::jsonb -> 'body', jsonb_build_object('id', :'app'), 'as here');
select is(pg_temp.audit(), 'factor_unenrolled factor', 'it is in the audit trail');
select is(pg_temp.session(:'session'), 'aal1 f 2 password', 'the session is at aal1 again');
select is(pg_temp.value('select string_agg(concat(kind, '' '', payload ->> ''factor_type''), '','') from auth.outbox'), 'mfa_factor_unenrolled_notification totp', 'the account is told');

-- Administration

create function pg_temp.admin() returns postern.caller language sql as $$ select postern.caller(role => 'service_role', ip => '192.0.2.9') $$;
select is(pg_temp.refused(answer), wanted, name)
  from (values
      ('not an administrator lists', postern.admin_list_factors(postern.caller(role => 'x'), :'ada'), '403 not_admin: User not allowed'),
      ('not an administrator changes', postern.admin_update_factor(postern.caller(role => 'x'), :'ada', :'mobile'), '403 not_admin: User not allowed'),
      ('not an administrator deletes', postern.admin_delete_factor(postern.caller(role => 'x'), :'ada', :'mobile'), '403 not_admin: User not allowed'),
      ('no user', postern.admin_list_factors(pg_temp.admin(), 'x'), '404 validation_failed: user_id must be an UUID'),
      ('no user to change', postern.admin_update_factor(pg_temp.admin(), 'x', 'y'), '404 validation_failed: user_id must be an UUID'),
      ('no factor', postern.admin_update_factor(pg_temp.admin(), :'ada', 'y'), '404 validation_failed: factor_id must be an UUID'),
      ('somebody else''s factor', postern.admin_delete_factor(pg_temp.admin(), :'bob', :'mobile'), '404 mfa_factor_not_found: Factor not found'),
      ('no number', postern.admin_update_factor(pg_temp.admin(), :'ada', :'mobile', phone => 'x'), '400 validation_failed: Invalid phone number format (E.164 required)')
  ) c (name, answer, wanted);
select is(pg_temp.refused(pg_temp.phone(:'session', 'work', '+4952')), '403 insufficient_aal: AAL2 required to enroll a new factor', 'a second factor needs the first');
select is(jsonb_array_length(postern.admin_list_factors(pg_temp.admin(), :'ada')::jsonb -> 'body'), 1, 'an account''s factors');
select is(postern.admin_list_factors(pg_temp.admin(), :'ada')::jsonb #> '{body,0}', (postern.admin_get_user(pg_temp.admin(), :'ada')::jsonb #> '{body,factors,0}'), 'as the account shows them');
select pg_temp.forget_audit() \g /dev/null
select is((postern.admin_update_factor(pg_temp.admin(), :'ada', :'mobile', 'phone', '+4954') -> 'body')::jsonb - array['created_at', 'updated_at', 'last_challenged_at'],
    jsonb_build_object('id', :'mobile', 'status', 'verified', 'friendly_name', 'phone', 'factor_type', 'phone', 'phone', '4954'), 'name and number change');
select is(postern.admin_update_factor(pg_temp.admin(), :'ada', :'mobile', '', '') #>> '{body,friendly_name}', 'phone', 'empty texts change nothing');
select is(pg_temp.value('select string_agg(payload::jsonb - ''actor_via_sso'' #>> ''{}'', '';'') from (select distinct payload::jsonb from auth.audit_log_entries) a (payload)')::jsonb,
    jsonb_build_object('action', 'factor_updated', 'log_type', 'factor', 'actor_id', '00000000-0000-0000-0000-000000000000', 'actor_username', 'service_role',
        'traits', jsonb_build_object('user_id', :'ada', 'factor_id', :'mobile', 'factor_type', 'phone')), 'the administrator did it');
select pg_temp.totp(:'bobs', 'bobs') as theirs \gset
select pg_temp.run(format('insert into auth.mfa_factors (id, user_id, friendly_name, factor_type, status, phone, created_at, updated_at) values (gen_random_uuid(), %L, ''second'', ''phone'', ''unverified'', ''4955'', now(), now())', :'ada')) \g /dev/null
select is(pg_temp.refused(postern.admin_update_factor(pg_temp.admin(), :'ada', :'mobile', 'second')),
    '422 mfa_factor_name_conflict: A factor with the friendly name "second" for this user already exists', 'the name of another factor');
select is(pg_temp.refused(postern.admin_update_factor(pg_temp.admin(), :'ada', :'mobile', phone => '4955')),
    '422 mfa_verified_factor_exists: A phone factor with this number already exists', 'the number of another factor');
select is(postern.admin_update_factor(pg_temp.admin(), :'bob', :'theirs', 'renamed', '+4956') #>> '{body,phone}', '', 'an app has no number');
select pg_temp.run(format('update auth.sessions set aal = ''aal2'', factor_id = %L where id = %L;
    insert into auth.mfa_amr_claims (id, session_id, authentication_method, created_at, updated_at) values (gen_random_uuid(), %2$L, ''mfa/phone'', now(), now())', :'mobile', :'weak')) \g /dev/null
select pg_temp.forget_audit() \g /dev/null
select is((postern.admin_delete_factor(pg_temp.admin(), :'ada', :'mobile') #>> '{body,id}'), :'mobile', 'a verified factor is deleted');
select is(pg_temp.session(:'weak'), 'aal1 f 0 password', 'its sessions are at aal1');
select is(pg_temp.value('select concat(payload ->> ''actor_id'', '' '', ip_address) from auth.audit_log_entries'), :'ada' || ' 192.0.2.9', 'the audit trail names the account, and from where');
select is(pg_temp.refused(postern.admin_delete_factor(pg_temp.admin(), :'ada', :'mobile')), '404 mfa_factor_not_found: Factor not found', 'once');
select * from finish();
rollback;
