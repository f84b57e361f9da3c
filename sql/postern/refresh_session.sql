create or replace function postern.refresh_session_text(session_id uuid, counter bigint, caller postern.caller default null)
returns text
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v record;
    v_now bigint := extract(epoch from now())::bigint;
    v_is_reused boolean;
    v_settled record;
    v_hook json;
    v_refused json;
begin
    if (refresh_session_text.caller).limiter_key is not null then
        v_refused := postern._take_limit((select g from auth.settings g), 'token', (refresh_session_text.caller).limiter_key);
        if v_refused is not null then
            return v_refused::text;
        end if;
    end if;

    begin
        -- All of it is read once and without a lock: one client presents a token once, by far the usual case.
        select
            u.banned_until, s.token_id, s.counter, s.revoked, null::text as reuse, s.oauth_client_id, s.is_limited,
            s.is_audited, {{ template "audit payload" }} as audit_payload,
            {{ template "token columns" }}
        into v
        from (
            select s.user_id, s.oauth_client_id, t.id as token_id, t.counter, t.revoked,
                s.not_after is not null or g.sessions_timebox is not null or g.sessions_inactivity_timeout is not null
                    or g.sessions_allow_low_aal is not null or g.sessions_single_per_user as is_limited,
                not g.audit_log_disable_postgres as is_audited,
                {{ template "claims columns" }},
                {{ template "token settings" }}
            from auth.sessions s
            cross join auth.settings g
            cross join lateral (
                select t.id, t.counter, t.revoked
                from auth.refresh_tokens t
                where t.session_id = s.id
                {{ template "newest token" }}) t
            cross join {{ template "authentication" }}
            where s.id = refresh_session_text.session_id
            offset 0) s
        join auth.users u on u.id = s.user_id
        cross join {{ template "user parts" }}
        cross join lateral (
            select 'token_refreshed' as action, 'token' as log_type, null::json as traits, {{ template "actor columns" }}) a;

        if not found then
            return postern._error(400, 'refresh_token_not_found', 'Invalid Refresh Token: Refresh Token Not Found')::text;
        elsif v.banned_until > now() then
            return postern._error(400, 'user_banned', 'Invalid Refresh Token: User Banned')::text;
        elsif v.is_limited then
            v_refused := postern._session_refusal(refresh_session_text.session_id);
            if v_refused is not null then
                return v_refused::text;
            end if;
        end if;
        if v.oauth_client_id is not null then
            return postern._error(400, 'invalid_client', 'Client authentication required for OAuth session')::text;
        end if;

        v_is_reused := refresh_session_text.counter <> v.counter or coalesce(v.revoked, false);
        if v_is_reused then
            select * into v_settled from postern._settle_reuse(refresh_session_text.session_id, refresh_session_text.counter);
            if v_settled.refused is not null then
                return v_settled.refused::text;
            end if;
            v.counter := v_settled.counter;
            v.reuse := v_settled.reuse;
        end if;

        update auth.sessions s
        set refreshed_at = now() at time zone 'UTC', updated_at = now(),
            user_agent = nullif((refresh_session_text.caller).user_agent, ''), ip = (refresh_session_text.caller).ip
        where s.id = refresh_session_text.session_id;

        if not v_is_reused then
            update auth.refresh_tokens t
            set counter = t.counter + 1, updated_at = now()
            where t.id = v.token_id and t.counter = refresh_session_text.counter and not t.revoked
            returning t.counter into v.counter;
            if not found then
                -- Another refresh of the session came first while this one waited for its row.
                select * into v_settled from postern._settle_reuse(refresh_session_text.session_id, refresh_session_text.counter);
                if v_settled.refused is not null then
                    return v_settled.refused::text;
                end if;
                v.counter := v_settled.counter;
                v.reuse := v_settled.reuse;
            elsif not v.has_hook then
                -- Nobody waits for the disk: the client of a commit that a crash loses comes with counter n + 1, and goes on. What
                -- a hook writes in this transaction is not ours to risk.
                perform set_config('synchronous_commit', 'off', true);
            end if;
        end if;

        if v.is_audited then
            insert into auth.audit_log_entries (instance_id, id, payload, created_at, ip_address)
            values (
                '00000000-0000-0000-0000-000000000000', gen_random_uuid(), v.audit_payload, clock_timestamp(), '');
        end if;
        if v.has_hook and v.hook_uri like 'pg-functions:%' then
            v.claims := postern._customize_claims(v.hook_uri, v.user_id, v.claims::json, 'token_refresh', caller)::text;
        elsif v.has_hook then
            -- Should it fail, the presented token is the one before the current: that is always answered (DESIGN 7).
            v_hook := json_build_object('uri', v.hook_uri, 'method', 'token_refresh', 'ends_session', false);
        end if;
        return {{ template "token answer" }};
    {{ template "text handler" "Database error refreshing session" }}
    end;
