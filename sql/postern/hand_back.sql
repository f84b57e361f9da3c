create or replace function postern.hand_back_sessions(session_ids uuid[], keys text[])
returns integer
language plpgsql security definer
set search_path = auth, pg_temp
as $$
declare
    v_count integer;
begin
    -- A session that Supabase Auth opened and that was not continued here keeps its own key; a revoked one gets none.
    update auth.sessions s
    set refresh_token_hmac_key = k.key, refresh_token_counter = t.counter
    from unnest(hand_back_sessions.session_ids, hand_back_sessions.keys) as k (session_id, key)
    join lateral (
        select t.counter, t.revoked, t.token
        from auth.refresh_tokens t
        where t.session_id = k.session_id
        {{ template "newest token" }}) t on true
    where s.id = k.session_id and not t.revoked
        and (s.refresh_token_hmac_key is null or t.token is null);
    get diagnostics v_count = row_count;
    return v_count;
end
$$;

comment on function postern.hand_back_sessions(uuid[], text[]) is
'Writes keys (unpadded base64url, derived by the gateway''s token keys) and counters into sessions, as Supabase Auth keeps them for its second-generation refresh tokens. Returns how many sessions it wrote.
Called by: postern hand-back, in batches, with all gateways stopped.
Refuses: never.';

create or replace function postern.clear_one_time_tokens()
returns void
language plpgsql security definer
set search_path = auth, pg_temp
as $$
begin
    delete from auth.one_time_tokens;
    delete from auth.mfa_challenges c where c.otp_code <> '';
    update auth.users u
    set confirmation_token = '', recovery_token = '', email_change_token_new = '', email_change_token_current = '',
        phone_change_token = '', reauthentication_token = ''
    where '' <> any (array[
        u.confirmation_token, u.recovery_token, u.email_change_token_new, u.email_change_token_current,
        u.phone_change_token, u.reauthentication_token]);
end
$$;

comment on function postern.clear_one_time_tokens() is
'Voids every code and link that was mailed or texted: Supabase Auth could not verify what is stored of them.
Called by: postern hand-back.
Refuses: never.';
