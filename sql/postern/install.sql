-- Helpers first, then one file per capability. Everything is owned by the owner of the auth tables.
do $$
begin
    execute format('set local role %I', (
        select r.rolname
        from pg_catalog.pg_namespace n
        join pg_catalog.pg_roles r on r.oid = n.nspowner
        where n.nspname = 'postern'));
end
$$;
set local check_function_bodies = off;
set local client_min_messages = warning;

{{ template "postern/support/handler.sql" . }}
{{ template "postern/support/refusals.sql" . }}
{{ template "postern/support/hook_runs.sql" . }}
{{ template "postern/support/text.sql" . }}
{{ template "postern/support/caller.sql" . }}
{{ template "postern/support/limits.sql" . }}
{{ template "postern/support/audit.sql" . }}
{{ template "postern/support/user_json.sql" . }}
{{ template "postern/support/accounts.sql" . }}
{{ template "postern/support/sessions.sql" . }}
{{ template "postern/support/hooks.sql" . }}
{{ template "postern/support/tokens.sql" . }}
{{ template "postern/support/one_time_tokens.sql" . }}
{{ template "postern/support/guesses.sql" . }}
{{ template "postern/schema_version.sql" . }}
{{ template "postern/settings.sql" . }}
{{ template "postern/rate_limits.sql" . }}
{{ template "postern/hook_runs.sql" . }}
{{ template "postern/cleanup.sql" . }}
{{ template "postern/outbox.sql" . }}
{{ template "postern/deliveries.sql" . }}
{{ template "postern/mail_requests.sql" . }}
{{ template "postern/user_hooks.sql" . }}
{{ template "postern/phone.sql" . }}
{{ template "postern/verify.sql" . }}
{{ template "postern/sign_up.sql" . }}
{{ template "postern/sign_in.sql" . }}
{{ template "postern/refresh_session.sql" . }}
{{ template "postern/check_caller.sql" . }}
{{ template "postern/users.sql" . }}
{{ template "postern/log_out.sql" . }}
{{ template "postern/factors.sql" . }}
{{ template "postern/admin_list_users.sql" . }}
{{ template "postern/admin_users.sql" . }}
{{ template "postern/admin_links.sql" . }}
{{ template "postern/admin_audit.sql" . }}
{{ template "postern/admin_sso_providers.sql" . }}
{{ template "postern/seeds.sql" . }}
{{ template "postern/policies.sql" . }}
{{ template "postern/hand_back.sql" . }}

-- What is no longer in the package goes, one by one and never with cascade: whoever depends on it is named in the error.
-- Functions of this installation carry its transaction's id.
do $$
declare
    v_function record;
    v_dropped boolean := true;
    v_problem text;
begin
    -- In rounds: an old function may be used by another old one.
    while v_dropped loop
        v_dropped := false;
        v_problem := null;
        for v_function in
            select p.oid::regprocedure as signature
            from pg_catalog.pg_proc p
            where p.pronamespace = 'postern'::regnamespace
                and p.xmin <> pg_catalog.pg_current_xact_id()::xid
        loop
            begin
                execute format('drop routine %s', v_function.signature);
                v_dropped := true;
            exception when dependent_objects_still_exist then
                get stacked diagnostics v_problem = pg_exception_detail;
            end;
        end loop;
    end loop;
    if v_problem is not null then
        raise exception 'functions that are no longer part of Postern are in use'
            using errcode = 'dependent_objects_still_exist', detail = v_problem;
    end if;
end
$$;

-- The gateway may call the public functions, and nobody else anything unless the owner says so.
do $$
declare
    v_function record;
begin
    for v_function in
        select p.oid::regprocedure as signature,
            p.proname like E'\\_%' or p.prorettype = 'trigger'::regtype
                or p.proname in (
                    'impersonate', 'anonymous', 'create_user', 'set_password_hash', 'delete_user',
                    'hand_back_sessions', 'replace_factor_secrets', 'clear_one_time_tokens', 'list_outbox', 'retry_outbox', 'drop_outbox', 'rate_limit_status', 'unblock',
                    'explain_error') as is_private
        from pg_catalog.pg_proc p
        where p.pronamespace = 'postern'::regnamespace
    loop
        execute format('revoke all on function %s from public', v_function.signature);
        -- Default privileges of the owner may have given it to the roles of clients; what an administrator granted to others stays.
        execute format('revoke all on function %s from anon, authenticated, service_role, authenticator', v_function.signature);
        if not v_function.is_private then
            execute format('grant execute on function %s to postern_gateway', v_function.signature);
        end if;
    end loop;
end
$$;
reset role;
