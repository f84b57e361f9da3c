-- An index on a column that every refresh changes makes every refresh write to all indexes of the table. No
-- query of the engine uses this one; Supabase Auth's clean-up does, so that going back builds it again.

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

do $$
begin
    update auth.adoption
       set dropped_indexes = dropped_indexes || jsonb_build_object(
        'refresh_tokens_updated_at_idx',
        (
            select pg_get_indexdef(c.oid)
              from pg_class c
              join pg_namespace n on n.oid = c.relnamespace
             where n.nspname = 'auth'
               and c.relname = 'refresh_tokens_updated_at_idx'
        )
     );
    drop index if exists auth.refresh_tokens_updated_at_idx;
end
$$;

reset role;

---- create above / drop below ----

---- tern: disable-tx ----

-- Built without stopping anybody's sign-in, which no transaction can. It waits for old transactions to end
-- and holds nobody up; when it gives up, migrating down again starts here.
set lock_timeout = '10min';
select set_config('role', tableowner, false)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

drop index concurrently if exists auth.refresh_tokens_updated_at_idx;
create index concurrently refresh_tokens_updated_at_idx on auth.refresh_tokens (updated_at desc);

do $$
declare
    v_definition text := (select dropped_indexes ->> 'refresh_tokens_updated_at_idx' from auth.adoption);
begin
    if v_definition is distinct from pg_get_indexdef('auth.refresh_tokens_updated_at_idx'::regclass) then
        drop index auth.refresh_tokens_updated_at_idx;
        if v_definition is not null then
            execute v_definition;
        end if;
    end if;
end
$$;

reset role;
