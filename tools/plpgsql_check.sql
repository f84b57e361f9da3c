-- Runs plpgsql_check over every PL/pgSQL function of Postern, fails when it finds anything.
-- psql -d DATABASE -f tools/plpgsql_check.sql
\set ON_ERROR_STOP on
\set QUIET on
\pset pager off
create extension if not exists plpgsql_check;

-- A trigger function is checked once per table that uses it, any other with no table.
create temp view findings as
    select coalesce(t.tgrelid::regclass::text || ': ', '') || p.oid::regprocedure as function,
           c.lineno as line, c.level, c.message, c.detail, c.hint
      from pg_proc p
      join pg_language l on l.oid = p.prolang and l.lanname = 'plpgsql'
      left join pg_trigger t on t.tgfoid = p.oid and not t.tgisinternal
     cross join lateral plpgsql_check_function_tb(
               p.oid, coalesce(t.tgrelid, 0),
               security_warnings => true, performance_warnings => true, extra_warnings => true) c
     where p.pronamespace in (to_regnamespace('postern'), to_regnamespace('auth'))
       and (p.prorettype <> 'trigger'::regtype or t.oid is not null);

select count(*) > 0 as found from findings \gset
\if :found
    select * from findings order by function, line;
    \echo 'plpgsql_check: see above'
    do $$ begin raise exception 'plpgsql_check has findings'; end $$;
\endif
select 'plpgsql_check: nothing found in ' || count(*) || ' functions' as result
  from pg_proc p
  join pg_language l on l.oid = p.prolang and l.lanname = 'plpgsql'
 where p.pronamespace in (to_regnamespace('postern'), to_regnamespace('auth'))
\g (format=unaligned tuples_only=on)
