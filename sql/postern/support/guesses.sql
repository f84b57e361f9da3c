create or replace function postern._take_guess(
    settings auth.settings,
    type text,
    email text,
    phone text,
    audience text)
returns json
language plpgsql
as $$
declare
    v_account uuid;
begin
    -- The same account that _find_code and _find_phone_code are going to look at.
    if phone <> '' and type = 'phone_change' then
        select u.id into v_account
        from auth.users u
        where u.phone_change = postern._phone_digits(_take_guess.phone) and u.phone_change <> '' and u.aud = _take_guess.audience
            and {{ template "of this instance" }}
        order by u.phone_change_sent_at desc nulls last
        limit 1;
    elsif phone <> '' then
        v_account := (postern._find_user(null, postern._phone_digits(_take_guess.phone), _take_guess.audience)).id;
    else
        v_account := (postern._find_user(lower(_take_guess.email), null, _take_guess.audience)).id;
        if v_account is null and type = 'email_change' then
            select o.user_id into v_account
            from auth.one_time_tokens o
            where o.relates_to = lower(_take_guess.email) and o.token_type = 'email_change_token_new'
            limit 1;
        end if;
    end if;
    if v_account is null then
        return null;
    end if;
    return postern._take_limit(settings, 'guesses', v_account::text);
end
$$;

comment on function postern._take_guess(auth.settings, text, text, text, text) is
'Counts an attempt at a code against the account that it is for, whoever makes it: 30 in five minutes, right ones too. Null when there was a place, or no such account (whose guesses the conformance kit wants answered as ever), else the refusal with Retry-After. Links are not counted: nobody guesses those.
Called by: postern.verify_one_time_token, before the block that compares, so that what is counted stays counted.
Refuses: over_request_rate_limit (429) - no place left.';
