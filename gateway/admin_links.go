package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// invite is POST /invite (contract admin.md 9).
func (s *Server) invite(q *request) (*response, error) {
	var in struct {
		Email string `json:"email"`
		Data  object `json:"data"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if err := s.checkMailAddress(q, in.Email, "invite"); err != nil {
		return nil, err
	}
	newUser, err := s.prepareInvited(q, in.Email, in.Data)
	if err != nil {
		return nil, err
	}
	m, err := s.mintMail(q, "")
	if err != nil {
		return nil, err
	}
	args := append(s.administratorArguments(q), text(in.Email), in.Data.argument(), newUser)
	a, err := s.call(q, `select postern.admin_invite_user(caller => `+administrator+`, email => $6, data => $7::jsonb,
		new_user_id => $8, envelope => `+envelopeAt(9)+`)`, append(args, m.envelope...)...)
	a, err = s.mailed(q, a, err)
	return passOn(s.toldAfterByAdministrator(q, a, err))
}

type generateLinkBody struct {
	Type       string `json:"type"`
	Email      string `json:"email"`
	NewEmail   string `json:"new_email"`
	Password   string `json:"password"`
	Data       object `json:"data"`
	RedirectTo string `json:"redirect_to"`
}

// adminGenerateLink is POST /admin/generate_link (contract admin.md 10).
func (s *Server) adminGenerateLink(q *request) (*response, error) {
	var in generateLinkBody
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	m, err := s.mintMail(q, "")
	if err != nil {
		return nil, err
	}
	var hash string
	var problem *passwordProblem
	if in.Type == "signup" && in.Email != "" {
		// Whether the account is new, SQL finds out. A known one keeps its password, whatever this one is like.
		if problem = s.judge(q, in.Password); problem == nil {
			if hash, err = s.hash(q, in.Password); err != nil {
				return nil, err
			}
		}
	}
	var newUser any
	if problem == nil && (in.Type == "signup" || in.Type == "magiclink" || in.Type == "invite") {
		if newUser, err = s.prepareInvited(q, in.Email, in.Data); err != nil {
			return nil, err
		}
	}
	args := append(s.administratorArguments(q), text(in.Type), text(in.Email), text(in.NewEmail), text(hash), problem.argument(),
		in.Data.argument(), newUser)
	a, err := s.call(q, `select postern.admin_generate_link(caller => `+administrator+`, type => $6, email => $7,
		new_email => $8, password_hash => $9, password_problem => $10::json, data => $11::jsonb, new_user_id => $12,
		envelope => `+envelopeAt(13)+`)`, append(args, m.envelope...)...)
	a, err = s.toldAfterByAdministrator(q, a, err)
	if err != nil {
		return nil, problem.explain(err)
	}
	body, err := s.withLink(q, a.Body, m, in.RedirectTo)
	return &response{body: body}, err
}

// withLink adds what only the gateway knows to the user that SQL answered: code and link, and where the link leads.
func (s *Server) withLink(q *request, user json.RawMessage, m minted, asked string) ([]byte, error) {
	var found struct {
		Type string `json:"verification_type"`
	}
	if err := json.Unmarshal(user, &found); err != nil {
		return nil, fmt.Errorf("decoding the type of a link: %w", err)
	}
	target := s.redirectTarget(q, q.r.URL.Query().Get("redirect_to"))
	if asked != "" && s.policy.get().redirects.Allowed(asked) {
		target = storable(asked)
	}
	linkType := found.Type
	if strings.HasPrefix(linkType, "email_change") {
		linkType = "email_change"
	}
	link, err := s.actionLink(s.linkHost(q), s.linkPath(linkType), m.link, linkType, target)
	if err != nil {
		return nil, err
	}
	// hashed_token is what POST /verify takes as token_hash. The stored value is another one (DESIGN 8).
	more, err := json.Marshal(map[string]string{
		"action_link": link, "email_otp": m.code, "hashed_token": m.link, "redirect_to": target,
	})
	if err != nil {
		return nil, fmt.Errorf("encoding a link: %w", err)
	}
	return append(append(bytes.TrimSuffix(bytes.Clone(user), []byte("}")), ','), more[1:]...), nil
}
