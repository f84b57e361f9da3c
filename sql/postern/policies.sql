create or replace function postern.impersonate(who text)
returns json
language plpgsql
as $$
declare
    v_claims json := postern._impersonation_claims(who);
begin
    perform set_config('request.jwt.claims', v_claims::text, true);
    -- Settings of older PostgREST, which auth.uid() and its siblings ask first: somebody may have tried them in this session.
    perform set_config(name, '', true)
    from unnest(array['request.jwt.claim', 'request.jwt.claim.sub', 'request.jwt.claim.role', 'request.jwt.claim.email']) name;
    -- A role's name is an identifier: it cannot be an argument.
    execute format('set local role %I', v_claims ->> 'role');
    return v_claims;
end
$$;

comment on function postern.impersonate(text) is
'Makes the rest of the transaction run as a user would through PostgREST: claims and role of the account with this address or id. Returns the claims. Use it inside begin … rollback.
Called by: people at psql and tests of policies.
Refuses: raises an error for an unknown account, and for a role that the caller may not take.';

create or replace function postern.impersonate(who uuid)
returns json
language plpgsql
as $$
begin
    return postern.impersonate(who::text);
end
$$;

comment on function postern.impersonate(uuid) is
'As postern.impersonate(text), by id.
Called by: people at psql and tests of policies.
Refuses: raises an error for an unknown account, and for a role that the caller may not take.';

create or replace function postern.anonymous()
returns json
language plpgsql
as $$
begin
    perform set_config('request.jwt.claims', '{"role": "anon"}', true);
    perform set_config(name, '', true) -- as in postern.impersonate
    from unnest(array['request.jwt.claim', 'request.jwt.claim.sub', 'request.jwt.claim.role', 'request.jwt.claim.email']) name;
    set local role anon;
    return json '{"role": "anon"}';
end
$$;

comment on function postern.anonymous() is
'Makes the rest of the transaction run as a request without a token would through PostgREST: role anon.
Called by: people at psql and tests of policies.
Refuses: raises an error when the caller may not take the role anon.';

create or replace function postern._impersonation_claims(who text)
returns json
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user record;
begin
    if who ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
        select u.id, u.role into v_user
        from auth.users u
        where u.id = who::uuid and {{ template "of this instance" }};
    else
        select u.id, u.role into v_user
        from auth.users u
        where u.instance_id = '00000000-0000-0000-0000-000000000000' and lower(u.email) = lower(who) and not u.is_sso_user;
    end if;
    if not found then
        raise exception 'no account has the address or id %', who;
    elsif coalesce(v_user.role, '') = '' then
        raise exception 'the account % has no role', who
            using hint = 'set auth.users.role, usually to authenticated';
    end if;
    return postern._claims(v_user.id, null);
end
$$;

comment on function postern._impersonation_claims(text) is
'The claims that the gateway would sign for an account, without a session.
Called by: postern.impersonate; EXECUTE is for who may read auth.users anyway.
Refuses: raises an error for an unknown account or one without a role.';
