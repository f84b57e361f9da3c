-- postern.admin_list_users, admin_get_user, admin_create_user, admin_update_user, admin_delete_user (contract admin.md 1 to 7).
begin;
select plan(156);
\ir support.psql
select pg_temp.set('jwt_aud = ''authenticated'', jwt_default_group_name = '' authenticated ''') \g /dev/null
create function pg_temp.boss() returns postern.caller language sql as $$ select postern.caller(role => 'service_role') $$;
create function pg_temp.column_of(user_id text, expression text) returns text language plpgsql as $$
begin
    return pg_temp.value(format('select %s from auth.users u where id = %L', expression, user_id));
end
$$;
create function pg_temp.error_of(answer json) returns jsonb language sql as $$ select (answer -> 'error')::jsonb - 'cause' $$;
select pg_temp.account('ada@example.com', '{"full_name": "Ada Lovelace"}') as ada \gset
select pg_temp.signed_in(:'ada') as session \gset
set local session authorization postern_gateway;

-- Who may

select is(pg_temp.refused(f.answer), '403 not_admin: User not allowed', 'not for everybody: ' || f.name)
  from (values
    ('list', postern.admin_list_users(postern.caller(role => 'authenticated'))),
    ('list, without a role', postern.admin_list_users(postern.caller())),
    ('list, without a caller', postern.admin_list_users(null)),
    ('get', postern.admin_get_user(postern.caller(role => 'anon'), :'ada')),
    ('create', postern.admin_create_user(postern.caller(role => ''), email => 'x@example.com')),
    ('update', postern.admin_update_user(postern.caller(role => 'authenticated'), :'ada', role => 'x')),
    ('delete', postern.admin_delete_user(postern.caller(role => 'Service_role'), :'ada')),
    ('audit', postern.admin_list_audit_log(postern.caller(role => 'authenticated'))),
    ('sso', postern.admin_list_sso_providers(postern.caller(role => 'authenticated')))) f (name, answer);
select is((postern.admin_get_user(postern.caller(role => 'supabase_admin'), :'ada') -> 'error')::text, null,
    'supabase_admin is an admin too');
select pg_temp.set('jwt_admin_roles = ''{chief}''') \g /dev/null
select is(pg_temp.refused(postern.admin_get_user(pg_temp.boss(), :'ada')), '403 not_admin: User not allowed',
    'the list of roles is a setting');
select is((postern.admin_get_user(postern.caller(role => 'chief'), :'ada') -> 'error')::text, null,
    'with another role in it');
select pg_temp.set('jwt_admin_roles = ''{}''') \g /dev/null
select is(pg_temp.refused(postern.admin_get_user(postern.caller(role => ''), :'ada')),
    '403 not_admin: User not allowed', 'an empty list is nobody');
select pg_temp.set('jwt_admin_roles = default') \g /dev/null
select is(pg_temp.refused(postern.admin_get_user(postern.caller(role => 'service_role', user_id => gen_random_uuid(), session_id => :'session'),
    :'ada')),
    '403 user_not_found: User from sub claim in JWT does not exist', 'an admin with a session must exist');
select is(pg_temp.refused(postern.admin_get_user(postern.caller(role => 'service_role', user_id => :'ada', session_id => gen_random_uuid()),
    :'ada')),
    '403 session_not_found: Session from session_id claim in JWT does not exist', 'so must the session');
select is((postern.admin_get_user(postern.caller(role => 'service_role', user_id => :'ada', session_id => :'session'),
    :'ada') -> 'error')::text,
    null, 'then it is one');
select is(pg_temp.refused(postern.admin_get_user(postern.caller(role => 'authenticated', user_id => :'ada', session_id => :'session'),
    :'ada')),
    '403 not_admin: User not allowed', 'if the role is');
select pg_temp.run('update auth.users set banned_until = ''infinity''') \g /dev/null
select is((postern.admin_get_user(postern.caller(role => 'service_role', user_id => :'ada', session_id => :'session'),
    :'ada') -> 'error')::text,
    null, 'bans are not looked at');
