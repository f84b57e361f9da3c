package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/postern-auth/postern/gateway/hook"
)

// isFunction reports whether a hook is a database function, which SQL asks itself; the gateway asks all others.
func isFunction(uri string) bool { return strings.HasPrefix(uri, "pg-functions:") }

// tokenHook is what SQL says of a custom_access_token hook that the gateway has to ask.
type tokenHook struct {
	URI         string `json:"uri"`
	Method      string `json:"method"`
	EndsSession bool   `json:"ends_session"` // whether a failure does: the session is one that nobody holds yet
}

type hookMetadata struct {
	UUID      string `json:"uuid"`
	Time      string `json:"time"`
	Name      string `json:"name"`
	IPAddress string `json:"ip_address,omitempty"`
}

func (s *Server) hookMetadata(q *request, point hook.Point) hookMetadata {
	m := hookMetadata{UUID: uuid.NewString(), Time: time.Now().Format(time.RFC3339Nano), Name: point.MetadataName()}
	if address := s.clientAddress(q.r); address.IsValid() {
		m.IPAddress = address.String()
	}
	return m
}

type userHookInput struct {
	Metadata hookMetadata    `json:"metadata"`
	User     json.RawMessage `json:"user"`
}

// askHook calls a hook behind HTTP; a failure is the refusal that the client gets (contract mfa-hooks.md 3.3). The output is what
// SQL takes as text, nil when there is none.
func (s *Server) askHook(q *request, point hook.Point, uri string, input any) (any, error) {
	body, err := json.Marshal(input)
	if err != nil {
		return nil, err
	}
	secrets, err := hook.ParseSecrets(s.config.HookSecrets[string(point)].Reveal())
	if err != nil {
		return nil, err
	}
	// As with statements, a client that hangs up does not end the call: what it did would be unknown to everybody.
	ctx, cancel := context.WithDeadline(context.WithoutCancel(q.r.Context()), q.deadline)
	defer cancel()
	began := time.Now()
	output, err := s.hooks.Call(ctx, uri, secrets, body)
	var decoded object
	if err == nil && len(output) > 0 {
		// Decoded and encoded like the bodies of requests, so that PostgreSQL takes it.
		err = hook.Decode(output, &decoded)
	}
	failure, failed := errors.AsType[*hook.Failure](err)
	s.noteHook(q, point, uri, time.Since(began), failure)
	if failed {
		e := refuse(failure.Status, failure.Code, failure.Message)
		if failure.Outcome == hook.OutcomeRefused {
			e.Code = codeUnknown
		}
		e.Cause = failure.Outcome
		return nil, e
	}
	return decoded.argument(), err
}

// prepareUser asks the before_user_created hook about the account that a request would create. It returns the id that SQL chose
// for it, NULL where the hook is off or no account would be created (DESIGN 10).
func (s *Server) prepareUser(q *request, email, phone string, data object) (any, error) {
	if !s.policy.get().BeforeHookEnabled {
		return nil, nil //nolint:nilnil // NULL, as an argument
	}
	a, err := s.call(q, `select postern.prepare_user(email => $1, phone => $2, data => $3::jsonb,
		caller => postern.caller(ip => $4, audience => $5, request_id => $6))`,
		text(email), text(phone), data.argument(), s.address(q), s.audience(q), q.id())
	return s.askBefore(q, a, err)
}

// prepareInvited is prepareUser for an account that an administrator has created.
func (s *Server) prepareInvited(q *request, email string, data object) (any, error) {
	if !s.policy.get().BeforeHookEnabled {
		return nil, nil //nolint:nilnil // NULL, as an argument
	}
	a, err := s.call(q, `select postern.prepare_user(is_invited => true, email => $7, data => $8::jsonb, caller => postern.caller(
		user_id => $1, session_id => $2, role => $3, audience => $4, request_id => $5, ip => $6))`,
		append(s.administratorArguments(q), s.address(q), text(email), data.argument())...)
	return s.askBefore(q, a, err)
}

// askBefore asks the hook about the account that a statement has prepared, and returns the account's id.
func (s *Server) askBefore(q *request, a *answer, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	if a.User != nil {
		const point = hook.BeforeUserCreated
		if _, err := s.askHook(q, point, a.URI, userHookInput{s.hookMetadata(q, point), a.User}); err != nil {
			return nil, err
		}
	}
	return uuidArgument(a.UserID), nil
}

