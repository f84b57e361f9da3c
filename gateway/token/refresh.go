package token

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
)

// The parts of a refresh token, in their order (core.md 4.8); the counter
// between session and MAC takes one to nine bytes.
const (
	versionSize  = 1
	sessionSize  = 16
	macSize      = 16
	checksumSize = 4
	minimumSize  = versionSize + sessionSize + 1 + macSize + checksumSize
	maximumSize  = minimumSize + 8
	legacyLength = 12
)

// ErrMalformed says that a text is not a refresh token of any kind.
var ErrMalformed = errors.New("refresh token is malformed")

// Refresh is a refresh token that has been read, not yet believed.
type Refresh struct {
	Legacy  string   // a 12-character token of Supabase Auth; then nothing else is set
	Session [16]byte // session id
	Counter uint64
	Signed  []byte // what the MAC covers
	MAC     []byte
}

// ParseRefresh reads a refresh token. It knows both formats by their length and
// checks all that can be checked without a key; any failure is ErrMalformed.
func ParseRefresh(s string) (Refresh, error) {
	if len(s) == legacyLength {
		return parseLegacy(s)
	}
	// The decoder skips line ends, which would give one token several spellings.
	if strings.ContainsAny(s, "\r\n") || len(s) > base64.RawURLEncoding.EncodedLen(maximumSize) {
		return Refresh{}, ErrMalformed
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) < minimumSize || len(raw) > maximumSize || raw[0] != 0 {
		return Refresh{}, ErrMalformed
	}
	covered, sum := raw[:len(raw)-checksumSize], raw[len(raw)-checksumSize:]
	if !bytes.Equal(sum, checksum(covered)) {
		return Refresh{}, ErrMalformed
	}
	counter, size := binary.Uvarint(covered[versionSize+sessionSize:])
	if size <= 0 || versionSize+sessionSize+size+macSize != len(covered) {
		return Refresh{}, ErrMalformed
	}
	out := Refresh{
		Session: [16]byte(covered[versionSize:]),
		Counter: counter,
		Signed:  covered[:len(covered)-macSize],
		MAC:     covered[len(covered)-macSize:],
	}
	return out, nil
}

func parseLegacy(s string) (Refresh, error) {
	for i := range len(s) {
		if (s[i] < 'a' || s[i] > 'z') && (s[i] < '0' || s[i] > '9') {
			return Refresh{}, ErrMalformed
		}
	}
	return Refresh{Legacy: s}, nil
}

// SignedBy says in constant time whether the MAC was made with the key.
func (t Refresh) SignedBy(key []byte) bool {
	return t.Legacy == "" && len(t.Signed) > 0 && subtle.ConstantTimeCompare(t.MAC, mac(key, t.Signed)[:macSize]) == 1
}

// mintRefresh builds a token of the second version.
func mintRefresh(key []byte, session [16]byte, counter uint64) string {
	raw := make([]byte, 0, maximumSize+1)
	raw = append(raw, 0)
	raw = append(raw, session[:]...)
	raw = binary.AppendUvarint(raw, counter)
	raw = append(raw, mac(key, raw)[:macSize]...)
	raw = append(raw, checksum(raw)...)
	return base64.RawURLEncoding.EncodeToString(raw)
}

func checksum(covered []byte) []byte {
	sum := sha256.Sum256(covered)
	return sum[:checksumSize]
}
