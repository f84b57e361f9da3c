package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
)

type recoverBody struct {
	Email               string `json:"email"`
	CodeChallenge       string `json:"code_challenge"`
	CodeChallengeMethod string `json:"code_challenge_method"`
}

// requestCaller is the caller of functions that nobody has to be signed in for: its parameters begin at $n.
const requestCaller = `postern.caller(limiter_key => $1, audience => $2, request_id => $3)`

func (s *Server) requestCaller(q *request) []any {
	return []any{s.limiterKey(q), s.audience(q), q.id()}
}

// recover is POST /recover (contract core.md 7.4).
func (s *Server) recover(q *request) (*response, error) {
	var in recoverBody
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if err := s.checkMailAddress(q, in.Email, "recovery"); err != nil {
		return nil, err
	}
	m, err := s.mintMail(q, in.CodeChallenge)
	if err != nil {
		return nil, err
	}
	args := append(s.requestCaller(q), text(in.Email), text(in.CodeChallenge), text(in.CodeChallengeMethod))
	a, err := s.call(q, `select postern.request_recovery(caller => `+requestCaller+`, email => $4, code_challenge => $5,
		code_challenge_method => $6, envelope => `+envelopeAt(7)+`)`, append(args, m.envelope...)...)
	return passOn(s.mailed(q, a, err))
}

// mailed has what a statement may have queued delivered: by this request where the client sees the result, else by a worker.
func (s *Server) mailed(q *request, a *answer, err error) (*answer, error) {
	a, err = s.delivered(q, a, err)
	if err == nil {
		s.outbox.nudge()
	}
	return a, err
}

type otpBody struct {
	Email               string `json:"email"`
	Phone               string `json:"phone"`
	CreateUser          *bool  `json:"create_user"`
	Data                object `json:"data"`
	Channel             string `json:"channel"`
	CodeChallenge       string `json:"code_challenge"`
	CodeChallengeMethod string `json:"code_challenge_method"`
}

// otp is POST /otp (contract core.md 7.5).
func (s *Server) otp(q *request) (*response, error) {
	var in otpBody
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	switch {
	case in.Email != "" && in.Phone != "":
		return nil, refuse(http.StatusBadRequest, "validation_failed", "Only an email address or phone number should be provided")
	case in.Email != "" && in.Channel != "":
		return nil, refuse(http.StatusBadRequest, "validation_failed", "Channel should only be specified with Phone OTP")
	case in.Phone != "":
		return s.otpByText(q, in)
	}
	return s.magicLinkFor(q, in, "otp")
}

func (s *Server) otpByText(q *request, in otpBody) (*response, error) {
	newUser, err := s.prepareForCode(q, in, "otp")
	if err != nil {
		return nil, err
	}
	m, err := s.mintText(q)
	if err != nil {
		return nil, err
	}
	args := append(s.requestCaller(q), text(in.Phone), in.CreateUser == nil || *in.CreateUser, in.Data.argument(), text(in.Channel),
		text(in.CodeChallenge), text(in.CodeChallengeMethod), newUser, s.sms.Channels())
	a, err := s.call(q, `select postern.request_sms(caller => `+requestCaller+`, phone => $4, create_user => $5, data => $6::jsonb,
		channel => $7, code_challenge => $8, code_challenge_method => $9, new_user_id => $10, channels => $11,
		envelope => `+envelopeAt(12)+`)`, append(args, m.envelope...)...)
	a, err = s.delivered(q, a, err)
	return passOn(s.toldAfter(q, a, err))
}

