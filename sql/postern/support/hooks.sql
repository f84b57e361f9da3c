create or replace function postern._call_sql_hook(
    point text,
    uri text,
    input json,
    caller postern.caller,
    user_id uuid default null)
returns jsonb
language plpgsql
as $$
declare
    v_parts text[] := regexp_match(uri, '^pg-functions://[^/]*/([a-zA-Z_][a-zA-Z0-9_]{0,62})/([a-zA-Z_][a-zA-Z0-9_]{0,62})$');
    v_hook record;
    v_began timestamptz := clock_timestamp();
    v_output jsonb;
    v_refusal json;
    v_outcome text := 'uri';
    v_ms numeric;
    v_state text;
    v_message text;
    v_detail text;
    v_hint text;
    v_datatype text;
    v_context text;
begin
    select p.oid, p.proargtypes[0] as type, p.prorettype as result, g.hook_runs_slow_ms as slow_ms
    into strict v_hook
    from auth.settings g
    left join (
        select p.*
        from pg_catalog.pg_proc p
        join pg_catalog.pg_namespace n on n.oid = p.pronamespace
        where n.nspname = v_parts[1] and p.proname = v_parts[2] and p.pronargs >= 1
            and p.proargtypes[0] in ('json'::regtype, 'jsonb'::regtype, 'text'::regtype)
            -- Not in pg_temp either: its functions would run with the owner's rights.
            and n.nspname not in ('information_schema', 'auth', 'postern') and n.nspname !~ '^pg_'
            and pg_catalog.has_schema_privilege('supabase_auth_admin', n.oid, 'usage')
            and pg_catalog.has_function_privilege('supabase_auth_admin', p.oid, 'execute')
        limit 1) p on true;

    begin
        if v_hook.oid is null then
            perform postern._refuse(500, 'unexpected_failure', 'Error running hook URI: ' || uri,
                'no function of that name takes one json, jsonb or text argument and may be executed by supabase_auth_admin');
        end if;
        v_outcome := 'failed';
        -- The name comes from the catalog; only the argument's type differs between hooks.
        execute format('select to_jsonb(%I.%I($1::text::%s))', v_parts[1], v_parts[2], v_hook.type::regtype)
        into v_output
        using input::text;

        v_outcome := 'output';
        v_output := postern._hook_output(case
            when v_hook.result = 'text'::regtype and jsonb_typeof(v_output) = 'string' then v_output #>> '{}'
            else v_output::text end);
        v_refusal := postern._hook_refusal(v_output);
        if v_refusal is not null then
            v_outcome := 'refused';
        end if;
        -- Without its claims nothing of a sign-in may stay, nor anything of what is not sent. Of the other points, what the hook wrote does.
        if v_refusal is not null and point in ('custom_access_token', 'send_email', 'send_sms') then
            perform postern._refuse(
                (v_refusal #>> '{error,status}')::integer, v_refusal #>> '{error,code}', v_refusal #>> '{error,message}',
                v_refusal #>> '{error,hint}');
        end if;
        if point = 'custom_access_token' then
            v_output := postern._claims_of(v_output);
        end if;
    exception when others or assert_failure or query_canceled then
        get stacked diagnostics
            v_state = returned_sqlstate, v_message = message_text, v_detail = pg_exception_detail,
            v_hint = pg_exception_hint, v_datatype = pg_datatype_name, v_context = pg_exception_context;
        if v_state = '57014' then
            v_outcome := 'timeout';
        elsif postern._is_passing(v_state) then
            raise;
        end if;
        -- Its words reach the client, the gateway's log and auth.hook_runs; statements that it made up stand in the context.
        v_message := postern._without_codes(v_message, input);
        v_detail := postern._without_codes(v_detail, input);
        v_hint := postern._without_codes(v_hint, input);
        v_context := postern._without_codes(v_context, input);
        -- The same error once more, with the run, which what the handler undoes could not keep.
        raise exception using
            errcode = case v_outcome when 'timeout' then 'PA500' else v_state end,
            message = case v_outcome when 'timeout' then 'Error running hook URI: ' || uri else v_message end,
            detail = case v_outcome when 'timeout' then 'unexpected_failure' else v_detail end,
            hint = case v_outcome when 'timeout' then 'the hook took too long' else v_hint end,
            datatype = v_datatype,
            column = json_build_object(
                'point', point, 'target', uri, 'outcome', v_outcome, 'user_id', user_id,
                'ms', extract(epoch from clock_timestamp() - v_began) * 1000,
                'sqlstate', case when v_state not like 'PA___' then v_state end,
                'message', v_message, 'detail', case when v_state not like 'PA___' then v_detail end,
                'hint', v_hint, 'context', v_context)::text;
    end;

    v_ms := extract(epoch from clock_timestamp() - v_began) * 1000;
    if v_refusal is not null or v_ms >= v_hook.slow_ms then
        perform postern._record_run(json_build_object(
            'point', point, 'target', uri, 'outcome', case when v_refusal is null then 'ok' else 'refused' end,
            'user_id', user_id, 'ms', v_ms, 'message', v_refusal #>> '{error,message}'), caller);
    end if;
    return v_output;
end
$$;

comment on function postern._call_sql_hook(text, text, json, postern.caller, uuid) is
'Runs a pg-functions hook in the calling transaction and returns its output object, null when it has none (contract mfa-hooks.md 3.4); of custom_access_token the claims in it, checked. Its time limit is the statement''s. A call that failed, refused or took long is written to auth.hook_runs; user_id is the account it is about.
Called by: the functions a hook belongs to.
Refuses: what the hook raises; unexpected_failure (500) - no such function, too slow, or an output that is not an object; for custom_access_token, send_email and send_sms, what the hook refuses; for custom_access_token, claims missing or not of the required shape (mfa-hooks.md 3.7).';

create or replace function postern._without_codes(words text, input json)
returns text
language plpgsql immutable
as $$
declare
    v_words text := words;
    v_code text;
begin
    for v_code in
        select m.value
        from json_each_text(coalesce(input -> 'email_data', input -> 'sms', '{}')) m
        where m.key in ('otp', 'token', 'token_hash', 'token_new', 'token_hash_new') and m.value <> ''
    loop
        v_words := replace(v_words, v_code, '***');
    end loop;
    return v_words;
end
$$;

comment on function postern._without_codes(text, json) is
'What is said of a hook''s failure, without the codes and links that its input told it.
Called by: postern._call_sql_hook.
Refuses: never.';

create or replace function postern._hook_output(output text)
returns jsonb
language plpgsql stable
as $$
declare
    v_output jsonb;
begin
    begin
        v_output := nullif(output::jsonb, 'null');
    exception when data_exception or statement_too_complex then
        perform postern._refuse(500, 'unexpected_failure', 'Error unmarshaling JSON output.');
    end;
    if jsonb_typeof(v_output) <> 'object' then
        perform postern._refuse(500, 'unexpected_failure', 'Error unmarshaling JSON output.');
    end if;
    return v_output;
end
$$;

comment on function postern._hook_output(text) is
'A hook''s output as an object, null when it has none (contract mfa-hooks.md 3.3, 3.4).
Called by: postern._call_sql_hook; functions that are handed the output of a hook behind HTTP.
Refuses: unexpected_failure (500) - JSON that is no object, or that jsonb does not take.';

create or replace function postern._hook_refusal(output jsonb)
returns json
language plpgsql stable
as $$
declare
    v_code numeric;
begin
    if output is null or jsonb_typeof(output #> '{error,message}') is distinct from 'string'
        or output #>> '{error,message}' = ''
        or coalesce(jsonb_typeof(output #> '{error,http_code}'), 'number') not in ('number', 'null')
    then
        return null;
    end if;
    v_code := coalesce(nullif((output #>> '{error,http_code}')::numeric, 0), 500);
    if v_code % 1 <> 0 or abs(v_code) >= 1000000 then
        -- A number that is no status is not the shape of an error object.
        return null;
    elsif v_code not between 200 and 999 then
        return postern._error(500, 'unexpected_failure', 'Internal Server Error',
            format('the hook answered with the HTTP status %s', v_code));
    end if;
    return postern._error(v_code::integer, 'unknown', output #>> '{error,message}');
end
$$;

comment on function postern._hook_refusal(jsonb) is
'The refusal that a hook answered as an error object, null when it answered none (contract mfa-hooks.md 3.5).
Called by: the functions a hook belongs to.
Refuses: never.';

create or replace function postern._customize_claims(
    uri text,
    user_id uuid,
    claims json,
    method text,
    caller postern.caller)
returns json
language plpgsql
as $$
begin
    return postern._call_sql_hook(
        'custom_access_token', uri, json_build_object(
            'metadata', postern._hook_metadata('customize-access-token', (_customize_claims.caller).ip),
            'user_id', user_id,
            'claims', claims,
            'authentication_method', method),
        caller, user_id)::json;
end
$$;

comment on function postern._customize_claims(text, uuid, json, text, postern.caller) is
'Runs the custom_access_token hook and returns its claims as they are (contract mfa-hooks.md 3.7).
Called by: postern._tokens, postern.refresh_session.
Refuses: as postern._call_sql_hook.';

create or replace function postern._claims_of(output jsonb)
returns jsonb
language plpgsql stable
as $$
declare
    v_claims jsonb := coalesce(output -> 'claims', 'null');
    v_problems text;
begin
    if output is not null and not output ? 'claims' then
        perform postern._refuse(500, 'unexpected_failure', 'output claims field is missing');
    elsif jsonb_typeof(v_claims) not in ('object', 'null') then
        perform postern._refuse(500, 'unexpected_failure', 'Error unmarshaling JSON output.');
    end if;

    if v_claims = 'null' then
        v_problems := E'- (root): Invalid type. Expected: object, given: null\n';
    else
        select string_agg(p.line, '' order by p.rank, p.name) into v_problems
        from (
            select 1 as rank, r.name, format(E'- (root): %s is required\n', r.name) as line
            from unnest(array['aal', 'aud', 'email', 'exp', 'iat', 'is_anonymous', 'phone', 'role', 'session_id', 'sub']) r (name)
            where not v_claims ? r.name
            union all
            select 2, t.name, format(E'- %s: Invalid type. Expected: %s, given: %s\n', t.name, t.expected, t.given)
            from (
                select e.name, e.expected, case
                    when jsonb_typeof(v_claims -> e.name) = 'number' and (v_claims ->> e.name)::numeric % 1 = 0 then 'integer'
                    else jsonb_typeof(v_claims -> e.name) end as given
                from (values
                    ('aud', 'string/array'), ('exp', 'integer'), ('iat', 'integer'), ('nbf', 'integer'),
                    ('sub', 'string'), ('email', 'string'), ('phone', 'string'), ('role', 'string'),
                    ('aal', 'string'), ('session_id', 'string'), ('iss', 'string'), ('jti', 'string'),
                    ('client_id', 'string'), ('app_metadata', 'object'), ('user_metadata', 'object'),
                    ('amr', 'array')) e (name, expected)
                where v_claims ? e.name
            ) t
            where t.given <> all (string_to_array(t.expected, '/'))
        ) p;
    end if;
    if v_problems is not null then
        perform postern._refuse(500, 'unexpected_failure',
            E'output claims do not conform to the expected schema: \n' || v_problems);
    end if;
    return v_claims;
end
$$;

comment on function postern._claims_of(jsonb) is
'The claims in the output of a custom_access_token hook, checked against the schema of contract mfa-hooks.md 3.7.
Called by: postern._call_sql_hook, postern.check_custom_claims.
Refuses: unexpected_failure (500) - missing, or not of the required shape.';
