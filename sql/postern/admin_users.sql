create or replace function postern.admin_get_user(caller postern.caller, user_id text)
returns json
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_refused json := coalesce(postern._check_admin(admin_get_user.caller), postern._check_known(admin_get_user.user_id));
begin
    return coalesce(v_refused, json_build_object(
        'v', (select g.version from auth.settings g),
        'body', postern._user_json(admin_get_user.user_id::uuid)));
end
$$;

comment on function postern.admin_get_user(postern.caller, text) is
'One account (contract admin.md 5).
Called by: GET /admin/users/{user_id}; the other methods of that path when their body is no JSON.
Refuses: what _check_admin refuses (403); validation_failed, user_not_found (404).';

create or replace function postern._check_known(user_id text)
returns json
language plpgsql stable
as $$
begin
    if user_id !~* '^([0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12})$' then
        return postern._error(404, 'validation_failed', 'user_id must be an UUID');
    elsif not exists (
        select from auth.users u
        where u.id = _check_known.user_id::uuid and {{ template "of this instance" }})
    then
        return postern._error(404, 'user_not_found', 'User not found');
    end if;
    return null;
end
$$;

comment on function postern._check_known(text) is
'Null when the text is the id of an account, else the refusal.
Called by: the admin_ functions of one user.
Refuses: validation_failed, user_not_found (404).';

