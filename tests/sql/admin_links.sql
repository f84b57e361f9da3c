-- postern.admin_invite_user, admin_generate_link (contract admin.md 9, 10), and the mails that tell of changes (core.md 9.1).
begin;
select plan(67);
\ir support.psql
select pg_temp.set('jwt_aud = ''authenticated'', jwt_default_group_name = ''authenticated'', rate_limit_email_sent = ''100''') \g /dev/null
select pg_temp.account('ada@example.com', '{"name": "Ada"}') as ada \gset
select pg_temp.account('bob@example.com') as bob \gset

-- As the gateway calls: with what it minted, and as an administrator without a session.
create function pg_temp.minted(name text) returns postern.envelope language sql as $$
    select postern.envelope(
        outbox_id => gen_random_uuid(), code_hmac => sha256(convert_to(name, 'UTF8')), link_digest => name,
        sealed => '\x00', redirect_to => 'https://app.example.com')
$$;
create function pg_temp.admin() returns postern.caller language sql as $$
    select postern.caller(role => 'service_role', request_id => 'request-1')
$$;
create function pg_temp.invited(email text, link text, data jsonb default null) returns json language sql as $$
    select postern.admin_invite_user(pg_temp.admin(), email, data, pg_temp.minted(link))
$$;
create function pg_temp.linked(type text, email text, link text, new_email text default null, data jsonb default null,
    password_hash text default null, password_problem json default null) returns json language sql as $$
    select postern.admin_generate_link(pg_temp.admin(), type, email, new_email, password_hash, password_problem, data,
        pg_temp.minted(link))
$$;
create function pg_temp.followed(type text, link text) returns json language sql as $$
    select postern.verify_one_time_token(type => followed.type, link_digest => link)
$$;
create function pg_temp.outbox() returns text language sql security definer as $$
    select string_agg(kind || ' to ' || recipient, ', ' order by kind, recipient) from auth.outbox
$$;
create function pg_temp.tokens(email text) returns text language sql security definer as $$
    select string_agg(concat_ws(' ', o.token_type, o.token_hash, o.relates_to), ', ' order by o.token_type)
      from auth.one_time_tokens o
      join auth.users u on u.id = o.user_id
     where u.email = tokens.email
$$;
create function pg_temp.column_of(email text, expression text) returns text language plpgsql as $$
begin
    return pg_temp.value(format('select %s from auth.users u where email = %L', expression, email));
end
$$;
select pg_temp.forget_audit() \g /dev/null
set local session authorization postern_gateway;

-- Who may

select is(pg_temp.refused(postern.admin_invite_user(postern.caller(role => 'authenticated'), 'new@example.com')),
    '403 not_admin: User not allowed', 'administrators invite');
select is(pg_temp.refused(postern.admin_generate_link(postern.caller(role => 'authenticated'), 'recovery', 'ada@example.com')),
    '403 not_admin: User not allowed', 'administrators make links');
select is(pg_temp.refused(postern.admin_invite_user(null, 'new@example.com')), '403 not_admin: User not allowed', 'nobody');

-- Invitations

select is(pg_temp.refused(pg_temp.invited(null, 'x')), '400 validation_failed: An email address is required', 'no address');
select is(pg_temp.refused(pg_temp.invited('broken', 'x')),
    '400 validation_failed: Unable to validate email address: invalid format', 'not an address');
select is(pg_temp.refused(pg_temp.invited('ADA@example.com', 'x')),
    '422 email_exists: A user with this email address has already been registered', 'a confirmed account');
select is(pg_temp.outbox(), null, 'no mail for these');
select ok(pg_temp.invited('New@Example.com', 'invite-1', '{"team": "engines", "none": null}')::jsonb -> 'body' @> '{
    "email": "new@example.com", "aud": "authenticated", "role": "authenticated",
    "app_metadata": {"provider": "email", "providers": ["email"]}, "user_metadata": {"team": "engines", "none": null},
    "identities": [{"provider": "email", "identity_data": {"email": "new@example.com", "email_verified": false, "phone_verified": false}}]
    }', 'a new account with the given metadata');
select is(pg_temp.column_of('new@example.com', 'encrypted_password'), '', 'without a password');
select is(pg_temp.column_of('new@example.com', 'email_confirmed_at is null and invited_at = now() and confirmation_sent_at = now()'),
    'true', 'invited, not confirmed');
select is(pg_temp.tokens('new@example.com'), 'confirmation_token invite-1 new@example.com', 'its link');
select isnt(pg_temp.column_of('new@example.com', 'confirmation_token'), 'invite-1', 'its code is stored as something else');
select is(pg_temp.outbox(), 'invite to new@example.com', 'one mail');
select is(pg_temp.value('select concat_ws('' '', payload ->> ''link_type'', payload ->> ''redirect_to'', request_id) from auth.outbox'),
    'invite https://app.example.com request-1', 'with what its link says');
