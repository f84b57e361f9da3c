{{- /* The claims of contract core.md 5.1, as text: u is the user, g the settings, s the session or nulls; v_now and the argument
are unix seconds. */ -}}
{{- define "claims json" -}}
concat(
            case when g.jwt_issuer <> '' then '{"iss":' else '{' end,
            to_json(nullif(g.jwt_issuer, '')),
            case when g.jwt_issuer <> '' then ',' end,
            '"sub":"', u.id,
            '","aud":', to_json(coalesce(u.aud, '')),
            ',"exp":', v_now + {{ . }},
            ',"iat":', v_now,
            ',"email":', to_json(coalesce(u.email, '')),
            ',"phone":', to_json(coalesce(u.phone, '')),
            ',"app_metadata":', case when jsonb_typeof(u.raw_app_meta_data) = 'object' then u.raw_app_meta_data else '{}' end,
            ',"user_metadata":', case when jsonb_typeof(u.raw_user_meta_data) = 'object' then u.raw_user_meta_data else '{}' end,
            ',"role":', to_json(coalesce(u.role, '')),
            (
                select concat(
                    case when bool_or(m.authentication_method in ('totp', 'mfa/phone', 'mfa/webauthn'))
                        then ',"aal":"aal2"' else ',"aal":"aal1"' end,
                    case when count(*) > 1 then postern._amr_json(s.id)
                        else ',"amr":[' || max({{ template "amr json" }}) || ']' end)
                from auth.mfa_amr_claims m
                where m.session_id = s.id),
            case when s.id is not null then ',"session_id":"' end, s.id, case when s.id is not null then '"' end,
            case when s.oauth_client_id is not null then ',"client_id":"' end, s.oauth_client_id,
            case when s.oauth_client_id is not null then '"' end,
            case when s.scopes <> '' then ',"scope":' end, case when s.scopes <> '' then to_json(s.scopes) end,
            case when u.is_anonymous then ',"is_anonymous":true}' else ',"is_anonymous":false}' end)
{{- end -}}

{{- define "amr json" -}}
concat('{"method":', to_json(m.authentication_method), ',"timestamp":', extract(epoch from m.updated_at)::bigint, '}')
{{- end -}}

create or replace function postern._amr_json(session_id uuid)
returns text
language plpgsql stable
as $$
begin
    return (
        select ',"amr":[' || string_agg({{ template "amr json" }}, ',' order by m.updated_at desc) || ']'
        from auth.mfa_amr_claims m
        where m.session_id = _amr_json.session_id);
end
$$;

comment on function postern._amr_json(uuid) is
'The member amr of the claims for a session with several methods, newest first, with a comma before it.
Called by: the claims.
Refuses: never.';

create or replace function postern._claims(user_id uuid, session_id uuid)
returns json
language plpgsql stable
as $$
declare
    v_claims text;
    v_now bigint := extract(epoch from now())::bigint;
begin
    select {{ template "claims json" "g.jwt_exp" }}
    into v_claims
    from auth.settings g
    join auth.users u on u.id = _claims.user_id
    left join auth.sessions s on s.id = _claims.session_id;
    return v_claims::json;
end
$$;

comment on function postern._claims(uuid, uuid) is
'The claims of an access token (contract core.md 5.1), before any hook; session_id null for a token without a session.
Called by: postern._impersonation_claims; postern._tokens has the same expression inline.
Refuses: never; null for an unknown user.';

create or replace function postern._expires_in(settings auth.settings, session auth.sessions)
returns integer
language plpgsql stable
as $$
begin
    if coalesce(session.aal, 'aal1') < 'aal2' and postern._has_verified_factor(session.user_id) then
        return greatest(0, least(settings.jwt_exp, extract(epoch from
            session.created_at + settings.sessions_allow_low_aal - now())::integer));
    end if;
    return settings.jwt_exp;
end
$$;

comment on function postern._expires_in(auth.settings, auth.sessions) is
'Seconds that an access token lives where sessions below the user''s possible assurance end early (contract core.md 5.1).
Called by: postern._tokens, when auth.settings.sessions_allow_low_aal is set.
Refuses: never.';

{{- /* What an answer with tokens is made of, from u, s and g: columns for a select into v, which postern._answer takes. */ -}}
{{- define "token columns" -}}
g.version,
            g.hook_custom_access_token_enabled as has_hook,
            g.hook_custom_access_token_uri as hook_uri,
            l.expires_in,
            {{ template "claims json" "l.expires_in" }} as claims,
            {{ template "user json" }} as "user"
{{- end -}}

{{- define "expires in" -}}
(
            select case when g.sessions_allow_low_aal is null then g.jwt_exp else postern._expires_in(g, s) end as expires_in
            offset 0)
{{- end -}}

create or replace function postern._tokens(
    user_id uuid,
    session_id uuid,
    method text,
    shown text default 'stored',
    caller postern.caller default null)
returns json
language plpgsql
as $$
declare
    v record;
    v_now bigint := extract(epoch from now())::bigint;
    v_hook json;
begin
    select
            {{ template "token columns" }}
    into strict v
    from auth.users u
    join auth.sessions s on s.id = _tokens.session_id
    cross join auth.settings g
    cross join lateral {{ template "expires in" }} l
    where u.id = _tokens.user_id;

    if v.has_hook and v.hook_uri like 'pg-functions:%' then
        v.claims := postern._customize_claims(v.hook_uri, user_id, v.claims::json, method, caller)::text;
    elsif v.has_hook then
        v_hook := json_build_object('uri', v.hook_uri, 'method', method, 'ends_session', true);
    end if;
    if shown <> 'stored' then
        v."user" := postern._user_json_as(user_id, shown)::text;
    end if;
    return postern._token_answer(v.version, user_id, session_id, 0, null, v.expires_in, v.claims, v."user", v_hook);
end
$$;

comment on function postern._tokens(uuid, uuid, text, text, postern.caller) is
'The answer that opens a session; method as in amr, shown as in postern._user_json_as. caller is for the record of the hook.
Called by: every way to sign in.
Refuses: what the custom_access_token hook refuses.';

create or replace function postern._token_answer(
    version bigint,
    user_id uuid,
    session_id uuid,
    counter bigint,
    reuse text,
    expires_in integer,
    claims text,
    user_json text,
    hook json)
returns json
language plpgsql stable
as $$
begin
    return concat(
        '{"v":', version,
        ',"session":{"id":"', session_id,
        '","user_id":"', user_id,
        '","counter":', counter,
        ',"expires_in":', expires_in,
        ',"expires_at":', extract(epoch from now())::bigint + expires_in,
        case when reuse is not null then ',"reuse":"' end, reuse, case when reuse is not null then '"' end,
        '},"claims":', claims,
        ',"user":', user_json,
        case when hook is not null then ',"token_hook":' end, hook, '}')::json;
end
$$;

comment on function postern._token_answer(bigint, uuid, uuid, bigint, text, integer, text, text, json) is
'The answer that opens or continues a session: what the gateway signs (claims), what it mints the refresh token from (session id and counter), and the user. reuse is why a counter is answered again, null when it is new. hook says what the gateway asks before it signs, null when nothing: the address of a custom_access_token hook behind HTTP, the method, and whether a failure ends the session.
Called by: postern._tokens, postern.refresh_session.
Refuses: never.';
