-- auth.hook_runs and postern.explain_error: what became of hooks, and why requests failed (issue 3, 4; DESIGN 6, 10).
begin;
select plan(63);
\ir support.psql
select pg_temp.set('jwt_aud = ''authenticated'', mailer_autoconfirm = true, external_anonymous_users_enabled = true') \g /dev/null
select pg_temp.account('ada@example.com') as ada \gset
set local client_min_messages = warning;
create schema app;
grant usage on schema app to supabase_auth_admin;

-- hook() makes app.hook and enables it for a point.
create function pg_temp.hook(point text, body text) returns void language plpgsql security definer as $$
begin
    execute format('create or replace function app.hook(event jsonb) returns jsonb language plpgsql as %L', 'begin ' || body || ' end');
    execute 'grant execute on function app.hook to supabase_auth_admin';
    perform pg_temp.set(format('hook_%1$s_enabled = true, hook_%1$s_uri = %2$L', point, 'pg-functions://postgres/app/hook'));
end
$$;
create function pg_temp.off(point text) returns void language sql as $$
    select pg_temp.set(format('hook_%s_enabled = false', point))
$$;
-- trigger() has a trigger function with this body fire on a table of auth, in place of the one before.
create function pg_temp.trigger(event text, body text, options text default '') returns void language plpgsql security definer as $$
begin
    execute 'drop function if exists app.fired cascade';
    execute format('create function app.fired() returns trigger language plpgsql %s as %L', options, 'begin ' || body || ' end');
    execute format('create trigger fired %s for each row execute function app.fired()', event);
end
$$;
-- explained() is what explain_error says of a request, in these columns.
create function pg_temp.explained(request_id text, columns text default 'point, target, outcome, sqlstate, message') returns text
language plpgsql security definer as $$
declare
    v_text text;
begin
    execute format('select string_agg(concat_ws('' | '', %s), E''\n'') from postern.explain_error($1)', columns)
    into v_text using request_id;
    return v_text;
end
$$;
create function pg_temp.runs() returns bigint language sql as $$
    select pg_temp.value('select count(*) from auth.hook_runs')::bigint
$$;
create function pg_temp.caller(request_id text) returns postern.caller language sql as $$
    select postern.caller(request_id => caller.request_id)
$$;
create function pg_temp.sign_up(request_id text, data jsonb default null) returns json language sql as $$
    select postern.sign_up(email => 'new@example.com', password_hash => pg_temp.hash(), data => sign_up.data, caller => pg_temp.caller(request_id))
$$;
create function pg_temp.sign_in(request_id text) returns json language sql as $$
    select postern.sign_in_with_password(pg_temp.value('select id from auth.users where email = ''ada@example.com''')::uuid,
        'email', true, pg_temp.digest(), caller => pg_temp.caller(request_id))
$$;
set local session authorization postern_gateway;

-- Who may ask

select throws_ok($$ select * from postern.explain_error('a') $$, '42501', null, 'the gateway does not ask');
select throws_ok($$ select * from auth.hook_runs $$, '42501', null, 'nor read the table');
select is(pg_temp.explained('a'), null, 'nothing happened');

-- Triggers on tables of auth

