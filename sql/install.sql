-- `tern code install sql`: the functions alone, as the last migration installs them. Made by the owner, whoever runs
-- this: they run with their owner's rights.
set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

{{ template "postern/install.sql" . }}

reset role;
