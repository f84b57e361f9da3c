package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

	"github.com/postern-auth/postern/gateway/hook"
	"github.com/postern-auth/postern/gateway/totp"
)

// member is the caller of functions for the second factors of a signed-in user.
const member = `postern.caller(user_id => $1, session_id => $2, ip => $3, user_agent => $4, limiter_key => $5, request_id => $6)`

func (s *Server) memberArguments(q *request) []any {
	return []any{
		uuidArgument(q.claims.Subject), uuidArgument(q.claims.SessionID), s.address(q), userAgent(q), s.limiterKey(q), q.id(),
	}
}

// factorFacts is what SQL says of a factor: to show it as a QR code, or to judge a code.
type factorFacts struct {
	Email string `json:"email"` // of a new factor's account

	ID      string `json:"id"`
	Type    string `json:"type"`
	UserID  string `json:"user_id"`
	Stored  string `json:"stored"` // what the code is compared with, as it is stored
	Phone   string `json:"phone"`
	IsValid bool   `json:"is_valid"` // of phones: whether it was the code
}

type newFactor struct {
	FactorType   string `json:"factor_type"`
	FriendlyName string `json:"friendly_name"`
	Issuer       string `json:"issuer"`
	Phone        string `json:"phone"`
}

// longestIssuer leaves the QR code room for secret and address, in bytes of the escaped name.
const longestIssuer = 300

// enrollFactor is POST /factors (contract mfa-hooks.md 1.4).
func (s *Server) enrollFactor(q *request) (*response, error) {
	var in newFactor
	problem, err := bodyProblem(q.decode(&in))
	if err != nil {
		return nil, err
	}
	var id, secret string
	var sealed any
	if in.FactorType == "totp" && problem == nil {
		if err := s.chooseIssuer(&in); err != nil {
			return nil, err
		}
		id, secret = uuid.NewString(), totp.NewSecret()
		sealed = s.seal.SealFactor(id, secret)
	}
	a, err := s.call(q, `select postern.enroll_factor(caller => `+member+`, factor_type => $7, friendly_name => $8, phone => $9,
		factor_id => $10, sealed_secret => $11, body_problem => $12)`,
		append(s.memberArguments(q), text(in.FactorType), text(in.FriendlyName), text(in.Phone), text(id), sealed, problem)...)
	if err != nil || in.FactorType != "totp" {
		return passOn(a, err)
	}
	return showSecret(id, in, a.Factor.Email, secret)
}

// chooseIssuer puts the site's host in place of a missing issuer.
func (s *Server) chooseIssuer(in *newFactor) error {
	if in.Issuer == "" {
		site, err := url.Parse(s.policy.get().SiteURL)
		if err != nil {
			return refuse(http.StatusInternalServerError, "unexpected_failure", "site url is improperly formatted")
		}
		in.Issuer = site.Host
	}
	if len(url.PathEscape(in.Issuer)) > longestIssuer {
		return refuse(http.StatusBadRequest, "validation_failed", "issuer is too long for a QR code")
	}
	return nil
}

// showSecret answers with the secret of a new factor, this once.
func showSecret(id string, in newFactor, email, secret string) (*response, error) {
	type shown struct {
		QRCode string `json:"qr_code"`
		Secret string `json:"secret"`
		URI    string `json:"uri"`
	}
	uri := totp.URI(in.Issuer, email, secret)
	picture, err := totp.QR(uri)
	if err != nil {
		e := refuse(http.StatusInternalServerError, "unexpected_failure", "Error generating QR Code")
		e.Cause = err.Error()
		return nil, e
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // the picture would be twice as long
	err = encoder.Encode(struct {
		ID           string `json:"id"`
		Type         string `json:"type"`
		FriendlyName string `json:"friendly_name"`
		TOTP         shown  `json:"totp"`
	}{id, in.FactorType, in.FriendlyName, shown{picture, secret, uri}})
	return &response{body: bytes.TrimSuffix(body.Bytes(), []byte("\n"))}, err
}

// bodyProblem is why a body cannot be read, as an argument: who asks for which factor is refused first, and only SQL knows that. An
// error of another kind is returned as it is.
func bodyProblem(err error) (any, error) {
	e, ok := errors.AsType[*refusal](err)
	if !ok || e.Code != "bad_json" {
		return nil, err
	}
	return storable(e.Message), nil
}

// pathFactorID is the path's factor id as text; SQL says whether it is one.
func pathFactorID(q *request) string { return storable(q.r.PathValue("factor_id")) }

// challengeFactor is POST /factors/{factor_id}/challenge (contract mfa-hooks.md 1.5, 1.6). Only SQL knows the factor's type: the
// code is of no use, and the body need not be there, unless it is a phone.
func (s *Server) challengeFactor(q *request) (*response, error) {
	var in struct {
		Channel string `json:"channel"`
	}
	problem, err := bodyProblem(q.decode(&in))
	if err != nil {
		return nil, err
	}
	m, err := s.mint(q, s.policy.get().FactorOTPLength, false, minted{})
	if err != nil {
		return nil, err
	}
	args := append(s.memberArguments(q), pathFactorID(q), text(in.Channel), s.sms.Channels(), problem)
	a, err := s.call(q, `select postern.challenge_factor(caller => `+member+`, factor_id => $7, channel => $8, channels => $9,
		body_problem => $10, envelope => `+envelopeAt(11)+`)`, append(args, m.envelope...)...)
	return passOn(s.delivered(q, a, err))
}

// verifyFactor is POST /factors/{factor_id}/verify (contract mfa-hooks.md 1.7). As with passwords, one statement says what the code
// is compared with, the comparison and hooks behind HTTP hold no transaction, and a second one records the outcome.
func (s *Server) verifyFactor(q *request) (*response, error) {
	var in struct {
		ChallengeID *string `json:"challenge_id"`
		Code        string  `json:"code"`
	}
	err := q.decode(&in)
	challengeID := ""
	if err == nil && in.ChallengeID != nil {
		if isUUID(*in.ChallengeID) {
			challengeID = *in.ChallengeID
		} else {
			err = badJSON(uuidProblem(*in.ChallengeID))
		}
	}
	problem, err := bodyProblem(err)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		a, err := s.verificationAttempt(q, challengeID, in.Code, problem)
		// The stored secret changed between the two statements, as it was sealed perhaps: once more with the new one.
		if e, ok := errors.AsType[*refusal](err); ok && e.Code == "conflict" && try < 3 {
			q.limitTaken = true
			continue
		}
		answer, err := s.signIn(q, a, err, nil)
		if err == nil {
			answer.header = nil // as the reference, which names the session in headers of sign-ins only
		}
		return answer, err
	}
}

