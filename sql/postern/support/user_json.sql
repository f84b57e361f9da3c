{{- /* One expression for a time: two function calls, which is what starting an expression costs most. */ -}}
{{- define "utc" }}to_char({{ . }} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'){{ end -}}

{{- /* The user object of u, a row of auth.users, as text. Written for few function calls: each costs a third of a
microsecond per execution before it is even called. What is rarely there is left to a function. */ -}}
{{- define "user json" -}}
concat(
            '{"id":"', u.id,
            '","aud":', to_json(coalesce(u.aud, '')),
            ',"role":', to_json(coalesce(u.role, '')),
            ',"email":', to_json(coalesce(u.email, '')),
            ',"phone":', to_json(coalesce(u.phone, '')),
            case when u.email_confirmed_at is not null then ',"email_confirmed_at":"' end,
            {{ template "utc" "u.email_confirmed_at" }},
            case when u.email_confirmed_at is not null then '"' end,
            case when u.confirmed_at is not null then ',"confirmed_at":"' end,
            {{ template "utc" "u.confirmed_at" }},
            case when u.confirmed_at is not null then '"' end,
            case when u.last_sign_in_at is not null then ',"last_sign_in_at":"' end,
            {{ template "utc" "u.last_sign_in_at" }},
            case when u.last_sign_in_at is not null then '"' end,
            ',"app_metadata":', case when jsonb_typeof(u.raw_app_meta_data) = 'object' then u.raw_app_meta_data else '{}' end,
            ',"user_metadata":', case when jsonb_typeof(u.raw_user_meta_data) = 'object' then u.raw_user_meta_data else '{}' end,
            ',"identities":[', (
                select case when count(*) > 1 then postern._identities_json(u.id) else max({{ template "identity json" }}) end
                from auth.identities i
                where i.user_id = u.id),
            '],"created_at":"', coalesce({{ template "utc" "u.created_at" }}, '0001-01-01T00:00:00Z'),
            '","updated_at":"', coalesce({{ template "utc" "u.updated_at" }}, '0001-01-01T00:00:00Z'),
            '"',
            case when num_nonnulls(
                    u.invited_at, u.phone_confirmed_at, u.confirmation_sent_at, u.recovery_sent_at, u.email_change_sent_at,
                    u.phone_change_sent_at, u.reauthentication_sent_at, u.banned_until, u.deleted_at) > 0
                or concat(u.email_change, u.phone_change) <> ''
                or exists (select from auth.mfa_factors f where f.user_id = u.id)
                then postern._rare_user_json(u.id) end,
            case when u.is_anonymous then ',"is_anonymous":true}' else ',"is_anonymous":false}' end)
{{- end -}}

{{- /* The identity object of i, a row of auth.identities, as text. */ -}}
{{- define "identity json" -}}
concat(
                    '{"identity_id":"', i.id,
                    '","id":', to_json(i.provider_id),
                    ',"user_id":"', i.user_id,
                    '",', case when i.identity_data <> '{}' then '"identity_data":' end, nullif(i.identity_data, '{}'),
                    case when i.identity_data <> '{}' then ',' end, '"provider":', to_json(i.provider),
                    case when i.last_sign_in_at is not null then ',"last_sign_in_at":"' end,
                    {{ template "utc" "i.last_sign_in_at" }},
                    case when i.last_sign_in_at is not null then '"' end,
                    ',"created_at":"', coalesce({{ template "utc" "i.created_at" }}, '0001-01-01T00:00:00Z'),
                    '","updated_at":"', coalesce({{ template "utc" "i.updated_at" }}, '0001-01-01T00:00:00Z'),
                    '"',
                    case when i.email is not null then ',"email":' end, to_json(i.email), '}')
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
    where u.id = _user_json.user_id;
    return v_user::json;
end
$$;

comment on function postern._user_json(uuid) is
'The user object of contract core.md 1.12.
Called by: every function that answers with a user; the busiest ones have its expression inline.
Refuses: never; null for an unknown id.';

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

create or replace function postern._identities_json(user_id uuid)
returns text
language plpgsql stable
as $$
begin
    return (
        select string_agg({{ template "identity json" }}, ',' order by i.created_at, i.provider)
        from auth.identities i
        where i.user_id = _identities_json.user_id);
end
$$;

comment on function postern._identities_json(uuid) is
'The identities of a user who has several, oldest first, without the brackets: putting a single one in order would cost more than reading it.
Called by: the user object.
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
        ',"invited_at":"' || {{ template "utc" "u.invited_at" }} || '"',
        ',"phone_confirmed_at":"' || {{ template "utc" "u.phone_confirmed_at" }} || '"',
        ',"confirmation_sent_at":"' || {{ template "utc" "u.confirmation_sent_at" }} || '"',
        ',"recovery_sent_at":"' || {{ template "utc" "u.recovery_sent_at" }} || '"',
        ',"new_email":' || to_json(nullif(u.email_change, ''))::text,
        ',"email_change_sent_at":"' || {{ template "utc" "u.email_change_sent_at" }} || '"',
        ',"new_phone":' || to_json(nullif(u.phone_change, ''))::text,
        ',"phone_change_sent_at":"' || {{ template "utc" "u.phone_change_sent_at" }} || '"',
        ',"reauthentication_sent_at":"' || {{ template "utc" "u.reauthentication_sent_at" }} || '"',
        ',"banned_until":"' || {{ template "utc" "u.banned_until" }} || '"',
        ',"deleted_at":"' || {{ template "utc" "u.deleted_at" }} || '"',
        ',"factors":[' || (
            select string_agg(concat(
                '{"id":"', f.id,
                '","created_at":"', coalesce({{ template "utc" "f.created_at" }}, '0001-01-01T00:00:00Z'),
                '","updated_at":"', coalesce({{ template "utc" "f.updated_at" }}, '0001-01-01T00:00:00Z'),
                '","status":"', f.status,
                '",', '"friendly_name":' || to_json(nullif(f.friendly_name, ''))::text || ',',
                '"factor_type":"', f.factor_type,
                '","phone":', to_json(coalesce(f.phone, '')),
                ',"last_challenged_at":', coalesce('"' || {{ template "utc" "f.last_challenged_at" }} || '"', 'null'),
                ',"web_authn_aaguid":"' || f.web_authn_aaguid || '"',
                ',"last_webauthn_challenge_data":' || f.last_webauthn_challenge_data::text, '}'), ',' order by f.created_at)
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
