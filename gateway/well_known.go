package gateway

import (
	"encoding/json"
	"net/http"
	"strings"
)

// cacheable marks the documents that change only with the configuration (contract core.md 2.3, 2.4).
func cacheable() http.Header { return http.Header{"Cache-Control": {"public, max-age=600"}} }

// jwks is GET /.well-known/jwks.json: the public keys that access tokens verify with.
func (s *Server) jwks(*request) (*response, error) {
	return &response{header: cacheable(), body: s.keys.JWKS()}, nil
}

type discoveryBody struct {
	Issuer                 string   `json:"issuer"`
	AuthorizationEndpoint  string   `json:"authorization_endpoint"`
	TokenEndpoint          string   `json:"token_endpoint"`
	JWKSURI                string   `json:"jwks_uri"`
	UserinfoEndpoint       string   `json:"userinfo_endpoint"`
	ScopesSupported        []string `json:"scopes_supported"`
	ResponseTypes          []string `json:"response_types_supported"`
	ResponseModes          []string `json:"response_modes_supported"`
	GrantTypes             []string `json:"grant_types_supported"`
	SubjectTypes           []string `json:"subject_types_supported"`
	SigningAlgorithms      []string `json:"id_token_signing_alg_values_supported"`
	TokenEndpointAuthModes []string `json:"token_endpoint_auth_methods_supported"`
	ClaimsSupported        []string `json:"claims_supported"`
	CodeChallengeMethods   []string `json:"code_challenge_methods_supported"`
}

// openIDConfiguration is GET /.well-known/openid-configuration (contract core.md 2.4).
func (s *Server) openIDConfiguration(*request) (*response, error) {
	issuer := s.policy.get().JWTIssuer
	base := strings.TrimRight(issuer, "/")
	body, err := json.Marshal(discoveryBody{
		Issuer:                 issuer,
		AuthorizationEndpoint:  base + "/oauth/authorize",
		TokenEndpoint:          base + "/oauth/token",
		JWKSURI:                base + "/.well-known/jwks.json",
		UserinfoEndpoint:       base + "/oauth/userinfo",
		ScopesSupported:        []string{"openid", "profile", "email", "phone", "offline_access"},
		ResponseTypes:          []string{"code"},
		ResponseModes:          []string{"query"},
		GrantTypes:             []string{"authorization_code", "refresh_token"},
		SubjectTypes:           []string{"public"},
		SigningAlgorithms:      []string{"RS256", "HS256", "ES256"},
		TokenEndpointAuthModes: []string{"client_secret_basic", "client_secret_post", "none"},
		ClaimsSupported: []string{
			"sub", "aud", "iss", "exp", "iat", "auth_time", "nonce", "email", "email_verified", "phone_number",
			"phone_number_verified", "name", "picture", "preferred_username", "updated_at",
		},
		CodeChallengeMethods: []string{"S256", "plain"},
	})
	return &response{header: cacheable(), body: body}, err
}
