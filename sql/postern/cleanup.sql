create or replace function postern.cleanup(batch integer default 100, is_scheduled boolean default false)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_settings auth.settings not null := (select g from auth.settings g);
    v_batch integer := greatest(1, least(coalesce(batch, 100), 1000));
    v_deleted jsonb := '{}'::jsonb;
    v_problems jsonb := '{}'::jsonb;
    v_part text;
    v_result jsonb;
begin
    -- One gateway at a time: the others have nothing to add.
    if not pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended('postern.cleanup', 0)) then
        return json_build_object(
            'v', (select g.version from auth.settings g), 'body', json_build_object('is_busy', true));
    end if;

    -- Rows of limits come last: requests wait for them.
    foreach v_part in array case when is_scheduled and not v_settings.db_cleanup_enabled then array['records']
        else array['accounts', 'sessions', 'codes', 'factors', 'records'] end
    loop
        -- A trigger or foreign key of somebody's that refuses holds up its own part only; of accounts and sessions, its own row.
        begin
            v_result := case v_part
                when 'accounts' then postern._clean_accounts(v_settings, v_batch)
                when 'sessions' then postern._clean_sessions(v_settings, v_batch)
                when 'codes' then postern._clean_codes(v_settings, v_batch)
                when 'factors' then postern._clean_factors(v_batch)
                else postern._clean_records(v_settings, v_batch) end;
            v_deleted := v_deleted || (v_result - 'problem');
            if v_result ->> 'problem' is not null then
                v_problems := v_problems || jsonb_build_object(v_part, v_result -> 'problem');
            end if;
        exception when others then
            v_problems := v_problems || jsonb_build_object(v_part, sqlstate || ': ' || sqlerrm);
        end;
    end loop;
    return json_build_object('v', v_settings.version, 'body', json_build_object(
        'is_busy', false,
        'deleted', v_deleted,
        'is_done', not exists (
            select from jsonb_each_text(v_deleted) d
            where d.value::integer >= case when clock_timestamp() > statement_timestamp() + interval '2 seconds' then 1 else v_batch end),
        'problems', v_problems));
end
$$;

comment on function postern.cleanup(integer, boolean) is
'Deletes what has expired (contract core.md 12.6), mails and SMS that were settled a week ago, old records of hooks and errors, and limits that no longer limit: at most batch rows of a kind, passing over rows that are in use. Large tables it looks through in stretches, going on where it stopped. Returns how many of each, whether another call makes sense at once, and what could not be deleted and why; is_busy when another call is at it. is_scheduled: without auth.settings.db_cleanup_enabled only the records go, which Supabase Auth does not have: mails and SMS, hooks and errors, limits.
Called by: one gateway at a time, every 30 seconds; an administrator in psql.
Refuses: never.';

create or replace function postern._cleanup_position(part text)
returns text
language plpgsql stable
as $$
begin
    return (select p.after_id from auth.cleanup_positions p where p.part = _cleanup_position.part);
end
$$;

comment on function postern._cleanup_position(text) is
'The last id that the clean-up has looked at in a part of the tables, null at the beginning.
Called by: helpers of postern.cleanup.
Refuses: never.';

create or replace function postern._move_cleanup(part text, after_id text)
returns void
language plpgsql
as $$
begin
    if after_id is null then
        delete from auth.cleanup_positions p where p.part = _move_cleanup.part;
        return;
    end if;
    insert into auth.cleanup_positions as p (part, after_id)
    values (_move_cleanup.part, _move_cleanup.after_id)
    on conflict on constraint cleanup_positions_pkey do update
        set after_id = excluded.after_id;
end
$$;

comment on function postern._move_cleanup(text, text) is
'Notes where the clean-up goes on in a part of the tables; null: at the beginning.
Called by: helpers of postern.cleanup.
Refuses: never.';

create or replace function postern._delete_each(
    table_name text,
    ids uuid[],
    out deleted integer,
    out last_id uuid,
    out problem text)
returns record
language plpgsql
as $$
declare
    v_rows integer;
