create or replace function postern._reserve_mail(settings auth.settings)
returns boolean
language plpgsql
as $$
begin
    return not settings.mailer_autoconfirm and postern._take_quota('emails', settings.rate_limit_email_sent) is null;
end
$$;

comment on function postern._reserve_mail(auth.settings) is
'Takes a place in the quota of mails before the account''s row is locked or made (DESIGN 11), for functions that know by then that they will mail; false when there is none, which is refused when its turn comes.
Called by: functions that mail.
Refuses: never.';

create or replace function postern._check_mail(settings auth.settings, address text, is_reserved boolean default false)
returns void
language plpgsql
as $$
declare
    v_retry integer;
begin
    perform postern._check_authorized(settings, address);
    -- Where addresses need no confirmation, mails are not counted; a quota of nothing holds all the same.
    if not is_reserved
        and (not settings.mailer_autoconfirm or postern._quota_burst(settings.rate_limit_email_sent) = 0)
    then
        v_retry := postern._take_quota('emails', settings.rate_limit_email_sent);
        if v_retry is not null then
            perform postern._refuse(429, 'over_email_send_rate_limit', 'email rate limit exceeded', retry_after => v_retry);
        end if;
    end if;
end
$$;

comment on function postern._check_mail(auth.settings, text, boolean) is
'Whether a mail may be sent to an address now; takes its place in the quota of mails, unless one is reserved (contract core.md 9.6, 11.2).
Called by: every function that mails, once for the mails of one change.
Refuses: email_address_not_authorized (400); over_email_send_rate_limit (429).';

create or replace function postern._check_authorized(settings auth.settings, address text)
returns void
language plpgsql
as $$
begin
    if settings.external_email_authorized_addresses <> '{}'
        and regexp_replace(lower(address), '\+[^@]*@', '@') <> all (
            select lower(a.address) from unnest(settings.external_email_authorized_addresses) a (address))
    then
        perform postern._refuse(400, 'email_address_not_authorized',
            format('Email address "%s" cannot be used as it is not authorized', address));
    end if;
end
$$;

comment on function postern._check_authorized(auth.settings, text) is
'Whether mail may go to an address at all: where there is a list, only to those on it, labels (+label) aside (contract core.md 9.6).
Called by: postern._check_mail, postern._mail_email_change.
Refuses: email_address_not_authorized (400).';

create or replace function postern._take_quota(limiter text, quota text)
returns integer
language plpgsql
as $$
declare
    v_burst integer := postern._quota_burst(quota);
    v_step interval := postern._quota_step(quota);
begin
    if v_burst <= 0 then
        return extract(epoch from greatest(v_step, interval '1 minute'))::integer;
    end if;
    return postern._take_place(limiter, '', v_burst, v_step);
end
$$;

comment on function postern._take_quota(text, text) is
'Takes a place in a quota that all clients share: N an hour, or N refilled by one every duration (N/duration). Null when there was one, else the seconds to wait.
Called by: functions that mail or text.
Refuses: never.';

create or replace function postern._send_mail(
    settings auth.settings,
    kind text,
    link_type text,
    recipient text,
    owner_id uuid,
    envelope postern.envelope,
    expires_in integer,
    request_id text,
    more jsonb default '{}')
returns json
language plpgsql
as $$
declare
    -- A hook's answer is the client's to see. What only informs has no code, and waits for a worker.
    v_hook text := postern._sending_hook(settings, 'email');
    v_is_leased boolean := v_hook is not null and (envelope).code_hmac is not null;
    v_row auth.outbox;
begin
    if (envelope).outbox_id is null then
        return null;
    end if;
    -- Leased to the gateway that asked: it makes the first attempt before it answers. If it dies, another one sends.
    insert into auth.outbox as o (
        id, channel, kind, recipient, user_id, payload, sealed, attempts, leased_by, next_attempt_at, expires_at, request_id)
    select
        (envelope).outbox_id, 'email', _send_mail.kind, _send_mail.recipient, u.id,
        jsonb_build_object(
            'link_type', link_type,
            'email', coalesce(u.email, ''),
            'redirect_to', (envelope).redirect_to,
            'languages', concat_ws(',', left(u.raw_user_meta_data ->> 'locale', 40), (envelope).languages),
            'link_host', (envelope).link_host,
            'data', case when jsonb_typeof(u.raw_user_meta_data) = 'object' then u.raw_user_meta_data else '{}' end)
            || case when v_is_leased then jsonb_build_object('before', postern._pending_codes(u.id)) else '{}' end || more,
        (envelope).sealed, case when v_is_leased then 1 else 0 end,
        case when v_is_leased then (envelope).outbox_id::text end,
        case when v_is_leased then now() + interval '60 seconds' else now() end,
        now() + make_interval(secs => expires_in), _send_mail.request_id
    from auth.users u
    where u.id = owner_id
    returning o.* into v_row;
    return case when v_is_leased then postern._delivery(v_row, v_hook) end;
end
$$;

