-- The policy of mails, SMS and hooks: more columns of auth.settings.

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

alter table auth.settings
    add column mailer_otp_exp integer not null default 86400
        constraint settings_mailer_otp_exp_check check (mailer_otp_exp > 0),
    add column mailer_otp_length integer not null default 6
        constraint settings_mailer_otp_length_check check (mailer_otp_length between 6 and 10),
    add column smtp_max_frequency interval not null default '1 minute'
        constraint settings_smtp_max_frequency_check check (smtp_max_frequency >= interval '0'),
    add column sms_otp_exp integer not null default 60
        constraint settings_sms_otp_exp_check check (sms_otp_exp > 0),
    add column sms_otp_length integer not null default 6
        constraint settings_sms_otp_length_check check (sms_otp_length between 6 and 10),
    add column sms_max_frequency interval not null default '1 minute'
        constraint settings_sms_max_frequency_check check (sms_max_frequency >= interval '0'),
    add column sms_test_otp jsonb not null default '{}'
        constraint settings_sms_test_otp_check check (
            jsonb_typeof(sms_test_otp) = 'object'
            and not jsonb_path_exists(sms_test_otp, 'strict $.* ? (@.type() != "string")')
        ),
    add column sms_test_otp_valid_until timestamptz,
    add column mailer_notifications_password_changed_enabled boolean not null default false,
    add column mailer_notifications_email_changed_enabled boolean not null default false,
    add column mailer_notifications_phone_changed_enabled boolean not null default false,
    add column mailer_notifications_identity_linked_enabled boolean not null default false,
    add column mailer_notifications_identity_unlinked_enabled boolean not null default false,
    add column mailer_notifications_mfa_factor_enrolled_enabled boolean not null default false,
    add column mailer_notifications_mfa_factor_unenrolled_enabled boolean not null default false,
    add column rate_limit_email_sent text not null default '30'
        constraint settings_rate_limit_email_sent_check check (
            rate_limit_email_sent
                ~ '^[0-9]{1,9}(\.[0-9]+)?'
                '(/(?=.*[1-9])([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?([0-9]{1,16}us)?)?$'
        ),
    add column rate_limit_sms_sent text not null default '30'
        constraint settings_rate_limit_sms_sent_check check (
            rate_limit_sms_sent
                ~ '^[0-9]{1,9}(\.[0-9]+)?'
                '(/(?=.*[1-9])([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?([0-9]{1,16}us)?)?$'
        ),
    add column rate_limit_verify numeric not null default 30
        constraint settings_rate_limit_verify_check check (rate_limit_verify between 0 and 1e9),
    add column external_email_authorized_addresses text[] not null default '{}',
    add column external_email_magic_link_enabled boolean not null default true,
    add column external_flow_state_expiry_duration interval not null default '5 minutes'
        constraint settings_external_flow_state_expiry_duration_check check (
            external_flow_state_expiry_duration >= interval '5 minutes'
        ),
    add column hook_send_sms_enabled boolean not null default false,
    add column hook_send_sms_uri text not null default ''
        constraint settings_hook_send_sms_uri_check check (
            hook_send_sms_uri ~ '^(pg-functions://[^/]*/[^/]+/[^/]+|https?://.+)?$'
        ),
    add column hook_send_email_enabled boolean not null default false,
    add column hook_send_email_uri text not null default ''
        constraint settings_hook_send_email_uri_check check (
            hook_send_email_uri ~ '^(pg-functions://[^/]*/[^/]+/[^/]+|https?://.+)?$'
        ),
    add column hook_mfa_verification_attempt_enabled boolean not null default false,
    add column hook_mfa_verification_attempt_uri text not null default ''
        constraint settings_hook_mfa_verification_attempt_uri_check check (
            hook_mfa_verification_attempt_uri ~ '^(pg-functions://[^/]*/[^/]+/[^/]+|https?://.+)?$'
        ),
    add column hook_password_verification_attempt_enabled boolean not null default false,
    add column hook_password_verification_attempt_uri text not null default ''
        constraint settings_hook_password_verification_attempt_uri_check check (
            hook_password_verification_attempt_uri ~ '^(pg-functions://[^/]*/[^/]+/[^/]+|https?://.+)?$'
        ),
    add column hook_before_user_created_enabled boolean not null default false,
    add column hook_before_user_created_uri text not null default ''
        constraint settings_hook_before_user_created_uri_check check (
            hook_before_user_created_uri ~ '^(pg-functions://[^/]*/[^/]+/[^/]+|https?://.+)?$'
        ),
    add column hook_after_user_created_enabled boolean not null default false,
    add column hook_after_user_created_uri text not null default ''
        constraint settings_hook_after_user_created_uri_check check (
            hook_after_user_created_uri ~ '^(pg-functions://[^/]*/[^/]+/[^/]+|https?://.+)?$'
        ),
    add column security_captcha_enabled boolean not null default false,
    add column db_cleanup_enabled boolean not null default false;

comment on column auth.settings.mailer_otp_exp is
    'Life of codes and links in mails in seconds (core.md 7.3).';
comment on column auth.settings.mailer_otp_length is 'Digits of a code in a mail (core.md 7.1).';
comment on column auth.settings.smtp_max_frequency is
    'Shortest time between two mails of a kind to a user; 0 here is no limit (core.md 7.3).';
comment on column auth.settings.sms_otp_exp is 'Life of a code in an SMS in seconds (core.md 7.3).';
comment on column auth.settings.sms_otp_length is 'Digits of a code in an SMS (core.md 7.1).';
comment on column auth.settings.sms_max_frequency is
    'Shortest time between two SMS of a kind to a user; 0 here is no limit (core.md 7.3).';
comment on column auth.settings.sms_test_otp is
    'Codes by phone number without plus: nothing is sent to these (core.md 11.3).';
