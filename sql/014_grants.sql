-- Who else may read the tables: role postgres where it exists, as Supabase Auth has it, and nobody of the
-- API. What default privileges of the database gave away is taken back.

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

do $$
declare
    v_table text;
begin
    for v_table in
        select tablename
          from pg_tables
         where schemaname = 'auth'
           and tableowner = current_user
           and (
               tablename in ('adoption', 'settings', 'rate_limits')
               or not (select adopted from auth.adoption)
           )
    loop
        execute format(
            'revoke all on table auth.%I from public, anon, authenticated, service_role, postern_gateway',
            v_table
        );
    end loop;

    if (select adopted from auth.adoption) then
        return;
    end if;
    revoke all on sequence auth.refresh_tokens_id_seq
      from public, anon, authenticated, service_role, postern_gateway;
    if current_user <> 'postgres' and exists (select from pg_roles where rolname = 'postgres') then
        grant select on
            auth.audit_log_entries, auth.flow_state, auth.identities, auth.instances,
            auth.mfa_amr_claims, auth.mfa_challenges, auth.mfa_factors, auth.one_time_tokens,
            auth.refresh_tokens, auth.saml_providers, auth.saml_relay_states, auth.schema_migrations,
            auth.sessions, auth.sso_domains, auth.sso_providers, auth.users
        to postgres with grant option;
    end if;
end
$$;

reset role;

---- create above / drop below ----

-- The grants go with their tables.
select 1;
