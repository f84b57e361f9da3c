create or replace function postern.envelope(
    outbox_id uuid default null,
    code_hmac bytea default null,
    link_digest text default null,
    sealed bytea default null,
    redirect_to text default null,
    languages text default null,
    link_host text default null)
returns postern.envelope
language sql immutable
as $$
    select row(outbox_id, code_hmac, link_digest, sealed, redirect_to, languages, link_host)::postern.envelope
$$;

comment on function postern.envelope(uuid, bytea, text, bytea, text, text, text) is
'What the gateway minted for one mail or SMS: the id of its row in auth.outbox, the keyed hash of its code, the hex SHA-256 of its link token, both sealed; where the link leads, the reader''s languages, and the host that the link names.
Called by: the gateway, to make the argument of functions that send.
Refuses: never.';

create or replace function postern._code_digest(address text, code_hmac bytea)
returns text
language sql immutable
as $$
    select encode(sha256(convert_to(address, 'UTF8') || code_hmac), 'hex')
$$;

comment on function postern._code_digest(text, bytea) is
'What is stored of a code: SHA-256 of the address it was sent to and the code''s HMAC, whose key the database does not have (DESIGN 8).
Called by: functions that store or compare codes.
Refuses: never.';

create or replace function postern._set_one_time_token(
    owner_id uuid,
    purpose auth.one_time_token_type,
    address text,
    envelope postern.envelope,
    is_invitation boolean default false)
returns void
language plpgsql
as $$
declare
    v_digest text := postern._code_digest(address, (envelope).code_hmac);
begin
    if (envelope).code_hmac is null then
        return;
    end if;
    update auth.users u
    set confirmation_token = case purpose when 'confirmation_token' then v_digest else u.confirmation_token end,
        confirmation_sent_at = case purpose when 'confirmation_token' then now() else u.confirmation_sent_at end,
        invited_at = case when is_invitation then now() else u.invited_at end,
        recovery_token = case purpose when 'recovery_token' then v_digest else u.recovery_token end,
        recovery_sent_at = case purpose when 'recovery_token' then now() else u.recovery_sent_at end,
        email_change_token_new = case purpose when 'email_change_token_new' then v_digest else u.email_change_token_new end,
        email_change_token_current = case purpose
            when 'email_change_token_current' then v_digest else u.email_change_token_current end,
        email_change_sent_at = case
            when purpose in ('email_change_token_new', 'email_change_token_current') then now() else u.email_change_sent_at end,
        phone_change_token = case purpose when 'phone_change_token' then v_digest else u.phone_change_token end,
        phone_change_sent_at = case purpose when 'phone_change_token' then now() else u.phone_change_sent_at end,
        reauthentication_token = case purpose when 'reauthentication_token' then v_digest else u.reauthentication_token end,
        reauthentication_sent_at = case purpose
            when 'reauthentication_token' then now() else u.reauthentication_sent_at end,
        updated_at = now()
    where u.id = owner_id;
    if not found then
        perform postern._start_over(owner_id);
    end if;

    delete from auth.one_time_tokens o where o.user_id = owner_id and o.token_type = purpose;
    insert into auth.one_time_tokens (id, user_id, token_type, token_hash, relates_to, created_at, updated_at)
    values (
        gen_random_uuid(), owner_id, purpose, (envelope).link_digest, address,
        now() at time zone 'UTC', now() at time zone 'UTC');
end
$$;

comment on function postern._set_one_time_token(uuid, auth.one_time_token_type, text, postern.envelope, boolean) is
'Stores a new code and link of a user in place of an older one for the same purpose (contract core.md 7.2): the code''s digest in the users column, the link''s in one_time_tokens. Without an envelope nothing is stored: the gateway of the previous release knows none, and mails nothing.
Called by: every function that mails or texts a code.
Refuses: never.';

create or replace function postern._check_frequency(sent_at timestamptz, frequency interval, code text)
returns void
language plpgsql
as $$
declare
    v_wait interval := sent_at + frequency - now();
begin
    if v_wait > interval '0' then
        perform postern._refuse(
            429, code,
            format('For security purposes, you can only request this after %s seconds.', floor(extract(epoch from v_wait))),
            retry_after => least(greatest(1, ceil(extract(epoch from v_wait))), 2147483647)::integer);
    end if;
end
$$;

comment on function postern._check_frequency(timestamptz, interval, text) is
'Whether the next mail or SMS of its kind may go to a user already (contract core.md 7.3). code is the error_code.
Called by: every function that mails or texts a code.
Refuses: over_email_send_rate_limit, over_sms_send_rate_limit (429).';

create or replace function postern._start_flow(
    owner_id uuid,
    challenge text,
    challenge_method text,
    provider_type text,
    authentication_method text)
returns void
language plpgsql
as $$
begin
    if coalesce(challenge, '') = '' then
        return;
    end if;
    insert into auth.flow_state (
        id, user_id, auth_code, code_challenge, code_challenge_method, provider_type, authentication_method,
        created_at, updated_at)
    values (
        gen_random_uuid(), owner_id, gen_random_uuid()::text, challenge, lower(challenge_method)::auth.code_challenge_method,
        provider_type, authentication_method, now(), now());
end
$$;

comment on function postern._start_flow(uuid, text, text, text, text) is
'Notes the code challenge that a mail flow will end with, when the request carries one (contract core.md 3.6).
Called by: functions that mail a link.
Refuses: never; the challenge has been checked.';

create or replace function postern._sync_providers(owner_id uuid)
returns void
language plpgsql
as $$
begin
    update auth.users u
    set raw_app_meta_data = case when jsonb_typeof(u.raw_app_meta_data) = 'object' then u.raw_app_meta_data else '{}' end
        || jsonb_build_object('provider', p.names -> 0, 'providers', p.names)
    from (
        select jsonb_agg(distinct_names.provider order by distinct_names.first_at, distinct_names.provider) as names
        from (
            select i.provider, min(i.created_at) as first_at
            from auth.identities i
            where i.user_id = owner_id
            group by i.provider) distinct_names) p
    where u.id = owner_id and p.names is not null
        and (u.raw_app_meta_data -> 'providers' is distinct from p.names
            or u.raw_app_meta_data -> 'provider' is distinct from p.names -> 0);
end
$$;

comment on function postern._sync_providers(uuid) is
'Brings provider and providers in app_metadata up to date with the identities, oldest first.
Called by: postern.verify_one_time_token, after whatever was verified (contract core.md 7.8); functions that add an identity to an account.
Refuses: never.';