select pg_temp.run('update auth.users set banned_until = null') \g /dev/null
select pg_temp.run('update auth.sessions set not_after = now() - interval ''1 s''') \g /dev/null
select is(pg_temp.refused(postern.admin_get_user(postern.caller(role => 'service_role', user_id => :'ada', session_id => :'session'),
    :'ada')),
    '403 session_expired: Session is no longer valid', 'a session past its end');
select pg_temp.run('update auth.sessions set not_after = null') \g /dev/null

-- One account

select is(postern.admin_get_user(pg_temp.boss(), :'ada') #>> '{body,email}', 'ada@example.com', 'get');
select is(postern.admin_get_user(pg_temp.boss(), upper(replace(:'ada', '-', ''))) #>> '{body,id}', :'ada',
    'an id in capitals without dashes');
select is(pg_temp.refused(postern.admin_get_user(pg_temp.boss(), bad)),
    '404 validation_failed: user_id must be an UUID', 'not an id: ' || to_json(bad)::text)
  from unnest(array['', 'x', '{' || :'ada' || '}', :'ada' || ' ', E'\n' || :'ada', left(:'ada', 35)]) bad;
select is(postern.admin_get_user(pg_temp.boss(), null) #>> '{error,status}', '404', 'no id at all');
select is(pg_temp.refused(postern.admin_get_user(pg_temp.boss(), gen_random_uuid()::text)),
    '404 user_not_found: User not found', 'unknown');
select pg_temp.run('update auth.users set instance_id = null') \g /dev/null
select is(pg_temp.refused(postern.admin_get_user(pg_temp.boss(), :'ada')),
    '404 user_not_found: User not found', 'of another instance');
select pg_temp.run('update auth.users set instance_id = ''00000000-0000-0000-0000-000000000000''') \g /dev/null

-- Create: refused, in the contract's order

select is(pg_temp.refused(f.answer), f.wanted, 'create: ' || f.wanted)
  from (values
    (postern.admin_create_user(pg_temp.boss()), '400 validation_failed: Cannot create a user without either an email or phone'),
    (postern.admin_create_user(pg_temp.boss(), email => '', phone => ''), '400 validation_failed: Cannot create a user without either an email or phone'),
    (postern.admin_create_user(pg_temp.boss(), email => 'x', phone => 'y'), '400 validation_failed: Unable to validate email address: invalid format'),
    (postern.admin_create_user(pg_temp.boss(), email => repeat('a', 256)), '400 validation_failed: An email address is too long'),
    (postern.admin_create_user(pg_temp.boss(), email => 'ADA@example.com', phone => 'y'), '422 email_exists: A user with this email address has already been registered'),
    (postern.admin_create_user(pg_temp.boss(), phone => 'y', id => 'x'), '400 validation_failed: Invalid phone number format (E.164 required)'),
    (postern.admin_create_user(pg_temp.boss(), email => 'b@x', id => 'x', password_problem => '{"status": 400, "code": "validation_failed", "message": "Only a password or a password hash should be provided"}'),
        '400 validation_failed: Only a password or a password hash should be provided'),
    (postern.admin_create_user(pg_temp.boss(), email => 'b@x', id => 'x', ban_problem => 'y'), '400 validation_failed: ID must conform to the uuid v4 format'),
    (postern.admin_create_user(pg_temp.boss(), email => 'b@x', id => '00000000-0000-0000-0000-000000000000'), '400 validation_failed: ID cannot be a nil uuid'),
    (postern.admin_create_user(pg_temp.boss(), email => 'b@x', ban_problem => 'time: invalid duration "xyz"'), '400 validation_failed: invalid format for ban duration: time: invalid duration "xyz"')
  ) f (answer, wanted);
select is(pg_temp.value('select count(*) from auth.users')::int, 1, 'none of these made an account');

-- Create

select pg_temp.forget_audit() \g /dev/null
select postern.admin_create_user(pg_temp.boss(), email => 'Bob@Example.com', phone => '+49 151 1', password_hash => pg_temp.hash(), email_confirm => true,
    user_metadata => '{"a": null, "b": 1}', app_metadata => '{"plan": "x", "provider": null}', role => ' editor ', id => '6C569BBD4DAF453FBF0974D842A85CB2') as answer \gset
select is((:'answer'::jsonb -> 'body') - '{identities,created_at,updated_at,email_confirmed_at}'::text[],
    '{"id": "6c569bbd-4daf-453f-bf09-74d842a85cb2", "aud": "authenticated", "role": "editor", "email": "bob@example.com", "phone": "491511",
      "app_metadata": {"plan": "x", "providers": ["email", "phone"]}, "user_metadata": {"a": null, "b": 1, "email_verified": true}, "is_anonymous": false}'::jsonb,
    'an account with address, number, password, role and id of the administrator''s');
select isnt(:'answer'::jsonb #>> '{body,email_confirmed_at}', null, 'confirmed where he says so');
select set_eq(format($$ select i ->> 'provider' as provider, i -> 'identity_data' as data from jsonb_array_elements(%L::jsonb #> '{body,identities}') i $$, :'answer'),
    $$ values ('email', '{"sub": "6c569bbd-4daf-453f-bf09-74d842a85cb2", "email": "bob@example.com", "email_verified": false, "phone_verified": false}'::jsonb),
              ('phone', '{"sub": "6c569bbd-4daf-453f-bf09-74d842a85cb2", "phone": "491511", "email_verified": false, "phone_verified": false}') $$,
    'an identity for each of address and number');
select is(pg_temp.value('select payload from auth.audit_log_entries')::jsonb,
    '{"action": "user_signedup", "actor_id": "00000000-0000-0000-0000-000000000000", "actor_username": "service_role", "actor_via_sso": false, "log_type": "team",
      "traits": {"user_id": "6c569bbd-4daf-453f-bf09-74d842a85cb2", "user_email": "bob@example.com", "user_phone": "491511", "provider": "email"}}'::jsonb,
    'the audit trail names the role');
select is((postern.find_password(email => 'bob@example.com') ->> 'password_hash'), pg_temp.hash(), 'the account has its password');
select is(pg_temp.error_of(postern.admin_create_user(pg_temp.boss(), email => 'new@x', id => '6c569bbd-4daf-453f-bf09-74d842a85cb2')) #>> '{database,message}',
    'duplicate key value violates unique constraint "users_pkey"', 'an id that is taken is a unique violation');
select is(pg_temp.refused(postern.admin_create_user(pg_temp.boss(), phone => '491511')), '422 phone_exists: Phone number already registered by another user', 'a number that is taken');
select is(pg_temp.error_of(postern.admin_create_user(pg_temp.boss(), email => 'bob@example.com', audience => 'other')) #>> '{database,code}', '23505',
    'an address taken in another audience is a unique violation');
select postern.admin_create_user(postern.caller(role => 'service_role', audience => 'robots'), phone => '491512', phone_confirm => true, ban => '1 h', role => '') as answer \gset
select is(:'answer'::jsonb #>> '{body,aud}', 'robots', 'the request''s audience');
select is(:'answer'::jsonb #>> '{body,role}', 'authenticated', 'the default role, trimmed');
select is((:'answer'::jsonb #>> '{body,banned_until}')::timestamptz, now() + interval '1 h', 'banned at once');
select isnt(:'answer'::jsonb #>> '{body,phone_confirmed_at}', null, 'a number confirmed');
select is(:'answer'::jsonb #>> '{body,user_metadata}', '{}', 'metadata that is not given is {}');
select is(:'answer'::jsonb #>> '{body,app_metadata,provider}', 'phone', 'the first provider');
select pg_temp.set('disable_signup = true, external_email_enabled = false') \g /dev/null
select is((postern.admin_create_user(pg_temp.boss(), email => 'carl@example.com') -> 'error')::text, null, 'sign-ups being disabled is no matter');
select is((postern.find_password(phone => '491512', caller => postern.caller(audience => 'robots')) ->> 'password_hash'), null, 'without a hash, no password');
select pg_temp.set('disable_signup = false, external_email_enabled = true') \g /dev/null

-- Update

select is(pg_temp.refused(postern.admin_update_user(pg_temp.boss(), 'x')), '404 validation_failed: user_id must be an UUID', 'update: not an id');
select is(pg_temp.refused(postern.admin_update_user(pg_temp.boss(), gen_random_uuid()::text)), '404 user_not_found: User not found', 'update: unknown');
select is(pg_temp.refused(f.answer), f.wanted, 'update: ' || f.wanted)
  from (values
    (postern.admin_update_user(pg_temp.boss(), :'ada', email => 'x'), '400 validation_failed: Unable to validate email address: invalid format'),
    (postern.admin_update_user(pg_temp.boss(), :'ada', phone => 'x'), '400 validation_failed: Invalid phone number format (E.164 required)'),
    (postern.admin_update_user(pg_temp.boss(), :'ada', ban_problem => 'x'), '400 validation_failed: invalid format for ban duration: x'),
    (postern.admin_update_user(pg_temp.boss(), :'ada', password_problem => '{"status": 422, "code": "weak_password", "message": "w"}'), '422 weak_password: w')) f (answer, wanted);
select pg_temp.run(format('update auth.users set updated_at = now() - interval ''1 h''
        where id = %L', :'ada')) \g /dev/null
select pg_temp.forget_audit() \g /dev/null
select postern.admin_update_user(pg_temp.boss(), :'ada', email => '', phone => '', role => ' ') \g /dev/null
select is(pg_temp.column_of(:'ada', 'updated_at < now()'), 'true', 'nothing to change: updated_at stays');
select is(pg_temp.audit(), 'user_modified user', 'the audit trail tells of it all the same');
select postern.admin_update_user(pg_temp.boss(), :'ada', user_metadata => '{"full_name": null, "x": 1}', app_metadata => '{"role": "boss", "provider": null}', role => ' r ') as answer \gset
select is(:'answer'::jsonb #> '{body,user_metadata}', '{"x": 1, "email_verified": true}'::jsonb, 'user_metadata is merged');
select is(:'answer'::jsonb #> '{body,app_metadata}', '{"role": "boss", "providers": ["email"]}'::jsonb, 'app_metadata is merged');
select is(:'answer'::jsonb #>> '{body,role}', 'r', 'the role is trimmed');

select is((postern.admin_update_user(pg_temp.boss(), :'ada', ban => '1 h') #>> '{body,banned_until}')::timestamptz, now() + interval '1 h', 'a ban');
select is(pg_temp.value(format('select count(*) from auth.sessions
        where user_id = %L', :'ada')), '1', 'deletes no session');
select isnt(postern.admin_update_user(pg_temp.boss(), :'ada', role => 'x') #>> '{body,banned_until}', null, 'stays while nothing is said of it');
select is(postern.admin_update_user(pg_temp.boss(), :'ada', ban => '0') #>> '{body,banned_until}', null, 'zero lifts it');
select is((postern.admin_update_user(pg_temp.boss(), :'ada', ban => '-1 h') #>> '{body,banned_until}')::timestamptz, now() - interval '1 h', 'a negative one is in the past');

select postern.admin_update_user(pg_temp.boss(), :'ada', email => 'Ada@New.example', phone => '49777') as answer \gset
select is(:'answer'::jsonb #>> '{body,email}', 'ada@new.example', 'a new address at once');
select is(:'answer'::jsonb #>> '{body,identities,0,identity_data,email}', 'ada@example.com', 'known identities are shown as they were');
select is(:'answer'::jsonb #>> '{body,identities,1,identity_data,phone}', '49777', 'new ones behind them');
select is(pg_temp.value(format('select string_agg(concat_ws('' '', provider, identity_data ->> ''email'', identity_data ->> ''email_verified''), '','' order by provider) from auth.identities where user_id = %L', :'ada')),
    'email ada@new.example false,phone false', 'but stored anew, unverified');
select is(pg_temp.error_of(postern.admin_update_user(pg_temp.boss(), :'ada', email => 'bob@example.com')) #>> '{database,message}',
    'duplicate key value violates unique constraint "users_email_partial_key"', 'a taken address is a unique violation');
select is(pg_temp.error_of(postern.admin_update_user(pg_temp.boss(), :'ada', phone => '491511')) ->> 'message', 'Error updating user', 'a taken number too');
select is(pg_temp.column_of(:'ada', 'email'), 'ada@new.example', 'and nothing changes');

select pg_temp.run(format($$ insert into auth.one_time_tokens (id, user_id, token_type, token_hash, relates_to) values (gen_random_uuid(), %L, 'recovery_token', 'h', 'x') $$, :'ada')) \g /dev/null
select pg_temp.run(format('update auth.users set confirmation_token = ''c'', recovery_token = ''h'', email_confirmed_at = null where id = %L', :'ada')) \g /dev/null
select isnt(postern.admin_update_user(pg_temp.boss(), :'ada', email_confirm => true) #>> '{body,email_confirmed_at}', null, 'an address confirmed');
select is(pg_temp.column_of(:'ada', 'concat_ws('' '', confirmation_token, recovery_token)'), ' h', 'voids the confirmation that was mailed');
select is(pg_temp.value(format('select count(*) from auth.one_time_tokens
        where user_id = %L', :'ada')), '0', 'and all codes');
select is(postern.admin_update_user(pg_temp.boss(), :'ada', phone_confirm => true) #>> '{body,user_metadata,phone_verified}', null, 'a number confirmed leaves metadata alone');
select postern.admin_update_user(pg_temp.boss(), :'ada', password_hash => 'new') \g /dev/null
select is(pg_temp.column_of(:'ada', 'encrypted_password || recovery_token'), 'new', 'a password voids all that was mailed');
select is(pg_temp.value(format('select count(*) from auth.sessions
        where user_id = %L', :'ada')), '0', 'and ends all sessions');

select pg_temp.set('external_anonymous_users_enabled = true, experimental_create_email_identity_on_password_set_enabled = true') \g /dev/null
select postern.sign_up_anonymously() #>> '{user,id}' as anon \gset
select is(postern.admin_update_user(pg_temp.boss(), :'anon', email => 'anon@example.com') #>> '{body,is_anonymous}', 'true', 'an anonymous account with an address is still one');
select is(postern.admin_update_user(pg_temp.boss(), :'anon', email_confirm => true) #>> '{body,is_anonymous}', 'true', 'confirmed later too');
select is(postern.admin_update_user(pg_temp.boss(), :'anon', email => 'anon@example.com', email_confirm => true) #>> '{body,is_anonymous}', 'false', 'until both come together');
select pg_temp.run(format($$ update auth.users set encrypted_password = '', email_confirmed_at = null where id = %L $$, :'anon')) \g /dev/null
select pg_temp.run(format($$ delete from auth.identities where user_id = %L $$, :'anon')) \g /dev/null
select is(postern.admin_update_user(pg_temp.boss(), :'anon', password_hash => 'first', email_confirm => true) #>> '{body,identities,0,provider}', 'email',
    'an address confirmed with a first password becomes an identity');

-- List

select pg_temp.run('delete from auth.users') \g /dev/null
select pg_temp.run($$ insert into auth.users (instance_id, id, aud, email, created_at, raw_user_meta_data)
    select '00000000-0000-0000-0000-000000000000', ('00000000-0000-0000-0000-0000000000' || lpad(n::text, 2, '0'))::uuid, 'authenticated',
           'user' || n || '@example.com', timestamptz '2030-01-01' + (n / 2) * interval '1 day', jsonb_build_object('full_name', 'Full ' || n)
      from generate_series(1, 7) n $$) \g /dev/null
select pg_temp.run($$ insert into auth.users (instance_id, id, aud, email, created_at) values
    ('00000000-0000-0000-0000-000000000000', gen_random_uuid(), 'other', 'o@example.com', now()), (null, gen_random_uuid(), 'authenticated', 'n@example.com', now()) $$) \g /dev/null
create function pg_temp.listed(answer json) returns text language sql as $$
    select coalesce((select string_agg(right(u ->> 'id', 1), '' order by n) from json_array_elements(answer #> '{body,users}') with ordinality u (u, n)), pg_temp.refused(answer))
$$;
select postern.admin_list_users(pg_temp.boss()) as answer \gset
select is(pg_temp.listed(:'answer'), '7654321', 'newest first; the id settles accounts of one moment');
select is((:'answer'::jsonb - '{v,body}'::text[]), '{"total": 7, "page": 1, "per_page": 50}'::jsonb, 'with the total');
select is(:'answer'::jsonb #>> '{body,aud}', 'authenticated', 'of one audience');
select is(:'answer'::jsonb #> '{body,users,0,identities}', 'null', 'without identities');
select is(:'answer'::jsonb #> '{body,users,0,factors}', null, 'and factors');
select is(pg_temp.listed(postern.admin_list_users(pg_temp.boss(), page => '2', per_page => '3')), '432', 'a page');
select is(pg_temp.listed(postern.admin_list_users(pg_temp.boss(), page => '0', per_page => '3')), '765', 'page 0 is the first');
select is(pg_temp.listed(postern.admin_list_users(pg_temp.boss(), page => '', per_page => '')), '7654321', 'empty is absent');
select is(postern.admin_list_users(pg_temp.boss(), page => '9') #>> '{body,users}', '[]', 'past the end');
select is((postern.admin_list_users(pg_temp.boss(), page => '999999999999999999', per_page => '999999999999999999') -> 'error')::text, null, 'far past it');
select is(pg_temp.listed(postern.admin_list_users(pg_temp.boss(), sort => '{created_at asc}')), '1234567', 'oldest first');
select is(pg_temp.listed(postern.admin_list_users(pg_temp.boss(), sort => '{"created_at  DESC", " created_at asc "}')), '6745231', 'the first entry counts most');
select is(pg_temp.listed(postern.admin_list_users(pg_temp.boss(), sort => '{""}')), '7654321', 'an empty entry is none');
select is(pg_temp.listed(postern.admin_list_users(pg_temp.boss(), sort => null)), '7654321', 'so is none');
select is(pg_temp.refused(f.answer), '400 validation_failed: ' || f.wanted, f.wanted)
  from (values
    (postern.admin_list_users(pg_temp.boss(), sort => '{email}'), 'Bad Sort Parameters: bad field for sort ''email'''),
    (postern.admin_list_users(pg_temp.boss(), sort => '{created_at foo}'), 'Bad Sort Parameters: bad direction for sort ''foo'', only ''asc'' and ''desc'' allowed'),
    (postern.admin_list_users(pg_temp.boss(), sort => array['created_at asc; drop table auth.users']),
        'Bad Sort Parameters: bad direction for sort ''asc; drop table auth.users'', only ''asc'' and ''desc'' allowed'),
    (postern.admin_list_users(pg_temp.boss(), page => 'abc'), 'Bad Pagination Parameters: strconv.ParseUint: parsing "abc": invalid syntax'),
    (postern.admin_list_users(pg_temp.boss(), page => '-1'), 'Bad Pagination Parameters: strconv.ParseUint: parsing "-1": invalid syntax'),
    (postern.admin_list_users(pg_temp.boss(), per_page => '1e3'), 'Bad Pagination Parameters: strconv.ParseUint: parsing "1e3": invalid syntax'),
    (postern.admin_list_users(pg_temp.boss(), per_page => '99999999999999999999'), 'Bad Pagination Parameters: strconv.ParseUint: parsing "99999999999999999999": value out of range'),
    (postern.admin_list_users(pg_temp.boss(), per_page => '0'), 'Bad Pagination Parameters: per_page must be greater than 0')) f (answer, wanted);
select is(pg_temp.listed(postern.admin_list_users(pg_temp.boss(), page => 'abc', sort => '{x}')) ~ 'Sort', true, 'sort is looked at before paging');
select is(pg_temp.listed(postern.admin_list_users(pg_temp.boss(), filter => 'user3@')), '3', 'a part of the address');
select is(postern.admin_list_users(pg_temp.boss(), filter => 'USER3@') #>> '{total}', '0', 'in its case');
select is(pg_temp.listed(postern.admin_list_users(pg_temp.boss(), filter => 'fULL 4')), '4', 'a part of the full name in any case');
select is(pg_temp.listed(postern.admin_list_users(pg_temp.boss(), filter => 'user_@%.com')), '7654321', 'wildcards count');
select is(postern.admin_list_users(pg_temp.boss(), filter => ''' or true --') #>> '{total}', '0', 'quotes do not');
select lives_ok($$ select postern.admin_list_users(pg_temp.boss(), filter => E'a\\') $$, 'a backslash at the end of a filter is no server error');
select is(postern.admin_list_users(postern.caller(role => 'service_role', audience => 'other')) #>> '{total}', '1', 'the request''s audience');

-- List by cursor (contract admin.md 3.2)

select is(pg_temp.listed(postern.admin_list_users(pg_temp.boss(), row_limit => '2')), '7654321', 'cursors are switched off at first');
select pg_temp.set('experimental_cursor_pagination_enabled = true') \g /dev/null
select is(pg_temp.listed(postern.admin_list_users(pg_temp.boss(), page => '1', row_limit => '2')), '7654321', 'a page number means pages');
create function pg_temp.walk(row_limit text, sort text[] default '{}', filter text default null) returns text language plpgsql as $$
declare
    v_answer json := postern.admin_list_users(pg_temp.boss(), row_limit => row_limit, sort => sort, filter => filter);
    v_walk text := pg_temp.listed(v_answer);
begin
    while (v_answer #>> '{body,pagination,has_more}')::boolean and length(v_walk) < 100 loop
        v_answer := postern.admin_list_users(pg_temp.boss(), row_limit => row_limit, sort => sort, filter => filter,
            row_cursor => v_answer #>> '{body,pagination,next_cursor}');
        v_walk := v_walk || ' ' || pg_temp.listed(v_answer);
    end loop;
    return v_walk;
end
$$;
select is(pg_temp.walk('2'), '76 54 32 1', 'two by two, newest first, over accounts of one moment');
select is(pg_temp.walk('3', '{created_at asc, created_at desc}'), '123 456 7', 'oldest first; only the first entry of sort counts');
select is(pg_temp.walk('1', '{created_at asc}', 'Full'), '1 2 3 4 5 6 7', 'one by one, filtered');
select is(pg_temp.walk('7'), '7654321', 'all of them: no cursor to nowhere');
select is(pg_temp.walk(''), '7654321', '50 by default');
select postern.admin_list_users(pg_temp.boss(), row_limit => '7') as answer \gset
select is((:'answer'::jsonb -> 'body') - 'users', '{"aud": "authenticated", "pagination": {"has_more": false}}'::jsonb, 'the last page has no cursor');
select is(:'answer'::jsonb -> 'total', null, 'nor a total');
select postern.admin_list_users(pg_temp.boss(), row_limit => '1', sort => '{created_at asc}') as answer \gset
select is(pg_temp.value(format('select convert_from(postern._base64url_decode(%L), ''UTF8'')', :'answer'::jsonb #>> '{body,pagination,next_cursor}'))::jsonb,
    '{"created_at": "2030-01-01T00:00:00.000000Z", "id": "00000000-0000-0000-0000-000000000001"}', 'a cursor is time and id of the last row');
select pg_temp.run($$ insert into auth.users (instance_id, id, aud, created_at)
    select '00000000-0000-0000-0000-000000000000', gen_random_uuid(), 'many', now() from generate_series(1, 1001) $$) \g /dev/null
select is(json_array_length(postern.admin_list_users(postern.caller(role => 'service_role', audience => 'many'), row_limit => '100000') #> '{body,users}'), 1000, 'at most 1000 at once');
select is(pg_temp.refused(postern.admin_list_users(pg_temp.boss(), row_limit => '0')), '400 validation_failed: Bad Pagination Parameters: limit must be greater than 0', 'none at once');
select matches(pg_temp.refused(postern.admin_list_users(pg_temp.boss(), row_cursor => bad.given)), '^400 validation_failed: Bad Pagination Parameters: invalid cursor' || bad.wanted, 'bad cursor: ' || bad.given)
  from (values ('!', ' encoding: '), ('a', ''), ('bm90IGpzb24', ': '), ('W10', ': missing id'), ('e30', ': missing id'), ('IngiCg', ': missing id'), ('_w', ': '),
    (translate(encode('{"id": "00000000-0000-0000-0000-000000000001"}', 'base64'), E'+/=\n', '-_'), ': missing created_at'),
    (translate(encode('{"id": "x", "created_at": "2030-01-01T00:00:00Z"}', 'base64'), E'+/=\n', '-_'), ': '),
    (translate(encode('{"id": "00000000-0000-0000-0000-000000000001", "created_at": "soon"}', 'base64'), E'+/=\n', '-_'), ': '),
    (translate(encode('{"id": "00000000-0000-0000-0000-000000000001", "created_at": "99999999-01-01"}', 'base64'), E'+/=\n', '-_'), ': ')) bad (given, wanted);
select pg_temp.set('experimental_cursor_pagination_enabled = false') \g /dev/null

-- Delete

select is(pg_temp.refused(postern.admin_delete_user(pg_temp.boss(), 'x')), '404 validation_failed: user_id must be an UUID', 'delete: not an id');
select is(pg_temp.refused(postern.admin_delete_user(pg_temp.boss(), gen_random_uuid()::text)), '404 user_not_found: User not found', 'delete: unknown');
select pg_temp.value('select pg_temp.account(''ada@example.com'', ''{"a": 1}'')') as ada \gset
select pg_temp.run(format($$ update auth.users set phone = '4911', email_change = 'n@x', recovery_token = 'h', banned_until = 'epoch' where id = %L $$, :'ada')) \g /dev/null
select pg_temp.signed_in(:'ada') \g /dev/null
select pg_temp.run(format($$ insert into auth.mfa_factors (id, user_id, factor_type, status, created_at, updated_at) values (gen_random_uuid(), %L, 'totp', 'verified', now(), now()) $$, :'ada')) \g /dev/null
select pg_temp.run(format($$ insert into auth.one_time_tokens (id, user_id, token_type, token_hash, relates_to) values (gen_random_uuid(), %L, 'recovery_token', 'h', 'x') $$, :'ada')) \g /dev/null
select pg_temp.forget_audit() \g /dev/null
select is((postern.admin_delete_user(pg_temp.boss(), :'ada', soft => true) -> 'body')::text, '{}', 'softly');
select is(pg_temp.value('select payload -> ''traits'' from auth.audit_log_entries')::jsonb,
    jsonb_build_object('user_id', :'ada'::text, 'user_email', 'ada@example.com', 'user_phone', '4911'), 'the audit trail remembers who it was');
create function pg_temp.h(value text) returns text language sql as $$
    select rtrim(translate(encode(sha256(convert_to(value, 'UTF8')), 'base64'), '+/', '-_'), '=')
$$;
select is(pg_temp.column_of(:'ada', 'concat_ws('' '', email, phone, email_change, phone_change, encrypted_password, recovery_token, raw_user_meta_data, raw_app_meta_data, deleted_at = now(), banned_until is null)'),
    concat_ws(' ', pg_temp.h(:'ada' || 'ada@example.com'), left(pg_temp.h(:'ada' || '4911'), 15), pg_temp.h(:'ada' || 'n@x'), left(pg_temp.h(:'ada'), 15), '', '{}', '{}', 't', 'f'),
    'the row is scrubbed as contract admin.md 7.2 says');
select is(pg_temp.value(format('select concat_ws('' '', provider_id, identity_data, email)
        from auth.identities where user_id = %L', :'ada')),
    pg_temp.h(:'ada' || 'email:' || :'ada') || ' {}', 'the identity too');
select is(pg_temp.value(format('select (select count(*) from auth.sessions
        where user_id = %1$L) + (select count(*) from auth.mfa_factors where user_id = %1$L)
    + (select count(*) from auth.one_time_tokens where user_id = %1$L)', :'ada')), '0', 'sessions, factors and codes are gone');
select pg_temp.run(format('update auth.users set deleted_at = ''epoch'' where id = %L', :'ada')) \g /dev/null
select is((postern.admin_delete_user(pg_temp.boss(), :'ada', soft => true) -> 'body')::text, '{}', 'softly once more');
select is(pg_temp.column_of(:'ada', 'deleted_at = ''epoch'''), 'true', 'changes nothing');
select is((postern.admin_create_user(pg_temp.boss(), email => 'ada@example.com', phone => '4911') -> 'error')::text, null, 'address and number are free');
select is((postern.admin_delete_user(pg_temp.boss(), :'ada') -> 'body')::text, '{}', 'and for good');
select is(pg_temp.column_of(:'ada', 'id'), null, 'the row is gone');
select is(pg_temp.value('select count(*) from auth.users where deleted_at is null
        and email = ''ada@example.com''')::int, 1, 'the new account is not');

reset session authorization;
select * from finish();
rollback;
