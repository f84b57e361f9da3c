// Package seal keeps secrets from the database: it hashes one-time codes with a key that only gateways have, and seals what a mail
// must show until the mail is sent, and the secrets of authenticator apps (DESIGN 8).
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/postern-auth/postern/gateway/config"
)

// Labels of the derived keys: a key serves one purpose only.
const (
	codeLabel   = "postern one-time code v1"
	sealLabel   = "postern outbox v1"
	factorLabel = "postern factor v1"
)

// FactorPrefix marks a sealed secret of a factor: base32, which Supabase Auth stores, has no dot.
const FactorPrefix = "postern1."

// LinkPrefix marks the link tokens of flows that end in an auth code.
const LinkPrefix = "pkce_"

// ErrUnreadable says that no key opens a sealed text: it was changed, belongs to another row, or its key is gone.
var ErrUnreadable = errors.New("sealed with a key that is not configured, or changed since")

// Keys are derived from the gateways' token keys, newest first. They do not change and are safe for concurrent use.
type Keys struct {
	code    [][]byte
	outbox  []cipher.AEAD
	factors []cipher.AEAD
}

// New derives the keys from POSTERN_TOKEN_KEYS, or from the JWT secret when there are none.
func New(keys []config.Secret, jwtSecret config.Secret) (*Keys, error) {
	if len(keys) == 0 {
		keys = []config.Secret{jwtSecret}
	}
	k := &Keys{}
	for _, key := range keys {
		code, err := hkdf.Key(sha256.New, []byte(key.Reveal()), nil, codeLabel, 32)
		if err != nil {
			return nil, fmt.Errorf("derive a key for codes: %w", err)
		}
		outbox, err := newAEAD(key, sealLabel)
		if err != nil {
			return nil, fmt.Errorf("prepare a key for the outbox: %w", err)
		}
		factors, err := newAEAD(key, factorLabel)
		if err != nil {
			return nil, fmt.Errorf("prepare a key for factors: %w", err)
		}
		k.code, k.outbox, k.factors = append(k.code, code), append(k.outbox, outbox), append(k.factors, factors)
	}
	return k, nil
}

func newAEAD(key config.Secret, label string) (cipher.AEAD, error) {
	raw, err := hkdf.Key(sha256.New, []byte(key.Reveal()), nil, label, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// CodeHMAC is what the database is told of a code that is mailed now.
func (k *Keys) CodeHMAC(code string) []byte { return mac(k.code[0], code) }

// CodeHMACs is what the database compares a presented code with: one for every key that may have been the newest.
func (k *Keys) CodeHMACs(code string) [][]byte {
	out := make([][]byte, len(k.code))
	for i, key := range k.code {
		out[i] = mac(key, code)
	}
	return out
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// Seal encrypts a text for the row with the given id.
func (k *Keys) Seal(id string, text []byte) []byte {
	return k.outbox[0].Seal(nil, nil, text, []byte(id)) //nolint:gosec // G407: this AEAD makes its random nonces itself
}

// Open decrypts what Seal made for the same id, with any key, or returns ErrUnreadable.
func (k *Keys) Open(id string, sealed []byte) ([]byte, error) {
	text, _, err := open(k.outbox, id, sealed)
	return text, err
}

// open returns which of the keys it was, too.
func open(keys []cipher.AEAD, id string, sealed []byte) (text []byte, index int, err error) {
	for i, aead := range keys {
		if text, err := aead.Open(nil, nil, sealed, []byte(id)); err == nil {
			return text, i, nil
		}
	}
	return nil, 0, ErrUnreadable
}

// SealFactor makes what the database stores of the secret of the factor with the given id.
func (k *Keys) SealFactor(id, secret string) string {
	sealed := k.factors[0].Seal(nil, nil, []byte(secret), []byte(id)) //nolint:gosec // G407: this AEAD makes its random nonces itself
	return FactorPrefix + base64.RawURLEncoding.EncodeToString(sealed)
}

// OpenFactor reads what SealFactor made for the same id, with any key, or the plain secret of a factor of Supabase Auth. isCurrent
// says that it is sealed with the newest key. The error is ErrUnreadable.
func (k *Keys) OpenFactor(id, stored string) (secret string, isCurrent bool, err error) {
	encoded, isSealed := strings.CutPrefix(stored, FactorPrefix)
	switch {
	case !isSealed && strings.HasPrefix(stored, "{"):
		return "", false, ErrUnreadable // encrypted by Supabase Auth, with a key that only it has
	case !isSealed:
		return stored, false, nil
	}
	sealed, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return "", false, ErrUnreadable
	}
	text, index, err := open(k.factors, id, sealed)
	return string(text), index == 0, err
}

// Code makes a code of decimal digits, all equally likely.
func Code(digits int) (string, error) {
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
	n, err := rand.Int(rand.Reader, limit)
	if err != nil {
		return "", fmt.Errorf("make a code: %w", err)
	}
	return fmt.Sprintf("%0*d", digits, n), nil
}

// Link makes the token of a link: 56 hex digits, marked when the flow ends in an auth code.
func Link(isPKCE bool) string {
	var raw [28]byte
	_, _ = rand.Read(raw[:]) // never fails (crypto/rand)
	token := hex.EncodeToString(raw[:])
	if isPKCE {
		return LinkPrefix + token
	}
	return token
}

// LinkDigest is what the database is told of a link: the hex SHA-256 of its token.
func LinkDigest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// IsPKCE reports whether a link's flow ends in an auth code.
func IsPKCE(token string) bool { return strings.HasPrefix(token, LinkPrefix) }

// AdoptedCodeDigest is what adoption made of a code that Supabase Auth mailed to an address: the hex SHA-256 of the hex SHA-224
// that it had stored.
func AdoptedCodeDigest(address, code string) string {
	stored := sha256.Sum224([]byte(address + code))
	return LinkDigest(hex.EncodeToString(stored[:]))
}
