create or replace function postern._sending_hook(settings auth.settings, channel text)
returns text
language plpgsql immutable
as $$
begin
    return case channel
        when 'email' then case when settings.hook_send_email_enabled then settings.hook_send_email_uri end
        else case when settings.hook_send_sms_enabled then settings.hook_send_sms_uri end end;
end
$$;

comment on function postern._sending_hook(auth.settings, text) is
'The hook that sends mail (channel email) or SMS (channel sms) in place of relay and provider; null when none is enabled, empty when one is that has no address.
Called by: functions that queue, claim and hand over.
Refuses: never.';

create or replace function postern._delivery(queued auth.outbox, hook text)
returns json
language plpgsql stable
as $$
begin
    return json_build_object(
        'id', queued.id, 'channel', queued.channel, 'kind', queued.kind, 'recipient', queued.recipient,
        'payload', queued.payload - 'before', 'sealed', encode(queued.sealed, 'base64'), 'request_id', queued.request_id,
        'hook', hook, 'user', case when hook is not null then postern._user_json(queued.user_id) end);
end
$$;

comment on function postern._delivery(auth.outbox, text) is
'What a gateway needs to deliver a queued mail or SMS; hook is what postern._sending_hook says, and the account is there only for a hook.
Called by: postern._send_mail, postern._text_code and postern._text_factor_code for the gateway that asked, postern.claim_outbox for workers.
Refuses: never.';

create or replace function postern._pending_codes(owner_id uuid)
returns jsonb
language plpgsql stable
as $$
begin
    return (
        select jsonb_build_object(
            'user', to_jsonb(c),
            'tokens', (select coalesce(jsonb_agg(to_jsonb(o)), '[]') from auth.one_time_tokens o where o.user_id = owner_id))
        from (
            select
                u.confirmation_token, u.confirmation_sent_at, u.invited_at, u.recovery_token, u.recovery_sent_at,
                u.email_change, u.email_change_token_new, u.email_change_token_current, u.email_change_sent_at,
                u.email_change_confirm_status, u.phone_change, u.phone_change_token, u.phone_change_sent_at,
                u.reauthentication_token, u.reauthentication_sent_at, u.updated_at
            from auth.users u
            where u.id = owner_id) c);
end
$$;

comment on function postern._pending_codes(uuid) is
'The pending codes of an account, as digests, and when they were sent: what postern.take_back restores.
Called by: functions that queue what the gateway tries to deliver before it answers, before they store the new code.
Refuses: never.';

create or replace function postern.send_by_hook(
    outbox_id uuid,
    worker text,
    input json,
    caller postern.caller default null)
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_settings auth.settings not null := (select g from auth.settings g);
    v_row auth.outbox;
    v_hook text;
begin
    begin
        -- The row lock settles this and another gateway's claim after the lease: it is sent once.
        select o.* into v_row
        from auth.outbox o
        where o.id = send_by_hook.outbox_id and o.state is not distinct from 'queued' and o.leased_by = send_by_hook.worker
        for no key update;
        v_hook := postern._sending_hook(v_settings, v_row.channel);
        if v_row.id is null or v_hook is null then
            perform postern._refuse(409, 'conflict', 'The message is no longer this gateway''s to hand over');
        end if;

        perform postern._call_sql_hook(
            case v_row.channel when 'email' then 'send_email' else 'send_sms' end, v_hook, input, send_by_hook.caller, v_row.user_id);
        perform postern.record_delivery(send_by_hook.outbox_id, send_by_hook.worker, 'sent');
        return json_build_object('v', v_settings.version);
    {{ template "handler" "Error invoking hook" }}
    end;
end
$$;

comment on function postern.send_by_hook(uuid, text, json, postern.caller) is
'Hands a claimed mail or SMS to the send_email or send_sms hook, a database function, and notes it as sent: both or neither. input is what the hook gets, with the code, which is nowhere stored (DESIGN 8; contract mfa-hooks.md 3.6, 3.8).
Called by: the gateway, with its first attempt and as a worker.
Refuses: what the hook refuses; conflict (409) - somebody else has claimed it, or it is gone, or the hook was switched off.';

create or replace function postern.take_back(outbox_ids uuid[])
returns json
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_row auth.outbox;
begin
    for v_row in
        delete from auth.outbox o
        where o.id = any (outbox_ids) and o.leased_by = o.id::text and o.state is not distinct from 'queued'
        returning o.*
    loop
        if v_row.kind = 'mfa' then
            perform postern._restore_factor(v_row);
        else
            perform postern._restore_codes(v_row);
        end if;
    end loop;
    return json_build_object('v', (select g.version from auth.settings g));
end
$$;

comment on function postern.take_back(uuid[]) is
'Undoes what a request wrote whose mail or SMS was refused: code, link, PKCE flow, the challenge of a factor, the time they were sent, and the account if the request made it. What was pending before is pending again (DESIGN 9).
Called by: the gateway, when provider or hook refuse its first attempt.
Refuses: never; what somebody else has claimed meanwhile is left alone.';

