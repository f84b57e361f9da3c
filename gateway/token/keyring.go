// Package token makes and checks the two tokens of a session: the access token,
// a JWT signed with the configured key, and the refresh token, whose layout is
// Supabase Auth's second version under a key derived for each session.
package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/postern-auth/postern/gateway/config"
)

// What is wrong with the signing keys at start; core.md 5.2 fixes the words.
var (
	ErrNoSigningKey    = errors.New("no signing key found")
	ErrManySigningKeys = errors.New("multiple signing keys detected, only 1 signing key is supported")
)

// Keyring signs access tokens with one key and verifies them with all
// configured ones. It does not change and is safe for concurrent use.
type Keyring struct {
	secret []byte // GOTRUE_JWT_SECRET
	keyID  string // kid of the secret
	keys   map[string]*key
	parser *jwt.Parser
	jwks   []byte

	method jwt.SigningMethod
	signer any
	header string // encoded first segment of every token signed here, with its dot

	ownVerifier any // key for tokens with that header; nil when they are not accepted
}

// NewKeyring makes a keyring from GOTRUE_JWT_SECRET, GOTRUE_JWT_KEYS (a JSON
// array of JWKs, or empty: then the secret signs), GOTRUE_JWT_KEY_ID and
// GOTRUE_JWT_VALID_METHODS. An error names the variable to correct and never
// holds any part of a key.
func NewKeyring(secret, jwks config.Secret, keyID string, validMethods []string) (*Keyring, error) {
	k := &Keyring{secret: []byte(secret.Reveal()), keyID: keyID, keys: map[string]*key{}}
	var keys []*key
	if strings.TrimSpace(jwks.Reveal()) == "" {
		if len(k.secret) == 0 {
			return nil, errors.New("GOTRUE_JWT_SECRET: required")
		}
		if err := k.signWith(&key{id: keyID, algorithm: "HS256", signer: k.secret}); err != nil {
			return nil, err
		}
	} else {
		var err error
		if keys, err = parseKeys(jwks.Reveal()); err == nil {
			err = k.add(keys)
		}
		if err != nil {
			return nil, fmt.Errorf("GOTRUE_JWT_KEYS: %w", err)
		}
	}
	methods, err := acceptedMethods(validMethods, keys)
	if err != nil {
		return nil, fmt.Errorf("GOTRUE_JWT_VALID_METHODS: %w", err)
	}
	k.parser = jwt.NewParser(jwt.WithValidMethods(methods))
	k.findOwnVerifier(methods)
	k.jwks, err = publish(keys)
	return k, err
}

// add files the keys by kid and picks the one that signs.
func (k *Keyring) add(keys []*key) error {
	var signing []*key
	for _, one := range keys {
		if _, twice := k.keys[one.id]; twice && one.id != "" {
			return fmt.Errorf("kid %q is used twice", one.id)
		}
		k.keys[one.id] = one
		if one.signs {
			signing = append(signing, one)
		}
	}
	switch {
	case len(signing) == 0:
		return ErrNoSigningKey
	case len(signing) > 1:
		return ErrManySigningKeys
	}
	return k.signWith(signing[0])
}

// signWith makes the header once: it is the same for every token. Its members
// are sorted, as in the reference's tokens.
func (k *Keyring) signWith(signing *key) error {
	header, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid,omitempty"`
		Type      string `json:"typ"`
	}{signing.algorithm, signing.id, "JWT"})
	if err != nil {
		return fmt.Errorf("encode the token header: %w", err)
	}
	k.method, k.signer = jwt.GetSigningMethod(signing.algorithm), signing.signer
	k.header = encode(header) + "."
	return nil
}

// findOwnVerifier picks the key for tokens with this keyring's own header, as keyFor would; none when they are not accepted.
func (k *Keyring) findOwnVerifier(methods []string) {
	if k.method == nil || !slices.Contains(methods, k.method.Alg()) {
		return
	}
	own, _, err := k.parser.ParseUnverified(k.header+"e30.", jwt.MapClaims{})
	if err != nil {
		return
	}
	if verifier, err := k.keyFor(own); err == nil {
		k.ownVerifier = verifier
	}
}

// acceptedMethods returns the algorithms to accept: the configured list, else
// those of the keys, else HS256. It is never nil, which would mean all of them.
func acceptedMethods(configured []string, keys []*key) ([]string, error) {
	methods := []string{}
	for _, method := range configured {
		if _, known := families()[method]; !known {
			return nil, fmt.Errorf("unknown algorithm %q", method)
		}
		methods = append(methods, method)
	}
	if len(methods) > 0 {
		return methods, nil
	}
	if keys == nil {
		return []string{"HS256"}, nil
	}
	for _, one := range keys {
		if one.algorithm != "" && !slices.Contains(methods, one.algorithm) {
			methods = append(methods, one.algorithm)
		}
	}
	return methods, nil
}

// publish encodes the key set in the order of the configuration.
func publish(keys []*key) ([]byte, error) {
	set := struct {
		Keys []map[string]any `json:"keys"`
	}{[]map[string]any{}}
	for _, one := range keys {
		if one.public != nil {
			set.Keys = append(set.Keys, one.published())
		}
	}
	body, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("encode the key set: %w", err)
	}
	return body, nil
}

// JWKS returns the body of /.well-known/jwks.json: the public part of every
// asymmetric key. The caller must not change it.
func (k *Keyring) JWKS() []byte { return k.jwks }

// Sign returns a token over the claims, whose bytes are signed as they are.
func (k *Keyring) Sign(claims []byte) (string, error) {
	text := k.header + encode(claims)
	signature, err := k.method.Sign(text, k.signer)
	if err != nil {
		return "", fmt.Errorf("sign an access token: %w", err)
	}
	return text + "." + encode(signature), nil
}
