create or replace function postern.admin_invite_user(
    caller postern.caller,
    email text default null,
    data jsonb default null,
    envelope postern.envelope default null,
    new_user_id uuid default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_refused json := postern._check_admin(admin_invite_user.caller);
    v_settings auth.settings not null := (select g from auth.settings g);
    v_audience text;
    v_email text;
    v_user auth.users;
    v_delivery json;
begin
    if v_refused is not null then
        return v_refused;
    end if;

    v_audience := coalesce(nullif((admin_invite_user.caller).audience, ''), v_settings.jwt_aud);

    begin
        v_email := postern._email(admin_invite_user.email);
        if (postern._find_user(v_email, null, v_audience)).email_confirmed_at is not null then
            perform postern._refuse(422, 'email_exists', 'A user with this email address has already been registered');
        end if;
        perform postern._check_mail(v_settings, v_email);

        v_user := postern._account_to_confirm(
            v_settings, v_audience, v_email, '', admin_invite_user.data, admin_invite_user.new_user_id);
        v_delivery := postern._send_mail(v_settings, 'invite', 'invite', v_user.email, v_user.id, envelope,
            v_settings.mailer_otp_exp, (admin_invite_user.caller).request_id);
        perform postern._set_one_time_token(
            v_user.id, 'confirmation_token', lower(v_user.email), envelope, is_invitation => true);
        perform postern._audit_invitation(admin_invite_user.caller, v_user);
        return json_build_object('v', v_settings.version, 'delivery', v_delivery, 'body', postern._user_json(v_user.id),
            'user_id', case when v_settings.hook_after_user_created_enabled then v_user.id end);
    {{ template "handler" "Database error saving new user" }}
    end;
end
$$;

comment on function postern.admin_invite_user(postern.caller, text, jsonb, postern.envelope, uuid) is
'Mails an invitation on behalf of an administrator: to a new account without a password, or once more to one that has not confirmed its address (contract admin.md 9). data is the metadata of a new account, new_user_id its id if postern.prepare_user chose one.
Called by: POST /invite.
Refuses: what _check_admin refuses (403); validation_failed, email_address_not_authorized (400); email_exists (422); over_email_send_rate_limit (429); errors of users'' triggers.';

create or replace function postern.admin_generate_link(
    caller postern.caller,
    type text default null,
    email text default null,
    new_email text default null,
    password_hash text default null,
    password_problem json default null,
    data jsonb default null,
    envelope postern.envelope default null,
    new_user_id uuid default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_refused json := postern._check_admin(admin_generate_link.caller);
    v_settings auth.settings not null := (select g from auth.settings g);
    v_audience text;
    v_email text;
    v_user auth.users;
    v_is_new boolean;
    v_type text := coalesce(admin_generate_link.type, '');
begin
    if v_refused is not null then
        return v_refused;
    end if;

    v_audience := coalesce(nullif((admin_generate_link.caller).audience, ''), v_settings.jwt_aud);

    begin
        v_email := postern._email(admin_generate_link.email);
        v_user := postern._find_user(v_email, null, v_audience);
        v_is_new := v_user.id is null;
        if v_type not in ('signup', 'invite', 'magiclink', 'recovery', 'email_change_current', 'email_change_new') then
            perform postern._refuse(400, 'validation_failed', 'Invalid email action link type requested: ' || v_type);
        elsif v_user.id is null and v_type in ('recovery', 'email_change_current', 'email_change_new') then
            perform postern._refuse(404, 'user_not_found', 'User with this email not found');
        elsif v_user.id is null and v_type = 'signup' and password_problem is not null then
            perform postern._refuse(
                (password_problem ->> 'status')::integer, password_problem ->> 'code', password_problem ->> 'message');
        elsif v_user.id is null and v_type = 'signup' and coalesce(password_hash, '') = '' then
            perform postern._refuse(400, 'validation_failed', 'Signup requires a valid password');
        elsif v_user.id is null and v_type = 'magiclink' then
            v_type := 'signup';
        end if;

        if v_type in ('signup', 'invite') then
            v_user := postern._account_to_confirm(
                v_settings, v_audience, v_email,
                case when admin_generate_link.type = 'signup' then coalesce(password_hash, '') else '' end,
                admin_generate_link.data, admin_generate_link.new_user_id, merges_data => v_type = 'signup');
            perform postern._set_one_time_token(
                v_user.id, 'confirmation_token', lower(v_user.email), envelope, is_invitation => v_type = 'invite');
            if v_type = 'invite' then
                perform postern._audit_invitation(admin_generate_link.caller, v_user);
            end if;
        elsif v_type in ('magiclink', 'recovery') then
            perform postern._set_one_time_token(v_user.id, 'recovery_token', v_email, envelope);
            perform postern._audit_user('user_recovery_requested', 'user', v_user.id);
        else
            perform postern._link_email_change(
                v_settings, v_user, admin_generate_link.new_email,
                replace(v_type, 'email_change_', 'email_change_token_')::auth.one_time_token_type, envelope);
        end if;
        return json_build_object('v', v_settings.version, 'body',
            postern._user_json(v_user.id)::jsonb || jsonb_build_object('verification_type', v_type),
            'user_id', case when v_is_new and v_settings.hook_after_user_created_enabled then v_user.id end);
    {{ template "handler" "Database error saving new user" }}
    end;
end
$$;

comment on function postern.admin_generate_link(postern.caller, text, text, text, text, json, jsonb, postern.envelope, uuid) is
'Stores the code and link that a mail would carry, for an administrator who delivers them; nothing is mailed and no limit counts (contract admin.md 10). Types: signup, invite, magiclink, recovery, email_change_current, email_change_new; a magiclink for a new address creates the account and is a signup. password_problem: what the gateway found wrong with the plain password; new_user_id: the id of a new account, if postern.prepare_user chose one. Answers the user object and verification_type.
Called by: POST /admin/generate_link.
Refuses: what _check_admin refuses (403); validation_failed (400); user_not_found (404); email_exists, weak_password (422); errors of users'' triggers.';

create or replace function postern._account_to_confirm(
    settings auth.settings,
    audience text,
    email text,
    encrypted_password text,
    data jsonb,
    new_user_id uuid,
    merges_data boolean default false)
returns auth.users
language plpgsql
as $$
declare
    v_id uuid := (postern._find_user(email, null, audience)).id;
    v_is_new boolean := v_id is null;
    v_user auth.users;
begin
    if v_is_new then
        perform postern._check_prepared(settings, new_user_id);
        v_id := coalesce(new_user_id, gen_random_uuid());
        begin
            perform postern._create_account(
                v_id, audience, trim(settings.jwt_default_group_name), email, null, encrypted_password, data);
        exception when unique_violation then
            -- Settles two requests with one new address: the second goes on with the first one's account.
            v_is_new := false;
            v_id := (postern._find_user(email, null, audience)).id;
            if v_id is null then
                raise;
            end if;
        end;
    end if;

    -- The row lock settles this and the use of an earlier link: who is confirmed by then gets no other.
    select u.* into v_user from auth.users u where u.id = v_id for no key update;
    if not found then
        perform postern._start_over(v_id);
    end if;
    if not v_is_new and v_user.email_confirmed_at is not null then
        perform postern._refuse(422, 'email_exists', 'A user with this email address has already been registered');
    elsif not v_is_new and merges_data and data is not null then
        update auth.users u
        set raw_user_meta_data = postern._merge_metadata(u.raw_user_meta_data, data)
        where u.id = v_id;
    end if;
    return v_user;
end
$$;

comment on function postern._account_to_confirm(auth.settings, text, text, text, jsonb, uuid, boolean) is
'The account with an address that is still to be confirmed, locked; when there is none a new one, with data as its metadata and the id that postern.prepare_user chose. merges_data: data goes into the metadata of a known account too.
Called by: postern.admin_invite_user, postern.admin_generate_link.
Refuses: email_exists (422) - the address is confirmed; unexpected_failure (503) - nobody asked the before_user_created hook; errors of users'' triggers reach the caller.';

create or replace function postern._link_email_change(
    settings auth.settings,
    known auth.users,
    address text,
    purpose auth.one_time_token_type,
    envelope postern.envelope)
returns void
language plpgsql
as $$
declare
    v_new_email text;
begin
    if purpose = 'email_change_token_current' and not settings.mailer_secure_email_change_enabled then
        perform postern._refuse(400, 'validation_failed', 'Enable secure email change to generate link for current email');
    end if;
    v_new_email := postern._email(address);
    if (postern._find_user(v_new_email, null, known.aud)).id is not null then
        perform postern._refuse(422, 'email_exists', 'A user with this email address has already been registered');
    end if;

    -- The row lock first: nobody may confirm the other half in between.
    perform from auth.users u where u.id = known.id for no key update;
    -- Codes for another new address must not confirm this one.
    delete from auth.one_time_tokens o
    using auth.users u
    where u.id = known.id and o.user_id = u.id and u.email_change is distinct from v_new_email
        and o.token_type in ('email_change_token_new', 'email_change_token_current');
    update auth.users u
    set email_change = v_new_email, email_change_confirm_status = 0,
        email_change_token_new = case when u.email_change = v_new_email then u.email_change_token_new else '' end,
        email_change_token_current = case when u.email_change = v_new_email then u.email_change_token_current else '' end
    where u.id = known.id;
    perform postern._set_one_time_token(
        known.id, purpose, case purpose when 'email_change_token_new' then v_new_email else lower(known.email) end, envelope);
end
$$;

comment on function postern._link_email_change(auth.settings, auth.users, text, auth.one_time_token_type, postern.envelope) is
'Notes a pending address and stores the code of one of its halves; the other half stays valid when it is for the same address (contract admin.md 10).
Called by: postern.admin_generate_link.
Refuses: validation_failed (400) - no address, or the current one needs no confirmation; email_exists (422).';

create or replace function postern._audit_invitation(caller postern.caller, invited auth.users)
returns void
language plpgsql
as $$
begin
    perform postern._audit('user_invited', 'team', '00000000-0000-0000-0000-000000000000', (caller).role,
        traits => json_build_object('user_id', invited.id, 'user_email', invited.email));
end
$$;

comment on function postern._audit_invitation(postern.caller, auth.users) is
'Notes in the audit log whom an administrator invited.
Called by: postern.admin_invite_user, postern.admin_generate_link.
Refuses: never.';
