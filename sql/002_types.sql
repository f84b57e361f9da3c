-- The enum types of Supabase Auth's schema, and the composite argument of the functions that the gateway
-- calls.

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

    create type auth.aal_level as enum ('aal1', 'aal2', 'aal3');
    create type auth.code_challenge_method as enum ('s256', 'plain');
    create type auth.factor_status as enum ('unverified', 'verified');
    create type auth.factor_type as enum ('totp', 'webauthn', 'phone');
    create type auth.oauth_authorization_status as enum ('pending', 'approved', 'denied', 'expired');
    create type auth.oauth_client_type as enum ('public', 'confidential');
    create type auth.oauth_registration_type as enum ('dynamic', 'manual');
    create type auth.oauth_response_type as enum ('code');
    create type auth.one_time_token_type as enum (
        'confirmation_token',
        'reauthentication_token',
        'recovery_token',
        'email_change_token_new',
        'email_change_token_current',
        'phone_change_token'
    );

    comment on type auth.aal_level is 'How surely a session knows its user: aal2 with a second factor.';
    comment on type auth.code_challenge_method is 'How a PKCE challenge was made from its verifier.';
    comment on type auth.factor_status is 'Whether the user has proved once to hold the factor.';
    comment on type auth.factor_type is 'Kind of a second factor.';
    comment on type auth.oauth_authorization_status is 'Where a request at /oauth/authorize stands.';
    comment on type auth.oauth_client_type is 'Whether an application can keep a secret.';
    comment on type auth.oauth_registration_type is 'Who registered an application: itself or an admin.';
    comment on type auth.oauth_response_type is 'What /oauth/authorize hands out.';
    comment on type auth.one_time_token_type is 'What a mailed or texted code is good for.';
end
$$;

create type postern.caller as (
    ip inet,
    user_agent text,
    audience text,
    limiter_key text,
    request_id text,
    user_id uuid,
    session_id uuid,
    role text
);

comment on type postern.caller is
    'What the gateway knows about a request: its connection and the verified claims of its access token.';
comment on column postern.caller.ip is 'Address of the client, null when it is not known.';
comment on column postern.caller.user_agent is 'User-Agent header as sent.';
comment on column postern.caller.audience is 'Audience that the request selected (contract core.md 1.9).';
comment on column postern.caller.limiter_key is 'Key of the limits per client, null for no limits.';
comment on column postern.caller.request_id is 'Id of the request, as it stands in the gateway''s log.';
comment on column postern.caller.user_id is 'Claim sub of the access token, null without one.';
comment on column postern.caller.session_id is 'Claim session_id of the access token, null without one.';
comment on column postern.caller.role is 'Claim role of the access token, null without one.';

reset role;

---- create above / drop below ----

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

drop type postern.caller;

do $$
begin
    if (select adopted from auth.adoption) then
        return;
    end if;

    drop type auth.one_time_token_type;
    drop type auth.oauth_response_type;
    drop type auth.oauth_registration_type;
    drop type auth.oauth_client_type;
    drop type auth.oauth_authorization_status;
    drop type auth.factor_type;
    drop type auth.factor_status;
    drop type auth.code_challenge_method;
    drop type auth.aal_level;
end
$$;

reset role;
