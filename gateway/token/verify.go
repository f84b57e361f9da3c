package token

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Claims is what the gateway itself judges in an access token.
type Claims struct {
	Subject     string
	SessionID   string
	Role        string
	Audience    string // the first aud, or ""
	AAL         string
	HasAudience bool // the token has an aud, if only an empty one
}

// unknownKeyError says that no configured key fits a token's header.
type unknownKeyError struct{ kid, algorithm any }

func (e *unknownKeyError) Error() string {
	return fmt.Sprintf("unrecognized JWT kid %v for algorithm %v", e.kid, e.algorithm)
}

// Verify checks the signature, exp and nbf of an access token. There is no
// leeway, a missing exp is accepted, and so is an iat in the future. The error's
// text is the message that clients see (core.md 1.8); subject, session and role
// are the caller's to judge.
func (k *Keyring) Verify(token string) (Claims, error) {
	if claims, ok := k.verifyOwn(token); ok {
		return claims, nil
	}
	var claims wireClaims
	if _, err := k.parser.ParseWithClaims(token, &claims, k.keyFor); err != nil {
		if unknown, ok := errors.AsType[*unknownKeyError](err); ok {
			err = unknown // the contract's text goes without the parser's two prefixes
		}
		return Claims{}, fmt.Errorf("invalid JWT: unable to parse or verify signature, %w", err)
	}
	return claims.judged(), nil
}

// verifyOwn is the short way for a token with exactly the header that this keyring signs with, which is nearly every one: it
// spares the parser's decoding of a known header. Whatever it does not accept takes the long way, for the error or not.
func (k *Keyring) verifyOwn(token string) (Claims, bool) {
	payload, ok := strings.CutPrefix(token, k.header)
	if !ok || k.ownVerifier == nil {
		return Claims{}, false
	}
	payload, encoded, ok := strings.Cut(payload, ".")
	if !ok {
		return Claims{}, false
	}
	signature, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || k.method.Verify(token[:len(k.header)+len(payload)], signature, k.ownVerifier) != nil {
		return Claims{}, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	var claims wireClaims
	if err != nil || !json.Valid(raw) || claims.UnmarshalJSON(bytes.TrimSpace(raw)) != nil {
		return Claims{}, false
	}
	now := time.Now()
	if claims.expiresAt != nil && !now.Before(claims.expiresAt.Time) || claims.notBefore != nil && now.Before(claims.notBefore.Time) {
		return Claims{}, false
	}
	return claims.judged(), true
}

// judged is what the gateway itself looks at.
func (c *wireClaims) judged() Claims {
	out := Claims{
		Subject: c.subject, SessionID: c.sessionID, Role: c.role, AAL: c.aal,
		HasAudience: len(c.audience) > 0,
	}
	if out.HasAudience {
		out.Audience = c.audience[0]
	}
	return out
}

// keyFor picks the one key that may verify a token whose algorithm has been
// accepted. It never tries a second one: whether the key fits the algorithm is
// the signing method's to say.
func (k *Keyring) keyFor(token *jwt.Token) (any, error) {
	if kid, ok := token.Header["kid"].(string); ok {
		if found, ok := k.keys[kid]; ok {
			return found.verifier, nil
		}
		if kid == k.keyID && len(k.secret) > 0 {
			return k.secret, nil
		}
	}
	// Tokens made before key ids existed, the usual anon and service_role keys
	// among them, carry none.
	if token.Header["alg"] == jwt.SigningMethodHS256.Name && len(k.secret) > 0 {
		return k.secret, nil
	}
	return nil, &unknownKeyError{kid: token.Header["kid"], algorithm: token.Header["alg"]}
}