end
$$;

comment on function postern.refresh_session_text(uuid, bigint, postern.caller) is
'Continues a session: the presented counter is rotated, or answered again when its successor was lost (DESIGN 7). The gateway has verified the token''s MAC. A rotation commits asynchronously, unless the hook custom_access_token is on: after a crash that loses it the token it issued (one above the stored counter) goes on. Refusals that write are synchronous. The answer is JSON as text: to read once more what it has just written would be a twentieth of the work.
Called by: POST /token with grant_type refresh_token; postern.refresh_session.
Refuses: refresh_token_not_found, validation_failed - never issued, user_banned, session_expired, invalid_client, refresh_token_already_used (400).';

create or replace function postern.refresh_session(session_id uuid, counter bigint, caller postern.caller default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
begin
    return postern.refresh_session_text(session_id, counter, caller)::json;
end
$$;

comment on function postern.refresh_session(uuid, bigint, postern.caller) is
'As postern.refresh_session_text, as json.
Called by: whoever takes the answer apart in SQL, as postern.refresh_adopted_session; gateways of earlier releases.
Refuses: as postern.refresh_session_text.';

create or replace function postern._session_refusal(session_id uuid)
returns json
language plpgsql stable
as $$
declare
    v_settings auth.settings not null := (select g from auth.settings g);
    v_session auth.sessions;
    v_problem text;
begin
    select s.* into v_session from auth.sessions s where s.id = _session_refusal.session_id;
    if not found then
        return postern._error(400, 'refresh_token_not_found', 'Invalid Refresh Token: Refresh Token Not Found');
    end if;
    if v_session.refreshed_at is null and v_settings.security_refresh_token_algorithm_version < 2 then
        -- Tokens of the first kind count as a use of a session that was never refreshed.
        select greatest(t.updated_at, v_session.created_at) at time zone 'UTC'
        into v_session.refreshed_at
        from auth.refresh_tokens t
        where t.session_id = v_session.id
        {{ template "newest token" }};
    end if;
    v_problem := postern._session_problem(
        v_settings, v_session.not_after, v_session.created_at, v_session.refreshed_at, v_session.aal, v_session.user_id);
    if v_problem is null and v_settings.sessions_single_per_user
        and not postern._is_newest_session(v_settings, _session_refusal.session_id)
    then
        v_problem := 'Session Expired (Revoked by Newer Login)';
    end if;
    if v_problem is not null then
        return postern._error(400, 'session_expired', 'Invalid Refresh Token: ' || v_problem);
    end if;
    return null;
end
$$;

comment on function postern._session_refusal(uuid) is
'Null when a session may go on by its own end and the limits of auth.settings, else the refusal (contract core.md 4.6).
Called by: postern.refresh_session, where there are such limits.
Refuses: session_expired (400).';

create or replace function postern._settle_reuse(
    session_id uuid,
    presented bigint,
    out counter bigint,
    out reuse text,
    out refused json)
returns record
language plpgsql
as $$
declare
    v_settings auth.settings not null := (select g from auth.settings g);
    v_live record;
    v_is_recent boolean;
begin
    -- The row locks settle requests that present old tokens of one session at once: each sees what the others decided.
    select t.id, t.counter, t.revoked, t.updated_at
    into v_live
    from auth.sessions s
    join auth.refresh_tokens t on t.session_id = s.id
    where s.id = _settle_reuse.session_id
    {{ template "newest token" }}
    for no key update of s, t;

    if not found then
        refused := postern._error(400, 'refresh_token_not_found', 'Invalid Refresh Token: Refresh Token Not Found');
        return;
    elsif presented - 1 > v_live.counter then
        refused := postern._error(400, 'validation_failed', 'Invalid Refresh Token: Not Issued By This Server');
        return;
    end if;

    v_is_recent := v_settings.security_refresh_token_reuse_interval > 0
        and now() - v_live.updated_at <= make_interval(secs => v_settings.security_refresh_token_reuse_interval);
    counter := v_live.counter;
    refused := postern._error(400, 'refresh_token_already_used', 'Invalid Refresh Token: Already Used');
    if v_live.revoked then
        return;
    elsif presented >= v_live.counter then
        -- n: issued by a refresh that came between the first look and the lock. n + 1: issued by one whose commit the server lost, in
        -- a crash or a failover; the gateway has verified that the token is ours.
        update auth.refresh_tokens t set counter = presented + 1, updated_at = now() where t.id = v_live.id;
        counter := presented + 1;
        refused := null;
    elsif presented = v_live.counter - 1 then
        reuse := case when v_is_recent then 'concurrent-refresh,fail-to-save' else 'fail-to-save' end;
        refused := null;
    elsif v_is_recent then
        reuse := 'concurrent-refresh';
        refused := null;
    elsif v_settings.security_refresh_token_allow_reuse and v_settings.security_refresh_token_algorithm_version = 2 then
        reuse := 'always-allow';
        refused := null;
    elsif not v_settings.security_refresh_token_rotation_enabled then
        return;
    elsif v_settings.security_refresh_token_algorithm_version = 2 then
        delete from auth.sessions s where s.id = _settle_reuse.session_id;
        refused := postern._error(
            400, 'refresh_token_already_used', 'Invalid Refresh Token: Already Used', fact => 'session_ended');
    else
        update auth.refresh_tokens t
        set revoked = true, updated_at = now()
        where t.session_id = _settle_reuse.session_id and not t.revoked;
    end if;
end
$$;

comment on function postern._settle_reuse(uuid, bigint) is
'Decides about a refresh token that is not the session''s next one (DESIGN 7): the counter to answer with and why, or the refusal, after which the session''s token is revoked or the session ended.
Called by: postern.refresh_session.
Refuses: refresh_token_not_found, validation_failed - never issued, refresh_token_already_used (400).';

create or replace function postern.refresh_adopted_session(
    token text default null,
    session_id uuid default null,
    counter bigint default null,
    signed bytea default null,
    mac bytea default null,
    token_digest text default null,
    caller postern.caller default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_settings auth.settings not null := (select g from auth.settings g);
    v_caller postern.caller := refresh_adopted_session.caller;
    v_presented auth.refresh_tokens;
    v_live auth.refresh_tokens;
    v_session auth.sessions;
    v_counter bigint;
    v_answer json;
    v_refused json;
begin
    if v_caller.limiter_key is not null then
        v_refused := postern._take_limit(v_settings, 'token', v_caller.limiter_key);
        if v_refused is not null then
            return v_refused;
        end if;
        v_caller.limiter_key := null;
    end if;

    begin
        if token is not null then
            select t.* into v_presented
            from auth.refresh_tokens t
            where t.token in (refresh_adopted_session.token, token_digest);
            if not found then
                return postern._error(400, 'refresh_token_not_found', 'Invalid Refresh Token: Refresh Token Not Found');
            elsif v_presented.session_id is null then
                delete from auth.refresh_tokens t where t.id = v_presented.id;
                return postern._error(400, 'session_not_found', 'Invalid Refresh Token: No Valid Session Found');
            end if;

            -- The session first, as everywhere: what comes next reads and changes its tokens.
            perform from auth.sessions s where s.id = v_presented.session_id for no key update;
            select t.* into v_live
            from auth.refresh_tokens t
            where t.session_id = v_presented.session_id
            {{ template "newest token" }};

            v_counter := case
                when v_presented.id = v_live.id then 0
                -- A sibling that was live too, or the direct parent of a token not used yet: the current token again.
                when not v_presented.revoked then v_live.counter - 1
                when v_live.counter = 0 and v_live.parent in (refresh_adopted_session.token, token_digest) then -1
                else least(v_live.counter, 0) - 2
            end;
            v_answer := postern.refresh_session(v_presented.session_id, v_counter, v_caller);
            if v_answer -> 'session' is not null then
                update auth.refresh_tokens t set token = token_digest
                where t.id = v_presented.id and t.token = refresh_adopted_session.token;
                update auth.refresh_tokens t set parent = token_digest
                where t.session_id = v_presented.session_id and t.parent = refresh_adopted_session.token;
            end if;
            return v_answer;
        end if;

        select s.* into v_session
        from auth.sessions s
        where s.id = refresh_adopted_session.session_id
        for no key update;
        if v_session.refresh_token_hmac_key is not null then
            if v_session.refresh_token_hmac_key !~ '^[A-Za-z0-9_-]{43}$' then
                -- Encrypted with a key that Postern does not have, or damaged.
                return postern._error(400, 'refresh_token_not_found', 'Invalid Refresh Token: Refresh Token Not Found');
            end if;
            -- Digests are compared, so that the time taken says nothing about the MAC.
            if not coalesce(sha256(mac) = sha256(substr(postern._hmac_sha256(
                postern._base64url_decode(v_session.refresh_token_hmac_key), signed), 1, 16)), false)
            then
                return postern._error(400, 'refresh_token_not_found', 'Invalid Refresh Token: Refresh Token Not Found');
            end if;
            insert into auth.refresh_tokens (
                instance_id, user_id, session_id, revoked, counter, created_at, updated_at)
            select
                '00000000-0000-0000-0000-000000000000', v_session.user_id, v_session.id, false,
                coalesce(v_session.refresh_token_counter, 0), v_session.created_at,
                coalesce(v_session.refreshed_at at time zone 'UTC', v_session.created_at)
            where not exists (select from auth.refresh_tokens t where t.session_id = v_session.id and t.token is null);
        elsif not exists (
            select from auth.refresh_tokens t
            where t.session_id = refresh_adopted_session.session_id and t.parent = token_digest)
        then
            return postern._error(400, 'refresh_token_not_found', 'Invalid Refresh Token: Refresh Token Not Found');
        end if;

        v_answer := postern.refresh_session(
            refresh_adopted_session.session_id, refresh_adopted_session.counter, v_caller);
        if (v_answer #>> '{session,counter}')::bigint = refresh_adopted_session.counter + 1
            and v_answer #>> '{session,reuse}' is null
        then
            -- Rotated: from here on the derived key counts, and of the old one only this token is remembered.
            update auth.sessions s set refresh_token_hmac_key = null, refresh_token_counter = null
            where s.id = refresh_adopted_session.session_id;
            update auth.refresh_tokens t set parent = token_digest
            where t.session_id = refresh_adopted_session.session_id and t.token is null;
        elsif v_answer #>> '{error,code}' = 'refresh_token_already_used'
            and v_session.refresh_token_hmac_key is not null
            and v_settings.security_refresh_token_rotation_enabled
        then
            -- Reuse of a second-generation token ends the session, whatever new sessions do.
            delete from auth.sessions s where s.id = v_session.id;
            return postern._error(
                400, 'refresh_token_already_used', 'Invalid Refresh Token: Already Used', fact => 'session_ended');
        end if;
        return v_answer;
    {{ template "handler" "Database error refreshing session" }}
    end;
end
$$;

comment on function postern.refresh_adopted_session(text, uuid, bigint, bytea, bytea, text, postern.caller) is
'Continues a session with a refresh token that Supabase Auth issued: a 12-character token, or a second-generation one (session id, counter, the signed bytes and the MAC, checked with the key stored in the session). token_digest is the hex SHA-256 of the presented text; it replaces what Supabase Auth stored at first use (DESIGN 7).
Called by: POST /token with grant_type refresh_token, for tokens that Postern''s own keys did not sign.
Refuses: as postern.refresh_session; session_not_found (400) - a token without a session.';

create or replace function postern._hmac_sha256(key bytea, message bytea)
returns bytea
language plpgsql immutable strict
as $$
declare
    v_key bytea := case when length(key) > 64 then sha256(key) else key end;
    v_inner bytea := decode(repeat('36', 64), 'hex');
    v_outer bytea := decode(repeat('5c', 64), 'hex');
begin
    for v_at in 0 .. length(v_key) - 1 loop
        v_inner := set_byte(v_inner, v_at, get_byte(v_inner, v_at) # get_byte(v_key, v_at));
        v_outer := set_byte(v_outer, v_at, get_byte(v_outer, v_at) # get_byte(v_key, v_at));
    end loop;
    return sha256(v_outer || sha256(v_inner || message));
end
$$;

comment on function postern._hmac_sha256(bytea, bytea) is
'HMAC-SHA-256 (RFC 2104), without an extension.
Called by: postern.refresh_adopted_session.
Refuses: never.';

create or replace function postern._base64url_decode(encoded text)
returns bytea
language sql immutable strict
as $$
    select decode(rpad(translate(encoded, '-_', '+/'), (length(encoded) + 3) / 4 * 4, '='), 'base64')
$$;

comment on function postern._base64url_decode(text) is
'Bytes of a base64url text without padding (RFC 4648 section 5).
Called by: postern.refresh_adopted_session, postern._read_cursor.
Refuses: invalid input is an error of PostgreSQL.';
