create or replace function postern.sign_up(
    email text default null,
    phone text default null,
    password_hash text default null,
    password_problem json default null,
    data jsonb default null,
    channel text default null,
    code_challenge text default null,
    code_challenge_method text default null,
    envelope postern.envelope default null,
    new_user_id uuid default null,
    caller postern.caller default null,
    channels text[] default '{sms}')
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_settings auth.settings not null := (select g from auth.settings g);
    v_audience text;
    v_email text;
    v_phone text;
    v_provider text;
    v_confirm boolean;
    v_user auth.users;
    v_is_new boolean := false;
    v_is_reserved boolean;
    v_delivery json;
begin
    v_audience := coalesce(nullif((sign_up.caller).audience, ''), v_settings.jwt_aud);

    begin
        if v_settings.disable_signup then
            perform postern._refuse(422, 'signup_disabled', 'Signups not allowed for this instance');
        elsif password_problem is not null then
            perform postern._refuse(
                (password_problem ->> 'status')::integer, password_problem ->> 'code', password_problem ->> 'message');
        elsif coalesce(sign_up.email, '') <> '' and coalesce(sign_up.phone, '') <> '' then
            perform postern._refuse(400, 'validation_failed',
                'Only an email address or phone number should be provided on signup.');
        end if;

        if coalesce(sign_up.email, '') <> '' then
            perform postern._check_code_challenge(code_challenge, code_challenge_method);
            if not v_settings.external_email_enabled then
                perform postern._refuse(400, 'email_provider_disabled', 'Email signups are disabled');
            end if;
            v_email := postern._email(sign_up.email);
            -- Before the look for an account: the answer tells nothing about it.
            perform postern._check_disposable(v_email);
            v_provider := 'email';
            v_confirm := v_settings.mailer_autoconfirm;
        else
            perform postern._check_channel(v_settings, channel, channels);
            if coalesce(code_challenge, '') <> '' or coalesce(code_challenge_method, '') <> '' then
                perform postern._refuse(400, 'validation_failed', 'PKCE not supported for phone signups');
            elsif not v_settings.external_phone_enabled then
                perform postern._refuse(400, 'phone_provider_disabled', 'Phone signups are disabled');
            end if;
            v_phone := postern._phone(sign_up.phone);
            v_provider := 'phone';
            v_confirm := v_settings.sms_autoconfirm;
        end if;

        v_user := postern._find_user(v_email, v_phone, v_audience);
        if v_user.id is null and coalesce(password_hash, '') = '' then
            -- Only when the settings changed between the gateway's look and this statement.
            perform postern._refuse(503, 'unexpected_failure', 'Please try again', 'called without a password hash', 1);
        elsif v_user.id is null then
            v_is_reserved := not v_confirm and case when v_email is not null
                then postern._reserve_mail(v_settings) else postern._reserve_text(v_settings, v_phone) end;
            v_user := postern._create_unconfirmed(v_settings, v_audience, v_email, v_phone, password_hash, data, new_user_id);
            v_is_new := v_user.encrypted_password = password_hash and v_user.confirmed_at is null;
        end if;
        if not v_is_new then
            return postern._sign_up_again(
                v_settings, v_user, v_provider, data, code_challenge, code_challenge_method, envelope,
                (sign_up.caller).request_id, coalesce(nullif(channel, ''), 'sms'));
        elsif not v_confirm then
            if v_email is not null then
                v_delivery := postern._mail_confirmation(
                    v_settings, v_user, code_challenge, code_challenge_method, envelope, (sign_up.caller).request_id,
                    is_reserved => v_is_reserved);
            else
                v_delivery := postern._text_code(v_settings, v_user, 'confirmation_token', v_phone,
                    coalesce(nullif(channel, ''), 'sms'), envelope, (sign_up.caller).request_id, is_reserved => v_is_reserved);
                perform postern._audit_user('user_confirmation_requested', 'user', v_user.id,
                    json_build_object('provider', v_provider));
            end if;
            return json_build_object(
                'v', v_settings.version, 'delivery', v_delivery, 'body', postern._user_json(v_user.id),
                'user_id', case when v_settings.hook_after_user_created_enabled then v_user.id end);
        end if;

        if v_email is not null then
            update auth.users u
            set raw_user_meta_data = u.raw_user_meta_data || '{"email_verified": true}',
                email_confirmed_at = now(), last_sign_in_at = now()
            where u.id = v_user.id;
        else
            update auth.users u
            set phone_confirmed_at = now(), last_sign_in_at = now()
            where u.id = v_user.id;
        end if;
        perform postern._audit_user('user_signedup', 'team', v_user.id, case when v_email is not null
            then json_build_object('provider', v_provider)
            else json_build_object('provider', v_provider, 'channel', coalesce(nullif(channel, ''), 'sms')) end);
        perform postern._audit_user('login', 'account', v_user.id, json_build_object('provider', v_provider));
        return postern._tokens(
            v_user.id, postern._open_session(v_user.id, 'password', sign_up.caller), 'password', 'signed_up',
            sign_up.caller);
    {{ template "handler" "Database error saving new user" }}
    end;
