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
        concat(
            '{"action":"', _audit.action,
            '","actor_id":"', _audit.actor_id,
            '","actor_username":', to_json(coalesce(_audit.actor_username, '')),
            ',"actor_via_sso":', coalesce(_audit.via_sso, false)::text,
            ',"actor_name":' || to_json(_audit.actor_name)::text,
            ',"log_type":"', _audit.log_type, '"',
            ',"traits":' || _audit.traits::text,
            '}')::json,
        clock_timestamp(),
        _audit.ip_address
    from auth.settings g
    where not g.audit_log_disable_postgres;
end
$$;

comment on function postern._audit(text, text, uuid, text, text, boolean, json, text) is
'Writes an entry of the audit log (contract core.md 14), unless auth.settings switches it off.
Called by: every function that changes an account or a session.
Refuses: never.';

create or replace function postern._audit_user(action text, log_type text, user_id uuid, traits json default null)
returns void
language plpgsql
as $$
begin
    perform postern._audit(
        _audit_user.action, _audit_user.log_type, u.id,
        coalesce(nullif(u.phone, ''), u.email), u.raw_user_meta_data ->> 'full_name', u.is_sso_user,
        _audit_user.traits)
    from auth.users u
    where u.id = _audit_user.user_id;
end
$$;

comment on function postern._audit_user(text, text, uuid, json) is
'Writes an entry of the audit log with a user as the actor.
Called by: functions that act for a user.
Refuses: never.';
