-- The hooks before_user_created, after_user_created and password_verification_attempt as SQL functions, and what SQL does for
-- hooks behind HTTP (contract mfa-hooks.md 3.4 to 3.7; DESIGN 10).
begin;
select plan(47);
\ir support.psql
select pg_temp.set('jwt_aud = ''authenticated'', mailer_autoconfirm = true, external_anonymous_users_enabled = true') \g /dev/null
select pg_temp.account('ada@example.com') as ada \gset

create schema app;
grant usage on schema app to supabase_auth_admin;
create table app.seen (event jsonb);
grant all on app.seen to public;
-- hook() makes app.hook, which notes what it is told and then does as the body says, and enables it for a point.
create function pg_temp.hook(point text, body text) returns void language plpgsql security definer as $$
begin
    execute format('create or replace function app.hook(event jsonb) returns jsonb language plpgsql as %L',
        'begin insert into app.seen values (event); ' || body || ' end');
    execute 'grant execute on function app.hook to supabase_auth_admin';
    perform pg_temp.set(format(
        'hook_%1$s_enabled = true, hook_%1$s_uri = %2$L', point, 'pg-functions://postgres/app/hook'));
end
$$;
-- remote() has a point asked over HTTP, which is the gateway's work.
create function pg_temp.remote(point text) returns void language sql as $$
    select pg_temp.set(format('hook_%1$s_enabled = true, hook_%1$s_uri = %2$L', point, 'https://hooks.example.com/x'))
$$;
create function pg_temp.off(point text) returns void language sql as $$
    select pg_temp.set(format('hook_%s_enabled = false', point))
$$;
-- attempt() is the second half of a password sign-in of ada.
create function pg_temp.attempt(is_valid boolean, output text default null) returns json language sql as $$
    select postern.sign_in_with_password(pg_temp.value('select id from auth.users where email = ''ada@example.com''')::uuid,
        'email', is_valid, pg_temp.digest(), hook_output => output)
$$;
create function pg_temp.seen() returns bigint language sql as $$
    select pg_temp.value('select count(*) from app.seen')::bigint
$$;
set local session authorization postern_gateway;

-- Before an account is created

select pg_temp.hook('before_user_created', 'return ''{}'';') \g /dev/null
select postern.prepare_user(email => 'New@Example.com', data => '{"a": 1}', caller => postern.caller(ip => '192.0.2.1')) as prepared \gset
select isnt(:'prepared'::jsonb ->> 'user_id', null, 'an id is chosen');
select is(:'prepared'::jsonb -> 'user', null, 'nobody else has to be asked');
select is(pg_temp.value('select event -> ''user'' from app.seen')::jsonb, jsonb_build_object(
    'id', :'prepared'::jsonb ->> 'user_id', 'aud', 'authenticated', 'role', '', 'email', 'new@example.com', 'phone', '',
    'app_metadata', '{"provider": "email", "providers": ["email"]}'::jsonb, 'user_metadata', '{"a": 1}'::jsonb,
    'identities', '[]'::jsonb, 'created_at', '0001-01-01T00:00:00Z', 'updated_at', '0001-01-01T00:00:00Z',
    'is_anonymous', false), 'the hook is told of the account as it will be');
select is(pg_temp.value('select (event -> ''metadata'') - ''uuid'' - ''time'' from app.seen')::jsonb,
    '{"name": "before-user-created", "ip_address": "192.0.2.1"}', 'and who asks');
select is(postern.sign_up(email => 'new@example.com', password_hash => 'h',
        new_user_id => (:'prepared'::jsonb ->> 'user_id')::uuid) #>> '{session,user_id}',
    :'prepared'::jsonb ->> 'user_id', 'the account has that id');

select pg_temp.run('delete from app.seen') \g /dev/null
select is(postern.prepare_user(email => 'ADA@example.com') ->> 'user_id', null, 'a known address');
select is(postern.prepare_user(phone => '+491234') ->> 'user_id', null, 'a kind of account that is off');
select is(postern.prepare_user(email => 'a@example.com', phone => '+491234') ->> 'user_id', null, 'address and number');
select is(pg_temp.refused(postern.prepare_user(email => 'nonsense')),
    '400 validation_failed: Unable to validate email address: invalid format', 'an address that is none');
select pg_temp.set('disable_signup = true') \g /dev/null
select is(postern.prepare_user(email => 'b@example.com') ->> 'user_id', null, 'nobody may sign up');
select pg_temp.set('disable_signup = false') \g /dev/null
select is(pg_temp.seen(), 0::bigint, 'about none of them the hook is asked');
select isnt(postern.prepare_user() ->> 'user_id', null, 'an anonymous account');
select is(pg_temp.value('select event #> ''{user,app_metadata}'' from app.seen'), '{}', 'has no provider');

