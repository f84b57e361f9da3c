-- Who owns the engine, the roles of the cluster, the two schemas, and what down has to know one day.
--
-- The migrating role needs CREATE on the database, and CREATEROLE unless the roles were made beforehand.
-- What needs more is refused with the commands for somebody who has it. A refusal leaves nothing behind.

set local lock_timeout = '30s';
set local search_path = '';

-- tern knows the version from one table only, so that another one would make it install twice.
do $$
declare
    v_table text;
    v_version integer;
begin
    for v_table in
        select format('%I.%I', schemaname, tablename)
          from pg_tables
         where schemaname in ('public', 'auth')
           and tablename = 'postern_version'
    loop
        execute 'select max(version) from ' || v_table into v_version;
        if v_version > 0 then
            raise exception '% says that Postern is installed here at version %', v_table, v_version
                using detail = format('Migrate with POSTERN_VERSION_TABLE=%s.', v_table);
        end if;
    end loop;

    if exists (select from pg_tables where schemaname = 'auth' and tablename = 'adoption') then
        raise exception 'auth.adoption says that Postern is installed here'
            using detail = 'Set POSTERN_VERSION_TABLE to the version table of that installation.';
    end if;
end
$$;

-- The owner: whoever owns auth.users; else the migrating role; a superuser owns nothing itself, because the
-- functions run with their owner's rights.
do $$
declare
    v_owner name;
begin
    select tableowner into v_owner from pg_tables where schemaname = 'auth' and tablename = 'users';
    if found then
        perform set_config('postern.adopted', 'true', true);
        if not pg_has_role(
            v_owner,
            case when current_setting('server_version_num')::integer < 160000 then 'MEMBER' else 'SET' end
        ) then
            raise exception 'auth.users belongs to %, and % may not act as that role', v_owner, current_user
                using detail = format('Run as superuser: grant %I to %I;', v_owner, current_user);
        end if;
        if (select rolsuper from pg_roles where rolname = v_owner) then
            raise warning 'auth.users belongs to superuser %: the engine will run with all rights', v_owner
                using hint = 'Give schema auth and all in it to an ordinary role, then migrate.';
        end if;
    else
        perform set_config('postern.adopted', 'false', true);
        v_owner := case
            when (select rolsuper from pg_roles where rolname = current_user) then 'postern_owner'
            else current_user
        end;
    end if;
    perform set_config('postern.owner', v_owner, true);

    if not has_database_privilege(current_database(), 'CREATE') then
        raise exception '% may not create schemas in database %', current_user, current_database()
            using detail = format(
                'Run as superuser: grant create on database %I to %I;', current_database(), current_user
            );
    end if;
end
$$;

-- Adoption starts from the schema of Supabase Auth 2.196 and from no other: names and types of its columns,
-- labels of its types, its list of migrations. Lengths may differ (the Supabase image makes
-- schema_migrations wider).
do $$
declare
    v_owner name := current_setting('postern.owner');
    v_do text := 'Start Supabase Auth 2.196 on this database once, which migrates it; then migrate again.';
    v_missing record;
    v_version text;
