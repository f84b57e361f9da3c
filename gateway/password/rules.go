// Package password judges, hashes and compares passwords, and bounds how much
// of the machine that may take.
package password

import (
	"fmt"
	"strings"
)

// shortest is the least minimum length: a smaller setting counts as this.
const shortest = 6

// longest is where bcrypt stops reading, in bytes.
const longest = 72

// Rules is what the settings ask of a new password.
type Rules struct {
	MinLength          int      // bytes; below 6 it counts as 6
	RequiredCharacters []string // one character of each group is needed
}

// Weakness says why a password was refused.
type Weakness struct {
	Message string   // as clients see it
	Reasons []string // "length", "characters"
}

// Check returns what a password lacks, or nil. The words are the contract's
// (core.md 10.2).
func (r Rules) Check(password string) *Weakness {
	var messages, reasons []string
	if least := max(r.MinLength, shortest); len(password) < least {
		reasons = append(reasons, "length")
		messages = append(messages, fmt.Sprintf("Password should be at least %d characters.", least))
	}
	if r.lacksCharacters(password) {
		reasons = append(reasons, "characters")
		messages = append(messages, fmt.Sprintf("Password should contain at least one character of each: %s.",
			strings.Join(r.RequiredCharacters, ", ")))
	}
	if len(reasons) == 0 {
		return nil
	}
	return &Weakness{Message: strings.Join(messages, " "), Reasons: reasons}
}

func (r Rules) lacksCharacters(password string) bool {
	for _, group := range r.RequiredCharacters {
		if group != "" && !strings.ContainsAny(password, group) {
			return true
		}
	}
	return false
}

// TooLong says whether a password has more than the 72 bytes that bcrypt reads.
func TooLong(password string) bool { return len(password) > longest }