end
$$;

comment on function postern.sign_up(text, text, text, json, jsonb, text, text, text, postern.envelope, uuid, postern.caller, text[]) is
'Creates an account with an address or a number and a password hash; confirms it and opens a session at once when auth.settings says so. password_problem: what the gateway found wrong with the plain password, {status, code, message}; channels: those of its SMS provider. Contract core.md 3.
Called by: POST /signup.
Refuses: signup_disabled, weak_password (422); validation_failed, email_address_invalid, email_provider_disabled, phone_provider_disabled (400); user_already_exists (422) - known account where accounts are confirmed at once; errors of users'' triggers.';

create or replace function postern._sign_up_again(
    settings auth.settings,
    known auth.users,
    provider text,
    data jsonb,
    challenge text,
    challenge_method text,
    envelope postern.envelope,
    request_id text,
    channel text)
returns json
language plpgsql
as $$
declare
    v_confirmed boolean := case provider when 'email' then known.email_confirmed_at else known.phone_confirmed_at end is not null;
    v_delivery json;
begin
    -- Auto-confirm never opens a session for an account that exists: its password was not asked (DESIGN, security). That of the other
    -- channel only changes what is said of a confirmed account (contract core.md 3.3).
    if v_confirmed and (settings.mailer_autoconfirm or settings.sms_autoconfirm)
        or provider = 'email' and settings.mailer_autoconfirm
        or provider = 'phone' and settings.sms_autoconfirm
    then
        perform postern._refuse(422, 'user_already_exists', 'User already registered');
    elsif v_confirmed then
        perform postern._audit_user('user_repeated_signup', 'user', known.id, json_build_object('provider', provider));
        return json_build_object('v', settings.version, 'body', json_build_object(
            'id', gen_random_uuid(),
            'aud', known.aud,
            'role', '',
            'email', case provider when 'email' then known.email else '' end,
            'phone', case provider when 'phone' then known.phone else '' end,
            'confirmation_sent_at', postern._utc(now()),
            'app_metadata', json_build_object('provider', provider, 'providers', json_build_array(provider)),
            'user_metadata', coalesce(data, '{}'),
            'identities', json_build_array(),
            'created_at', postern._utc(now()),
            'updated_at', postern._utc(now()),
            'is_anonymous', false));
    end if;

    if provider = 'email' then
        v_delivery := postern._mail_confirmation(settings, known, challenge, challenge_method, envelope, request_id);
    else
        v_delivery := postern._text_code(
            settings, known, 'confirmation_token', known.phone, channel, envelope, request_id);
        perform postern._audit_user('user_confirmation_requested', 'user', known.id, json_build_object('provider', provider));
    end if;
    if known.invited_at is not null then
        -- What the inviter wrote about the invited is not for whoever knows the address.
        return jsonb_build_object(
            'v', settings.version, 'delivery', v_delivery,
            'body', postern._user_json(known.id)::jsonb || '{"user_metadata": {}, "identities": []}',
            'user_id', case when settings.hook_after_user_created_enabled then known.id end)::text::json;
    end if;
    return json_build_object('v', settings.version, 'delivery', v_delivery, 'body', postern._user_json(known.id),
        'user_id', case when settings.hook_after_user_created_enabled then known.id end);
end
$$;

comment on function postern._sign_up_again(auth.settings, auth.users, text, jsonb, text, text, postern.envelope, text, text) is
'The answer to a sign-up with an address or number that has an account: a made-up user when it is confirmed; when it is not, the stored one, to whom the confirmation is sent again (contract core.md 3.3, 3.4).
Called by: postern.sign_up.
Refuses: user_already_exists (422) - accounts are confirmed at once; over_email_send_rate_limit (429).';