comment on column auth.settings.sms_test_otp_valid_until is
    'End of sms_test_otp, null for never (core.md 11.3).';
comment on column auth.settings.mailer_notifications_password_changed_enabled is
    'Mail about a new password (core.md 9.1).';
comment on column auth.settings.mailer_notifications_email_changed_enabled is
    'Mail about a new e-mail address, to the old one (core.md 9.1).';
comment on column auth.settings.mailer_notifications_phone_changed_enabled is
    'Mail about a new phone number (core.md 9.1).';
comment on column auth.settings.mailer_notifications_identity_linked_enabled is
    'Mail about a new identity (core.md 9.1).';
comment on column auth.settings.mailer_notifications_identity_unlinked_enabled is
    'Mail about an identity removed (core.md 9.1).';
comment on column auth.settings.mailer_notifications_mfa_factor_enrolled_enabled is
    'Mail about a new second factor (core.md 9.1).';
comment on column auth.settings.mailer_notifications_mfa_factor_unenrolled_enabled is
    'Mail about a second factor removed (core.md 9.1).';
comment on column auth.settings.rate_limit_email_sent is
    'Mails of all clients: N an hour, or N/1m: N at once, one more a minute (core.md 11.2).';
comment on column auth.settings.rate_limit_sms_sent is
    'SMS of all clients: N an hour, or N/1m: N at once, one more a minute (core.md 11.2).';
comment on column auth.settings.rate_limit_verify is
    'Verifications of one client per 5 minutes (core.md 11.1).';
comment on column auth.settings.external_email_authorized_addresses is
    'The only addresses that receive mail; empty for all (core.md 9.6).';
comment on column auth.settings.external_email_magic_link_enabled is
    'Sign-in by a link or code in a mail (core.md 7.5).';
comment on column auth.settings.external_flow_state_expiry_duration is 'Life of a PKCE code (core.md 4.4).';
comment on column auth.settings.hook_send_sms_enabled is
    'Call the hook below for every SMS, in place of the provider (mfa-hooks.md 3.6).';
comment on column auth.settings.hook_send_sms_uri is
    'pg-functions://<any>/<schema>/<function>, or http(s)://host/path (mfa-hooks.md 3.2).';
comment on column auth.settings.hook_send_email_enabled is
    'Call the hook below for every mail, in place of the relay (mfa-hooks.md 3.6).';
comment on column auth.settings.hook_send_email_uri is
    'pg-functions://<any>/<schema>/<function>, or http(s)://host/path (mfa-hooks.md 3.2).';
comment on column auth.settings.hook_mfa_verification_attempt_enabled is
    'Call the hook below for every code of a second factor (mfa-hooks.md 3.6).';
comment on column auth.settings.hook_mfa_verification_attempt_uri is
    'pg-functions://<any>/<schema>/<function>, or http(s)://host/path (mfa-hooks.md 3.2).';
comment on column auth.settings.hook_password_verification_attempt_enabled is
    'Call the hook below for every password of a sign-in (mfa-hooks.md 3.6).';
comment on column auth.settings.hook_password_verification_attempt_uri is
    'pg-functions://<any>/<schema>/<function>, or http(s)://host/path (mfa-hooks.md 3.2).';
comment on column auth.settings.hook_before_user_created_enabled is
    'Call the hook below before an account is made (mfa-hooks.md 3.6).';
comment on column auth.settings.hook_before_user_created_uri is
    'pg-functions://<any>/<schema>/<function>, or http(s)://host/path (mfa-hooks.md 3.2).';
comment on column auth.settings.hook_after_user_created_enabled is
    'Call the hook below after an account was made (mfa-hooks.md 3.6).';
comment on column auth.settings.hook_after_user_created_uri is
    'pg-functions://<any>/<schema>/<function>, or http(s)://host/path (mfa-hooks.md 3.2).';
comment on column auth.settings.security_captcha_enabled is
    'Sign-up, sign-in and mails need a solved captcha (core.md 11.4).';
comment on column auth.settings.db_cleanup_enabled is 'Delete what has expired (core.md 12.6).';

reset role;

---- create above / drop below ----

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

alter table auth.settings
    drop column db_cleanup_enabled,
    drop column security_captcha_enabled,
    drop column hook_after_user_created_uri,
    drop column hook_after_user_created_enabled,
    drop column hook_before_user_created_uri,
    drop column hook_before_user_created_enabled,
    drop column hook_password_verification_attempt_uri,
    drop column hook_password_verification_attempt_enabled,
    drop column hook_mfa_verification_attempt_uri,
    drop column hook_mfa_verification_attempt_enabled,
    drop column hook_send_email_uri,
    drop column hook_send_email_enabled,
    drop column hook_send_sms_uri,
    drop column hook_send_sms_enabled,
    drop column external_flow_state_expiry_duration,
    drop column external_email_magic_link_enabled,
    drop column external_email_authorized_addresses,
    drop column rate_limit_verify,
    drop column rate_limit_sms_sent,
    drop column rate_limit_email_sent,
    drop column mailer_notifications_mfa_factor_unenrolled_enabled,
    drop column mailer_notifications_mfa_factor_enrolled_enabled,
    drop column mailer_notifications_identity_unlinked_enabled,
    drop column mailer_notifications_identity_linked_enabled,
    drop column mailer_notifications_phone_changed_enabled,
    drop column mailer_notifications_email_changed_enabled,
    drop column mailer_notifications_password_changed_enabled,
    drop column sms_test_otp_valid_until,
    drop column sms_test_otp,
    drop column sms_max_frequency,
    drop column sms_otp_length,
    drop column sms_otp_exp,
    drop column smtp_max_frequency,
    drop column mailer_otp_length,
    drop column mailer_otp_exp;

reset role;
