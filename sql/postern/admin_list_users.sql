create or replace function postern.admin_list_users(
    caller postern.caller,
    page text default null,
    per_page text default null,
    sort text[] default '{}',
    filter text default null,
    row_limit text default null,
    row_cursor text default null)
returns json
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_refused json := postern._check_admin(admin_list_users.caller);
    v_settings auth.settings not null := (select g from auth.settings g);
    v_audience text;
    v_by_cursor boolean;
    v_after record;
    v_order text;
    v_page bigint := 1::bigint;
    v_size bigint;
    v_total bigint;
    v_users json;
    v_has_more boolean;
    v_last_created_at timestamptz;
    v_last_id text;
    v_next text := '';
begin
    if v_refused is not null then
        return v_refused;
    end if;

    v_audience := coalesce(nullif((admin_list_users.caller).audience, ''), v_settings.jwt_aud);
    v_by_cursor := v_settings.experimental_cursor_pagination_enabled
        and coalesce(page, '') = '' and coalesce(per_page, '') = '';

    begin
        v_order := postern._user_order(sort, v_by_cursor);
        if not v_by_cursor then
            v_page := greatest(1, postern._page_number(page, 1));
        end if;
        v_size := postern._page_number(case when v_by_cursor then row_limit else per_page end, 50);
        if v_size = 0 then
            perform postern._refuse(400, 'validation_failed', format('Bad Pagination Parameters: %s must be greater than 0',
                case when v_by_cursor then 'limit' else 'per_page' end));
        elsif v_by_cursor then
            v_size := least(v_size, 1000);
        end if;
        select * into v_after from postern._read_cursor(case when v_by_cursor then row_cursor end);
    {{ template "handler" "Database error finding users" }}
    end;

    if not v_by_cursor then
        select count(*) into v_total
        from auth.users u
        where u.instance_id = '00000000-0000-0000-0000-000000000000' and u.aud = v_audience
            and (coalesce(filter, '') = ''
                or u.email like '%' || filter || '%' or u.raw_user_meta_data ->> 'full_name' ilike '%' || filter || '%');
    end if;

    -- Order and comparison are made of literals by _user_order: they cannot be arguments. One row more than asked for tells
    -- whether there is a next page.
    execute format(
        'select
            coalesce(json_agg(postern._user_json_as(p.id, ''listed'') order by p.place) filter (where p.place <= $3), ''[]'') as users,
            count(*) > $3 as has_more,
            max(p.created_at) filter (where p.place = $3) as last_created_at,
            max(p.id::text) filter (where p.place = $3) as last_id
        from (
            select u.id, u.created_at, row_number() over () as place
            from (
                select u.id, u.created_at
                from auth.users u
                where u.instance_id = ''00000000-0000-0000-0000-000000000000'' and u.aud = $1
                    and (coalesce($2, '''') = ''''
                        or u.email like ''%%'' || $2 || ''%%''
                        or u.raw_user_meta_data ->> ''full_name'' ilike ''%%'' || $2 || ''%%'')
                    and ($5 is null or (u.created_at, u.id) %s ($5, $6))
                order by %s
                limit $3 + 1 offset $4) u) p',
        case when v_order like 'u.created_at asc%' then '>' else '<' end, v_order)
    into v_users, v_has_more, v_last_created_at, v_last_id
    using v_audience, filter, v_size, least((v_page - 1)::numeric * v_size, 9223372036854775807)::bigint,
        v_after.created_at, v_after.id;

    if not v_by_cursor then
        return json_build_object(
            'v', v_settings.version, 'total', v_total, 'page', v_page, 'per_page', v_size,
            'body', json_build_object('users', v_users, 'aud', v_audience));
    end if;
    if v_has_more then
        v_next := postern._make_cursor(v_last_created_at, v_last_id::uuid);
    end if;
    return json_build_object('v', v_settings.version, 'next_cursor', v_next, 'body', json_build_object(
        'users', v_users, 'aud', v_audience,
        'pagination', json_strip_nulls(json_build_object('next_cursor', nullif(v_next, ''), 'has_more', v_has_more))));
end
$$;

comment on function postern.admin_list_users(postern.caller, text, text, text[], text, text, text) is
'A page of the accounts of an audience, newest first unless sort says created_at asc; filter is a substring of the address or the full name (contract admin.md 3). By page and per_page, with the total of matching accounts; or, where auth.settings allows it and neither is given, by row_limit and row_cursor.
Called by: GET /admin/users.
Refuses: not_admin and what else _check_admin refuses (403); validation_failed (400) - page, per_page, limit, cursor or sort.';

create or replace function postern._page_number(text_value text, default_value bigint)
returns bigint
language plpgsql immutable
as $$
begin
    if coalesce(text_value, '') = '' then
        return default_value;
    elsif text_value !~ '^[0-9]+$' then
        perform postern._refuse(400, 'validation_failed', format(
            'Bad Pagination Parameters: strconv.ParseUint: parsing %s: invalid syntax', to_json(text_value)));
    elsif length(text_value) > 18 then
        perform postern._refuse(400, 'validation_failed', format(
            'Bad Pagination Parameters: strconv.ParseUint: parsing %s: value out of range', to_json(text_value)));
    end if;
    return text_value::bigint;
end
$$;

comment on function postern._page_number(text, bigint) is
'The value of a paging parameter, or its default when it is absent or empty.
Called by: functions that list.
Refuses: validation_failed (400) - not an unsigned number.';

create or replace function postern._user_order(sort text[], first_only boolean)
returns text
language plpgsql immutable
as $$
declare
    v_entry text;
    v_field text;
    v_direction text;
    v_order text;
    v_last text := 'desc';
begin
    foreach v_entry in array coalesce(sort, '{}') loop
        continue when trim(v_entry) = '';
        v_field := split_part(trim(v_entry), ' ', 1);
        v_direction := coalesce(nullif(trim(substr(trim(v_entry), length(v_field) + 1)), ''), 'desc');
        if v_field <> 'created_at' then
            perform postern._refuse(400, 'validation_failed',
                format('Bad Sort Parameters: bad field for sort ''%s''', v_field));
        elsif lower(v_direction) not in ('asc', 'desc') then
            perform postern._refuse(400, 'validation_failed',
                format('Bad Sort Parameters: bad direction for sort ''%s'', only ''asc'' and ''desc'' allowed', v_direction));
        end if;
        continue when first_only and v_order is not null;
        v_order := coalesce(v_order || ', ', '') || 'u.created_at ' || lower(v_direction);
        v_last := lower(v_direction);
    end loop;
    return coalesce(v_order, 'u.created_at desc') || ', u.id ' || v_last;
end
$$;

comment on function postern._user_order(text[], boolean) is
'The order by clause for a list of accounts; the id settles accounts of one moment. first_only: as cursors want it.
Called by: postern.admin_list_users.
Refuses: validation_failed (400) - a field other than created_at, or a direction other than asc and desc.';

create or replace function postern._make_cursor(created_at timestamptz, id uuid)
returns text
language sql stable
as $$
    select translate(encode(convert_to(concat(
        '{"created_at":"', {{ template "utc" "created_at" }}, '","id":"', id, '"}'), 'UTF8'), 'base64'), E'+/=\n', '-_')
$$;

comment on function postern._make_cursor(timestamptz, uuid) is
'The cursor after an account: unpadded base64url of its time and id (contract admin.md 3.2).
Called by: postern.admin_list_users.
Refuses: never.';

create or replace function postern._read_cursor(row_cursor text, out created_at timestamptz, out id uuid)
returns record
language plpgsql stable
as $$
declare
    v_content jsonb;
begin
    if coalesce(row_cursor, '') = '' then
        return;
    elsif row_cursor !~ '^[A-Za-z0-9_-]+$' then
        perform postern._refuse(400, 'validation_failed', 'Bad Pagination Parameters: invalid cursor encoding: not base64url');
    end if;
    begin
        v_content := convert_from(postern._base64url_decode(row_cursor), 'UTF8')::jsonb;
        id := (v_content ->> 'id')::uuid;
        created_at := (v_content ->> 'created_at')::timestamptz;
    exception when data_exception then
        perform postern._refuse(400, 'validation_failed', 'Bad Pagination Parameters: invalid cursor: not one that this server made');
    end;
    if id is null then
        perform postern._refuse(400, 'validation_failed', 'Bad Pagination Parameters: invalid cursor: missing id');
    elsif created_at is null then
        perform postern._refuse(400, 'validation_failed', 'Bad Pagination Parameters: invalid cursor: missing created_at');
    end if;
end
$$;

comment on function postern._read_cursor(text) is
'Time and id of the account that a cursor stands for; null for no cursor.
Called by: postern.admin_list_users.
Refuses: validation_failed (400) - not a cursor.';
