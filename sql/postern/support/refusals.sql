create or replace function postern._refuse(
    status integer,
    code text,
    message text,
    hint text default null,
    retry_after integer default null)
returns void
language plpgsql
as $$
begin
    raise exception using
        errcode = 'PA' || status,
        message = _refuse.message,
        detail = _refuse.code,
        hint = coalesce(_refuse.hint, ''),
        datatype = coalesce(_refuse.retry_after::text, '');
end
$$;

comment on function postern._refuse(integer, text, text, text, integer) is
'Ends the work of a public function with a refusal: SQLSTATE PA + HTTP status, message = text on the wire, detail = error_code, hint = for the operator.
Called by: every function of the package, inside the block that its handler guards.
Refuses: always.';

create or replace function postern._error(
    status integer,
    code text,
    message text,
    hint text default null,
    retry_after integer default null,
    fact text default null)
returns json
language plpgsql stable
as $$
begin
    return json_build_object(
        'v', (select g.version from auth.settings g),
        'error', json_strip_nulls(json_build_object(
            'status', _error.status,
            'code', _error.code,
            'message', _error.message,
            'hint', nullif(_error.hint, ''),
            'retry_after', _error.retry_after,
            'fact', _error.fact)));
end
$$;

comment on function postern._error(integer, text, text, text, integer, text) is
'The answer that carries a refusal: HTTP status, error_code and message of the wire, a hint for the operator, seconds for Retry-After, and a fact that only a response header shows.
Called by: functions that refuse without undoing what they wrote.
Refuses: never.';

create or replace function postern._is_passing(state text)
returns boolean
language sql immutable
as $$
    -- Lock waits, lost connections, full disks, cancellations and bugs of the server are not answers to a client.
    select left(state, 2) in ('40', '53', '55', '57', '58', 'XX')
$$;

comment on function postern._is_passing(text) is
'True for an SQLSTATE that another try may cure, or that says nothing about the request (DESIGN 6).
Called by: the handler of every public function that writes; postern._call_sql_hook.
Refuses: never.';

create or replace function postern._start_over(user_id uuid)
returns void
language plpgsql stable
as $$
begin
    raise exception using
        errcode = 'serialization_failure',
        message = format('the account %s changed meanwhile', _start_over.user_id);
end
$$;

comment on function postern._start_over(uuid) is
'Ends the work of a function that finds an account gone, or with another address, which it saw before. The gateway calls it once more, and it answers by what there is then.
Called by: functions that wait for the row of an account.
Refuses: always, with an SQLSTATE that passes every handler (DESIGN 6).';

create or replace function postern._refusal(
    generic text,
    state text,
    message text,
    detail text,
    hint text,
    column_name text,
    datatype text,
    context text,
    caller postern.caller)
returns json
language plpgsql
as $$
declare
    -- What postern._call_sql_hook says of a hook that failed.
    v_run json := case when column_name like '{"point" :%' then column_name::json end;
    v_status integer := 500;
begin
    if v_run is not null or state not like 'PA___' then
        perform postern._record_run(coalesce(v_run, json_build_object(
            'point', 'database', 'outcome', 'failed', 'sqlstate', state, 'message', _refusal.message,
            'detail', _refusal.detail, 'hint', _refusal.hint, 'context', context)), caller);
    end if;
    if state like 'PA___' then
        return postern._error(
            substr(state, 3)::integer, detail, message, hint, nullif(datatype, '')::integer);
    end if;

    -- An error is never answered with the status of a success.
    if state ~ '^PT[4-9][0-9][0-9]$' then
        v_status := substr(state, 3)::integer;
    end if;

    return json_build_object(
        'v', (select g.version from auth.settings g),
        'error', json_strip_nulls(json_build_object(
            'status', v_status,
            'code', 'unexpected_failure',
            -- It is not the database that failed when a hook did.
            'message', coalesce('Error running hook URI: ' || (v_run ->> 'target'), generic),
            'database', case
                when state ~ '^PT[1-9][0-9][0-9]$'
                    or state in ('P0001', '23000', '23001', '23502', '23503', '23505', '23514', '23P01')
                then json_build_object(
                    'code', state,
                    'message', _refusal.message,
                    'detail', nullif(_refusal.detail, ''),
                    'hint', nullif(_refusal.hint, ''))
                end,
            'cause', concat_ws(E'\n', state || ': ' || _refusal.message, nullif(coalesce(v_run ->> 'context', context), '')))));
end
$$;

comment on function postern._refusal(text, text, text, text, text, text, text, text, postern.caller) is
'Turns an error caught by a public function into the answer it returns: PAnnn into the refusal, errors of users'' triggers and hooks into the database error of contract core.md 1.6 under a generic message. Writes the cause to auth.hook_runs, unless it is a refusal of ours.
Called by: the handler of every public function that writes.
Refuses: never.';
