create or replace function postern.log_out(caller postern.caller, scope text default 'global')
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_refused json := postern._check_user(log_out.caller);
    v_session uuid := (log_out.caller).session_id;
begin
    if v_refused is not null then
        return v_refused;
    end if;

    begin
        if coalesce(log_out.scope, '') not in ('', 'global', 'local', 'others') then
            perform postern._refuse(400, 'validation_failed', format('Unsupported logout scope "%s"', log_out.scope));
        end if;

        perform postern._audit_user('logout', 'account', (log_out.caller).user_id);
        delete from auth.sessions s
        where s.user_id = (log_out.caller).user_id
            and case
                when v_session is null then true
                when log_out.scope = 'local' then s.id = v_session
                when log_out.scope = 'others' then s.id <> v_session
                else true
            end;
        return json_build_object('v', (select g.version from auth.settings g));
    {{ template "handler" "Error logging out user" }}
    end;
end
$$;

comment on function postern.log_out(postern.caller, text) is
'Ends sessions of the caller: global (all), local (this one), others (all but this one); without a session in the token always all (contract core.md 6.8).
Called by: POST /logout.
Refuses: user_not_found, session_not_found, user_banned (403); validation_failed (400) - another scope.';
