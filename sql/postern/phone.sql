create or replace function postern._reserve_text(settings auth.settings, phone text)
returns boolean
language plpgsql
as $$
begin
    return not settings.sms_autoconfirm and postern._test_code(settings, phone) is null
        and postern._take_quota('sms', settings.rate_limit_sms_sent) is null;
end
$$;

comment on function postern._reserve_text(auth.settings, text) is
'Takes a place in the quota of SMS before the account''s row is locked or made (DESIGN 11), for functions that know by then that they will text the number; false when there is none, which is refused when its turn comes.
Called by: functions that text.
Refuses: never.';

create or replace function postern._text_code(
    settings auth.settings,
    known auth.users,
    purpose auth.one_time_token_type,
    phone text,
    channel text,
    envelope postern.envelope,
    request_id text,
    before jsonb default null,
    is_reserved boolean default false)
returns json
language plpgsql
as $$
declare
    v_kind text := case purpose
        when 'phone_change_token' then 'phone_change' when 'reauthentication_token' then 'reauthentication'
        else 'confirmation' end;
    v_retry integer;
    v_user auth.users;
    v_row auth.outbox;
    v_delivery json;
begin
    perform postern._check_frequency(postern._sent_at(known, purpose), settings.sms_max_frequency, 'over_sms_send_rate_limit');
    if (envelope).outbox_id is null then
        return null; -- the gateway of the previous release, which texts nothing
    elsif postern._test_code(settings, phone) is not null then
        perform postern._set_one_time_token(known.id, purpose, phone, envelope);
        return json_build_object('is_test', true);
    end if;
    if not settings.sms_autoconfirm and not is_reserved then
        v_retry := postern._take_quota('sms', settings.rate_limit_sms_sent);
        if v_retry is not null then
            perform postern._refuse(429, 'over_sms_send_rate_limit', 'SMS rate limit exceeded', retry_after => v_retry);
        end if;
    end if;

    -- The row lock settles two requests at once: the second finds the first one's time.
    select u.* into v_user from auth.users u where u.id = known.id for no key update;
    if v_user.id is null or v_user.phone is distinct from known.phone then
        -- Whoever had the number until now is texted nothing that opens the account.
        perform postern._start_over(known.id);
    end if;
    perform postern._check_frequency(postern._sent_at(v_user, purpose), settings.sms_max_frequency, 'over_sms_send_rate_limit');

    -- Leased to the gateway that asked: it makes the first attempt before it answers. If it dies, another one sends.
    insert into auth.outbox as o (
        id, channel, kind, recipient, user_id, payload, sealed, attempts, leased_by, next_attempt_at, expires_at, request_id)
    values (
        (envelope).outbox_id, 'sms', v_kind, phone, known.id,
        jsonb_build_object('channel', channel, 'before', coalesce(before, postern._pending_codes(known.id))),
        (envelope).sealed, 1, (envelope).outbox_id::text, now() + interval '60 seconds',
        now() + make_interval(secs => settings.sms_otp_exp), _text_code.request_id)
    returning o.* into v_row;
    -- A hook is told of the account as it was before the code.
    v_delivery := postern._delivery(v_row, postern._sending_hook(settings, 'sms'));
    perform postern._set_one_time_token(known.id, purpose, phone, envelope);
    return v_delivery;
end
$$;

comment on function postern._text_code(auth.settings, auth.users, auth.one_time_token_type, text, text, postern.envelope, text, jsonb, boolean) is
'Stores a code for a number and queues its SMS, leased to the gateway that asked; nothing is sent to numbers with a fixed code (contract mfa-hooks.md 4.1). before is what postern._pending_codes said, where the caller has changed it meanwhile. is_reserved: its place in the quota is taken. Returns what the gateway needs for the first attempt.
Called by: every function that texts.
Refuses: over_sms_send_rate_limit (429).';

create or replace function postern._test_code(settings auth.settings, phone text)
returns text
language sql stable
as $$
    select case when coalesce(settings.sms_test_otp_valid_until, 'infinity') > now()
        then settings.sms_test_otp ->> phone end
$$;

