-- auth.settings, postern.get_settings, apply_environment (DESIGN 3).
begin;
select plan(64);
\ir support.psql
create function pg_temp.setting(name text) returns text language plpgsql as $$
begin
    return pg_temp.value(format('select %I from auth.settings', name));
end
$$;
create function pg_temp.version() returns bigint language sql as $$ select pg_temp.value('select version
        from auth.settings')::bigint $$;
-- changes() is what an answer of apply_environment says: setting -> [from, to].
create function pg_temp.changes(answer json) returns jsonb language sql as $$
    select coalesce(jsonb_object_agg(c ->> 'setting', jsonb_build_array(c -> 'from', c -> 'to')), '{}') from json_array_elements(answer -> 'changes') c
$$;
set local session authorization postern_gateway;

-- A fresh database has the defaults of the contract

select is(postern.get_settings()::jsonb - 'version',
    '{"site_url": "", "uri_allow_list": [], "disable_signup": false, "external_email_enabled": true, "external_phone_enabled": false,
      "external_anonymous_users_enabled": false, "mailer_autoconfirm": false, "sms_autoconfirm": false, "mailer_secure_email_change_enabled": true,
      "mailer_allow_unverified_email_sign_ins": false, "jwt_exp": 3600, "jwt_aud": "", "jwt_issuer": "", "jwt_default_group_name": "",
      "jwt_admin_group_name": "admin", "jwt_admin_roles": ["service_role", "supabase_admin"], "password_min_length": 6, "password_required_characters": [],
      "security_update_password_require_reauthentication": false, "security_update_password_require_current_password": false,
      "security_refresh_token_rotation_enabled": true, "security_refresh_token_reuse_interval": 0, "security_refresh_token_allow_reuse": false,
      "security_refresh_token_algorithm_version": 0, "sessions_timebox": null, "sessions_inactivity_timeout": null, "sessions_allow_low_aal": null,
      "sessions_single_per_user": false, "sessions_tags": [], "rate_limit_otp": 30, "rate_limit_token_refresh": 150, "rate_limit_anonymous_users": 30, "hook_runs_slow_ms": 1000, "hook_runs_retention": "168:00:00",
      "audit_log_disable_postgres": false, "experimental_create_email_identity_on_password_set_enabled": false, "experimental_cursor_pagination_enabled": false,
      "hook_custom_access_token_enabled": false, "hook_custom_access_token_uri": "",
      "smtp_max_frequency": "00:01:00", "mailer_otp_exp": 86400, "mailer_otp_length": 6, "rate_limit_email_sent": "30", "rate_limit_verify": 30,
      "external_email_magic_link_enabled": true, "external_email_authorized_addresses": [], "external_flow_state_expiry_duration": "00:05:00",
      "sms_max_frequency": "00:01:00", "sms_otp_exp": 60, "sms_otp_length": 6, "rate_limit_sms_sent": "30", "sms_test_otp": {}, "sms_test_otp_valid_until": null,
      "mailer_notifications_password_changed_enabled": false, "mailer_notifications_email_changed_enabled": false,
      "mailer_notifications_phone_changed_enabled": false, "mailer_notifications_identity_linked_enabled": false,
      "mailer_notifications_identity_unlinked_enabled": false, "mailer_notifications_mfa_factor_enrolled_enabled": false,
      "mailer_notifications_mfa_factor_unenrolled_enabled": false, "hook_send_sms_enabled": false, "hook_send_sms_uri": "",
      "hook_send_email_enabled": false, "hook_send_email_uri": "", "hook_before_user_created_enabled": false, "hook_before_user_created_uri": "",
      "mfa_challenge_expiry_duration": 300, "mfa_factor_expiry_duration": "00:05:00", "mfa_rate_limit_challenge_and_verify": 15,
      "mfa_max_enrolled_factors": 10, "mfa_max_verified_factors": 10, "mfa_totp_enroll_enabled": true, "mfa_totp_verify_enabled": true,
      "mfa_phone_enroll_enabled": false, "mfa_phone_verify_enabled": false, "mfa_phone_otp_length": 6, "mfa_phone_max_frequency": "00:01:00",
      "hook_after_user_created_enabled": false, "hook_after_user_created_uri": "", "hook_mfa_verification_attempt_enabled": false,
      "hook_mfa_verification_attempt_uri": "", "hook_password_verification_attempt_enabled": false, "hook_password_verification_attempt_uri": "",
      "db_cleanup_enabled": false, "anonymous_users_retention": "30 days", "security_captcha_enabled": false, "adopted": false}'::jsonb,
    'get_settings: the defaults, one key per setting, and whether Supabase Auth made the database');
