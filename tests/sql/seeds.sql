-- postern.create_user, set_password_hash, delete_user: SQL as an API, for seed scripts and psql.
begin;
select plan(56);
\ir support.psql
select pg_temp.set('jwt_aud = ''authenticated'', external_phone_enabled = true') \g /dev/null
select quote_ident(pg_get_userbyid(nspowner)) as owner from pg_namespace where nspname = 'postern' \gset

-- A seed script runs as the owner of the tables.
set local role :owner;

select postern.create_user(email => 'Ada@Example.com', password_hash => pg_temp.hash(),
    user_metadata => '{"full_name": "Ada"}',
    app_metadata => '{"role": "editor"}', id => '263b8ea4-19c9-401f-861a-1e8b5d64d9bb') as ada \gset
select is(:'ada'::text, '263b8ea4-19c9-401f-861a-1e8b5d64d9bb',
    'create_user answers with the id, which may be given');
select is(pg_temp.value(format($$ select to_jsonb(u) - '{created_at,updated_at,email_confirmed_at,confirmed_at,encrypted_password}'::text[] from auth.users u where id = %L $$,
    :'ada'))::jsonb,
    '{"instance_id": "00000000-0000-0000-0000-000000000000", "id": "263b8ea4-19c9-401f-861a-1e8b5d64d9bb", "aud": "authenticated", "role": "authenticated", "email": "ada@example.com",
      "invited_at": null, "confirmation_token": "", "confirmation_sent_at": null, "recovery_token": "", "recovery_sent_at": null, "email_change_token_new": "",
      "email_change": "", "email_change_sent_at": null, "last_sign_in_at": null, "raw_app_meta_data": {"provider": "email", "providers": ["email"], "role": "editor"},
      "raw_user_meta_data": {"full_name": "Ada", "email_verified": true}, "is_super_admin": null, "phone": null, "phone_confirmed_at": null, "phone_change": "",
      "phone_change_token": "", "phone_change_sent_at": null, "email_change_token_current": "", "email_change_confirm_status": 0, "banned_until": null,
      "reauthentication_token": "", "reauthentication_sent_at": null, "is_sso_user": false, "deleted_at": null, "is_anonymous": false}'::jsonb,
    'the account is complete');
select is(pg_temp.value(format('select identity_data from auth.identities where user_id = %L',
    :'ada'))::jsonb,
    '{"sub": "263b8ea4-19c9-401f-861a-1e8b5d64d9bb", "email": "ada@example.com", "email_verified": false, "phone_verified": false}',
    'with its identity');
select is(postern.find_password(email => 'ada@example.com') ->> 'password_hash', pg_temp.hash(),
    'its password is found');
select isnt(postern.sign_in_with_password(:'ada', 'email', true, pg_temp.digest()) #>> '{session,id}', null,
    'and it signs in');

select postern.create_user(phone => '+49 151', email => 'b@x', role => 'boss', audience => 'other',
    confirmed => false) as bob \gset
select is(pg_temp.value(format('select concat_ws('' '', email, phone, role, aud, confirmed_at, ''('' || encrypted_password || '')'') from auth.users where id = %L',
    :'bob')),
    'b@x 49151 boss other ()', 'address, number, role and audience; not confirmed; without a password');
select is(pg_temp.value(format('select string_agg(provider, '' '' order by provider) from auth.identities
        where user_id = %L',
    :'bob')),
    'email phone', 'an identity for each');
select is(pg_temp.value(format('select raw_app_meta_data from auth.users where id = %L', :'bob'))::jsonb,
    '{"provider": "email", "providers": ["email", "phone"]}', 'and a provider');
select isnt(postern.create_user(phone => '49152'), null, 'a number alone');
select throws_ok($$ select postern.create_user() $$, 'P0001', 'create_user needs an email or a phone',
    'neither');
select throws_ok($$ select postern.create_user(email => '', phone => '') $$, 'P0001',
    'create_user needs an email or a phone', 'both empty');
select throws_ok($$ select postern.create_user(email => 'x') $$, 'PA400',
    'Unable to validate email address: invalid format', 'a bad address');
select throws_ok($$ select postern.create_user(phone => 'x') $$, 'PA400',
    'Invalid phone number format (E.164 required)', 'a bad number');
select throws_ok($$ select postern.create_user(email => 'ADA@example.com') $$, '23505', null,
    'a taken address');