// prepareForCode is prepareUser for requests that mail or text a code to whoever asks, known or not.
func (s *Server) prepareForCode(q *request, in otpBody, limiter string) (any, error) {
	if in.CreateUser != nil && !*in.CreateUser {
		return nil, nil //nolint:nilnil // NULL, as an argument
	}
	if err := s.limitBeforeHook(q, limiter); err != nil {
		return nil, err
	}
	return s.prepareUser(q, in.Email, in.Phone, in.Data)
}

// limitBeforeHook counts a request before the hook is asked, which the statement that does the work would do too late.
func (s *Server) limitBeforeHook(q *request, limiter string) error {
	key := s.limiterKey(q)
	if key == nil || !s.policy.get().BeforeHookEnabled {
		return nil
	}
	q.limitTaken = true
	_, err := s.call(q, takeLimit, limiter, key)
	return err
}

// toldAfter tells the after_user_created hook of the account that an answer names. Whatever goes wrong, the account stays, and
// the client learns only that it was the hook (contract mfa-hooks.md 3.5).
func (s *Server) toldAfter(q *request, a *answer, err error) (*answer, error) {
	if err != nil || a.UserID == "" {
		return a, err
	}
	if err := s.tellAfter(q, a.UserID); err != nil {
		e := refuse(http.StatusInternalServerError, "unexpected_failure", "Error invoking hook")
		e.Cause = err.Error()
		return nil, e
	}
	return a, nil
}

// toldAfterByAdministrator is toldAfter for administrators, who get the hook's own words.
func (s *Server) toldAfterByAdministrator(q *request, a *answer, err error) (*answer, error) {
	if err != nil || a.UserID == "" {
		return a, err
	}
	return a, s.tellAfter(q, a.UserID)
}

func (s *Server) tellAfter(q *request, userID string) error {
	a, err := s.call(q, `select postern.run_after_user_created(user_id => $1, caller => postern.caller(ip => $2, request_id => $3))`,
		uuidArgument(userID), s.address(q), q.id())
	if err == nil && a.User != nil {
		const point = hook.AfterUserCreated
		_, err = s.askHook(q, point, a.URI, userHookInput{s.hookMetadata(q, point), a.User})
	}
	return err
}

// attemptInput is what the hooks of verifications are told (contract mfa-hooks.md 3.6).
type attemptInput struct {
	Metadata   hookMetadata `json:"metadata"`
	UserID     string       `json:"user_id"`
	FactorID   string       `json:"factor_id,omitempty"`
	FactorType string       `json:"factor_type,omitempty"`
	Valid      bool         `json:"valid"`
}

// askAttemptHook asks the password_verification_attempt or mfa_verification_attempt hook; SQL judges its output.
func (s *Server) askAttemptHook(q *request, point hook.Point, uri string, input attemptInput) (any, error) {
	input.Metadata = s.hookMetadata(q, point)
	output, err := s.askHook(q, point, uri, input)
	if err == nil && output == nil {
		return []byte("null"), nil // asked, and nothing said
	}
	return output, err
}

// customizeClaims replaces the claims of an answer by those of a custom_access_token hook. Where it fails, a session that the
// answer opened is ended; one that it continued goes on with the refresh token that the client still has (DESIGN 7, 10).
func (s *Server) customizeClaims(q *request, a *answer) error {
	const point = hook.CustomAccessToken
	output, err := s.askHook(q, point, a.TokenHook.URI, struct {
		Metadata hookMetadata    `json:"metadata"`
		UserID   string          `json:"user_id"`
		Claims   json.RawMessage `json:"claims"`
		Method   string          `json:"authentication_method"`
	}{s.hookMetadata(q, point), a.Session.UserID, a.Claims, a.TokenHook.Method})
	if err == nil {
		var checked *answer
		checked, err = s.call(q, `select postern.check_custom_claims(output => $1, caller => postern.caller(request_id => $2))`,
			output, q.id())
		if err == nil {
			a.Claims = checked.Claims
			return nil
		}
		s.noteUnusable(q, point, a.TokenHook.URI, err)
	}
	if a.TokenHook.EndsSession {
		return s.undo(q, err, `select postern.end_session(session_id => $1)`, uuidArgument(a.Session.ID))
	}
	return err
}
