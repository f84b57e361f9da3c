create or replace function postern._insert_user(
    id uuid,
    audience text,
    role text,
    email text,
    phone text,
    encrypted_password text,
    app_metadata jsonb,
    user_metadata jsonb,
    is_anonymous boolean default false)
returns void
language plpgsql
as $$
begin
    insert into auth.users (
        instance_id, id, aud, role, email, phone, encrypted_password,
        confirmation_token, recovery_token, email_change_token_new, email_change_token_current,
        email_change, email_change_confirm_status, phone_change, phone_change_token, reauthentication_token,
        raw_app_meta_data, raw_user_meta_data, is_sso_user, is_anonymous, created_at, updated_at)
    values (
        '00000000-0000-0000-0000-000000000000', _insert_user.id, _insert_user.audience, _insert_user.role,
        _insert_user.email, _insert_user.phone, _insert_user.encrypted_password,
        '', '', '', '', '', 0, '', '', '',
        _insert_user.app_metadata, _insert_user.user_metadata, false, _insert_user.is_anonymous, now(), now());
end
$$;

comment on function postern._insert_user(uuid, text, text, text, text, text, jsonb, jsonb, boolean) is
'Inserts the row of a new account, unconfirmed, as users'' triggers expect it (contract schema.md 8; the role is in it already).
Called by: sign-up, administration and seed functions.
Refuses: unique violations of users_email_partial_key and users_phone_key reach the caller.';

create or replace function postern._set_identity(user_id uuid, provider text, identity_data jsonb)
returns void
language plpgsql
as $$
begin
    insert into auth.identities as i (
        provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
    values (
        _set_identity.user_id::text, _set_identity.user_id,
        jsonb_build_object('sub', _set_identity.user_id, 'email_verified', false, 'phone_verified', false)
            || _set_identity.identity_data,
        _set_identity.provider, now(), now(), now())
    on conflict on constraint identities_provider_id_provider_unique do update
        set identity_data = i.identity_data || _set_identity.identity_data;
end
$$;

comment on function postern._set_identity(uuid, text, jsonb) is
'Adds the e-mail or phone identity of a user, or merges new data into the one there is.
Called by: sign-up, changes of address or number, administration.
Refuses: never.';

create or replace function postern._find_user(email text, phone text, audience text)
returns auth.users
language plpgsql stable
as $$
declare
    v_user auth.users;
begin
    if email is not null then
        select u.* into v_user
        from auth.users u
        where u.email = lower(_find_user.email)
            and not u.is_sso_user
            and u.aud = _find_user.audience
            and {{ template "of this instance" }};
        if not found then
            -- An address that was stored with capitals, by a script or long ago; there is an index of just these.
            select u.* into v_user
            from auth.users u
            where lower(u.email) = lower(_find_user.email)
                and u.email <> lower(u.email)
                and u.aud = _find_user.audience
                and not u.is_sso_user
                and {{ template "of this instance" }}
            order by u.created_at
            limit 1;
        end if;
    else
        select u.* into v_user
        from auth.users u
        where u.phone = _find_user.phone
            and {{ template "of this instance" }}
            and u.aud = _find_user.audience
            and not u.is_sso_user;
    end if;
    return v_user;
end
$$;

comment on function postern._find_user(text, text, text) is
'The account with an address (any case) or a number, within an audience and without SSO accounts (contract core.md 1.9); all null when there is none.
Called by: sign-up, sign-in, administration.
Refuses: never.';

create or replace function postern._merge_metadata(stored jsonb, given jsonb)
returns jsonb
language sql immutable
as $$
    select (case when jsonb_typeof(stored) = 'object' then stored else '{}' end || given)
        - coalesce((select array_agg(e.key) from jsonb_each(given) e where e.value = 'null'), '{}')
$$;

comment on function postern._merge_metadata(jsonb, jsonb) is
'Merges metadata key by key; a key given as null is removed (contract core.md 6.3).
Called by: functions that create and change accounts.
Refuses: never.';

create or replace function postern._set_password(user_id uuid, encrypted_password text, kept_session uuid)
returns void
language plpgsql
as $$
begin
    update auth.users u
    set encrypted_password = _set_password.encrypted_password,
        confirmation_token = '', confirmation_sent_at = null,
        recovery_token = '', recovery_sent_at = null,
        email_change_token_new = '', email_change_token_current = '', email_change_sent_at = null,
        phone_change_token = '', phone_change_sent_at = null,
        reauthentication_token = '', reauthentication_sent_at = null,
        updated_at = now()
    where u.id = _set_password.user_id;

    delete from auth.one_time_tokens o where o.user_id = _set_password.user_id;
    delete from auth.sessions s
    where s.user_id = _set_password.user_id and s.id is distinct from _set_password.kept_session;
end
$$;

comment on function postern._set_password(uuid, text, uuid) is
'Stores a password hash, voids everything that was mailed, and ends every session but the kept one (contract core.md 6.4).
Called by: postern.update_user, postern.admin_update_user, postern.set_password_hash, postern._consume_token.
Refuses: never.';
