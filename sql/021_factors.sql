-- The policy of second factors: more columns of auth.settings; and an index for their challenges.

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

alter table auth.settings
    add column mfa_challenge_expiry_duration numeric not null default 300
        constraint settings_mfa_challenge_expiry_duration_check check (
            mfa_challenge_expiry_duration between 300 and 1e9
        ),
    add column mfa_factor_expiry_duration interval not null default '5 minutes'
        constraint settings_mfa_factor_expiry_duration_check check (
            mfa_factor_expiry_duration >= interval '5 minutes'
        ),
    add column mfa_rate_limit_challenge_and_verify numeric not null default 15
        constraint settings_mfa_rate_limit_challenge_and_verify_check check (
            mfa_rate_limit_challenge_and_verify between 0 and 1e9
        ),
    add column mfa_max_enrolled_factors numeric not null default 10
        constraint settings_mfa_max_enrolled_factors_check check (mfa_max_enrolled_factors between 0 and 1e9),
    add column mfa_max_verified_factors integer not null default 10
        constraint settings_mfa_max_verified_factors_check check (mfa_max_verified_factors >= 0),
    add column mfa_totp_enroll_enabled boolean not null default true,
    add column mfa_totp_verify_enabled boolean not null default true,
    add column mfa_phone_enroll_enabled boolean not null default false,
    add column mfa_phone_verify_enabled boolean not null default false,
    add column mfa_phone_otp_length integer not null default 6
        constraint settings_mfa_phone_otp_length_check check (mfa_phone_otp_length between 6 and 10),
    add column mfa_phone_max_frequency interval not null default '1 minute'
        constraint settings_mfa_phone_max_frequency_check check (mfa_phone_max_frequency >= interval '0');

comment on column auth.settings.mfa_challenge_expiry_duration is
    'Life of a challenge in seconds, at least 300 (mfa-hooks.md 1.5).';
comment on column auth.settings.mfa_factor_expiry_duration is
    'How long a factor that was never challenged is kept, at least 5 minutes (mfa-hooks.md 1.4).';
comment on column auth.settings.mfa_rate_limit_challenge_and_verify is
    'Challenges of one client per minute, and verifications (mfa-hooks.md 0.4).';
comment on column auth.settings.mfa_max_enrolled_factors is
    'Most factors of a user, verified or not (mfa-hooks.md 1.4).';
comment on column auth.settings.mfa_max_verified_factors is
    'Most verified factors of a user (mfa-hooks.md 1.4).';
comment on column auth.settings.mfa_totp_enroll_enabled is
    'New factors of the type totp (mfa-hooks.md 1.4).';
comment on column auth.settings.mfa_totp_verify_enabled is
    'Challenges and verifications of the type totp (mfa-hooks.md 1.5).';
comment on column auth.settings.mfa_phone_enroll_enabled is
    'New factors of the type phone (mfa-hooks.md 1.4).';
comment on column auth.settings.mfa_phone_verify_enabled is
    'Challenges and verifications of the type phone (mfa-hooks.md 1.5).';
comment on column auth.settings.mfa_phone_otp_length is
    'Digits of a code of a phone factor (mfa-hooks.md 1.6).';
comment on column auth.settings.mfa_phone_max_frequency is
    'Shortest time between two SMS to a phone factor; 0 here is no limit (mfa-hooks.md 1.6).';
-- Finds the challenges of a factor: without it, removing a factor would read them all.
-- squawk-ignore require-concurrent-index-creation
create index mfa_challenges_factor_id_idx on auth.mfa_challenges (factor_id);

reset role;

---- create above / drop below ----

set local lock_timeout = '5s';
set local search_path = '';
select set_config('role', tableowner, true)
  from pg_tables
 where schemaname = 'auth' and tablename = 'adoption';

drop index auth.mfa_challenges_factor_id_idx;
alter table auth.settings
    drop column mfa_phone_max_frequency,
    drop column mfa_phone_otp_length,
    drop column mfa_phone_verify_enabled,
    drop column mfa_phone_enroll_enabled,
    drop column mfa_totp_verify_enabled,
    drop column mfa_totp_enroll_enabled,
    drop column mfa_max_verified_factors,
    drop column mfa_max_enrolled_factors,
    drop column mfa_rate_limit_challenge_and_verify,
    drop column mfa_factor_expiry_duration,
    drop column mfa_challenge_expiry_duration;

reset role;
