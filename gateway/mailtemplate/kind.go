// Package mailtemplate makes subject, HTML and text of every mail (core.md 9.1 to
// 9.3): built-in texts in two languages, an operator's own templates from files,
// URLs or the environment, checked when they are loaded.
package mailtemplate

import "slices"

// Kind is one of the mails that Postern sends.
type Kind string

// The kinds of core.md 9.1.
const (
	Confirmation        Kind = "confirmation"
	Invite              Kind = "invite"
	Recovery            Kind = "recovery"
	MagicLink           Kind = "magic_link"
	EmailChange         Kind = "email_change"
	Reauthentication    Kind = "reauthentication"
	PasswordChanged     Kind = "password_changed_notification"
	EmailChanged        Kind = "email_changed_notification"
	PhoneChanged        Kind = "phone_changed_notification"
	IdentityLinked      Kind = "identity_linked_notification"
	IdentityUnlinked    Kind = "identity_unlinked_notification"
	MFAFactorEnrolled   Kind = "mfa_factor_enrolled_notification"
	MFAFactorUnenrolled Kind = "mfa_factor_unenrolled_notification"
)

// Kinds returns every kind, in the order of core.md 9.1.
func Kinds() []Kind {
	return []Kind{
		Confirmation, Invite, Recovery, MagicLink, EmailChange, Reauthentication, PasswordChanged, EmailChanged, PhoneChanged,
		IdentityLinked, IdentityUnlinked, MFAFactorEnrolled, MFAFactorUnenrolled,
	}
}

// Data is what the variables of a template stand for (core.md 9.2). What a kind of
// mail does not have is empty.
type Data struct {
	SiteURL         string
	ConfirmationURL string
	Email           string
	NewEmail        string
	SendingTo       string
	Token           string
	TokenHash       string
	RedirectTo      string
	OldEmail        string
	OldPhone        string
	Phone           string
	Provider        string
	FactorType      string
	// Data is the user's metadata.
	Data map[string]any
}

// values is what templates see: a map, so that what is missing renders empty.
func (d Data) values() map[string]any {
	return map[string]any{
		"SiteURL": d.SiteURL, "ConfirmationURL": d.ConfirmationURL, "Email": d.Email, "NewEmail": d.NewEmail, "SendingTo": d.SendingTo,
		"Token": d.Token, "TokenHash": d.TokenHash, "RedirectTo": d.RedirectTo, "OldEmail": d.OldEmail, "OldPhone": d.OldPhone,
		"Phone": d.Phone, "Provider": d.Provider, "FactorType": d.FactorType, "Data": d.Data,
	}
}

// variables returns the names that mean something in a kind of mail.
func (k Kind) variables() []string {
	names := []string{"SiteURL", "Email", "Data"}
	switch k {
	case Confirmation, Invite, Recovery, MagicLink:
		names = append(names, "ConfirmationURL", "Token", "TokenHash", "RedirectTo")
	case EmailChange:
		names = append(names, "ConfirmationURL", "Token", "TokenHash", "RedirectTo", "NewEmail", "SendingTo")
	case Reauthentication:
		names = append(names, "Token")
	case EmailChanged:
		names = append(names, "OldEmail")
	case PhoneChanged:
		names = append(names, "OldPhone", "Phone")
	case IdentityLinked, IdentityUnlinked:
		names = append(names, "Provider")
	case MFAFactorEnrolled, MFAFactorUnenrolled:
		names = append(names, "FactorType")
	}
	return names
}

// Sample returns made-up data for a kind of mail: all that it can have, and nothing else.
func Sample(kind Kind) Data {
	const hash = "5f0c6d2b7f1e4a93b8c2d7e6a1f09b3c4d5e6f708192a3b4c5d6e7f8"
	full := Data{
		SiteURL:         "https://app.example.com",
		ConfirmationURL: "https://auth.example.com/verify?token=" + hash + "&type=" + linkType(kind) + "&redirect_to=https://app.example.com/welcome",
		Email:           "ada@example.com",
		NewEmail:        "ada@example.org",
		SendingTo:       "ada@example.org",
		Token:           "493817",
		TokenHash:       hash,
		RedirectTo:      "https://app.example.com/welcome",
		OldEmail:        "ada@example.net",
		OldPhone:        "4915112345678",
		Phone:           "4915187654321",
		Provider:        "github",
		FactorType:      "totp",
		Data:            map[string]any{"name": "Ada Lovelace", "locale": "en"},
	}
	has := kind.variables()
	for name, field := range map[string]*string{
		"ConfirmationURL": &full.ConfirmationURL, "NewEmail": &full.NewEmail, "SendingTo": &full.SendingTo, "Token": &full.Token,
		"TokenHash": &full.TokenHash, "RedirectTo": &full.RedirectTo, "OldEmail": &full.OldEmail, "OldPhone": &full.OldPhone,
		"Phone": &full.Phone, "Provider": &full.Provider, "FactorType": &full.FactorType,
	} {
		if !slices.Contains(has, name) {
			*field = ""
		}
	}
	return full
}

// linkType is what the link of a mail says it is (core.md 9.4).
func linkType(kind Kind) string {
	switch kind {
	case Confirmation:
		return "signup"
	case MagicLink:
		return "magiclink"
	}
	return string(kind)
}