select is(pg_temp.audit(), 'user_invited team', 'audited');
select is(pg_temp.value('select concat_ws('' '', payload ->> ''actor_username'', payload #>> ''{traits,user_email}'') from auth.audit_log_entries'),
    'service_role new@example.com', 'with the administrator and the invited');
select ok(pg_temp.invited('new@example.com', 'invite-2', '{"team": "other"}')::jsonb -> 'body' -> 'user_metadata'
    @> '{"team": "engines"}', 'invited once more: the metadata stays');
select is(pg_temp.tokens('new@example.com'), 'confirmation_token invite-2 new@example.com', 'with a new link');
select is(pg_temp.refused(pg_temp.followed('invite', 'invite-1')), '403 otp_expired: Email link is invalid or has expired',
    'the old one is void');
select isnt(pg_temp.followed('invite', 'invite-2') ->> 'session', null, 'the new one signs in');
select is(pg_temp.refused(pg_temp.invited('new@example.com', 'invite-3')),
    '422 email_exists: A user with this email address has already been registered', 'and then no more');

select pg_temp.set('rate_limit_email_sent = ''0''') \g /dev/null
select is(pg_temp.refused(pg_temp.invited('cat@example.com', 'x')), '429 over_email_send_rate_limit: email rate limit exceeded',
    'no mails left');
select is(pg_temp.column_of('cat@example.com', 'id'), null, 'no account without its mail');
select pg_temp.set('mailer_autoconfirm = true, disable_signup = true, external_email_enabled = false,
    rate_limit_email_sent = ''100'', external_email_authorized_addresses = ''{ops@example.com}''') \g /dev/null
select is(pg_temp.refused(pg_temp.invited('cat@example.com', 'x')),
    '400 email_address_not_authorized: Email address "cat@example.com" cannot be used as it is not authorized', 'not on the list');
select is(pg_temp.invited('ops+1@example.com', 'x') #>> '{body,confirmed_at}', null, 'registration may be closed or automatic');
select pg_temp.set('mailer_autoconfirm = false, disable_signup = false, external_email_enabled = true,
    external_email_authorized_addresses = ''{}''') \g /dev/null

-- Links: refusals

select is(pg_temp.refused(pg_temp.linked('nonsense', 'nobody@example.com', 'x')),
    '400 validation_failed: Invalid email action link type requested: nonsense', 'an unknown type');
select is(pg_temp.refused(pg_temp.linked(null, 'ada@example.com', 'x')),
    '400 validation_failed: Invalid email action link type requested: ', 'no type');
select is(pg_temp.refused(pg_temp.linked('nonsense', null, 'x')), '400 validation_failed: An email address is required',
    'the address comes first');
select is(pg_temp.refused(pg_temp.linked(t.type, 'nobody@example.com', 'x')), '404 user_not_found: User with this email not found',
    t.type || ' needs an account')
  from unnest(array['recovery', 'email_change_current', 'email_change_new']) t (type);
select is(pg_temp.refused(pg_temp.linked('signup', 'nobody@example.com', 'x')),
    '400 validation_failed: Signup requires a valid password', 'a sign-up needs a password');
select is(pg_temp.refused(pg_temp.linked('signup', 'nobody@example.com', 'x', password_problem =>
    '{"status": 422, "code": "weak_password", "message": "too weak"}')), '422 weak_password: too weak', 'a good one');
select is(pg_temp.refused(pg_temp.linked(t.type, 'ada@example.com', 'x', password_hash => 'x')),
    '422 email_exists: A user with this email address has already been registered', t.type || ' of a confirmed account')
  from unnest(array['signup', 'invite']) t (type);

-- Links: confirmation

