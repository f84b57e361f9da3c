create or replace function postern._claims(
    user_id uuid,
    session_id uuid,
    method text,
    expires_in integer default null)
returns json
language plpgsql stable
as $$
declare
    v_claims text;
    v_now bigint := extract(epoch from now())::bigint;
begin
    select concat(
        '{"iss":' || to_json(nullif(g.jwt_issuer, ''))::text || ',',
        case when g.jwt_issuer = '' then '{' end,
        '"sub":"', u.id,
        '","aud":', to_json(coalesce(u.aud, '')),
        ',"exp":', v_now + coalesce(_claims.expires_in, g.jwt_exp),
        ',"iat":', v_now,
        ',"email":', to_json(coalesce(u.email, '')),
        ',"phone":', to_json(coalesce(u.phone, '')),
        ',"app_metadata":', coalesce(nullif(u.raw_app_meta_data, 'null'), '{}'),
        ',"user_metadata":', coalesce(nullif(u.raw_user_meta_data, 'null'), '{}'),
        ',"role":', to_json(coalesce(u.role, '')),
        ',"aal":"', coalesce(a.aal, 'aal1'), '"',
        ',"amr":' || a.amr::text,
        ',"session_id":"' || s.id || '"',
        ',"is_anonymous":', u.is_anonymous::text,
        ',"client_id":"' || s.oauth_client_id || '"',
        ',"scope":' || to_json(nullif(s.scopes, ''))::text,
        '}')
    into v_claims
    from auth.settings g
    join auth.users u on u.id = _claims.user_id
    left join auth.sessions s on s.id = _claims.session_id
    left join lateral (
        select
            case when bool_or(m.authentication_method in ('totp', 'mfa/phone', 'mfa/webauthn')) then 'aal2' end as aal,
            json_agg(json_build_object(
                'method', m.authentication_method,
                'timestamp', extract(epoch from m.updated_at)::bigint) order by m.updated_at desc) as amr
        from auth.mfa_amr_claims m
        where m.session_id = s.id
    ) a on true;
    return v_claims;
end
$$;

comment on function postern._claims(uuid, uuid, text, integer) is
'The claims of an access token (contract core.md 5.1), before any hook. expires_in in seconds, null for auth.settings.jwt_exp; session_id null for a token without a session.
Called by: postern._tokens, postern._impersonation_claims.
Refuses: never; null for an unknown user.';

create or replace function postern._tokens(
    user_id uuid,
    session_id uuid,
    method text,
    shown text default 'stored',
    reuse text default null)
returns json
language plpgsql
as $$
declare
    v_expires_in integer;
    v_claims json;
    v_answer text;
    v_session record;
begin
    select g.version, g.jwt_exp, g.sessions_allow_low_aal, s.created_at, s.aal, t.counter,
        g.hook_custom_access_token_enabled, g.hook_custom_access_token_uri
    into strict v_session
    from auth.settings g
    join auth.sessions s on s.id = _tokens.session_id
    join lateral (
        select r.counter from auth.refresh_tokens r where r.session_id = s.id order by r.id desc limit 1) t on true;

    v_expires_in := v_session.jwt_exp;
    if v_session.sessions_allow_low_aal is not null and coalesce(v_session.aal, 'aal1') < 'aal2'
        and postern._has_verified_factor(_tokens.user_id)
    then
        v_expires_in := greatest(0, least(v_expires_in, extract(epoch from
            v_session.created_at + v_session.sessions_allow_low_aal - now())::integer));
    end if;

    v_claims := postern._claims(_tokens.user_id, _tokens.session_id, _tokens.method, v_expires_in);
    if v_session.hook_custom_access_token_enabled then
        v_claims := postern._customize_claims(
            v_session.hook_custom_access_token_uri, _tokens.user_id, v_claims, _tokens.method);
    end if;

    v_answer := concat(
        '{"v":', v_session.version,
        ',"session":{"id":"', _tokens.session_id,
        '","user_id":"', _tokens.user_id,
        '","counter":', v_session.counter,
        ',"expires_in":', v_expires_in,
        ',"expires_at":', extract(epoch from now())::bigint + v_expires_in,
        ',"reuse":"' || _tokens.reuse || '"',
        '},"claims":', v_claims,
        ',"user":', postern._user_json(_tokens.user_id, _tokens.shown), '}');
    return v_answer;
end
$$;

comment on function postern._tokens(uuid, uuid, text, text, text) is
'The answer that opens or continues a session: what the gateway signs (claims), what it mints the refresh token from (session id and counter), and the user. method as in amr, or token_refresh.
Called by: every way to sign in, postern.refresh_session.
Refuses: what the custom_access_token hook refuses.';
