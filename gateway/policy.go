package gateway

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/postern-auth/postern/gateway/password"
	"github.com/postern-auth/postern/gateway/redirect"
)

// policyAge is the longest that a copy of auth.settings is used without asking again (DESIGN 3).
const policyAge = 5 * time.Second

// policy is what the gateway must know of auth.settings to judge what SQL never sees (plain passwords), to show /settings, and
// to save work that SQL would refuse anyway.
type policy struct {
	Version int64 `json:"version"`
	Adopted bool  `json:"adopted"`

	DisableSignup      bool     `json:"disable_signup"`
	EmailEnabled       bool     `json:"external_email_enabled"`
	PhoneEnabled       bool     `json:"external_phone_enabled"`
	AnonymousEnabled   bool     `json:"external_anonymous_users_enabled"`
	MailerAutoconfirm  bool     `json:"mailer_autoconfirm"`
	SMSAutoconfirm     bool     `json:"sms_autoconfirm"`
	JWTAudience        string   `json:"jwt_aud"`
	JWTIssuer          string   `json:"jwt_issuer"`
	AdminRoles         []string `json:"jwt_admin_roles"`
	PasswordMinLength  int      `json:"password_min_length"`
	PasswordCharacters []string `json:"password_required_characters"`
	MailerOTPLength    int      `json:"mailer_otp_length"`
	SMSOTPLength       int      `json:"sms_otp_length"`
	FactorOTPLength    int      `json:"mfa_phone_otp_length"`
	SiteURL            string   `json:"site_url"`
	URIAllowList       []string `json:"uri_allow_list"`

	TokenHookEnabled    bool   `json:"hook_custom_access_token_enabled"`
	TokenHookURI        string `json:"hook_custom_access_token_uri"`
	PasswordHookEnabled bool   `json:"hook_password_verification_attempt_enabled"`
	PasswordHookURI     string `json:"hook_password_verification_attempt_uri"`
	FactorHookEnabled   bool   `json:"hook_mfa_verification_attempt_enabled"`
	FactorHookURI       string `json:"hook_mfa_verification_attempt_uri"`
	BeforeHookEnabled   bool   `json:"hook_before_user_created_enabled"`
	AfterHookEnabled    bool   `json:"hook_after_user_created_enabled"`
	HookRunsSlowMS      int64  `json:"hook_runs_slow_ms"`

	// TestCodes are the fixed codes of test numbers, by number.
	TestCodes map[string]string `json:"sms_test_otp"`

	CaptchaEnabled   bool `json:"security_captcha_enabled"`
	EmailHookEnabled bool `json:"hook_send_email_enabled"`
	SMSHookEnabled   bool `json:"hook_send_sms_enabled"`

	redirects *redirect.Rules // compiled from site and list
}

// tokenHookInSQL reports whether statements that answer with tokens run a hook.
func (p *policy) tokenHookInSQL() bool { return p.TokenHookEnabled && isFunction(p.TokenHookURI) }

// passwordHookInSQL reports whether the second statement of a password sign-in runs a hook.
func (p *policy) passwordHookInSQL() bool {
	return p.PasswordHookEnabled && isFunction(p.PasswordHookURI)
}

// factorHookInSQL reports whether the second statement of a factor's verification runs a hook.
func (p *policy) factorHookInSQL() bool { return p.FactorHookEnabled && isFunction(p.FactorHookURI) }

func (p *policy) passwordRules() password.Rules {
	return password.Rules{MinLength: p.PasswordMinLength, RequiredCharacters: p.PasswordCharacters}
}

type policyCopy struct {
	current atomic.Pointer[policy]
	reload  chan struct{}
}

func (c *policyCopy) get() *policy { return c.current.Load() }

// seen is told the version that an answer carried; another one than the copy's makes Run read the settings again.
func (c *policyCopy) seen(version int64) {
	if version == c.get().Version {
		return
	}
	select {
	case c.reload <- struct{}{}:
	default:
	}
}

func (s *Server) loadPolicy() error {
	raw, err := s.query(time.Now().Add(policyAge), `select postern.get_settings()`)
	if err != nil {
		return err
	}
	next := new(policy)
	if err := json.Unmarshal(raw, next); err != nil {
		return fmt.Errorf("decoding auth.settings: %w", err)
	}
	if next.redirects, err = redirect.Compile(next.SiteURL, next.URIAllowList); err != nil {
		return fmt.Errorf("auth.settings.uri_allow_list: %w", err)
	}
	s.policy.current.Store(next)
	return nil
}