select is((postern.get_settings() ->> 'version')::bigint, pg_temp.version(), 'with the version');

-- What the environment says

select pg_temp.version() as v0 \gset
select postern.apply_environment('{"site_url": "https://a.example", "jwt_exp": 600, "sessions_timebox": "24:00:00", "uri_allow_list": ["https://*.a.example"],
    "mailer_autoconfirm": true, "rate_limit_otp": 0.5}') as answer \gset
select is(pg_temp.changes(:'answer'),
    '{"site_url": ["", "https://a.example"], "uri_allow_list": [[], ["https://*.a.example"]], "mailer_autoconfirm": [false, true],
      "jwt_exp": [3600, 600], "sessions_timebox": [null, "24:00:00"], "rate_limit_otp": [30, 0.5]}'::jsonb,
    'the first start writes what is set, and answers with the changes');
select is((:'answer'::jsonb ->> 'v')::bigint, pg_temp.version(), 'and the version after them');
select cmp_ok(pg_temp.version(), '>', :v0::bigint, 'which is a new one');
select is(pg_temp.setting('jwt_exp'), '600', 'written');
select is(pg_temp.setting('rate_limit_token_refresh'), '150', 'what is not set keeps its default');

select pg_temp.version() as v0 \gset
select postern.apply_environment('{"site_url": "https://a.example", "jwt_exp": 600, "sessions_timebox": "24:00:00", "uri_allow_list": ["https://*.a.example"],
    "mailer_autoconfirm": true, "rate_limit_otp": 0.5}') as answer \gset
select is(:'answer'::jsonb, jsonb_build_object('v', :v0::bigint, 'changes', '[]'::jsonb),
    'a second start with the same environment changes nothing, not even the version');

