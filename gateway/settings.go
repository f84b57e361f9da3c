package gateway

import "encoding/json"

// settings is GET /settings: what is enabled (contract core.md 2.2). Providers that are not built yet are off.
func (s *Server) settings(*request) (*response, error) {
	policy := s.policy.get()
	body, err := json.Marshal(settingsBody{
		External: externalBody{
			AnonymousUsers: policy.AnonymousEnabled,
			Email:          policy.EmailEnabled,
			Phone:          policy.PhoneEnabled,
		},
		DisableSignup:     policy.DisableSignup,
		MailerAutoconfirm: policy.MailerAutoconfirm,
		PhoneAutoconfirm:  policy.SMSAutoconfirm,
		SMSProvider:       s.config.SMSProvider,
		SAMLEnabled:       s.config.SAMLEnabled,
		// As the reference answers while SAML is off.
		SAMLPrivateKeyNextConfigured: !s.config.SAMLEnabled,
		PasskeysEnabled:              s.config.PasskeyEnabled,
	})
	return &response{body: body}, err
}

type settingsBody struct {
	External                     externalBody `json:"external"`
	DisableSignup                bool         `json:"disable_signup"`
	MailerAutoconfirm            bool         `json:"mailer_autoconfirm"`
	PhoneAutoconfirm             bool         `json:"phone_autoconfirm"`
	SMSProvider                  string       `json:"sms_provider"`
	SAMLEnabled                  bool         `json:"saml_enabled"`
	SAMLPrivateKeyNextConfigured bool         `json:"saml_private_key_next_configured"`
	PasskeysEnabled              bool         `json:"passkeys_enabled"`
}

type externalBody struct {
	AnonymousUsers bool `json:"anonymous_users"`
	Apple          bool `json:"apple"`
	Azure          bool `json:"azure"`
	Bitbucket      bool `json:"bitbucket"`
	Discord        bool `json:"discord"`
	Facebook       bool `json:"facebook"`
	Snapchat       bool `json:"snapchat"`
	Figma          bool `json:"figma"`
	Fly            bool `json:"fly"`
	GitHub         bool `json:"github"`
	GitLab         bool `json:"gitlab"`
	Google         bool `json:"google"`
	Keycloak       bool `json:"keycloak"`
	Kakao          bool `json:"kakao"`
	LinkedIn       bool `json:"linkedin"`
	LinkedInOIDC   bool `json:"linkedin_oidc"`
	Notion         bool `json:"notion"`
	Spotify        bool `json:"spotify"`
	Slack          bool `json:"slack"`
	SlackOIDC      bool `json:"slack_oidc"`
	WorkOS         bool `json:"workos"`
	Twitch         bool `json:"twitch"`
	Twitter        bool `json:"twitter"`
	Email          bool `json:"email"`
	Phone          bool `json:"phone"`
	Zoom           bool `json:"zoom"`
}
