package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/postern-auth/postern/gateway/password"
)

type signUpBody struct {
	Email               string `json:"email"`
	Phone               string `json:"phone"`
	Password            string `json:"password"`
	Data                object `json:"data"`
	Channel             string `json:"channel"`
	CodeChallenge       string `json:"code_challenge"`
	CodeChallengeMethod string `json:"code_challenge_method"`
}

// signUp is POST /signup (contract core.md 3).
func (s *Server) signUp(q *request) (*response, error) {
	var in signUpBody
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if in.Email == "" && in.Phone == "" {
		return s.signUpAnonymously(q, in)
	}

	// The limit first: a client over it costs no lookup and no hash.
	if key := s.limiterKey(q); key != nil {
		if _, err := s.call(q, takeLimit, "signups", key); err != nil {
			return nil, err
		}
	}
	problem := s.judge(q, in.Password)
	var hash any
	if policy := s.policy.get(); problem == nil && !policy.DisableSignup {
		if in.Phone == "" && !policy.MailerAutoconfirm {
			if err := s.checkMailAddress(q, in.Email, "confirmation"); err != nil {
				return nil, err
			}
		}
		var err error
		if hash, err = s.hash(q, in.Password); err != nil {
			return nil, err
		}
	}

	var newUser any
	if hash != nil {
		var err error
		if newUser, err = s.prepareUser(q, in.Email, in.Phone, in.Data); err != nil {
			return nil, err
		}
	}
	m, err := s.mintMail(q, in.CodeChallenge)
	if in.Phone != "" {
		m, err = s.mintText(q)
	}
	if err != nil {
		return nil, err
	}
	args := []any{
		text(in.Email), text(in.Phone), hash, problem.argument(), in.Data.argument(), text(in.Channel),
		text(in.CodeChallenge), text(in.CodeChallengeMethod), s.address(q), userAgent(q), s.audience(q), q.id(), newUser,
		s.sms.Channels(),
	}
	a, err := s.callWithHook(q, `select postern.sign_up(
		email => $1, phone => $2, password_hash => $3, password_problem => $4::json, data => $5::jsonb, channel => $6,
		code_challenge => $7, code_challenge_method => $8,
		caller => postern.caller(ip => $9, user_agent => $10, audience => $11, request_id => $12),
		new_user_id => $13, channels => $14, envelope => `+envelopeAt(15)+`)`, append(args, m.envelope...)...)
	a, err = s.mailed(q, a, err)
	a, err = s.toldAfter(q, a, err)
	return s.signIn(q, a, problem.explain(err), nil)
}

const takeLimit = `select postern.take_limit(limiter => $1, caller => postern.caller(limiter_key => $2))`

func (s *Server) signUpAnonymously(q *request, in signUpBody) (*response, error) {
	if err := s.limitBeforeHook(q, "anonymous_sign_ins"); err != nil {
		return nil, err
	}
	newUser, err := s.prepareUser(q, "", "", in.Data)
	if err != nil {
		return nil, err
	}
	a, err := s.callWithHook(q, `select postern.sign_up_anonymously_text(data => $1::jsonb, new_user_id => $2,
		caller => postern.caller(ip => $3, user_agent => $4, audience => $5, limiter_key => $6, request_id => $7))`,
		in.Data.argument(), newUser, s.address(q), userAgent(q), s.audience(q), s.limiterKey(q), q.id())
	answer, err := s.signIn(q, a, err, nil)
	if err == nil && s.policy.get().AfterHookEnabled {
		// After the tokens, and in the hook's own words, as in the reference.
		err = s.tellAfter(q, a.Session.UserID)
	}
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// passwordProblem is what the gateway found wrong with a plain password; SQL refuses with it when its turn comes.
type passwordProblem refusal

// judge checks a password that is to be set (contract core.md 10.2); nil when nothing is wrong.
func (s *Server) judge(q *request, plain string) *passwordProblem {
	if plain == "" {
		return &passwordProblem{Status: http.StatusBadRequest, Code: "validation_failed", Message: "Signup requires a valid password"}
	}
	return s.judgeChange(q, plain)
}

// judgeChange is judge for a change of password, where an empty one is merely weak.
func (s *Server) judgeChange(q *request, plain string) *passwordProblem {
	if password.TooLong(plain) {
		return &passwordProblem{
			Status: http.StatusBadRequest, Code: "validation_failed", Message: "Password cannot be longer than 72 characters",
		}
	}
	weakness, err := s.weaknessOf(q, plain)
	if err != nil {
		return &passwordProblem{Status: http.StatusInternalServerError, Code: "unexpected_failure", Message: err.Error()}
	}
	if weakness != nil {
		return &passwordProblem{
			Status: http.StatusUnprocessableEntity, Code: "weak_password", Message: weakness.Message, Reasons: weakness.Reasons,
		}
	}
	return nil
}

// weaknessOf is what speaks against a password: the rules, and that it is known from a breach (contract core.md 10.2, 10.3). The
// error is that nobody could tell, where that counts.
func (s *Server) weaknessOf(q *request, plain string) (*password.Weakness, error) {
	weakness := s.policy.get().passwordRules().Check(plain)
	if s.judges.passwords == nil {
		return weakness, nil
	}
	ctx, cancel := q.outside()
	defer cancel()
	isPwned, err := s.judges.passwords.Pwned(ctx, plain)
	if err != nil || !isPwned {
		return weakness, err
	}
	if weakness == nil {
		weakness = &password.Weakness{}
	}
	weakness.Message = strings.TrimSpace(weakness.Message + " Password is known to be weak and easy to guess, please choose a different one.")
	weakness.Reasons = append(weakness.Reasons, "pwned")
	return weakness, nil
}

// argument is the problem as a json argument, NULL when there is none.
func (p *passwordProblem) argument() any {
	if p == nil {
		return nil
	}
	raw, err := json.Marshal(map[string]any{"status": p.Status, "code": p.Code, "message": p.Message})
	if err != nil {
		return nil
	}
	return raw
}

// explain adds the reasons to a refusal that SQL made of the problem.
func (p *passwordProblem) explain(err error) error {
	if e, ok := errors.AsType[*refusal](err); ok && p != nil && e.Code == p.Code {
		e.Reasons = p.Reasons
	}
	return err
}

// hash makes the stored form of a new password, in the hashing lane.
func (s *Server) hash(q *request, plain string) (hash string, err error) {
	laneErr := s.inLane(q, func() { hash, err = password.Hash(plain) })
	return hash, errors.Join(laneErr, err)
}

// inLane runs a job in the hashing lane, unless the client goes or the request's time ends before its turn.
func (s *Server) inLane(q *request, job func()) error {
	ctx, cancel := context.WithDeadline(q.r.Context(), q.deadline)
	defer cancel()
	return s.hashing.Do(ctx, s.clientAddress(q.r).String(), job)
}
