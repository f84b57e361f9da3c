create or replace function postern.prepare_user(
    email text default null,
    phone text default null,
    data jsonb default null,
    caller postern.caller default null,
    is_invited boolean default false)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_settings auth.settings not null := (select g from auth.settings g);
    v_audience text;
    v_email text;
    v_phone text;
    v_provider text;
    v_user_id uuid := gen_random_uuid();
    v_user json;
    v_refused json;
begin
    if is_invited then
        v_refused := postern._check_admin(prepare_user.caller);
        if v_refused is not null then
            return v_refused;
        end if;
    end if;

    v_audience := coalesce(nullif((prepare_user.caller).audience, ''), v_settings.jwt_aud);

    begin
        v_provider := case
            when coalesce(prepare_user.email, '') <> '' then 'email' when coalesce(prepare_user.phone, '') <> '' then 'phone' end;
        -- What will be refused anyway, or is no new account, is not asked about.
        if not is_invited and (v_settings.disable_signup
            or v_provider is null and not v_settings.external_anonymous_users_enabled
            or v_provider = 'email' and (not v_settings.external_email_enabled or coalesce(prepare_user.phone, '') <> '')
            or v_provider = 'phone' and not v_settings.external_phone_enabled)
        then
            return json_build_object('v', v_settings.version);
        elsif v_provider = 'email' or is_invited then
            v_email := postern._email(prepare_user.email);
        elsif v_provider = 'phone' then
            v_phone := postern._phone(prepare_user.phone);
        end if;
        if v_provider is not null and (postern._find_user(v_email, v_phone, v_audience)).id is not null then
            return json_build_object('v', v_settings.version);
        elsif v_provider = 'email' and not is_invited then
            perform postern._check_disposable(v_email);
        end if;

        v_user := json_build_object(
            'id', v_user_id, 'aud', v_audience, 'role', '', 'email', coalesce(v_email, ''), 'phone', coalesce(v_phone, ''),
            'app_metadata', case when v_provider is null then json_build_object()
                else json_build_object('provider', v_provider, 'providers', json_build_array(v_provider)) end,
            'user_metadata', coalesce(data, '{}'), 'identities', json_build_array(),
            'created_at', '0001-01-01T00:00:00Z', 'updated_at', '0001-01-01T00:00:00Z', 'is_anonymous', v_provider is null);
        if v_settings.hook_before_user_created_uri like 'pg-functions:%' then
            v_refused := postern._hook_refusal(
                postern._call_sql_hook('before_user_created', v_settings.hook_before_user_created_uri, json_build_object(
                    'metadata', postern._hook_metadata('before-user-created', (prepare_user.caller).ip), 'user', v_user),
                    prepare_user.caller));
            return coalesce(v_refused, json_build_object('v', v_settings.version, 'user_id', v_user_id));
        end if;
        return json_build_object('v', v_settings.version, 'user_id', v_user_id,
            'user', v_user, 'uri', v_settings.hook_before_user_created_uri);
    {{ template "handler" "Database error saving new user" }}
    end;
end
$$;

comment on function postern.prepare_user(text, text, jsonb, postern.caller, boolean) is
'Chooses the id of the account that a request would create, and asks the before_user_created hook about it where that is a database function; what it wrote stays. Where it is behind HTTP, the answer says whom to ask (uri) and about what (user). No id when the request would create no account (contract mfa-hooks.md 3.6). is_invited: an administrator has it created, whether or not people may sign up.
Called by: the gateway where the hook is enabled, before the statement that creates the account.
Refuses: what _check_admin refuses (403) - is_invited; validation_failed, email_address_invalid (400) - an address or number that is none, or not to be used; what the hook refuses.';

create or replace function postern._check_prepared(settings auth.settings, new_user_id uuid)
returns void
language plpgsql
as $$
begin
    if settings.hook_before_user_created_enabled and new_user_id is null then
        perform postern._refuse(503, 'unexpected_failure', 'Please try again', 'the before_user_created hook was not asked', 1);
    end if;
end
$$;

comment on function postern._check_prepared(auth.settings, uuid) is
'Makes sure that no account gets past the before_user_created hook, when the hook was enabled, or the account deleted, after the gateway''s look.
Called by: functions that create accounts for those who ask for one.
Refuses: unexpected_failure (503) - nobody asked the hook.';

create or replace function postern._hook_metadata(name text, ip inet)
returns json
language plpgsql
as $$
begin
    return json_strip_nulls(json_build_object(
        'uuid', gen_random_uuid(), 'time', postern._utc(clock_timestamp()), 'name', name, 'ip_address', host(ip)));
end
$$;

comment on function postern._hook_metadata(text, inet) is
'The member metadata of every hook''s input (contract mfa-hooks.md 3.6).
Called by: functions that run a SQL hook.
Refuses: never.';