create or replace function postern._check_channel(settings auth.settings, channel text, channels text[])
returns void
language plpgsql immutable
as $$
begin
    if coalesce(channel, '') <> '' and channel <> all (channels) and not settings.hook_send_sms_enabled then
        perform postern._refuse(400, 'validation_failed', 'Invalid channel, supported values are ''sms'' or ''whatsapp''. '
            || '''whatsapp'' is only supported if Twilio or Twilio Verify is used as the provider.');
    end if;
end
$$;

comment on function postern._check_channel(auth.settings, text, text[]) is
'Checks the channel that a code for a phone number is to be sent by: one that the gateway''s provider knows; a hook judges for itself (contract mfa-hooks.md 4.3).
Called by: postern.sign_up, postern.request_sms, postern.update_user, postern.challenge_factor.
Refuses: validation_failed (400).';

create or replace function postern._check_code_challenge(challenge text, method text)
returns void
language plpgsql immutable
as $$
begin
    if (coalesce(challenge, '') = '') <> (coalesce(method, '') = '') then
        perform postern._refuse(400, 'validation_failed', 'PKCE flow requires code_challenge_method and code_challenge');
    elsif coalesce(challenge, '') = '' then
        return;
    elsif length(challenge) not between 43 and 128 then
        perform postern._refuse(400, 'validation_failed', 'code challenge has to be between 43 and 128 characters');
    elsif challenge !~ '^[A-Za-z0-9._~-]+$' then
        perform postern._refuse(400, 'validation_failed',
            'code challenge can only contain alphanumeric characters, hyphens, periods, underscores and tildes');
    elsif lower(method) not in ('s256', 'plain') then
        perform postern._refuse(400, 'validation_failed', 'code_challenge_method must be s256 or plain');
    end if;
end
$$;

comment on function postern._check_code_challenge(text, text) is
'Checks the PKCE parameters of a request (contract core.md 3.6; an unknown method is named instead of failing later).
Called by: functions that start a flow.
Refuses: validation_failed (400).';

create or replace function postern.sign_up_anonymously_text(
    data jsonb default null,
    new_user_id uuid default null,
    caller postern.caller default null)
returns text
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v record;
    v_policy record;
    v_now bigint := extract(epoch from now())::bigint;
    v_user_id uuid := coalesce(new_user_id, gen_random_uuid());
    v_session_id uuid;
    v_hook json;
    v_refused json;
begin
    -- The columns that it takes: all of them in a row variable would be a twentieth of the work.
    select
        g.external_anonymous_users_enabled as is_enabled, g.disable_signup, g.jwt_aud, trim(g.jwt_default_group_name) as role,
        g.hook_before_user_created_enabled as has_hook
    into strict v_policy
    from auth.settings g;
    if v_policy.is_enabled and (sign_up_anonymously_text.caller).limiter_key is not null then
        v_refused := postern._take_limit(
            (select g from auth.settings g), 'anonymous_sign_ins', (sign_up_anonymously_text.caller).limiter_key);
        if v_refused is not null then
            return v_refused::text;
        end if;
    end if;

    begin
        if not v_policy.is_enabled then
            perform postern._refuse(422, 'anonymous_provider_disabled', 'Anonymous sign-ins are disabled');
        elsif v_policy.disable_signup then
            perform postern._refuse(422, 'signup_disabled', 'Signups not allowed for this instance');
        end if;
        if v_policy.has_hook then
            perform postern._check_prepared((select g from auth.settings g), new_user_id);
        end if;

        perform postern._insert_user(
            v_user_id, coalesce(nullif((sign_up_anonymously_text.caller).audience, ''), v_policy.jwt_aud),
            v_policy.role, null, null, '', '{}', coalesce(data, '{}'), is_anonymous => true);
        update auth.users u set last_sign_in_at = now() where u.id = v_user_id;
        v_session_id := postern._open_session(v_user_id, 'anonymous', caller);

        -- As postern._tokens, of a session and an account whose rows are known: no other method, nearly never an identity.
        select 0 as counter, null::text as reuse, {{ template "token columns" }}
        into strict v
        from (
            select {{ template "claims columns" }}, {{ template "token settings" }}
            from auth.settings g
            cross join (select v_session_id as id, null::uuid as oauth_client_id, null::text as scopes) s
            cross join (select format('{"method":"anonymous","timestamp":%s}', v_now) as methods) authentication
            offset 0) s
        cross join auth.users u
        cross join lateral (
            select
                case when exists (select from auth.identities i where i.user_id = u.id)
                    then postern._identities_json(u.id) end as identities,
                false as has_factors) parts
        where u.id = v_user_id;
        {{ template "ask token hook" "'anonymous'" }}
        return {{ template "token answer" }};
    {{ template "text handler" "Database error creating anonymous user" }}
    end;
end
$$;

comment on function postern.sign_up_anonymously_text(jsonb, uuid, postern.caller) is
'Creates an account without address, number or password and opens its session (contract core.md 3.7). The answer is JSON as text, for the reason given at postern.refresh_session_text.
Called by: POST /signup without email and phone; postern.sign_up_anonymously.
Refuses: over_request_rate_limit (429); anonymous_provider_disabled, signup_disabled (422); errors of users'' triggers.';

create or replace function postern.sign_up_anonymously(
    data jsonb default null,
    new_user_id uuid default null,
    caller postern.caller default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
begin
    return postern.sign_up_anonymously_text(data, new_user_id, caller)::json;
end
$$;

comment on function postern.sign_up_anonymously(jsonb, uuid, postern.caller) is
'As postern.sign_up_anonymously_text, as json.
Called by: whoever takes the answer apart in SQL; gateways of earlier releases.
Refuses: as postern.sign_up_anonymously_text.';
