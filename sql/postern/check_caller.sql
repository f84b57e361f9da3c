create or replace function postern.check_caller(caller postern.caller, is_administration boolean default false)
returns json
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return coalesce(
        case when is_administration
            then postern._check_admin(check_caller.caller) else postern._check_user(check_caller.caller) end,
        json_build_object('v', (select g.version from auth.settings g)));
end
$$;

comment on function postern.check_caller(postern.caller, boolean) is
'Whether who presents a verified token may have an answer at all: as a user, or as an administrator. Nothing else is said.
Called by: the gateway, before it answers a guarded request without any other function (404, 405, a body that is no JSON), and for roles that its copy of the settings does not list.
Refuses: user_not_found, session_not_found (403); user_banned (403) to users; session_expired, not_admin (403) to administrators.';
