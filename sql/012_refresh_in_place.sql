-- A refresh updates one row of refresh_tokens and one of sessions. Room in their pages keeps these updates
-- inside the page, off every index (HOT). The column has a constant default, so that no row is rewritten.

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

update auth.adoption
   set fillfactors = (
    select jsonb_object_agg(
        c.relname,
        (select option_value from pg_options_to_table(c.reloptions) where option_name = 'fillfactor')
    )
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = 'auth'
       and c.relname in ('users', 'sessions', 'refresh_tokens')
 );

alter table auth.users set (fillfactor = 80);
alter table auth.sessions set (fillfactor = 70);
alter table auth.refresh_tokens set (fillfactor = 70);
alter table auth.refresh_tokens add column counter bigint not null default 0;

comment on column auth.refresh_tokens.counter is
    'Generation of the session''s live refresh token; 0 for a token that Supabase Auth issued.';

reset role;

---- create above / drop below ----

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

alter table auth.refresh_tokens drop column counter;

do $$
declare
    v_table text;
    v_fillfactor text;
begin
    for v_table, v_fillfactor in
        select f.key, f.value
          from auth.adoption a, jsonb_each_text(a.fillfactors) f
    loop
        if v_fillfactor is null then
            execute format('alter table auth.%I reset (fillfactor)', v_table);
        else
            execute format('alter table auth.%I set (fillfactor = %s)', v_table, v_fillfactor::integer);
        end if;
    end loop;
    update auth.adoption set fillfactors = '{}';
end
$$;

reset role;