begin
    deleted := 0;
    foreach last_id in array ids loop
        begin
            execute format('delete from auth.%I d where d.id = $1', table_name) using last_id;
            get diagnostics v_rows = row_count;
            deleted := deleted + v_rows;
        exception when others then
            problem := sqlstate || ': ' || sqlerrm;
        end;
        -- A foreign key without an index, or a slow trigger: better a few of them than all undone by statement_timeout.
        exit when clock_timestamp() > statement_timestamp() + interval '2 seconds';
    end loop;
end
$$;

comment on function postern._delete_each(text, uuid[]) is
'Deletes rows of a table of auth, one by one: what a trigger or foreign key of somebody''s holds, or what is in use, stays, and does not hold up the others; after two seconds the rest waits. Returns how many went, the last one that was tried, and what the last refusal was.
Called by: helpers of postern.cleanup.
Refuses: never.';

create or replace function postern._clean_accounts(settings auth.settings, batch integer)
returns jsonb
language plpgsql
as $$
declare
    v_after uuid := coalesce(postern._cleanup_position('anonymous_users')::uuid, '00000000-0000-0000-0000-000000000000');
    v_until uuid;
    v_ids uuid[];
    v_gone record;
begin
    if not settings.external_anonymous_users_enabled or settings.anonymous_users_retention is null then
        return jsonb_build_object('anonymous_users', 0);
    end if;
    select d.id into v_until from auth.users d where d.id > v_after order by d.id offset 50 * batch - 1 limit 1;
    v_ids := array(
        select d.id from auth.users d
        where d.id > v_after and d.id <= coalesce(v_until, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
            and d.is_anonymous and d.created_at < now() - settings.anonymous_users_retention
            and not exists (
                select from auth.sessions s
                where s.user_id = d.id and greatest(s.created_at, s.refreshed_at at time zone 'UTC')
                    >= now() - settings.anonymous_users_retention)
        order by d.id
        limit batch for update skip locked);
    v_gone := postern._delete_each('users', v_ids);
    perform postern._move_cleanup('anonymous_users', case
        when cardinality(v_ids) >= batch or v_gone.last_id < v_ids[cardinality(v_ids)] then v_gone.last_id else v_until end::text);
    return jsonb_build_object('anonymous_users', v_gone.deleted, 'problem', v_gone.problem);
end
$$;

comment on function postern._clean_accounts(auth.settings, integer) is
'Deletes anonymous users that have neither signed in nor refreshed for as long as auth.settings keeps them, where there are anonymous users at all. Looks at 50 times batch users at most, and goes on from there the next time, whether or not all of them could go.
Called by: postern.cleanup.
Refuses: never.';

create or replace function postern._clean_tokens(batch integer)
returns integer
language plpgsql
as $$
declare
    v_after bigint := coalesce(postern._cleanup_position('refresh_tokens')::bigint, 0);
    v_until bigint;
    v_last bigint;
    v_tokens integer;
begin
    -- An index would cost every refresh its update in place.
    select d.id into v_until from auth.refresh_tokens d where d.id > v_after order by d.id offset 50 * batch - 1 limit 1;
    with gone as (
        delete from auth.refresh_tokens r
        where r.id in (
            select d.id from auth.refresh_tokens d
            where d.id > v_after and d.id <= coalesce(v_until, 9223372036854775807)
                and d.revoked and d.updated_at < now() - interval '24 hours'
            order by d.id
            limit batch for update skip locked)
        returning r.id)
    select count(*)::integer, max(g.id) into v_tokens, v_last from gone g;
    perform postern._move_cleanup('refresh_tokens', case when v_tokens >= batch then v_last else v_until end::text);
    return v_tokens;
end
$$;

comment on function postern._clean_tokens(integer) is
'Deletes refresh tokens that were revoked more than a day ago, and returns how many. Looks at 50 times batch tokens at most, and goes on from there the next time.
Called by: postern._clean_sessions.
Refuses: errors of users'' triggers and foreign keys reach the caller.';

create or replace function postern._clean_timed_out(
    settings auth.settings,
    batch integer,
    out deleted integer,
    out problem text)
returns record
language plpgsql
as $$
declare
    v_after uuid := coalesce(postern._cleanup_position('sessions')::uuid, '00000000-0000-0000-0000-000000000000');
    v_until uuid;
    v_ids uuid[];
    v_gone record;
begin
    deleted := 0;
    if settings.sessions_timebox is null and settings.sessions_inactivity_timeout is null then
        return;
    end if;
    select d.id into v_until from auth.sessions d where d.id > v_after order by d.id offset 50 * batch - 1 limit 1;
    v_ids := array(
        select d.id from auth.sessions d
        where d.id > v_after and d.id <= coalesce(v_until, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
            and (d.created_at < now() - settings.sessions_timebox - interval '24 hours'
                or d.refreshed_at < (now() - settings.sessions_inactivity_timeout - interval '24 hours') at time zone 'UTC'
                or d.refreshed_at is null and exists (
                    select from auth.refresh_tokens t
                    where t.session_id = d.id and not t.revoked
                        and t.updated_at < now() - settings.sessions_inactivity_timeout - interval '24 hours'))
        order by d.id
        limit batch for update skip locked);
    v_gone := postern._delete_each('sessions', v_ids);
    perform postern._move_cleanup('sessions', case
        when cardinality(v_ids) >= batch or v_gone.last_id < v_ids[cardinality(v_ids)] then v_gone.last_id else v_until end::text);
    deleted := v_gone.deleted;
    problem := v_gone.problem;
end
$$;

comment on function postern._clean_timed_out(auth.settings, integer) is
'Deletes sessions whose timebox or time without a refresh ended more than a day ago; returns as postern._delete_each. Looks at 50 times batch sessions at most, and goes on from there the next time, whether or not all of them could go.
Called by: postern._clean_sessions.
Refuses: never.';

create or replace function postern._clean_sessions(settings auth.settings, batch integer)
returns jsonb
language plpgsql
as $$
declare
    v_tokens integer := postern._clean_tokens(batch);
    v_revoked integer;
    v_ended record;
    v_timed_out record;
begin
    update auth.refresh_tokens r
    set revoked = true, updated_at = now()
    where r.id in (
        select d.id
        from auth.sessions s
        join auth.refresh_tokens d on d.session_id = s.id and not d.revoked
        where s.not_after < now() - interval '24 hours'
        limit batch for update of d skip locked);
    get diagnostics v_revoked = row_count;

    v_ended := postern._delete_each('sessions', array(
        select d.id from auth.sessions d
        where d.not_after < now() - interval '72 hours'
        limit batch for update skip locked));
    v_timed_out := postern._clean_timed_out(settings, batch);
    return jsonb_build_object(
        'refresh_tokens', v_tokens, 'refresh_tokens_revoked', v_revoked, 'sessions', v_ended.deleted,
        'timed_out_sessions', v_timed_out.deleted, 'problem', coalesce(v_ended.problem, v_timed_out.problem));
end
$$;

comment on function postern._clean_sessions(auth.settings, integer) is
'Deletes spent refresh tokens after a day, revokes those of sessions that ended a day ago, and deletes sessions that ended three days ago, or whose timebox or time without a refresh ended a day ago.
Called by: postern.cleanup.
Refuses: errors of users'' triggers and foreign keys reach the caller.';

create or replace function postern._clean_codes(settings auth.settings, batch integer)
returns jsonb
language plpgsql
as $$
declare
    v_codes integer;
    v_flows integer;
    v_relays integer;
    v_states integer;
begin
    delete from auth.one_time_tokens o
    where o.id in (
        select d.id from auth.one_time_tokens d
        where d.created_at < (now() at time zone 'UTC')
            - make_interval(secs => greatest(settings.mailer_otp_exp, settings.sms_otp_exp))
        limit batch for update skip locked);
    get diagnostics v_codes = row_count;

    delete from auth.saml_relay_states r
    where r.id in (
        select d.id from auth.saml_relay_states d
        where d.created_at < now() - interval '24 hours'
        limit batch for update skip locked);
    get diagnostics v_relays = row_count;

    -- A flow is needed as long as the link that it began with.
    delete from auth.flow_state f
    where f.id in (
        select d.id from auth.flow_state d
        where d.created_at < now() - greatest(
            interval '24 hours',
            make_interval(secs => settings.mailer_otp_exp) + settings.external_flow_state_expiry_duration)
        limit batch for update skip locked);
    get diagnostics v_flows = row_count;

    delete from auth.oauth_client_states c
    where c.id in (
        select d.id from auth.oauth_client_states d
        where d.created_at < now() - interval '24 hours'
        limit batch for update skip locked);
    get diagnostics v_states = row_count;
    return jsonb_build_object(
        'one_time_tokens', v_codes, 'flow_state', v_flows, 'saml_relay_states', v_relays,
        'oauth_client_states', v_states);
end
$$;

comment on function postern._clean_codes(auth.settings, integer) is
'Deletes codes and links that have expired, and sign-ins that nobody finished within a day or the life of their link.
Called by: postern.cleanup.
Refuses: errors of users'' triggers and foreign keys reach the caller.';

create or replace function postern._clean_factors(batch integer)
returns jsonb
language plpgsql
as $$
declare
    v_challenges integer;
    v_factors integer;
    v_webauthn integer;
begin
    delete from auth.mfa_challenges c
    where c.id in (
        select d.id from auth.mfa_challenges d
        where d.created_at < now() - interval '24 hours'
        limit batch for update skip locked);
    get diagnostics v_challenges = row_count;

    delete from auth.mfa_factors f
    where f.id in (
        select d.id from auth.mfa_factors d
        where d.status = 'unverified' and d.created_at < now() - interval '24 hours'
        limit batch for update skip locked);
    get diagnostics v_factors = row_count;

    delete from auth.webauthn_challenges c
    where c.id in (
        select d.id from auth.webauthn_challenges d
        where d.expires_at < now()
        limit batch for update skip locked);
    get diagnostics v_webauthn = row_count;
    return jsonb_build_object(
        'mfa_challenges', v_challenges, 'mfa_factors', v_factors, 'webauthn_challenges', v_webauthn);
end
$$;

comment on function postern._clean_factors(integer) is
'Deletes second factors that were never confirmed, and challenges that nobody will answer any more.
Called by: postern.cleanup.
Refuses: errors of users'' triggers and foreign keys reach the caller.';

create or replace function postern._clean_records(settings auth.settings, batch integer)
returns jsonb
language plpgsql
as $$
declare
    v_outbox integer;
    v_runs integer;
    v_limits integer;
begin
    delete from auth.outbox o
    where o.id in (
        select d.id from auth.outbox d
        where d.state <> 'queued' and d.created_at < now() - interval '7 days'
            and coalesce(d.sent_at, d.created_at) < now() - interval '7 days'
        limit batch for update skip locked);
    get diagnostics v_outbox = row_count;

    delete from auth.hook_runs h
    where h.id in (
        select d.id from auth.hook_runs d
        where d.created_at < now() - settings.hook_runs_retention
        limit batch for update skip locked);
    get diagnostics v_runs = row_count;

    delete from auth.rate_limits l
    where (l.limiter, l.key) in (
        select d.limiter, d.key from auth.rate_limits d
        -- What all clients share stays, or who comes first makes its row while others hold the account's (DESIGN 11).
        where d.full_at < clock_timestamp() and d.key <> ''
        limit batch for update skip locked);
    get diagnostics v_limits = row_count;
    return jsonb_build_object('outbox', v_outbox, 'hook_runs', v_runs, 'rate_limits', v_limits);
end
$$;

comment on function postern._clean_records(auth.settings, integer) is
'Deletes mails and SMS that were sent or given up a week ago, records of hooks and errors after auth.settings.hook_runs_retention, and buckets of clients and accounts that are full again, which is what no row means too.
Called by: postern.cleanup.
Refuses: errors of users'' triggers reach the caller.';