select pg_temp.hook('before_user_created', 'return ''{"error": {"http_code": 418, "message": "not here"}}'';') \g /dev/null
select is(pg_temp.refused(postern.prepare_user(email => 'b@example.com')), '418 unknown: not here', 'the hook refuses');
select is(pg_temp.seen(), 2::bigint, 'what it wrote stays');
select pg_temp.hook('before_user_created', 'raise exception ''broken'';') \g /dev/null
select is(postern.prepare_user(email => 'b@example.com') #>> '{error,database,message}', 'broken', 'the hook raises');
select is(pg_temp.seen(), 2::bigint, 'what it wrote is undone');

select is(pg_temp.refused(answer), '503 unexpected_failure: Please try again', 'no account without the hook: ' || name)
  from (values
      ('sign-up', postern.sign_up(email => 'c@example.com', password_hash => 'h')),
      ('anonymous', postern.sign_up_anonymously()),
      ('magic link', postern.request_magic_link(email => 'c@example.com')),
      ('invitation', postern.admin_invite_user(postern.caller(role => 'service_role'), 'c@example.com')),
      ('link', postern.admin_generate_link(postern.caller(role => 'service_role'), 'invite', 'c@example.com'))) t (name, answer);
select is(pg_temp.refused(postern.prepare_user(email => 'c@example.com', is_invited => true, caller => postern.caller(role => 'anon'))),
    '403 not_admin: User not allowed', 'who may not invite');
select pg_temp.remote('before_user_created') \g /dev/null
select is((postern.prepare_user(email => 'b@example.com')::jsonb -> 'uri')::text, '"https://hooks.example.com/x"',
    'a hook behind HTTP is asked by the gateway');
select is(postern.prepare_user(email => 'b@example.com') #>> '{user,email}', 'b@example.com', 'which is told about what');
select pg_temp.set('disable_signup = true, external_email_enabled = false') \g /dev/null
select is(postern.prepare_user(email => 'B@example.com', is_invited => true, caller => postern.caller(role => 'service_role')) #>> '{user,email}',
    'b@example.com', 'also when only administrators create accounts');
select pg_temp.set('disable_signup = false, external_email_enabled = true') \g /dev/null
select pg_temp.off('before_user_created') \g /dev/null

-- After it

select pg_temp.hook('after_user_created', 'return null;') \g /dev/null
select pg_temp.run('delete from app.seen') \g /dev/null
select is(postern.run_after_user_created(:'ada')::jsonb - 'v', '{}', 'told');
select is(pg_temp.value('select event #>> ''{user,email}'' from app.seen'), 'ada@example.com', 'of the account as it is stored');
select pg_temp.hook('after_user_created', 'return ''{"error": {"message": "too late"}}'';') \g /dev/null
select is(pg_temp.refused(postern.run_after_user_created(:'ada')), '500 unknown: too late', 'an error is passed on');
select pg_temp.remote('after_user_created') \g /dev/null
select is(postern.run_after_user_created(:'ada') ->> 'uri', 'https://hooks.example.com/x', 'over HTTP by the gateway');
select pg_temp.off('after_user_created') \g /dev/null

-- Passwords

select pg_temp.hook('password_verification_attempt', 'return ''{"decision": "continue"}'';') \g /dev/null
select pg_temp.run('delete from app.seen') \g /dev/null
select isnt(pg_temp.attempt(true) #>> '{session,id}', null, 'it lets a sign-in go on');
select is(pg_temp.refused(pg_temp.attempt(false)), '400 invalid_credentials: Invalid login credentials', 'but not a wrong password');
select is(pg_temp.value('select string_agg(event ->> ''valid'', '','' order by event ->> ''valid'') from app.seen'), 'false,true',
    'it is told of both');
select is(pg_temp.refused(postern.sign_in_with_password(null, 'email', false)), '400 invalid_credentials: Invalid login credentials',
    'an unknown account');
select is(pg_temp.seen(), 2::bigint, 'is not its business');
select pg_temp.hook('password_verification_attempt', 'return ''{"decision": "reject"}'';') \g /dev/null
select is(pg_temp.refused(pg_temp.attempt(true)),
    '400 invalid_credentials: Further password verification attempts will be rejected.', 'it rejects');
select isnt(pg_temp.value('select count(*) from auth.sessions'), '0', 'sessions stay');
select pg_temp.hook('password_verification_attempt',
    'return ''{"decision": "reject", "message": "enough", "should_logout_user": true}'';') \g /dev/null
select is(pg_temp.refused(pg_temp.attempt(true)), '400 invalid_credentials: enough', 'in its own words');
select is(pg_temp.value('select count(*) from auth.sessions where user_id = ' || quote_literal(:'ada')), '0', 'and ends the sessions');
select pg_temp.remote('password_verification_attempt') \g /dev/null
select is(pg_temp.refused(pg_temp.attempt(true)), '503 unexpected_failure: Please try again', 'no sign-in without the hook');
select isnt(pg_temp.attempt(true, 'null') #>> '{session,id}', null, 'a hook behind HTTP that says nothing');
select is(pg_temp.refused(pg_temp.attempt(true, '{"decision": 7}')), '500 unexpected_failure: Error unmarshaling JSON output.',
    'something else than a decision');
select pg_temp.off('password_verification_attempt') \g /dev/null

-- Claims that came over HTTP

select pg_temp.remote('custom_access_token') \g /dev/null
select pg_temp.attempt(true)::jsonb as opened \gset
select is(:'opened'::jsonb -> 'token_hook',
    '{"uri": "https://hooks.example.com/x", "method": "password", "ends_session": true}', 'the gateway is told whom to ask');
select is(postern.check_custom_claims(json_build_object('claims', :'opened'::json -> 'claims')::text)::jsonb -> 'claims',
    :'opened'::jsonb -> 'claims', 'what can be signed');
select is(pg_temp.refused(postern.check_custom_claims('{"claims": {"x": "\u0000"}}')),
    '500 unexpected_failure: Error unmarshaling JSON output.', 'what PostgreSQL does not take');
select is(postern.end_session((:'opened'::jsonb #>> '{session,id}')::uuid) #>> '{error,code}', null, 'a session that nobody holds');
select is(pg_temp.value('select count(*) from auth.sessions where id = ' || quote_literal(:'opened'::jsonb #>> '{session,id}')), '0', 'is gone');

select * from finish();
rollback;
