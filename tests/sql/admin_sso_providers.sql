-- postern.admin_list_sso_providers (contract external.md 9.7).
begin;
select plan(5);
\ir support.psql
create function pg_temp.ids(answer json) returns text language sql as $$
    select string_agg(right(i ->> 'id', 1), '' order by n)
    from json_array_elements(answer #> '{body,items}') with ordinality i (i, n)
$$;
create function pg_temp.boss() returns postern.caller language sql as $$ select postern.caller(role => 'service_role') $$;
set local session authorization postern_gateway;
select is(postern.admin_list_sso_providers(pg_temp.boss()) ->> 'body', '{"items" : []}', 'none');
reset session authorization;

insert into auth.sso_providers (id, resource_id, disabled, created_at, updated_at)
select ('00000000-0000-0000-0000-00000000000' || n)::uuid, resource_id, case when n = 2 then true end,
       timestamptz '2030-01-01' - n * interval '1 day', timestamptz '2030-01-01'
  from (values (1, null), (2, 'team_a'), (3, 'team%')) p (n, resource_id);
insert into auth.saml_providers (id, sso_provider_id, entity_id, metadata_xml, metadata_url, attribute_mapping, name_id_format)
select gen_random_uuid(), id, 'https://idp.example.com/' || right(id::text, 1), '<xml/>',
       case when resource_id = 'team_a' then 'https://idp.example.com/metadata' end,
       case when resource_id = 'team_a' then '{"keys": {"name": {"default": null}}}'::jsonb end,
       case when resource_id = 'team_a' then 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent' end
  from auth.sso_providers;
insert into auth.sso_domains (id, sso_provider_id, domain, created_at)
select gen_random_uuid(), '00000000-0000-0000-0000-000000000002', domain, timestamptz '2030-01-01' + n * interval '1 s'
  from unnest(array['b.example.com', 'a.example.com']) with ordinality d (domain, n);

set local session authorization postern_gateway;
select is(pg_temp.ids(postern.admin_list_sso_providers(pg_temp.boss(), resource_id => '', resource_id_prefix => '')), '321',
    'all, oldest first');
select is((postern.admin_list_sso_providers(pg_temp.boss(), resource_id => 'team_a') #> '{body,items}')::jsonb,
    '[{"id": "00000000-0000-0000-0000-000000000002", "resource_id": "team_a", "disabled": true,
       "saml": {"entity_id": "https://idp.example.com/2", "metadata_url": "https://idp.example.com/metadata",
                "attribute_mapping": {"keys": {"name": {"default": null}}},
                "name_id_format": "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"},
       "domains": [{"domain": "b.example.com"}, {"domain": "a.example.com"}],
       "created_at": "2029-12-30T00:00:00.000000Z", "updated_at": "2030-01-01T00:00:00.000000Z"}]'::jsonb,
    'one, by its resource id: everything but the metadata document');
select is(pg_temp.ids(postern.admin_list_sso_providers(pg_temp.boss(), resource_id_prefix => 'team%')), '3',
    'a prefix is no pattern');
select is((postern.admin_list_sso_providers(pg_temp.boss()) #> '{body,items,2}')::jsonb - '{created_at,updated_at}'::text[],
    '{"id": "00000000-0000-0000-0000-000000000001", "disabled": null, "domains": [],
      "saml": {"entity_id": "https://idp.example.com/1", "attribute_mapping": {}}}'::jsonb,
    'what is not set is left out, or null');
reset session authorization;
select * from finish();
rollback;
