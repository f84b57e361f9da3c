package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// jwk is one element of GOTRUE_JWT_KEYS as it is written (RFC 7517, 7518, 8037).
type jwk struct {
	Type       string   `json:"kty"`
	ID         string   `json:"kid"`
	Algorithm  string   `json:"alg"`
	Operations []string `json:"key_ops"`
	Curve      string   `json:"crv"`
	X          string   `json:"x"`
	Y          string   `json:"y"`
	D          string   `json:"d"`
	N          string   `json:"n"`
	E          string   `json:"e"`
	P          string   `json:"p"`
	Q          string   `json:"q"`
	K          string   `json:"k"`
}

// key is a configured key, ready for use.
type key struct {
	id        string
	algorithm string
	signs     bool              // key_ops has "sign"
	verifier  any               // what the signing method verifies with
	signer    any               // what it signs with; nil when the private part is missing
	public    map[string]string // parameters to publish; nil for a symmetric key
}

// family says which keys an algorithm works with.
type family struct{ kty, curve string }

// families lists the algorithms that a configured key may name. Those that
// sign are in canSign.
func families() map[string]family {
	return map[string]family{
		"HS256": {kty: "oct"}, "HS384": {kty: "oct"}, "HS512": {kty: "oct"},
		"RS256": {kty: "RSA"}, "RS384": {kty: "RSA"}, "RS512": {kty: "RSA"},
		"PS256": {kty: "RSA"}, "PS384": {kty: "RSA"}, "PS512": {kty: "RSA"},
		"ES256": {"EC", "P-256"}, "ES384": {"EC", "P-384"}, "ES512": {"EC", "P-521"},
		"EdDSA": {"OKP", "Ed25519"},
	}
}

// canSign says whether access tokens may be signed with the algorithm: those
// that the contract names (core.md 5.2).
func canSign(algorithm string) bool {
	return slices.Contains([]string{"RS256", "RS512", "ES256", "ES512", "EdDSA", "HS256"}, algorithm)
}

// parseKeys reads a JSON array of JWKs.
func parseKeys(text string) ([]*key, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		// The parser's own message may quote the text, which holds private keys.
		return nil, errors.New("not a JSON array of keys")
	}
	keys := make([]*key, 0, len(raw))
	for i, one := range raw {
		parsed, err := parseKey(one)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		keys = append(keys, parsed)
	}
	return keys, nil
}

func parseKey(raw json.RawMessage) (*key, error) {
	var in jwk
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, errors.New("not a JSON Web Key")
	}
	out := &key{id: in.ID, algorithm: in.Algorithm, signs: slices.Contains(in.Operations, "sign")}
	var err error
	switch in.Type {
	case "oct":
		err = out.fillSymmetric(in)
	case "RSA":
		err = out.fillRSA(in)
	case "EC":
		err = out.fillEC(in)
	case "OKP":
		err = out.fillEd25519(in)
	default:
		return nil, fmt.Errorf("kty %q is not supported", in.Type)
	}
	if err != nil {
		return nil, err
	}
	return out, out.check(in)
}

// check refuses at start what would otherwise fail at every sign-in.
func (k *key) check(in jwk) error {
	if k.algorithm == "" && in.Type == "oct" {
		k.algorithm = "HS256"
	}
	fits, known := families()[k.algorithm]
	switch {
	case k.algorithm == "" && !k.signs:
		return nil // verifies where GOTRUE_JWT_VALID_METHODS names its algorithm
	case !known:
		return fmt.Errorf("alg %q is not supported", k.algorithm)
	case fits.kty != in.Type || fits.curve != "" && fits.curve != in.Curve:
		return fmt.Errorf("alg %s does not fit a key of type %s %s", k.algorithm, in.Type, in.Curve)
	case k.signs && !canSign(k.algorithm):
		return fmt.Errorf("alg %s cannot sign access tokens", k.algorithm)
	case k.signs && k.signer == nil:
		return errors.New("key_ops has sign, but the private part is missing")
	}
	return nil
}

func (k *key) fillSymmetric(in jwk) error {
	secret, err := decodeParameter("k", in.K)
	if err != nil {
		return err
	}
	k.verifier, k.signer = secret, secret
	return nil
}

