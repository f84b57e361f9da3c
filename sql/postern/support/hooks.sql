create or replace function postern._run_sql_hook(uri text, input json)
returns jsonb
language plpgsql
as $$
declare
    v_parts text[] := regexp_match(uri, '^pg-functions://[^/]*/([a-zA-Z_][a-zA-Z0-9_]{0,62})/([a-zA-Z_][a-zA-Z0-9_]{0,62})$');
    v_function oid;
    v_type oid;
    v_result oid;
    v_code numeric;
    v_output jsonb;
    v_state text;
    v_message text;
    v_detail text;
    v_hint text;
begin
    select p.oid, p.proargtypes[0], p.prorettype into v_function, v_type, v_result
    from pg_catalog.pg_proc p
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = v_parts[1] and p.proname = v_parts[2] and p.pronargs >= 1
        and p.proargtypes[0] in ('json'::regtype, 'jsonb'::regtype, 'text'::regtype)
        -- Not in pg_temp either: its functions would run with the owner's rights.
        and n.nspname not in ('information_schema', 'auth', 'postern') and n.nspname !~ '^pg_'
        and pg_catalog.has_schema_privilege('supabase_auth_admin', n.oid, 'usage')
        and pg_catalog.has_function_privilege('supabase_auth_admin', p.oid, 'execute')
    limit 1;
    if v_function is null then
        perform postern._refuse(500, 'unexpected_failure', 'Error running hook URI: ' || uri,
            'no function of that name takes one json, jsonb or text argument and may be executed by supabase_auth_admin');
    end if;

    begin
        -- The name comes from the catalog; only the argument's type differs between hooks.
        execute format('select to_jsonb(%I.%I($1::text::%s))', v_parts[1], v_parts[2], v_type::regtype)
        into v_output
        using input::text;
    exception when others or query_canceled then
        get stacked diagnostics
            v_state = returned_sqlstate, v_message = message_text,
            v_detail = pg_exception_detail, v_hint = pg_exception_hint;
        if v_state = '57014' then
            perform postern._refuse(500, 'unexpected_failure', 'Error running hook URI: ' || uri, 'the hook took too long');
        end if;
        -- The same error once more, with the text for clients that do not see database errors.
        raise exception using
            errcode = v_state, message = v_message, detail = v_detail, hint = v_hint,
            column = 'Error running hook URI: ' || uri;
    end;

    if v_result = 'text'::regtype and jsonb_typeof(v_output) = 'string' then
        begin
            v_output := (v_output #>> '{}')::jsonb;
        exception when data_exception then
            perform postern._refuse(500, 'unexpected_failure', 'Error unmarshaling JSON output.');
        end;
    end if;
    if v_output is null or v_output = 'null' then
        return null;
    end if;
    if jsonb_typeof(v_output) <> 'object' then
        perform postern._refuse(500, 'unexpected_failure', 'Error unmarshaling JSON output.');
    end if;
    if jsonb_typeof(v_output #> '{error,message}') = 'string' and v_output #>> '{error,message}' <> ''
        and coalesce(jsonb_typeof(v_output #> '{error,http_code}'), 'number') in ('number', 'null')
    then
        v_code := coalesce(nullif((v_output #>> '{error,http_code}')::numeric, 0), 500);
        -- A number that is no status is not the shape of an error object.
        if v_code % 1 = 0 and abs(v_code) < 1000000 then
            perform postern._refuse_for_hook(v_code::integer, v_output #>> '{error,message}');
        end if;
    end if;
    return v_output;
end
$$;

comment on function postern._run_sql_hook(text, json) is
'Runs a pg-functions hook in the calling transaction and returns its output object, null when it has none (contract mfa-hooks.md 3.4, 3.5). Its time limit is the statement''s.
Called by: the functions a hook belongs to.
Refuses: what the hook raises or answers as an error; unexpected_failure (500) - no such function, too slow, or an output that is not an object.';

create or replace function postern._refuse_for_hook(status integer, message text)
returns void
language plpgsql
as $$
begin
    if status not between 200 and 999 then
        perform postern._refuse(500, 'unexpected_failure', 'Internal Server Error',
            format('the hook answered with the HTTP status %s', status));
    end if;
    perform postern._refuse(status, case status when 500 then 'unexpected_failure' else 'unknown' end, message);
end
$$;

comment on function postern._refuse_for_hook(integer, text) is
'Refuses with the status and message that a hook answered (contract mfa-hooks.md 3.5).
Called by: postern._run_sql_hook.
Refuses: always.';

create or replace function postern._customize_claims(uri text, user_id uuid, claims json, method text)
returns json
language plpgsql
as $$
declare
    v_output jsonb;
    v_claims jsonb;
    v_problems text;
begin
    v_output := postern._run_sql_hook(uri, json_build_object(
        'metadata', json_build_object(
            'uuid', gen_random_uuid(), 'time', postern._utc(clock_timestamp()), 'name', 'customize-access-token'),
        'user_id', user_id,
        'claims', claims,
        'authentication_method', method));
    if v_output is not null and not v_output ? 'claims' then
        perform postern._refuse(500, 'unexpected_failure', 'output claims field is missing');
    end if;
    v_claims := coalesce(v_output -> 'claims', 'null');
    if jsonb_typeof(v_claims) not in ('object', 'null') then
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
    return v_claims::json;
end
$$;

comment on function postern._customize_claims(text, uuid, json, text) is
'Runs the custom_access_token hook and returns its claims as they are, checked against the schema of contract mfa-hooks.md 3.7.
Called by: postern._tokens.
Refuses: unexpected_failure (500) - claims missing or not of the required shape; what the hook refuses.';
