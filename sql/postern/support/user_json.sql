{{- /* One expression for a time: two function calls, which is what starting an expression costs most. */ -}}
{{- define "utc" }}to_char({{ . }} at time zone interval '0', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'){{ end -}}

{{- /* A time as a member of an object, named as its column, with a comma before it; null without a time. All of it in the
picture: that is cheaper than putting it together. */ -}}
{{- define "time member" -}}
to_char({{ . }} at time zone interval '0', '",\"{{ splitList "." . | last }}\":\""YYYY-MM-DD"T"HH24:MI:SS.US"Z\""')
{{- end -}}

{{- /* The user object of u, a row of auth.users, as text. Written for few function calls and few constants: each
costs a third of a microsecond per execution before it is even used. What is rarely there is left to a function. */ -}}
{{- define "user json" -}}
format(
            '{"id":"%s","aud":%s,"role":%s,"email":%s,"phone":%s%s%s%s,"app_metadata":%s,"user_metadata":%s,"identities":[%s],"created_at":"%s","updated_at":"%s"%s%s',
            u.id,
            to_json(coalesce(u.aud, '')),
            to_json(coalesce(u.role, '')),
            to_json(coalesce(u.email, '')),
            to_json(coalesce(u.phone, '')),
            {{ template "time member" "u.email_confirmed_at" }},
            {{ template "time member" "u.confirmed_at" }},
            {{ template "time member" "u.last_sign_in_at" }},
            case when u.raw_app_meta_data @> '{}' then u.raw_app_meta_data else '{}' end,
            case when u.raw_user_meta_data @> '{}' then u.raw_user_meta_data else '{}' end,
            parts.identities,
            coalesce({{ template "utc" "u.created_at" }}, '0001-01-01T00:00:00Z'),
            coalesce({{ template "utc" "u.updated_at" }}, '0001-01-01T00:00:00Z'),
            case when coalesce(
                    u.invited_at, u.phone_confirmed_at, u.confirmation_sent_at, u.recovery_sent_at, u.email_change_sent_at,
                    u.phone_change_sent_at, u.reauthentication_sent_at, u.banned_until, u.deleted_at) is not null
                or u.email_change <> '' or u.phone_change <> '' or parts.has_factors
                then postern._rare_user_json(u.id) end,
            case when u.is_anonymous then ',"is_anonymous":true}' else ',"is_anonymous":false}' end)
{{- end -}}

{{- /* What the user object has from other tables, as relation parts. Sub-selects stand in a from clause: a statement with one
anywhere else is walked as a whole, at each execution, for the tables to lock. */ -}}
{{- define "user parts" -}}
lateral (
            select
                {{ template "identities" "u.id" }} as identities,
                exists (select from auth.mfa_factors f where f.user_id = u.id) as has_factors) parts
{{- end -}}

{{- /* The identities of the user whose id is the argument: the elements of an array. */ -}}
{{- define "identities" -}}
array_to_string(array(
                    select {{ template "identity json" }}
                    from auth.identities i
                    where i.user_id = {{ . }}
                    order by i.created_at, i.provider), ',')
{{- end -}}

{{- /* The identity object of i, a row of auth.identities, as text. */ -}}
{{- define "identity json" -}}
format(
                    '{"identity_id":"%s","id":%s,"user_id":"%s"%s%s,"provider":%s%s,"created_at":"%s","updated_at":"%s"%s%s}',
                    i.id, to_json(i.provider_id), i.user_id,
                    case when i.identity_data <> '{}' then ',"identity_data":' end,
                    case when i.identity_data <> '{}' then i.identity_data end,
                    to_json(i.provider),
                    {{ template "time member" "i.last_sign_in_at" }},
                    coalesce({{ template "utc" "i.created_at" }}, '0001-01-01T00:00:00Z'),
                    coalesce({{ template "utc" "i.updated_at" }}, '0001-01-01T00:00:00Z'),
                    case when i.email is not null then ',"email":' end, to_json(i.email))
{{- end -}}

{{- /* The factor object of f, a row of auth.mfa_factors, as text (contract mfa-hooks.md 1.2). concat() leaves out what is null, so a
key without a value vanishes together with its name. */ -}}
{{- define "factor json" -}}
concat(
                '{"id":"', f.id,
                '","created_at":"', coalesce({{ template "utc" "f.created_at" }}, '0001-01-01T00:00:00Z'),
                '","updated_at":"', coalesce({{ template "utc" "f.updated_at" }}, '0001-01-01T00:00:00Z'),
                '","status":"', f.status,
                '",', '"friendly_name":' || to_json(nullif(f.friendly_name, ''))::text || ',',
                '"factor_type":"', f.factor_type,
                '","phone":', to_json(coalesce(f.phone, '')),
                ',"last_challenged_at":', coalesce('"' || {{ template "utc" "f.last_challenged_at" }} || '"', 'null'),
                ',"web_authn_aaguid":"' || f.web_authn_aaguid || '"',
                ',"last_webauthn_challenge_data":' || f.last_webauthn_challenge_data::text, '}')
{{- end -}}

create or replace function postern._user_json(user_id uuid)
returns json
language plpgsql stable
as $$
declare
    v_user text;
begin
    select {{ template "user json" }}
    into v_user
    from auth.users u
    cross join {{ template "user parts" }}
    where u.id = _user_json.user_id;
    return v_user::json;
end
$$;

comment on function postern._user_json(uuid) is
'The user object of contract core.md 1.12.
Called by: every function that answers with a user; the busiest ones have its expression inline.
Refuses: never; null for an unknown id.';

create or replace function postern._identities_json(user_id uuid)
returns text
language plpgsql stable
as $$
begin
    return {{ template "identities" "_identities_json.user_id" }};
end
$$;

comment on function postern._identities_json(uuid) is
'The identities of a user, as the elements of a JSON array; empty without any.
Called by: postern.sign_up_anonymously_text, where there are nearly never any.
Refuses: never.';

create or replace function postern._user_json_as(user_id uuid, shown text)
returns json
language plpgsql stable
as $$
declare
    v_user jsonb := postern._user_json(user_id)::jsonb;
begin
    case shown
        when 'confirmed' then
            v_user := v_user - 'confirmed_at';
        when 'signed_up' then
            v_user := v_user - 'confirmed_at';
            if v_user ? 'email_confirmed_at' then
                v_user := jsonb_set(v_user, '{identities,0,identity_data,email_verified}', 'true');
            end if;
        when 'listed' then
            v_user := v_user - 'factors' || '{"identities": null}';
    end case;
    return v_user::text::json;
end
$$;

comment on function postern._user_json_as(uuid, text) is
'The user object as single answers of the reference show it: confirmed (by the request that confirms: without confirmed_at), signed_up (the same, the e-mail identity already verified), listed (without identities and factors).
Called by: postern._tokens, postern.update_user, the admin_ functions.
Refuses: never.';

create or replace function postern._rare_user_json(user_id uuid)
returns text
language plpgsql stable
as $$
declare
    v_members text;
begin
    -- concat() leaves out what is null, so a key without a value vanishes together with its name.
    select concat(
        {{ template "time member" "u.invited_at" }},
        {{ template "time member" "u.phone_confirmed_at" }},
        {{ template "time member" "u.confirmation_sent_at" }},
        {{ template "time member" "u.recovery_sent_at" }},
        ',"new_email":' || to_json(nullif(u.email_change, ''))::text,
        {{ template "time member" "u.email_change_sent_at" }},
        ',"new_phone":' || to_json(nullif(u.phone_change, ''))::text,
        {{ template "time member" "u.phone_change_sent_at" }},
        {{ template "time member" "u.reauthentication_sent_at" }},
        {{ template "time member" "u.banned_until" }},
        {{ template "time member" "u.deleted_at" }},
        ',"factors":[' || (
            select string_agg({{ template "factor json" }}, ',' order by f.created_at)
            from auth.mfa_factors f
            where f.user_id = u.id) || ']')
    into v_members
    from auth.users u
    where u.id = _rare_user_json.user_id;
    return v_members;
end
$$;

comment on function postern._rare_user_json(uuid) is
'The members of the user object that few users have: pending changes, times of mails, factors, ban and deletion; each with a comma before it.
Called by: the user object, when there is any.
Refuses: never.';