// uuidProblem says in the reference's words why a text is no UUID.
func uuidProblem(id string) string {
	switch len(id) {
	case 32, 34, 36, 38, 41, 45:
		return fmt.Sprintf("uuid: incorrect UUID format in string %q", id)
	}
	return fmt.Sprintf("uuid: incorrect UUID length %d in string %q", len(id), id)
}

func (s *Server) verificationAttempt(q *request, challengeID, code string, problem any) (*answer, error) {
	codes := [][]byte{}
	if code != "" {
		codes = s.seal.CodeHMACs(code)
	}
	a, err := s.call(q, `select postern.check_factor_code(caller => `+member+`, factor_id => $7, challenge_id => $8, code_hmacs => $9,
		is_provider_asked => $10, languages => $11, body_problem => $12)`,
		append(s.memberArguments(q), pathFactorID(q), uuidArgument(challengeID), codes, s.providerChecks(), languages(q), problem)...)
	if err != nil || a.Factor == nil {
		return a, err
	}
	isValid, sealed, err := s.judgeCode(q, a.Factor, code)
	if err != nil {
		return nil, err
	}
	policy := s.policy.get()
	var output any
	if policy.FactorHookEnabled && !isFunction(policy.FactorHookURI) {
		output, err = s.askAttemptHook(q, hook.MFAVerificationAttempt, policy.FactorHookURI, attemptInput{
			UserID: a.Factor.UserID, FactorID: a.Factor.ID, FactorType: a.Factor.Type, Valid: isValid,
		})
		if err != nil {
			return nil, err
		}
	}
	return s.callLimitedIf(policy.tokenHookInSQL() || policy.factorHookInSQL(), q, `select postern.verify_factor(
		caller => `+member+`, factor_id => $7, challenge_id => $8, is_valid => $9, compared_digest => $10, sealed_secret => $11,
		hook_output => $12, languages => $13)`,
		append(s.memberArguments(q), a.Factor.ID, uuidArgument(challengeID), isValid, digest(a.Factor.Stored), sealed, output, languages(q))...)
}

// judgeCode says whether a code is right, and returns the secret sealed anew where the newest key has not sealed it.
func (s *Server) judgeCode(q *request, factor *factorFacts, code string) (isValid bool, sealed any, err error) {
	if factor.Type == "phone" {
		if !s.providerChecks() {
			return factor.IsValid, nil, nil
		}
		if !s.providerApproves(q, factor.Phone, code) {
			return false, nil, refuse(http.StatusForbidden, "otp_expired", "Token has expired or is invalid")
		}
		return true, nil, nil
	}
	secret, isCurrent, err := s.seal.OpenFactor(factor.ID, factor.Stored)
	if err == nil {
		isValid, err = totp.Matches(secret, code, time.Now())
	}
	if err != nil {
		e := refuse(http.StatusInternalServerError, "unexpected_failure", "Database error verifying MFA TOTP secret")
		e.Cause = err.Error()
		return false, nil, e
	}
	if !isCurrent {
		sealed = s.seal.SealFactor(factor.ID, secret)
	}
	return isValid, sealed, nil
}

// unenrollFactor is DELETE /factors/{factor_id} (contract mfa-hooks.md 1.9).
func (s *Server) unenrollFactor(q *request) (*response, error) {
	a, err := s.call(q, `select postern.unenroll_factor(caller => `+member+`, factor_id => $7, languages => $8)`,
		append(s.memberArguments(q), pathFactorID(q), languages(q))...)
	return passOn(a, err)
}

// adminListFactors is GET /admin/users/{user_id}/factors (contract admin.md 8).
func (s *Server) adminListFactors(q *request) (*response, error) {
	return passOn(s.callAdmin(q, "admin_list_factors", `, user_id => $6`, pathUserID(q)))
}

// adminUpdateFactor is PUT /admin/users/{user_id}/factors/{factor_id} (contract admin.md 8).
func (s *Server) adminUpdateFactor(q *request) (*response, error) {
	var in struct {
		FriendlyName string `json:"friendly_name"`
		Phone        string `json:"phone"`
	}
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	return passOn(s.callAdmin(q, "admin_update_factor", `, user_id => $6, factor_id => $7, friendly_name => $8, phone => $9`,
		pathUserID(q), pathFactorID(q), text(in.FriendlyName), text(in.Phone)))
}

// adminDeleteFactor is DELETE /admin/users/{user_id}/factors/{factor_id} (contract admin.md 8).
func (s *Server) adminDeleteFactor(q *request) (*response, error) {
	return passOn(s.call(q, `select postern.admin_delete_factor(user_id => $7, factor_id => $8, caller => postern.caller(
		user_id => $1, session_id => $2, role => $3, audience => $4, request_id => $5, ip => $6))`,
		append(s.administratorArguments(q), s.address(q), pathUserID(q), pathFactorID(q))...))
}
