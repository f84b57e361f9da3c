{{- /* The claims of contract core.md 5.1, as text: u is the user, s has the columns below; v_now and the argument are unix seconds. */ -}}
{{- define "claims json" -}}
format(
            '{%s"sub":"%s","aud":%s,"exp":%s,"iat":%s,"email":%s,"phone":%s,"app_metadata":%s,"user_metadata":%s,"role":%s%s%s%s%s%s%s',
            s.issuer,
            u.id,
            to_json(coalesce(u.aud, '')),
            v_now + {{ . }},
            v_now,
            to_json(coalesce(u.email, '')),
            to_json(coalesce(u.phone, '')),
            case when u.raw_app_meta_data @> '{}' then u.raw_app_meta_data else '{}' end,
            case when u.raw_user_meta_data @> '{}' then u.raw_user_meta_data else '{}' end,
            to_json(coalesce(u.role, '')),
            case when s.methods like '%"method":"totp"%' or s.methods like '%"method":"mfa/phone"%' or s.methods like '%"method":"mfa/webauthn"%'
                then ',"aal":"aal2"' else ',"aal":"aal1"' end,
            case when s.methods <> '' then ',"amr":[' end, s.methods, case when s.methods <> '' then ']' end,
            s.members,
            case when u.is_anonymous then ',"is_anonymous":true}' else ',"is_anonymous":false}' end)
{{- end -}}

{{- /* What claims are made of beyond the user, as columns of a relation s that is read first and by itself (offset 0), so that the
wide row of the user passes through no further step of the plan: from s, the session (nulls without one), g, the settings, and
authentication as below. What is null leaves nothing in the claims. */ -}}
{{- define "claims columns" -}}
s.id,
                case when g.jwt_issuer <> '' then concat('"iss":', to_json(g.jwt_issuer), ',') end as issuer,
                authentication.methods,
                case when s.id is not null then concat(',"session_id":"', s.id, '"',
                    case when s.oauth_client_id is not null or s.scopes is not null then postern._client_claims(s.id) end) end as members
{{- end -}}

{{- /* The methods that authenticated session s, newest first, as relation authentication: the elements of the claim amr. */ -}}
{{- define "authentication" -}}
lateral (
                select array_to_string(array(
                    select format('{"method":%s,"timestamp":%s}',
                        to_json(m.authentication_method), extract(epoch from m.updated_at)::bigint)
                    from auth.mfa_amr_claims m
                    where m.session_id = s.id
                    order by m.updated_at desc), ',') as methods) authentication
{{- end -}}

create or replace function postern._client_claims(session_id uuid)
returns text
language plpgsql stable
as $$
begin
    return (
        select concat(',"client_id":"' || s.oauth_client_id || '"', ',"scope":' || to_json(nullif(s.scopes, ''))::text)
        from auth.sessions s
        where s.id = _client_claims.session_id);
end
$$;

comment on function postern._client_claims(uuid) is
'The claims client_id and scope of a session that an OAuth client opened, each with a comma before it.
Called by: the claims of such a session.
Refuses: never.';

create or replace function postern._claims(user_id uuid, session_id uuid)
returns json
language plpgsql stable
as $$
declare
    v_claims text;
    v_now bigint := extract(epoch from now())::bigint;
begin
    select {{ template "claims json" "s.jwt_exp" }}
    into v_claims
    from (
        select {{ template "claims columns" }},
                g.jwt_exp
        from auth.settings g
        left join auth.sessions s on s.id = _claims.session_id
        cross join {{ template "authentication" }}
        offset 0) s
    cross join auth.users u
    where u.id = _claims.user_id;
    return v_claims::json;
end
$$;

comment on function postern._claims(uuid, uuid) is
'The claims of an access token (contract core.md 5.1), before any hook; session_id null for a token without a session.
Called by: postern._impersonation_claims; postern._tokens has the same expression inline.
Refuses: never; null for an unknown user.';

