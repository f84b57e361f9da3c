package token

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/postern-auth/postern/gateway/internal/jsonwalk"
)

// wireClaims is the payload of an access token, as far as the gateway reads it.
type wireClaims struct {
	subject, sessionID, role, aal string
	audience                      jwt.ClaimStrings
	expiresAt, notBefore          *jwt.NumericDate
}

// UnmarshalJSON implements json.Unmarshaler. It walks over the members instead
// of decoding into a struct: that is half the time of a whole verification, most
// of a token being metadata that nobody reads here, and it takes the names
// exactly, where encoding/json takes "ROLE" for role too.
func (c *wireClaims) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return nil
	}
	if raw[0] != '{' {
		return errors.New("the claims are not an object")
	}
	return jsonwalk.EachMember(raw, c.read)
}

// read takes one member. Those that the gateway has no use for are looked at for
// their type: a token in which one of them has another one is refused
// (core.md 1.8).
func (c *wireClaims) read(name, value []byte) (err error) {
	if string(value) == "null" {
		return nil
	}
	switch string(name) {
	case "sub":
		c.subject, err = jsonwalk.DecodeString(value)
	case "session_id":
		c.sessionID, err = jsonwalk.DecodeString(value)
	case "role":
		c.role, err = jsonwalk.DecodeString(value)
	case "aal":
		c.aal, err = jsonwalk.DecodeString(value)
	case "aud":
		err = c.readAudience(value)
	case "exp":
		c.expiresAt, err = decodeDate(value)
	case "nbf":
		c.notBefore, err = decodeDate(value)
	case "iat":
		_, err = decodeDate(value)
	case "iss", "jti", "email", "phone", "client_id", "scope":
		err = expect(value[0] == '"', "a string")
	case "app_metadata", "user_metadata":
		err = expect(value[0] == '{', "an object")
	case "is_anonymous":
		err = expect(value[0] == 't' || value[0] == 'f', "a boolean")
	case "amr":
		err = checkMethods(value)
	}
	if err != nil {
		return fmt.Errorf("claim %s: %w", name, err)
	}
	return nil
}

func (c *wireClaims) readAudience(value []byte) error {
	if value[0] != '"' {
		return c.audience.UnmarshalJSON(value)
	}
	one, err := jsonwalk.DecodeString(value)
	c.audience = jwt.ClaimStrings{one}
	return err
}

// checkMethods accepts an array of strings or an array of objects.
func checkMethods(value []byte) error {
	return expect(value[0] == '[' && (jsonwalk.ElementsBeginWith(value, '{') || jsonwalk.ElementsBeginWith(value, '"')),
		"an array of strings or of objects")
}

func expect(holds bool, what string) error {
	if holds {
		return nil
	}
	return fmt.Errorf("expected %s", what)
}

func decodeDate(value []byte) (*jwt.NumericDate, error) {
	if seconds, err := strconv.ParseInt(string(value), 10, 64); err == nil {
		return jwt.NewNumericDate(time.Unix(seconds, 0)), nil
	}
	var date jwt.NumericDate
	if err := date.UnmarshalJSON(value); err != nil {
		return nil, err
	}
	return &date, nil
}

// GetExpirationTime implements jwt.Claims.
func (c *wireClaims) GetExpirationTime() (*jwt.NumericDate, error) { return c.expiresAt, nil }

// GetNotBefore implements jwt.Claims.
func (c *wireClaims) GetNotBefore() (*jwt.NumericDate, error) { return c.notBefore, nil }

// GetIssuedAt implements jwt.Claims; iat is not judged.
func (c *wireClaims) GetIssuedAt() (*jwt.NumericDate, error) { return nil, nil }

// GetIssuer implements jwt.Claims; iss is not judged.
func (c *wireClaims) GetIssuer() (string, error) { return "", nil }

// GetSubject implements jwt.Claims.
func (c *wireClaims) GetSubject() (string, error) { return c.subject, nil }

// GetAudience implements jwt.Claims.
func (c *wireClaims) GetAudience() (jwt.ClaimStrings, error) { return c.audience, nil }
