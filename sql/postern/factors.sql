{{- /* How a method of a second factor is called in the claim amr. */ -}}
{{- define "factor method" }}case {{ . }} when 'totp' then 'totp' else 'mfa/' || {{ . }}::text end{{ end -}}

create or replace function postern._check_member(caller postern.caller)
returns json
language plpgsql stable
as $$
declare
    v_refused json := postern._check_user(_check_member.caller);
begin
    if v_refused is null and exists (
        select from auth.users u where u.id = (_check_member.caller).user_id and u.is_anonymous)
    then
        return postern._error(403, 'no_authorization', 'Anonymous user not allowed to perform these actions');
    end if;
    return v_refused;
end
$$;

comment on function postern._check_member(postern.caller) is
'As postern._check_user, and that the account is not anonymous.
Called by: functions for the second factors of signed-in users.
Refuses: user_not_found, session_not_found, user_banned, no_authorization (403).';

create or replace function postern._check_factor(user_id text, factor_id text)
returns json
language plpgsql stable
as $$
begin
    if factor_id !~* '^([0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12})$' then
        return postern._error(404, 'validation_failed', 'factor_id must be an UUID');
    elsif not exists (
        select from auth.mfa_factors f
        where f.id = _check_factor.factor_id::uuid and f.user_id = _check_factor.user_id::uuid)
    then
        return postern._error(404, 'mfa_factor_not_found', 'Factor not found');
    end if;
    return null;
end
$$;

comment on function postern._check_factor(text, text) is
'Null when the text is the id of a factor of the account, else the refusal. The account''s id is text too: a cast among the arguments of coalesce could be made before what comes first has looked at it.
Called by: functions for one factor.
Refuses: validation_failed, mfa_factor_not_found (404).';

