create or replace function postern.admin_list_sso_providers(
    caller postern.caller,
    resource_id text default null,
    resource_id_prefix text default null)
returns json
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_refused json := postern._check_admin(admin_list_sso_providers.caller);
begin
    return coalesce(v_refused, (
        select json_build_object('v', g.version, 'body', json_build_object('items', coalesce((
            select jsonb_agg(
                jsonb_build_object(
                    'id', p.id,
                    'disabled', p.disabled,
                    'saml', jsonb_build_object('entity_id', s.entity_id, 'attribute_mapping', coalesce(s.attribute_mapping, '{}'))
                        || case when s.metadata_url is null then '{}' else jsonb_build_object('metadata_url', s.metadata_url) end
                        || case when s.name_id_format is null then '{}' else jsonb_build_object('name_id_format', s.name_id_format) end,
                    'domains', coalesce((
                        select jsonb_agg(jsonb_build_object('domain', d.domain) order by d.created_at, d.id)
                        from auth.sso_domains d
                        where d.sso_provider_id = p.id), '[]'),
                    'created_at', postern._utc(p.created_at),
                    'updated_at', postern._utc(p.updated_at))
                || case when p.resource_id is null then '{}' else jsonb_build_object('resource_id', p.resource_id) end
                order by p.created_at, p.id)
            from auth.sso_providers p
            join auth.saml_providers s on s.sso_provider_id = p.id
            where case
                when admin_list_sso_providers.resource_id <> '' then p.resource_id = admin_list_sso_providers.resource_id
                when resource_id_prefix <> '' then starts_with(p.resource_id, resource_id_prefix)
                else true end), '[]')))
        from auth.settings g));
end
$$;

comment on function postern.admin_list_sso_providers(postern.caller, text, text) is
'The providers of single sign-on, as a database of Supabase Auth may have them, without their metadata documents; all, or those with a resource id, or with its beginning (contract external.md 9.7).
Called by: GET /admin/sso/providers.
Refuses: what _check_admin refuses (403).';
