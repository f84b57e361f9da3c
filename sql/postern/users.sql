create or replace function postern.get_users(user_ids uuid[], session_ids uuid[])
returns table (n bigint, answer text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan -- or it is planned for the number of callers, every time
as $$
begin
    return query
    select c.n, coalesce(own.answer, postern._check_user(
        postern.caller(user_id => c.user_id, session_id => c.session_id))::text)
    from unnest(get_users.user_ids, get_users.session_ids) with ordinality c (user_id, session_id, n)
    left join lateral (
        select case when (u.banned_until > now()) is not true and (s.id is not null or c.session_id is null)
            then concat('{"v":', s.version, ',"body":', {{ template "user json" }}, '}') end as answer
        from (
            select g.version, s.id
            from auth.settings g
            left join auth.sessions s on s.id = c.session_id
            offset 0) s
        cross join auth.users u
        cross join {{ template "user parts" }}
        where u.id = c.user_id and {{ template "of this instance" }}
        offset 0) own on true;
end
$$;

comment on function postern.get_users(uuid[], uuid[]) is
'What postern.get_user answers to each of several callers, by their number from 1: the claims sub and session_id of their verified tokens, both arrays of one length. JSON as text, which spares reading it once more.
Called by: GET /user, which under load asks for several callers at once; postern.get_user.
Refuses: as postern.get_user, each caller for itself.';

create or replace function postern.get_user(caller postern.caller)
returns json
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select a.answer::json
        from postern.get_users(array[(get_user.caller).user_id], array[(get_user.caller).session_id]) a);
end
$$;

comment on function postern.get_user(postern.caller) is
'The account of the caller (contract core.md 6.1).
Called by: whoever asks for one at a time; gateways of earlier releases.
Refuses: user_not_found, session_not_found, user_banned (403).';

create or replace function postern.find_own_password(caller postern.caller)
returns json
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_settings auth.settings not null := (select g from auth.settings g);
    v_refused json := postern._check_user(find_own_password.caller);
begin
    if v_refused is null and (find_own_password.caller).limiter_key is not null then
        v_refused := postern._take_limit(v_settings, 'user', (find_own_password.caller).limiter_key);
    end if;
    return coalesce(v_refused, (
        select json_build_object('v', v_settings.version, 'password_hash', nullif(u.encrypted_password, ''))
        from auth.users u
        where u.id = (find_own_password.caller).user_id));
end
$$;

comment on function postern.find_own_password(postern.caller) is
'The first half of a change of password: the hash that the current and the new password are compared with, null when there is none.
Called by: PUT /user with a password; postern.update_user is then called without the limiter key. PUT /user with a body that is no JSON, which only is counted.
Refuses: user_not_found, session_not_found, user_banned (403); over_request_rate_limit (429).';

create or replace function postern.update_user(
    caller postern.caller,
    email text default null,
    phone text default null,
    password_hash text default null,
    password_problem json default null,
    compared_digest text default null,
    is_same_password boolean default null,
    is_current_password boolean default null,
    nonce text default null,
    data jsonb default null,
    app_metadata jsonb default null,
    channel text default null,
    nonce_hmacs bytea[] default '{}',
    code_challenge text default null,
    code_challenge_method text default null,
    envelope postern.envelope default null,
    second_envelope postern.envelope default null,
    text_envelope postern.envelope default null,
    languages text default null,
    channels text[] default '{sms}')
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_settings auth.settings not null := (select g from auth.settings g);
    v_refused json := postern._check_user(update_user.caller);
    v_user auth.users;
    v_session auth.sessions;
    v_email text;
    v_phone text;
    v_mail_is_reserved boolean;
    v_text_is_reserved boolean;
    v_delivery json;
    v_text_delivery json;