// magicLink is POST /magiclink (contract core.md 7.5).
func (s *Server) magicLink(q *request) (*response, error) {
	var in struct {
		Email               string `json:"email"`
		Data                object `json:"data"`
		CodeChallenge       string `json:"code_challenge"`
		CodeChallengeMethod string `json:"code_challenge_method"`
	}
	// What follows the object is not looked at, unlike everywhere else, and any trouble is one of these.
	raw, err := q.body()
	if err == nil {
		err = json.NewDecoder(bytes.NewReader(raw)).Decode(&in)
	}
	if err != nil {
		detail := err.Error()
		if e, ok := errors.AsType[*refusal](err); ok {
			detail = strings.TrimPrefix(e.Message, "Could not parse request body as JSON: ")
		}
		return nil, refuse(http.StatusBadRequest, "bad_json", "Could not read verification params: "+detail)
	}
	return s.magicLinkFor(q, otpBody{
		Email: in.Email, Data: in.Data, CodeChallenge: in.CodeChallenge, CodeChallengeMethod: in.CodeChallengeMethod,
	}, "magic_link")
}

func (s *Server) magicLinkFor(q *request, in otpBody, limiter string) (*response, error) {
	if err := s.checkMailAddress(q, in.Email, "magic link"); err != nil {
		return nil, err
	}
	newUser, err := s.prepareForCode(q, in, limiter)
	if err != nil {
		return nil, err
	}
	m, err := s.mintMail(q, in.CodeChallenge)
	if err != nil {
		return nil, err
	}
	args := append(s.requestCaller(q), text(in.Email), in.CreateUser == nil || *in.CreateUser, in.Data.argument(),
		text(in.CodeChallenge), text(in.CodeChallengeMethod), limiter, newUser)
	a, err := s.call(q, `select postern.request_magic_link(caller => `+requestCaller+`, email => $4, create_user => $5,
		data => $6::jsonb, code_challenge => $7, code_challenge_method => $8, limiter => $9, new_user_id => $10,
		envelope => `+envelopeAt(11)+`)`,
		append(args, m.envelope...)...)
	a, err = s.mailed(q, a, err)
	return passOn(s.toldAfter(q, a, err))
}

// resend is POST /resend (contract core.md 7.6).
func (s *Server) resend(q *request) (*response, error) {
	var in struct {
		Type                string `json:"type"`
		Email               string `json:"email"`
		Phone               string `json:"phone"`
		CodeChallenge       string `json:"code_challenge"`
		CodeChallengeMethod string `json:"code_challenge_method"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	kind := "confirmation"
	if in.Type == "email_change" {
		kind = "email change"
	}
	if err := s.checkMailAddress(q, in.Email, kind); err != nil {
		return nil, err
	}
	// Whichever of address and number the account is named by, the type says what is sent.
	first, second, err := s.mintMails(q, in.CodeChallenge)
	if err == nil && (in.Type == "sms" || in.Type == "phone_change") {
		first, err = s.mintText(q)
	}
	if err != nil {
		return nil, err
	}
	args := append(s.requestCaller(q), text(in.Type), text(in.Email), text(in.Phone), text(in.CodeChallenge), text(in.CodeChallengeMethod))
	a, err := s.call(q, `select postern.resend(caller => `+requestCaller+`, type => $4, email => $5, phone => $6,
		code_challenge => $7, code_challenge_method => $8, envelope => `+envelopeAt(9)+`, second_envelope => `+envelopeAt(16)+`)`,
		append(append(args, first.envelope...), second.envelope...)...)
	return passOn(withMessageID(s.mailed(q, a, err)))
}

// reauthenticate is GET /reauthenticate (contract core.md 6.7).
func (s *Server) reauthenticate(q *request) (*response, error) {
	mail, err := s.mintMail(q, "")
	if err != nil {
		return nil, err
	}
	sms, err := s.mint(q, s.policy.get().SMSOTPLength, false, minted{})
	if err != nil {
		return nil, err
	}
	args := []any{uuidArgument(q.claims.Subject), uuidArgument(q.claims.SessionID), q.id()}
	a, err := s.call(q, `select postern.reauthenticate(caller => postern.caller(user_id => $1, session_id => $2, request_id => $3),
		envelope => `+envelopeAt(4)+`, text_envelope => `+envelopeAt(11)+`)`, append(append(args, mail.envelope...), sms.envelope...)...)
	return passOn(withMessageID(s.mailed(q, a, err)))
}