create or replace function postern.admin_create_user(
    caller postern.caller,
    email text default null,
    phone text default null,
    password_hash text default null,
    password_problem json default null,
    email_confirm boolean default false,
    phone_confirm boolean default false,
    user_metadata jsonb default null,
    app_metadata jsonb default null,
    role text default null,
    audience text default null,
    ban interval default null,
    ban_problem text default null,
    id text default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_refused json := postern._check_admin(admin_create_user.caller);
    v_settings auth.settings not null := (select g from auth.settings g);
    v_user_id uuid;
    v_email text;
    v_phone text;
    v_audience text;
begin
    if v_refused is not null then
        return v_refused;
    end if;

    v_audience := coalesce(
        nullif(admin_create_user.audience, ''), nullif((admin_create_user.caller).audience, ''), v_settings.jwt_aud);

    begin
        perform postern._check_length('role', admin_create_user.role);
        perform postern._check_length('aud', admin_create_user.audience);
        if coalesce(admin_create_user.email, '') = '' and coalesce(admin_create_user.phone, '') = '' then
            perform postern._refuse(400, 'validation_failed', 'Cannot create a user without either an email or phone');
        end if;
        if coalesce(admin_create_user.email, '') <> '' then
            v_email := postern._email(admin_create_user.email);
            if (postern._find_user(v_email, null, v_audience)).id is not null then
                perform postern._refuse(422, 'email_exists', 'A user with this email address has already been registered');
            end if;
        end if;
        if coalesce(admin_create_user.phone, '') <> '' then
            v_phone := postern._phone(admin_create_user.phone);
            if (postern._find_user(null, v_phone, v_audience)).id is not null then
                perform postern._refuse(422, 'phone_exists', 'Phone number already registered by another user');
            end if;
        end if;
        if password_problem is not null then
            perform postern._refuse(
                (password_problem ->> 'status')::integer, password_problem ->> 'code', password_problem ->> 'message');
        end if;
        v_user_id := postern._new_user_id(admin_create_user.id);
        if ban_problem is not null then
            perform postern._refuse(400, 'validation_failed', 'invalid format for ban duration: ' || ban_problem);
        end if;

        perform postern._create_account(
            v_user_id, v_audience, coalesce(nullif(trim(admin_create_user.role), ''), trim(v_settings.jwt_default_group_name)),
            v_email, v_phone, coalesce(password_hash, ''), user_metadata);
        perform postern._audit('user_signedup', 'team', '00000000-0000-0000-0000-000000000000',
            (admin_create_user.caller).role, traits => json_build_object(
                'user_id', v_user_id, 'user_email', coalesce(v_email, ''), 'user_phone', coalesce(v_phone, ''),
                'provider', case when v_email is not null then 'email' else 'phone' end));
        perform postern._add_app_metadata(v_user_id, app_metadata);
        perform postern._confirm_account(v_user_id, email_confirm, phone_confirm);
        perform postern._ban(v_user_id, ban);

        return json_build_object('v', v_settings.version, 'body', postern._user_json_as(v_user_id, 'confirmed'));
    {{ template "handler" "Database error creating new user" }}
    end;
end
$$;

comment on function postern.admin_create_user(postern.caller, text, text, text, json, boolean, boolean, jsonb, jsonb, text, text, interval, text, text) is
'Creates an account on behalf of an administrator, confirmed where asked, without mail, hooks or limits (contract admin.md 4). ban: how long from now, zero for none.
Called by: POST /admin/users.
Refuses: what _check_admin refuses (403); validation_failed (400); email_exists, phone_exists (422); unique violations and errors of users'' triggers.';

create or replace function postern._check_length(name text, value text)
returns void
language plpgsql
as $$
begin
    if length(value) > 255 then
        perform postern._refuse(400, 'validation_failed', format('%s cannot be longer than 255 characters', name));
    end if;
end
$$;

comment on function postern._check_length(text, text) is
'Whether a text fits the columns of auth.users.
Called by: the admin_ functions.
Refuses: validation_failed (400) - longer than 255 characters.';

create or replace function postern._new_user_id(text_value text)
returns uuid
language plpgsql
as $$
begin
    if coalesce(text_value, '') = '' then
        return gen_random_uuid();
    elsif text_value !~* '^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$' then
        perform postern._refuse(400, 'validation_failed', 'ID must conform to the uuid v4 format');
    elsif text_value::uuid = '00000000-0000-0000-0000-000000000000' then
        perform postern._refuse(400, 'validation_failed', 'ID cannot be a nil uuid');
    end if;
    return text_value::uuid;
end
$$;

comment on function postern._new_user_id(text) is
'The id for a new account: the given one, or a random one.
Called by: postern.admin_create_user.
Refuses: validation_failed (400) - not a UUID, or the nil UUID.';

create or replace function postern._create_account(
    user_id uuid,
    audience text,
    role text,
    email text,
    phone text,
    encrypted_password text,
    user_metadata jsonb)
returns void
language plpgsql
as $$
declare
    v_providers text[] := array_remove(
        array[case when email is not null then 'email' end, case when phone is not null then 'phone' end], null);
begin
    perform postern._insert_user(
        user_id, audience, role, email, phone, encrypted_password,
        jsonb_build_object('provider', v_providers[1], 'providers', v_providers), coalesce(user_metadata, '{}'));
    if email is not null then
        perform postern._set_identity(user_id, 'email', jsonb_build_object(
            'email', email, 'email_verified', false, 'phone_verified', false));
    end if;
    if phone is not null then
        perform postern._set_identity(user_id, 'phone', jsonb_build_object(
            'phone', phone, 'email_verified', false, 'phone_verified', false));
    end if;
end
$$;

comment on function postern._create_account(uuid, text, text, text, text, text, jsonb) is
'Inserts an account with an identity for each of address and number.
Called by: postern.admin_create_user, postern.create_user.
Refuses: unique violations reach the caller.';

create or replace function postern._confirm_account(user_id uuid, email_confirm boolean, phone_confirm boolean)
returns void
language plpgsql
as $$
begin
    if email_confirm then
        update auth.users u
        set email_confirmed_at = now(), confirmation_token = '', updated_at = now(),
            raw_user_meta_data = postern._merge_metadata(u.raw_user_meta_data, '{"email_verified": true}')
        where u.id = _confirm_account.user_id;
    end if;
    if phone_confirm then
        update auth.users u
        set phone_confirmed_at = now(), confirmation_token = '', updated_at = now()
        where u.id = _confirm_account.user_id;
    end if;
    if email_confirm or phone_confirm then
        delete from auth.one_time_tokens o where o.user_id = _confirm_account.user_id;
    end if;
end
$$;

comment on function postern._confirm_account(uuid, boolean, boolean) is
'Confirms address and number.
Called by: postern.admin_create_user, postern.admin_update_user, postern.create_user.
Refuses: never.';

create or replace function postern._add_app_metadata(user_id uuid, app_metadata jsonb)
returns void
language plpgsql
as $$
begin
    if app_metadata is not null then
        update auth.users u
        set raw_app_meta_data = postern._merge_metadata(u.raw_app_meta_data, app_metadata), updated_at = now()
        where u.id = _add_app_metadata.user_id;
    end if;
end
$$;

comment on function postern._add_app_metadata(uuid, jsonb) is
'Merges app_metadata; null changes nothing.
Called by: postern.admin_create_user, postern.admin_update_user, postern.create_user.
Refuses: never.';

create or replace function postern._ban(user_id uuid, ban interval)
returns void
language plpgsql
as $$
begin
    if ban is not null then
        update auth.users u
        set banned_until = case when ban <> '0' then now() + ban end, updated_at = now()
        where u.id = _ban.user_id;
    end if;
end
$$;

comment on function postern._ban(uuid, interval) is
'Bans an account for so long from now; zero lifts the ban, null changes nothing.
Called by: postern.admin_create_user, postern.admin_update_user.
Refuses: never.';

create or replace function postern.admin_update_user(
    caller postern.caller,
    user_id text,
    email text default null,
    phone text default null,
    password_hash text default null,
    password_problem json default null,
    email_confirm boolean default false,
    phone_confirm boolean default false,
    user_metadata jsonb default null,
    app_metadata jsonb default null,
    role text default null,
    ban interval default null,
    ban_problem text default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_refused json := coalesce(postern._check_admin(admin_update_user.caller), postern._check_known(admin_update_user.user_id));
    v_settings auth.settings not null := (select g from auth.settings g);
    v_user auth.users;
    v_changed auth.users;
    v_role text := nullif(trim(admin_update_user.role), '');
    v_email text;
    v_phone text;
    v_shown jsonb;
    v_answer json;
begin
    if v_refused is not null then
        return v_refused;
    end if;

    begin
        perform postern._check_length('role', admin_update_user.role);
        if coalesce(admin_update_user.email, '') <> '' then
            v_email := postern._email(admin_update_user.email);
        end if;
        if coalesce(admin_update_user.phone, '') <> '' then
            v_phone := postern._phone(admin_update_user.phone);
        end if;
        if ban_problem is not null then
            perform postern._refuse(400, 'validation_failed', 'invalid format for ban duration: ' || ban_problem);
        end if;
        if password_problem is not null then
            perform postern._refuse(
                (password_problem ->> 'status')::integer, password_problem ->> 'code', password_problem ->> 'message');
        end if;

        select u.* into v_user
        from auth.users u
        where u.id = admin_update_user.user_id::uuid
        for no key update;
        if not found then
            perform postern._start_over(admin_update_user.user_id::uuid);
        end if;
        v_shown := postern._user_json(v_user.id)::jsonb -> 'identities';

        -- An update for each kind of fact, in the order of the contract: triggers "after update of email" fire for an email only.
        if v_role is not null then
            update auth.users u set role = v_role, updated_at = now() where u.id = v_user.id;
        end if;
        perform postern._confirm_account(v_user.id, email_confirm, phone_confirm);
        if password_hash is not null then
            perform postern._set_password(v_user.id, password_hash, null);
        end if;
        if v_email is not null then
            perform postern._set_identity(v_user.id, 'email', jsonb_build_object(
                'email', v_email, 'email_verified', email_confirm, 'phone_verified', false));
            update auth.users u
            set email = v_email, is_anonymous = u.is_anonymous and not email_confirm, updated_at = now()
            where u.id = v_user.id;
        end if;
        if v_phone is not null then
            perform postern._set_identity(v_user.id, 'phone', jsonb_build_object(
                'phone', v_phone, 'phone_verified', phone_confirm, 'email_verified', false));
            update auth.users u
            set phone = v_phone, is_anonymous = u.is_anonymous and not phone_confirm, updated_at = now()
            where u.id = v_user.id;
        end if;
        if password_hash is not null then
            -- The account as it is by now, but for the password that it had: the address may just have been confirmed.
            select u.* into v_changed from auth.users u where u.id = v_user.id;
            v_changed.encrypted_password := v_user.encrypted_password;
            perform postern._add_email_identity_for_password(v_settings, v_changed);
        end if;
        perform postern._add_app_metadata(v_user.id, app_metadata);
        if user_metadata is not null then
            update auth.users u
            set raw_user_meta_data = postern._merge_metadata(u.raw_user_meta_data, user_metadata), updated_at = now()
            where u.id = v_user.id;
        end if;
        perform postern._ban(v_user.id, ban);

        perform postern._audit('user_modified', 'user', '00000000-0000-0000-0000-000000000000',
            (admin_update_user.caller).role, traits => json_build_object(
                'user_id', v_user.id, 'user_email', coalesce(v_email, v_user.email, ''),
                'user_phone', coalesce(v_phone, v_user.phone, '')));

        v_answer := case when v_user.confirmed_at is null
            then postern._user_json_as(v_user.id, 'confirmed') else postern._user_json(v_user.id) end;
        if v_email is not null or v_phone is not null then
            -- As the reference: known identities as they were before this change, new ones behind them.
            v_answer := (v_answer::jsonb || jsonb_build_object('identities', v_shown || coalesce((
                select jsonb_agg(i.value)
                from jsonb_array_elements(v_answer::jsonb -> 'identities') i
                where not exists (
                    select from jsonb_array_elements(v_shown) s
                    where s.value -> 'identity_id' = i.value -> 'identity_id')), '[]')))::json;
        end if;
        return json_build_object('v', v_settings.version, 'body', v_answer);
    {{ template "handler" "Error updating user" }}
    end;
end
$$;

comment on function postern.admin_update_user(postern.caller, text, text, text, text, json, boolean, boolean, jsonb, jsonb, text, interval, text) is
'Changes an account on behalf of an administrator; metadata is merged, a password ends all sessions (contract admin.md 6).
Called by: PUT /admin/users/{user_id}.
Refuses: what _check_admin refuses (403); validation_failed, user_not_found (404); validation_failed (400), weak_password (422); unique violations and errors of users'' triggers.';

create or replace function postern.admin_delete_user(caller postern.caller, user_id text, soft boolean default false)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_refused json := coalesce(postern._check_admin(admin_delete_user.caller), postern._check_known(admin_delete_user.user_id));
begin
    if v_refused is not null then
        return v_refused;
    end if;

    begin
        perform postern._audit('user_deleted', 'team', '00000000-0000-0000-0000-000000000000',
            (admin_delete_user.caller).role, traits => json_build_object(
                'user_id', u.id, 'user_email', coalesce(u.email, ''), 'user_phone', coalesce(u.phone, '')))
        from auth.users u
        where u.id = admin_delete_user.user_id::uuid;
        perform postern._delete_account(admin_delete_user.user_id::uuid, soft);
        return json_build_object('v', (select g.version from auth.settings g), 'body', json_build_object());
    {{ template "handler" "Database error deleting user" }}
    end;
end
$$;

comment on function postern.admin_delete_user(postern.caller, text, boolean) is
'Deletes an account: soft keeps the row without personal data and frees address and number, otherwise the row goes with all that references it (contract admin.md 7).
Called by: DELETE /admin/users/{user_id}.
Refuses: what _check_admin refuses (403); validation_failed, user_not_found (404); foreign keys of users'' tables that restrict.';

create or replace function postern._delete_account(user_id uuid, soft boolean)
returns void
language plpgsql
as $$
begin
    if not soft then
        delete from auth.users u where u.id = _delete_account.user_id;
        return;
    end if;

    update auth.users u
    set email = postern._obscure(u.id || coalesce(u.email, '')),
        phone = left(postern._obscure(u.id || coalesce(u.phone, '')), 15),
        email_change = postern._obscure(u.id || coalesce(u.email_change, '')),
        phone_change = left(postern._obscure(u.id || coalesce(u.phone_change, '')), 15),
        encrypted_password = null,
        confirmation_token = '', recovery_token = '', email_change_token_current = '',
        email_change_token_new = '', phone_change_token = '',
        raw_user_meta_data = '{}', raw_app_meta_data = '{}',
        deleted_at = now(), updated_at = now()
    where u.id = _delete_account.user_id and u.deleted_at is null;
    if not found then
        return;
    end if;

    update auth.identities i
    set identity_data = '{}', provider_id = postern._obscure(i.user_id || i.provider || ':' || i.provider_id)
    where i.user_id = _delete_account.user_id;
    delete from auth.one_time_tokens o where o.user_id = _delete_account.user_id;
    delete from auth.mfa_factors f where f.user_id = _delete_account.user_id;
    delete from auth.webauthn_credentials c where c.user_id = _delete_account.user_id;
    delete from auth.sessions s where s.user_id = _delete_account.user_id;
end
$$;

comment on function postern._delete_account(uuid, boolean) is
'Deletes an account with all that belongs to it, or scrubs it (contract admin.md 7.2).
Called by: postern.admin_delete_user, postern.delete_user.
Refuses: never; errors of foreign keys and triggers reach the caller.';

create or replace function postern._obscure(value text)
returns text
language sql immutable strict
as $$
    select translate(encode(sha256(convert_to(value, 'UTF8')), 'base64'), '+/=', '-_')
$$;

comment on function postern._obscure(text) is
'Unpadded base64url of the SHA-256 of a text.
Called by: postern._delete_account, postern.exchange_auth_code.
Refuses: never.';
