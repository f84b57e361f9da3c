-- Addresses for the moment that open no account, how long anonymous users are kept, and where the clean-up goes on.

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

create table auth.disposable_domains (
    domain text not null,
    constraint disposable_domains_pkey primary key (domain),
    constraint disposable_domains_domain_check check (domain ~ '^[a-z0-9-]+(\.[a-z0-9-]+)*$')
);
alter table auth.disposable_domains enable row level security;

comment on table auth.disposable_domains is
    'Domains, with all below them, whose e-mail addresses open no account and become nobody''s address. Empty: all may.';
comment on column auth.disposable_domains.domain is 'In lower case, without @: example.com stands for sub.example.com too.';

-- Unlogged: after a crash the clean-up begins anew.
create unlogged table auth.cleanup_positions (
    part text not null,
    after_id text not null,
    constraint cleanup_positions_pkey primary key (part)
);
alter table auth.cleanup_positions enable row level security;

comment on table auth.cleanup_positions is
    'Where postern.cleanup goes on in tables that it looks through in stretches; no row: at the beginning.';
comment on column auth.cleanup_positions.part is 'What it looks for: refresh_tokens, sessions, anonymous_users.';
comment on column auth.cleanup_positions.after_id is 'The last id that it has looked at.';

revoke all on table auth.disposable_domains, auth.cleanup_positions
  from public, anon, authenticated, service_role, postern_gateway;

alter table auth.settings
    add column anonymous_users_retention interval default '30 days'
        constraint settings_anonymous_users_retention_check check (anonymous_users_retention > interval '0');

comment on table auth.settings is
    'One row: the policy of this server. Column x is the variable GOTRUE_X or POSTERN_X; gateways notice changes.';
comment on column auth.settings.anonymous_users_retention is
    'How long after their last refresh anonymous users are kept, null for ever (core.md 12.6).';

reset role;

---- create above / drop below ----

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

comment on table auth.settings is
    'One row: the policy of this server. Column x is the variable GOTRUE_X; gateways notice changes.';
alter table auth.settings drop column anonymous_users_retention;
drop table auth.cleanup_positions;
drop table auth.disposable_domains;

reset role;
