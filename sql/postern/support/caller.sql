{{- /* That u, a row of auth.users, is no account of another instance. Not by "=": before the first analyze of a young table the
planner would find the row by the index on instance_id, in which all rows are the same, as readily as by the key. */ -}}
{{- define "of this instance" }}u.instance_id is not distinct from '00000000-0000-0000-0000-000000000000'{{ end -}}

create or replace function postern.caller(
    ip inet default null,
    user_agent text default null,
    audience text default null,
    limiter_key text default null,
    request_id text default null,
    user_id uuid default null,
    session_id uuid default null,
    role text default null)
returns postern.caller
language sql immutable
as $$
    select row(ip, user_agent, audience, limiter_key, request_id, user_id, session_id, role)::postern.caller
$$;

comment on function postern.caller(inet, text, text, text, text, uuid, uuid, text) is
'What is known about who calls: client address, user agent, requested audience, key for per-client limits (null = no limit), request id, and the verified claims sub, session_id and role of the bearer token.
Called by: the gateway and psql, to make the argument caller of the other functions.
Refuses: never.';

create or replace function postern._check_user(caller postern.caller)
returns json
language plpgsql stable
as $$
declare
    v_found record;
begin
    select u.banned_until, s.id as session_id
    into v_found
    from auth.users u
    left join auth.sessions s on s.id = (_check_user.caller).session_id
    where u.id = (_check_user.caller).user_id
        and {{ template "of this instance" }};

    if not found then
        return postern._error(403, 'user_not_found', 'User from sub claim in JWT does not exist');
    elsif (_check_user.caller).session_id is not null and v_found.session_id is null then
        return postern._error(403, 'session_not_found', 'Session from session_id claim in JWT does not exist');
    elsif v_found.banned_until > now() then
        return postern._error(403, 'user_banned', 'User is banned');
    end if;
    return null;
end
$$;

comment on function postern._check_user(postern.caller) is
'Null when the user and the session of a verified token exist and the user is not banned (contract core.md 1.8), else the refusal.
Called by: functions for signed-in users.
Refuses: user_not_found, session_not_found, user_banned (403).';

create or replace function postern._check_admin(caller postern.caller)
returns json
language plpgsql stable
as $$
declare
    v_settings auth.settings not null := (select g from auth.settings g);
    v_found record;
begin
    if (_check_admin.caller).session_id is not null then
        select u.id as user_id, s.id as session_id,
            postern._session_problem(v_settings, s.not_after, s.created_at, s.refreshed_at, s.aal, u.id) as problem
        into v_found
        from auth.users u
        left join auth.sessions s on s.id = (_check_admin.caller).session_id
        where u.id = (_check_admin.caller).user_id
            and {{ template "of this instance" }};
        if v_found.user_id is null then
            return postern._error(403, 'user_not_found', 'User from sub claim in JWT does not exist');
        elsif v_found.session_id is null then
            return postern._error(403, 'session_not_found', 'Session from session_id claim in JWT does not exist');
        elsif v_found.problem is not null then
            return postern._error(403, 'session_expired', 'Session is no longer valid');
        end if;
    end if;

    if (_check_admin.caller).role is null or (_check_admin.caller).role <> all (v_settings.jwt_admin_roles) then
        return postern._error(403, 'not_admin', 'User not allowed');
    end if;
    return null;
end
$$;

comment on function postern._check_admin(postern.caller) is
'Null when the role of a verified token is one of auth.settings.jwt_admin_roles and its session, if it has one, is still valid (contract admin.md 1), else the refusal.
Called by: the admin_ functions.
Refuses: user_not_found, session_not_found, session_expired, not_admin (403).';