select pg_temp.run('delete from auth.outbox') \g /dev/null
select pg_temp.forget_audit() \g /dev/null
select is(pg_temp.linked('signup', 'dan@example.com', 'signup-1', data => '{"a": 1, "b": 2}', password_hash => pg_temp.hash())
    #>> '{body,verification_type}', 'signup', 'a sign-up');
select is(pg_temp.column_of('dan@example.com', 'encrypted_password'), pg_temp.hash(), 'with its password');
select is(pg_temp.linked('signup', 'dan@example.com', 'signup-2', data => '{"a": null, "c": 3}', password_hash => 'other',
    password_problem => '{"status": 422, "code": "weak_password", "message": "too weak"}') #>> '{body,user_metadata}',
    '{"b": 2, "c": 3}', 'a second link merges the metadata');
select is(pg_temp.column_of('dan@example.com', 'encrypted_password'), pg_temp.hash(), 'and keeps the password');
select is(pg_temp.tokens('dan@example.com'), 'confirmation_token signup-2 dan@example.com', 'one link at a time');
select is(pg_temp.linked('magiclink', 'eve@example.com', 'magic-1') #>> '{body,verification_type}', 'signup',
    'a magic link for a new address is a sign-up');
select is(pg_temp.column_of('eve@example.com', 'encrypted_password'), '', 'without a password');
select isnt(pg_temp.followed('signup', 'magic-1') ->> 'session', null, 'and signs in');
select is(pg_temp.audit(), 'user_signedup team', 'no invitation so far');
select is(pg_temp.linked('invite', 'dan@example.com', 'invite-4', data => '{"x": 1}') #>> '{body,user_metadata}',
    '{"b": 2, "c": 3}', 'an invitation for a known account leaves its metadata');
select is(pg_temp.column_of('dan@example.com', 'invited_at = now()'), 'true', 'invited');
select is(pg_temp.audit(), 'user_signedup team, user_invited team', 'audited');

-- Links: recovery

select pg_temp.forget_audit() \g /dev/null
select is(pg_temp.linked(t.type, 'ADA@example.com', t.type) #>> '{body,verification_type}', t.type, t.type)
  from unnest(array['recovery', 'magiclink']) t (type);
select is(pg_temp.tokens('ada@example.com'), 'recovery_token magiclink ada@example.com', 'the later one counts');
select is(pg_temp.audit(), 'user_recovery_requested user, user_recovery_requested user', 'audited as the user''s');
select is(pg_temp.outbox(), null, 'no mail for any link');

-- Links: change of address

select is(pg_temp.refused(pg_temp.linked('email_change_new', 'ada@example.com', 'x')),
    '400 validation_failed: An email address is required', 'to nowhere');
select is(pg_temp.refused(pg_temp.linked('email_change_new', 'ada@example.com', 'x', new_email => 'ada@example.com')),
    '422 email_exists: A user with this email address has already been registered', 'to the same');
select is(pg_temp.linked('email_change_current', 'ada@example.com', 'current-1', 'Moved@example.com') #>> '{body,new_email}',
    'moved@example.com', 'from the current address');
select is(pg_temp.linked('email_change_new', 'ada@example.com', 'new-1', 'moved@example.com') #>> '{body,verification_type}',
    'email_change_new', 'and to the new one');
select is(pg_temp.tokens('ada@example.com'), 'recovery_token magiclink ada@example.com, email_change_token_new new-1 moved@example.com, '
    'email_change_token_current current-1 ada@example.com', 'both stay valid');
select pg_temp.linked('email_change_current', 'ada@example.com', 'current-2', 'elsewhere@example.com') \g /dev/null
select is(pg_temp.tokens('ada@example.com'), 'recovery_token magiclink ada@example.com, '
    'email_change_token_current current-2 ada@example.com', 'a link for one address does not confirm another');
select is(pg_temp.column_of('ada@example.com', 'email_change_token_new'), '', 'nor does its code');
select pg_temp.linked('email_change_new', 'ada@example.com', 'new-2', 'elsewhere@example.com') \g /dev/null

-- What is told

select pg_temp.set('mailer_notifications_email_changed_enabled = true, mailer_notifications_password_changed_enabled = true,
    mailer_notifications_phone_changed_enabled = true, external_phone_enabled = true, sms_autoconfirm = true') \g /dev/null
select is(pg_temp.followed('email_change', 'new-2') #>> '{body,code}', '200', 'one half');
select isnt(pg_temp.followed('email_change', 'current-2') ->> 'session', null, 'and the other');
select is(pg_temp.outbox(), 'email_changed_notification to ada@example.com', 'the old address hears of the new one');
select is(pg_temp.value('select concat_ws('' '', payload ->> ''old_email'', payload ->> ''email'') from auth.outbox'),
    'ada@example.com elsewhere@example.com', 'with both');
select pg_temp.signed_in(:'bob') as session \gset
select is(postern.update_user(postern.caller(user_id => :'bob', session_id => :'session'), phone => '491511111') #>> '{body,phone}',
    '491511111', 'a first number is no change');
select postern.update_user(postern.caller(user_id => :'bob', session_id => :'session'), phone => '491522222',
    password_hash => 'new', compared_digest => pg_temp.digest()) \g /dev/null
select is(pg_temp.outbox(), 'email_changed_notification to ada@example.com, password_changed_notification to bob@example.com, '
    'phone_changed_notification to bob@example.com', 'passwords and numbers too');
select pg_temp.set('rate_limit_email_sent = ''0''') \g /dev/null
select is(postern.update_user(postern.caller(user_id => :'bob', session_id => :'session'), password_hash => 'newer',
    compared_digest => pg_temp.digest('new')) #>> '{body,email}', 'bob@example.com', 'without mails left the change stands');
select is(pg_temp.value('select count(*) from auth.outbox'), '3', 'untold');

select * from finish();
rollback;