begin
    if current_setting('postern.adopted') = 'false' then
        return;
    end if;

    select e.table_name, c.column_name, e.type_name, format_type(a.atttypid, null) as actual
      into v_missing
      from (
        values
            ('audit_log_entries', 'uuid', 'instance_id id'),
            ('audit_log_entries', 'json', 'payload'),
            ('audit_log_entries', 'timestamp with time zone', 'created_at'),
            ('audit_log_entries', 'character varying', 'ip_address'),
            ('custom_oauth_providers', 'uuid', 'id'),
            ('custom_oauth_providers', 'text',
                'provider_type identifier name client_id client_secret issuer discovery_url '
                'authorization_url token_url userinfo_url jwks_uri'),
            ('custom_oauth_providers', 'text[]', 'acceptable_client_ids scopes custom_claims_allowlist'),
            ('custom_oauth_providers', 'boolean', 'pkce_enabled enabled email_optional skip_nonce_check'),
            ('custom_oauth_providers', 'jsonb', 'attribute_mapping authorization_params cached_discovery'),
            ('custom_oauth_providers', 'timestamp with time zone',
                'discovery_cached_at created_at updated_at'),
            ('flow_state', 'uuid', 'id user_id oauth_client_state_id linking_target_id'),
            ('flow_state', 'text',
                'auth_code code_challenge provider_type provider_access_token provider_refresh_token '
                'authentication_method invite_token referrer'),
            ('flow_state', 'auth.code_challenge_method', 'code_challenge_method'),
            ('flow_state', 'timestamp with time zone', 'created_at updated_at auth_code_issued_at'),
            ('flow_state', 'boolean', 'email_optional'),
            ('identities', 'text', 'provider_id provider email'),
            ('identities', 'uuid', 'user_id id'),
            ('identities', 'jsonb', 'identity_data'),
            ('identities', 'timestamp with time zone', 'last_sign_in_at created_at updated_at'),
            ('instances', 'uuid', 'id uuid'),
            ('instances', 'text', 'raw_base_config'),
            ('instances', 'timestamp with time zone', 'created_at updated_at'),
            ('mfa_amr_claims', 'uuid', 'session_id id'),
            ('mfa_amr_claims', 'timestamp with time zone', 'created_at updated_at'),
            ('mfa_amr_claims', 'text', 'authentication_method'),
            ('mfa_challenges', 'uuid', 'id factor_id'),
            ('mfa_challenges', 'timestamp with time zone', 'created_at verified_at'),
            ('mfa_challenges', 'inet', 'ip_address'),
            ('mfa_challenges', 'text', 'otp_code'),
            ('mfa_challenges', 'jsonb', 'web_authn_session_data'),
            ('mfa_factors', 'uuid', 'id user_id web_authn_aaguid'),
            ('mfa_factors', 'text', 'friendly_name secret phone'),
            ('mfa_factors', 'auth.factor_type', 'factor_type'),
            ('mfa_factors', 'auth.factor_status', 'status'),
            ('mfa_factors', 'timestamp with time zone', 'created_at updated_at last_challenged_at'),
            ('mfa_factors', 'jsonb', 'web_authn_credential last_webauthn_challenge_data'),
            ('oauth_authorizations', 'uuid', 'id client_id user_id'),
            ('oauth_authorizations', 'text',
                'authorization_id redirect_uri scope state resource code_challenge authorization_code '
                'nonce'),
            ('oauth_authorizations', 'auth.code_challenge_method', 'code_challenge_method'),
            ('oauth_authorizations', 'auth.oauth_response_type', 'response_type'),
            ('oauth_authorizations', 'auth.oauth_authorization_status', 'status'),
            ('oauth_authorizations', 'timestamp with time zone', 'created_at expires_at approved_at'),
            ('oauth_client_states', 'uuid', 'id'),
            ('oauth_client_states', 'text', 'provider_type code_verifier'),
            ('oauth_client_states', 'timestamp with time zone', 'created_at'),
            ('oauth_clients', 'uuid', 'id'),
            ('oauth_clients', 'text',
                'client_secret_hash redirect_uris grant_types client_name client_uri logo_uri '
                'token_endpoint_auth_method'),
            ('oauth_clients', 'auth.oauth_registration_type', 'registration_type'),
            ('oauth_clients', 'timestamp with time zone', 'created_at updated_at deleted_at'),
            ('oauth_clients', 'auth.oauth_client_type', 'client_type'),
            ('oauth_consents', 'uuid', 'id user_id client_id'),
            ('oauth_consents', 'text', 'scopes'),
            ('oauth_consents', 'timestamp with time zone', 'granted_at revoked_at'),
            ('one_time_tokens', 'uuid', 'id user_id'),
            ('one_time_tokens', 'auth.one_time_token_type', 'token_type'),
            ('one_time_tokens', 'text', 'token_hash relates_to'),
            ('one_time_tokens', 'timestamp without time zone', 'created_at updated_at'),
            ('refresh_tokens', 'uuid', 'instance_id session_id'),
            ('refresh_tokens', 'bigint', 'id'),
            ('refresh_tokens', 'character varying', 'token user_id parent'),
            ('refresh_tokens', 'boolean', 'revoked'),
            ('refresh_tokens', 'timestamp with time zone', 'created_at updated_at'),
            ('saml_providers', 'uuid', 'id sso_provider_id'),
            ('saml_providers', 'text', 'entity_id metadata_xml metadata_url name_id_format'),
            ('saml_providers', 'jsonb', 'attribute_mapping'),
            ('saml_providers', 'timestamp with time zone', 'created_at updated_at'),
            ('saml_relay_states', 'uuid', 'id sso_provider_id flow_state_id'),
            ('saml_relay_states', 'text', 'request_id for_email redirect_to'),
            ('saml_relay_states', 'timestamp with time zone', 'created_at updated_at'),
            ('schema_migrations', 'character varying', 'version'),
            ('sessions', 'uuid', 'id user_id factor_id oauth_client_id'),
            ('sessions', 'timestamp with time zone', 'created_at updated_at not_after'),
            ('sessions', 'auth.aal_level', 'aal'),
            ('sessions', 'timestamp without time zone', 'refreshed_at'),
            ('sessions', 'text', 'user_agent tag refresh_token_hmac_key scopes'),
            ('sessions', 'inet', 'ip'),
            ('sessions', 'bigint', 'refresh_token_counter'),
            ('sso_domains', 'uuid', 'id sso_provider_id'),
            ('sso_domains', 'text', 'domain'),
            ('sso_domains', 'timestamp with time zone', 'created_at updated_at'),
            ('sso_providers', 'uuid', 'id'),
            ('sso_providers', 'text', 'resource_id'),
            ('sso_providers', 'timestamp with time zone', 'created_at updated_at'),
            ('sso_providers', 'boolean', 'disabled'),
            ('users', 'uuid', 'instance_id id'),
            ('users', 'character varying',
                'aud role email encrypted_password confirmation_token recovery_token '
                'email_change_token_new email_change phone_change_token email_change_token_current '
                'reauthentication_token'),
            ('users', 'timestamp with time zone',
                'email_confirmed_at invited_at confirmation_sent_at recovery_sent_at email_change_sent_at '
                'last_sign_in_at created_at updated_at phone_confirmed_at phone_change_sent_at '
                'confirmed_at banned_until reauthentication_sent_at deleted_at'),
            ('users', 'jsonb', 'raw_app_meta_data raw_user_meta_data'),
            ('users', 'boolean', 'is_super_admin is_sso_user is_anonymous'),
            ('users', 'text', 'phone phone_change'),
            ('users', 'smallint', 'email_change_confirm_status'),
            ('webauthn_challenges', 'uuid', 'id user_id'),
            ('webauthn_challenges', 'text', 'challenge_type'),
            ('webauthn_challenges', 'jsonb', 'session_data'),
            ('webauthn_challenges', 'timestamp with time zone', 'created_at expires_at'),
            ('webauthn_credentials', 'uuid', 'id user_id aaguid'),
            ('webauthn_credentials', 'bytea', 'credential_id public_key'),
            ('webauthn_credentials', 'text', 'attestation_type friendly_name'),
            ('webauthn_credentials', 'bigint', 'sign_count'),
            ('webauthn_credentials', 'jsonb', 'transports'),
            ('webauthn_credentials', 'boolean', 'backup_eligible backed_up'),
            ('webauthn_credentials', 'timestamp with time zone', 'created_at updated_at last_used_at')
      ) e (table_name, type_name, column_names)
     cross join unnest(string_to_array(e.column_names, ' ')) with ordinality c (column_name, n)
      left join pg_class t
        on t.relname = e.table_name
       and t.relnamespace = (select oid from pg_namespace where nspname = 'auth')
      left join pg_attribute a
        on a.attrelid = t.oid
       and a.attname = c.column_name
       and not a.attisdropped
     where format_type(a.atttypid, null) is distinct from e.type_name
     order by e.table_name, c.n
     limit 1;
    if found then
        raise exception 'auth.users was not made by Supabase Auth 2.196: column auth.%.% %',
            v_missing.table_name,
            v_missing.column_name,
            case
                when v_missing.actual is null then 'is missing'
                else format('is %s, not %s', v_missing.actual, v_missing.type_name)
            end
            using detail = v_do;
    end if;

    select t.relname, pg_get_userbyid(t.relowner) as actual
      into v_missing
      from pg_class t
     where t.relnamespace = (select oid from pg_namespace where nspname = 'auth')
       and t.relname in ('users', 'sessions', 'refresh_tokens')
       and not pg_has_role(v_owner, t.relowner, 'USAGE')
     limit 1;
    if found then
        raise exception 'auth.% belongs to %, but auth.users to %',
            v_missing.relname, v_missing.actual, v_owner
            using detail = format(
                'Run as superuser: alter table auth.%I owner to %I;', v_missing.relname, v_owner
            );
    end if;

    select e.type_name, l.label
      into v_missing
      from (
        values
            ('aal_level', 'aal1 aal2 aal3'),
            ('code_challenge_method', 's256 plain'),
            ('factor_status', 'unverified verified'),
            ('factor_type', 'totp webauthn phone'),
            ('oauth_authorization_status', 'pending approved denied expired'),
            ('oauth_client_type', 'public confidential'),
            ('oauth_registration_type', 'dynamic manual'),
            ('oauth_response_type', 'code'),
            ('one_time_token_type',
                'confirmation_token reauthentication_token recovery_token email_change_token_new '
                'email_change_token_current phone_change_token')
      ) e (type_name, labels)
     cross join unnest(string_to_array(e.labels, ' ')) l (label)
     where not exists (
        select
          from pg_enum n
          join pg_type t on t.oid = n.enumtypid
         where t.typname = e.type_name
           and t.typnamespace = (select oid from pg_namespace where nspname = 'auth')
           and n.enumlabel = l.label
     )
     limit 1;
    if found then
        raise exception 'auth.users was not made by Supabase Auth 2.196: type auth.% lacks ''%''',
            v_missing.type_name, v_missing.label
            using detail = v_do;
    end if;

    perform set_config('role', v_owner, true);
    select e.version
      into v_version
      from unnest(array[
            '00', '20210710035447', '20210722035447', '20210730183235', '20210909172000',
            '20210927181326', '20211122151130', '20211124214934', '20211202183645', '20220114185221',
            '20220114185340', '20220224000811', '20220323170000', '20220429102000', '20220531120530',
            '20220614074223', '20220811173540', '20221003041349', '20221003041400', '20221011041400',
            '20221020193600', '20221021073300', '20221021082433', '20221027105023', '20221114143122',
            '20221114143410', '20221125140132', '20221208132122', '20221215195500', '20221215195800',
            '20221215195900', '20230116124310', '20230116124412', '20230131181311', '20230322519590',
            '20230402418590', '20230411005111', '20230508135423', '20230523124323', '20230818113222',
            '20230914180801', '20231027141322', '20231114161723', '20231117164230', '20240115144230',
            '20240214120130', '20240306115329', '20240314092811', '20240427152123', '20240612123726',
            '20240729123726', '20240802193726', '20240806073726', '20241009103726', '20250717082212',
            '20250731150234', '20250804100000', '20250901200500', '20250903112500', '20250904133000',
            '20250925093508', '20251007112900', '20251104100000', '20251111201300', '20251201000000',
            '20260115000000', '20260121000000', '20260219120000', '20260302000000', '20260625000000'
      ]) e (version)
     where not exists (select from auth.schema_migrations m where m.version = e.version)
     limit 1;
    if found then
        raise exception 'auth.users was not made by Supabase Auth 2.196: auth.schema_migrations lacks %',
            v_version
            using detail = v_do;
    end if;

    select max(m.version) into v_version from auth.schema_migrations m where m.version > '20260625000000';
    if v_version is not null then
        raise exception 'auth.users was made by a Supabase Auth after 2.196: auth.schema_migrations has %',
            v_version
            using detail = 'This release of Postern adopts databases of Supabase Auth 2.196 only.';
    end if;
    execute 'reset role';
