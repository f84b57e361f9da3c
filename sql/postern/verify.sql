create or replace function postern.verify_one_time_token(
    type text,
    link_digest text default null,
    is_pkce boolean default false,
    code_hmacs bytea[] default '{}',
    adopted_digest text default null,
    email text default null,
    phone text default null,
    test_code text default null,
    caller postern.caller default null,
    languages text default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_settings auth.settings not null := (select g from auth.settings g);
    v_refused json;
    v_found record;
    v_half_confirmed boolean;
    v_flow auth.flow_state;
begin
    {{ template "limited" "verify" }}
    if link_digest is null or coalesce(verify_one_time_token.phone, '') <> '' then
        -- Outside of the block: what it counts stays counted when the code is refused.
        v_refused := postern._take_guess(
            v_settings, verify_one_time_token.type, verify_one_time_token.email, verify_one_time_token.phone,
            coalesce(nullif((verify_one_time_token.caller).audience, ''), v_settings.jwt_aud));
        if v_refused is not null then
            return v_refused;
        end if;
    end if;

    begin
        if coalesce(verify_one_time_token.phone, '') <> '' then
            select * into v_found from postern._find_phone_code(
                v_settings, verify_one_time_token.type, postern._phone(verify_one_time_token.phone), code_hmacs, test_code,
                coalesce(nullif((verify_one_time_token.caller).audience, ''), v_settings.jwt_aud));
        elsif link_digest is not null then
            select * into v_found from postern._find_link(verify_one_time_token.type, link_digest);
        else
            if not postern._is_email(verify_one_time_token.email) then
                perform postern._refuse(422, 'validation_failed', 'Invalid email format');
            end if;
            select * into v_found from postern._find_code(
                v_settings, verify_one_time_token.type, lower(verify_one_time_token.email), code_hmacs, adopted_digest,
                coalesce(nullif((verify_one_time_token.caller).audience, ''), v_settings.jwt_aud));
        end if;
        if v_found.owner_id is null
            or v_found.sent_at is null
            or v_found.sent_at + make_interval(secs => case when coalesce(verify_one_time_token.phone, '') <> ''
                then v_settings.sms_otp_exp else v_settings.mailer_otp_exp end) < now()
        then
            perform postern._refuse(403, 'otp_expired', case when link_digest is null
                then 'Token has expired or is invalid' else 'Email link is invalid or has expired' end);
        elsif v_found.banned_until > now() then
            perform postern._refuse(403, 'user_banned', 'User is banned');
        end if;

        if coalesce(verify_one_time_token.phone, '') <> '' then
            perform postern._consume_phone_token(
                v_found.owner_id, v_found.purpose, (verify_one_time_token.caller).request_id, languages);
        else
            v_half_confirmed := postern._consume_token(
                v_settings, v_found.owner_id, v_found.purpose, (verify_one_time_token.caller).request_id, languages);
        end if;
        if v_half_confirmed then
            return json_build_object('v', v_settings.version, 'body', json_build_object(
                'code', '200',
                'msg', 'Confirmation link accepted. Please proceed to confirm link sent to the other email'));
        end if;
        perform postern._sync_providers(v_found.owner_id);

        if is_pkce then
            update auth.flow_state f
            set auth_code_issued_at = now(), updated_at = now()
            where f.id = (
                select n.id from auth.flow_state n
                where n.user_id = v_found.owner_id
                    and n.authentication_method = case verify_one_time_token.type
                        when 'signup' then 'email/signup' else verify_one_time_token.type end
                order by n.created_at desc
                limit 1)
            returning f.* into v_flow;
            if v_flow.id is null then
                perform postern._refuse(400, 'flow_state_not_found',
                    'No associated flow state found. 422: No valid flow state found for user.');
            end if;
            return json_build_object('v', v_settings.version, 'body', json_build_object('auth_code', v_flow.auth_code));
        end if;

        update auth.users u set last_sign_in_at = now() where u.id = v_found.owner_id;
        return concat('{"verified":"', v_found.purpose, '",', substr(postern._tokens(
            v_found.owner_id, postern._open_session(v_found.owner_id, 'otp', verify_one_time_token.caller), 'otp',
            caller => verify_one_time_token.caller)::text, 2))::json;
    {{ template "handler" "Error confirming user" }}
    end;
end
$$;

comment on function postern.verify_one_time_token(text, text, boolean, bytea[], text, text, text, text, postern.caller, text) is
'Accepts a mailed link (link_digest: hex SHA-256 of its token) or code (its HMACs by every key of the gateway, and the address; adopted_digest for codes that Supabase Auth mailed), once, and opens the session, or answers with an auth code where the flow began with a challenge (contract core.md 7.7, 7.8). languages: Accept-Language of the request.
Called by: GET and POST /verify.
Refuses: over_request_rate_limit (429); otp_expired, user_banned (403); validation_failed (400; 422 - no address), flow_state_not_found (400).';

create or replace function postern._token_purposes(type text)
returns auth.one_time_token_type[]
language plpgsql immutable
as $$
begin
    return case
        when type in ('signup', 'invite') then array['confirmation_token']
        when type in ('recovery', 'magiclink') then array['recovery_token']
        when type = 'email' then array['confirmation_token', 'recovery_token']
        when type = 'email_change' then array['email_change_token_new', 'email_change_token_current']
    end::auth.one_time_token_type[];
end
$$;

comment on function postern._token_purposes(text) is
'What a type of verification may find (contract core.md 7.8); null for an unknown type.
Called by: postern._find_link, postern._find_code.
Refuses: never.';

create or replace function postern._find_link(
    type text,
    link_digest text,
    out owner_id uuid,
    out purpose auth.one_time_token_type,
    out sent_at timestamptz,
    out banned_until timestamptz)
returns record
language plpgsql
as $$
begin
    if postern._token_purposes(type) is null then
        perform postern._refuse(400, 'validation_failed', 'Invalid email verification type');
    end if;
    -- The user's row first, as everywhere: it makes a second use of the link wait for the first one.
    select o.user_id into owner_id
    from auth.one_time_tokens o
    where o.token_hash = link_digest and o.token_type = any (postern._token_purposes(type));
    perform from auth.users u where u.id = owner_id for no key update;
    select o.user_id, o.token_type, postern._sent_at(u, o.token_type), u.banned_until
    into owner_id, purpose, sent_at, banned_until
    from auth.one_time_tokens o
    join auth.users u on u.id = o.user_id
    where o.token_hash = link_digest and o.token_type = any (postern._token_purposes(type));
end
$$;

comment on function postern._find_link(text, text) is
'Whose link it is and for what, with the user''s row locked; null when there is none.
Called by: postern.verify_one_time_token.
Refuses: validation_failed (400) - an unknown type.';

create or replace function postern._sent_at(known auth.users, purpose auth.one_time_token_type)
returns timestamptz
language sql immutable
as $$
    select case purpose
        when 'confirmation_token' then known.confirmation_sent_at
        when 'recovery_token' then known.recovery_sent_at
        when 'reauthentication_token' then known.reauthentication_sent_at
        when 'phone_change_token' then known.phone_change_sent_at
        else known.email_change_sent_at
    end
$$;

comment on function postern._sent_at(auth.users, auth.one_time_token_type) is
'When the code of a purpose was sent.
Called by: verification.
Refuses: never.';

create or replace function postern._find_code(
    settings auth.settings,
    type text,
    address text,
    code_hmacs bytea[],
    adopted_digest text,
    audience text,
    out owner_id uuid,
    out purpose auth.one_time_token_type,
    out sent_at timestamptz,
    out banned_until timestamptz)
returns record
language plpgsql
as $$
declare
    v_digests text[];
    v_user auth.users;
begin
    v_digests := array(select postern._code_digest(address, h.hmac) from unnest(code_hmacs) h (hmac)) || adopted_digest;
    v_user := postern._find_user(address, null, audience);
    if v_user.id is null and type = 'email_change' then
        select u.* into v_user
        from auth.one_time_tokens o
        join auth.users u on u.id = o.user_id
        where o.relates_to = address and o.token_type = 'email_change_token_new'
        -- Several accounts may want one address: the code tells whose it is.
        order by (u.email_change_token_new = any (v_digests)) desc nulls last
        limit 1;
    end if;
    if v_user.id is null or postern._token_purposes(type) is null then
        return;
    end if;

    -- The row lock makes a second use of the code wait for the first one.
    perform from auth.users u where u.id = v_user.id for no key update;
    select u.* into v_user from auth.users u where u.id = v_user.id;
    banned_until := v_user.banned_until;
    if type in ('signup', 'invite', 'email') and v_user.confirmation_token = any (v_digests) then
        purpose := 'confirmation_token';
    elsif type in ('recovery', 'magiclink', 'email') and v_user.recovery_token = any (v_digests) then
        purpose := 'recovery_token';
    elsif type = 'email_change' and settings.mailer_secure_email_change_enabled
        and v_user.email_change_token_current = any (v_digests)
    then
        purpose := 'email_change_token_current';
    elsif type = 'email_change' and v_user.email_change_token_new = any (v_digests) then
        purpose := 'email_change_token_new';
    else
        return;
    end if;
    owner_id := v_user.id;
    sent_at := postern._sent_at(v_user, purpose);
end
$$;

comment on function postern._find_code(auth.settings, text, text, bytea[], text, text) is
'Whose code it is and for what, with the user''s row locked; null when it is nobody''s.
Called by: postern.verify_one_time_token.
Refuses: never.';

create or replace function postern._consume_token(
    settings auth.settings,
    owner_id uuid,
    purpose auth.one_time_token_type,
    request_id text,
    languages text)
returns boolean
language plpgsql
as $$
declare
    v_user auth.users;
begin
    select u.* into strict v_user from auth.users u where u.id = owner_id;

    if purpose in ('email_change_token_new', 'email_change_token_current') then
        if settings.mailer_secure_email_change_enabled and not settings.mailer_autoconfirm
            and v_user.email_change_confirm_status = 0 and coalesce(v_user.email, '') <> ''
        then
            update auth.users u
            set email_change_confirm_status = 1,
                email_change_token_new = case purpose when 'email_change_token_new' then '' else u.email_change_token_new end,
                email_change_token_current = case purpose
                    when 'email_change_token_current' then '' else u.email_change_token_current end,
                updated_at = now()
            where u.id = owner_id;
            delete from auth.one_time_tokens o where o.user_id = owner_id and o.token_type = purpose;
            return true;
        end if;
        perform postern._apply_email_change(v_user, request_id, languages);
        return false;
    end if;

    if v_user.email_confirmed_at is null then
        if purpose = 'confirmation_token' and v_user.invited_at is not null and coalesce(v_user.encrypted_password, '') = '' then
            -- Supabase Auth sets a random password here, which voids all that was sent; nobody needs to have one.
            perform postern._set_password(owner_id, v_user.encrypted_password, null);
        end if;
        perform postern._confirm_email(owner_id);
        if purpose = 'confirmation_token' then
            update auth.identities i
            set identity_data = i.identity_data || '{"email_verified": true}', updated_at = now()
            where i.user_id = owner_id and i.email = lower(v_user.email);
        end if;
        perform postern._audit_user('user_signedup', 'team', owner_id, json_build_object('provider', 'email'));
    else
        delete from auth.one_time_tokens o where o.user_id = owner_id;
        perform postern._audit_user('login', 'account', owner_id);
    end if;
    update auth.users u
    set confirmation_token = case purpose when 'confirmation_token' then '' else u.confirmation_token end,
        recovery_token = case purpose when 'recovery_token' then '' else u.recovery_token end,
        updated_at = now()
    where u.id = owner_id;
    return false;
end
$$;

comment on function postern._consume_token(auth.settings, uuid, auth.one_time_token_type, text, text) is
'Does what a verified code or link stands for and voids it (contract core.md 7.8). True when an address change still waits for its other half.
Called by: postern.verify_one_time_token.
Refuses: never.';

create or replace function postern._apply_email_change(known auth.users, request_id text, languages text)
returns void
language plpgsql
as $$
begin
    update auth.users u
    set email = u.email_change, email_change = '', email_change_token_new = '', email_change_token_current = '',
        email_change_confirm_status = 0, is_anonymous = false,
        email_confirmed_at = coalesce(u.email_confirmed_at, now()), updated_at = now()
    where u.id = known.id;
    -- Apart, for triggers "after update of raw_user_meta_data": a confirmed address changes no metadata.
    if known.email_confirmed_at is null then
        update auth.users u
        set raw_user_meta_data = postern._merge_metadata(u.raw_user_meta_data, '{"email_verified": true}')
        where u.id = known.id;
    end if;
    -- phone_verified is a member of new identities only, as in the reference.
    perform postern._set_identity(known.id, 'email', jsonb_build_object('email', known.email_change, 'email_verified', true)
        || case when exists (select from auth.identities i where i.user_id = known.id and i.provider = 'email')
            then '{}' else '{"phone_verified": false}' end::jsonb);
    delete from auth.one_time_tokens o where o.user_id = known.id;
    perform postern._audit_user('user_modified', 'user', known.id);
    perform postern._notify('email_changed_notification', known.email, known.id, request_id, languages,
        jsonb_build_object('old_email', known.email));
exception when unique_violation then
    perform postern._refuse(422, 'email_exists', 'A user with this email address has already been registered');
end
$$;

comment on function postern._apply_email_change(auth.users, text, text) is
'Makes the pending address the account''s and tells the old one (contract core.md 6.5).
Called by: postern._consume_token.
Refuses: email_exists (422) - somebody else took it meanwhile.';

create or replace function postern.exchange_auth_code(
    auth_code text,
    code_verifier text,
    caller postern.caller default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_settings auth.settings not null := (select g from auth.settings g);
    v_flow auth.flow_state;
    v_refused json;
begin
    {{ template "limited" "token" }}

    begin
        if coalesce(exchange_auth_code.auth_code, '') = '' or coalesce(code_verifier, '') = '' then
            perform postern._refuse(400, 'validation_failed',
                'invalid request: both auth code and code verifier should be non-empty');
        end if;
        -- The row lock settles two exchanges of one code: the second finds it gone.
        select f.* into v_flow
        from auth.flow_state f
        where f.auth_code = exchange_auth_code.auth_code
        for update;
        if not found or v_flow.user_id is null then
            perform postern._refuse(404, 'flow_state_not_found', 'invalid flow state, no valid flow state found');
        elsif (case when v_flow.authentication_method = 'magiclink'
                then coalesce(v_flow.auth_code_issued_at, v_flow.created_at) else v_flow.created_at end)
            + v_settings.external_flow_state_expiry_duration < now()
        then
            perform postern._refuse(422, 'flow_state_expired', 'invalid flow state, flow state has expired');
        elsif sha256(convert_to(v_flow.code_challenge, 'UTF8')) <> sha256(convert_to(
            case v_flow.code_challenge_method when 's256' then postern._obscure(code_verifier) else code_verifier end, 'UTF8'))
        then
            perform postern._refuse(400, 'bad_code_verifier',
                'code challenge does not match previously saved code verifier');
        end if;

        delete from auth.flow_state f where f.id = v_flow.id;
        perform postern._audit_user('login', 'account', v_flow.user_id,
            json_build_object('provider_type', v_flow.provider_type));
        update auth.users u set last_sign_in_at = now(), updated_at = now() where u.id = v_flow.user_id;
        if not found then
            perform postern._refuse(404, 'flow_state_not_found', 'invalid flow state, no valid flow state found');
        end if;
        return postern._tokens(
            v_flow.user_id,
            postern._open_session(v_flow.user_id, v_flow.authentication_method, exchange_auth_code.caller),
            v_flow.authentication_method,
            caller => exchange_auth_code.caller);
    {{ template "handler" "Error exchanging auth code" }}
    end;
end
$$;

comment on function postern.exchange_auth_code(text, text, postern.caller) is
'Exchanges the auth code at the end of a flow for a session, once, for whoever knows the verifier of its challenge (contract core.md 4.4). A wrong verifier does not use it up.
Called by: POST /token with grant_type pkce.
Refuses: over_request_rate_limit (429); validation_failed, bad_code_verifier (400); flow_state_not_found (404); flow_state_expired (422).';
