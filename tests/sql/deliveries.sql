-- What the gateway that asked delivers itself: mail by a hook and SMS, handed to it, sent by a function, taken back
-- (contract mfa-hooks.md 3.4 to 3.8; DESIGN 9). That nothing is left of what is taken back, tests/http shows.
begin;
select plan(37);
\ir support.psql
select pg_temp.set('jwt_aud = ''authenticated'', jwt_default_group_name = ''authenticated'', rate_limit_email_sent = ''1000'',
    rate_limit_sms_sent = ''1000'', external_phone_enabled = true, mailer_autoconfirm = false, smtp_max_frequency = ''0'',
    sms_max_frequency = ''0'', mailer_notifications_password_changed_enabled = true') \g /dev/null
select pg_temp.account('ada@example.com') as ada \gset

create schema app;
grant usage on schema app to supabase_auth_admin;
create table app.seen (event jsonb);
grant all on app.seen to public;
-- sending() has the function app.send, which notes what it is told and then does as the body says, send what goes by a channel.
create function pg_temp.sending(channel text, body text) returns void language plpgsql security definer as $$
begin
    execute format('create or replace function app.send(event jsonb) returns jsonb language plpgsql as %L',
        'begin insert into app.seen values (event); ' || body || ' return null; end');
    execute 'grant execute on function app.send to supabase_auth_admin';
    perform pg_temp.set(format(
        'hook_send_%1$s_enabled = true, hook_send_%1$s_uri = %2$L', channel, 'pg-functions://postgres/app/send'));
end
$$;
create function pg_temp.minted(name text) returns postern.envelope language sql as $$
    select postern.envelope(outbox_id => md5(name)::uuid, code_hmac => sha256(convert_to(name, 'UTF8')), link_digest => name,
        sealed => '\x00', redirect_to => 'https://app.example.com')
$$;
create function pg_temp.mailed(email text, name text) returns json language sql as $$
    select postern.request_magic_link(mailed.email, envelope => pg_temp.minted(name), caller => postern.caller(request_id => 'r1')) -> 'delivery'
$$;
create function pg_temp.row_of(name text) returns text language sql as $$
    select pg_temp.value(format('select concat_ws('' '', channel, kind, recipient, state, attempts, leased_by = id::text, sealed is not null)
        from auth.outbox where id = %L', md5(name)::uuid))
$$;
create function pg_temp.sent(name text, input json default '{"email_data": {"token": "123456"}}') returns json language sql as $$
    select postern.send_by_hook(md5(name)::uuid, md5(name)::uuid::text, input)
$$;
create function pg_temp.seen() returns bigint language sql as $$
    select pg_temp.value('select count(*) from app.seen')::bigint
$$;
set local session authorization postern_gateway;

-- Who sends

select is(pg_temp.mailed('ada@example.com', 'a0') ->> 'id', null, 'a relay''s mail is a worker''s');
select is(pg_temp.row_of('a0'), 'email magic_link ada@example.com queued 0 t', 'nobody has it');
select pg_temp.sending('email', '') \g /dev/null
select pg_temp.mailed('ada@example.com', 'a1')::jsonb as mail \gset
select is(pg_temp.row_of('a1'), 'email magic_link ada@example.com queued 1 t t', 'a hook''s is leased to the gateway that asked');
select is(:'mail'::jsonb - 'user' - 'payload', jsonb_build_object('id', md5('a1')::uuid, 'channel', 'email', 'kind', 'magic_link',
    'recipient', 'ada@example.com', 'sealed', 'AA==', 'request_id', 'r1', 'hook', 'pg-functions://postgres/app/send'), 'which is told all about it');
select is(:'mail'::jsonb #>> '{user,id}', :'ada', 'and the account');
select is(:'mail'::jsonb #> '{payload,before}', null, 'but not what can be restored');
select isnt(pg_temp.value('select payload #> ''{before,user}'' from auth.outbox where leased_by is not null'), null, 'which the row keeps');
select pg_temp.set('hook_send_email_uri = ''''') \g /dev/null
select is(pg_temp.mailed('ada@example.com', 'a2') ->> 'hook', '', 'a hook without an address is not taken for none');
select pg_temp.set('hook_send_email_uri = ''https://hooks.example.com/x''') \g /dev/null
select is(pg_temp.mailed('ada@example.com', 'a3') ->> 'hook', 'https://hooks.example.com/x', 'a hook behind HTTP');
select is(pg_temp.refused(pg_temp.sent('a3')),
    '500 unexpected_failure: Error running hook URI: https://hooks.example.com/x', 'is not called from here');

-- A function sends

select pg_temp.sending('email', '') \g /dev/null
select is(pg_temp.sent('a1', '{"email_data": {"token": "654321"}}')::jsonb - 'v', '{}', 'it is handed over');
select is(pg_temp.value('select event from app.seen'), '{"email_data": {"token": "654321"}}', 'the function is told what the gateway says');
select is(pg_temp.row_of('a1'), 'email magic_link ada@example.com sent 1 f', 'and it is noted as sent, without its secret');
select is(pg_temp.value('select payload ? ''before'' from auth.outbox where state = ''sent'''), 'false', 'nor what could be restored');
select is(pg_temp.refused(pg_temp.sent('a1')), '409 conflict: The message is no longer this gateway''s to hand over', 'once');
select is(pg_temp.refused(pg_temp.sent('none')), '409 conflict: The message is no longer this gateway''s to hand over', 'what is not there');
select pg_temp.mailed('ada@example.com', 'b1') \g /dev/null
select is(pg_temp.refused(postern.send_by_hook(md5('b1')::uuid, 'another', '{}')),
    '409 conflict: The message is no longer this gateway''s to hand over', 'what somebody else has');
select is(pg_temp.seen(), 1::bigint, 'the function is told nothing of them');
select pg_temp.sending('email', 'return ''{"error": {"http_code": 418, "message": "not here"}}'';') \g /dev/null
select is(pg_temp.refused(pg_temp.sent('b1')), '418 unknown: not here', 'it refuses');
select pg_temp.sending('email', 'raise exception ''broken'';') \g /dev/null
select is(pg_temp.sent('b1') #>> '{error,database,message}', 'broken', 'it raises');
select pg_temp.sending('email', 'execute format(''select %s / 0'', event #>> ''{email_data,token}'');') \g /dev/null
select pg_temp.sent('b1', '{"email_data": {"token": "987654"}}') as answer \gset
select matches(:'answer'::json #>> '{error,cause}', 'division by zero.*\*\*\* / 0', 'it fails at a statement with the code in it');
select is(strpos(:'answer' || pg_temp.value('select string_agg(h::text, '''') from auth.hook_runs h'), '987654'), 0, 'which neither log nor record has');
select pg_temp.sending('email', 'return ''[]''::jsonb;') \g /dev/null
select is(pg_temp.refused(pg_temp.sent('b1')), '500 unexpected_failure: Error unmarshaling JSON output.', 'it answers no object');
select is(pg_temp.seen(), 1::bigint, 'what it wrote is undone');
select is(pg_temp.row_of('b1'), 'email magic_link ada@example.com queued 1 t t', 'the mail waits for what the gateway decides');
select is(postern.take_back(array[md5('b1')::uuid])::jsonb - 'v', '{}', 'it takes it back');
select is(pg_temp.row_of('b1'), null, 'the mail is gone');
select is(pg_temp.value('select count(*) from auth.one_time_tokens where token_hash = ''b1'''), '0', 'and its link');
select is(postern.take_back(array[md5('a1')::uuid])::jsonb - 'v', '{}', 'what is sent');
select is(pg_temp.row_of('a1'), 'email magic_link ada@example.com sent 1 f', 'is not taken back');

-- Workers

select pg_temp.sending('email', '') \g /dev/null
select pg_temp.run('delete from auth.outbox') \g /dev/null
select pg_temp.run(format('select postern._notify(''password_changed_notification'', ''ada@example.com'', %L, ''r2'', null)', :'ada')) \g /dev/null
select is(pg_temp.value('select concat_ws('' '', kind, attempts, leased_by) from auth.outbox'), 'password_changed_notification 0',
    'what only informs waits for a worker');
select postern.claim_outbox('w', 20, 60) #> '{body,0}' as claimed \gset
select is(:'claimed'::jsonb #>> '{user,email}', 'ada@example.com', 'who is told of the account');
select is(:'claimed'::jsonb ->> 'hook', 'pg-functions://postgres/app/send', 'and of the hook');
select is(postern.send_by_hook((:'claimed'::jsonb ->> 'id')::uuid, 'w', '{}')::jsonb - 'v', '{}', 'and hands it over');
select is(pg_temp.value('select concat_ws('' '', state, attempts, leased_by) from auth.outbox'), 'sent 1', 'once');

-- SMS

select is(postern.request_sms('4911', envelope => pg_temp.minted('s1')) #> '{delivery,hook}' #>> '{}', null, 'a provider''s SMS');
select pg_temp.sending('sms', '') \g /dev/null
select is(concat_ws(' ', d ->> 'channel', d ->> 'recipient', d ->> 'hook', d #>> '{user,phone}'), 'sms 4912 pg-functions://postgres/app/send 4912',
    'a hook''s')
  from (select postern.request_sms('4912', envelope => pg_temp.minted('s2')) -> 'delivery' as d) t;

select * from finish();
rollback;
