// Package totp makes and checks the codes of authenticator apps: RFC 6238 with SHA-1, six digits and steps of 30 seconds, which is
// what every app knows (mfa-hooks.md 1.4).
package totp

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // G505: the algorithm of the RFC, which apps expect
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"strings"
	"time"
)

const (
	period = 30 // seconds
	digits = 6
)

// NewSecret makes a secret of 160 bits, in base32 without padding.
func NewSecret() string {
	var raw [20]byte
	_, _ = rand.Read(raw[:]) // never fails (crypto/rand)
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw[:])
}

// Matches reports whether a code is that of the present step, the one before or the one after. Blanks around it do not count.
// The error says that the secret is none.
func Matches(secret, code string, now time.Time) (bool, error) {
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(
		strings.TrimRight(strings.ToUpper(strings.TrimSpace(secret)), "="))
	if err != nil {
		return false, fmt.Errorf("decode the secret: %w", err)
	}
	presented := []byte(strings.TrimSpace(code))
	step := now.Unix() / period
	matches := 0
	for _, at := range []int64{step - 1, step, step + 1} {
		matches |= subtle.ConstantTimeCompare(presented, []byte(codeAt(key, uint64(at)))) //nolint:gosec // G115: no clock is before 1970
	}
	return matches == 1, nil
}

// codeAt is the code of a step (RFC 4226 section 5.3).
func codeAt(key []byte, step uint64) string {
	mac := hmac.New(sha1.New, key)
	mac.Write(binary.BigEndian.AppendUint64(nil, step))
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 0x0f
	number := binary.BigEndian.Uint32(sum[offset:]) & 0x7fffffff
	return fmt.Sprintf("%0*d", digits, number%1_000_000)
}

// URI is what an app reads from the QR code. It is escaped as the reference does: in the query "&" and ":" stay as they are.
func URI(issuer, account, secret string) string {
	address := url.URL{
		Scheme: "otpauth", Host: "totp", Path: "/" + issuer + ":" + account,
		RawQuery: fmt.Sprintf("algorithm=SHA1&digits=%d&issuer=%s&period=%d&secret=%s", digits, url.PathEscape(issuer), period, secret),
	}
	return address.String()
}
