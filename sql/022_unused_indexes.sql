-- Every sign-up and every refresh writes to indexes that no query of the engine uses: all rows have the same instance_id,
-- parents are looked for within their session, and (user_id, created_at) finds by user_id too. Going back builds them again.

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

do $$
declare
    v_index record;
begin
    for v_index in
        select c.oid, c.relname
          from pg_class c
          join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'auth'
           and c.relname in (
            'audit_logs_instance_id_idx', 'refresh_tokens_instance_id_idx', 'refresh_tokens_instance_id_user_id_idx',
            'refresh_tokens_parent_idx', 'sessions_user_id_idx', 'users_instance_id_idx')
    loop
        update auth.adoption
           set dropped_indexes = dropped_indexes || jsonb_build_object(v_index.relname, pg_get_indexdef(v_index.oid));
        execute format('drop index auth.%I', v_index.relname);
    end loop;
end
$$;

reset role;

---- create above / drop below ----

---- tern: disable-tx ----

-- Built without stopping anybody's sign-in, as in 013. When it gives up, migrating down again starts here.
set lock_timeout = '10min';
select set_config('role', tableowner, false)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

drop index concurrently if exists auth.audit_logs_instance_id_idx;
drop index concurrently if exists auth.refresh_tokens_instance_id_idx;
drop index concurrently if exists auth.refresh_tokens_instance_id_user_id_idx;
drop index concurrently if exists auth.refresh_tokens_parent_idx;
drop index concurrently if exists auth.sessions_user_id_idx;
drop index concurrently if exists auth.users_instance_id_idx;

create index concurrently audit_logs_instance_id_idx on auth.audit_log_entries (instance_id);
create index concurrently refresh_tokens_instance_id_idx on auth.refresh_tokens (instance_id);
create index concurrently refresh_tokens_instance_id_user_id_idx on auth.refresh_tokens (instance_id, user_id);
create index concurrently refresh_tokens_parent_idx on auth.refresh_tokens (parent);
create index concurrently sessions_user_id_idx on auth.sessions (user_id);
create index concurrently users_instance_id_idx on auth.users (instance_id);

-- A database that had one of another kind under that name, or none, gets that back.
do $$
declare
    v_name text;
    v_definition text;
begin
    foreach v_name in array array[
        'audit_logs_instance_id_idx', 'refresh_tokens_instance_id_idx', 'refresh_tokens_instance_id_user_id_idx',
        'refresh_tokens_parent_idx', 'sessions_user_id_idx', 'users_instance_id_idx']
    loop
        v_definition := (select dropped_indexes ->> v_name from auth.adoption);
        if v_definition is distinct from pg_get_indexdef(format('auth.%I', v_name)::regclass) then
            execute format('drop index auth.%I', v_name);
            if v_definition is not null then
                execute v_definition;
            end if;
        end if;
    end loop;
end
$$;

reset role;
