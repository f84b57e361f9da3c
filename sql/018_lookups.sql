-- What keeps look-ups from reading whole tables.

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

-- Not built concurrently: that waits for other migrations to end, and they for this one. Sign-ups wait while the accounts are
-- read, a second per some million.

-- Finds the account whose new number is confirmed.
-- squawk-ignore require-concurrent-index-creation
create index users_phone_change_idx on auth.users (phone_change) where phone_change <> '';

-- Finds addresses that were stored with capitals, so that whoever is unknown is looked for in very little.
-- squawk-ignore require-concurrent-index-creation
create index users_capital_email_idx on auth.users (lower(email::text)) where email::text <> lower(email::text);

-- Without statistics the planner takes this one row for eighty.
analyze auth.settings;

reset role;

---- create above / drop below ----

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

drop index auth.users_capital_email_idx;
drop index auth.users_phone_change_idx;

reset role;