select pg_temp.set('jwt_exp = 60, disable_signup = true') \g /dev/null
select cmp_ok(pg_temp.version(), '>', :v0::bigint, 'a change from psql is a new version');
select is(postern.apply_environment('{"site_url": "https://a.example", "jwt_exp": 600, "sessions_timebox": "24:00:00", "uri_allow_list": ["https://*.a.example"],
    "mailer_autoconfirm": true, "rate_limit_otp": 0.5}') ->> 'changes', '[]', 'a start does not undo it');
select is(pg_temp.setting('jwt_exp') || pg_temp.setting('disable_signup'), '60true', 'both values survive');

select is((postern.apply_environment('{"site_url": "https://b.example", "jwt_exp": 600, "sessions_timebox": "24:00:00", "uri_allow_list": ["https://*.a.example"],
    "mailer_autoconfirm": true, "rate_limit_otp": 0.5}') ->> 'changes')::jsonb, '[{"setting": "site_url", "from": "https://a.example", "to": "https://b.example"}]',
    'one variable changed: one is written');
select is(pg_temp.setting('jwt_exp'), '60', 'what psql changed survives that too');
select is((postern.apply_environment('{"site_url": "https://b.example", "jwt_exp": 900, "sessions_timebox": "24:00:00", "uri_allow_list": ["https://*.a.example"],
    "mailer_autoconfirm": true, "rate_limit_otp": 0.5}') ->> 'changes')::jsonb, '[{"setting": "jwt_exp", "from": 60, "to": 900}]', 'until its own variable changes');
select is(pg_temp.changes(postern.apply_environment('{"site_url": "https://b.example", "jwt_exp": 900}')),
    '{"uri_allow_list": [["https://*.a.example"], []], "mailer_autoconfirm": [true, false], "sessions_timebox": ["24:00:00", null],
      "rate_limit_otp": [0.5, 30]}'::jsonb,
    'dropped variables return to their defaults');
select is(pg_temp.setting('disable_signup'), 'true', 'what the environment never set stays as psql left it');
select is(pg_temp.changes(postern.apply_environment('{}')),
    '{"site_url": ["https://b.example", ""], "jwt_exp": [900, 3600]}'::jsonb,
    'an empty environment returns all that an environment had set');
select is(pg_temp.setting('jwt_exp'), '3600', 'to its default');
select is(pg_temp.setting('disable_signup'), 'true', 'and nothing else');

-- The same value in other words is a change of the variable, not of the setting.
select pg_temp.version() as v0 \gset
select postern.apply_environment('{"rate_limit_otp": 30.0}') \g /dev/null
select is(pg_temp.version(), :v0::bigint, 'a variable that says what is so already is no new version');
select is(pg_temp.value('select from_environment from auth.settings')::jsonb, '{"rate_limit_otp": 30.0}',
    'but is remembered');
select lives_ok($$ select postern.apply_environment('{"sessions_timebox": null}') $$,
    'null where null is allowed');

-- What is refused leaves everything as it was
select postern.apply_environment('{"site_url": "https://c.example"}') \g /dev/null
select pg_temp.version() as v0 \gset
select throws_ok(format($$ select postern.apply_environment(%L) $$, bad.environment), bad.code, null,
    'refused: ' || bad.environment)
  from (values
    ('{"site_url": "https://d.example", "jwt_exp": 0}', '23514'),
    ('{"site_url": "https://d.example", "jwt_exp": -1}', '23514'),
    ('{"site_url": "https://d.example", "jwt_exp": "soon"}', '22P02'), ('{"jwt_exp": 99999999999}', '22003'),
    ('{"password_min_length": 5}', '23514'),
    ('{"security_refresh_token_algorithm_version": 3}', '23514'),
    ('{"security_refresh_token_reuse_interval": -1}', '23514'),
    ('{"sessions_timebox": "0"}', '23514'), ('{"sessions_inactivity_timeout": "-1 s"}', '23514'),
    ('{"sessions_allow_low_aal": "0"}', '23514'),
    ('{"rate_limit_otp": -1}', '23514'), ('{"rate_limit_token_refresh": -0.1}', '23514'),
    ('{"rate_limit_anonymous_users": -1}', '23514'),
    ('{"hook_custom_access_token_uri": "postgres://x"}', '23514'),
    ('{"hook_custom_access_token_uri": "pg-functions://x/y"}', '23514'),
    ('{"site_url": null}', '23502'), ('{"mailer_autoconfirm": "perhaps"}', '22P02'), ('[]', '23514'),
    ('"x"', '23514')) bad (environment, code);
select throws_ok($$ select postern.apply_environment(null) $$, '23502', null,
    'refused: no environment at all');
select is(pg_temp.setting('site_url') || pg_temp.version(), 'https://c.example' || :v0,
    'and nothing was changed by these');

-- Names of columns that are none of the environment's
select is(pg_temp.changes(postern.apply_environment('{"id": false, "version": 1, "from_environment": {}, "no_such_setting": 1}')),
    '{"site_url": ["https://c.example", ""]}'::jsonb, 'id, version and from_environment cannot be set that way');
select is(pg_temp.value('select count(*) from auth.settings where id and version > 1')::int, 1, 'they stay');
select lives_ok($$ select postern.apply_environment('{"site_url": "''; drop table auth.users; --"}') $$, 'a value is data');
select is(pg_temp.setting('site_url'), '''; drop table auth.users; --', 'whatever it says');

-- From psql
reset session authorization;
select throws_ok($$ insert into auth.settings default values $$, '23505', null, 'there is one row');
select throws_ok($$ insert into auth.settings (id) values (false) $$, '23514', null, 'and can be no other');
select throws_ok($$ update auth.settings set id = false $$, '23514', null, 'nor change its name');
select throws_ok(format('update auth.settings set %s', bad), '23514', null, 'refused: ' || bad)
  from unnest(array['jwt_exp = 0', 'password_min_length = 0', 'rate_limit_otp = ''NaN''', 'rate_limit_token_refresh = ''NaN''', 'rate_limit_anonymous_users = ''NaN''',
      'rate_limit_anonymous_users = ''Infinity''', 'rate_limit_otp = 1e10', 'sessions_timebox = ''-1 day''', 'hook_custom_access_token_uri = ''x''', 'from_environment = ''[]''']) bad;
select pg_temp.version() as v0 \gset
update auth.settings set site_url = site_url;
select is(pg_temp.version(), :v0::bigint, 'an update that changes nothing is no new version');
update auth.settings set site_url = 'https://e.example', jwt_exp = 5;
select is(pg_temp.version(), :v0::bigint + 1, 'one that changes something is the next');
update auth.settings set site_url = 'https://f.example', version = 1;
select is(pg_temp.version(), :v0::bigint + 2, 'whatever version it says');
update auth.settings set from_environment = '{}';
select is(pg_temp.version(), :v0::bigint + 2, 'what the environment said is no policy');

select * from finish();
rollback;
