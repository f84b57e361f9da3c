create or replace function postern.get_settings()
returns json
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select (to_jsonb(g) - array['id', 'from_environment']
            || jsonb_build_object('adopted', coalesce((select a.adopted from auth.adoption a), false)))::json
        from auth.settings g);
end
$$;

comment on function postern.get_settings() is
'The policy in force, one key per column of auth.settings, and whether Supabase Auth made this database (adopted).
Called by: the gateway at start and when its copy is out of date.
Refuses: never.';

create or replace function postern.apply_environment(environment jsonb)
returns json
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_settings auth.settings;
    v_default text;
    v_name text;
    v_value jsonb;
    v_changes jsonb;
begin
    -- The row lock settles two gateways that start at once.
    select * into strict v_settings from auth.settings for update;

    for v_name, v_value, v_default in
        select a.attname::text, apply_environment.environment -> a.attname, pg_get_expr(d.adbin, d.adrelid)
        from pg_catalog.pg_attribute a
        left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where a.attrelid = 'auth.settings'::regclass and a.attnum > 0 and not a.attisdropped
            and a.attname not in ('id', 'version', 'from_environment')
            and apply_environment.environment -> a.attname is distinct from v_settings.from_environment -> a.attname
        order by a.attnum
    loop
        -- Names of columns, and defaults, come from the catalog: they cannot be arguments.
        if v_value is null then
            execute format('update auth.settings set %I = %s', v_name, coalesce(v_default, 'null'));
        else
            execute format(
                'update auth.settings set %1$I = (jsonb_populate_record(null::auth.settings, jsonb_build_object(%1$L, $1))).%1$I',
                v_name)
            using v_value;
        end if;
    end loop;

    select coalesce(jsonb_agg(jsonb_build_object('setting', o.key, 'from', o.value, 'to', n.value) order by o.key), '[]')
    into v_changes
    from auth.settings g
    cross join jsonb_each(to_jsonb(v_settings)) o
    join jsonb_each(to_jsonb(g)) n on n.key = o.key
    where o.value is distinct from n.value and o.key not in ('version', 'from_environment');

    update auth.settings set from_environment = apply_environment.environment
    where from_environment is distinct from apply_environment.environment;
    return json_build_object('v', (select g.version from auth.settings g), 'changes', v_changes);
end
$$;

comment on function postern.apply_environment(jsonb) is
'Writes what the environment says of auth.settings: only settings whose variable changed since the last call are written, dropped ones return to their default, values changed with psql otherwise stay. Keys are columns. Returns the changes.
Called by: the gateway at start.
Refuses: raises an error for a value that the column''s type or check does not take.';

create or replace function postern.tg_settings__bump_version()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if to_jsonb(new) - array['version', 'from_environment'] is distinct from to_jsonb(old) - array['version', 'from_environment'] then
        new.version := old.version + 1;
    end if;
    return new;
end
$$;

comment on function postern.tg_settings__bump_version() is
'Raises auth.settings.version with every change, so that gateways notice it.
Called by: trigger _100_bump_version of auth.settings.
Refuses: never.';

create or replace trigger _100_bump_version
    before update on auth.settings
    for each row execute function postern.tg_settings__bump_version();
