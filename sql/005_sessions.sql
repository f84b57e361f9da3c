-- Sessions, their refresh tokens and how they were authenticated. Exactly the tables of Supabase Auth:
-- what Postern changes in them stands in 012 and 013.
-- On a database that Supabase Auth made these tables exist and stay as they are, down to the locks on them.

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

do $$
begin
    if (select adopted from auth.adoption) then
        return;
    end if;

    create table auth.sessions (
        id uuid not null,
        user_id uuid not null,
        created_at timestamptz,
        updated_at timestamptz,
        factor_id uuid,
        aal auth.aal_level,
        not_after timestamptz,
        refreshed_at timestamp,
        user_agent text,
        ip inet,
        tag text,
        oauth_client_id uuid,
        refresh_token_hmac_key text,
        refresh_token_counter bigint,
        scopes text,
        constraint sessions_pkey primary key (id),
        constraint sessions_oauth_client_id_fkey
            foreign key (oauth_client_id) references auth.oauth_clients (id) on delete cascade,
        constraint sessions_user_id_fkey
            foreign key (user_id) references auth.users (id) on delete cascade,
        constraint sessions_scopes_length check (char_length(scopes) <= 4096)
    );
    create index sessions_not_after_idx on auth.sessions (not_after desc);
    create index sessions_oauth_client_id_idx on auth.sessions (oauth_client_id);
    create index sessions_user_id_idx on auth.sessions (user_id);
    create index user_id_created_at_idx on auth.sessions (user_id, created_at);
    alter table auth.sessions enable row level security;
    comment on table auth.sessions is
        'One row per signed-in session. Deleting the row ends the session at its next refresh.';

    create table auth.refresh_tokens (
        instance_id uuid,
        id bigserial,
        token varchar(255),
        user_id varchar(255),
        revoked boolean,
        created_at timestamptz,
        updated_at timestamptz,
        parent varchar(255),
        session_id uuid,
        constraint refresh_tokens_pkey primary key (id),
        constraint refresh_tokens_token_unique unique (token),
        constraint refresh_tokens_session_id_fkey
            foreign key (session_id) references auth.sessions (id) on delete cascade
    );
    create index refresh_tokens_instance_id_idx on auth.refresh_tokens (instance_id);
    create index refresh_tokens_instance_id_user_id_idx on auth.refresh_tokens (instance_id, user_id);
    create index refresh_tokens_parent_idx on auth.refresh_tokens (parent);
    create index refresh_tokens_session_id_revoked_idx on auth.refresh_tokens (session_id, revoked);
    create index refresh_tokens_updated_at_idx on auth.refresh_tokens (updated_at desc);
    alter table auth.refresh_tokens enable row level security;
    comment on table auth.refresh_tokens is
        'The live refresh token of each session, updated in place. Set revoked to end it from psql.';

    create table auth.mfa_amr_claims (
        session_id uuid not null,
        created_at timestamptz not null,
        updated_at timestamptz not null,
        authentication_method text not null,
        id uuid not null,
        constraint amr_id_pk primary key (id),
        constraint mfa_amr_claims_session_id_authentication_method_pkey
            unique (session_id, authentication_method),
        constraint mfa_amr_claims_session_id_fkey
            foreign key (session_id) references auth.sessions (id) on delete cascade
    );
    alter table auth.mfa_amr_claims enable row level security;
    comment on table auth.mfa_amr_claims is
        'How each session proved who it is: the amr claim of its tokens.';
end
$$;

reset role;

---- create above / drop below ----

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

do $$
begin
    if (select adopted from auth.adoption) then
        return;
    end if;

    drop table auth.mfa_amr_claims;
    drop table auth.refresh_tokens;
    drop table auth.sessions;
end
$$;

reset role;
