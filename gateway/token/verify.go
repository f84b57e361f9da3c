package token

import (
	"errors"
	"fmt"

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
	var claims wireClaims
	if _, err := k.parser.ParseWithClaims(token, &claims, k.keyFor); err != nil {
		var unknown *unknownKeyError
		if errors.As(err, &unknown) {
			err = unknown // the contract's text goes without the parser's two prefixes
		}
		return Claims{}, fmt.Errorf("invalid JWT: unable to parse or verify signature, %w", err)
	}
	out := Claims{
		Subject: claims.subject, SessionID: claims.sessionID, Role: claims.role, AAL: claims.aal,
		HasAudience: len(claims.audience) > 0,
	}
	if out.HasAudience {
		out.Audience = claims.audience[0]
	}
	return out, nil
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
