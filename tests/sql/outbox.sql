-- The outbox: claims and their end, what becomes of secrets, and the owner's functions.
begin;
select plan(27);
\ir support.psql
select pg_temp.run($$
    insert into auth.outbox (id, channel, kind, recipient, sealed, next_attempt_at, expires_at) values
        ('00000000-0000-4000-8000-000000000001', 'email', 'recovery', 'one@example.com', 's', now() - interval '3 s', now() + interval '1 h'),
        ('00000000-0000-4000-8000-000000000002', 'email', 'recovery', 'two@example.com', 's', now() - interval '2 s', now() + interval '1 h'),
        ('00000000-0000-4000-8000-000000000003', 'email', 'recovery', 'late@example.com', 's', now() - interval '4 s', now()),
        ('00000000-0000-4000-8000-000000000004', 'email', 'recovery', 'not yet@example.com', 's', now() + interval '1 s', now() + interval '1 h'),
        ('00000000-0000-4000-8000-000000000005', 'email', 'password_changed_notification', 'note@example.com', null, now() - interval '1 s', now() + interval '1 h')$$)
    \g /dev/null
update auth.outbox set payload = '{"email": "late@example.com", "before": {}}' where recipient = 'late@example.com';
create function pg_temp.mail(n integer) returns text language sql as $$
    select pg_temp.value(format('select concat_ws('' '', state, attempts, sealed is not null, leased_by, last_reply) from auth.outbox where id = %L',
        '00000000-0000-4000-8000-00000000000' || n))
$$;
create function pg_temp.id(n integer) returns uuid language sql as $$ select ('00000000-0000-4000-8000-00000000000' || n)::uuid $$;
create function pg_temp.claim(worker text, row_limit integer) returns text language sql as $$
    select coalesce(string_agg(right(r ->> 'id', 1), ' ' order by r ->> 'id'), '')
    from json_array_elements(postern.claim_outbox(worker, row_limit, 60) -> 'body') r
$$;
set local role postern_gateway;

select is(pg_temp.claim('a', 1), '1', 'who is due first is claimed first');
select is(pg_temp.mail(3), 'expired 0 f', 'what is too late expires, and its secret goes');
select is(pg_temp.value('select payload from auth.outbox where state = ''expired'''), '{"email": "late@example.com"}', 'with what was to be restored');
select is(pg_temp.claim('b', 20), '2 5', 'what somebody has, and what is not due, is left alone');
select is(pg_temp.claim('b', 20), '', 'there is nothing left');
select is(pg_temp.mail(1), 'queued 1 t a', 'a claim begins an attempt and names the worker');
select is(postern.record_delivery(pg_temp.id(1), 'b', 'sent') #>> '{body,recorded}', 'false', 'only who has it may report');
select is(postern.record_delivery(pg_temp.id(1), 'a', 'retry', '451 later') #>> '{body,recorded}', 'true', 'the worker may');
select is(pg_temp.mail(1), 'queued 1 t 451 later', 'it waits, with the relay''s words');
select is(pg_temp.value('select next_attempt_at - now() between ''5 s'' and ''6 s'' from auth.outbox where id = ' || quote_literal(pg_temp.id(1))),
    'true', 'for five seconds and a bit');
select is(postern.record_delivery(pg_temp.id(2), 'b', 'resting', 'relay down') #>> '{body,recorded}', 'true', 'no relay could be asked');
select is(pg_temp.mail(2), 'queued 0 t relay down', 'which costs no attempt');
select is(postern.record_delivery(pg_temp.id(5), 'b', 'released') #>> '{body,recorded}', 'true', 'it was not begun');
select is(pg_temp.claim('c', 20), '5', 'and is free at once');
select is(pg_temp.mail(5), 'queued 1 f c', 'as if nobody had had it');
select is(postern.record_delivery(pg_temp.id(5), 'c', 'refused', '550 no') #>> '{body,recorded}', 'true', 'refused for good');
select is(pg_temp.mail(5), 'dead 1 f 550 no', 'it is given up');
select pg_temp.run('update auth.outbox set attempts = 11, next_attempt_at = now() where recipient = ''one@example.com''') \g /dev/null
select is(pg_temp.claim('c', 20), '1', 'the twelfth attempt');
select is(postern.record_delivery(pg_temp.id(1), 'c', 'retry', '451 later') #>> '{body,recorded}', 'true', 'fails as well');
select is(pg_temp.mail(1), 'dead 12 f 451 later', 'it is given up, and its secret goes');

reset role;
select quote_ident(pg_get_userbyid(nspowner)) as owner from pg_namespace where nspname = 'postern' \gset
set local role :owner;
select is(postern.retry_outbox(pg_temp.id(1))::text, '{"retried" : 0, "lost" : 1, "reason" : "it was given up, and its code and link were removed then (451 later): whoever waits for it has to ask for a new one"}', 'a code that was given up does not come back, and why');
select is(postern.retry_outbox(pg_temp.id(n)) ->> 'reason', reason, reason)
from (values (3, 'it expired before it could be sent: whoever waits for it has to ask for a new one'), (2, null), (9, 'there is none of that id')) v (n, reason);
select is(postern.retry_outbox()::text, '{"retried" : 3, "lost" : 1, "reason" : null}', 'what waits is due now, a notification that was given up as well');
select is((select string_agg(concat(right(r ->> 'id', 1), r ->> 'state'), ' ' order by r ->> 'id') from json_array_elements(postern.list_outbox(state => 'dead')) r),
    '1dead', 'one is listed as dead');
select is(concat(postern.drop_outbox(pg_temp.id(1)), postern.drop_outbox(pg_temp.id(1))), 'tf', 'dropped once');
reset role;

select * from finish();
rollback;
