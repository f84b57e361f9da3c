-- Policy as one typed row. Ports, secrets and addresses of other servers stay in the environment.

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

create table auth.settings (
    id boolean not null default true,
    version bigint not null default 1,
    from_environment jsonb not null default '{}',
    site_url text not null default '',
    uri_allow_list text[] not null default '{}',
    disable_signup boolean not null default false,
    external_email_enabled boolean not null default true,
    external_phone_enabled boolean not null default false,
    external_anonymous_users_enabled boolean not null default false,
    mailer_autoconfirm boolean not null default false,
    sms_autoconfirm boolean not null default false,
    mailer_secure_email_change_enabled boolean not null default true,
    mailer_allow_unverified_email_sign_ins boolean not null default false,
    jwt_exp integer not null default 3600,
    jwt_aud text not null default '',
    jwt_issuer text not null default '',
    jwt_default_group_name text not null default '',
    jwt_admin_group_name text not null default 'admin',
    jwt_admin_roles text[] not null default '{service_role,supabase_admin}',
    password_min_length integer not null default 6,
    password_required_characters text[] not null default '{}',
    security_update_password_require_reauthentication boolean not null default false,
    security_update_password_require_current_password boolean not null default false,
    security_refresh_token_rotation_enabled boolean not null default true,
    security_refresh_token_reuse_interval integer not null default 0,
    security_refresh_token_allow_reuse boolean not null default false,
    security_refresh_token_algorithm_version smallint not null default 0,
    sessions_timebox interval,
    sessions_inactivity_timeout interval,
    sessions_allow_low_aal interval,
    sessions_single_per_user boolean not null default false,
    sessions_tags text[] not null default '{}',
    rate_limit_otp numeric not null default 30,
    rate_limit_token_refresh numeric not null default 150,
    rate_limit_anonymous_users numeric not null default 30,
    audit_log_disable_postgres boolean not null default false,
    experimental_create_email_identity_on_password_set_enabled boolean not null default false,
    experimental_cursor_pagination_enabled boolean not null default false,
    hook_custom_access_token_enabled boolean not null default false,
    hook_custom_access_token_uri text not null default '',
    constraint settings_pkey primary key (id),
    constraint settings_id_check check (id),
    constraint settings_from_environment_check check (jsonb_typeof(from_environment) = 'object'),
    constraint settings_jwt_exp_check check (jwt_exp > 0),
    constraint settings_password_min_length_check check (password_min_length >= 6),
    constraint settings_security_refresh_token_reuse_interval_check
        check (security_refresh_token_reuse_interval >= 0),
    constraint settings_security_refresh_token_algorithm_version_check
        check (security_refresh_token_algorithm_version between 0 and 2),
    constraint settings_sessions_timebox_check check (sessions_timebox > interval '0'),
    constraint settings_sessions_inactivity_timeout_check check (sessions_inactivity_timeout > interval '0'),
    constraint settings_sessions_allow_low_aal_check check (sessions_allow_low_aal > interval '0'),
    -- An upper bound too: NaN counts as greater than any number, and a rate is divided by.
    constraint settings_rate_limit_otp_check check (rate_limit_otp between 0 and 1e9),
    constraint settings_rate_limit_token_refresh_check check (rate_limit_token_refresh between 0 and 1e9),
    constraint settings_rate_limit_anonymous_users_check check (rate_limit_anonymous_users between 0 and 1e9),
    constraint settings_hook_custom_access_token_uri_check
        check (hook_custom_access_token_uri ~ '^(pg-functions://[^/]*/[^/]+/[^/]+|https?://.+)?$')
);
alter table auth.settings enable row level security;

comment on table auth.settings is
    'One row: the policy of this server. Column x is the variable GOTRUE_X; gateways notice changes.';
comment on column auth.settings.id is 'Always true: there is one row.';
comment on column auth.settings.version is 'Grows with every change, so that gateways see one.';
comment on column auth.settings.from_environment is
    'What the environment of a gateway said last. What it did not say stays as it was set here.';
comment on column auth.settings.site_url is
    'Where links and redirects lead when nothing else is allowed (core.md 8).';
comment on column auth.settings.uri_allow_list is
    'Patterns of addresses that a redirect may lead to (core.md 8.3).';
comment on column auth.settings.disable_signup is
    'Nobody can sign up; an admin still creates and invites (core.md 13.3).';
comment on column auth.settings.external_email_enabled is
    'Sign-up and sign-in by e-mail address (core.md 13.3).';
