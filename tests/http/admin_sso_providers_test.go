package http_test

import "testing"

// An adopted database may have providers of single sign-on: they are listed, by their resource ids too.
func TestProvidersOfSingleSignOnAreListed(t *testing.T) {
	t.Parallel()
	s := start(t)
	admin := s.serviceRole()
	s.get("/admin/sso/providers", admin).want(200).holds(`{"items": []}`, true)
	s.exec(`insert into auth.sso_providers (id, resource_id, created_at, updated_at) values
		('00000000-0000-0000-0000-000000000001', 'team-a', '2030-01-01', '2030-01-01'),
		('00000000-0000-0000-0000-000000000002', 'team-b', '2030-01-01', '2030-01-01')`)
	s.exec(`insert into auth.saml_providers (id, sso_provider_id, entity_id, metadata_xml)
		select gen_random_uuid(), id, 'https://idp.example.com/' || resource_id, '<xml/>' from auth.sso_providers`)
	const provider = `{"items": [{"id": "00000000-0000-0000-0000-000000000002", "resource_id": "team-b", "disabled": null, "domains": [],
		"saml": {"entity_id": "https://idp.example.com/team-b", "attribute_mapping": {}},
		"created_at": "2030-01-01T00:00:00.000000Z", "updated_at": "2030-01-01T00:00:00.000000Z"}]}`
	s.get("/admin/sso/providers?resource_id=team-b", admin).want(200).holds(provider, true)
	s.get("/admin/sso/providers?resource_id_prefix=team-b", admin).want(200).holds(provider, true)
	s.get("/admin/sso/providers?resource_id=none", admin).want(200).holds(`{"items": []}`, true)
	s.get("/admin/sso/providers", s.member("me@example.com").Access).refused(403, "not_admin")
}