create or replace function postern._restore_codes(queued auth.outbox)
returns void
language plpgsql
as $$
declare
    v_purposes auth.one_time_token_type[];
begin
    -- The user's row first, as everywhere; wholly, because it may be deleted.
    perform from auth.users u where u.id = queued.user_id for update;
    -- Not by "=": without statistics, the index on times would do as well as that on users.
    delete from auth.flow_state f where f.user_id = queued.user_id and f.created_at is not distinct from queued.created_at;
    begin
        delete from auth.users u
        where u.id = queued.user_id and u.created_at = queued.created_at and u.confirmed_at is null
            and not exists (select from auth.sessions s where s.user_id = u.id);
        if found then
            return;
        end if;
    exception when others then
        -- Something of the operator's refers to it, or a trigger wants it to stay: it does, without a code.
        raise log 'the new account % was not taken back: %', queued.user_id, sqlerrm;
    end;

    -- What was used or replaced since is not ours any more. Rows of one transaction have its time.
    with taken as (
        delete from auth.one_time_tokens o
        where o.user_id = queued.user_id and o.created_at = queued.created_at at time zone 'UTC'
        returning o.token_type)
    select coalesce(array_agg(t.token_type), '{}') into v_purposes from taken t;

    update auth.users u
    set confirmation_token = case when 'confirmation_token' = any (v_purposes) then b.confirmation_token else u.confirmation_token end,
        confirmation_sent_at = case when 'confirmation_token' = any (v_purposes) then b.confirmation_sent_at else u.confirmation_sent_at end,
        invited_at = case when 'confirmation_token' = any (v_purposes) then b.invited_at else u.invited_at end,
        recovery_token = case when 'recovery_token' = any (v_purposes) then b.recovery_token else u.recovery_token end,
        recovery_sent_at = case when 'recovery_token' = any (v_purposes) then b.recovery_sent_at else u.recovery_sent_at end,
        email_change = case when 'email_change_token_new' = any (v_purposes) then b.email_change else u.email_change end,
        email_change_token_new = case when 'email_change_token_new' = any (v_purposes)
            then b.email_change_token_new else u.email_change_token_new end,
        email_change_token_current = case when 'email_change_token_new' = any (v_purposes)
            then b.email_change_token_current else u.email_change_token_current end,
        email_change_sent_at = case when 'email_change_token_new' = any (v_purposes)
            then b.email_change_sent_at else u.email_change_sent_at end,
        email_change_confirm_status = case when 'email_change_token_new' = any (v_purposes)
            then b.email_change_confirm_status else u.email_change_confirm_status end,
        phone_change = case when 'phone_change_token' = any (v_purposes) then b.phone_change else u.phone_change end,
        phone_change_token = case when 'phone_change_token' = any (v_purposes) then b.phone_change_token else u.phone_change_token end,
        phone_change_sent_at = case when 'phone_change_token' = any (v_purposes)
            then b.phone_change_sent_at else u.phone_change_sent_at end,
        reauthentication_token = case when 'reauthentication_token' = any (v_purposes)
            then b.reauthentication_token else u.reauthentication_token end,
        reauthentication_sent_at = case when 'reauthentication_token' = any (v_purposes)
            then b.reauthentication_sent_at else u.reauthentication_sent_at end,
        updated_at = case when u.updated_at = queued.created_at then b.updated_at else u.updated_at end
    from jsonb_populate_record(null::auth.users, queued.payload #> '{before,user}') b
    where u.id = queued.user_id and v_purposes <> '{}';

    insert into auth.one_time_tokens
    select t.*
    from jsonb_populate_recordset(null::auth.one_time_tokens, queued.payload #> '{before,tokens}') t
    join auth.users u on u.id = t.user_id
    where t.token_type = any (v_purposes);
end
$$;

comment on function postern._restore_codes(auth.outbox) is
'Undoes what was stored for one mail or SMS, whose row in the outbox is gone already.
Called by: postern.take_back.
Refuses: never.';

create or replace function postern._restore_factor(queued auth.outbox)
returns void
language plpgsql
as $$
begin
    -- The SMS and its challenge have one id. The time of a later challenge stays.
    update auth.mfa_factors f
    set last_challenged_at = b.last_challenged_at, updated_at = b.updated_at
    from auth.mfa_challenges c
    cross join jsonb_populate_record(null::auth.mfa_factors, queued.payload -> 'before') b
    where c.id = queued.id and f.id = c.factor_id
        and not exists (
            select from auth.mfa_challenges n where n.factor_id = c.factor_id and n.created_at > c.created_at);
    delete from auth.mfa_challenges c where c.id = queued.id;
end
$$;

comment on function postern._restore_factor(auth.outbox) is
'Undoes the challenge that one SMS was for, whose row in the outbox is gone already.
Called by: postern.take_back.
Refuses: never.';