func (k *key) fillRSA(in jwk) error {
	n, err := decodeParameter("n", in.N)
	if err != nil {
		return err
	}
	e, err := decodeParameter("e", in.E)
	if err != nil {
		return err
	}
	exponent := new(big.Int).SetBytes(e)
	if !exponent.IsInt64() || exponent.Int64() > 1<<31-1 {
		return errors.New("e is too large")
	}
	public := rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}
	if public.N.BitLen() < 2048 {
		return fmt.Errorf("an RSA key of %d bits is too short, 2048 are needed", public.N.BitLen())
	}
	k.verifier, k.public = &public, map[string]string{"kty": "RSA", "n": encode(n), "e": encode(e)}
	if in.D == "" {
		return nil
	}
	parts := make(map[string]*big.Int, 3)
	for name, text := range map[string]string{"d": in.D, "p": in.P, "q": in.Q} {
		raw, err := decodeParameter(name, text)
		if err != nil {
			return err
		}
		parts[name] = new(big.Int).SetBytes(raw)
	}
	private := &rsa.PrivateKey{PublicKey: public, D: parts["d"], Primes: []*big.Int{parts["p"], parts["q"]}}
	private.Precompute()
	if err := private.Validate(); err != nil {
		return fmt.Errorf("the RSA parameters do not belong together: %w", err)
	}
	k.signer = private
	return nil
}

func (k *key) fillEC(in jwk) error {
	curves := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}
	curve, ok := curves[in.Curve]
	if !ok {
		return fmt.Errorf("crv %q is not supported", in.Curve)
	}
	size := (curve.Params().BitSize + 7) / 8
	x, err := decodePadded("x", in.X, size)
	if err != nil {
		return err
	}
	y, err := decodePadded("y", in.Y, size)
	if err != nil {
		return err
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
	if err != nil {
		return fmt.Errorf("x and y are not a point of %s", in.Curve)
	}
	k.verifier = public
	k.public = map[string]string{"kty": "EC", "crv": in.Curve, "x": encode(x), "y": encode(y)}
	if in.D == "" {
		return nil
	}
	d, err := decodePadded("d", in.D, size)
	if err != nil {
		return err
	}
	private, err := ecdsa.ParseRawPrivateKey(curve, d)
	if err != nil || !private.PublicKey.Equal(public) {
		return errors.New("d does not belong to x and y")
	}
	k.signer = private
	return nil
}

func (k *key) fillEd25519(in jwk) error {
	if in.Curve != "Ed25519" {
		return fmt.Errorf("crv %q is not supported", in.Curve)
	}
	x, err := decodePadded("x", in.X, ed25519.PublicKeySize)
	if err != nil {
		return err
	}
	public := ed25519.PublicKey(x)
	k.verifier, k.public = public, map[string]string{"kty": "OKP", "crv": in.Curve, "x": encode(x)}
	if in.D == "" {
		return nil
	}
	seed, err := decodeParameter("d", in.D)
	if err != nil {
		return err
	}
	if len(seed) != ed25519.SeedSize {
		return errors.New("d has the wrong length")
	}
	private := ed25519.NewKeyFromSeed(seed)
	if !public.Equal(private.Public()) {
		return errors.New("d does not belong to x")
	}
	k.signer = private
	return nil
}

// published returns the key's public JWK; encoding/json sorts the members.
func (k *key) published() map[string]any {
	out := map[string]any{"key_ops": []string{"verify"}, "use": "sig"}
	for name, value := range k.public {
		out[name] = value
	}
	if k.id != "" {
		out["kid"] = k.id
	}
	if k.algorithm != "" {
		out["alg"] = k.algorithm
	}
	return out
}

func encode(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

// decodeParameter decodes a key parameter; padding is tolerated, an empty
// value is not.
func decodeParameter(name, text string) ([]byte, error) {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil || len(raw) == 0 {
		return nil, fmt.Errorf("%s is missing or not base64url", name)
	}
	return raw, nil
}

// decodePadded decodes a number of a fixed size; some writers drop its leading zeros.
func decodePadded(name, text string, size int) ([]byte, error) {
	raw, err := decodeParameter(name, text)
	if err != nil {
		return nil, err
	}
	for len(raw) > size && raw[0] == 0 {
		raw = raw[1:]
	}
	if len(raw) > size {
		return nil, fmt.Errorf("%s is too long", name)
	}
	return append(make([]byte, size-len(raw)), raw...), nil
}
