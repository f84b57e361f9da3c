-- What users' triggers on the tables of auth see (contract schema.md 8), and what becomes of their errors (DESIGN 6).
begin;
select plan(82);
\ir support.psql
select pg_temp.set('jwt_aud = ''authenticated'', jwt_default_group_name = ''authenticated'', mailer_autoconfirm = true, '
    || 'external_anonymous_users_enabled = true') \g /dev/null

create table public.events (id bigint generated always as identity, event text, path text, role text, uid uuid);
create function public.note_event() returns trigger language plpgsql security definer as $$
begin
    insert into public.events (event, path, uid)
    values (tg_table_name || ' ' || left(tg_op, 1), current_setting('search_path'), auth.uid());
    return coalesce(new, old);
end
$$;
do $$
declare
    v_table text;
begin
    foreach v_table in array array['users', 'identities', 'sessions', 'refresh_tokens', 'mfa_amr_claims'] loop
        execute format('create trigger note_event before insert or update or delete on auth.%I
            for each row execute function public.note_event()', v_table);
    end loop;
end
$$;
-- events() is what happened since it was asked last.
create function pg_temp.events() returns text language plpgsql security definer as $$
declare
    v_events text;
begin
    select string_agg(event, ', ' order by id) into v_events from public.events;
    delete from public.events;
    return v_events;
end
$$;

set local session authorization postern_gateway;

-- Row events

select postern.sign_up(email => 'ada@example.com', password_hash => pg_temp.hash()) as answer \gset
select :'answer'::jsonb #>> '{user,id}' as ada, :'answer'::jsonb #>> '{session,id}' as session \gset
select is(pg_temp.value('select string_agg(distinct path, ''; '')
        from public.events'), 'auth, pg_temp', 'triggers run with search_path auth');
select is(pg_temp.value('select count(*) from public.events
        where uid is not null')::int, 0, 'and without a signed-in user: auth.uid() is null');
select is(pg_temp.events(), 'users I, identities I, users U, users U, sessions I, refresh_tokens I, mfa_amr_claims I',
    'sign-up, confirmed at once: the account, its identity, metadata, confirmation with sign-in, the session');
select postern.sign_in_with_password(:'ada', 'email', true, pg_temp.digest()) \g /dev/null
select is(pg_temp.events(), 'users U, sessions I, refresh_tokens I, mfa_amr_claims I', 'password sign-in');
select postern.refresh_session(:'session', 0) \g /dev/null
select is(pg_temp.events(), 'sessions U, refresh_tokens U', 'refresh: the account is not touched');
select postern.log_out(postern.caller(user_id => :'ada', session_id => :'session')) \g /dev/null
select matches(pg_temp.events(), '^sessions D', 'log-out deletes the sessions');
select postern.sign_up_anonymously() #>> '{user,id}' as anon \gset
select is(pg_temp.events(), 'users I, users U, sessions I, refresh_tokens I, mfa_amr_claims I', 'anonymous');
select postern.admin_create_user(postern.caller(role => 'service_role'), email => 'new@example.com', email_confirm => true) \g /dev/null
select is(pg_temp.events(), 'users I, identities I, users U', 'admin create: confirmed by an update, never by the insert');
select postern.admin_delete_user(postern.caller(role => 'service_role'), :'anon') \g /dev/null
select matches(pg_temp.events(), '^users D', 'admin delete');
select pg_temp.set('mailer_autoconfirm = false') \g /dev/null
select postern.sign_up(email => 'wait@example.com', password_hash => pg_temp.hash()) \g /dev/null
select is(pg_temp.events(), 'users I, identities I, users U', 'sign-up, confirmation needed');
select pg_temp.set('mailer_autoconfirm = true') \g /dev/null

-- Triggers on columns fire for what was changed, not for what an update could have changed
reset session authorization;
create function public.note_column() returns trigger language plpgsql security definer as $$
begin
    insert into public.events (event) values (tg_argv[0]);
    return new;
end
$$;
do $$
declare
    v_column text;
begin
    foreach v_column in array array['role', 'email', 'phone', 'raw_app_meta_data', 'raw_user_meta_data', 'banned_until'] loop
        execute format('create trigger note_%1$s after update of %1$s on auth.users
            for each row execute function public.note_column(%1$L)', v_column);
    end loop;
end
$$;
set local session authorization postern_gateway;
create function pg_temp.columns(answer json) returns text language sql as $$
    select string_agg(e.event, ', ')
    from unnest(string_to_array(pg_temp.events(), ', ')) e (event)
    where answer ->> 'error' is null and e.event not like '% %'
$$;
create function pg_temp.boss() returns postern.caller language sql as $$ select postern.caller(role => 'service_role') $$;
select is(pg_temp.columns(postern.admin_update_user(pg_temp.boss(), :'ada', email => 'ada@example.net')), 'email', 'an address');
select is(pg_temp.columns(postern.admin_update_user(pg_temp.boss(), :'ada', phone => '4911')), 'phone', 'a number');
select is(pg_temp.columns(postern.admin_update_user(pg_temp.boss(), :'ada', user_metadata => '{"a": 1}')), 'raw_user_meta_data', 'metadata');
select is(pg_temp.columns(postern.admin_update_user(pg_temp.boss(), :'ada', app_metadata => '{"a": 1}')), 'raw_app_meta_data', 'of the application');
select is(pg_temp.columns(postern.admin_update_user(pg_temp.boss(), :'ada', phone_confirm => true)), null, 'a number confirmed');
select is(pg_temp.columns(postern.admin_update_user(pg_temp.boss(), :'ada', role => 'editor', email => 'ada@example.com', email_confirm => true,
    phone => '4912', app_metadata => '{"b": 1}', user_metadata => '{"email_verified": false}', ban => '0')),
    'role, raw_user_meta_data, email, phone, raw_app_meta_data, raw_user_meta_data, banned_until', 'all at once, in the order of the reference');
select is(pg_temp.value(format('select raw_user_meta_data ->> ''email_verified'' from auth.users where id = %L', :'ada')), 'false',
    'so that given metadata has the last word');
select is(pg_temp.columns(postern.admin_create_user(pg_temp.boss(), email => 'plan@example.com', app_metadata => '{"plan": "gold"}')),
    'raw_app_meta_data', 'an account with a plan');
select is(pg_temp.columns(postern.sign_up(email => 'once@example.com', password_hash => pg_temp.hash())),
    'raw_user_meta_data, raw_user_meta_data', 'an account that is confirmed at once');
select pg_temp.set('external_phone_enabled = true, sms_autoconfirm = true') \g /dev/null
select is(pg_temp.columns(postern.sign_up(phone => '491700000001', password_hash => pg_temp.hash())),
    'raw_user_meta_data', 'one by number, which metadata do not tell of');
select pg_temp.set('external_phone_enabled = default, sms_autoconfirm = default') \g /dev/null
select pg_temp.run(format('update auth.users set email_change = ''moved@example.com'' where id = %L', :'ada')) \g /dev/null
select pg_temp.run(format('select postern._apply_email_change(u, null, null) from auth.users u where u.id = %L', :'ada')) \g /dev/null
select is(pg_temp.columns('{}'), 'email', 'a change of address that its owner confirms');
reset session authorization;
do $$
declare
    v_trigger name;
begin
    for v_trigger in select tgname from pg_trigger where tgfoid = 'public.note_column'::regproc loop
        execute format('drop trigger %I on auth.users', v_trigger);
    end loop;
end
$$;
set local session authorization postern_gateway;

-- What the INSERT carries
reset session authorization;
create table public.inserted as select * from auth.users with no data;
create function public.keep_row() returns trigger language plpgsql security definer set search_path = '' as $$
begin
    insert into public.inserted select new.*;
    return new;
end
$$;
create trigger keep_row after insert on auth.users for each row execute function public.keep_row();
set local session authorization postern_gateway;
select postern.sign_up(email => 'row@example.com', password_hash => 'h', data => '{"full_name": "R"}') \g /dev/null
select is(pg_temp.value($$
    select to_jsonb(i) - '{id,created_at,updated_at}'::text[]
      from public.inserted i where created_at = updated_at and created_at is not null $$)::jsonb - 'confirmed_at',
    '{"instance_id": "00000000-0000-0000-0000-000000000000", "aud": "authenticated", "role": "authenticated",
      "email": "row@example.com", "phone": null, "encrypted_password": "h",
      "raw_user_meta_data": {"full_name": "R"},
      "raw_app_meta_data": {"provider": "email", "providers": ["email"]},
      "confirmation_token": "", "recovery_token": "", "email_change_token_new": "",
      "email_change_token_current": "",
      "email_change": "", "phone_change": "", "phone_change_token": "", "reauthentication_token": "",
      "email_change_confirm_status": 0, "is_anonymous": false, "is_sso_user": false,
      "email_confirmed_at": null, "phone_confirmed_at": null, "invited_at": null, "last_sign_in_at": null,
      "is_super_admin": null,
      "confirmation_sent_at": null, "recovery_sent_at": null, "email_change_sent_at": null,
      "phone_change_sent_at": null,
      "reauthentication_sent_at": null, "banned_until": null, "deleted_at": null}'::jsonb,
    'the row of INSERT: the caller''s metadata alone, nothing confirmed, and the role already');
reset session authorization;
drop trigger keep_row on auth.users;
do $$
declare
    v_table text;
begin
    foreach v_table in array array['users', 'identities', 'sessions', 'refresh_tokens', 'mfa_amr_claims'] loop
        execute format('drop trigger note_event on auth.%I', v_table);
    end loop;
end
$$;

-- Triggers that write

create function public.add_claims() returns trigger language plpgsql as $$
begin
    new.raw_app_meta_data := new.raw_app_meta_data || '{"plan": "free"}';
    new.raw_user_meta_data := new.raw_user_meta_data || '{"greeted": true}';
    new.role := 'service_role';
    return new;
end
$$;
create trigger add_claims before insert on auth.users for each row execute function public.add_claims();
set local session authorization postern_gateway;
select postern.sign_up(email => 'claims@example.com', password_hash => 'h') as answer \gset
select is(:'answer'::jsonb #>> '{claims,app_metadata,plan}', 'free', 'what a BEFORE INSERT trigger adds to app_metadata is in the first token');
select is(:'answer'::jsonb #>> '{claims,user_metadata,greeted}', 'true', 'to user_metadata too');
select is(:'answer'::jsonb #>> '{claims,role}', 'service_role', 'and the role that it sets');
select is(postern.admin_create_user(postern.caller(role => 'service_role'), email => 'c2@example.com') #>> '{body,app_metadata,plan}', 'free',
    'admin create keeps it');
reset session authorization;
drop trigger add_claims on auth.users;

-- Triggers that fail

create table public.names (name text not null primary key check (name <> 'bad'), user_id uuid);
create function public.fail_as_told() returns trigger language plpgsql security definer as $$
declare
    v_how text := coalesce(new.raw_user_meta_data ->> 'fail', '');
begin
    case v_how
        when '' then null;
        when 'raise' then raise exception 'no more seats' using detail = 'All 3 are taken.', hint = 'Come back tomorrow.';
        when 'bare' then raise exception 'no';
        when 'not null' then insert into public.names values (null);
        when 'unique' then insert into public.names values ('twice'), ('twice');
        when 'check' then insert into public.names values ('bad');
        when 'missing table' then insert into no_such_table values (1);
        when 'permission' then raise insufficient_privilege using message = 'permission denied for table secrets';
        when 'division' then perform 1 / 0;
        when 'assert' then assert false, 'asserted';
        when 'column' then raise exception 'named' using column = 'my_column';
        else raise exception using errcode = v_how, message = 'with code ' || v_how, detail = 'd', hint = 'h';
    end case;
    return new;
end
$$;
create trigger fail_as_told after insert on auth.users for each row execute function public.fail_as_told();
select pg_temp.forget_audit() \g /dev/null
select count(*) as accounts from auth.users \gset

-- failing() is the error of a sign-up whose trigger fails this way.
create function pg_temp.failing(how text) returns jsonb language sql as $$
    select (postern.sign_up(email => 'fail@example.com', password_hash => 'h', data => jsonb_build_object('fail', how)) -> 'error')::jsonb - 'cause'
$$;
set local session authorization postern_gateway;

select is(pg_temp.failing('raise'), '{"status": 500, "code": "unexpected_failure", "message": "Database error saving new user",
    "database": {"code": "P0001", "message": "no more seats", "detail": "All 3 are taken.", "hint": "Come back tomorrow."}}'::jsonb,
    'raise exception: its message, detail and hint');
select is(pg_temp.failing('bare'), '{"status": 500, "code": "unexpected_failure", "message": "Database error saving new user",
    "database": {"code": "P0001", "message": "no"}}'::jsonb, 'no detail, no hint: none of them');
select is(pg_temp.failing('check') - 'database', '{"status": 500, "code": "unexpected_failure", "message": "Database error saving new user"}'::jsonb,
    'a check of the user''s own table');
select is(pg_temp.failing('check') #>> '{database,code}', '23514', 'by its code');
select is(pg_temp.failing('unique') #>> '{database,code}', '23505', 'a unique violation of the user''s own table is no taken address');
select is(pg_temp.failing('unique') ->> 'message', 'Database error saving new user', 'with the generic message');
select is(pg_temp.failing('not null') #>> '{database,code}', '23502', 'a null where none is allowed');
select is(pg_temp.failing('not null') ->> 'message', 'Database error saving new user', 'with the generic message, not the column''s name');
select is(pg_temp.failing('column') ->> 'message', 'Database error saving new user', 'nor has a trigger that names a column');
select is(pg_temp.failing(state), format('{"status": 500, "code": "unexpected_failure", "message": "Database error saving new user",
    "database": {"code": "%1$s", "message": "with code %1$s", "detail": "d", "hint": "h"}}', state)::jsonb, 'passed through: ' || state)
  from unnest(array['23000', '23001', '23503', '23P01']) state;
select is(pg_temp.failing(state), format('{"status": %2$s, "code": "unexpected_failure", "message": "Database error saving new user",
    "database": {"code": "%1$s", "message": "with code %1$s", "detail": "d", "hint": "h"}}', state, substr(state, 3))::jsonb, 'PTnnn is the status: ' || state)
  from unnest(array['PT418', 'PT402', 'PT503']) state;
select is(pg_temp.failing(how), '{"status": 500, "code": "unexpected_failure", "message": "Database error saving new user"}'::jsonb,
    'not passed through: ' || how)
  from unnest(array['missing table', 'permission', 'division', 'PTABC', 'PT012', '22001', 'P0002', 'HV000', '42P01']) how;
select is(postern.sign_up(email => 'fail@example.com', password_hash => 'h', data => '{"fail": "missing table"}') #>> '{error,cause}' ~ '^42P01: relation "no_such_table" does not exist',
    true, 'but the operator is told');
select is(pg_temp.failing('assert'), '{"status": 500, "code": "unexpected_failure", "message": "Database error saving new user"}'::jsonb,
    'nor is a failed assertion, which "others" leaves out');
-- Whatever may be cured by another try, or is the server's fault, is raised again: the gateway has its own words for it.
select throws_ok(format($$ select pg_temp.failing(%L) $$, state), state, 'with code ' || state,
    'raised again: ' || state)
  from unnest(array['40001', '40P01', '53100', '53300', '55P03', '55000', '57P01', '58030', 'XX000',
      'XX001']) state;

select is(pg_temp.value('select count(*) from auth.users'), :'accounts', 'none of these left an account');
select is(pg_temp.value('select count(*) from auth.identities where email = ''fail@example.com''')::int, 0,
    'or an identity');
select is(pg_temp.audit(), null, 'or an entry in the audit trail');
select isnt(postern.sign_up(email => 'fail@example.com', password_hash => 'h') #>> '{session,id}', null,
    'the address is still free');

select is((postern.sign_up_anonymously(data => '{"fail": "raise"}') -> 'error')::jsonb ->> 'message',
    'Database error creating anonymous user',
    'anonymous: its own generic message');
select is((postern.admin_create_user(postern.caller(role => 'service_role'), email => 'x@example.com',
    user_metadata => '{"fail": "raise"}') -> 'error')::jsonb - 'cause',
    '{"status": 500, "code": "unexpected_failure", "message": "Database error creating new user",
      "database": {"code": "P0001", "message": "no more seats", "detail": "All 3 are taken.", "hint": "Come back tomorrow."}}'::jsonb,
    'admin create');
select throws_ok($$ select pg_temp.account('seed@example.com', '{"fail": "raise"}') $$, 'P0001',
    'no more seats', 'a seed script sees the error itself');

-- A BEFORE trigger that swallows the row
reset session authorization;
create function public.swallow() returns trigger language plpgsql as $$ begin return null; end $$;
create trigger swallow before insert on auth.users for each row execute function public.swallow();
set local session authorization postern_gateway;
select is(postern.sign_up(email => 'gone@example.com', password_hash => 'h') #>> '{error,status}', '500',
    'a trigger that swallows the row is an error, not half an account');
select is(postern.sign_up_anonymously() #>> '{error,status}', '500', 'for an anonymous account too');
reset session authorization;
drop trigger swallow on auth.users;

-- Errors while signing in, refreshing, changing, logging out, deleting
create function public.refuse() returns trigger language plpgsql as $$ begin raise exception 'frozen'; end $$;
create trigger refuse before update on auth.users for each row execute function public.refuse();
set local session authorization postern_gateway;
select is((postern.sign_in_with_password(:'ada', 'email', true,
    pg_temp.digest()) -> 'error')::jsonb - 'cause',
    '{"status": 500, "code": "unexpected_failure", "message": "Database error granting user", "database": {"code": "P0001", "message": "frozen"}}'::jsonb,
    'sign-in');
select is(pg_temp.value(format('select count(*) from auth.sessions where user_id = %L', :'ada'))::int, 0,
    'opens no session then');
select is((postern.admin_update_user(postern.caller(role => 'service_role'), :'ada',
    role => 'x') -> 'error')::jsonb ->> 'message',
    'Error updating user', 'admin update');
select is((postern.update_user(postern.caller(user_id => :'ada'),
    data => '{}') -> 'error')::jsonb -> 'database' ->> 'message',
    'frozen', 'user update');
select is((postern.admin_delete_user(postern.caller(role => 'service_role'), :'ada',
    soft => true) -> 'error')::jsonb ->> 'message',
    'Database error deleting user', 'soft delete');
reset session authorization;
drop trigger refuse on auth.users;
select pg_temp.signed_in(:'ada') as session \gset
create trigger refuse before update or delete on auth.sessions for each row execute function public.refuse();
set local session authorization postern_gateway;
select is((postern.refresh_session(:'session', 0) -> 'error')::jsonb - 'cause',
    '{"status": 500, "code": "unexpected_failure", "message": "Database error refreshing session", "database": {"code": "P0001", "message": "frozen"}}'::jsonb,
    'refresh');
select is(pg_temp.value(format('select counter from auth.refresh_tokens where session_id = %L', :'session')),
    '0', 'which spends no token then');
select is((postern.log_out(postern.caller(user_id => :'ada')) -> 'error')::jsonb ->> 'message',
    'Error logging out user', 'log-out');
reset session authorization;
drop trigger refuse on auth.sessions;

create table public.invoices (user_id uuid references auth.users (id));
insert into public.invoices values (:'ada');
set local session authorization postern_gateway;
select is((postern.admin_delete_user(postern.caller(role => 'service_role'),
    :'ada') -> 'error')::jsonb #>> '{database,code}',
    '23503',
    'an account that a table refers to without an action is not deleted: 23503');
select is(pg_temp.value(format('select count(*) from auth.users where id = %L', :'ada')), '1', 'and stays');
reset session authorization;

select * from finish();
rollback;