comment on function postern._test_code(auth.settings, text) is
'The fixed code of a test number, null for others (contract mfa-hooks.md 4.5).
Called by: postern._text_code, verification.
Refuses: never.';

create or replace function postern.request_sms(
    phone text,
    create_user boolean default true,
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
    v_user auth.users;
    v_phone text;
    v_channel text := coalesce(nullif(channel, ''), 'sms');
    v_signs_in boolean;
    v_is_reserved boolean := false;
    v_delivery json;
    v_refused json;
begin
    v_audience := coalesce(nullif((request_sms.caller).audience, ''), v_settings.jwt_aud);
    {{ template "limited" "otp" }}

    begin
        perform postern._check_code_challenge(code_challenge, code_challenge_method);
        v_user := postern._find_user(null, postern._phone_digits(request_sms.phone), v_audience);
        if not create_user and v_user.id is null then
            perform postern._refuse(422, 'otp_disabled', 'Signups not allowed for otp');
        elsif not v_settings.external_phone_enabled then
            perform postern._refuse(400, 'phone_provider_disabled', 'Unsupported phone provider');
        end if;
        v_phone := postern._phone(request_sms.phone);
        perform postern._check_channel(v_settings, channel, channels);

        -- Else the number is to be confirmed.
        v_signs_in := v_user.phone_confirmed_at is not null or v_settings.sms_autoconfirm;
        -- Who still has to confirm the number signs up as well, as in the reference.
        if v_user.phone_confirmed_at is null and v_settings.disable_signup then
            perform postern._refuse(422, 'signup_disabled', 'Signups not allowed for this instance');
        end if;
        if v_user.id is null then
            begin
                v_is_reserved := postern._reserve_text(v_settings, v_phone);
                v_user := postern._create_unconfirmed(v_settings, v_audience, null, v_phone, '', data, new_user_id);
                -- Another request may have been quicker: the account is its.
                if v_user.created_at = now() and v_settings.sms_autoconfirm then
                    update auth.users u set phone_confirmed_at = now() where u.id = v_user.id;
                    perform postern._audit_user('user_signedup', 'team', v_user.id,
                        json_build_object('provider', 'phone', 'channel', v_channel));
                end if;
            -- Up to here it is a sign-up, and fails like one (contract schema.md 8).
            {{ template "handler" "Database error saving new user" }}
            end;
        end if;

        v_delivery := postern._text_code(v_settings, v_user, 'confirmation_token', v_phone, v_channel, envelope,
            (request_sms.caller).request_id, is_reserved => v_is_reserved);
        if v_signs_in then
            perform postern._audit_user('user_recovery_requested', 'user', v_user.id, json_build_object('channel', v_channel));
        else
            perform postern._audit_user('user_confirmation_requested', 'user', v_user.id, json_build_object('provider', 'phone'));
        end if;
        return json_build_object('v', v_settings.version, 'delivery', v_delivery, 'body',
            case when v_signs_in and (v_delivery ->> 'is_test')::boolean
                then json_build_object('message_id', 'test-otp') else json_build_object() end,
            'user_id', case when not v_signs_in and v_settings.hook_after_user_created_enabled then v_user.id end);
    {{ template "handler" "Error sending sms" }}
    end;
end
$$;

comment on function postern.request_sms(text, boolean, jsonb, text, text, text, postern.envelope, uuid, postern.caller, text[]) is
'Texts a code to sign in with; creates the account when the number is new and create_user allows it (contract core.md 7.5). channels: those of the gateway''s provider.
Called by: POST /otp with a phone.
Refuses: over_request_rate_limit, over_sms_send_rate_limit (429); otp_disabled, signup_disabled (422); phone_provider_disabled, validation_failed (400).';

create or replace function postern._find_phone_code(
    settings auth.settings,
    type text,
    phone text,
    code_hmacs bytea[],
    test_code text,
    audience text,
    out owner_id uuid,
    out purpose auth.one_time_token_type,
    out sent_at timestamptz,
    out banned_until timestamptz)
returns record
language plpgsql
as $$
declare
    v_digests text[] := array(select postern._code_digest(phone, h.hmac) from unnest(code_hmacs) h (hmac));
    v_user auth.users;
    v_stored text;
begin
    if type = 'sms' then
        v_user := postern._find_user(null, phone, audience);
        purpose := 'confirmation_token';
    elsif type = 'phone_change' then
        select u.* into v_user
        from auth.users u
        where u.phone_change = _find_phone_code.phone and u.phone_change <> '' and u.aud = _find_phone_code.audience
            and {{ template "of this instance" }}
        order by u.phone_change_sent_at desc nulls last
        limit 1;
        purpose := 'phone_change_token';
    end if;
    if v_user.id is null then
        return;
    end if;

    -- The row lock makes a second use of the code wait for the first one.
    perform from auth.users u where u.id = v_user.id for no key update;
    select u.* into v_user from auth.users u where u.id = v_user.id;
    v_stored := case purpose when 'confirmation_token' then v_user.confirmation_token else v_user.phone_change_token end;
    banned_until := v_user.banned_until;
    if test_code = postern._test_code(settings, phone) then
        owner_id := v_user.id;
        sent_at := now();
    elsif v_stored <> '' and v_stored = any (v_digests) then
        owner_id := v_user.id;
        sent_at := postern._sent_at(v_user, purpose);
    end if;
end
$$;

comment on function postern._find_phone_code(auth.settings, text, text, bytea[], text, text) is
'Whose texted code it is and for what, with the user''s row locked; null when it is nobody''s. test_code is the plain code, which the gateway passes for test numbers only.
Called by: postern.verify_one_time_token.
Refuses: never.';

create or replace function postern._consume_phone_token(
    owner_id uuid,
    purpose auth.one_time_token_type,
    request_id text,
    languages text)
returns void
language plpgsql
as $$
declare
    v_user auth.users;
begin
    select u.* into strict v_user from auth.users u where u.id = owner_id;
    delete from auth.one_time_tokens o where o.user_id = owner_id;
    if purpose = 'confirmation_token' then
        update auth.users u
        set confirmation_token = '', phone_confirmed_at = now(), is_anonymous = false, updated_at = now()
        where u.id = owner_id;
        perform postern._audit_user('user_signedup', 'team', owner_id, json_build_object('provider', 'phone'));
        return;
    end if;

    begin
        update auth.users u
        set phone = u.phone_change, phone_change = '', phone_change_token = '', phone_confirmed_at = now(),
            is_anonymous = false, updated_at = now()
        where u.id = owner_id;
    exception when unique_violation then
        perform postern._refuse(422, 'phone_exists', 'A user with this phone number has already been registered');
    end;
    perform postern._set_phone_identity(v_user, v_user.phone_change, request_id, languages);
    perform postern._audit_user('user_modified', 'user', owner_id);
end
$$;

comment on function postern._consume_phone_token(uuid, auth.one_time_token_type, text, text) is
'Does what a verified texted code stands for and voids it (contract core.md 7.8).
Called by: postern.verify_one_time_token.
Refuses: phone_exists (422) - somebody else took the number meanwhile.';

create or replace function postern._set_phone_identity(known auth.users, new_phone text, request_id text, languages text)
returns void
language plpgsql
as $$
declare
    v_is_first boolean := not exists (select from auth.identities i where i.user_id = known.id and i.provider = 'phone');
begin
    perform postern._set_identity(known.id, 'phone', jsonb_build_object('phone', new_phone, 'phone_verified', true));
    if v_is_first then
        perform postern._notify('identity_linked_notification', known.email, known.id, request_id, languages,
            jsonb_build_object('provider', 'phone'));
    end if;
    if known.phone <> '' then
        perform postern._notify('phone_changed_notification', known.email, known.id, request_id, languages,
            jsonb_build_object('old_phone', known.phone, 'phone', new_phone));
    end if;
end
$$;

comment on function postern._set_phone_identity(auth.users, text, text, text) is
'Adds the phone identity of a user or brings it up to date with a new number, and tells the user, as known before the change, of an identity that is new and of a number in place of an old one (contract core.md 6.6, 9.1).
Called by: postern._consume_phone_token, postern._change_phone.
Refuses: never.';