end
$$;

-- Roles belong to the cluster, and several of its databases may migrate at once: each step is looked at
-- first, done only when something is missing, and looked at again when another database was faster (ours
-- waits for its transaction, then fails as a duplicate or a concurrent update). All databases take the
-- steps in one order, so that they wait for each other and never in a circle.
do $$
declare
    v_owner name := current_setting('postern.owner');
    v_is_15 boolean := current_setting('server_version_num')::integer < 160000;
    v_step record;
    v_done boolean;
    v_tries integer;
    v_commands text[] := '{}';
    v_refused text;
begin
    for v_step in
        select r.n,
               format('select exists (select from pg_roles where rolname = %L)', r.name) as done,
               format('create role %I %s', r.name, r.attributes) as command
          from (
            values
                (1, 'postern_owner', 'nologin'),
                (2, 'anon', 'nologin'),
                (3, 'authenticated', 'nologin'),
                (4, 'service_role', 'nologin bypassrls'),
                -- What it may become is said at its making: an existing role is given no membership.
                (5, 'authenticator', 'nologin noinherit in role anon, authenticated, service_role'),
                (6, 'supabase_auth_admin', 'nologin noinherit'),
                (7, 'postern_gateway', 'login')
          ) r (n, name, attributes)
         where r.name <> 'postern_owner'
            or v_owner = 'postern_owner'
         union all
        select c.n, c.done, c.command
          from (
            values
                (
                    8,
                    $c$select rolbypassrls or rolsuper from pg_roles where rolname = 'service_role'$c$,
                    'alter role service_role bypassrls'
                ),
                (
                    9,
                    $c$select rolcanlogin from pg_roles where rolname = 'postern_gateway'$c$,
                    'alter role postern_gateway login'
                ),
                (
                    10,
                    $c$select exists (
                        select
                          from pg_db_role_setting s, unnest(s.setconfig) c (setting)
                         where s.setdatabase = 0
                           and s.setrole = 'postern_gateway'::regrole
                           and c.setting like 'statement_timeout=%'
                    )$c$,
                    $c$alter role postern_gateway set statement_timeout = '10s'$c$
                ),
                (
                    11,
                    $c$select exists (
                        select
                          from pg_db_role_setting s, unnest(s.setconfig) c (setting)
                         where s.setdatabase = 0
                           and s.setrole = 'postern_gateway'::regrole
                           and c.setting like 'lock_timeout=%'
                    )$c$,
                    $c$alter role postern_gateway set lock_timeout = '2s'$c$
                ),
                -- Supabase projects grant their hooks to supabase_auth_admin; the owner calls them.
                (
                    12,
                    format(
                        'select pg_has_role(%L, %L, %L)',
                        v_owner, 'supabase_auth_admin', case when v_is_15 then 'MEMBER' else 'USAGE' end
                    ),
                    format(
                        'grant supabase_auth_admin to %I%s',
                        v_owner, case when v_is_15 then '' else ' with inherit true, set false' end
                    )
                )
          ) c (n, done, command)
         order by n
    loop
        v_tries := 0;
        loop
            begin
                execute v_step.done into v_done;
                exit when coalesce(v_done, true);
                v_tries := v_tries + 1;
                execute v_step.command;
                v_commands := v_commands || v_step.command;
                exit;
            exception
                when insufficient_privilege or undefined_object then
                    v_refused := coalesce(v_refused, sqlerrm);
                    v_commands := v_commands || v_step.command;
                    exit;
                when duplicate_object or unique_violation then
                    if v_tries > 50 then
                        raise;
                    end if;
                when internal_error then
                    if v_tries > 50 or sqlerrm not like 'tuple concurrently %' then
                        raise;
                    end if;
            end;
            perform pg_sleep(0.02);
        end loop;
    end loop;

    if v_refused is not null then
        raise exception 'role % may not prepare the roles of the cluster: %', current_user, v_refused
            using detail = format(
                'Run as superuser, then migrate again: %s;', array_to_string(v_commands, '; ')
            );
    end if;
