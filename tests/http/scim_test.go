package http_test

import (
	"testing"
)

// The SCIM endpoints describe themselves to everybody, and nothing else is there (contract admin.md 22).
func TestSCIMDescribesItself(t *testing.T) {
	t.Parallel()
	const (
		list   = `{"schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"], "totalResults": 0, "startIndex": 1, "itemsPerPage": 0, "Resources": []}`
		none   = `{"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "detail": "Endpoint or resource does not exist", "status": "404"}`
		filter = `{"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "detail": "Filtering is not supported on this endpoint", "status": "403"}`
	)
	s := start(t, "GOTRUE_EXPERIMENTAL_SCIM_ENABLED=true")
	provider := `{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
		"patch": {"supported": false}, "changePassword": {"supported": false}, "sort": {"supported": false}, "etag": {"supported": false},
		"bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0}, "filter": {"supported": false, "maxResults": 0},
		"authenticationSchemes": [{"type": "oauthbearertoken", "name": "OAuth Bearer Token", "primary": true,
			"description": "Authentication scheme using the OAuth Bearer Token Standard", "specUri": "http://www.rfc-editor.org/info/rfc6750"}],
		"meta": {"resourceType": "ServiceProviderConfig", "location": "` + s.URL + `/scim/v2/ServiceProviderConfig"}}`
	for _, c := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/ServiceProviderConfig", 200, provider},
		{"GET", "/ServiceProviderConfig?filter=x", 200, provider},
		{"GET", "/ResourceTypes", 200, list},
		{"GET", "/Schemas", 200, list},
		{"GET", "/Schemas?filter=", 403, filter},
		{"GET", "/Schemas/", 404, none},
		{"GET", "/Users", 404, none},
		{"POST", "/Users", 404, none},
		{"GET", "/", 404, none},
		{"GET", "", 404, none},
	} {
		for _, prefix := range []string{"/scim/v2", "/auth/v1/scim/v2"} {
			a := s.do(call{Method: c.method, Path: prefix + c.path}).want(c.status)
			a.holds(c.body, true)
			a.headers(map[string]string{"Content-Type": "application/scim+json"})
		}
	}
	a := s.post("/scim/v2/Schemas", `{}`, "").want(405)
	if a.headers(map[string]string{"Allow": "GET"}); len(a.Raw) > 0 {
		t.Errorf("body %s", a.Raw)
	}
}

func TestSCIMIsOffByDefault(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, path := range []string{"/scim/v2", "/scim/v2/Schemas", "/scim/v2/Users"} {
		if a := s.post(path, `{}`, "").refused(404, "feature_disabled"); a.text("msg") != "SCIM server is disabled" {
			t.Errorf("%s: msg %q", path, a.text("msg"))
		}
	}
}
