package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/postern-auth/postern/gateway/password"
)

// getUser is GET /user (contract core.md 6.1).
func (s *Server) getUser(q *request) (*response, error) {
	a, err := s.callFor(q, readAccounts, func() ([]byte, error) {
		return s.accounts.read(q.deadline, q.claims.Subject, q.claims.SessionID)
	})
	if err == nil {
		err = s.checkAudience(q)
	}
	return passOn(a, err)
}

// checkAudience refuses a token of another audience than the request's (contract core.md 1.9).
func (s *Server) checkAudience(q *request) error {
	policy := s.policy.get()
	wanted := q.r.Header.Get("X-JWT-AUD")
	if wanted == "" {
		wanted = q.claims.Audience
		if slices.Contains(policy.AdminRoles, q.claims.Role) {
			wanted = policy.JWTAudience
		}
	}
	if q.claims.Audience == "" || q.claims.Audience != wanted {
		return refuse(http.StatusBadRequest, "validation_failed", "Token audience doesn't match request audience")
	}
	return nil
}

type updateUserBody struct {
	Email               string  `json:"email"`
	Phone               string  `json:"phone"`
	Password            *string `json:"password"`
	CurrentPassword     string  `json:"current_password"`
	Nonce               string  `json:"nonce"`
	Data                object  `json:"data"`
	AppMetadata         object  `json:"app_metadata"`
	Channel             string  `json:"channel"`
	CodeChallenge       string  `json:"code_challenge"`
	CodeChallengeMethod string  `json:"code_challenge_method"`
}

// updateUser is PUT /user (contract core.md 6.2 to 6.6). A new password is compared with the stored one outside of any
// transaction, so it takes two statements.
func (s *Server) updateUser(q *request) (*response, error) {
	var in updateUserBody
	if err := q.decode(&in); err != nil {
		return nil, s.countRefused(q, err)
	}
	if in.Email != "" && !s.policy.get().MailerAutoconfirm {
		if err := s.checkMailAddress(q, in.Email, "email change"); err != nil {
			return nil, s.countRefused(q, err)
		}
	}
	key := s.limiterKey(q)
	for try := 1; ; try++ {
		a, err := s.updateAttempt(q, in, key)
		// Somebody changed the password between the two statements: once more with the new one.
		if e, ok := errors.AsType[*refusal](err); ok && e.Code == "conflict" && in.Password != nil && try < 3 {
			key = nil
			continue
		}
		return passOn(a, err)
	}
}

// countRefused has SQL count a change that came to nothing, unless the client was over its limit before: the limit comes first
// (contract core.md 6.3).
func (s *Server) countRefused(q *request, failure error) error {
	if _, err := s.findOwnPassword(q, s.limiterKey(q)); err != nil {
		return err
	}
	return failure
}

func (s *Server) updateAttempt(q *request, in updateUserBody, limiterKey any) (*answer, error) {
	var change passwordChange
	var problem *passwordProblem
	if in.Password != nil {
		if problem = s.judgeChange(q, *in.Password); problem == nil {
			var err error
			if change, err = s.changePassword(q, *in.Password, in.CurrentPassword, limiterKey); err != nil {
				return nil, err
			}
			limiterKey = nil
		}
	}
	args := []any{
		uuidArgument(q.claims.Subject), uuidArgument(q.claims.SessionID), s.audience(q), limiterKey, q.id(),
		text(in.Email), text(in.Phone), text(change.hash), problem.argument(), digest(change.stored),
		change.isSame, change.isCurrent, text(in.Nonce), s.seal.CodeHMACs(in.Nonce), in.Data.argument(), in.AppMetadata.argument(),
		text(in.Channel), text(in.CodeChallenge), text(in.CodeChallengeMethod), languages(q), s.sms.Channels(),
	}
	statement := `select postern.update_user(
		caller => postern.caller(user_id => $1, session_id => $2, audience => $3, limiter_key => $4, request_id => $5),
		email => $6, phone => $7, password_hash => $8, password_problem => $9::json, compared_digest => $10,
		is_same_password => $11, is_current_password => $12, nonce => $13, nonce_hmacs => $14, data => $15::jsonb,
		app_metadata => $16::jsonb, channel => $17, code_challenge => $18, code_challenge_method => $19,
		languages => $20, channels => $21`
	enclose := func(argument string, m minted) {
		statement += ", " + argument + " => " + envelopeAt(len(args)+1)
		args = append(args, m.envelope...)
	}
	// Only changes of address or number send anything: to the new one, and to the present address where both have to confirm.
	if in.Email != "" {
		first, second, err := s.mintMails(q, in.CodeChallenge)
		if err != nil {
			return nil, err
		}
		enclose("envelope", first)
		enclose("second_envelope", second)
	}
	if in.Phone != "" {
		m, err := s.mintText(q)
		if err != nil {
			return nil, err
		}
		enclose("text_envelope", m)
	}
	a, err := s.call(q, statement+")", args...)
	a, err = s.mailed(q, a, err)
	return a, problem.explain(err)
}

// passwordChange is what the gateway found out about the passwords of a change.
type passwordChange struct {
	stored    string // the hash that both were compared with
	hash      string // of the new password
	isSame    bool
	isCurrent *bool // nil when no current password was given
}

func (s *Server) findOwnPassword(q *request, limiterKey any) (*answer, error) {
	return s.call(q, `select postern.find_own_password(
		caller => postern.caller(user_id => $1, session_id => $2, limiter_key => $3))`,
		uuidArgument(q.claims.Subject), uuidArgument(q.claims.SessionID), limiterKey)
}

func (s *Server) changePassword(q *request, plain, current string, limiterKey any) (passwordChange, error) {
	found, err := s.findOwnPassword(q, limiterKey)
	if err != nil {
		return passwordChange{}, err
	}
	change := passwordChange{stored: found.PasswordHash}
	laneErr := s.inLane(q, func() {
		if err = change.compare(plain, current); err == nil && !change.isSame {
			change.hash, err = password.Hash(plain)
		}
	})
	if change.isSame {
		// SQL refuses; it only must see that there was a password.
		change.hash = change.stored
	}
	return change, errors.Join(laneErr, err)
}

func (c *passwordChange) compare(plain, current string) error {
	if c.stored == "" {
		return nil
	}
	var err error
	if c.isSame, _, err = password.Verify(c.stored, plain); errors.Is(err, password.ErrUnusable) {
		return nil // no password matches it, so none can be the same or the current one
	} else if err != nil {
		return fmt.Errorf("comparing the new password: %w", err)
	}
	if current != "" {
		valid, _, err := password.Verify(c.stored, current)
		if err != nil {
			return fmt.Errorf("comparing the current password: %w", err)
		}
		c.isCurrent = &valid
	}
	return nil
}
