-- The custom_access_token hook as a SQL function (contract mfa-hooks.md 3.4, 3.5, 3.7; DESIGN 3, 10).
begin;
select plan(99);
\ir support.psql
select pg_temp.set('jwt_aud = ''authenticated'', hook_custom_access_token_enabled = true, mailer_autoconfirm = true, external_anonymous_users_enabled = true') \g /dev/null
select pg_temp.account('ada@example.com') as ada \gset

-- As projects are told to: executable by supabase_auth_admin and nobody else.
create schema app;
create function app.claims(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('claims', (event -> 'claims') || '{"plan": "gold"}')
$$;
revoke all on function app.claims(jsonb) from public;
-- use() names the hook.
create function pg_temp.use(name text) returns void language sql as $$
    select pg_temp.set(format('hook_custom_access_token_uri = %L', 'pg-functions://postgres/' || name))
$$;
-- tried() is a sign-in: the claims, or the refusal.
create function pg_temp.tried() returns json language plpgsql as $$
declare
    v_answer json := postern.sign_in_with_password(pg_temp.value('select id from auth.users
        where email = ''ada@example.com''')::uuid, 'email', true, pg_temp.digest());
begin
    return coalesce(v_answer -> 'claims', json_build_object('error', v_answer -> 'error'));
end
$$;
-- asked() is whom the gateway has to ask before it signs the claims of a sign-in.
create function pg_temp.asked() returns text language sql as $$
    select postern.sign_in_with_password(pg_temp.value('select id from auth.users where email = ''ada@example.com''')::uuid,
        'email', true, pg_temp.digest()) #>> '{token_hook,uri}'
$$;
-- hook() makes app.hook from a body, executable by supabase_auth_admin.
create function pg_temp.hook(body text, argument text default 'jsonb', result text default 'jsonb') returns void language plpgsql security definer as $$
begin
    execute 'drop function if exists app.hook';
    execute format('create function app.hook(event %s) returns %s language plpgsql as %L', argument, result, 'begin ' || body || ' end');
    perform pg_temp.use('app/hook');
end
$$;
-- missing() is the refusal for a hook that may not be run.
create function pg_temp.missing(name text) returns text language sql as $$
    select '500 unexpected_failure: Error running hook URI: pg-functions://postgres/' || name
$$;

select pg_temp.use('app/claims') \g /dev/null
set local session authorization postern_gateway;

-- Who may be a hook

select is(pg_temp.refused(pg_temp.tried()), pg_temp.missing('app/claims'),
    'a schema that supabase_auth_admin may not use');
select pg_temp.run('grant usage on schema app to supabase_auth_admin') \g /dev/null
select is(pg_temp.refused(pg_temp.tried()), pg_temp.missing('app/claims'),
    'a function that supabase_auth_admin may not execute');
select isnt(pg_temp.tried() #>> '{error,hint}', null, 'the operator is told why');
select pg_temp.run('grant execute on function app.claims(jsonb) to supabase_auth_admin') \g /dev/null
select is(pg_temp.tried() ->> 'plan', 'gold', 'one that it may: its claims are the token''s');
select is(pg_temp.tried() ->> 'sub', :'ada', 'on top of ours');
select is(pg_temp.value('select count(*) from auth.sessions')::int, 2, 'refusals open no session');
select pg_temp.set('hook_custom_access_token_enabled = false') \g /dev/null
select is(pg_temp.tried() ->> 'plan', null, 'switched off');
select pg_temp.set('hook_custom_access_token_enabled = true') \g /dev/null

select pg_temp.run('create function public.no_argument() returns jsonb language sql as ''select null::jsonb''') \g /dev/null
select pg_temp.run('create function public.number_argument(int) returns jsonb language sql as ''select null::jsonb''') \g /dev/null
select pg_temp.run('create function public.two_arguments(jsonb, int) returns jsonb language sql as ''select null::jsonb''') \g /dev/null
select pg_temp.run('create procedure public.procedure(jsonb) language sql as ''select 1''') \g /dev/null
select pg_temp.run('create function auth.mine(jsonb) returns jsonb language sql as ''select $1''') \g /dev/null
select pg_temp.run('create function postern.mine(jsonb) returns jsonb language sql as ''select $1''') \g /dev/null
select pg_temp.run('create function pg_temp.mine(jsonb) returns jsonb language sql as ''select $1''') \g /dev/null
select pg_temp.value('select pg_my_temp_schema()::regnamespace') as temp \gset
create function pg_temp.with_hook(name text) returns text language plpgsql as $$
begin
    perform pg_temp.use(name);
    return pg_temp.refused(pg_temp.tried());
end
$$;
select is(pg_temp.with_hook(name), pg_temp.missing(name), 'no hook: ' || regexp_replace(name, '\d+', 'n'))
  from unnest(array[
    'app/no_such', 'nowhere/claims', 'public/no_argument', 'public/number_argument', 'public/two_arguments',
    'public/procedure',
    'auth/mine', 'postern/mine', 'postern/apply_environment', 'pg_catalog/jsonb_strip_nulls',
    'pg_catalog/to_json',
    'information_schema/_pg_truetypid', 'APP/claims', 'app/claims;drop', 'app/"claims"',
    :'temp' || '/mine']) name;
select pg_temp.set('hook_custom_access_token_uri = ''https://example.com/hook''') \g /dev/null
select is(pg_temp.asked(), 'https://example.com/hook', 'an address of the web is left to the gateway');
select pg_temp.set('hook_custom_access_token_uri = ''''') \g /dev/null
select is(pg_temp.asked(), '', 'and so is a hook without a name, which fails there');

-- What it is given and gives

select pg_temp.run('create table app.seen (event jsonb, path text, who text); grant all on app.seen to supabase_auth_admin') \g /dev/null
select pg_temp.hook('insert into app.seen values (event, current_setting(''search_path''), current_user); return event;') \g /dev/null
select pg_temp.tried() as claims \gset
select is(pg_temp.value('select event -> ''claims'' from app.seen')::jsonb, :'claims'::jsonb,
    'the claims as we made them');
select is(pg_temp.value('select (event - ''{metadata,claims}''::text[]) from app.seen')::jsonb,
    jsonb_build_object('user_id', :'ada'::text, 'authentication_method', 'password'),
    'the account and the method');
select is(pg_temp.value('select event #>> ''{metadata,name}'' from app.seen'), 'customize-access-token',
    'the name of the hook');
select matches(pg_temp.value('select event #>> ''{metadata,time}'' from app.seen'),
    '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$', 'the time');
select matches(pg_temp.value('select event #>> ''{metadata,uuid}'' from app.seen'), '^[0-9a-f-]{36}$',
    'an id');
select is(pg_temp.value('select path from app.seen'), 'auth, pg_temp', 'it runs with search_path auth');
select pg_temp.run('delete from app.seen') \g /dev/null
select postern.refresh_session((:'claims'::jsonb ->> 'session_id')::uuid, 0) \g /dev/null
select is(pg_temp.value('select event ->> ''authentication_method'' from app.seen'), 'token_refresh',
    'refresh');
select postern.sign_up(email => 'new@example.com', password_hash => 'h') \g /dev/null
select postern.sign_up_anonymously() \g /dev/null
select is(pg_temp.value('select string_agg(event ->> ''authentication_method'', '',''
        order by event ->> ''authentication_method'') from app.seen'),
    'anonymous,password,token_refresh', 'sign-up and anonymous sign-up');

create function pg_temp.typed(argument text, result text) returns text language plpgsql as $$
begin
    perform pg_temp.hook('return event;', argument, result);
    return coalesce(pg_temp.tried() ->> 'role', pg_temp.tried()::text);
end
$$;
select is(pg_temp.typed(argument, result), 'authenticated', argument || ' in, ' || result || ' out')
  from (values ('json', 'json'), ('text', 'text'), ('jsonb', 'text'), ('text', 'jsonb'),
      ('json', 'jsonb')) t (argument, result);

-- What it may answer: claims are taken as they are

create function pg_temp.answering(body text) returns json language plpgsql as $$
begin
    perform pg_temp.hook(body);
    return pg_temp.tried();
end
$$;
select is(pg_temp.answering($$ return jsonb_build_object('claims', (event -> 'claims') - 'app_metadata' - 'user_metadata' || '{"exp": 4000000000, "aud": ["a", "b"], "role": "boss", "amr": ["password"], "nbf": 1, "jti": "x"}'); $$)::jsonb - '{sub,session_id,iat}'::text[],
    '{"exp": 4000000000, "aud": ["a", "b"], "role": "boss", "amr": ["password"], "nbf": 1, "jti": "x", "email": "ada@example.com", "phone": "", "aal": "aal1", "is_anonymous": false}'::jsonb,
    'nothing is merged back');
select is(pg_temp.refused(pg_temp.answering('return ''{}'';')),
    '500 unexpected_failure: output claims field is missing', 'no claims');
select is(pg_temp.refused(pg_temp.answering(body)), '500 unexpected_failure: Error unmarshaling JSON output.',
    'not an object: ' || body)
  from unnest(array['return ''[]'';', 'return ''1'';', 'return ''"x"'';', 'return ''true'';',
      'return ''{"claims": 1}'';', 'return ''{"claims": "x"}'';', 'return ''{"claims": []}'';']) body;
select is(pg_temp.refused(pg_temp.answering(body)),
    E'500 unexpected_failure: output claims do not conform to the expected schema: \n- (root): Invalid type. Expected: object, given: null\n',
    'nothing: ' || body)
  from unnest(array['return null;', 'return ''null'';', 'return ''{"claims": null}'';']) body;
select is(pg_temp.refused(pg_temp.answering('return ''{"claims": {}}'';')),
    E'500 unexpected_failure: output claims do not conform to the expected schema: \n'
    || (select string_agg(format(E'- (root): %s is required\n', c), '') from unnest(array['aal', 'aud',
        'email', 'exp', 'iat', 'is_anonymous', 'phone', 'role', 'session_id', 'sub']) c),
    'all that is required');
select is(pg_temp.refused(pg_temp.answering(format('return jsonb_build_object(''claims'', (event -> ''claims'') || %L);', wrong))),
    E'500 unexpected_failure: output claims do not conform to the expected schema: \n- ' || message || E'\n',
    'wrong type: ' || wrong)
  from (values
    ('{"email": 1}', 'email: Invalid type. Expected: string, given: integer'),
    ('{"email": 1.5}', 'email: Invalid type. Expected: string, given: number'),
    ('{"exp": 1.5}', 'exp: Invalid type. Expected: integer, given: number'),
    ('{"exp": "1"}', 'exp: Invalid type. Expected: integer, given: string'),
    ('{"sub": null}', 'sub: Invalid type. Expected: string, given: null'),
    ('{"aud": {}}', 'aud: Invalid type. Expected: string/array, given: object'),
    ('{"app_metadata": []}', 'app_metadata: Invalid type. Expected: object, given: array'),
    ('{"amr": "x"}', 'amr: Invalid type. Expected: array, given: string'),
    ('{"role": true}', 'role: Invalid type. Expected: string, given: boolean'),
    ('{"jti": 1}', 'jti: Invalid type. Expected: string, given: integer')) t (wrong, message);
select is(pg_temp.answering('return jsonb_build_object(''claims'', (event -> ''claims'') || ''{"exp": 1.0, "is_anonymous": "perhaps", "other": [null]}'');') ->> 'is_anonymous',
    'perhaps', 'the rest may be anything');

-- Errors it answers

select is(pg_temp.answering(format('return jsonb_build_object(''error'', %L::jsonb);',
    answer)) #>> '{error,status}' || ' '
        || (pg_temp.answering(format('return jsonb_build_object(''error'', %L::jsonb);',
            answer)) #>> '{error,code}') || ' '
        || (pg_temp.answering(format('return jsonb_build_object(''error'', %L::jsonb);',
            answer)) #>> '{error,message}'), wanted, 'error: ' || answer)
  from (values
    ('{"http_code": 403, "message": "no"}', '403 unknown no'),
    ('{"message": "no"}', '500 unknown no'),
    ('{"http_code": 0, "message": "no"}', '500 unknown no'),
    ('{"http_code": null, "message": "no"}', '500 unknown no'),
    ('{"http_code": 500, "message": "no"}', '500 unknown no'),
    ('{"http_code": 200, "message": "fine"}', '200 unknown fine'),
    ('{"http_code": 999, "message": "no"}', '999 unknown no'),
    ('{"http_code": 99, "message": "no"}', '500 unexpected_failure Internal Server Error'),
    ('{"http_code": 1000, "message": "no"}', '500 unexpected_failure Internal Server Error'),
    ('{"http_code": -1, "message": "no"}', '500 unexpected_failure Internal Server Error')) t (answer,
    wanted);
select is(pg_temp.refused(pg_temp.answering(format('return jsonb_build_object(''error'', %L::jsonb);', answer))),
    '500 unexpected_failure: output claims field is missing', 'no error: ' || answer)
  from unnest(array['{"http_code": 403.5, "message": "no"}', '{"http_code": 1e30, "message": "no"}',
      '{"http_code": 403, "message": ""}', '{"http_code": 403}', '{"http_code": "403", "message": "no"}',
      '"no"', '[]', 'null', '{"message": 1}']) answer;

-- Errors it raises

select is(pg_temp.answering('raise exception ''no seats'' using detail = ''d'', hint = ''h'';')::jsonb #- '{error,cause}' -> 'error',
    '{"status": 500, "code": "unexpected_failure", "message": "Error running hook URI: pg-functions://postgres/app/hook",
      "database": {"code": "P0001", "message": "no seats", "detail": "d", "hint": "h"}}'::jsonb, 'raise');
select is(pg_temp.answering('raise sqlstate ''PT402'' using message = ''pay'';')::jsonb #- '{error,cause}' -> 'error',
    '{"status": 402, "code": "unexpected_failure", "message": "Error running hook URI: pg-functions://postgres/app/hook", "database": {"code": "PT402", "message": "pay"}}'::jsonb,
    'PTnnn');
select is(pg_temp.answering(body)::jsonb #- '{error,cause}' -> 'error',
    '{"status": 500, "code": "unexpected_failure", "message": "Error running hook URI: pg-functions://postgres/app/hook"}'::jsonb,
    'not passed through: ' || body)
  from unnest(array['perform 1 / 0; return null;', 'perform * from app.missing; return null;',
      'raise insufficient_privilege; return null;', 'return ''not json'';']) body;
select throws_ok($$ select pg_temp.answering('raise serialization_failure;') $$, '40001', null,
    'raised again, for another try');

-- A failure leaves nothing; on any path

select pg_temp.hook('insert into app.seen values (null); raise exception ''no seats'';') \g /dev/null
select pg_temp.run('delete from app.seen') \g /dev/null
select pg_temp.value('select concat_ws('' '', (select count(*) from auth.users), (select count(*)
        from auth.sessions), (select count(*) from auth.audit_log_entries))') as before \gset
select is(postern.sign_up(email => 'gone@example.com', password_hash => 'h') #>> '{error,database,message}',
    'no seats', 'sign-up');
select is(postern.sign_up_anonymously() #>> '{error,database,message}', 'no seats', 'anonymous sign-up');
select is(pg_temp.tried() #>> '{error,database,message}', 'no seats', 'sign-in');
select is(pg_temp.value('select concat_ws('' '', (select count(*) from auth.users), (select count(*)
        from auth.sessions), (select count(*) from auth.audit_log_entries))'),
    :'before'::text,
    'no account, no session, no entry in the audit trail is left');
select is(pg_temp.value('select count(*) from app.seen')::int, 0, 'nor what the hook wrote itself');
select pg_temp.value('select s.id from auth.sessions s join auth.users u on u.id = s.user_id
        join auth.refresh_tokens t on t.session_id = s.id
    where u.email = ''ada@example.com'' and t.counter = 0 limit 1') as session \gset
select is(postern.refresh_session(:'session', 0) #>> '{error,database,message}', 'no seats', 'refresh');
select is(pg_temp.value(format('select counter from auth.refresh_tokens where session_id = %L', :'session')),
    '0', 'spends no token');

-- Too slow: the limit is the statement's (DESIGN 10)

select pg_temp.hook('insert into app.seen values (null); perform pg_sleep(30); return event;') \g /dev/null
set local statement_timeout = '200ms';
select pg_temp.tried() as slow \gset
reset statement_timeout;
select is(pg_temp.refused(:'slow'), '500 unexpected_failure: Error running hook URI: pg-functions://postgres/app/hook', 'a hook that is too slow is an answer, not a lost statement');
select is(:'slow'::json #>> '{error,hint}', 'the hook took too long', 'the operator is told why');
select is(pg_temp.value('select count(*) from app.seen')::int, 0, 'nothing of it is left');
select pg_temp.hook('return event;') \g /dev/null
select is(pg_temp.tried() ->> 'role', 'authenticated', 'and the next sign-in goes on');

reset session authorization;
select * from finish();
rollback;