comment on column auth.settings.external_phone_enabled is
    'Sign-up and sign-in by phone number (core.md 13.3).';
comment on column auth.settings.external_anonymous_users_enabled is
    'Sign-up without address or number (core.md 3.7).';
comment on column auth.settings.mailer_autoconfirm is
    'An e-mail address counts as confirmed at sign-up (core.md 3.3).';
comment on column auth.settings.sms_autoconfirm is
    'A phone number counts as confirmed at sign-up (core.md 3.3).';
comment on column auth.settings.mailer_secure_email_change_enabled is
    'A change of address is confirmed at the old address too (core.md 6.5).';
comment on column auth.settings.mailer_allow_unverified_email_sign_ins is
    'Sign-in before the address is confirmed (core.md 13.7).';
comment on column auth.settings.jwt_exp is 'Lifetime of an access token in seconds (core.md 13.4).';
comment on column auth.settings.jwt_aud is
    'Audience of accounts and tokens when a request names none (core.md 1.9).';
comment on column auth.settings.jwt_issuer is 'Claim iss of access tokens (core.md 5.1).';
comment on column auth.settings.jwt_default_group_name is
    'Role of new accounts, usually authenticated (core.md 13.4).';
comment on column auth.settings.jwt_admin_group_name is
    'Role whose accounts may change their own app_metadata (core.md 13.4).';
comment on column auth.settings.jwt_admin_roles is
    'Claim role of tokens that the admin endpoints accept (core.md 1.10).';
comment on column auth.settings.password_min_length is 'Fewest characters of a new password (core.md 10.2).';
comment on column auth.settings.password_required_characters is
    'Groups of characters, one of each of which a new password must have (core.md 10.2).';
comment on column auth.settings.security_update_password_require_reauthentication is
    'A new password needs a fresh code in an old session (core.md 6.4).';
comment on column auth.settings.security_update_password_require_current_password is
    'A new password needs the present one (core.md 6.4).';
comment on column auth.settings.security_refresh_token_rotation_enabled is
    'A spent refresh token ends its sessions tokens, or the session (core.md 4.7).';
comment on column auth.settings.security_refresh_token_reuse_interval is
    'Seconds in which a spent refresh token is forgiven (core.md 4.7).';
comment on column auth.settings.security_refresh_token_allow_reuse is
    'A spent refresh token of a v2 session is forgiven (core.md 4.8).';
comment on column auth.settings.security_refresh_token_algorithm_version is
    '0 and 1: reuse revokes the token; 2: reuse deletes the session (core.md 4.8).';
comment on column auth.settings.sessions_timebox is
    'Longest life of a session, null for no end (core.md 4.6).';
comment on column auth.settings.sessions_inactivity_timeout is
    'Longest pause between two refreshes, null for no end (core.md 4.6).';
comment on column auth.settings.sessions_allow_low_aal is
    'How long a user with a second factor may do without it, null for ever (core.md 4.6).';
comment on column auth.settings.sessions_single_per_user is
    'Only the newest session of a user refreshes (core.md 4.6).';
comment on column auth.settings.sessions_tags is
    'Tags that sessions_single_per_user counts apart (core.md 4.6).';
comment on column auth.settings.rate_limit_otp is
    'Sign-ups, codes and user updates of one client per 5 minutes (core.md 11.1).';
comment on column auth.settings.rate_limit_token_refresh is
    'Token requests of one client per 5 minutes (core.md 11.1).';
comment on column auth.settings.rate_limit_anonymous_users is
    'Anonymous sign-ups of one client per hour (core.md 11.1).';
comment on column auth.settings.audit_log_disable_postgres is
    'Write the audit trail to the log only (core.md 13.2).';
comment on column auth.settings.experimental_create_email_identity_on_password_set_enabled is
    'A first password makes an e-mail identity (core.md 6.4).';
comment on column auth.settings.experimental_cursor_pagination_enabled is
    'Cursors in GET /admin/users (admin.md 3.2).';
comment on column auth.settings.hook_custom_access_token_enabled is
    'Call the hook below for every access token (mfa-hooks.md 2).';
comment on column auth.settings.hook_custom_access_token_uri is
    'pg-functions://<any>/<schema>/<function>, or http(s)://host/path (mfa-hooks.md 2).';

insert into auth.settings default values;

reset role;

---- create above / drop below ----

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

drop table auth.settings;

reset role;
