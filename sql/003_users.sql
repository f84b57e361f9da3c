-- Accounts, their identities and the one-time tokens sent to them.
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

    create table auth.users (
        instance_id uuid,
        id uuid not null,
        aud varchar(255),
        role varchar(255),
        email varchar(255),
        encrypted_password varchar(255),
        email_confirmed_at timestamptz,
        invited_at timestamptz,
        confirmation_token varchar(255),
        confirmation_sent_at timestamptz,
        recovery_token varchar(255),
        recovery_sent_at timestamptz,
        email_change_token_new varchar(255),
        email_change varchar(255),
        email_change_sent_at timestamptz,
        last_sign_in_at timestamptz,
        raw_app_meta_data jsonb,
        raw_user_meta_data jsonb,
        is_super_admin boolean,
        created_at timestamptz,
        updated_at timestamptz,
        phone text default null::varchar,
        phone_confirmed_at timestamptz,
        phone_change text default ''::varchar,
        phone_change_token varchar(255) default '',
        phone_change_sent_at timestamptz,
        confirmed_at timestamptz generated always as (least(email_confirmed_at, phone_confirmed_at)) stored,
        email_change_token_current varchar(255) default '',
        email_change_confirm_status smallint default 0,
        banned_until timestamptz,
        reauthentication_token varchar(255) default '',
        reauthentication_sent_at timestamptz,
        is_sso_user boolean not null default false,
        deleted_at timestamptz,
        is_anonymous boolean not null default false,
        constraint users_pkey primary key (id),
        constraint users_phone_key unique (phone),
        constraint users_email_change_confirm_status_check
            check (email_change_confirm_status >= 0 and email_change_confirm_status <= 2)
    );
    create unique index confirmation_token_idx
        on auth.users (confirmation_token)
        where confirmation_token !~ '^[0-9 ]*$';
    create unique index email_change_token_current_idx
        on auth.users (email_change_token_current)
        where email_change_token_current !~ '^[0-9 ]*$';
    create unique index email_change_token_new_idx
        on auth.users (email_change_token_new)
        where email_change_token_new !~ '^[0-9 ]*$';
    create unique index reauthentication_token_idx
        on auth.users (reauthentication_token)
        where reauthentication_token !~ '^[0-9 ]*$';
    create unique index recovery_token_idx
        on auth.users (recovery_token)
        where recovery_token !~ '^[0-9 ]*$';
    create unique index users_email_partial_key on auth.users (email) where is_sso_user = false;
    create index users_instance_id_email_idx on auth.users (instance_id, lower(email::text));
    create index users_instance_id_idx on auth.users (instance_id);
    create index users_is_anonymous_idx on auth.users (is_anonymous);
    alter table auth.users enable row level security;
    comment on table auth.users is
        'One row per account. id is the sub claim of its tokens; foreign keys of your own tables point here.';

    create table auth.identities (
        provider_id text not null,
        user_id uuid not null,
        identity_data jsonb not null,
        provider text not null,
        last_sign_in_at timestamptz,
        created_at timestamptz,
        updated_at timestamptz,
        email text generated always as (lower(identity_data ->> 'email')) stored,
        id uuid not null default gen_random_uuid(),
        constraint identities_pkey primary key (id),
        constraint identities_provider_id_provider_unique unique (provider_id, provider),
        constraint identities_user_id_fkey
            foreign key (user_id) references auth.users (id) on delete cascade
    );
    create index identities_email_idx on auth.identities (email text_pattern_ops);
    create index identities_user_id_idx on auth.identities (user_id);
    alter table auth.identities enable row level security;
    comment on table auth.identities is
        'One row per way in (email, phone, google and so on) of an account.';

    create table auth.one_time_tokens (
        id uuid not null,
        user_id uuid not null,
        token_type auth.one_time_token_type not null,
        token_hash text not null,
        relates_to text not null,
        created_at timestamp not null default now(),
        updated_at timestamp not null default now(),
        constraint one_time_tokens_pkey primary key (id),
        constraint one_time_tokens_user_id_fkey
            foreign key (user_id) references auth.users (id) on delete cascade,
        constraint one_time_tokens_token_hash_check check (char_length(token_hash) > 0)
    );
    create index one_time_tokens_relates_to_hash_idx on auth.one_time_tokens using hash (relates_to);
    create index one_time_tokens_token_hash_hash_idx on auth.one_time_tokens using hash (token_hash);
    create unique index one_time_tokens_user_id_token_type_key
        on auth.one_time_tokens (user_id, token_type);
    alter table auth.one_time_tokens enable row level security;
    comment on table auth.one_time_tokens is
        'Codes and link tokens that wait to be used, as hashes, one row per account and kind.';
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

    -- The count was refused before anything was dropped; this one is for rows written in between.
    if exists (select from auth.users) then
        raise exception 'auth.users still has rows: nothing is dropped';
    end if;

    drop table auth.one_time_tokens;
    drop table auth.identities;
    drop table auth.users;
end
$$;

reset role;
