create or replace function postern.rate_limit_status(key text)
returns table (limiter text, places integer, places_left integer, next_place_in interval, full_at timestamptz)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_settings auth.settings not null := (select g from auth.settings g);
begin
    return query
    select r.limiter, r.burst, p.places_left,
        case when p.places_left = 0 then r.full_at - postern._bucket_depth(r.burst, r.step) - clock_timestamp() end, r.full_at
    from (
        select l.limiter, l.full_at, postern._limit_burst(v_settings, l.limiter) as burst,
            postern._limit_step(v_settings, l.limiter) as step,
            -- Seconds since the bucket was full again; negative while it is not.
            extract(epoch from clock_timestamp() - l.full_at) as ago
        from auth.rate_limits l
        where l.key = rate_limit_status.key) r
    cross join lateral (
        select case
            when r.ago >= 0 or extract(epoch from r.step) = 0 then r.burst
            else greatest(0, least(r.burst, 1 + floor(
                (extract(epoch from postern._bucket_depth(r.burst, r.step)) + r.ago) / extract(epoch from r.step))))::integer
            end) p (places_left)
    order by r.limiter;
end
$$;

comment on function postern.rate_limit_status(text) is
'Every limit that counts a key: places in its bucket, places left, the time until the next one when there is none, and when it is full again. Keys are a client as the gateway sees it, the id of an account (guesses at its codes), or the empty text (mails and SMS of all clients).
Called by: an administrator in psql; the gateway may not.
Refuses: never; a key that was not seen lately has no rows.';

create or replace function postern.unblock(key text)
returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_forgiven integer;
begin
    delete from auth.rate_limits l where l.key = unblock.key;
    get diagnostics v_forgiven = row_count;
    return v_forgiven;
end
$$;

comment on function postern.unblock(text) is
'Forgives a key (see postern.rate_limit_status): all of its buckets are full again. Returns how many there were.
Called by: an administrator in psql; the gateway may not.
Refuses: never.';