create or replace function postern.run_after_user_created(user_id uuid, caller postern.caller default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_version bigint;
    v_uri text;
    v_user json;
    v_refused json;
begin
    select g.version, g.hook_after_user_created_uri into strict v_version, v_uri from auth.settings g;
    v_user := postern._user_json(run_after_user_created.user_id);
    if v_uri not like 'pg-functions:%' then
        return json_build_object('v', v_version, 'user', v_user, 'uri', v_uri);
    end if;
    begin
        v_refused := postern._hook_refusal(postern._call_sql_hook('after_user_created', v_uri, json_build_object(
            'metadata', postern._hook_metadata('after-user-created', (run_after_user_created.caller).ip),
            'user', v_user), run_after_user_created.caller, run_after_user_created.user_id));
        return coalesce(v_refused, json_build_object('v', v_version));
    {{ template "handler" "Error invoking hook" }}
    end;
end
$$;

comment on function postern.run_after_user_created(uuid, postern.caller) is
'Tells the after_user_created hook of a new account where that is a database function. Where it is behind HTTP, the answer says whom to tell (uri) and what (user).
Called by: the gateway where the hook is enabled, after the statement that created the account.
Refuses: what the hook refuses; the account stays.';

create or replace function postern._ask_attempt_hook(
    point text,
    uri text,
    input json,
    output text,
    user_id uuid,
    caller postern.caller)
returns json
language plpgsql
as $$
declare
    v_output jsonb;
    v_refused json;
begin
    begin
        if uri like 'pg-functions:%' then
            v_output := postern._call_sql_hook(point, uri, input, caller, user_id);
        elsif output is null then
            -- Only when the settings changed between the gateway's look and this statement.
            perform postern._refuse(503, 'unexpected_failure', 'Please try again', format('the %s hook was not asked', point), 1);
        else
            v_output := postern._hook_output(output);
        end if;
    {{ template "handler" "Error invoking hook" }}
    end;

    -- From here on nothing is undone: what the hook wrote stays.
    v_refused := postern._hook_refusal(v_output);
    if v_refused is not null then
        return v_refused;
    elsif coalesce(jsonb_typeof(v_output -> 'decision'), 'null') not in ('string', 'null')
        or coalesce(jsonb_typeof(v_output -> 'message'), 'null') not in ('string', 'null')
        or coalesce(jsonb_typeof(v_output -> 'should_logout_user'), 'null') not in ('boolean', 'null')
    then
        perform postern._record_run(json_build_object(
            'point', point, 'target', uri, 'outcome', 'output', 'user_id', user_id,
            'message', 'Error unmarshaling JSON output.'), caller);
        return postern._error(500, 'unexpected_failure', 'Error unmarshaling JSON output.');
    end if;
    return json_build_object(
        'is_rejected', v_output ->> 'decision' is not distinct from 'reject',
        'message', nullif(v_output ->> 'message', ''),
        'ends_sessions', coalesce((v_output ->> 'should_logout_user')::boolean, false));
end
$$;

comment on function postern._ask_attempt_hook(text, text, json, text, uuid, postern.caller) is
'What a hook says of an attempt to prove a password or a second factor: is_rejected, message and ends_sessions, or a refusal (contract mfa-hooks.md 3.6). A database function is asked here; output is what a hook behind HTTP answered.
Called by: postern._ask_password_hook, postern._ask_factor_hook.
Refuses: what the hook refuses; unexpected_failure (500) - an answer of another shape; unexpected_failure (503) - nobody asked the hook.';

create or replace function postern._ask_password_hook(user_id uuid, is_valid boolean, output text, caller postern.caller)
returns json
language plpgsql
as $$
declare
    v_uri text;
    v_answer json;
begin
    select g.hook_password_verification_attempt_uri into strict v_uri from auth.settings g;
    v_answer := postern._ask_attempt_hook('password_verification_attempt', v_uri, json_build_object(
        'metadata', postern._hook_metadata('password-verification', (_ask_password_hook.caller).ip),
        'user_id', _ask_password_hook.user_id, 'valid', is_valid), output, _ask_password_hook.user_id, caller);
    if v_answer -> 'error' is not null then
        return v_answer;
    elsif not (v_answer ->> 'is_rejected')::boolean then
        return null;
    elsif (v_answer ->> 'ends_sessions')::boolean then
        delete from auth.sessions s where s.user_id = _ask_password_hook.user_id;
    end if;
    return postern._error(400, 'invalid_credentials', coalesce(
        v_answer ->> 'message', 'Further password verification attempts will be rejected.'));
end
$$;

comment on function postern._ask_password_hook(uuid, boolean, text, postern.caller) is
'Null when the password_verification_attempt hook lets a sign-in go on, else the refusal, after which the user''s sessions may be gone (contract mfa-hooks.md 3.6).
Called by: postern.sign_in_with_password, where the hook is enabled.
Refuses: invalid_credentials (400) - rejected; as postern._ask_attempt_hook.';

create or replace function postern.check_custom_claims(output text, caller postern.caller default null)
returns json
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return json_build_object(
        'v', (select g.version from auth.settings g),
        'claims', postern._claims_of(postern._hook_output(output)));
{{ template "handler" "Error unmarshaling JSON output." }}
end
$$;

comment on function postern.check_custom_claims(text, postern.caller) is
'The claims that a custom_access_token hook behind HTTP answered, if they can be signed (contract mfa-hooks.md 3.7); output null when it answered nothing.
Called by: the gateway, with every answer of such a hook.
Refuses: unexpected_failure (500) - missing, or not of the required shape.';

create or replace function postern.end_session(session_id uuid)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
begin
    delete from auth.sessions s where s.id = end_session.session_id;
    return json_build_object('v', (select g.version from auth.settings g));
end
$$;

comment on function postern.end_session(uuid) is
'Ends a session that a request has just opened and cannot hand out, because a custom_access_token hook behind HTTP failed (DESIGN 10).
Called by: the gateway.
Refuses: never.';
