-- The functions: the same text that `tern code install sql` installs. A release that changes them moves
-- this include to a new last migration and leaves `select 1;` here. It acts as the owner by itself, because
-- tern installs it without this file too.

set local lock_timeout = '5s';
set local search_path = '';

{{ template "postern/install.sql" . }}

---- create above / drop below ----

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

{{ if or .rollback (env "POSTERN_ROLLBACK") }}
-- One release back: accounts and functions stay. `tern code install sql` of that release replaces the functions.
{{ else }}
-- Migrating down starts here for an installation that is to go: it stops before the first function is
-- dropped. POSTERN_ROLLBACK=yes says that only a release is to be taken back.
do $$
declare
    v_users bigint;
    v_table regclass;
begin
    if (select adopted from auth.adoption) then
        return;
    end if;
    select count(*) into v_users from auth.users;
    if v_users > 0 then
        raise exception 'auth.users has % rows: nothing is dropped', v_users
            using detail = 'Migrating down deletes all accounts. Delete them first if you mean it.',
                hint = 'POSTERN_ROLLBACK=yes goes back to an earlier release and keeps them.';
    end if;
    select conrelid::regclass
      into v_table
      from pg_constraint
     where contype = 'f'
       and confrelid = 'auth.users'::regclass
       and connamespace <> 'auth'::regnamespace
     limit 1;
    if found then
        raise exception 'table % refers to auth.users: nothing is dropped', v_table
            using detail = 'Drop its foreign key first.';
    end if;
end
$$;

-- Triggers on the tables first, then functions, each on its own and without cascade: something of yours
-- that uses one of them is an error that names it. Some functions use others (defaults, SQL bodies), hence
-- the rounds.
do $$
declare
    v_trigger record;
    v_function regprocedure;
    v_dropped boolean;
    v_message text;
    v_detail text;
begin
    for v_trigger in
        select t.tgname, t.tgrelid::regclass as table_name
          from pg_trigger t
          join pg_class c on c.oid = t.tgrelid
          join pg_proc p on p.oid = t.tgfoid
         where c.relnamespace = (select oid from pg_namespace where nspname = 'auth')
           and p.pronamespace = (select oid from pg_namespace where nspname = 'postern')
           and not t.tgisinternal
           and t.tgname ~ '^_[0-9]{3}_'
    loop
        execute format('drop trigger %I on %s', v_trigger.tgname, v_trigger.table_name);
    end loop;

    loop
        v_dropped := false;
        v_message := null;
        for v_function in
            select oid::regprocedure
              from pg_proc
             where pronamespace = (select oid from pg_namespace where nspname = 'postern')
        loop
            begin
                execute format('drop routine %s', v_function);
                v_dropped := true;
            exception
                when dependent_objects_still_exist then
                    get stacked diagnostics v_message = message_text, v_detail = pg_exception_detail;
            end;
        end loop;
        exit when v_message is null;
        if not v_dropped then
            raise exception using errcode = '2BP01', message = v_message, detail = v_detail;
        end if;
    end loop;
end
$$;

{{ end }}

reset role;
