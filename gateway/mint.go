package gateway

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/postern-auth/postern/gateway/seal"
)

// envelope is the argument made of what is minted for one mail: its parameters begin at $n.
func envelopeAt(n int) string {
	return fmt.Sprintf(`postern.envelope(outbox_id => $%d, code_hmac => $%d, link_digest => $%d, sealed => $%d,
		redirect_to => $%d, languages => $%d, link_host => $%d)`, n, n+1, n+2, n+3, n+4, n+5, n+6)
}

// sealedPart is what the database keeps sealed for a mail or SMS until it is sent.
type sealedPart struct {
	Code string `json:"code"`
	Link string `json:"link,omitempty"`

	// Of the present address, where a change of address takes both: a hook is told of them in one call.
	OtherCode string `json:"other_code,omitempty"`
	OtherLink string `json:"other_link,omitempty"`
}

// minted is a code and a link, and the envelope that SQL gets of them.
type minted struct {
	code, link string
	envelope   []any
}

// mint makes a code and a link for a mail or SMS that SQL may decide to send. Nothing of it is remembered here: what SQL does not
// use was never issued.
func (s *Server) mint(q *request, digits int, isPKCE bool, other minted) (m minted, err error) {
	id := uuid.NewString()
	if m.code, err = seal.Code(digits); err != nil {
		return m, err
	}
	m.link = seal.Link(isPKCE)
	secret, err := json.Marshal(sealedPart{Code: m.code, Link: m.link, OtherCode: other.code, OtherLink: other.link})
	if err != nil {
		return m, fmt.Errorf("encoding a code: %w", err)
	}
	m.envelope = []any{
		id, s.seal.CodeHMAC(m.code), seal.LinkDigest(m.link), s.seal.Seal(id, secret),
		s.redirectTarget(q, q.r.URL.Query().Get("redirect_to")), languages(q), text(s.linkHost(q)),
	}
	return m, nil
}

// languages are those of who makes the request, as an argument.
func languages(q *request) any { return text(storable(q.r.Header.Get("Accept-Language"))) }

// mintMail is mint with the settings for mail.
func (s *Server) mintMail(q *request, challenge string) (minted, error) {
	return s.mint(q, s.policy.get().MailerOTPLength, challenge != "", minted{})
}

// mintMails is mintMail for both halves of a change of address: the new one, which knows of the other, and the present one.
func (s *Server) mintMails(q *request, challenge string) (first, second minted, err error) {
	if second, err = s.mintMail(q, challenge); err == nil {
		first, err = s.mint(q, s.policy.get().MailerOTPLength, challenge != "", second)
	}
	return first, second, err
}

// mintText is mint with the settings for SMS.
func (s *Server) mintText(q *request) (minted, error) {
	m, err := s.mint(q, s.policy.get().SMSOTPLength, false, minted{})
	if err == nil && s.providerChecks() {
		m.envelope[1] = s.seal.CodeHMAC(approved)
	}
	return m, err
}

// approved stands in place of a code that the provider makes and checks: what it approves is presented to SQL as this. No client can
// present it, as requests with this character are refused.
const approved = "\x00 approved by the provider"

// providerChecks reports whether the codes of SMS are the provider's own.
func (s *Server) providerChecks() bool {
	return s.sms != nil && s.sms.ChecksCodes() && !s.policy.get().SMSHookEnabled
}

// textedCode is what SQL compares of a code that was sent to a number: its HMACs, or those of what the provider approves.
func (s *Server) textedCode(q *request, phone, presented string) ([][]byte, error) {
	if !s.providerChecks() || s.testCode(presented) != nil {
		return s.seal.CodeHMACs(presented), nil
	}
	// The limit first: a client over it costs no call.
	if key := s.limiterKey(q); key != nil {
		q.limitTaken = true
		if _, err := s.call(q, takeLimit, "verify", key); err != nil {
			return nil, err
		}
	}
	if !s.providerApproves(q, phone, presented) {
		return [][]byte{}, nil
	}
	return s.seal.CodeHMACs(approved), nil
}

// providerApproves asks the provider about a code that it made. One that cannot be asked about is not approved.
func (s *Server) providerApproves(q *request, phone, presented string) bool {
	ctx, cancel := q.outside()
	defer cancel()
	isApproved, err := s.sms.Check(ctx, strings.ReplaceAll(phone, " ", ""), presented)
	if err != nil {
		s.log.Warn("a code could not be checked with the SMS provider", "request_id", q.id(), "error", err)
	}
	return isApproved
}

// redirectTarget is where a link leads: what the request asks for if it is allowed, else the site (contract core.md 8.1).
// parameter is that of the link or the query; a header comes first.
func (s *Server) redirectTarget(q *request, parameter string) string {
	asked := q.r.Header.Get("redirect_to") //nolint:canonicalheader // net/http finds it in any spelling
	if asked == "" {
		asked = parameter
	}
	return storable(s.policy.get().redirects.Resolve(asked, q.r.Referer()))
}

// linkHost is the host that links of this request name instead of API_EXTERNAL_URL's (contract core.md 9.4); "" for none.
func (s *Server) linkHost(q *request) string {
	host := q.r.Header.Get("X-Forwarded-Host")
	if host == "" || !slices.Contains(s.config.MailerExternalHosts, host) {
		return ""
	}
	scheme := "https://"
	if name, _, _ := strings.Cut(host, ":"); name == "localhost" && q.r.Header.Get("X-Forwarded-Proto") == "http" {
		scheme = "http://"
	}
	return scheme + host
}

// actionLink is the link of a mail (contract core.md 9.4).
func (s *Server) actionLink(host, path, token, linkType, target string) (string, error) {
	if host == "" {
		host = s.config.ExternalURL
	}
	base, err := url.Parse(host)
	if err != nil {
		return "", fmt.Errorf("the address that links name: %w", err)
	}
	if path == "" {
		path = "/verify"
	}
	link, err := base.Parse(path)
	if err != nil {
		return "", fmt.Errorf("the path that links name: %w", err)
	}
	if strings.ContainsAny(target, "&=#") {
		target = url.QueryEscape(target)
	}
	link.RawQuery = "token=" + url.QueryEscape(token) + "&type=" + url.QueryEscape(linkType) + "&redirect_to=" + target
	return link.String(), nil
}
