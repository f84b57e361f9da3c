create or replace function postern.record_hook_run(run json, caller postern.caller)
returns json
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform postern._record_run(run, caller);
    return json_build_object('v', (select g.version from auth.settings g));
end
$$;

comment on function postern.record_hook_run(json, postern.caller) is
'Writes a row of auth.hook_runs for what SQL could not record itself; run as in postern._record_run.
Called by: the gateway, after it has answered: for hooks behind HTTP that failed or took long, and for statements that ended with an error or over time.
Refuses: never.';

create or replace function postern.explain_error(request_id text)
returns table (
    at timestamptz,
    point text,
    target text,
    table_name text,
    outcome text,
    sqlstate text,
    message text,
    advice text,
    detail text,
    hint text,
    context text,
    ms numeric,
    user_id uuid)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select h.created_at, h.point, h.target, h.table_name, h.outcome, h.sqlstate, h.message,
        case h.point when 'database' then postern._database_advice(h.sqlstate, h.outcome, h.target)
            else postern._hook_advice(h.outcome, h.target) end,
        h.detail, h.hint, h.context, h.ms, h.user_id
    from auth.hook_runs h
    where h.request_id = left(explain_error.request_id, 200)
    order by h.created_at;
end
$$;

comment on function postern.explain_error(text) is
'Why a request failed: what was recorded of it in auth.hook_runs, in order, each with a line of advice. The id is in the header X-Request-Id of every error, in error_id of its body, and in the gateway''s log.
Called by: the owner in psql, and whom the owner grants it; the gateway may not.
Refuses: never; no rows when nothing was recorded: the refusal then came from Postern itself, and its code says why.';

create or replace function postern._database_advice(state text, outcome text, target text)
returns text
language plpgsql immutable
as $$
declare
    v_who text := coalesce(target, 'a constraint');
begin
    return case
        when outcome = 'timeout' then
            'The statement took longer than statement_timeout, or than the request may take: look at the work of triggers on tables of auth, and at what they wait for.'
        when state = '55P03' then
            'Another transaction held a row or table for longer than lock_timeout: look for it in pg_stat_activity and pg_locks.'
        when state in ('40001', '40P01') then
            'Transactions wanted the same rows in different orders, and trying again did not help: have all of them take rows in one order.'
        when state in ('42P01', '42883', '42704', '3F000') then format(
            'Triggers on tables of auth run with search_path = auth: write names with their schema in %s, as in public.profiles, or give it a search_path of its own.', v_who)
        when state = '42501' then format(
            '%s runs as the owner of schema auth: grant that role what is missing, or make the function security definer.', v_who)
        when state like 'PT___' or state = 'P0001' then format('%s raised this on purpose: its message says why.', v_who)
        when state like '23%' then
            'The constraint in the message refused a row: make the row fit it, or have the trigger expect it (on conflict, nulls).'
        when state like '22%' then format(
            'A value did not fit in %s: sign-ups without that field, anonymous ones too, have null there.', v_who)
        when target is null then 'No function of yours was running: if no constraint of yours is named, please report it.'
        else format('An error in %s: its line is in the context.', v_who)
    end;
end
$$;

comment on function postern._database_advice(text, text, text) is
'A line of advice about an error in a trigger or constraint, or a statement that did not end.
Called by: postern.explain_error.
Refuses: never.';

create or replace function postern._hook_advice(outcome text, target text)
returns text
language plpgsql immutable
as $$
declare
    v_is_function boolean := target like 'pg-functions:%';
begin
    return case outcome
        when 'ok' then 'Nothing failed: it took as long as auth.settings.hook_runs_slow_ms, or longer.'
        when 'refused' then 'The hook answered with an error object: the client was told its message.'
        when 'timeout' then case when v_is_function
            then 'A function has 2 seconds for the custom_access_token and password_verification_attempt hooks, and the statement''s time for others: look at what it does and waits for.'
            else 'A hook over HTTP has 5 seconds for all attempts together.' end
        when 'failed' then 'The function raised an error: its line is in the context. It runs as the owner of schema auth, with search_path = auth.'
        when 'uri' then case when v_is_function
            then 'There is no such function with one json, jsonb or text argument, or supabase_auth_admin may not use its schema or execute it: grant usage on schema … to supabase_auth_admin; grant execute on function … to supabase_auth_admin.'
            else 'The address cannot be called: https, or http on this host.' end
        when 'output' then 'The answer was not the JSON object that this hook has to return, or lacked what it has to hold.'
        when 'unreachable' then 'Nobody answered at the address in three attempts.'
        when 'unavailable' then 'The receiver answered 429 or 503.'
        when 'status' then 'The receiver did not answer 200, 202 or 204; 401 means that it did not accept the signature: compare the secrets.'
        when 'content_type' then 'The receiver has to answer with Content-Type: application/json.'
        when 'too_large' then 'The answer was longer than 200 kB.'
        when 'signature' then 'One of the hook''s secrets cannot sign.'
        when 'cancelled' then 'The request had used up its own time before the hook answered.'
    end;
end
$$;

comment on function postern._hook_advice(text, text) is
'A line of advice about the outcome of a hook''s call.
Called by: postern.explain_error.
Refuses: never.';
