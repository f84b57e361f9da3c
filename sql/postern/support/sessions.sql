{{- /* The token that counts of a session of Supabase Auth, which has a row per refresh. By an expression: the primary key could
sort them as well, and a planner with poor statistics would read all tokens by it. */ -}}
{{- define "newest token" }}order by t.id + 0 desc limit 1{{ end -}}

create or replace function postern._open_session(user_id uuid, method text, caller postern.caller)
returns uuid
language plpgsql
as $$
declare
    v_session uuid := gen_random_uuid();
begin
    insert into auth.sessions (id, user_id, created_at, updated_at, aal, user_agent, ip)
    values (
        v_session, _open_session.user_id, now(), now(), 'aal1',
        nullif((_open_session.caller).user_agent, ''), (_open_session.caller).ip);

    insert into auth.refresh_tokens (instance_id, user_id, session_id, revoked, counter, created_at, updated_at)
    values (
        '00000000-0000-0000-0000-000000000000', _open_session.user_id, v_session, false, 0, now(), now());

    insert into auth.mfa_amr_claims (id, session_id, authentication_method, created_at, updated_at)
    values (gen_random_uuid(), v_session, _open_session.method, now(), now());

    return v_session;
end
$$;

comment on function postern._open_session(uuid, text, postern.caller) is
'Opens a session with its refresh token row (counter 0) and the method that opened it (contract core.md 12.1).
Called by: every way to sign in.
Refuses: never.';

create or replace function postern._session_problem(
    settings auth.settings,
    not_after timestamptz,
    created_at timestamptz,
    refreshed_at timestamp,
    aal auth.aal_level,
    user_id uuid)
returns text
language plpgsql stable
as $$
begin
    if not_after < now() or created_at + settings.sessions_timebox < now() then
        return 'Session Expired';
    end if;
    if coalesce(refreshed_at at time zone 'UTC', created_at) + settings.sessions_inactivity_timeout < now() then
        return 'Session Expired (Inactivity)';
    end if;
    if coalesce(aal, 'aal1') < 'aal2' and created_at + settings.sessions_allow_low_aal < now()
        and postern._has_verified_factor(user_id)
    then
        return 'Session Expired (Low AAL: User Needs MFA Verification)';
    end if;
    return null;
end
$$;

comment on function postern._session_problem(auth.settings, timestamptz, timestamptz, timestamp, auth.aal_level, uuid) is
'Why a session may not go on, by its own end and the limits of auth.settings, in the words of contract core.md 4.6; null when it may.
Called by: postern._session_refusal, postern._is_newest_session, postern._check_admin.
Refuses: never.';

create or replace function postern._has_verified_factor(user_id uuid)
returns boolean
language plpgsql stable
as $$
begin
    return exists (
        select from auth.mfa_factors f
        where f.user_id = _has_verified_factor.user_id and f.status = 'verified');
end
$$;

comment on function postern._has_verified_factor(uuid) is
'Whether a user can reach aal2.
Called by: session limits, postern._check_user_update.
Refuses: never.';

create or replace function postern._is_newest_session(settings auth.settings, session_id uuid)
returns boolean
language plpgsql stable
as $$
begin
    return not exists (
        select
        from auth.sessions mine
        join auth.sessions other on other.user_id = mine.user_id and other.id <> mine.id
        where mine.id = _is_newest_session.session_id
            and postern._session_problem(
                settings, other.not_after, other.created_at, other.refreshed_at, other.aal, other.user_id) is null
            and (settings.sessions_tags = '{}'
                or case when other.tag = any (settings.sessions_tags) then other.tag else settings.sessions_tags[1] end
                    = case when mine.tag = any (settings.sessions_tags) then mine.tag else settings.sessions_tags[1] end)
            and coalesce(other.refreshed_at at time zone 'UTC', other.created_at)
                > coalesce(mine.refreshed_at at time zone 'UTC', mine.created_at));
end
$$;

comment on function postern._is_newest_session(auth.settings, uuid) is
'Whether no other valid session of the user with the same tag was used later (contract core.md 4.6, single session per user).
Called by: postern._session_refusal.
Refuses: never.';

create or replace function postern._replace_refresh_token(settings auth.settings, session_id uuid)
returns bigint
language plpgsql
as $$
declare
    v_token record;
begin
    -- A session of Supabase Auth that was not continued here has its counter, and a key of its own, in its own row.
    insert into auth.refresh_tokens (instance_id, user_id, session_id, revoked, counter, created_at, updated_at)
    select
        '00000000-0000-0000-0000-000000000000', s.user_id, s.id, false, coalesce(s.refresh_token_counter, 0),
        s.created_at, coalesce(s.refreshed_at at time zone 'UTC', s.created_at)
    from auth.sessions s
    where s.id = _replace_refresh_token.session_id and s.refresh_token_hmac_key is not null
        and not exists (select from auth.refresh_tokens t where t.session_id = s.id and t.token is null);
    update auth.sessions s set refresh_token_hmac_key = null, refresh_token_counter = null
    where s.id = _replace_refresh_token.session_id and s.refresh_token_hmac_key is not null;

    select t.id, t.counter, t.revoked
    into v_token
    from auth.refresh_tokens t
    where t.session_id = _replace_refresh_token.session_id
    {{ template "newest token" }}
    for no key update;
    if not found or v_token.revoked then
        perform postern._refuse(500, 'unexpected_failure', 'Unexpected failure, please check server logs for more information',
            'the refresh token of the session is revoked');
    end if;

    -- By two, and from before the reuse interval: neither as the one before nor within the interval is the old token forgiven.
    update auth.refresh_tokens t
    set counter = v_token.counter + 2,
        updated_at = least(t.updated_at, now() - make_interval(secs => 1 + settings.security_refresh_token_reuse_interval::double precision)),
        token = case when length(t.token) = 12 then encode(sha256(convert_to(t.token, 'UTF8')), 'hex') else t.token end
    where t.id = v_token.id;
    return v_token.counter + 2;
end
$$;

comment on function postern._replace_refresh_token(auth.settings, uuid) is
'Puts a refresh token in place of a session''s present one, which from then on counts as used (contract mfa-hooks.md 1.7). Returns its counter.
Called by: postern._complete_verification.
Refuses: unexpected_failure (500) - the present one is revoked.';
