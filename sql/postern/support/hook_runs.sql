create or replace function postern._record_run(run json, caller postern.caller)
returns void
language plpgsql
as $$
declare
    v_found record;
begin
    select * into v_found from postern._culprit(case run ->> 'point' when 'database' then run ->> 'context' end);
    insert into auth.hook_runs (
        request_id, user_id, point, target, table_name, outcome, ms, sqlstate, message, detail, hint, context)
    values (
        left(nullif((_record_run.caller).request_id, ''), 200),
        coalesce((run ->> 'user_id')::uuid, (_record_run.caller).user_id),
        run ->> 'point',
        coalesce(v_found.function_name, run ->> 'target'),
        v_found.table_name,
        run ->> 'outcome',
        -- least() alone would take the number where ms is null.
        case when run ->> 'ms' is not null then least((run ->> 'ms')::numeric, 999999999) end,
        nullif(run ->> 'sqlstate', ''),
        left(run ->> 'message', 4000),
        -- Of these the detail is the refused row as it stands, with hashes of passwords in it.
        case when coalesce(run ->> 'sqlstate', '') not in ('23502', '23514', '44000')
            then left(nullif(run ->> 'detail', ''), 4000) end,
        left(nullif(run ->> 'hint', ''), 4000),
        left(nullif(run ->> 'context', ''), 4000));
exception when others then
    -- Without the record the answer still stands.
    raise warning 'auth.hook_runs could not be written: % (%)', sqlerrm, sqlstate;
end
$$;

comment on function postern._record_run(json, postern.caller) is
'Writes a row of auth.hook_runs. run has the columns point, target, outcome, user_id, ms, sqlstate, message, detail, hint and context; for the point database, function and table are read from the context.
Called by: functions that run hooks, postern._refusal, postern.record_hook_run.
Refuses: never; what goes wrong is a warning in the server''s log.';

create or replace function postern._culprit(context text, out function_name text, out table_name text)
returns record
language plpgsql immutable
as $$
declare
    v_line text;
    v_function text;
begin
    -- Innermost first: a function of the user, the statement on the table that fired it, functions of Postern.
    foreach v_line in array coalesce(string_to_array(context, E'\n'), '{}') loop
        v_function := coalesce(
            substring(v_line from '^PL/\S+ .*?([[:alnum:]_$."]+\([^()]*\))'),
            substring(v_line from '^(?:PL/\S+|SQL) function ("[^"]+")'));
        exit when v_function like 'postern.%';
        if v_function is not null then
            function_name := coalesce(function_name, v_function);
            table_name := null;
        end if;
        table_name := coalesce(table_name, replace(substring(
            v_line from '(?i)(?:insert into|update|delete from)\s+(?:only\s+)?("?auth"?\."?\w+"?)'), '"', ''));
    end loop;
end
$$;

comment on function postern._culprit(text) is
'What the context of an error says: the innermost function that is not Postern''s, and the table of auth whose change called it; null where there is none.
Called by: postern._record_run.
Refuses: never.';
