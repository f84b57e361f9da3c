-- Limits of requests, held across gateways. Unlogged: after a crash everybody starts with a full bucket,
-- and no request waits for a log write.

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

create unlogged table auth.rate_limits (
    limiter text not null,
    key text not null,
    full_at timestamptz not null,
    constraint rate_limits_pkey primary key (limiter, key)
) with (fillfactor = 70);
alter table auth.rate_limits enable row level security;

comment on table auth.rate_limits is
    'One row per limiter and client that was seen lately. Delete a row to forgive a client.';
comment on column auth.rate_limits.limiter is 'Which limit: the name in contract core.md 11.1.';
comment on column auth.rate_limits.key is 'Whom it counts: the key that the gateway takes from the request.';
comment on column auth.rate_limits.full_at is
    'When the bucket will be full again; each request moves it on by its cost (GCRA).';

reset role;

---- create above / drop below ----

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

drop table auth.rate_limits;

reset role;
