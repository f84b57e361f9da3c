-- What policies, views and column defaults may call. Functions of Supabase Auth stay as they are. Ours are
-- bound when they are made, so that no search_path of a caller changes their meaning, simple enough to be
-- inlined, and parallel safe: one that is not keeps a whole query to one process.

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

do $$
declare
    v_function record;
begin
    for v_function in
        select *
          from (
            values
                (
                    'uid', 'uuid',
                    $f$coalesce(
                        nullif(current_setting('request.jwt.claim.sub', true), ''),
                        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
                    )::uuid$f$,
                    'Id of the signed-in user, null without one: claim sub of the access token.'
                ),
                (
                    'role', 'text',
                    $f$coalesce(
                        nullif(current_setting('request.jwt.claim.role', true), ''),
                        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'
                    )$f$,
                    'Claim role of the access token.'
                ),
                (
                    'email', 'text',
                    $f$coalesce(
                        nullif(current_setting('request.jwt.claim.email', true), ''),
                        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email'
                    )$f$,
                    'Claim email of the access token.'
                ),
                (
                    'jwt', 'jsonb',
                    $f$coalesce(
                        nullif(current_setting('request.jwt.claim', true), ''),
                        nullif(current_setting('request.jwt.claims', true), '')
                    )::jsonb$f$,
                    'All claims of the access token, null without one.'
                )
          ) f (name, result, expression, comment)
         where not exists (
            select
              from pg_proc p
             where p.pronamespace = (select oid from pg_namespace where nspname = 'auth')
               and p.proname = f.name
               and p.pronargs = 0
         )
    loop
        execute format(
            'create function auth.%I() returns %s language sql stable parallel safe return %s',
            v_function.name, v_function.result, v_function.expression
        );
        -- Default privileges of the owner may say otherwise.
        execute format('grant execute on function auth.%I() to public', v_function.name);
        execute format('comment on function auth.%I() is %L', v_function.name, v_function.comment);
        update auth.adoption
           set functions_created = functions_created || v_function.name;
    end loop;
end
$$;

reset role;

---- create above / drop below ----

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

-- Without cascade: a policy or view that still calls one of them is an error that names it.
do $$
declare
    v_name text;
begin
    foreach v_name in array (select functions_created from auth.adoption) loop
        execute format('drop function auth.%I()', v_name);
    end loop;
    update auth.adoption set functions_created = '{}';
end
$$;

reset role;
