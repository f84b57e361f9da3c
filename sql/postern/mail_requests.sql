create or replace function postern._mail_link(
    settings auth.settings,
    known auth.users,
    kind text,
    link_type text,
    challenge text,
    challenge_method text,
    envelope postern.envelope,
    request_id text)
returns json
language plpgsql
as $$
declare
    v_sent_at timestamptz;
    v_email text;
    v_delivery json;
begin
    perform postern._check_frequency(known.recovery_sent_at, settings.smtp_max_frequency, 'over_email_send_rate_limit');
    perform postern._check_mail(settings, known.email);
    -- The row lock settles two requests at once: the second finds the first one's time.
    select u.recovery_sent_at, u.email::text into v_sent_at, v_email from auth.users u where u.id = known.id for no key update;
    if v_email is distinct from known.email then
        -- Whoever had the address until now is mailed nothing that opens the account.
        perform postern._start_over(known.id);
    end if;
    perform postern._check_frequency(v_sent_at, settings.smtp_max_frequency, 'over_email_send_rate_limit');

    perform postern._start_flow(known.id, challenge, challenge_method, link_type, link_type);
    v_delivery := postern._send_mail(
        settings, kind, link_type, known.email, known.id, envelope, settings.mailer_otp_exp, request_id);
    perform postern._set_one_time_token(known.id, 'recovery_token', lower(known.email), envelope);
    perform postern._audit_user('user_recovery_requested', 'user', known.id);
    return v_delivery;
end
$$;

comment on function postern._mail_link(auth.settings, auth.users, text, text, text, text, postern.envelope, text) is
'Mails a user a code and link of the kind recovery or magic_link. Returns what postern._send_mail returns.
Called by: postern.request_recovery, postern.request_magic_link.
Refuses: over_email_send_rate_limit (429), email_address_not_authorized (400).';

create or replace function postern._mail_confirmation(
    settings auth.settings,
    known auth.users,
    challenge text,
    challenge_method text,
    envelope postern.envelope,
    request_id text,
    is_reserved boolean default false,
    is_resent boolean default false)
returns json
language plpgsql
as $$
declare
    v_sent_at timestamptz;
    v_email text;
    v_delivery json;
begin
    perform postern._check_frequency(known.confirmation_sent_at, settings.smtp_max_frequency, 'over_email_send_rate_limit');
    perform postern._check_mail(settings, known.email, is_reserved);
    select u.confirmation_sent_at, u.email::text into v_sent_at, v_email from auth.users u where u.id = known.id for no key update;
    if v_email is distinct from known.email then
        perform postern._start_over(known.id);
    end if;
    perform postern._check_frequency(v_sent_at, settings.smtp_max_frequency, 'over_email_send_rate_limit');

    perform postern._start_flow(
        known.id, challenge, challenge_method, case when is_resent then 'email/signup' else 'email' end, 'email/signup');
    v_delivery := postern._send_mail(
        settings, 'confirmation', 'signup', known.email, known.id, envelope, settings.mailer_otp_exp, request_id);
    perform postern._set_one_time_token(known.id, 'confirmation_token', lower(known.email), envelope);
    perform postern._audit_user('user_confirmation_requested', 'user', known.id,
        case when not is_resent then json_build_object('provider', 'email') end);
    return v_delivery;
end
$$;

comment on function postern._mail_confirmation(auth.settings, auth.users, text, text, postern.envelope, text, boolean, boolean) is
'Mails a user the code and link that confirm the address. is_reserved: its place in the quota is taken; is_resent: nobody signs up, the mail is asked for again. Returns what postern._send_mail returns.
Called by: postern.sign_up, postern.request_magic_link, postern.resend.
Refuses: over_email_send_rate_limit (429), email_address_not_authorized (400).';