begin
    if v_refused is null and (update_user.caller).limiter_key is not null then
        v_refused := postern._take_limit(v_settings, 'user', (update_user.caller).limiter_key);
    end if;
    if v_refused is null and password_hash is not null and password_problem is null and coalesce(nonce, '') <> ''
        and postern._needs_reauthentication(v_settings, (update_user.caller).session_id)
    then
        -- Outside of the block, as in postern.verify_one_time_token: what it counts stays counted when the code is refused.
        v_refused := postern._take_limit(v_settings, 'guesses', (update_user.caller).user_id::text);
    end if;
    if v_refused is not null then
        return v_refused;
    end if;

    begin
        if coalesce(update_user.email, '') <> '' then
            v_email := postern._email(update_user.email);
        end if;
        if coalesce(update_user.phone, '') <> '' then
            v_phone := postern._phone(update_user.phone);
            perform postern._check_channel(v_settings, channel, channels);
        end if;
        if password_problem is not null then
            perform postern._refuse(
                (password_problem ->> 'status')::integer, password_problem ->> 'code', password_problem ->> 'message');
        end if;

        if v_email is not null or v_phone is not null then
            select u.* into v_user from auth.users u where u.id = (update_user.caller).user_id;
            v_mail_is_reserved := v_email is distinct from v_user.email and v_email is not null and postern._reserve_mail(v_settings);
            v_text_is_reserved := v_phone is distinct from v_user.phone and v_phone is not null
                and postern._reserve_text(v_settings, v_phone);
        end if;
        -- The row lock settles two changes of one account: the second sees the first one's values.
        select u.* into v_user
        from auth.users u
        where u.id = (update_user.caller).user_id
        for no key update;
        -- What the lock waited for may have been a ban, a deletion or a sign-out.
        v_refused := postern._check_user(update_user.caller);
        if v_refused is not null then
            return v_refused;
        end if;
        select s.* into v_session
        from auth.sessions s
        where s.id = (update_user.caller).session_id;

        if v_email = v_user.email then
            v_email := null;
        end if;
        if v_phone = v_user.phone then
            v_phone := null;
        end if;
        perform postern._check_user_update(v_settings, v_user, v_session, v_email, v_phone, password_hash, nonce, app_metadata);

        if password_hash is not null then
            v_refused := postern._judge_new_password(
                v_settings, v_user, v_session, compared_digest, is_same_password, is_current_password, nonce, nonce_hmacs);
            if v_refused is not null then
                return v_refused;
            end if;
            perform postern._set_password(v_user.id, password_hash, v_session.id);
            perform postern._add_email_identity_for_password(v_settings, v_user);
            perform postern._audit_user('user_updated_password', 'user', v_user.id);
            perform postern._notify(
                'password_changed_notification', v_user.email, v_user.id, (update_user.caller).request_id, languages);
        end if;
        if data is not null then
            update auth.users u
            set raw_user_meta_data = postern._merge_metadata(u.raw_user_meta_data, data), updated_at = now()
            where u.id = v_user.id;
        end if;
        if app_metadata is not null then
            update auth.users u
            set raw_app_meta_data = postern._merge_metadata(u.raw_app_meta_data, app_metadata), updated_at = now()
            where u.id = v_user.id;
        end if;
        if v_email is not null then
            perform postern._check_code_challenge(code_challenge, code_challenge_method);
            v_delivery := postern._change_email(v_settings, v_user, v_email, code_challenge, code_challenge_method, envelope,
                second_envelope, (update_user.caller).request_id, v_mail_is_reserved);
        end if;
        if v_phone is not null then
            v_text_delivery := postern._change_phone(
                v_settings, v_user, v_phone, coalesce(nullif(channel, ''), 'sms'), text_envelope, (update_user.caller).request_id,
                languages, v_text_is_reserved);
        end if;

        perform postern._audit_user('user_modified', 'user', v_user.id);
        return json_build_object('v', v_settings.version, 'delivery', v_delivery, 'text_delivery', v_text_delivery,
            'body', case when v_user.confirmed_at is null
            then postern._user_json_as(v_user.id, 'confirmed') else postern._user_json(v_user.id) end);
    {{ template "handler" "Error updating user" }}
    end;
end
$$;

comment on function postern.update_user(postern.caller, text, text, text, json, text, boolean, boolean, text, jsonb, jsonb, text, bytea[], text, text, postern.envelope, postern.envelope, postern.envelope, text, text[]) is
'Changes the caller''s account: address, number, password, metadata (contract core.md 6.2 to 6.6). What the gateway found out about the plain passwords: password_problem {status, code, message}; whether the new one equals the stored one; whether the current one was right (null: not given); compared_digest = hex SHA-256 of the hash it compared with. envelope and second_envelope are for a new address (the new and the present one), text_envelope for a new number. languages: Accept-Language of the request; channels: those of the gateway''s SMS provider.
Called by: PUT /user.
Refuses: user_not_found, session_not_found, user_banned (403); over_request_rate_limit (429) - client, or guesses at the code; validation_failed, email_address_invalid, current_password_required, current_password_invalid, reauthentication_needed (400); insufficient_aal (401); not_admin (403); email_exists, phone_exists, same_password, user_sso_managed, reauthentication_not_valid (422); conflict (409) - the password changed meanwhile; errors of users'' triggers.';

create or replace function postern._check_user_update(
    settings auth.settings,
    known auth.users,
    session auth.sessions,
    new_email text,
    new_phone text,
    password_hash text,
    nonce text,
    app_metadata jsonb)
