package config

import (
	"fmt"
	"io"
	"log/slog"
)

// masked is what stands in place of a secret wherever it is printed.
const masked = "***"

// Secret is a string that does not print itself: every verb of fmt, slog and
// encoding/json show ***. Only Reveal gives the value. (As the key of a map it
// would be encoded as it is; nothing may use it so.)
type Secret string

// Reveal returns the value. Each call is a place to look at in a review.
func (s Secret) Reveal() string { return string(s) }

// String returns ***.
func (s Secret) String() string { return masked }

// GoString returns ***, for %#v.
func (s Secret) GoString() string { return masked }

// Format writes *** for every verb: %x or %d of a string type would otherwise
// go around String.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, masked) }

// LogValue returns *** for log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(masked) }

// MarshalJSON returns "***".
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + masked + `"`), nil }

// SecretHeaders are HTTP headers with keys in them. They print as *** and encode to JSON as "***".
type SecretHeaders map[string][]string

// Format writes *** for every verb.
func (SecretHeaders) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, masked) }

// LogValue returns *** for log/slog.
func (SecretHeaders) LogValue() slog.Value { return slog.StringValue(masked) }

// MarshalJSON returns "***".
func (SecretHeaders) MarshalJSON() ([]byte, error) { return []byte(`"` + masked + `"`), nil }

// secretCodes are codes of phone numbers. They print as ***, but encode to JSON as they are: so they get into auth.settings.
type secretCodes map[string]string

func (secretCodes) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, masked) }

func (secretCodes) LogValue() slog.Value { return slog.StringValue(masked) }
