package gateway

import (
	"context"
	"fmt"

	"github.com/postern-auth/postern/gateway/captcha"
	"github.com/postern-auth/postern/gateway/clientip"
	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/hibp"
	"github.com/postern-auth/postern/gateway/mailaddress"
)

// Endpoints stand in place of the addresses of services that are asked. They are for tests and `postern dev`: "" is the service itself.
type Endpoints struct {
	Captcha string // scheme and host of the captcha's provider
	HIBP    string // scheme and host of the list of breached passwords
	SMS     string // scheme and host of the SMS provider
}

// judges are what the gateway asks about a request outside of the database, and never while it holds a connection.
type judges struct {
	proxies        *clientip.Trusted
	captcha        *captcha.Verifier // nil when it is not configured: captchaProblem then says why
	captchaProblem error
	passwords      *hibp.Checker // nil when passwords are not looked up
	addresses      *mailaddress.Checker
}

func newJudges(cfg *config.Config, options Options) (j judges, err error) {
	if j.proxies, err = clientip.Parse(cfg.TrustedProxies); err != nil {
		return j, fmt.Errorf("POSTERN_TRUSTED_PROXIES: %w", err)
	}
	// Captchas may be switched on later, with SQL: what is missing for them is an error only then.
	j.captcha, j.captchaProblem = captcha.New(cfg.CaptchaProvider, cfg.CaptchaSecret, cfg.CaptchaTimeout, options.Endpoints.Captcha)
	if cfg.HIBPEnabled {
		j.passwords = hibp.New(hibp.Options{
			BaseURL: options.Endpoints.HIBP, UserAgent: cfg.HIBPUserAgent, FailClosed: cfg.HIBPFailClosed, Log: options.Log,
		})
	}
	validation := cfg.EmailValidation
	j.addresses = mailaddress.New(mailaddress.Options{
		Extended: validation.Extended, ServiceURL: validation.ServiceURL, ServiceHeaders: validation.ServiceHeaders,
		BlockedMX: validation.BlockedMX,
	})
	return j, nil
}

// outside is the context for asking somebody else about a request: it ends with the request's time, or when the client goes.
func (q *request) outside() (context.Context, context.CancelFunc) {
	return context.WithDeadline(q.r.Context(), q.deadline)
}

// counted has a limiter count what a handler refuses without a statement, which would have taken the place: asking again and again
// is limited too. The limiter's refusal goes before the handler's, as in the reference, where limits come first.
func counted(limiter string, handle func(*Server, *request) (*response, error)) func(*Server, *request) (*response, error) {
	return func(s *Server, q *request) (*response, error) {
		answer, err := handle(s, q)
		key := s.limiterKey(q)
		if err == nil || q.statements > 0 || key == nil {
			return answer, err
		}
		if _, limited := s.call(q, takeLimit, limiter, key); limited != nil {
			return nil, limited
		}
		return nil, err
	}
}
