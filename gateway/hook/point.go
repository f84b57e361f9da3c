// Package hook calls the HTTP hooks of Supabase Auth (mfa-hooks.md 3): a signed
// POST, up to three attempts within five seconds, and an answer that may refuse.
package hook

import "strings"

// Point is an extension point: the moment at which a hook is called.
type Point string

// The points of mfa-hooks.md 3.1.
const (
	SendSMS                     Point = "send_sms"
	SendEmail                   Point = "send_email"
	CustomAccessToken           Point = "custom_access_token"
	MFAVerificationAttempt      Point = "mfa_verification_attempt"
	PasswordVerificationAttempt Point = "password_verification_attempt"
	BeforeUserCreated           Point = "before_user_created"
	AfterUserCreated            Point = "after_user_created"
)

// MetadataName returns what the input's metadata.name says. Receivers of several
// hooks tell them apart by it.
func (p Point) MetadataName() string {
	switch p {
	case CustomAccessToken:
		return "customize-access-token"
	case MFAVerificationAttempt:
		return "mfa-verification"
	case PasswordVerificationAttempt:
		return "password-verification"
	default:
		return strings.ReplaceAll(string(p), "_", "-")
	}
}
