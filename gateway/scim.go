package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// scimRoot is where SCIM 2.0 begins. There is nothing below it but a description of the service, for everybody: the reference
// provisions nothing either (contract admin.md 22).
const scimRoot = "/scim/v2"

// scimType is the media type of all answers below scimRoot, errors included.
var scimType = http.Header{"Content-Type": {"application/scim+json"}}

type scimSupport struct {
	Supported bool `json:"supported"`
}

type scimProvider struct {
	Schemas []string    `json:"schemas"`
	Patch   scimSupport `json:"patch"`
	Bulk    struct {
		scimSupport
		MaxOperations  int `json:"maxOperations"`
		MaxPayloadSize int `json:"maxPayloadSize"`
	} `json:"bulk"`
	Filter struct {
		scimSupport
		MaxResults int `json:"maxResults"`
	} `json:"filter"`
	ChangePassword scimSupport  `json:"changePassword"`
	Sort           scimSupport  `json:"sort"`
	ETag           scimSupport  `json:"etag"`
	Schemes        []scimScheme `json:"authenticationSchemes"`
	Meta           scimMeta     `json:"meta"`
}

type scimScheme struct {
	Type        string `json:"type"`
	Name        string `json:"name"`
	Description string `json:"description"`
	SpecURI     string `json:"specUri"`
	Primary     bool   `json:"primary"`
}

type scimMeta struct {
	ResourceType string `json:"resourceType"`
	Location     string `json:"location"`
}

type scimList struct {
	Schemas      []string `json:"schemas"`
	TotalResults int      `json:"totalResults"`
	StartIndex   int      `json:"startIndex"`
	ItemsPerPage int      `json:"itemsPerPage"`
	Resources    []string `json:"Resources"`
}

type scimError struct {
	Schemas []string `json:"schemas"`
	Detail  string   `json:"detail"`
	Status  string   `json:"status"`
}

// scim answers scimRoot and everything below it, whatever the method.
func (s *Server) scim(w http.ResponseWriter, r *http.Request) {
	q := requestOf(r)
	q.route = scimRoot
	if !s.config.SCIMEnabled {
		s.writeError(w, q, refuse(http.StatusNotFound, "feature_disabled", "SCIM server is disabled"))
		return
	}
	status, body := s.scimAnswer(strings.TrimPrefix(r.URL.Path, scimRoot), r)
	answer := &response{status: status}
	if body == nil {
		answer.header = http.Header{"Allow": {http.MethodGet}}
	} else {
		raw, err := json.Marshal(body)
		if err != nil {
			s.writeError(w, q, err)
			return
		}
		answer.header, answer.body = scimType, raw
	}
	answer.write(w, q)
}

// scimAnswer is the answer for a path below scimRoot; no body where the path knows no such method.
func (s *Server) scimAnswer(path string, r *http.Request) (status int, body any) {
	if path != "/ServiceProviderConfig" && path != "/ResourceTypes" && path != "/Schemas" {
		return scimRefusal(http.StatusNotFound, "Endpoint or resource does not exist")
	} else if r.Method != http.MethodGet {
		return http.StatusMethodNotAllowed, nil
	} else if path == "/ServiceProviderConfig" {
		return http.StatusOK, s.scimProvider()
	} else if r.URL.Query().Has("filter") {
		return scimRefusal(http.StatusForbidden, "Filtering is not supported on this endpoint")
	}
	return http.StatusOK, scimList{
		Schemas:    []string{"urn:ietf:params:scim:api:messages:2.0:ListResponse"},
		StartIndex: 1, Resources: []string{},
	}
}

func (s *Server) scimProvider() scimProvider {
	return scimProvider{
		Schemas: []string{"urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"},
		Schemes: []scimScheme{{
			Type: "oauthbearertoken", Name: "OAuth Bearer Token", Primary: true,
			Description: "Authentication scheme using the OAuth Bearer Token Standard", SpecURI: "http://www.rfc-editor.org/info/rfc6750",
		}},
		Meta: scimMeta{
			ResourceType: "ServiceProviderConfig",
			Location:     strings.TrimRight(s.config.ExternalURL, "/") + scimRoot + "/ServiceProviderConfig",
		},
	}
}

func scimRefusal(status int, detail string) (int, any) {
	return status, scimError{
		Schemas: []string{"urn:ietf:params:scim:api:messages:2.0:Error"}, Detail: detail, Status: strconv.Itoa(status),
	}
}
