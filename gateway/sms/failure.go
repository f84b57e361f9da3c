package sms

import (
	"errors"
	"strings"
	"unicode"
)

// masked stands in place of a code or a key.
const masked = "***"

// Failure is a send that a vendor refused or did not answer.
type Failure struct {
	Temporary bool   // worth another attempt later
	Text      string // the vendor's words, which clients see; no code and no key in it
	cause     error
}

// Error returns the text.
func (f *Failure) Error() string { return f.Text }

// Unwrap returns what happened on the network, for logs only, or nil.
func (f *Failure) Unwrap() error { return f.cause }

// fit makes a vendor's words fit to be shown and stored. Vendors repeat what they
// were sent, and the answer goes to somebody who has yet to prove that the phone
// is his.
func (s *Sender) fit(err error, code string) error {
	var failure *Failure
	if !errors.As(err, &failure) {
		return err
	}
	text := s.mask(failure.Text)
	if code != "" {
		text = strings.ReplaceAll(text, code, masked)
	}
	return &Failure{Temporary: failure.Temporary, Text: tidy(text, 1000), cause: failure.cause}
}

// tidy leaves no control characters, no bytes that are not UTF-8, and at most so
// many characters.
func tidy(text string, longest int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest])
	}
	return text
}