end
$$;

do $$
declare
    v_owner name := current_setting('postern.owner');
    v_schema_created boolean := not exists (select from pg_namespace where nspname = 'auth');
    v_create_granted boolean := false;
    v_usage_granted name[];
    v_role name;
    v_command text;
begin
    if v_schema_created then
        execute format('create schema auth authorization %I', v_owner);
    end if;
    if exists (select from pg_namespace where nspname = 'postern') then
        raise exception 'schema postern exists already'
            using detail = 'The functions of the engine go there: rename or drop it, then migrate again.';
    end if;
    execute format('create schema postern authorization %I', v_owner);

    -- An existing schema keeps its owner; the right to grant on it is its owner's.
    if not has_schema_privilege(v_owner, 'auth', 'CREATE')
        or not has_schema_privilege(v_owner, 'auth', 'USAGE')
    then
        v_create_granted := true;
        v_command := format('grant create, usage on schema auth to %I', v_owner);
        begin
            execute v_command;
        exception
            when insufficient_privilege then
                null;
        end;
        if not has_schema_privilege(v_owner, 'auth', 'CREATE') then
            raise exception '% may not create tables in schema auth', v_owner
                using detail = format('Run as superuser, then migrate again: %s;', v_command);
        end if;
    end if;

    select coalesce(array_agg(r.rolname order by r.rolname), '{}')
      into v_usage_granted
      from pg_roles r
     where r.rolname in ('anon', 'authenticated', 'service_role', 'postgres')
       and r.rolname <> v_owner
       and not exists (
        select
          from pg_namespace n, aclexplode(n.nspacl) a
         where n.nspname = 'auth'
           and a.grantee = r.oid
           and a.privilege_type = 'USAGE'
     );
    if (select nspowner = v_owner::regrole from pg_namespace where nspname = 'auth') then
        perform set_config('role', v_owner, true);
    end if;
    foreach v_role in array v_usage_granted loop
        v_command := format('grant usage on schema auth to %I', v_role);
        begin
            execute v_command;
        exception
            when insufficient_privilege then
                null;
        end;
        if not has_schema_privilege(v_role, 'auth', 'USAGE') then
            raise exception '% may not let % use schema auth', current_user, v_role
                using detail = format('Run as superuser, then migrate again: %s;', v_command);
        end if;
    end loop;

    perform set_config('role', v_owner, true);
    grant usage on schema postern to postern_gateway;
    comment on schema postern is 'Postern''s functions: the whole engine. Its data lives in schema auth.';

    create table auth.adoption (
        id boolean not null default true,
        adopted boolean not null,
        schema_created boolean not null,
        create_granted boolean not null,
        usage_granted name[] not null,
        fillfactors jsonb not null default '{}',
        functions_created name[] not null default '{}',
        dropped_indexes jsonb not null default '{}',
        recorded_at timestamptz not null default now(),
        constraint adoption_pkey primary key (id),
        constraint adoption_id_check check (id)
    );
    alter table auth.adoption enable row level security;
    comment on table auth.adoption is
        'One row: what this database was before Postern came, so that migrating down leaves it as it was.';
    comment on column auth.adoption.id is 'Always true: there is one row.';
    comment on column auth.adoption.adopted is
        'Supabase Auth made the tables. Then they and their rows outlive Postern.';
    comment on column auth.adoption.schema_created is 'Schema auth was made by this installation.';
    comment on column auth.adoption.create_granted is 'The owner was granted CREATE, USAGE on schema auth.';
    comment on column auth.adoption.usage_granted is 'Roles that were granted USAGE on schema auth.';
    comment on column auth.adoption.fillfactors is
        'Fillfactor of each table before ours was set, by name, null for the default.';
    comment on column auth.adoption.functions_created is 'Functions of schema auth that were made by us.';
    comment on column auth.adoption.dropped_indexes is
        'Definition of each index that we dropped, by name, null when it was not there.';
    comment on column auth.adoption.recorded_at is 'When this was recorded.';

    insert into auth.adoption (adopted, schema_created, create_granted, usage_granted)
    values (
        current_setting('postern.adopted')::boolean,
        v_schema_created,
        v_create_granted,
        v_usage_granted
    );
end
$$;

reset role;

---- create above / drop below ----

set local lock_timeout = '5s';
set local search_path = '';

-- Roles stay: they belong to the cluster, and other databases use them.
do $$
declare
    v_owner name := (select tableowner from pg_tables where schemaname = 'auth' and tablename = 'adoption');
    v_schema_owner name := (select pg_get_userbyid(nspowner) from pg_namespace where nspname = 'auth');
    v_was record;
    v_role name;
begin
    perform set_config('role', v_owner, true);
    select * into v_was from auth.adoption;
    drop table auth.adoption;
    drop schema postern;

    -- A version table in schema auth keeps the schema; anything else left in it is an error that names it.
    if v_was.schema_created
        and not exists (select from pg_tables where schemaname = 'auth' and tablename like '%postern_version')
    then
        drop schema auth;
        return;
    end if;

    if v_schema_owner <> v_owner then
        execute 'reset role';
    end if;
    foreach v_role in array v_was.usage_granted loop
        if exists (select from pg_roles where rolname = v_role) then
            execute format('revoke usage on schema auth from %I', v_role);
        end if;
    end loop;
    if v_was.create_granted then
        execute format('revoke create, usage on schema auth from %I', v_owner);
    end if;
end
$$;

reset role;