returns void
language plpgsql
as $$
begin
    if app_metadata is not null
        and (known.role is distinct from settings.jwt_admin_group_name or known.aud is distinct from settings.jwt_aud)
    then
        perform postern._refuse(403, 'not_admin', 'Updating app_metadata requires admin privileges');
    elsif (password_hash is not null or new_email is not null or new_phone is not null)
        and coalesce(session.aal, 'aal1') < 'aal2' and postern._has_verified_factor(known.id)
    then
        perform postern._refuse(401, 'insufficient_aal',
            'AAL2 session is required to update email or password when MFA is enabled.');
    elsif known.is_anonymous and password_hash is not null and new_email is null and new_phone is null then
        perform postern._refuse(422, 'validation_failed',
            'Updating password of an anonymous user without an email or phone is not allowed');
    elsif known.is_sso_user
        and (password_hash is not null or new_email is not null or new_phone is not null or coalesce(nonce, '') <> '')
    then
        perform postern._refuse(422, 'user_sso_managed',
            'Updating email, phone, password of a SSO account only possible via SSO');
    end if;

    if new_email is not null then
        perform postern._check_disposable(new_email);
    end if;
    if new_email is not null and (postern._find_user(new_email, null, known.aud)).id <> known.id then
        perform postern._refuse(422, 'email_exists', 'A user with this email address has already been registered');
    elsif new_phone is not null and (postern._find_user(null, new_phone, known.aud)).id <> known.id then
        perform postern._refuse(422, 'phone_exists', 'A user with this phone number has already been registered');
    end if;
end
$$;

comment on function postern._check_user_update(auth.settings, auth.users, auth.sessions, text, text, text, text, jsonb) is
'Whether a user may make this change at all (contract core.md 6.3, rows 6 to 11).
Called by: postern.update_user.
Refuses: not_admin (403), insufficient_aal (401), email_address_invalid (400), validation_failed, user_sso_managed, email_exists, phone_exists (422).';

create or replace function postern._judge_new_password(
    settings auth.settings,
    known auth.users,
    session auth.sessions,
    compared_digest text,
    is_same_password boolean,
    is_current_password boolean,
    nonce text,
    nonce_hmacs bytea[])
returns json
language plpgsql
as $$
declare
    v_has_password boolean := coalesce(known.encrypted_password, '') <> '';
    v_has_email boolean := coalesce(known.email, '') <> '';
begin
    if v_has_password
        and encode(sha256(convert_to(known.encrypted_password, 'UTF8')), 'hex') is distinct from compared_digest
    then
        perform postern._refuse(409, 'conflict', 'The password changed meanwhile');
    end if;

    if postern._needs_reauthentication(settings, session.id) then
        if coalesce(nonce, '') = '' then
            perform postern._refuse(400, 'reauthentication_needed', 'Password update requires reauthentication');
        end if;
        if coalesce(known.reauthentication_token, '') = ''
            or known.reauthentication_sent_at + make_interval(secs => case when v_has_email
                then settings.mailer_otp_exp else settings.sms_otp_exp end) < now()
            or known.reauthentication_token <> all (array(
                    select postern._code_digest(case when v_has_email then lower(known.email) else known.phone end, h.hmac)
                    from unnest(nonce_hmacs) h (hmac)))
                and (v_has_email or nonce is distinct from postern._test_code(settings, known.phone))
        then
            perform postern._refuse(422, 'reauthentication_not_valid', 'Nonce has expired or is invalid');
        end if;
        update auth.users u set reauthentication_token = '' where u.id = known.id;
        delete from auth.one_time_tokens o where o.user_id = known.id and o.token_type = 'reauthentication_token';
    end if;

    if settings.security_update_password_require_current_password and v_has_password
        and is_current_password is not true
        and not exists (
            select from auth.mfa_amr_claims m
            where m.session_id = session.id and m.authentication_method in ('otp', 'magiclink', 'recovery'))
    then
        return postern._error(
            400, case when is_current_password is null then 'current_password_required' else 'current_password_invalid' end,
            'Current password required when setting new password.');
    elsif is_same_password then
        return postern._error(422, 'same_password', 'New password should be different from the old password.');
    end if;
    return null;
end
$$;

comment on function postern._judge_new_password(auth.settings, auth.users, auth.sessions, text, boolean, boolean, text, bytea[]) is
'Whether a user may set this password now (contract core.md 6.4). Null when so. What is wrong with the password is returned and not raised, so that a right code is used up by it.
Called by: postern.update_user.
Refuses: conflict (409); reauthentication_needed, current_password_required, current_password_invalid (400); reauthentication_not_valid, same_password (422).';

