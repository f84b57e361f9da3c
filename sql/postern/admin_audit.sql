create or replace function postern.admin_list_audit_log(
    caller postern.caller,
    page text default null,
    per_page text default null,
    query text default null)
returns json
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_refused json := postern._check_admin(admin_list_audit_log.caller);
    v_scope text := split_part(query, ':', 1);
    v_pattern text := '%' || substr(query, length(split_part(query, ':', 1)) + 2) || '%';
    v_page bigint;
    v_size bigint;
    v_total bigint;
    v_entries json;
begin
    if v_refused is not null then
        return v_refused;
    end if;

    begin
        v_page := greatest(1, postern._page_number(page, 1));
        v_size := postern._page_number(per_page, 50);
        if v_size = 0 then
            perform postern._refuse(400, 'validation_failed', 'Bad Pagination Parameters: per_page must be greater than 0');
        elsif coalesce(query, '') <> '' and (position(':' in query) = 0 or v_scope not in ('author', 'action', 'type')) then
            perform postern._refuse(400, 'validation_failed', 'Invalid query scope: ' || query);
        end if;
    {{ template "handler" "Error searching for audit logs" }}
    end;

    with matching as (
        select a.id, a.payload, a.created_at, a.ip_address
        from auth.audit_log_entries a
        where coalesce(query, '') = ''
            or case v_scope
                when 'author' then a.payload ->> 'actor_username' ilike v_pattern or a.payload ->> 'actor_name' ilike v_pattern
                when 'action' then a.payload ->> 'action' ilike v_pattern
                else a.payload ->> 'log_type' ilike v_pattern
            end
    ), shown as (
        select m.*
        from matching m
        order by m.created_at desc, m.id
        limit v_size offset least((v_page - 1)::numeric * v_size, 9223372036854775807)::bigint
    )
    select (select count(*) from matching), coalesce(json_agg(json_build_object(
        'id', s.id, 'payload', s.payload, 'created_at', postern._utc(s.created_at), 'ip_address', s.ip_address)
        order by s.created_at desc, s.id), '[]')
    into v_total, v_entries
    from shown s;

    return json_build_object(
        'v', (select g.version from auth.settings g), 'total', v_total, 'page', v_page, 'per_page', v_size,
        'body', v_entries);
end
$$;

comment on function postern.admin_list_audit_log(postern.caller, text, text, text) is
'A page of the audit log, newest first; query is author:, action: or type: and a substring (contract admin.md 11).
Called by: GET /admin/audit.
Refuses: what _check_admin refuses (403); validation_failed (400) - paging or query.';
