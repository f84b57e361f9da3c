{{- /* The payload of contract core.md 14: a is the actor; action, log_type and traits are arguments or columns. */ -}}
{{- define "audit payload" -}}
format(
            '{"action":"%s","actor_id":"%s","actor_username":%s%s%s%s,"log_type":"%s"%s%s}',
            action,
            a.actor_id,
            to_json(coalesce(a.username, '')),
            case when a.via_sso then ',"actor_via_sso":true' else ',"actor_via_sso":false' end,
            case when a.name is not null then ',"actor_name":' end, to_json(a.name),
            log_type,
            case when traits is not null then ',"traits":' end, traits)::json
{{- end -}}

{{- /* The columns of a for u, a row of auth.users. */ -}}
{{- define "actor columns" -}}
u.id as actor_id, case when u.phone <> '' then u.phone else u.email end as username,
            u.raw_user_meta_data ->> 'full_name' as name, u.is_sso_user as via_sso
{{- end -}}

create or replace function postern._audit(
    action text,
    log_type text,
    actor_id uuid,
    actor_username text,
    actor_name text default null,
    via_sso boolean default false,
    traits json default null,
    ip_address text default '')
returns void
language plpgsql
as $$
begin
    -- clock_timestamp: several entries of one statement keep their order.
    insert into auth.audit_log_entries (instance_id, id, payload, created_at, ip_address)
    select
        '00000000-0000-0000-0000-000000000000',
        gen_random_uuid(),
        {{ template "audit payload" }},
        clock_timestamp(),
        _audit.ip_address
    from auth.settings g
    cross join lateral (
        select _audit.actor_id, _audit.actor_username as username, _audit.actor_name as name, _audit.via_sso) a
    where not g.audit_log_disable_postgres;
end
$$;

comment on function postern._audit(text, text, uuid, text, text, boolean, json, text) is
'Writes an entry of the audit log (contract core.md 14), unless auth.settings switches it off.
Called by: every function that changes an account or a session.
Refuses: never.';

create or replace function postern._audit_user(
    action text,
    log_type text,
    user_id uuid,
    traits json default null,
    ip_address text default '')
returns void
language plpgsql
as $$
begin
    -- One statement of its own: this runs with every sign-in and refresh.
    insert into auth.audit_log_entries (instance_id, id, payload, created_at, ip_address)
    select
        '00000000-0000-0000-0000-000000000000',
        gen_random_uuid(),
        {{ template "audit payload" }},
        clock_timestamp(),
        _audit_user.ip_address
    from auth.users u
    cross join auth.settings g
    cross join lateral (
        select {{ template "actor columns" }}
        offset 0) a
    where u.id = _audit_user.user_id and not g.audit_log_disable_postgres;
end
$$;

comment on function postern._audit_user(text, text, uuid, json, text) is
'Writes an entry of the audit log with a user as the actor.
Called by: functions that act for a user.
Refuses: never.';