select pg_temp.trigger('after insert on auth.users', 'raise exception ''no room'' using detail = ''the detail'', hint = ''the hint''; ') \g /dev/null
select is(pg_temp.sign_up('r1') #>> '{error,database,message}', 'no room', 'a trigger that raises');
select is(pg_temp.explained('r1'), 'database | app.fired() | failed | P0001 | no room', 'is named, with what it said');
select is(pg_temp.explained('r1', 'table_name, detail, hint, advice'),
    'auth.users | the detail | the hint | app.fired() raised this on purpose: its message says why.', 'so is the table');
select matches(pg_temp.explained('r1', 'context'), 'app\.fired\(\) line 1 at RAISE\n.*insert into auth\.users.*postern\.sign_up',
    'and the way there');
select is(pg_temp.explained('r1', 'ms is null'), 't', 'how long that took is not known');
select is(pg_temp.value('select count(*) from auth.users')::int, 1, 'no account remains');

select pg_temp.trigger('after insert on auth.users', 'perform 1 / (new.raw_user_meta_data ->> ''seats'')::int; return new;') \g /dev/null
select is(pg_temp.sign_up('r2', '{"seats": 0}') #>> '{error,message}', 'Database error saving new user', 'a trigger that divides by zero');
select is(pg_temp.explained('r2'), 'database | app.fired() | failed | 22012 | division by zero', 'the same');

select pg_temp.run('create table app.profiles (id uuid primary key, name text not null)') \g /dev/null
select pg_temp.trigger('after insert on auth.users', 'insert into profiles (id) values (new.id); return new;') \g /dev/null
select pg_temp.sign_up('r3') \g /dev/null
select is(pg_temp.explained('r3', 'target, table_name, sqlstate, advice'), 'app.fired() | auth.users | 42P01 | Triggers on tables of auth run '
    'with search_path = auth: write names with their schema in app.fired(), as in public.profiles, or give it a search_path of its own.',
    'a table that is not in the search_path');
select pg_temp.trigger('after insert on auth.users', 'insert into app.profiles (id) values (new.id); return new;') \g /dev/null
select pg_temp.sign_up('r4') \g /dev/null
select is(pg_temp.explained('r4', 'target, table_name, sqlstate'), 'app.fired() | auth.users | 42501', 'a table of somebody else');
select matches(pg_temp.explained('r4', 'advice'), 'runs as the owner of schema auth', 'and what to do about it');
select pg_temp.trigger('after insert on auth.users', 'insert into app.profiles (id) values (new.id); return new;', 'security definer set search_path = app') \g /dev/null
select pg_temp.sign_up('r5') \g /dev/null
select is(pg_temp.explained('r5', 'target, table_name, sqlstate'), 'fired() | auth.users | 23502', 'a constraint of another table');
select is(pg_temp.explained('r5', 'detail'), '', 'the row that it quotes is not kept');

select pg_temp.run('alter table auth.users add constraint mine check (email !~ ''new'') not valid') \g /dev/null
select pg_temp.trigger('after update on auth.users', 'return new;') \g /dev/null
select is(pg_temp.sign_up('r6') #>> '{error,database,code}', '23514', 'a constraint on auth.users');
select is(pg_temp.explained('r6'), 'database | failed | 23514 | new row for relation "users" violates check constraint "mine"', 'is named');
select is(pg_temp.explained('r6', 'table_name'), 'auth.users', 'with the table');
select is(strpos(pg_temp.value('select string_agg(h::text, '''') from auth.hook_runs h'), pg_temp.hash()), 0, 'no hash of a password was kept');
select pg_temp.run('alter table auth.users add constraint mine2 check (recovery_token is null or recovery_token = '''') not valid') \g /dev/null
select postern.request_recovery('ada@example.com', envelope => postern.envelope(outbox_id => gen_random_uuid(), code_hmac => 'c', link_digest => 'd',
    sealed => 's')) as answer \gset
select is(:'answer'::json #>> '{error,database,code}', '23514', 'one that refuses somebody''s row');
select is(strpos(:'answer', pg_temp.hash()), 0, 'whoever asks is not told what is in it');
select pg_temp.run('alter table auth.users drop constraint mine, drop constraint mine2') \g /dev/null

select pg_temp.signed_in(:'ada') as session \gset
select pg_temp.trigger('before delete on auth.sessions', 'raise exception ''stay''; ') \g /dev/null
select postern.log_out(postern.caller(user_id => :'ada', session_id => :'session', request_id => 'r7')) \g /dev/null
select is(pg_temp.explained('r7', 'target, table_name, message, user_id'), 'app.fired() | auth.sessions | stay | ' || :'ada',
    'a trigger on auth.sessions, and who signed out');
select postern.admin_delete_user(postern.caller(role => 'service_role', request_id => 'r8'), :'ada') \g /dev/null
select is(pg_temp.explained('r8', 'target, table_name, message'), 'app.fired() | auth.sessions | stay', 'fired by a cascade');
select pg_temp.trigger('before update on auth.sessions', 'raise exception ''stay''; ') \g /dev/null
select postern.refresh_session(:'session', 0, pg_temp.caller('r9')) \g /dev/null
select is(pg_temp.explained('r9', 'target, table_name, message'), 'app.fired() | auth.sessions | stay', 'at a refresh');

-- What another try may cure is raised as it was, with the line that raised it: the gateway has it recorded.
select pg_temp.trigger('before insert on auth.users', 'raise lock_not_available; ') \g /dev/null
create function pg_temp.raised() returns text language plpgsql as $$
declare
    v_context text;
begin
    perform pg_temp.sign_up('r10');
    return 'nothing';
exception when lock_not_available then
    get stacked diagnostics v_context = pg_exception_context;
    return v_context;
end
$$;
select pg_temp.raised() as raised \gset
select matches(:'raised'::text, '^PL/pgSQL function app\.fired\(\) line 1 at RAISE\n', 'a passing error keeps its context');
select is(pg_temp.explained('r10'), null, 'its statement can record nothing');
select is(postern.record_hook_run(json_build_object('point', 'database', 'target', 'postern.sign_up', 'outcome', 'failed', 'ms', 2000.25,
        'sqlstate', '55P03', 'message', 'canceling statement due to lock timeout', 'context', :'raised'::text), pg_temp.caller('r10')) ->> 'v',
    postern.get_settings() ->> 'version', 'so the gateway does');
select is(pg_temp.explained('r10', 'point, target, table_name, outcome, sqlstate, ms'),
    'database | app.fired() | auth.users | failed | 55P03 | 2000.250', 'and it is found');
select postern.record_hook_run('{"point": "database", "target": "postern.sign_up", "outcome": "timeout"}', pg_temp.caller('r11')) \g /dev/null
select is(pg_temp.explained('r11', 'target, outcome'), 'postern.sign_up | timeout', 'without a context, what was called');
select pg_temp.trigger('before update on auth.refresh_tokens', 'return new; ') \g /dev/null

-- What is no error of users leaves no row

select pg_temp.runs() as before \gset
select postern.sign_up(email => 'nonsense', password_hash => 'h', caller => pg_temp.caller('r12')) \g /dev/null
select postern.log_out(postern.caller(user_id => :'ada', session_id => :'session', request_id => 'r12'), 'x') \g /dev/null
select is(pg_temp.runs(), :before::bigint, 'refusals of Postern are not recorded');

-- SQL hooks

select pg_temp.hook('custom_access_token', 'return event; ') \g /dev/null
select pg_temp.sign_in('h1') \g /dev/null
select is(pg_temp.explained('h1'), null, 'a quick call that succeeds is not recorded');
select pg_temp.set('hook_runs_slow_ms = 0') \g /dev/null
select pg_temp.sign_in('h2') \g /dev/null
select is(pg_temp.explained('h2', 'point, target, outcome, sqlstate, message, user_id'),
    'custom_access_token | pg-functions://postgres/app/hook | ok | ' || :'ada', 'unless all are');
select postern.refresh_session(:'session', 0, pg_temp.caller('h3')) \g /dev/null
select is(pg_temp.explained('h3', 'point, outcome'), 'custom_access_token | ok', 'at a refresh too');
select pg_temp.set('hook_runs_slow_ms = 50') \g /dev/null
select pg_temp.sign_in('h4') \g /dev/null
select is(pg_temp.explained('h4'), null, 'below the threshold');
select pg_temp.hook('custom_access_token', 'perform pg_sleep(0.06); return event; ') \g /dev/null
select pg_temp.sign_in('h5') \g /dev/null
select is(pg_temp.explained('h5', 'outcome, ms > 59, advice'),
    'ok | t | Nothing failed: it took as long as auth.settings.hook_runs_slow_ms, or longer.', 'a slow call');
select pg_temp.set('hook_runs_slow_ms = default') \g /dev/null

select pg_temp.hook('custom_access_token', 'raise exception ''no seats'' using detail = ''d'', hint = ''h''; ') \g /dev/null
select is(pg_temp.sign_in('h6') #>> '{error,message}', 'Error running hook URI: pg-functions://postgres/app/hook', 'a hook that raises');
select is(pg_temp.explained('h6', 'point, target, outcome, sqlstate, message, detail, hint, user_id, ms is not null'),
    'custom_access_token | pg-functions://postgres/app/hook | failed | P0001 | no seats | d | h | ' || :'ada' || ' | t', 'is recorded');
select matches(pg_temp.explained('h6', 'context'), '^PL/pgSQL function app\.hook\(jsonb\) line 1 at RAISE', 'with its line');
select matches(pg_temp.sign_in('h6b') #>> '{error,cause}', 'app\.hook\(jsonb\) line 1 at RAISE', 'which the log has too');
select pg_temp.hook('custom_access_token', 'assert false, ''no seats''; ') \g /dev/null
select pg_temp.sign_in('h6c') \g /dev/null
select is(pg_temp.explained('h6c'), 'custom_access_token | pg-functions://postgres/app/hook | failed | P0004 | no seats', 'so is an assertion');
select pg_temp.hook('custom_access_token', 'return ''{"error": {"http_code": 403, "message": "not you"}}''; ') \g /dev/null
select is(pg_temp.refused(pg_temp.sign_in('h7')), '403 unknown: not you', 'a hook that refuses');
select is(pg_temp.explained('h7'), 'custom_access_token | pg-functions://postgres/app/hook | refused | not you', 'is recorded');
select pg_temp.hook('custom_access_token', 'return ''{}''; ') \g /dev/null
select pg_temp.sign_in('h8') \g /dev/null
select is(pg_temp.explained('h8', 'outcome, message'), 'output | output claims field is missing', 'an output without claims');
select pg_temp.hook('custom_access_token', 'return ''[1]''; ') \g /dev/null
select pg_temp.sign_in('h9') \g /dev/null
select is(pg_temp.explained('h9', 'outcome, message'), 'output | Error unmarshaling JSON output.', 'an output that is no object');
select pg_temp.hook('custom_access_token', 'perform pg_sleep(30); return event; ') \g /dev/null
set local statement_timeout = '200ms';
select pg_temp.sign_in('h10') \g /dev/null
reset statement_timeout;
select is(pg_temp.explained('h10', 'outcome, sqlstate, message, hint, ms > 100'),
    'timeout | 57014 | canceling statement due to statement timeout | t', 'a hook that is too slow');
select pg_temp.run('revoke execute on function app.hook from public, supabase_auth_admin') \g /dev/null
select pg_temp.sign_in('h11') \g /dev/null
select matches(pg_temp.explained('h11', 'outcome, advice'), '^uri \| There is no such function.*grant execute', 'a function that may not be run');
select pg_temp.off('custom_access_token') \g /dev/null

select pg_temp.hook('before_user_created', 'return ''{"error": {"http_code": 418, "message": "not here"}}''; ') \g /dev/null
select postern.prepare_user(email => 'b@example.com', caller => pg_temp.caller('h12')) \g /dev/null
select is(pg_temp.explained('h12', 'point, outcome, message'), 'before_user_created | refused | not here', 'before_user_created refuses');
select pg_temp.hook('before_user_created', 'raise exception ''broken''; ') \g /dev/null
select postern.prepare_user(email => 'b@example.com', caller => pg_temp.caller('h13')) \g /dev/null
select is(pg_temp.explained('h13', 'point, outcome, message'), 'before_user_created | failed | broken', 'and raises');
select pg_temp.off('before_user_created') \g /dev/null
select pg_temp.hook('after_user_created', 'raise exception ''broken''; ') \g /dev/null
select postern.run_after_user_created(:'ada', pg_temp.caller('h14')) \g /dev/null
select is(pg_temp.explained('h14', 'point, outcome, message, user_id'), 'after_user_created | failed | broken | ' || :'ada', 'after_user_created');
select pg_temp.hook('password_verification_attempt', 'return ''{"decision": 1}''; ') \g /dev/null
select pg_temp.sign_in('h15') \g /dev/null
select is(pg_temp.explained('h15', 'point, outcome, message, user_id'),
    'password_verification_attempt | output | Error unmarshaling JSON output. | ' || :'ada', 'password_verification_attempt: no decision');
select pg_temp.hook('password_verification_attempt', 'return ''{"decision": "reject"}''; ') \g /dev/null
select pg_temp.sign_in('h16') \g /dev/null
select is(pg_temp.explained('h16'), null, 'a decision is no failure');
select pg_temp.off('password_verification_attempt') \g /dev/null

-- What is kept

select postern.record_hook_run(json_build_object('point', 'send_sms', 'target', 'https://hooks.example.com/x', 'outcome', 'status', 'ms', 1e30,
    'message', repeat('m', 5000)), postern.caller(request_id => repeat('r', 300), user_id => :'ada')) \g /dev/null
select is(pg_temp.explained(repeat('r', 300), 'length(message), ms, user_id, target'), '4000 | 999999999.000 | ' || :'ada' || ' | https://hooks.example.com/x',
    'long texts are cut, a long request id is found');
select pg_temp.runs() as before \gset
set local client_min_messages = error;
select is(postern.record_hook_run('{"point": "send_sms", "outcome": "ok", "ms": "x"}', null) ->> 'error', null, 'what cannot be recorded is no error');
set local client_min_messages = warning;
select is(pg_temp.runs(), :before::bigint, 'and leaves no row');
select matches(pg_temp.value($$ select string_agg(postern._hook_advice(o, 'https://x'), ' ') from unnest(array['timeout', 'unreachable', 'unavailable',
    'status', 'content_type', 'too_large', 'signature', 'cancelled', 'uri', 'failed']) o where postern._hook_advice(o, 'https://x') is not null having count(*) = 10 $$),
    '5 seconds', 'every outcome has its advice');
select matches(pg_temp.value($$ select string_agg(postern._database_advice(s, 'failed', 'f()'), ' ') from unnest(array['40P01', '55P03', '42883', '23505', '22P02',
    'PT402', '42703']) s $$), 'lock_timeout.*search_path.*on conflict.*null there.*on purpose.*in the context', 'so has every error');
select is(pg_temp.value($$ select postern._database_advice('XX000', 'failed', null) $$),
    'No function of yours was running: if no constraint of yours is named, please report it.', 'even one of ours');

-- Retention

select pg_temp.run('update auth.hook_runs set created_at = now() - interval ''167 hours''') \g /dev/null
select is(postern.cleanup() #>> '{body,deleted,hook_runs}', '0', 'a week they stay');
select pg_temp.run('update auth.hook_runs set created_at = now() - interval ''169 hours''') \g /dev/null
select is(postern.cleanup(2) #>> '{body,deleted,hook_runs}', '2', 'then they go, in batches');
select pg_temp.set('hook_runs_retention = ''30 days''') \g /dev/null
select is(postern.cleanup() #>> '{body,deleted,hook_runs}', '0', 'as long as the setting says');

reset session authorization;
select throws_ok('update auth.settings set hook_runs_slow_ms = -1', '23514', null, 'no negative threshold');
select throws_ok('update auth.settings set hook_runs_retention = ''0''', '23514', null, 'nor a retention of nothing');
select * from finish();
rollback;
