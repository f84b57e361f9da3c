package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/postern-auth/postern/gateway/seal"
)

// verifyLink is GET /verify: somebody follows the link of a mail (contract core.md 7.7).
func (s *Server) verifyLink(q *request) (*response, error) {
	link := q.r.URL.Query()
	if err := checkLink(link); err != nil {
		return nil, err
	}
	if prefetched(q.r.Header) {
		// Mail scanners and browsers that look ahead must not use the link up.
		return &response{status: http.StatusNoContent, header: http.Header{"Cache-Control": {"no-store"}}}, nil
	}
	if s.config.VerifyConfirmPage {
		return showConfirmPage(link)
	}
	return s.followLink(q, link)
}

func checkLink(link url.Values) error {
	if link.Get("type") == "" {
		return refuse(http.StatusBadRequest, "validation_failed", "Verify requires a verification type")
	} else if link.Get("token") == "" {
		return refuse(http.StatusBadRequest, "validation_failed", "Verify requires a token or a token hash")
	}
	return nil
}

// followLink uses a link up and sends the browser on.
func (s *Server) followLink(q *request, link url.Values) (*response, error) {
	if err := checkLink(link); err != nil {
		return nil, err
	}
	target := s.redirectTarget(q, link.Get("redirect_to"))
	token := storable(link.Get("token"))
	isPKCE := seal.IsPKCE(token)
	a, err := s.verify(q, link.Get("type"), []any{seal.LinkDigest(token), isPKCE, [][]byte{}, nil, nil, nil, nil})
	var answer *response
	if err == nil {
		answer, err = s.redirectVerified(q, target, link.Get("type"), isPKCE, a)
	}
	if err != nil {
		return s.redirectError(q, target, isPKCE, err)
	}
	return answer, nil
}

// prefetched reports whether a request only looks ahead.
func prefetched(header http.Header) bool {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Moz", "X-Purpose"} {
		if value := strings.ToLower(header.Get(name)); strings.Contains(value, "prefetch") || strings.Contains(value, "preview") {
			return true
		}
	}
	return false
}

// verify asks SQL about a token; proof is link digest, PKCE, code HMACs, adopted digest, address, number and test code.
func (s *Server) verify(q *request, kind string, proof []any) (*answer, error) {
	args := append([]any{storable(kind)}, proof...)
	return s.callWithHook(q, `select postern.verify_one_time_token(type => $1, link_digest => $2, is_pkce => $3,
		code_hmacs => $4, adopted_digest => $5, email => $6, phone => $7, test_code => $8,
		caller => postern.caller(ip => $9, user_agent => $10, audience => $11, limiter_key => $12, request_id => $13),
		languages => $14)`,
		append(args, s.address(q), userAgent(q), s.audience(q), s.limiterKey(q), q.id(), languages(q))...)
}