comment on function postern._send_mail(auth.settings, text, text, text, uuid, postern.envelope, integer, text, jsonb) is
'Queues a mail in the transaction that it announces (DESIGN 9), before its code is stored: a hook is told of the account as it was, and what was pending can be restored. more holds what only some templates show. Returns what the gateway needs for the first attempt, null when a worker sends the mail.
Called by: every function that mails.
Refuses: never.';

create or replace function postern._notify(
    kind text,
    recipient text,
    owner_id uuid,
    request_id text,
    languages text,
    more jsonb default '{}')
returns void
language plpgsql
as $$
declare
    v_settings auth.settings not null := (select g from auth.settings g);
    v_code text;
    v_is_taken boolean;
begin
    if coalesce(recipient, '') = '' or not (case kind
            when 'password_changed_notification' then v_settings.mailer_notifications_password_changed_enabled
            when 'email_changed_notification' then v_settings.mailer_notifications_email_changed_enabled
            when 'phone_changed_notification' then v_settings.mailer_notifications_phone_changed_enabled
            when 'identity_linked_notification' then v_settings.mailer_notifications_identity_linked_enabled
            when 'mfa_factor_enrolled_notification' then v_settings.mailer_notifications_mfa_factor_enrolled_enabled
            when 'mfa_factor_unenrolled_notification' then v_settings.mailer_notifications_mfa_factor_unenrolled_enabled
        end)
    then
        return;
    end if;

    -- The change stands whether or not its mail can be queued; a quota that is used up is the likely reason.
    begin
        -- The account's row is locked by now, and keys come before rows (DESIGN 11): a quota that somebody is taking from at this
        -- moment is not waited for, and the mail goes out uncounted.
        perform from auth.rate_limits l where l.limiter = 'emails' and l.key = '' for update skip locked;
        v_is_taken := not found and exists (select from auth.rate_limits l where l.limiter = 'emails' and l.key = '');
        perform postern._check_mail(v_settings, recipient, v_is_taken);
        perform postern._send_mail(v_settings, kind, '', recipient, owner_id,
            postern.envelope(outbox_id => gen_random_uuid(), languages => languages),
            604800, request_id, more);
    exception when others then
        get stacked diagnostics v_code = pg_exception_detail;
        raise log '% of user % was not queued: %', kind, owner_id, case when sqlstate like 'PA%' then v_code else sqlerrm end;
    end;
end
$$;

comment on function postern._notify(text, text, uuid, text, text, jsonb) is
'Queues a mail that tells of a change of an account, where auth.settings wants it and the account has an address (contract core.md 9.1); languages are those of who made the change. It counts against the quota of mails, if that is free at the moment, and is given up after a week.
Called by: functions that change password, address, number or second factors.
Refuses: never; what keeps the mail from being queued is in the server''s log.';

create or replace function postern.claim_outbox(worker text, row_limit integer default 20, lease_seconds integer default 60)
returns json
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_settings auth.settings not null := (select g from auth.settings g);
    v_mail_hook text;
    v_text_hook text;
    v_rows json;
begin
    v_mail_hook := postern._sending_hook(v_settings, 'email');
    v_text_hook := postern._sending_hook(v_settings, 'sms');
    -- What nobody needs any more is not sent late.
    update auth.outbox o
    set state = 'expired', sealed = null, payload = o.payload - 'before'
    where o.id in (
        select e.id from auth.outbox e
        where e.state = 'queued' and e.next_attempt_at <= now() and e.expires_at <= now()
        order by e.next_attempt_at limit 1000
        for update skip locked);

    with claimed as (
        update auth.outbox o
        set attempts = o.attempts + 1, leased_by = worker,
            next_attempt_at = now() + make_interval(secs => lease_seconds)
        where o.id in (
            select d.id
            from auth.outbox d
            where d.state = 'queued' and d.next_attempt_at <= now()
            order by d.next_attempt_at
            limit row_limit
            for update skip locked)
        returning o)
    select coalesce(json_agg(postern._delivery(c.o, case (c.o).channel when 'email' then v_mail_hook else v_text_hook end)), '[]')
    into v_rows
    from claimed c;
    return json_build_object('v', v_settings.version, 'body', v_rows);
end
$$;

comment on function postern.claim_outbox(text, integer, integer) is
'Claims queued mail and SMS for a worker, for lease_seconds: whoever does not report by then is taken to be gone, and the row is free again. Expires what is too late.
Called by: the gateway''s workers.
Refuses: never.';

create or replace function postern.record_delivery(
    outbox_id uuid,
    worker text,
    outcome text,
    reply text default null)
