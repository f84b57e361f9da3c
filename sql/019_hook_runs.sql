-- What became of hooks, and why requests failed: one row each, to be found by the request id that the client was told.

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

create table auth.hook_runs (
    id uuid not null default gen_random_uuid(),
    created_at timestamptz not null default clock_timestamp(),
    request_id text,
    user_id uuid,
    point text not null,
    target text,
    table_name text,
    outcome text not null,
    ms numeric(12, 3),
    sqlstate text,
    message text,
    detail text,
    hint text,
    context text,
    constraint hook_runs_pkey primary key (id)
);
-- The table is new: nobody can be waiting for it.
-- squawk-ignore require-concurrent-index-creation
create index hook_runs_request_id_idx on auth.hook_runs (request_id);
-- squawk-ignore require-concurrent-index-creation
create index hook_runs_created_at_idx on auth.hook_runs (created_at);
alter table auth.hook_runs enable row level security;

comment on table auth.hook_runs is
    'Calls of hooks that failed or took long, and errors of users'' triggers and constraints on tables of auth; postern.explain_error reads it. What hooks were told and answered is not kept.';
comment on column auth.hook_runs.id is 'Names the row.';
comment on column auth.hook_runs.created_at is 'When it was over; rows go after auth.settings.hook_runs_retention.';
comment on column auth.hook_runs.request_id is
    'The request it happened in: header X-Request-Id and error_id of the answer, request_id in the gateway''s log. Its first 200 characters; null at psql.';
comment on column auth.hook_runs.user_id is 'The account it was about, or whoever made the request; null when nobody was signed in.';
comment on column auth.hook_runs.point is
    'The hook (mfa-hooks.md 3.1), or database: a trigger or constraint refused, or the statement was not finished.';
comment on column auth.hook_runs.target is
    'What was called: the hook''s address without query, or the innermost function, a trigger''s mostly, that is not Postern''s.';
comment on column auth.hook_runs.table_name is 'The table of auth whose change failed, where that is known.';
comment on column auth.hook_runs.outcome is
    'ok (it only took long), refused, failed, timeout, unreachable, unavailable, status, content_type, too_large, output, signature, uri or cancelled; docs/operations.md has their meaning.';
comment on column auth.hook_runs.ms is 'Milliseconds that the hook or the statement took, null when not known.';
comment on column auth.hook_runs.sqlstate is 'PostgreSQL''s code for the error, null when it came from elsewhere.';
comment on column auth.hook_runs.message is 'What was wrong, in the words of the hook, the trigger or PostgreSQL; this and the next are cut at 4000 characters.';
comment on column auth.hook_runs.detail is 'Detail of the error; rows of tables, which PostgreSQL quotes there, are left out.';
comment on column auth.hook_runs.hint is 'Hint of the error.';
comment on column auth.hook_runs.context is 'Functions and statements that were running, innermost first.';

revoke all on table auth.hook_runs from public, anon, authenticated, service_role, postern_gateway;

alter table auth.settings
    add column hook_runs_slow_ms integer not null default 1000
        constraint settings_hook_runs_slow_ms_check check (hook_runs_slow_ms >= 0),
    add column hook_runs_retention interval not null default '168 hours'
        constraint settings_hook_runs_retention_check check (hook_runs_retention > interval '0');

comment on column auth.settings.hook_runs_slow_ms is
    'Calls of hooks that take as many milliseconds are recorded in auth.hook_runs even when nothing fails; 0 records all.';
comment on column auth.settings.hook_runs_retention is 'How long rows of auth.hook_runs are kept.';

reset role;

---- create above / drop below ----

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

alter table auth.settings
    drop column hook_runs_retention,
    drop column hook_runs_slow_ms;
drop table auth.hook_runs;

reset role;
