-- postern.admin_list_audit_log (contract admin.md 11).
begin;
select plan(17);
\ir support.psql
create function pg_temp.boss() returns postern.caller language sql as $$ select postern.caller(role => 'service_role') $$;
create function pg_temp.ids(answer json) returns text language sql as $$
    select coalesce((select string_agg(right(e ->> 'id', 1), '' order by n) from json_array_elements(answer -> 'body') with ordinality e (e, n)),
        case when answer -> 'error' is null then '' else pg_temp.refused(answer) end)
$$;
insert into auth.audit_log_entries (instance_id, id, payload, created_at, ip_address)
select '00000000-0000-0000-0000-000000000000', ('00000000-0000-0000-0000-00000000000' || n)::uuid,
       json_build_object('action', case when n % 2 = 0 then 'login' else 'logout' end, 'actor_username',
           'user' || n || '@example.com',
           'actor_name', 'Name ' || n, 'log_type', case when n < 4 then 'account' else 'team' end),
       timestamptz '2030-01-01' + n * interval '1 s', case when n = 1 then '10.0.0.1' else '' end
  from generate_series(1, 5) n;
insert into auth.audit_log_entries (id, payload, created_at) values ('00000000-0000-0000-0000-000000000006',
    null, null);
set local session authorization postern_gateway;

select is(pg_temp.refused(postern.admin_list_audit_log(postern.caller(role => 'anon'))),
    '403 not_admin: User not allowed', 'for administrators');
select is(pg_temp.ids(postern.admin_list_audit_log(pg_temp.boss(), per_page => '5',
    query => 'author:example')),
    '54321', 'newest first');
select postern.admin_list_audit_log(pg_temp.boss(), per_page => '2', page => '3') as answer \gset
select is((:'answer'::jsonb) - '{v,body}'::text[], '{"total": 6, "page": 3, "per_page": 2}'::jsonb,
    'a page, and the total');
select is(postern.admin_list_audit_log(pg_temp.boss(), query => 'author:USER1@') #> '{body,0}' #>> '{}',
    '{"id" : "00000000-0000-0000-0000-000000000001", "payload" : {"action" : "logout", "actor_username" : "user1@example.com", "actor_name" : "Name 1", "log_type" : "account"}, "created_at" : "2030-01-01T00:00:01.000000Z", "ip_address" : "10.0.0.1"}',
    'an entry, its payload as it was written');
select is(pg_temp.ids(postern.admin_list_audit_log(pg_temp.boss(), query => 'author:name 2')), '2',
    'author: the name too, in any case');
select is(pg_temp.ids(postern.admin_list_audit_log(pg_temp.boss(), query => 'action:logi')), '42', 'action');
select is(pg_temp.ids(postern.admin_list_audit_log(pg_temp.boss(), query => 'type:TEAM')), '54', 'type');
select is(pg_temp.ids(postern.admin_list_audit_log(pg_temp.boss(), query => 'type:')), '54321',
    'an empty pattern is any');
select is(pg_temp.ids(postern.admin_list_audit_log(pg_temp.boss(), query => 'author:a:b')), '',
    'a colon in the pattern');
select is(pg_temp.refused(postern.admin_list_audit_log(pg_temp.boss(), query => bad)),
    '400 validation_failed: Invalid query scope: ' || bad, 'bad query: ' || bad)
  from unnest(array['login', 'ip:10', ':x', 'Author:x']) bad;
select is(pg_temp.refused(postern.admin_list_audit_log(pg_temp.boss(), page => 'x')),
    '400 validation_failed: Bad Pagination Parameters: strconv.ParseUint: parsing "x": invalid syntax',
    'bad page');
select is(pg_temp.refused(postern.admin_list_audit_log(pg_temp.boss(), per_page => '0')),
    '400 validation_failed: Bad Pagination Parameters: per_page must be greater than 0', 'no page size');
select is(postern.admin_list_audit_log(pg_temp.boss(), page => '999999999999999999',
    per_page => '999999999999999999') ->> 'body',
    '[]', 'far past the end');
select is(postern.admin_list_audit_log(pg_temp.boss(), query => '') ->> 'total', '6',
    'an empty query is none');

reset session authorization;
select * from finish();
rollback;