create or replace function postern._needs_reauthentication(settings auth.settings, session_id uuid)
returns boolean
language plpgsql stable
as $$
begin
    return settings.security_update_password_require_reauthentication and not exists (
        select from auth.sessions s
        where s.id = _needs_reauthentication.session_id and s.created_at >= now() - interval '24 hours');
end
$$;

comment on function postern._needs_reauthentication(auth.settings, uuid) is
'Whether a change of password needs a mailed or texted code: where auth.settings wants it, unless the session is younger than a day (contract core.md 6.4).
Called by: postern.update_user, postern._judge_new_password.
Refuses: never.';

create or replace function postern._add_email_identity_for_password(settings auth.settings, known auth.users)
returns void
language plpgsql
as $$
begin
    if settings.experimental_create_email_identity_on_password_set_enabled
        and coalesce(known.encrypted_password, '') = ''
        and known.email_confirmed_at is not null and known.email <> ''
        and not known.is_sso_user and not known.is_anonymous
        and not exists (select from auth.identities i where i.user_id = known.id and i.provider = 'email')
    then
        perform postern._set_identity(known.id, 'email', jsonb_build_object(
            'email', known.email, 'email_verified', true, 'phone_verified', false));
        update auth.users u
        set raw_app_meta_data = case when jsonb_typeof(u.raw_app_meta_data) = 'object' then u.raw_app_meta_data else '{}' end || (
            select jsonb_build_object('provider', p.names -> 0, 'providers', p.names)
            from (
                select jsonb_agg(i.provider order by i.created_at, i.provider) as names
                from auth.identities i
                where i.user_id = known.id) p)
        where u.id = known.id;
    end if;
end
$$;

comment on function postern._add_email_identity_for_password(auth.settings, auth.users) is
'Gives a user who sets a first password the e-mail identity that goes with it, when auth.settings says so (contract core.md 6.4). known is the user before the change.
Called by: postern.update_user, postern.admin_update_user.
Refuses: never.';

create or replace function postern._change_email(
    settings auth.settings,
    known auth.users,
    new_email text,
    challenge text,
    challenge_method text,
    envelope postern.envelope,
    second_envelope postern.envelope,
    request_id text,
    is_reserved boolean)
returns json
language plpgsql
as $$
begin
    if known.is_anonymous and settings.mailer_autoconfirm then
        update auth.users u
        set email = new_email, email_confirmed_at = now(), is_anonymous = false, updated_at = now(),
            raw_user_meta_data = postern._merge_metadata(u.raw_user_meta_data, '{"email_verified": true}')
        where u.id = known.id;
        perform postern._set_identity(known.id, 'email', jsonb_build_object(
            'email', new_email, 'email_verified', true, 'phone_verified', false));
        return null;
    end if;
    return postern._mail_email_change(
        settings, known, new_email, challenge, challenge_method, envelope, second_envelope, request_id, is_reserved);
end
$$;

comment on function postern._change_email(auth.settings, auth.users, text, text, text, postern.envelope, postern.envelope, text, boolean) is
'Applies a new address at once for an anonymous user where addresses need no confirmation, else mails what confirms it (contract core.md 6.5). Returns what the gateway needs for the first attempt.
Called by: postern.update_user.
Refuses: over_email_send_rate_limit (429), email_address_not_authorized (400); a unique violation reaches the caller.';

create or replace function postern._change_phone(
    settings auth.settings,
    known auth.users,
    new_phone text,
    channel text,
    envelope postern.envelope,
    request_id text,
    languages text,
    is_reserved boolean)
returns json
language plpgsql
as $$
declare
    v_before jsonb;
begin
    if settings.sms_autoconfirm then
        update auth.users u
        set phone = new_phone, phone_confirmed_at = now(), phone_change = '', phone_change_token = '',
            is_anonymous = false, updated_at = now()
        where u.id = known.id;
        perform postern._set_phone_identity(known, new_phone, request_id, languages);
        return null;
    end if;
    v_before := postern._pending_codes(known.id);
    update auth.users u
    set phone_change = new_phone, phone_change_token = '', updated_at = now()
    where u.id = known.id;
    return postern._text_code(settings, known, 'phone_change_token', new_phone, channel, envelope, request_id, v_before,
        is_reserved => is_reserved);
end
$$;

comment on function postern._change_phone(auth.settings, auth.users, text, text, postern.envelope, text, text, boolean) is
'Applies a new number at once where numbers need no confirmation, else texts the code that confirms it (contract core.md 6.6). Returns what the gateway needs for the first attempt.
Called by: postern.update_user.
Refuses: over_sms_send_rate_limit (429); a unique violation reaches the caller.';