create or replace function postern.request_recovery(
    email text,
    code_challenge text default null,
    code_challenge_method text default null,
    envelope postern.envelope default null,
    caller postern.caller default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_settings auth.settings not null := (select g from auth.settings g);
    v_email text;
    v_user auth.users;
    v_delivery json;
    v_refused json;
begin
    {{ template "limited" "recover" }}

    begin
        if not v_settings.external_email_enabled then
            perform postern._refuse(400, 'email_provider_disabled', 'Email logins are disabled');
        elsif coalesce(request_recovery.email, '') = '' then
            perform postern._refuse(400, 'validation_failed', 'Password recovery requires an email');
        end if;
        v_email := postern._email(request_recovery.email);
        perform postern._check_code_challenge(code_challenge, code_challenge_method);

        v_user := postern._find_user(
            v_email, null, coalesce(nullif((request_recovery.caller).audience, ''), v_settings.jwt_aud));
        if v_user.id is not null then
            v_delivery := postern._mail_link(
                v_settings, v_user, 'recovery', 'recovery', code_challenge, code_challenge_method, envelope,
                (request_recovery.caller).request_id);
        end if;
        return json_build_object('v', v_settings.version, 'delivery', v_delivery, 'body', json_build_object());
    {{ template "handler" "Error sending recovery email" }}
    end;
end
$$;

comment on function postern.request_recovery(text, text, text, postern.envelope, postern.caller) is
'Mails a link and code to set a new password with; an unknown address gets the same answer (contract core.md 7.4).
Called by: POST /recover.
Refuses: over_request_rate_limit, over_email_send_rate_limit (429); email_provider_disabled, validation_failed, email_address_not_authorized (400).';

create or replace function postern.request_magic_link(
    email text,
    create_user boolean default true,
    data jsonb default null,
    code_challenge text default null,
    code_challenge_method text default null,
    limiter text default 'otp',
    envelope postern.envelope default null,
    new_user_id uuid default null,
    caller postern.caller default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_settings auth.settings not null := (select g from auth.settings g);
    v_audience text;
    v_user auth.users;
    v_email text;
    v_is_reserved boolean := false;
    v_delivery json;
    v_refused json;
begin
    v_audience := coalesce(nullif((request_magic_link.caller).audience, ''), v_settings.jwt_aud);
    if (request_magic_link.caller).limiter_key is not null then
        v_refused := postern._take_limit(v_settings, limiter, (request_magic_link.caller).limiter_key);
        if v_refused is not null then
            return v_refused;
        end if;
    end if;

    begin
        if limiter = 'otp' then
            -- POST /otp looks at the challenge first; POST /magiclink, which tells of the rest first, does so below.
            perform postern._check_code_challenge(code_challenge, code_challenge_method);
            if coalesce(request_magic_link.email, '') = '' then
                perform postern._refuse(400, 'validation_failed', 'One of email or phone must be set');
            end if;
        end if;
        if not create_user
            and (postern._find_user(lower(request_magic_link.email), null, v_audience)).id is null
        then
            perform postern._refuse(422, 'otp_disabled', 'Signups not allowed for otp');
        elsif not v_settings.external_email_enabled then
            perform postern._refuse(422, 'email_provider_disabled', 'Email logins are disabled');
        elsif not v_settings.external_email_magic_link_enabled then
            perform postern._refuse(422, 'email_provider_disabled', 'Login with magic link is disabled');
        elsif coalesce(request_magic_link.email, '') = '' then
            perform postern._refuse(422, 'validation_failed', 'Password recovery requires an email');
        end if;
        v_email := postern._email(request_magic_link.email);
        perform postern._check_code_challenge(code_challenge, code_challenge_method);

        v_user := postern._find_user(v_email, null, v_audience);
        -- Who still has to confirm the address signs up as well, as in the reference.
        if v_user.email_confirmed_at is null and v_settings.disable_signup then
            perform postern._refuse(422, 'signup_disabled', 'Signups not allowed for this instance');
        end if;
        if v_user.id is null then
            begin
                perform postern._check_disposable(v_email);
                v_is_reserved := postern._reserve_mail(v_settings);
                v_user := postern._create_unconfirmed(v_settings, v_audience, v_email, null, '', data, new_user_id);
                -- Another request may have been quicker: the account is its.
                if v_user.created_at = now() and v_settings.mailer_autoconfirm then
                    perform postern._confirm_email(v_user.id);
                    perform postern._audit_user('user_signedup', 'team', v_user.id, json_build_object('provider', 'email'));
                    select u.* into v_user from auth.users u where u.id = v_user.id;
                end if;
            -- Up to here it is a sign-up, and fails like one (contract schema.md 8).
            {{ template "handler" "Database error saving new user" }}
            end;
        end if;

        if v_user.email_confirmed_at is null and not v_settings.mailer_autoconfirm then
            v_delivery := postern._mail_confirmation(
                v_settings, v_user, code_challenge, code_challenge_method, envelope, (request_magic_link.caller).request_id,
                is_reserved => v_is_reserved);
        else
            v_delivery := postern._mail_link(
                v_settings, v_user, 'magic_link', 'magiclink', code_challenge, code_challenge_method, envelope,
                (request_magic_link.caller).request_id);
        end if;
        return json_build_object('v', v_settings.version, 'delivery', v_delivery, 'body', json_build_object(),
            'user_id', case when v_user.email_confirmed_at is null and not v_settings.mailer_autoconfirm
                and v_settings.hook_after_user_created_enabled then v_user.id end);
    {{ template "handler" "Error sending magic link email" }}
    end;
end
$$;

comment on function postern.request_magic_link(text, boolean, jsonb, text, text, text, postern.envelope, uuid, postern.caller) is
'Mails a link and code to sign in with; creates the account when the address is new and create_user allows it (contract core.md 7.5).
Called by: POST /otp with an email (limiter otp), POST /magiclink (limiter magic_link).
Refuses: over_request_rate_limit, over_email_send_rate_limit (429); otp_disabled, signup_disabled, email_provider_disabled (422); validation_failed, email_address_invalid, email_address_not_authorized (400).';

create or replace function postern._create_unconfirmed(
    settings auth.settings,
    audience text,
    email text,
    phone text,
    encrypted_password text,
    data jsonb,
    new_user_id uuid default null)
returns auth.users
language plpgsql
as $$
declare
    v_user auth.users;
    v_user_id uuid := coalesce(new_user_id, gen_random_uuid());
    v_provider text := case when email is null then 'phone' else 'email' end;
    v_facts jsonb := jsonb_build_object('sub', v_user_id, 'email_verified', false, 'phone_verified', false)
        || case when email is null then '{}' else jsonb_build_object('email', email) end;
begin
    perform postern._check_prepared(settings, new_user_id);
    begin
        perform postern._insert_user(
            v_user_id, audience, trim(settings.jwt_default_group_name), email, phone, encrypted_password,
            jsonb_build_object('provider', v_provider, 'providers', jsonb_build_array(v_provider)), coalesce(data, '{}'));
    exception when unique_violation then
        -- Settles two requests with one new address: the second goes on with the first one's account.
        v_user := postern._find_user(email, phone, audience);
        if v_user.id is null then
            raise;
        end if;
        return v_user;
    end;
    perform postern._set_identity(v_user_id, v_provider, coalesce(data, '{}') || v_facts);
    update auth.users u
    set raw_user_meta_data = postern._merge_metadata(u.raw_user_meta_data, v_facts)
    where u.id = v_user_id
    returning u.* into v_user;
    return v_user;
end
$$;

comment on function postern._create_unconfirmed(auth.settings, text, text, text, text, jsonb, uuid) is
'Creates an account that still has to confirm its address or number, or returns the one that another request created meanwhile.
Called by: functions that register by a code.
Refuses: errors of users'' triggers reach the caller.';

create or replace function postern._confirm_email(owner_id uuid)
returns void
language plpgsql
as $$
begin
    update auth.users u
    set email_confirmed_at = coalesce(u.email_confirmed_at, now()), confirmation_token = '', is_anonymous = false,
        raw_user_meta_data = postern._merge_metadata(u.raw_user_meta_data, '{"email_verified": true}'),
        updated_at = now()
    where u.id = owner_id;
    delete from auth.one_time_tokens o where o.user_id = owner_id;
end
$$;

comment on function postern._confirm_email(uuid) is
'Confirms the address of an account; pending codes and links are void.
Called by: verification, and registration by a code where addresses need no confirmation.
Refuses: never.';

create or replace function postern.resend(
    type text,
    email text default null,
    phone text default null,
    code_challenge text default null,
    code_challenge_method text default null,
    envelope postern.envelope default null,
    second_envelope postern.envelope default null,
    caller postern.caller default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_settings auth.settings not null := (select g from auth.settings g);
    v_has_email boolean := coalesce(resend.email, '') <> '';
    v_has_phone boolean := coalesce(resend.phone, '') <> '';
    v_user auth.users;
    v_delivery json;
    v_refused json;
begin
    {{ template "limited" "resend" }}

    begin
        if coalesce(resend.type, '') not in ('signup', 'email_change', 'sms', 'phone_change') then
            perform postern._refuse(400, 'validation_failed',
                'Missing one of these types: signup, email_change, sms, phone_change');
        end if;
        if resend.type in ('signup', 'email_change') then
            perform postern._check_code_challenge(code_challenge, code_challenge_method);
        end if;
        if resend.type = 'signup' and not v_has_email then
            perform postern._refuse(400, 'validation_failed', 'Type provided requires an email address');
        elsif resend.type = 'sms' and not v_has_phone then
            perform postern._refuse(400, 'validation_failed', 'Type provided requires a phone number');
        elsif v_has_email and v_has_phone then
            perform postern._refuse(400, 'validation_failed', 'Only an email address or phone number should be provided.');
        elsif v_has_email and not v_settings.external_email_enabled then
            perform postern._refuse(400, 'email_provider_disabled', 'Email logins are disabled');
        elsif v_has_phone and not v_settings.external_phone_enabled then
            perform postern._refuse(400, 'phone_provider_disabled', 'Phone logins are disabled');
        elsif not v_has_email and not v_has_phone then
            perform postern._refuse(400, 'validation_failed', 'Missing email address or phone number');
        end if;

        v_user := postern._find_user(
            case when v_has_email then postern._email(resend.email) end,
            case when v_has_phone then postern._phone(resend.phone) end,
            coalesce(nullif((resend.caller).audience, ''), v_settings.jwt_aud));
        if v_user.id is not null then
            if resend.type = 'signup' and v_user.email_confirmed_at is null then
                v_delivery := postern._mail_confirmation(
                    v_settings, v_user, code_challenge, code_challenge_method, envelope, (resend.caller).request_id,
                    is_resent => true);
            elsif resend.type = 'email_change' and v_user.email_change <> '' then
                v_delivery := postern._mail_email_change(
                    v_settings, v_user, v_user.email_change, code_challenge, code_challenge_method, envelope, second_envelope,
                    (resend.caller).request_id);
            elsif resend.type = 'sms' and v_user.phone_confirmed_at is null then
                v_delivery := postern._text_code(v_settings, v_user, 'confirmation_token', v_user.phone, 'sms', envelope,
                    (resend.caller).request_id);
                perform postern._audit_user('user_recovery_requested', 'user', v_user.id);
            elsif resend.type = 'phone_change' and v_user.phone_change <> '' then
                v_delivery := postern._text_code(v_settings, v_user, 'phone_change_token', v_user.phone_change, 'sms', envelope,
                    (resend.caller).request_id);
            end if;
        end if;
        return json_build_object('v', v_settings.version, 'delivery', v_delivery, 'body',
            case when (v_delivery ->> 'is_test')::boolean
                then json_build_object('message_id', 'test-otp') else json_build_object() end);
    {{ template "handler" "Error sending confirmation email" }}
    end;
end
$$;

comment on function postern.resend(text, text, text, text, text, postern.envelope, postern.envelope, postern.caller) is
'Sends a confirmation or a change of address again, with fresh codes; unknown or confirmed addresses get the same answer (contract core.md 7.6).
Called by: POST /resend.
Refuses: over_request_rate_limit, over_email_send_rate_limit (429); validation_failed, email_provider_disabled, phone_provider_disabled, email_address_not_authorized (400).';

create or replace function postern._mail_email_change(
    settings auth.settings,
    known auth.users,
    new_email text,
    challenge text,
    challenge_method text,
    envelope postern.envelope,
    second_envelope postern.envelope,
    request_id text,
    is_reserved boolean default false)
returns json
language plpgsql
as $$
declare
    v_secure boolean := settings.mailer_secure_email_change_enabled and coalesce(known.email, '') <> '';
    v_more jsonb := jsonb_build_object('new_email', new_email);
    v_sent_at timestamptz;
    v_delivery json;
begin
    perform postern._check_frequency(known.email_change_sent_at, settings.smtp_max_frequency, 'over_email_send_rate_limit');
    perform postern._check_mail(settings, new_email, is_reserved);
    if v_secure and settings.external_email_authorized_addresses <> '{}' then
        perform postern._check_authorized(settings, known.email);
    end if;
    select u.email_change_sent_at into v_sent_at from auth.users u where u.id = known.id for no key update;
    perform postern._check_frequency(v_sent_at, settings.smtp_max_frequency, 'over_email_send_rate_limit');

    if settings.hook_send_email_enabled then
        -- One call tells the hook of both halves.
        v_more := v_more || jsonb_build_object('before', postern._pending_codes(known.id), 'is_secure', v_secure);
    end if;
    update auth.users u
    set email_change = new_email, email_change_confirm_status = 0, email_change_token_current = ''
    where u.id = known.id;
    perform postern._start_flow(known.id, challenge, challenge_method, 'email_change', 'email_change');
    v_delivery := postern._send_mail(settings, 'email_change', 'email_change', new_email, known.id, envelope,
        settings.mailer_otp_exp, request_id, v_more || jsonb_build_object('sending_to', new_email));
    perform postern._set_one_time_token(known.id, 'email_change_token_new', lower(new_email), envelope);
    if v_secure then
        if not settings.hook_send_email_enabled then
            perform postern._send_mail(settings, 'email_change', 'email_change', known.email, known.id, second_envelope,
                settings.mailer_otp_exp, request_id, v_more || jsonb_build_object('sending_to', known.email));
        end if;
        perform postern._set_one_time_token(known.id, 'email_change_token_current', lower(known.email), second_envelope);
    end if;
    return v_delivery;
end
$$;

comment on function postern._mail_email_change(auth.settings, auth.users, text, text, text, postern.envelope, postern.envelope, text, boolean) is
'Notes a pending address and mails its codes: to the new address, and to the present one where both have to confirm (contract core.md 6.5). A hook is told of both at once, from the first envelope. is_reserved: their place in the quota is taken. Returns what postern._send_mail returns.
Called by: postern._change_email, postern.resend.
Refuses: over_email_send_rate_limit (429), email_address_not_authorized (400).';

create or replace function postern.reauthenticate(
    envelope postern.envelope default null,
    caller postern.caller default null,
    text_envelope postern.envelope default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_settings auth.settings not null := (select g from auth.settings g);
    v_user auth.users;
    v_delivery json;
    v_refused json := postern._check_user(reauthenticate.caller);
begin
    if v_refused is not null then
        return v_refused;
    end if;

    begin
        select u.* into strict v_user from auth.users u where u.id = (reauthenticate.caller).user_id;
        if coalesce(v_user.email, '') = '' and coalesce(v_user.phone, '') = '' then
            perform postern._refuse(400, 'validation_failed',
                'Reauthentication requires the user to have an email or a phone number');
        elsif coalesce(v_user.email, '') <> '' and v_user.email_confirmed_at is null then
            perform postern._refuse(422, 'email_not_confirmed', 'Please verify your email first.');
        elsif coalesce(v_user.email, '') = '' and v_user.phone_confirmed_at is null then
            perform postern._refuse(422, 'phone_not_confirmed', 'Please verify your phone first.');
        end if;

        if coalesce(v_user.email, '') = '' then
            v_delivery := postern._text_code(v_settings, v_user, 'reauthentication_token', v_user.phone, 'sms',
                coalesce(text_envelope, envelope), (reauthenticate.caller).request_id);
            perform postern._audit_user('user_reauthenticate_requested', 'user', v_user.id);
            return json_build_object('v', v_settings.version, 'delivery', v_delivery, 'body', case
                when (v_delivery ->> 'is_test')::boolean then json_build_object('message_id', 'test-otp')
                else json_build_object() end);
        end if;
        perform postern._check_frequency(
            v_user.reauthentication_sent_at, v_settings.smtp_max_frequency, 'over_email_send_rate_limit');
        perform postern._check_mail(v_settings, v_user.email);
        -- The row lock settles two requests at once: the second finds the first one's time.
        select u.* into v_user from auth.users u where u.id = v_user.id for no key update;
        if not found then
            perform postern._start_over((reauthenticate.caller).user_id);
        end if;
        perform postern._check_frequency(
            v_user.reauthentication_sent_at, v_settings.smtp_max_frequency, 'over_email_send_rate_limit');
        v_delivery := postern._send_mail(v_settings, 'reauthentication', '', v_user.email, v_user.id, envelope,
            v_settings.mailer_otp_exp, (reauthenticate.caller).request_id);
        perform postern._set_one_time_token(v_user.id, 'reauthentication_token', lower(v_user.email), envelope);
        perform postern._audit_user('user_reauthenticate_requested', 'user', v_user.id);
        return json_build_object('v', v_settings.version, 'delivery', v_delivery, 'body', json_build_object());
    {{ template "handler" "Error sending reauthentication email" }}
    end;
end
$$;

comment on function postern.reauthenticate(postern.envelope, postern.caller, postern.envelope) is
'Mails the caller a code that a change of password asks for, or texts it where there is no address (contract core.md 6.7): from text_envelope then.
Called by: GET /reauthenticate.
Refuses: user_not_found, session_not_found, user_banned (403); validation_failed, email_address_not_authorized (400); email_not_confirmed, phone_not_confirmed (422); over_email_send_rate_limit (429).';