create or replace function postern._expires_in(session_id uuid)
returns integer
language plpgsql stable
as $$
begin
    return (
        select case when coalesce(s.aal, 'aal1') < 'aal2' and postern._has_verified_factor(s.user_id)
            then greatest(0, least(g.jwt_exp, extract(epoch from
                s.created_at + g.sessions_allow_low_aal - now())::integer))
            else g.jwt_exp end
        from auth.sessions s
        cross join auth.settings g
        where s.id = _expires_in.session_id);
end
$$;

comment on function postern._expires_in(uuid) is
'Seconds that an access token lives where sessions below the user''s possible assurance end early (contract core.md 5.1).
Called by: postern._tokens, when auth.settings.sessions_allow_low_aal is set.
Refuses: never.';

{{- /* What an answer with tokens is made of: columns for a select into v from the relations s (the columns id, oauth_client_id and
scopes of a session, and the settings below), u (the user), assurance and parts. s is read first and by itself (offset 0):
then the wide row of the user passes through no further step of the plan. */ -}}
{{- define "token columns" -}}
s.version,
            s.id as session_id,
            u.id as user_id,
            s.has_hook,
            s.hook_uri,
            s.expires_in,
            {{ template "claims json" "s.expires_in" }} as claims,
            {{ template "user json" }} as "user"
{{- end -}}

{{- define "token settings" -}}
g.version, g.hook_custom_access_token_enabled as has_hook, g.hook_custom_access_token_uri as hook_uri,
                case when g.sessions_allow_low_aal is null then g.jwt_exp else postern._expires_in(s.id) end as expires_in
{{- end -}}

{{- /* The answer that opens or continues a session, as text, from the columns above: what the gateway signs (claims), what it mints the
refresh token from (session id and counter), and the user. reuse is why a counter is answered again, null when it is new. v_hook
says what the gateway asks before it signs, null when nothing: the address of a custom_access_token hook behind HTTP, the method,
and whether a failure ends the session. */ -}}
{{- define "token answer" -}}
format(
            '{"v":%s,"session":{"id":"%s","user_id":"%s","counter":%s,"expires_in":%s,"expires_at":%s%s%s%s},"claims":%s,"user":%s%s%s}',
            v.version, v.session_id, v.user_id, v.counter, v.expires_in, v_now + v.expires_in,
            case when v.reuse is not null then ',"reuse":"' end, v.reuse, case when v.reuse is not null then '"' end,
            v.claims,
            v."user",
            case when v_hook is not null then ',"token_hook":' end, v_hook)
{{- end -}}

{{- /* The hook custom_access_token of a session that opens by the method in the argument: asked here, or by the gateway. */ -}}
{{- define "ask token hook" -}}
if v.has_hook and v.hook_uri like 'pg-functions:%' then
        v.claims := postern._customize_claims(v.hook_uri, v.user_id, v.claims::json, {{ . }}, caller)::text;
    elsif v.has_hook then
        v_hook := json_build_object('uri', v.hook_uri, 'method', {{ . }}, 'ends_session', true);
    end if;
{{- end -}}

create or replace function postern._tokens(
    user_id uuid,
    session_id uuid,
    method text,
    shown text default 'stored',
    caller postern.caller default null,
    counter bigint default 0)
returns json
language plpgsql
as $$
declare
    v record;
    v_now bigint := extract(epoch from now())::bigint;
    v_hook json;
begin
    select
            _tokens.counter,
            null::text as reuse,
            {{ template "token columns" }}
    into strict v
    from (
        select {{ template "claims columns" }},
                {{ template "token settings" }}
        from auth.sessions s
        cross join auth.settings g
        cross join {{ template "authentication" }}
        where s.id = _tokens.session_id
        offset 0) s
    cross join auth.users u
    cross join {{ template "user parts" }}
    where u.id = _tokens.user_id;

    {{ template "ask token hook" "method" }}
    if shown <> 'stored' then
        v."user" := postern._user_json_as(user_id, shown)::text;
    end if;
    return {{ template "token answer" }}::json;
end
$$;

comment on function postern._tokens(uuid, uuid, text, text, postern.caller, bigint) is
'The answer that opens a session, or raises it by a second factor: counter is that of its refresh token; method as in amr, shown as in postern._user_json_as. caller is for the record of the hook.
Called by: every way to sign in, postern._complete_verification.
Refuses: what the custom_access_token hook refuses.';
