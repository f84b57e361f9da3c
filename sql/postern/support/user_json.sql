create or replace function postern._user_json(user_id uuid, shown text default 'stored')
returns json
language plpgsql stable
as $$
declare
    v_user text;
begin
    -- concat() leaves out what is null, so a key with a null value vanishes together with its name.
    select concat(
        '{"id":"', u.id,
        '","aud":', to_json(coalesce(u.aud, '')),
        ',"role":', to_json(coalesce(u.role, '')),
        ',"email":', to_json(coalesce(u.email, '')),
        ',"email_confirmed_at":"' || postern._utc(u.email_confirmed_at) || '"',
        ',"invited_at":"' || postern._utc(u.invited_at) || '"',
        ',"phone":', to_json(coalesce(u.phone, '')),
        ',"phone_confirmed_at":"' || postern._utc(u.phone_confirmed_at) || '"',
        ',"confirmation_sent_at":"' || postern._utc(u.confirmation_sent_at) || '"',
        case when shown in ('stored', 'listed') then ',"confirmed_at":"' || postern._utc(u.confirmed_at) || '"' end,
        ',"recovery_sent_at":"' || postern._utc(u.recovery_sent_at) || '"',
        ',"new_email":' || to_json(nullif(u.email_change, ''))::text,
        ',"email_change_sent_at":"' || postern._utc(u.email_change_sent_at) || '"',
        ',"new_phone":' || to_json(nullif(u.phone_change, ''))::text,
        ',"phone_change_sent_at":"' || postern._utc(u.phone_change_sent_at) || '"',
        ',"reauthentication_sent_at":"' || postern._utc(u.reauthentication_sent_at) || '"',
        ',"last_sign_in_at":"' || postern._utc(u.last_sign_in_at) || '"',
        ',"app_metadata":', coalesce(nullif(u.raw_app_meta_data, 'null'), '{}'),
        ',"user_metadata":', coalesce(nullif(u.raw_user_meta_data, 'null'), '{}'),
        ',"factors":' || (
            select json_agg(json_strip_nulls(json_build_object(
                'id', f.id,
                'created_at', postern._utc(f.created_at),
                'updated_at', postern._utc(f.updated_at),
                'status', f.status,
                'friendly_name', nullif(f.friendly_name, ''),
                'factor_type', f.factor_type,
                'phone', coalesce(f.phone, ''),
                'web_authn_aaguid', f.web_authn_aaguid,
                'last_webauthn_challenge_data', f.last_webauthn_challenge_data))::jsonb
                || jsonb_build_object('last_challenged_at', postern._utc(f.last_challenged_at))
                order by f.created_at)
            from auth.mfa_factors f
            where f.user_id = u.id and shown <> 'listed')::text,
        ',"identities":', case when shown = 'listed' then 'null' else coalesce((
            select json_agg(postern._identity_json(i, shown = 'signed_up' and u.email_confirmed_at is not null)
                order by i.created_at, i.provider)
            from auth.identities i
            where i.user_id = u.id), '[]') end,
        ',"created_at":"' || postern._utc(u.created_at) || '"',
        ',"updated_at":"' || postern._utc(u.updated_at) || '"',
        ',"banned_until":"' || postern._utc(u.banned_until) || '"',
        ',"deleted_at":"' || postern._utc(u.deleted_at) || '"',
        ',"is_anonymous":', u.is_anonymous::text, '}')
    into v_user
    from auth.users u
    where u.id = _user_json.user_id;
    return v_user;
end
$$;

comment on function postern._user_json(uuid, text) is
'The user object of contract core.md 1.12. shown: stored; confirmed (as the answer that confirms shows it, without confirmed_at); signed_up (the same, the e-mail identity already verified); listed (without identities and factors).
Called by: every function that answers with a user.
Refuses: never; null for an unknown id.';

create or replace function postern._identity_json(identity auth.identities, verified boolean)
returns json
language sql stable
as $$
    select concat(
        '{"identity_id":"', (identity).id,
        '","id":', to_json((identity).provider_id),
        ',"user_id":"', (identity).user_id, '"',
        ',"identity_data":' || nullif(
            case when verified and (identity).provider = 'email'
                then (identity).identity_data || '{"email_verified": true}' else (identity).identity_data end,
            '{}')::text,
        ',"provider":', to_json((identity).provider),
        ',"last_sign_in_at":"' || postern._utc((identity).last_sign_in_at) || '"',
        ',"created_at":"' || postern._utc((identity).created_at) || '"',
        ',"updated_at":"' || postern._utc((identity).updated_at) || '"',
        ',"email":' || to_json(nullif((identity).email, ''))::text,
        '}')::json
$$;

comment on function postern._identity_json(auth.identities, boolean) is
'The identity object of contract core.md 1.12; verified shows an e-mail identity as the answer to an auto-confirmed sign-up does.
Called by: postern._user_json (inlined).
Refuses: never.';
