package password

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// cost is bcrypt's work factor of every hash made here.
const cost = 10

// dummy belongs to a random password that was thrown away.
const dummy = "$2a$10$52p0yYHXy.I77b8GqXsEM.FdIzcFCcWJe7chOtTSfACi9z9ceCxK6"

// longestHash is the width of auth.users.encrypted_password.
const longestHash = 255

var (
	// ErrUnreadable says that a stored text is no hash of a known kind.
	ErrUnreadable = errors.New("the stored password hash is of no known kind")
	// ErrUnusable says that a stored text begins like an argon2 or Firebase scrypt
	// hash, but cannot be computed: wrong form, or parameters beyond the limits.
	// Clients see a wrong password then (core.md 10.4).
	ErrUnusable = errors.New("the stored password hash cannot be used")
)

// hash is a stored hash that has been read.
type hash interface {
	// matches computes the hash of a password and compares in constant time.
	matches(password string) (bool, error)
	// current says that a hash made today would be of the same kind and cost.
	current() bool
}

// Hash returns the bcrypt hash to store. A password over 72 bytes is an error:
// ask TooLong first.
func Hash(password string) (string, error) {
	made, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	return string(made), nil
}

// DummyHash returns a hash that no known password has: compared for an unknown
// account it costs the time that a known one would.
func DummyHash() string { return dummy }

// Verify compares a password with a stored hash: bcrypt in all its spellings,
// of which only the first 72 bytes of the password count, argon2i, argon2id, or
// Firebase's scrypt. rehash asks to replace the hash by Hash of the same
// password. The error is ErrUnreadable or ErrUnusable; the latter has cost the
// time of a comparison.
func Verify(stored, password string) (ok, rehash bool, err error) {
	read, err := parse(stored)
	if err == nil {
		ok, err = read.matches(password)
	}
	if err != nil {
		if errors.Is(err, ErrUnusable) {
			_ = bcrypt.CompareHashAndPassword([]byte(dummy), cut(password))
		}
		return false, false, err
	}
	return ok, ok && !read.current() && !TooLong(password), nil
}

// CheckFormat says whether an administrator may import the hash: whether Verify
// can read it, and the column holds it.
func CheckFormat(stored string) error {
	if len(stored) > longestHash {
		return fmt.Errorf("%w: longer than %d characters", ErrUnusable, longestHash)
	}
	_, err := parse(stored)
	return err
}

func parse(stored string) (hash, error) {
	switch {
	case strings.HasPrefix(stored, "$argon2"):
		return parseArgon2(stored)
	case strings.HasPrefix(stored, "$fbscrypt"):
		return parseFirebase(stored)
	default:
		return parseBcrypt(stored)
	}
}

// cut returns what bcrypt reads of a password.
func cut(password string) []byte { return []byte(password[:min(len(password), longest)]) }