select throws_ok($$ select postern.create_user(phone => '+49151') $$, '23505', null, 'a taken number');
select is(pg_temp.value('select raw_user_meta_data from auth.users u
        where id = ' || quote_literal(postern.create_user(email => 'n@x', user_metadata => null)))::jsonb,
    '{"email_verified": true}', 'metadata of null is {}');
select throws_ok(format($$ select postern.create_user(email => 'plain@x', password_hash => %L) $$, bad), 'P0001',
    'not a bcrypt (cost 4 to 18), argon2i, argon2id or fbscrypt hash', 'a password is not stored as its hash: ' || bad)
  from unnest(array['secret', 'JfBgVzQdVOGUg', '$2a$19$' || repeat('a', 53)]) bad;
select throws_ok(format($$ select postern.create_user(email => 'list@x', %s => '[1]') $$, argument), 'P0001',
    'user_metadata and app_metadata are JSON objects', argument || ' that is no object')
  from unnest(array['user_metadata', 'app_metadata']) argument;
select postern.create_user(email => 'null@x', password_hash => '', role => null, audience => null, app_metadata => null,
    confirmed => null, id => null) as nulls \gset
select is(pg_temp.value(format('select concat_ws('' '', role, aud, confirmed_at is not null) from auth.users where id = %L', :'nulls')),
    'authenticated authenticated t', 'null is the default of every argument');

select throws_ok(format($$ select postern.set_password_hash(%L, %L) $$, :'ada', bad), 'P0001',
    'not a bcrypt (cost 4 to 18), argon2i, argon2id or fbscrypt hash',
    'not a hash: ' || coalesce(to_json(bad)::text, 'null'))
  from unnest(array[null, '', 'secret', '$2a$10$short', '$2a$10$' || repeat('!', 53), '$1$abc$def', '$6$x$y',
      pg_temp.hash() || 'x', E'\n' || pg_temp.hash(), '$argon2d$v=19$m=1,t=1,p=1$a$b', '$argon2id$v=16$a$b$c',
      'JfBgVzQdVOGUg', '$2a$03$' || repeat('a', 53), '$2a$19$' || repeat('a', 53)]) bad;
select throws_ok($$ select postern.set_password_hash(gen_random_uuid(), pg_temp.hash()) $$, 'P0001', null,
    'no such account');
select lives_ok(format($$ select postern.set_password_hash(%L, %L) $$, :'bob', good),
    'a hash: ' || left(good, 12))
  from unnest(array[pg_temp.hash(), '$2b$' || substr(pg_temp.hash(), 5), '$2y$' || substr(pg_temp.hash(), 5),
      '$2$' || substr(pg_temp.hash(), 5),
      '$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaGhhc2g',
      '$argon2i$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaGhhc2g',
      '$fbscrypt$v=1,n=14,r=8,p=1$c2FsdA==$aGFzaA==']) good;
select is(pg_temp.value(format('select count(*) from auth.sessions where user_id = %L', :'ada')), '1',
    'a session that is open');
select postern.set_password_hash(:'ada', '$2b$' || substr(pg_temp.hash(), 5)) \g /dev/null
select is(postern.find_password(email => 'ada@example.com') ->> 'password_hash',
    '$2b$' || substr(pg_temp.hash(), 5), 'the new hash is found');
select is(pg_temp.value(format('select count(*) from auth.sessions where user_id = %L', :'ada')), '0',
    'and all sessions have ended');

select throws_ok($$ select postern.delete_user(gen_random_uuid()) $$, 'P0001', null,
    'deleting what is not there');
select throws_ok($$ select postern.delete_user(null) $$, 'P0001', null, 'or nothing');
select postern.delete_user(:'ada', soft => true) \g /dev/null
select is(pg_temp.value(format('select deleted_at is not null and email <> ''ada@example.com''
        from auth.users where id = %L',
    :'ada')),
    'true', 'softly');
select is((postern.find_password(email => 'ada@example.com') ->> 'user_id'), null, 'keeps it out');
select postern.delete_user(:'ada') \g /dev/null
select is(pg_temp.value(format('select count(*) from auth.users where id = %L', :'ada')), '0', 'for good');

-- What a script that was written for Supabase Auth inserts (contract schema.md 10).
reset role;
insert into auth.users (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at,
    raw_app_meta_data, raw_user_meta_data, created_at, updated_at)
values ('00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-0000000005ed', 'authenticated',
    'authenticated', 'seed@example.com',
    '$2a$06$' || repeat('a', 53), now(), '{"provider": "email", "providers": ["email"]}', '{}', now(), now());
insert into auth.identities (provider_id, user_id, identity_data, provider, last_sign_in_at, created_at,
    updated_at)
values ('00000000-0000-0000-0000-0000000005ed', '00000000-0000-0000-0000-0000000005ed',
    '{"sub": "00000000-0000-0000-0000-0000000005ed", "email": "seed@example.com"}', 'email', now(), now(),
    now());
set local session authorization postern_gateway;
select isnt(postern.sign_in_with_password('00000000-0000-0000-0000-0000000005ed', 'email', true,
    pg_temp.digest('$2a$06$' || repeat('a', 53)), new_hash => pg_temp.hash()) #>> '{session,id}',
    null, 'an account inserted with NULL token columns signs in');
select is((postern.admin_list_users(postern.caller(role => 'service_role')) -> 'error')::text, null,
    'and lists go on');
select is((postern.admin_update_user(postern.caller(role => 'service_role'),
    '00000000-0000-0000-0000-0000000005ed', email_confirm => true, ban => '0') -> 'error')::text,
    null, 'it is updated');
select is((postern.admin_delete_user(postern.caller(role => 'service_role'),
    '00000000-0000-0000-0000-0000000005ed', soft => true) -> 'error')::text,
    null, 'and deleted');
reset session authorization;

select * from finish();
rollback;
