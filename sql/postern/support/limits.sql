{{- /* The beginning of a function that a limiter guards: its name is the argument. Before the block, so that what is taken stays
taken when the request is refused. */ -}}
{{- define "limited" -}}
if (caller).limiter_key is not null then
        v_refused := postern._take_limit(v_settings, '{{ . }}', (caller).limiter_key);
        if v_refused is not null then
            return v_refused;
        end if;
    end if;
{{- end -}}

create or replace function postern._refill(rate numeric, seconds integer)
returns interval
language sql immutable
as $$
    -- A rate of zero never refills; the bucket is forgotten after an hour as in the reference.
    select make_interval(
        secs => (case when rate > 0 then least(seconds / rate, 31536000) else 3600 end)::double precision)
$$;

comment on function postern._refill(numeric, integer) is
'The time in which one place of a bucket becomes free at a rate per so many seconds, at most a year.
Called by: postern._limit_step.
Refuses: never.';

create or replace function postern._quota_burst(quota text)
returns integer
language sql immutable
as $$
    select split_part(quota, '/', 1)::numeric::integer
$$;

comment on function postern._quota_burst(text) is
'How many mails or SMS a quota written N or N/duration lets pass at once.
Called by: postern._check_mail, postern._take_quota, postern._limit_burst.
Refuses: never.';

create or replace function postern._quota_step(quota text)
returns interval
language sql stable
as $$
    select case
        when quota like '%/%' then least(split_part(quota, '/', 2)::interval, interval '365 days')
        else interval '1 hour' / greatest(1, split_part(quota, '/', 1)::numeric)::double precision end
$$;

comment on function postern._quota_step(text) is
'The time in which a quota written N (an hour) or N/duration gets one more place, at most a year.
Called by: postern._take_quota, postern._limit_step.
Refuses: never.';

create or replace function postern._limit_burst(settings auth.settings, limiter text)
returns integer
language sql immutable
as $$
    select case limiter
        when 'anonymous_sign_ins' then greatest(1, settings.rate_limit_anonymous_users)::integer
        when 'emails' then postern._quota_burst(settings.rate_limit_email_sent)
        when 'sms' then postern._quota_burst(settings.rate_limit_sms_sent)
        else 30
    end
$$;

comment on function postern._limit_burst(auth.settings, text) is
'How many places a limiter''s bucket has (contract core.md 11.1).
Called by: postern._take_limit, postern.rate_limit_status.
Refuses: never.';

create or replace function postern._limit_step(settings auth.settings, limiter text)
returns interval
language sql stable
as $$
    -- Rates as in contract core.md 11.1; of factors, mfa-hooks.md 0.4.
    select case limiter
        when 'anonymous_sign_ins' then postern._refill(settings.rate_limit_anonymous_users, 3600)
        when 'token' then postern._refill(settings.rate_limit_token_refresh, 300)
        when 'verify' then postern._refill(settings.rate_limit_verify, 300)
        when 'guesses' then interval '10 seconds'
        when 'factor_challenge' then postern._refill(settings.mfa_rate_limit_challenge_and_verify, 60)
        when 'factor_verify' then postern._refill(settings.mfa_rate_limit_challenge_and_verify, 60)
        when 'emails' then postern._quota_step(settings.rate_limit_email_sent)
        when 'sms' then postern._quota_step(settings.rate_limit_sms_sent)
        else postern._refill(settings.rate_limit_otp, 300)
    end
$$;

comment on function postern._limit_step(auth.settings, text) is
'The time in which a limiter''s bucket gets one more place (contract core.md 11.1, 11.2).
Called by: postern._take_limit, postern.rate_limit_status.
Refuses: never.';

create or replace function postern._take_limit(settings auth.settings, limiter text, key text)
returns json
language plpgsql
as $$
declare
    v_retry integer;
begin
    v_retry := postern._take_place(
        limiter, key, postern._limit_burst(settings, limiter), postern._limit_step(settings, limiter));
    if v_retry is null then
        return null;
    end if;
    return postern._error(
        429, 'over_request_rate_limit', 'Request rate limit reached',
        hint => format('limiter %s, key %s', limiter, key), retry_after => v_retry);
end
$$;

comment on function postern._take_limit(auth.settings, text, text) is
'Takes one place in a bucket of auth.rate_limits (GCRA) for a limiter (signups, anonymous_sign_ins, token, user, recover, magic_link, otp, resend, verify, factor_challenge, factor_verify) and a client''s key, or for guesses and an account''s id. Null when there was one, else the refusal with Retry-After.
Called by: public functions before their work, so that what is taken stays taken.
Refuses: over_request_rate_limit (429) - no place left.';

create or replace function postern.take_limit(limiter text, caller postern.caller)
returns json
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_settings auth.settings not null := (select g from auth.settings g);
begin
    return coalesce(
        case when (take_limit.caller).limiter_key is not null
            then postern._take_limit(v_settings, take_limit.limiter, (take_limit.caller).limiter_key) end,
        json_build_object('v', v_settings.version));
end
$$;

comment on function postern.take_limit(text, postern.caller) is
'Takes a place of a limiter in a statement of its own; the function that does the work is then called without the key.
Called by: the gateway before it hashes a password for POST /signup, and before statements that run a SQL hook.
Refuses: over_request_rate_limit (429) - limit reached.';

create or replace function postern._bucket_depth(burst integer, step interval)
returns interval
language sql immutable
as $$
    select make_interval(secs => least((burst - 1) * extract(epoch from step), 3155760000)::double precision)
$$;

comment on function postern._bucket_depth(integer, interval) is
'How far in the future the moment may lie when a bucket is full again, for it to have a place. No setting is too absurd to be added to a date: a bucket is a century deep at most.
Called by: postern._take_place, postern.rate_limit_status.
Refuses: never.';

create or replace function postern._take_place(limiter text, key text, burst integer, step interval)
returns integer
language plpgsql
as $$
declare
    v_step interval := least(step, interval '365 days');
    v_depth interval := postern._bucket_depth(burst, v_step);
    v_full_at timestamptz;
begin
    -- Refuse from a plain read: a client that hammers takes no lock and writes nothing.
    select l.full_at into v_full_at
    from auth.rate_limits l
    where l.limiter = _take_place.limiter and l.key = _take_place.key;

    if v_full_at is null or v_full_at <= clock_timestamp() + v_depth then
        -- The row lock settles two requests for the last place: the second sees the first one's step. The clock is read after
        -- the wait for it: a shared key must not refuse because there was a queue.
        insert into auth.rate_limits as l (limiter, key, full_at)
        values (_take_place.limiter, _take_place.key, clock_timestamp() + v_step)
        on conflict on constraint rate_limits_pkey do update
            set full_at = greatest(l.full_at, clock_timestamp()) + v_step
            where l.full_at <= clock_timestamp() + v_depth
        returning l.full_at into v_full_at;
        if found then
            return null;
        end if;
        select l.full_at into v_full_at
        from auth.rate_limits l
        where l.limiter = _take_place.limiter and l.key = _take_place.key;
    end if;
    return least(
        greatest(1, ceil(extract(epoch from v_full_at - v_depth - clock_timestamp()))), 2147483647)::integer;
end
$$;

comment on function postern._take_place(text, text, integer, interval) is
'Takes one place in a bucket of auth.rate_limits (GCRA): burst places when full, one more every step. Null when there was one, else the seconds until there is.
Called by: postern._take_limit, postern._take_quota.
Refuses: never.';
