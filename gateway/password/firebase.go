package password

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"golang.org/x/crypto/scrypt"
)

// The contract limits Firebase hashes only by the width of the numbers, which
// allows memory beyond any machine's; these are the limits that it sets for
// argon2: 1 GiB and 16 threads.
const (
	mostScryptBytes = 1 << 30
	mostScryptP     = 16
)

var firebaseForm = regexp.MustCompile(`^\$fbscrypt\$v=1,n=([0-9]{1,3}),r=([0-9]{1,9}),p=([0-9]{1,3})` +
	`(?:,ss=([A-Za-z0-9+/]*={0,2}))?(?:,sk=([A-Za-z0-9+/]*={0,2}))?\$([A-Za-z0-9+/]+={0,2})\$([A-Za-z0-9+/]+={0,2})$`)

// firebaseHash is Firebase's scrypt: the project's signer key, encrypted with
// what scrypt derives from the password.
type firebaseHash struct {
	logN, r, p      int
	salt, key, text []byte
}

func parseFirebase(stored string) (hash, error) {
	found := firebaseForm.FindStringSubmatch(stored)
	if found == nil {
		return nil, fmt.Errorf("%w: not a Firebase scrypt hash", ErrUnusable)
	}
	var out firebaseHash
	for i, into := range []*int{&out.logN, &out.r, &out.p} {
		value, err := strconv.Atoi(found[1+i])
		if err != nil || value < 1 {
			return nil, fmt.Errorf("%w: scrypt %c=%s is not above 0", ErrUnusable, "nrp"[i], found[1+i])
		}
		*into = value
	}
	if out.logN > 30 || out.r > mostScryptBytes/128>>out.logN || out.p > mostScryptP {
		return nil, fmt.Errorf("%w: scrypt n=%d,r=%d,p=%d asks for too much", ErrUnusable, out.logN, out.r, out.p)
	}
	var parts [4][]byte
	for i, text := range found[4:] {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("%w: a part of the scrypt hash is not base64", ErrUnusable)
		}
		parts[i] = raw
	}
	separator, signer, salt, sum := parts[0], parts[1], parts[2], parts[3]
	if len(salt) == 0 || len(sum) == 0 {
		return nil, fmt.Errorf("%w: salt or hash of the scrypt hash is empty", ErrUnusable)
	}
	out.salt, out.key, out.text = slices.Concat(salt, separator), signer, sum
	return out, nil
}

func (h firebaseHash) matches(password string) (bool, error) {
	derived, err := scrypt.Key([]byte(password), h.salt, 1<<h.logN, h.r, h.p, 32)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	made := make([]byte, len(h.key))
	// A counter of zero repeats only with the derived key, which is the salt's own.
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(made, h.key) //nolint:gosec // G407: see above
	return subtle.ConstantTimeCompare(made, h.text) == 1, nil
}

func (firebaseHash) current() bool { return false }