create or replace function postern.enroll_factor(
    caller postern.caller,
    factor_type text,
    friendly_name text default null,
    phone text default null,
    factor_id uuid default null,
    sealed_secret text default null,
    body_problem text default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_refused json := postern._check_member(enroll_factor.caller);
    v_settings auth.settings not null := (select g from auth.settings g);
    v_user auth.users;
    v_phone text;
begin
    if v_refused is null and (enroll_factor.caller).session_id is null then
        v_refused := postern._error(
            500, 'unexpected_failure', 'A valid session and a registered user are required to enroll a factor');
    end if;
    if v_refused is not null then
        return v_refused;
    elsif body_problem is not null then
        return postern._error(400, 'bad_json', body_problem);
    end if;

    begin
        perform postern._check_enrollable(v_settings, enroll_factor.factor_type);
        if enroll_factor.factor_type = 'phone' then
            if coalesce(enroll_factor.phone, '') = '' then
                perform postern._refuse(400, 'validation_failed', 'Phone number required to enroll Phone factor');
            end if;
            v_phone := postern._phone(enroll_factor.phone);
        end if;

        -- The row lock settles two enrolments at once: the second counts the first one's factor.
        select u.* into v_user
        from auth.users u
        where u.id = (enroll_factor.caller).user_id
        for no key update;
        -- What the lock waited for may have been a ban, a deletion or a sign-out.
        v_refused := coalesce(
            postern._check_user(enroll_factor.caller),
            postern._check_enrolment(
                v_settings, v_user, (enroll_factor.caller).session_id, coalesce(enroll_factor.friendly_name, ''), v_phone));
        if v_refused is not null then
            return v_refused;
        elsif enroll_factor.factor_type = 'totp' and coalesce(v_user.email, '') = '' then
            return postern._error(500, 'unexpected_failure', 'Error generating QR Code', 'the account has no e-mail address');
        end if;

        insert into auth.mfa_factors as f (
            id, user_id, friendly_name, factor_type, status, secret, phone, created_at, updated_at)
        values (
            coalesce(enroll_factor.factor_id, gen_random_uuid()), v_user.id, coalesce(enroll_factor.friendly_name, ''),
            enroll_factor.factor_type::auth.factor_type, 'unverified', coalesce(sealed_secret, ''), v_phone, now(), now())
        returning f.id into enroll_factor.factor_id;
        perform postern._audit_user('factor_in_progress', 'factor', v_user.id, case enroll_factor.factor_type
            when 'totp' then json_build_object('factor_id', enroll_factor.factor_id)
            else json_build_object('factor_id', enroll_factor.factor_id, 'factor_type', enroll_factor.factor_type) end,
            coalesce(host((enroll_factor.caller).ip), ''));
        return json_build_object(
            'v', v_settings.version,
            'factor', case enroll_factor.factor_type when 'totp' then json_build_object('email', v_user.email) end,
            'body', json_strip_nulls(json_build_object(
                'id', enroll_factor.factor_id, 'type', enroll_factor.factor_type,
                'friendly_name', coalesce(enroll_factor.friendly_name, ''),
                'phone', case enroll_factor.factor_type when 'phone' then enroll_factor.phone end)));
    {{ template "handler" "Database error enrolling factor" }}
    end;
end
$$;

comment on function postern.enroll_factor(postern.caller, text, text, text, uuid, text, text) is
'Adds a second factor to the caller''s account, which counts when it is first verified (contract mfa-hooks.md 1.4). factor_type is totp or phone; the gateway makes the id and the secret of the former and hands over the secret sealed. body_problem: why the request''s body cannot be read.
Called by: POST /factors.
Refuses: user_not_found, session_not_found, user_banned, no_authorization (403); bad_json, validation_failed (400); mfa_totp_enroll_not_enabled, mfa_phone_enroll_not_enabled, mfa_webauthn_enroll_not_enabled, mfa_verified_factor_exists, mfa_factor_name_conflict, too_many_enrolled_mfa_factors (422); insufficient_aal (403); unexpected_failure (500) - a token without a session, TOTP without an address.';

create or replace function postern._check_enrollable(settings auth.settings, factor_type text)
returns void
language plpgsql
as $$
begin
    case factor_type
        when 'totp' then
            if not settings.mfa_totp_enroll_enabled then
                perform postern._refuse(422, 'mfa_totp_enroll_not_enabled', 'MFA enroll is disabled for TOTP');
            end if;
        when 'phone' then
            if not settings.mfa_phone_enroll_enabled then
                perform postern._refuse(422, 'mfa_phone_enroll_not_enabled', 'MFA enroll is disabled for Phone');
            end if;
        when 'webauthn' then
            perform postern._refuse(422, 'mfa_webauthn_enroll_not_enabled', 'MFA enroll is disabled for WebAuthn');
        else
            perform postern._refuse(400, 'validation_failed', 'factor_type needs to be totp, phone, or webauthn');
    end case;
end
$$;

comment on function postern._check_enrollable(auth.settings, text) is
'Whether there may be new factors of a type; WebAuthn is not built.
Called by: postern.enroll_factor.
Refuses: validation_failed (400) - no such type; mfa_totp_enroll_not_enabled, mfa_phone_enroll_not_enabled, mfa_webauthn_enroll_not_enabled (422).';

create or replace function postern._check_enrolment(
    settings auth.settings,
    known auth.users,
    session_id uuid,
    friendly_name text,
    phone text)
returns json
language plpgsql
as $$
declare
    v_enrolled bigint;
    v_verified bigint;
begin
    if phone is not null then
        if exists (
            select from auth.mfa_factors f
            where f.user_id = known.id and f.phone = _check_enrolment.phone and f.status = 'verified')
        then
            return postern._error(422, 'mfa_verified_factor_exists',
                'A verified phone factor already exists, unenroll the existing factor to continue');
        end if;
        delete from auth.mfa_factors f where f.user_id = known.id and f.phone = _check_enrolment.phone;
    end if;
    delete from auth.mfa_factors f
    where f.user_id = known.id and f.status = 'unverified' and f.created_at < now() - settings.mfa_factor_expiry_duration
        and not exists (select from auth.mfa_challenges c where c.factor_id = f.id);

    if exists (
        select from auth.mfa_factors f
        where f.user_id = known.id and coalesce(f.friendly_name, '') = _check_enrolment.friendly_name)
    then
        return postern._error(422, 'mfa_factor_name_conflict',
            format('A factor with the friendly name "%s" for this user already exists', friendly_name));
    end if;
    select count(*), count(*) filter (where f.status = 'verified')
    into v_enrolled, v_verified
    from auth.mfa_factors f
    where f.user_id = known.id;
    if v_enrolled >= settings.mfa_max_enrolled_factors or v_verified >= settings.mfa_max_verified_factors then
        return postern._error(422, 'too_many_enrolled_mfa_factors',
            'Maximum number of verified factors reached, unenroll to continue');
    elsif v_verified > 0 and not exists (
        select from auth.sessions s where s.id = _check_enrolment.session_id and s.aal >= 'aal2')
    then
        return postern._error(403, 'insufficient_aal', 'AAL2 required to enroll a new factor');
    end if;
    return null;
end
$$;

comment on function postern._check_enrolment(auth.settings, auth.users, uuid, text, text) is
'Null when an account may have one more factor of that name, else the refusal. Factors in its way that were never verified are deleted whatever the outcome: of the same number, and those that nobody challenged in time (contract mfa-hooks.md 1.4).
Called by: postern.enroll_factor, with the account''s row locked.
Refuses: mfa_verified_factor_exists, mfa_factor_name_conflict, too_many_enrolled_mfa_factors (422); insufficient_aal (403).';

create or replace function postern._check_verifiable(settings auth.settings, factor_type auth.factor_type)
returns void
language plpgsql
as $$
begin
    if factor_type = 'totp' and not settings.mfa_totp_verify_enabled then
        perform postern._refuse(422, 'mfa_totp_verify_not_enabled', 'MFA verification is disabled for TOTP');
    elsif factor_type = 'phone' and not settings.mfa_phone_verify_enabled then
        perform postern._refuse(422, 'mfa_phone_verify_not_enabled', 'MFA verification is disabled for Phone');
    elsif factor_type = 'webauthn' then
        perform postern._refuse(422, 'mfa_webauthn_verify_not_enabled', 'MFA verification is disabled for WebAuthn');
    end if;
end
$$;

comment on function postern._check_verifiable(auth.settings, auth.factor_type) is
'Whether factors of a type may be used; WebAuthn is not built.
Called by: postern.challenge_factor, postern._check_challenge.
Refuses: mfa_totp_verify_not_enabled, mfa_phone_verify_not_enabled, mfa_webauthn_verify_not_enabled (422).';

create or replace function postern.challenge_factor(
    caller postern.caller,
    factor_id text,
    channel text default null,
    channels text[] default '{sms}',
    body_problem text default null,
    envelope postern.envelope default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_refused json := coalesce(
        postern._check_member(challenge_factor.caller),
        postern._check_factor((challenge_factor.caller).user_id::text, challenge_factor.factor_id));
    v_settings auth.settings not null := (select g from auth.settings g);
    v_factor auth.mfa_factors;
    v_id uuid := gen_random_uuid();
    v_delivery json;
begin
    if v_refused is not null then
        return v_refused;
    end if;
    {{ template "limited" "factor_challenge" }}

    begin
        -- The row lock settles two challenges at once: the second finds the first one's time.
        select f.* into v_factor
        from auth.mfa_factors f
        where f.id = challenge_factor.factor_id::uuid and f.user_id = (challenge_factor.caller).user_id
        for no key update;
        if not found then
            perform postern._refuse(404, 'mfa_factor_not_found', 'Factor not found');
        end if;
        perform postern._check_verifiable(v_settings, v_factor.factor_type);

        if v_factor.factor_type = 'phone' then
            if body_problem is not null then
                perform postern._refuse(400, 'bad_json', body_problem);
            end if;
            perform postern._check_channel(v_settings, channel, channels);
            perform postern._check_frequency(
                v_factor.last_challenged_at, v_settings.mfa_phone_max_frequency, 'over_sms_send_rate_limit');
            v_id := (envelope).outbox_id;
            v_delivery := postern._text_factor_code(
                v_settings, v_factor, coalesce(nullif(channel, ''), 'sms'), envelope, (challenge_factor.caller).request_id);
        end if;
        insert into auth.mfa_challenges (id, factor_id, created_at, ip_address, otp_code)
        values (v_id, v_factor.id, now(), coalesce((challenge_factor.caller).ip, '0.0.0.0'), case v_factor.factor_type
            when 'phone' then postern._code_digest(v_id::text, (envelope).code_hmac) end);
        perform postern._note_challenge(v_factor.id);
        perform postern._audit_user('challenge_created', 'factor', v_factor.user_id,
            json_build_object('factor_id', v_factor.id, 'factor_status', v_factor.status),
            coalesce(host((challenge_factor.caller).ip), ''));
        return json_build_object(
            'v', v_settings.version,
            'delivery', v_delivery,
            'body', json_build_object(
                'id', v_id, 'type', v_factor.factor_type,
                'expires_at', floor(extract(epoch from now()) + v_settings.mfa_challenge_expiry_duration)::bigint));
    {{ template "handler" "Database error creating challenge" }}
    end;
end
$$;

comment on function postern.challenge_factor(postern.caller, text, text, text[], text, postern.envelope) is
'Opens a challenge of a factor of the caller''s, and texts its code to one of the type phone, whose challenge has the envelope''s id (contract mfa-hooks.md 1.5, 1.6). channels: those of the gateway''s SMS provider; body_problem: why the request''s body cannot be read, which matters to phones only.
Called by: POST /factors/{factor_id}/challenge.
Refuses: user_not_found, session_not_found, user_banned, no_authorization (403); validation_failed, mfa_factor_not_found (404); over_request_rate_limit, over_sms_send_rate_limit (429); mfa_totp_verify_not_enabled, mfa_phone_verify_not_enabled, mfa_webauthn_verify_not_enabled (422); bad_json, validation_failed (400).';

create or replace function postern._text_factor_code(
    settings auth.settings,
    factor auth.mfa_factors,
    channel text,
    envelope postern.envelope,
    request_id text)
returns json
language plpgsql
as $$
declare
    v_row auth.outbox;
begin
    -- Leased to the gateway that asked: it makes the first attempt before it answers. If it dies, another one sends.
    insert into auth.outbox as o (
        id, channel, kind, recipient, user_id, payload, sealed, attempts, leased_by, next_attempt_at, expires_at, request_id)
    values (
        (envelope).outbox_id, 'sms', 'mfa', factor.phone, factor.user_id,
        jsonb_build_object('channel', channel, 'before', jsonb_build_object(
            'last_challenged_at', factor.last_challenged_at, 'updated_at', factor.updated_at)),
        (envelope).sealed, 1, (envelope).outbox_id::text, now() + interval '60 seconds',
        now() + make_interval(secs => settings.mfa_challenge_expiry_duration::double precision), _text_factor_code.request_id)
    returning o.* into v_row;
    return postern._delivery(v_row, postern._sending_hook(settings, 'sms'));
end
$$;

comment on function postern._text_factor_code(auth.settings, auth.mfa_factors, text, postern.envelope, text) is
'Queues the SMS with the code of a challenge, leased to the gateway that asked, before the challenge is stored: a hook is told of the account as it was. Returns what the gateway needs for the first attempt.
Called by: postern.challenge_factor.
Refuses: never.';

create or replace function postern._note_challenge(factor_id uuid)
returns void
language plpgsql
as $$
declare
    v_moment timestamptz := now();
    v_constraint text;
begin
    -- No two factors may have been challenged in one microsecond: the constraint is Supabase Auth's.
    loop
        begin
            update auth.mfa_factors f
            set last_challenged_at = v_moment, updated_at = now()
            where f.id = _note_challenge.factor_id;
            return;
        exception when unique_violation then
            get stacked diagnostics v_constraint = constraint_name;
            if v_constraint <> 'mfa_factors_last_challenged_at_key' then
                raise;
            end if;
            v_moment := v_moment + interval '1 microsecond';
        end;
    end loop;
end
$$;

comment on function postern._note_challenge(uuid) is
'Notes that a factor has been challenged now.
Called by: postern.challenge_factor.
Refuses: never.';

create or replace function postern._check_challenge(
    settings auth.settings,
    factor auth.mfa_factors,
    challenge_id uuid,
    caller postern.caller)
returns json
language plpgsql
as $$
declare
    v_challenge auth.mfa_challenges;
begin
    perform postern._check_verifiable(settings, factor.factor_type);
    select c.* into v_challenge
    from auth.mfa_challenges c
    where c.id = _check_challenge.challenge_id and c.factor_id = factor.id;
    if not found then
        return postern._error(422, 'mfa_factor_not_found', 'MFA factor with the provided challenge ID not found');
    elsif v_challenge.verified_at is not null
        or v_challenge.ip_address <> coalesce((_check_challenge.caller).ip, '0.0.0.0')
    then
        return postern._error(422, 'mfa_ip_address_mismatch', 'Challenge and verify IP addresses mismatch.');
    elsif v_challenge.created_at + make_interval(secs => settings.mfa_challenge_expiry_duration::double precision) < now() then
        delete from auth.mfa_challenges c where c.id = v_challenge.id;
        return postern._error(422, 'mfa_challenge_expired', format(
            'MFA challenge %s has expired, verify against another challenge or create a new challenge.', v_challenge.id));
    end if;
    return null;
end
$$;

comment on function postern._check_challenge(auth.settings, auth.mfa_factors, uuid, postern.caller) is
'Null when a challenge of a factor can be answered by this caller now, else the refusal; one that has expired is deleted (contract mfa-hooks.md 1.7).
Called by: postern.check_factor_code, postern._complete_verification.
Refuses: mfa_totp_verify_not_enabled, mfa_phone_verify_not_enabled, mfa_webauthn_verify_not_enabled, mfa_factor_not_found, mfa_ip_address_mismatch, mfa_challenge_expired (422).';

create or replace function postern.check_factor_code(
    caller postern.caller,
    factor_id text,
    challenge_id uuid,
    code_hmacs bytea[] default '{}',
    is_provider_asked boolean default false,
    languages text default null,
    body_problem text default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_refused json := coalesce(
        postern._check_member(check_factor_code.caller),
        postern._check_factor((check_factor_code.caller).user_id::text, check_factor_code.factor_id));
    v_settings auth.settings not null := (select g from auth.settings g);
    v_factor auth.mfa_factors;
    v_stored text;
    v_is_valid boolean;
begin
    if v_refused is not null then
        return v_refused;
    end if;
    {{ template "limited" "factor_verify" }}
    if body_problem is not null then
        return postern._error(400, 'bad_json', body_problem);
    end if;
    select f.* into v_factor
    from auth.mfa_factors f
    where f.id = check_factor_code.factor_id::uuid;
    if cardinality(code_hmacs) = 0 and v_factor.factor_type <> 'webauthn' then
        return postern._error(400, 'validation_failed', 'Code needs to be non-empty');
    elsif (check_factor_code.caller).session_id is null then
        return postern._error(500, 'unexpected_failure', 'Cannot read SessionId claim as UUID');
    end if;
    -- Outside of the block: what it counts stays counted when the code is refused.
    v_refused := postern._take_limit(v_settings, 'guesses', (check_factor_code.caller).user_id::text);
    if v_refused is not null then
        return v_refused;
    end if;

    begin
        v_refused := postern._check_challenge(v_settings, v_factor, check_factor_code.challenge_id, check_factor_code.caller);
        if v_refused is not null then
            return v_refused;
        end if;
        if v_factor.factor_type = 'phone' then
            select c.otp_code into v_stored from auth.mfa_challenges c where c.id = check_factor_code.challenge_id;
            v_is_valid := v_stored = any (array(
                select postern._code_digest(check_factor_code.challenge_id::text, h.hmac) from unnest(code_hmacs) h (hmac)));
        else
            v_stored := v_factor.secret;
        end if;

        -- What is judged outside of the database, or asked of a hook, is recorded by a second statement.
        if v_factor.factor_type = 'totp' or is_provider_asked or v_settings.hook_mfa_verification_attempt_enabled
            or v_settings.hook_custom_access_token_enabled and v_settings.hook_custom_access_token_uri like 'pg-functions:%'
        then
            return json_build_object('v', v_settings.version, 'factor', json_build_object(
                'id', v_factor.id, 'type', v_factor.factor_type, 'user_id', v_factor.user_id,
                'stored', v_stored, 'phone', v_factor.phone, 'is_valid', coalesce(v_is_valid, false)));
        end if;
        return postern._complete_verification(
            v_settings, check_factor_code.caller, v_factor.id, check_factor_code.challenge_id, coalesce(v_is_valid, false),
            encode(sha256(convert_to(v_stored, 'UTF8')), 'hex'), null, languages);
    {{ template "handler" "Database error verifying factor" }}
    end;
end
$$;

comment on function postern.check_factor_code(postern.caller, text, uuid, bytea[], boolean, text, text) is
'The first half of a verification: whether the challenge can be answered, and what the code has to be compared with; each call counts as a guess at the account''s codes. code_hmacs: the code''s HMACs by every key of the gateway, empty without a code; is_provider_asked: the SMS provider made the code. Answers with the factor: its stored secret, or for a phone whether the code is right; where nothing else has to be asked, the verification of a phone is completed here (contract mfa-hooks.md 1.7). languages: Accept-Language of the request; body_problem: why its body cannot be read.
Called by: POST /factors/{factor_id}/verify.
Refuses: user_not_found, session_not_found, user_banned, no_authorization (403); validation_failed, mfa_factor_not_found (404); over_request_rate_limit (429) - client, or guesses; bad_json, validation_failed (400) - no code; what _check_challenge and _complete_verification refuse; unexpected_failure (500) - a token without a session.';

create or replace function postern.verify_factor(
    caller postern.caller,
    factor_id text,
    challenge_id uuid,
    is_valid boolean,
    compared_digest text,
    sealed_secret text default null,
    hook_output text default null,
    languages text default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_refused json := coalesce(
        postern._check_member(verify_factor.caller),
        postern._check_factor((verify_factor.caller).user_id::text, verify_factor.factor_id));
    v_settings auth.settings not null := (select g from auth.settings g);
begin
    if v_refused is null and v_settings.hook_mfa_verification_attempt_enabled then
        v_refused := postern._ask_factor_hook(
            v_settings.hook_mfa_verification_attempt_uri, verify_factor.factor_id::uuid, coalesce(is_valid, false), hook_output,
            verify_factor.caller);
    end if;
    if v_refused is not null then
        return v_refused;
    end if;

    begin
        return postern._complete_verification(
            v_settings, verify_factor.caller, verify_factor.factor_id::uuid, verify_factor.challenge_id,
            coalesce(is_valid, false), compared_digest, sealed_secret, languages);
    {{ template "handler" "Database error verifying factor" }}
    end;
end
$$;

comment on function postern.verify_factor(postern.caller, text, uuid, boolean, text, text, text, text) is
'The second half of a verification: records whether the code was right, and raises the session to aal2. compared_digest is the hex SHA-256 of the stored text that the code was compared with; sealed_secret replaces it when it was not sealed with the newest key. hook_output is what an mfa_verification_attempt hook behind HTTP answered, the text null when nothing; a database function is asked here (contract mfa-hooks.md 1.7, 3.6). languages: Accept-Language of the request.
Called by: POST /factors/{factor_id}/verify, after postern.check_factor_code.
Refuses: user_not_found, session_not_found, user_banned, no_authorization, mfa_verification_rejected (403); mfa_factor_not_found (404); what the hook refuses; what _complete_verification refuses.';

create or replace function postern._ask_factor_hook(
    uri text,
    factor_id uuid,
    is_valid boolean,
    output text,
    caller postern.caller)
returns json
language plpgsql
as $$
declare
    v_user_id uuid := (_ask_factor_hook.caller).user_id;
    v_answer json;
begin
    v_answer := postern._ask_attempt_hook('mfa_verification_attempt', uri, json_build_object(
        'metadata', postern._hook_metadata('mfa-verification', (_ask_factor_hook.caller).ip),
        'user_id', v_user_id, 'factor_id', _ask_factor_hook.factor_id,
        'factor_type', (select f.factor_type from auth.mfa_factors f where f.id = _ask_factor_hook.factor_id),
        'valid', is_valid), output, v_user_id, caller);
    if v_answer -> 'error' is not null then
        return v_answer;
    elsif not (v_answer ->> 'is_rejected')::boolean then
        return null;
    end if;
    delete from auth.sessions s where s.user_id = v_user_id;
    return postern._error(403, 'mfa_verification_rejected', coalesce(
        v_answer ->> 'message', 'Further MFA verification attempts will be rejected.'));
end
$$;

comment on function postern._ask_factor_hook(text, uuid, boolean, text, postern.caller) is
'Null when the mfa_verification_attempt hook lets a verification go on, else the refusal; when it rejects, all sessions of the user are gone (contract mfa-hooks.md 3.6).
Called by: postern.verify_factor, where the hook is enabled.
Refuses: mfa_verification_rejected (403); as postern._ask_attempt_hook.';

create or replace function postern._complete_verification(
    settings auth.settings,
    caller postern.caller,
    factor_id uuid,
    challenge_id uuid,
    is_valid boolean,
    compared_digest text,
    sealed_secret text,
    languages text)
returns json
language plpgsql
as $$
declare
    v_session_id uuid := (_complete_verification.caller).session_id;
    v_refused json;
    v_user auth.users;
    v_factor auth.mfa_factors;
    v_stored text;
    v_method text;
    v_counter bigint;
    v_answer json;
begin
    -- The row lock settles two right codes at once, and a verification against a ban, a sign-out or a removal of the factor.
    select u.* into v_user
    from auth.users u
    where u.id = (_complete_verification.caller).user_id
    for no key update;
    v_refused := postern._check_user(_complete_verification.caller);
    if v_refused is null then
        select f.* into v_factor
        from auth.mfa_factors f
        where f.id = _complete_verification.factor_id and f.user_id = v_user.id;
        if not found then
            perform postern._refuse(404, 'mfa_factor_not_found', 'Factor not found');
        end if;
        v_refused := postern._check_challenge(
            settings, v_factor, _complete_verification.challenge_id, _complete_verification.caller);
    end if;
    if v_refused is not null then
        return v_refused;
    end if;

    select case v_factor.factor_type when 'phone' then c.otp_code else v_factor.secret end
    into v_stored
    from auth.mfa_challenges c
    where c.id = _complete_verification.challenge_id;
    if not is_valid then
        perform postern._refuse(422, 'mfa_verification_failed', case v_factor.factor_type
            when 'phone' then 'Invalid MFA Phone code entered' else 'Invalid TOTP code entered' end);
    elsif encode(sha256(convert_to(v_stored, 'UTF8')), 'hex') is distinct from compared_digest then
        perform postern._refuse(409, 'conflict', 'The factor changed during the verification');
    end if;

    perform postern._audit_user('verification_attempted', 'factor', v_user.id, json_build_object(
        'factor_id', v_factor.id, 'challenge_id', _complete_verification.challenge_id, 'factor_type', v_factor.factor_type),
        coalesce(host((_complete_verification.caller).ip), ''));
    update auth.mfa_challenges c set verified_at = now() where c.id = _complete_verification.challenge_id;
    update auth.mfa_factors f
    set status = 'verified', secret = coalesce(sealed_secret, f.secret),
        updated_at = case when f.status = 'verified' then f.updated_at else now() end
    where f.id = v_factor.id and (f.status <> 'verified' or sealed_secret is not null);

    v_method := {{ template "factor method" "v_factor.factor_type" }};
    update auth.sessions s
    set aal = 'aal2', factor_id = v_factor.id, updated_at = now()
    where s.id = v_session_id;
    v_counter := postern._replace_refresh_token(settings, v_session_id);
    insert into auth.mfa_amr_claims as m (id, session_id, authentication_method, created_at, updated_at)
    values (gen_random_uuid(), v_session_id, v_method, now(), now())
    on conflict on constraint mfa_amr_claims_session_id_authentication_method_pkey do update
        set updated_at = now();

    -- The user is shown as of before the unverified factors go, as in the reference.
    v_answer := postern._tokens(v_user.id, v_session_id, v_method, caller => _complete_verification.caller, counter => v_counter);
    delete from auth.sessions s where s.user_id = v_user.id and s.aal < 'aal2';
    delete from auth.mfa_factors f
    where f.user_id = v_user.id and f.status = 'unverified' and f.factor_type = v_factor.factor_type;
    if v_factor.status = 'unverified' then
        perform postern._notify('mfa_factor_enrolled_notification', v_user.email, v_user.id,
            (_complete_verification.caller).request_id, languages, jsonb_build_object('factor_type', v_factor.factor_type));
    end if;
    return v_answer;
end
$$;

comment on function postern._complete_verification(auth.settings, postern.caller, uuid, uuid, boolean, text, text, text) is
'Raises the caller''s session to aal2 when the code was right: a new refresh token takes the place of the old one, the factor is verified, the user''s sessions below aal2 and unverified factors of the same type go (contract mfa-hooks.md 1.7).
Called by: postern.check_factor_code, postern.verify_factor.
Refuses: user_not_found, session_not_found, user_banned (403); mfa_factor_not_found (404); mfa_verification_failed (422); conflict (409) - the factor changed meanwhile, the gateway starts again; what _check_challenge refuses; unexpected_failure (500) - the session''s refresh token is revoked; what the custom_access_token hook refuses.';

create or replace function postern.unenroll_factor(caller postern.caller, factor_id text, languages text default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_refused json := coalesce(
        postern._check_member(unenroll_factor.caller),
        postern._check_factor((unenroll_factor.caller).user_id::text, unenroll_factor.factor_id));
    v_user auth.users;
    v_factor auth.mfa_factors;
begin
    if v_refused is null and (unenroll_factor.caller).session_id is null then
        v_refused := postern._error(
            500, 'unexpected_failure', 'A valid session and factor are required to unenroll a factor');
    end if;
    if v_refused is not null then
        return v_refused;
    end if;

    begin
        -- The row lock settles a removal against a verification at the same moment.
        select u.* into v_user
        from auth.users u
        where u.id = (unenroll_factor.caller).user_id
        for no key update;
        v_refused := coalesce(
            postern._check_user(unenroll_factor.caller), postern._check_factor(v_user.id::text, unenroll_factor.factor_id));
        if v_refused is not null then
            return v_refused;
        end if;
        select f.* into v_factor from auth.mfa_factors f where f.id = unenroll_factor.factor_id::uuid;
        if v_factor.status = 'verified' and not exists (
            select from auth.sessions s where s.id = (unenroll_factor.caller).session_id and s.aal >= 'aal2')
        then
            perform postern._refuse(422, 'insufficient_aal', 'AAL2 required to unenroll verified factor');
        end if;

        perform postern._remove_factor(v_factor);
        perform postern._audit_user('factor_unenrolled', 'factor', v_user.id, json_build_object(
            'factor_id', v_factor.id, 'factor_status', v_factor.status, 'session_id', (unenroll_factor.caller).session_id),
            coalesce(host((unenroll_factor.caller).ip), ''));
        perform postern._notify('mfa_factor_unenrolled_notification', v_user.email, v_user.id,
            (unenroll_factor.caller).request_id, languages, jsonb_build_object('factor_type', v_factor.factor_type));
        return json_build_object(
            'v', (select g.version from auth.settings g), 'body', json_build_object('id', v_factor.id));
    {{ template "handler" "Database error removing factor" }}
    end;
end
$$;

comment on function postern.unenroll_factor(postern.caller, text, text) is
'Removes a factor of the caller''s; sessions that it raised to aal2 are at aal1 again (contract mfa-hooks.md 1.9). languages: Accept-Language of the request.
Called by: DELETE /factors/{factor_id}.
Refuses: user_not_found, session_not_found, user_banned, no_authorization (403); validation_failed, mfa_factor_not_found (404); insufficient_aal (422); unexpected_failure (500) - a token without a session.';

create or replace function postern._remove_factor(factor auth.mfa_factors)
returns void
language plpgsql
as $$
begin
    delete from auth.mfa_factors f where f.id = factor.id;
    delete from auth.mfa_amr_claims m
    using auth.sessions s
    where s.user_id = factor.user_id and s.factor_id = factor.id and m.session_id = s.id
        and m.authentication_method = {{ template "factor method" "factor.factor_type" }};
    update auth.sessions s
    set aal = 'aal1', factor_id = null
    where s.user_id = factor.user_id and s.factor_id = factor.id;
end
$$;

comment on function postern._remove_factor(auth.mfa_factors) is
'Deletes a factor with its challenges; sessions that it raised to aal2 are at aal1 again.
Called by: postern.unenroll_factor, postern.admin_delete_factor.
Refuses: never.';

create or replace function postern._factor_json(factor_id uuid)
returns json
language plpgsql stable
as $$
declare
    v_factor text;
begin
    select {{ template "factor json" }} into v_factor from auth.mfa_factors f where f.id = _factor_json.factor_id;
    return v_factor::json;
end
$$;

comment on function postern._factor_json(uuid) is
'The factor object of contract mfa-hooks.md 1.2.
Called by: the admin_ functions of factors.
Refuses: never; null for an unknown id.';

create or replace function postern.admin_list_factors(caller postern.caller, user_id text)
returns json
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_refused json := coalesce(postern._check_admin(admin_list_factors.caller), postern._check_known(admin_list_factors.user_id));
begin
    if v_refused is not null then
        return v_refused;
    end if;
    return (
        select json_build_object(
            'v', (select g.version from auth.settings g),
            'body', coalesce(json_agg({{ template "factor json" }}::json order by f.created_at), '[]'))
        from auth.mfa_factors f
        where f.user_id = admin_list_factors.user_id::uuid);
end
$$;

comment on function postern.admin_list_factors(postern.caller, text) is
'The factors of an account, verified or not (contract admin.md 8).
Called by: GET /admin/users/{user_id}/factors.
Refuses: what _check_admin refuses (403); validation_failed, user_not_found (404).';

create or replace function postern.admin_update_factor(
    caller postern.caller,
    user_id text,
    factor_id text,
    friendly_name text default null,
    phone text default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_refused json := coalesce(
        postern._check_admin(admin_update_factor.caller), postern._check_known(admin_update_factor.user_id),
        postern._check_factor(admin_update_factor.user_id, admin_update_factor.factor_id));
    v_factor auth.mfa_factors;
    v_phone text;
    v_constraint text;
begin
    if v_refused is not null then
        return v_refused;
    end if;

    begin
        -- The user's row first, as everywhere: it settles a change against an enrolment with the same name.
        perform from auth.users u where u.id = admin_update_factor.user_id::uuid for no key update;
        select f.* into v_factor from auth.mfa_factors f where f.id = admin_update_factor.factor_id::uuid;
        if not found then
            perform postern._refuse(404, 'mfa_factor_not_found', 'Factor not found');
        end if;
        if v_factor.factor_type = 'phone' and coalesce(admin_update_factor.phone, '') <> '' then
            v_phone := postern._phone(admin_update_factor.phone);
        end if;
        if v_phone is not null or coalesce(admin_update_factor.friendly_name, '') <> '' then
            begin
                update auth.mfa_factors f
                set friendly_name = coalesce(nullif(admin_update_factor.friendly_name, ''), f.friendly_name),
                    phone = coalesce(v_phone, f.phone), updated_at = now()
                where f.id = v_factor.id;
            exception when unique_violation then
                get stacked diagnostics v_constraint = constraint_name;
                if v_constraint = 'mfa_factors_user_friendly_name_unique' then
                    perform postern._refuse(422, 'mfa_factor_name_conflict', format(
                        'A factor with the friendly name "%s" for this user already exists', admin_update_factor.friendly_name));
                elsif v_constraint = 'unique_phone_factor_per_user' then
                    perform postern._refuse(422, 'mfa_verified_factor_exists', 'A phone factor with this number already exists');
                end if;
                raise;
            end;
        end if;
        perform postern._audit('factor_updated', 'factor', '00000000-0000-0000-0000-000000000000',
            (admin_update_factor.caller).role, traits => json_build_object(
                'user_id', v_factor.user_id, 'factor_id', v_factor.id, 'factor_type', v_factor.factor_type));
        return json_build_object(
            'v', (select g.version from auth.settings g), 'body', postern._factor_json(v_factor.id));
    {{ template "handler" "Error updating factor" }}
    end;
end
$$;

comment on function postern.admin_update_factor(postern.caller, text, text, text, text) is
'Changes the name of a factor, and the number of one of the type phone; empty texts change nothing (contract admin.md 8).
Called by: PUT /admin/users/{user_id}/factors/{factor_id}.
Refuses: what _check_admin refuses (403); validation_failed, user_not_found, mfa_factor_not_found (404); validation_failed (400); mfa_factor_name_conflict, mfa_verified_factor_exists (422) - another factor of the account has the name or the number.';

create or replace function postern.admin_delete_factor(caller postern.caller, user_id text, factor_id text)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_refused json := coalesce(
        postern._check_admin(admin_delete_factor.caller), postern._check_known(admin_delete_factor.user_id),
        postern._check_factor(admin_delete_factor.user_id, admin_delete_factor.factor_id));
    v_factor auth.mfa_factors;
    v_shown json;
begin
    if v_refused is not null then
        return v_refused;
    end if;

    begin
        -- The user's row first, as everywhere.
        perform from auth.users u where u.id = admin_delete_factor.user_id::uuid for no key update;
        select f.* into v_factor from auth.mfa_factors f where f.id = admin_delete_factor.factor_id::uuid;
        if not found then
            perform postern._refuse(404, 'mfa_factor_not_found', 'Factor not found');
        end if;
        v_shown := postern._factor_json(v_factor.id);
        perform postern._audit_user('factor_deleted', 'factor', v_factor.user_id,
            json_build_object('user_id', v_factor.user_id, 'factor_id', v_factor.id),
            coalesce(host((admin_delete_factor.caller).ip), ''));
        perform postern._remove_factor(v_factor);
        return json_build_object('v', (select g.version from auth.settings g), 'body', v_shown);
    {{ template "handler" "Database error deleting factor" }}
    end;
end
$$;

comment on function postern.admin_delete_factor(postern.caller, text, text) is
'Removes a factor of an account, verified or not; sessions that it raised to aal2 are at aal1 again (contract admin.md 8). The audit trail names the account as the actor, as the reference does.
Called by: DELETE /admin/users/{user_id}/factors/{factor_id}.
Refuses: what _check_admin refuses (403); validation_failed, user_not_found, mfa_factor_not_found (404).';

create or replace function postern.replace_factor_secrets(factor_ids uuid[], stored text[], secrets text[])
returns integer
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_count integer;
begin
    update auth.mfa_factors f
    set secret = k.secret
    from unnest(replace_factor_secrets.factor_ids, replace_factor_secrets.stored, replace_factor_secrets.secrets)
        as k (factor_id, stored, secret)
    where f.id = k.factor_id and f.secret = k.stored and k.secret is not null;
    get diagnostics v_count = row_count;
    return v_count;
end
$$;

comment on function postern.replace_factor_secrets(uuid[], text[], text[]) is
'Stores secrets of TOTP factors in another form: sealed with the newest key, or in base32 as Supabase Auth keeps them. A secret of null leaves a factor as it is. Returns how many it wrote.
Called by: postern keys reseal and postern hand-back, in batches.
Refuses: never; a secret that has changed meanwhile is left alone.';
