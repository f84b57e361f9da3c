package token

import (
	"crypto/hmac"
	"crypto/sha256"

	"github.com/postern-auth/postern/gateway/config"
)

// refreshInfo separates the keys of refresh tokens from whatever else is derived
// from the same secret.
const refreshInfo = "postern refresh token v1"

// RefreshKeys makes and checks refresh tokens. No session's key is stored: each
// is HKDF-SHA-256 of a configured key with the session id in the info. It does
// not change and is safe for concurrent use.
type RefreshKeys struct {
	extracted [][]byte // HKDF's pseudorandom keys, newest first
}

// NewRefreshKeys takes POSTERN_TOKEN_KEYS, newest first; without any, the JWT
// secret. A JWT secret listed as the last key keeps the tokens valid that were
// made before there were keys of their own. Empty keys are left out: anybody could
// mint with them. With nothing left, a random key serves this process.
func NewRefreshKeys(keys []config.Secret, jwtSecret config.Secret) *RefreshKeys {
	if len(keys) == 0 {
		keys = []config.Secret{jwtSecret}
	}
	out := &RefreshKeys{extracted: make([][]byte, 0, len(keys))}
	for _, key := range keys {
		if key != "" {
			out.extracted = append(out.extracted, extract([]byte(key.Reveal())))
		}
	}
	if len(out.extracted) == 0 {
		out.extracted = append(out.extracted, extract(randomBytes(32)))
	}
	return out
}

// Mint returns the token of a session's generation, made with the newest key.
// The same arguments give the same token.
func (r *RefreshKeys) Mint(session [16]byte, counter uint64) string {
	return mintRefresh(r.SessionKey(session), session, counter)
}

// Valid says in constant time whether any configured key made the token. A
// 12-character token is never valid here: only the database knows those.
func (r *RefreshKeys) Valid(t Refresh) bool {
	valid := false
	for _, extracted := range r.extracted {
		valid = t.SignedBy(sessionKey(extracted, t.Session)) || valid
	}
	return valid
}

// SessionKey returns the session's newest key, 32 bytes: what Supabase Auth
// keeps in auth.sessions.refresh_token_hmac_key, for handing a database back.
func (r *RefreshKeys) SessionKey(session [16]byte) []byte {
	return sessionKey(r.extracted[0], session)
}

// extract is HKDF-Extract without a salt, which stands for one of zeros.
func extract(key []byte) []byte { return mac(make([]byte, sha256.Size), key) }

// sessionKey is HKDF-Expand for 32 bytes, which is its first block; written out
// because that, unlike crypto/hkdf, cannot fail. A test compares the two.
func sessionKey(extracted []byte, session [16]byte) []byte {
	info := make([]byte, 0, len(refreshInfo)+sessionSize+1)
	info = append(info, refreshInfo...)
	info = append(info, session[:]...)
	return mac(extracted, append(info, 1))
}

func mac(key, message []byte) []byte {
	hash := hmac.New(sha256.New, key)
	hash.Write(message)
	return hash.Sum(nil)
}