// postVerify is POST /verify: a client presents a code or the token of a link (contract core.md 7.8).
func (s *Server) postVerify(q *request) (*response, error) {
	var in struct {
		Type       string `json:"type"`
		Token      string `json:"token"`
		TokenHash  string `json:"token_hash"`
		Email      string `json:"email"`
		Phone      string `json:"phone"`
		RedirectTo string `json:"redirect_to"`
	}
	if link, err := s.confirmed(q); link != nil || err != nil {
		if err != nil {
			return nil, err
		}
		return s.followLink(q, link)
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	invalid := func(message string) error { return refuse(http.StatusBadRequest, "validation_failed", message) }
	switch {
	case in.Type == "":
		return nil, invalid("Verify requires a verification type")
	case (in.Token == "") == (in.TokenHash == ""):
		return nil, invalid("Verify requires either a token or a token hash")
	case in.Token != "" && (in.Email == "") == (in.Phone == ""):
		return nil, invalid("Only an email address or phone number should be provided on verify")
	case in.TokenHash != "" && (in.Email != "" || in.Phone != "" || in.RedirectTo != ""):
		return nil, invalid("Only the token_hash and type should be provided")
	}

	proof := []any{seal.LinkDigest(in.TokenHash), false, [][]byte{}, nil, nil, nil, nil}
	switch {
	case in.Phone != "":
		codes, err := s.textedCode(q, in.Phone, in.Token)
		if err != nil {
			return nil, err
		}
		proof = []any{nil, false, codes, nil, nil, in.Phone, s.testCode(in.Token)}
	case in.Token != "":
		address := strings.ToLower(in.Email)
		proof = []any{nil, false, s.seal.CodeHMACs(in.Token), seal.AdoptedCodeDigest(address, in.Token), text(address), nil, nil}
	}
	a, err := s.verify(q, in.Type, proof)
	return s.signIn(q, a, err, nil)
}

// testCode is a presented code as an argument when it is one of those configured for test numbers, which are no secrets; NULL else.
func (s *Server) testCode(presented string) any {
	for _, code := range s.policy.get().TestCodes {
		if code == presented {
			return code
		}
	}
	return nil
}

// redirectVerified sends the browser on with the session, the auth code or the message that it is half done.
func (s *Server) redirectVerified(q *request, target, kind string, isPKCE bool, a *answer) (*response, error) {
	if a.Session == nil {
		var body struct {
			AuthCode string `json:"auth_code"`
			Message  string `json:"msg"`
		}
		if err := json.Unmarshal(a.Body, &body); err != nil {
			return nil, fmt.Errorf("decoding the outcome of a verification: %w", err)
		}
		if body.AuthCode != "" {
			return seeOther(withQuery(target, url.Values{"code": {body.AuthCode}}), nil), nil
		}
		values := url.Values{"message": {body.Message}, "sb": {""}}
		if isPKCE {
			target = withQuery(target, url.Values{"message": {body.Message}})
		}
		return seeOther(withFragment(target, values), nil), nil
	}
	signed, err := s.signIn(q, a, nil, nil)
	if err != nil {
		return nil, err
	}
	var tokens struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal(signed.body, &tokens); err != nil {
		return nil, fmt.Errorf("decoding own tokens: %w", err)
	}
	values := url.Values{
		"access_token": {tokens.Access}, "refresh_token": {tokens.Refresh}, "token_type": {"bearer"}, "sb": {""},
		"expires_in": {strconv.FormatInt(a.Session.ExpiresIn, 10)}, "expires_at": {strconv.FormatInt(a.Session.ExpiresAt, 10)},
		"type": {linkOutcome(kind, a.Verified)},
	}
	return seeOther(target+"#"+values.Encode(), signed.header), nil
}

// linkOutcome is the type that the client is told: of the type email, which of the two kinds of mail it was.
func linkOutcome(kind, verified string) string {
	switch {
	case kind != "email":
		return kind
	case verified == "confirmation_token":
		return "signup"
	}
	return "magiclink"
}

// redirectError sends the browser on with what went wrong; errors of ours, not of the link, are answered as everywhere.
func (s *Server) redirectError(q *request, target string, isPKCE bool, err error) (*response, error) {
	e, ok := errors.AsType[*refusal](err)
	if !ok || e.Status == http.StatusTooManyRequests {
		return nil, err
	}
	s.logFailure(q, e.generalStatus(), err)
	values := url.Values{"error_code": {e.Code}, "error_description": {e.Message}}
	if e.Code == codeUnknown {
		values.Set("error_code", "") // a hook's words have none, and only bodies name that "unknown"
	}
	if name := oauthError(e.generalStatus()); name != "" {
		values.Set("error", name)
	}
	if isPKCE {
		target = withQuery(target, values)
	}
	values.Set("sb", "")
	header := http.Header{}
	tellRequestID(header, q)
	return seeOther(withFragment(target, values), header), nil
}

func oauthError(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "invalid_request"
	case http.StatusUnauthorized:
		return "unauthorized_client"
	case http.StatusForbidden:
		return "access_denied"
	case http.StatusInternalServerError:
		return "server_error"
	case http.StatusServiceUnavailable:
		return "temporarily_unavailable"
	}
	return ""
}

func withQuery(target string, more url.Values) string {
	address, err := url.Parse(target)
	if err != nil {
		return target
	}
	query := address.Query()
	maps.Copy(query, more)
	address.RawQuery = query.Encode()
	return address.String()
}

// withFragment replaces the fragment. The values are escaped once more, as the reference's clients expect.
func withFragment(target string, values url.Values) string {
	address, err := url.Parse(target)
	if err != nil {
		return target
	}
	address.Fragment = values.Encode()
	address.RawFragment = ""
	return address.String()
}

func seeOther(location string, header http.Header) *response {
	if header == nil {
		header = http.Header{}
	}
	header["Location"] = []string{location}
	header["Content-Type"] = []string{"text/html; charset=utf-8"}
	return &response{
		status: http.StatusSeeOther, header: header,
		body: []byte(`<a href="` + html.EscapeString(location) + `">See Other</a>.` + "\n\n"),
	}
}