returns json
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update auth.outbox o
    set state = case
            when outcome = 'sent' then 'sent'
            when outcome = 'refused' or outcome = 'retry' and o.attempts >= 12 then 'dead'
            else 'queued' end,
        sent_at = case when outcome = 'sent' then now() end,
        attempts = case when outcome in ('resting', 'released') then o.attempts - 1 else o.attempts end,
        sealed = case when outcome in ('resting', 'released') or outcome = 'retry' and o.attempts < 12 then o.sealed end,
        payload = o.payload - 'before',
        leased_by = null,
        last_reply = case when outcome = 'released' then o.last_reply else left(reply, 1000) end,
        -- 5 s, 10 s, 20 s … at most an hour, each with up to a fifth more, so that a relay that comes back is not rushed.
        next_attempt_at = now() + case when outcome = 'released' then interval '0' else
            least(interval '5 seconds' * power(2, least(10, greatest(0, o.attempts - 1))), interval '1 hour') * (1 + random() / 5) end
    -- Not by "=": the index on what is queued would do as well as the key, to a planner without statistics.
    where o.id = outbox_id and o.state is not distinct from 'queued' and o.leased_by = worker;
    return json_build_object('v', (select g.version from auth.settings g), 'body', json_build_object('recorded', found));
end
$$;

comment on function postern.record_delivery(uuid, text, text, text) is
'Notes what became of a claimed mail or SMS: sent, retry (later, with growing distance; given up after 12 attempts), resting (later, no attempt was made), released (at once: it was not begun) or refused (for good); reply is what the relay said. Secrets go with the last state.
Called by: the gateway, with its first attempt and as a worker; postern.send_by_hook.
Refuses: never; a row that another worker has claimed meanwhile is left alone.';

create or replace function postern.list_outbox(state text default null, row_limit integer default 100)
returns json
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return coalesce((
        select json_agg(l)
        from (
            select
                o.id, o.channel, o.kind, o.recipient, o.user_id, o.state, o.attempts, postern._utc(o.created_at) as created_at,
                postern._utc(o.sent_at) as sent_at,
                case when o.state = 'queued' then postern._utc(o.next_attempt_at) end as next_attempt_at,
                o.state = 'queued' and o.leased_by is not null and o.next_attempt_at > now() as is_claimed,
                postern._utc(o.expires_at) as expires_at, o.last_reply, o.request_id
            from auth.outbox o
            where o.state = list_outbox.state or list_outbox.state is null
            order by o.created_at desc, o.id
            limit row_limit) l), '[]');
end
$$;

comment on function postern.list_outbox(text, integer) is
'Mail and SMS in the outbox, newest first, without what they say; state: queued, sent, dead or expired, null for all.
Called by: the owner, and postern outbox list.
Refuses: never.';

create or replace function postern.retry_outbox(outbox_id uuid default null)
returns json
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_retried bigint;
    v_lost bigint;
    v_reason text;
begin
    -- Codes and links of given up mail are gone; what only informs can still be sent. A claimed row is being worked on.
    update auth.outbox o
    set state = 'queued', next_attempt_at = now(), leased_by = null,
        attempts = case o.state when 'dead' then 0 else o.attempts end,
        expires_at = case o.state when 'dead' then greatest(o.expires_at, now() + interval '1 day') else o.expires_at end
    where (o.id = retry_outbox.outbox_id or retry_outbox.outbox_id is null)
        and (o.state = 'dead' and o.kind like '%\_notification'
            or o.state = 'queued' and (o.leased_by is null or o.next_attempt_at <= now()));
    get diagnostics v_retried = row_count;
    select count(*) into v_lost
    from auth.outbox o
    where (o.id = retry_outbox.outbox_id or retry_outbox.outbox_id is null)
        and o.state = 'dead' and o.kind not like '%\_notification';
    if v_retried = 0 and retry_outbox.outbox_id is not null then
        v_reason := coalesce((
            select case
                when o.state = 'dead' then format('it was given up, and its code and link were removed then (%s): whoever waits for it has to ask for a new one',
                    coalesce(o.last_reply, 'no reply'))
                when o.state = 'expired' then 'it expired before it could be sent: whoever waits for it has to ask for a new one'
                when o.state = 'sent' then 'it was sent'
                else 'a gateway is sending it at this moment' end
            from auth.outbox o
            where o.id = retry_outbox.outbox_id), 'there is none of that id');
    end if;
    return json_build_object('retried', v_retried, 'lost', v_lost, 'reason', v_reason);
end
$$;

comment on function postern.retry_outbox(uuid) is
'Has a mail or SMS, by default all of them, sent now: what waits for its next attempt, and given up notifications. Given up mail with a code or link cannot come back, its secret is gone: the answer counts it as lost; its reader has to ask again. reason says why one that was asked for by id is not sent.
Called by: the owner, and postern outbox retry.
Refuses: never; what is sent, expired or being sent at this moment is left alone.';

create or replace function postern.drop_outbox(outbox_id uuid)
returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from auth.outbox o where o.id = drop_outbox.outbox_id;
    return found;
end
$$;

comment on function postern.drop_outbox(uuid) is
'Removes a mail or SMS from the outbox, whatever its state. False when there is none. One that a gateway has claimed may go out all the same.
Called by: the owner, and postern outbox drop.
Refuses: never.';
