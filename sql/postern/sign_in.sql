create or replace function postern.find_password(
    email text default null,
    phone text default null,
    caller postern.caller default null)
returns json
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_settings auth.settings not null := (select g from auth.settings g);
    v_user auth.users;
    v_refused json;
    v_has_email boolean := coalesce(find_password.email, '') <> '';
    v_has_phone boolean := coalesce(find_password.phone, '') <> '';
begin
    {{ template "limited" "token" }}

    if v_has_email and v_has_phone then
        return postern._error(400, 'validation_failed', 'Only an email address or phone number should be provided on login.');
    elsif v_has_email and not v_settings.external_email_enabled then
        return postern._error(422, 'email_provider_disabled', 'Email logins are disabled');
    elsif v_has_phone and not v_settings.external_phone_enabled then
        return postern._error(422, 'phone_provider_disabled', 'Phone logins are disabled');
    elsif not v_has_email and not v_has_phone then
        return postern._error(400, 'validation_failed', 'missing email or phone');
    end if;

    v_user := postern._find_user(
        case when v_has_email then find_password.email end,
        postern._phone_digits(find_password.phone),
        coalesce(nullif((find_password.caller).audience, ''), v_settings.jwt_aud));
    if v_user.banned_until > now() and v_user.encrypted_password <> '' then
        return postern._error(400, 'user_banned', 'User is banned');
    end if;
    return json_build_object(
        'v', v_settings.version,
        'user_id', case when v_user.encrypted_password <> '' then v_user.id end,
        'password_hash', nullif(v_user.encrypted_password, ''));
end
$$;

comment on function postern.find_password(text, text, postern.caller) is
'The first half of a password sign-in: who has the address or number, and the hash to compare with; null where there is no such account or it has no password.
Called by: POST /token with grant_type password, before hashing.
Refuses: over_request_rate_limit (429); validation_failed, user_banned (400); email_provider_disabled, phone_provider_disabled (422).';

create or replace function postern.sign_in_with_password(
    user_id uuid,
    provider text,
    is_valid boolean,
    compared_digest text default null,
    new_hash text default null,
    hook_output text default null,
    caller postern.caller default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_has_hook boolean;
    v_user record;
    v_refused json;
begin
    select g.hook_password_verification_attempt_enabled into strict v_has_hook from auth.settings g;
    if v_has_hook and sign_in_with_password.user_id is not null then
        v_refused := postern._ask_password_hook(
            sign_in_with_password.user_id, coalesce(is_valid, false), hook_output, sign_in_with_password.caller);
        if v_refused is not null then
            return v_refused;
        end if;
    end if;

    begin
        if sign_in_with_password.user_id is null or is_valid is not true then
            perform postern._refuse(400, 'invalid_credentials', 'Invalid login credentials');
        end if;

        -- The row lock settles a sign-in against a change of password, a ban or a deletion meanwhile.
        select u.encrypted_password, u.banned_until, u.deleted_at, u.email_confirmed_at, u.phone_confirmed_at
        into v_user
        from auth.users u
        where u.id = sign_in_with_password.user_id
        for no key update;

        if not found or v_user.deleted_at is not null or coalesce(v_user.encrypted_password, '') = '' then
            perform postern._refuse(400, 'invalid_credentials', 'Invalid login credentials');
        elsif v_user.banned_until > now() then
            perform postern._refuse(400, 'user_banned', 'User is banned');
        elsif encode(sha256(convert_to(v_user.encrypted_password, 'UTF8')), 'hex') is distinct from compared_digest then
            perform postern._refuse(409, 'conflict', 'The password changed during the sign-in');
        elsif provider = 'email' and v_user.email_confirmed_at is null then
            perform postern._refuse(400, 'email_not_confirmed', 'Email not confirmed');
        elsif provider = 'phone' and v_user.phone_confirmed_at is null then
            perform postern._refuse(400, 'phone_not_confirmed', 'Phone not confirmed');
        end if;

        update auth.users u
        set last_sign_in_at = now(), updated_at = now(),
            encrypted_password = coalesce(new_hash, u.encrypted_password)
        where u.id = sign_in_with_password.user_id;

        perform postern._audit_user('login', 'account', sign_in_with_password.user_id, json_build_object('provider', provider));
        return postern._tokens(
            sign_in_with_password.user_id,
            postern._open_session(sign_in_with_password.user_id, 'password', sign_in_with_password.caller),
            'password',
            caller => sign_in_with_password.caller);
    {{ template "handler" "Database error granting user" }}
    end;
end
$$;

comment on function postern.sign_in_with_password(uuid, text, boolean, text, text, text, postern.caller) is
'The second half of a password sign-in: records the outcome and opens the session. compared_digest is the hex SHA-256 of the hash that the password was compared with; new_hash replaces it when it was made with an older algorithm. provider is email or phone. hook_output is what a password_verification_attempt hook behind HTTP answered, the text null when nothing; a database function is asked here. Contract core.md 4.3.
Called by: POST /token with grant_type password, after hashing; user_id null for an unknown account.
Refuses: invalid_credentials, user_banned, email_not_confirmed, phone_not_confirmed (400); conflict (409) - the password changed meanwhile, the gateway starts again; what the hook refuses.';
