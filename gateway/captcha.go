package gateway

import (
	"errors"
	"net/http"

	"github.com/postern-auth/postern/gateway/captcha"
)

// withCaptcha has a handler ask for a solved captcha first, where captchas are on (contract core.md 11.4).
func withCaptcha(handle func(*Server, *request) (*response, error)) func(*Server, *request) (*response, error) {
	return func(s *Server, q *request) (*response, error) {
		if err := s.checkCaptcha(q); err != nil {
			return nil, err
		}
		return handle(s, q)
	}
}

// tokenWithCaptcha is token, where only some grants need a captcha.
func (s *Server) tokenWithCaptcha(q *request) (*response, error) {
	grant, err := q.grantType()
	if err != nil {
		return nil, err
	}
	switch grant {
	case "refresh_token", "pkce", "id_token":
		return s.token(q)
	}
	return withCaptcha((*Server).token)(s, q)
}

func (s *Server) checkCaptcha(q *request) error {
	if !s.policy.get().CaptchaEnabled || s.isAdministrator(q) {
		return nil
	}
	var in struct {
		Security struct {
			Token string `json:"captcha_token"`
		} `json:"gotrue_meta_security"`
	}
	if err := q.decode(&in); err != nil {
		return err
	}
	if s.judges.captcha == nil {
		return captchaFailure(&captcha.Unavailable{Cause: s.judges.captchaProblem})
	}
	address := ""
	if known := s.clientAddress(q.r); known.IsValid() {
		address = known.String()
	}
	ctx, cancel := q.outside()
	defer cancel()
	return captchaFailure(s.judges.captcha.Verify(ctx, in.Security.Token, address))
}

// captchaFailure is what a verifier says, as clients get it.
func captchaFailure(err error) error {
	if err == nil {
		return nil
	}
	e := refuse(http.StatusBadRequest, "captcha_failed", err.Error())
	if unavailable, ok := errors.AsType[*captcha.Unavailable](err); ok {
		e.Status, e.Code, e.Cause = http.StatusInternalServerError, "unexpected_failure", unavailable.Cause.Error()
	}
	return e
}
