-- Sign-ins that leave the server and come back: PKCE, external providers, SAML.
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

    create table auth.flow_state (
        id uuid not null,
        user_id uuid,
        auth_code text,
        code_challenge_method auth.code_challenge_method,
        code_challenge text,
        provider_type text not null,
        provider_access_token text,
        provider_refresh_token text,
        created_at timestamptz,
        updated_at timestamptz,
        authentication_method text not null,
        auth_code_issued_at timestamptz,
        invite_token text,
        referrer text,
        oauth_client_state_id uuid,
        linking_target_id uuid,
        email_optional boolean not null default false,
        constraint flow_state_pkey primary key (id)
    );
    create index flow_state_created_at_idx on auth.flow_state (created_at desc);
    create index idx_auth_code on auth.flow_state (auth_code);
    create index idx_user_id_auth_method on auth.flow_state (user_id, authentication_method);
    alter table auth.flow_state enable row level security;
    comment on table auth.flow_state is
        'Sign-ins under way that end in an exchange: PKCE, external providers, single sign-on.';

    create table auth.sso_providers (
        id uuid not null,
        resource_id text,
        created_at timestamptz,
        updated_at timestamptz,
        disabled boolean,
        constraint sso_providers_pkey primary key (id),
        constraint "resource_id not empty"
            check (resource_id = null::text or char_length(resource_id) > 0)
    );
    create unique index sso_providers_resource_id_idx on auth.sso_providers (lower(resource_id));
    create index sso_providers_resource_id_pattern_idx on auth.sso_providers (resource_id text_pattern_ops);
    alter table auth.sso_providers enable row level security;
    comment on table auth.sso_providers is 'Identity providers of organisations.';

    create table auth.sso_domains (
        id uuid not null,
        sso_provider_id uuid not null,
        domain text not null,
        created_at timestamptz,
        updated_at timestamptz,
        constraint sso_domains_pkey primary key (id),
        constraint sso_domains_sso_provider_id_fkey
            foreign key (sso_provider_id) references auth.sso_providers (id) on delete cascade,
        constraint "domain not empty" check (char_length(domain) > 0)
    );
    create unique index sso_domains_domain_idx on auth.sso_domains (lower(domain));
    create index sso_domains_sso_provider_id_idx on auth.sso_domains (sso_provider_id);
    alter table auth.sso_domains enable row level security;
    comment on table auth.sso_domains is
        'Which e-mail domain signs in at the provider of which organisation.';

    create table auth.saml_providers (
        id uuid not null,
        sso_provider_id uuid not null,
        entity_id text not null,
        metadata_xml text not null,
        metadata_url text,
        attribute_mapping jsonb,
        created_at timestamptz,
        updated_at timestamptz,
        name_id_format text,
        constraint saml_providers_pkey primary key (id),
        constraint saml_providers_entity_id_key unique (entity_id),
        constraint saml_providers_sso_provider_id_fkey
            foreign key (sso_provider_id) references auth.sso_providers (id) on delete cascade,
        constraint "entity_id not empty" check (char_length(entity_id) > 0),
        constraint "metadata_url not empty"
            check (metadata_url = null::text or char_length(metadata_url) > 0),
        constraint "metadata_xml not empty" check (char_length(metadata_xml) > 0)
    );
    create index saml_providers_sso_provider_id_idx on auth.saml_providers (sso_provider_id);
    alter table auth.saml_providers enable row level security;
    comment on table auth.saml_providers is
        'SAML metadata and attribute mapping of the provider of an organisation.';

    create table auth.saml_relay_states (
        id uuid not null,
        sso_provider_id uuid not null,
        request_id text not null,
        for_email text,
        redirect_to text,
        created_at timestamptz,
        updated_at timestamptz,
        flow_state_id uuid,
        constraint saml_relay_states_pkey primary key (id),
        constraint saml_relay_states_flow_state_id_fkey
            foreign key (flow_state_id) references auth.flow_state (id) on delete cascade,
        constraint saml_relay_states_sso_provider_id_fkey
            foreign key (sso_provider_id) references auth.sso_providers (id) on delete cascade,
        constraint "request_id not empty" check (char_length(request_id) > 0)
    );
    create index saml_relay_states_created_at_idx on auth.saml_relay_states (created_at desc);
    create index saml_relay_states_for_email_idx on auth.saml_relay_states (for_email);
    create index saml_relay_states_sso_provider_id_idx on auth.saml_relay_states (sso_provider_id);
    alter table auth.saml_relay_states enable row level security;
    comment on table auth.saml_relay_states is 'SAML sign-ins under way that started here.';
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

    drop table auth.saml_relay_states;
    drop table auth.saml_providers;
    drop table auth.sso_domains;
    drop table auth.sso_providers;
    drop table auth.flow_state;
end
$$;

reset role;
