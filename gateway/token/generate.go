package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/postern-auth/postern/gateway/config"
)

// GenerateSecret returns 256 random bits as text, fit for GOTRUE_JWT_SECRET.
func GenerateSecret() config.Secret { return config.Secret(encode(randomBytes(32))) }

// GenerateKey returns a new private JWK that may sign and verify, as one element
// of GOTRUE_JWT_KEYS. The algorithm is one of RS256, RS512, ES256, ES512, EdDSA
// and HS256. An empty kid stands for one made from the key: the RFC 7638
// thumbprint, or 128 random bits for HS256, whose thumbprint would say something
// about the secret. The answer is a secret.
func GenerateKey(algorithm, kid string) (json.RawMessage, error) {
	if !canSign(algorithm) {
		return nil, fmt.Errorf("alg %q is not supported: RS256, RS512, ES256, ES512, EdDSA or HS256", algorithm)
	}
	public, private, err := generateParameters(algorithm)
	if err != nil {
		return nil, fmt.Errorf("generate a key for %s: %w", algorithm, err)
	}
	if kid == "" && algorithm == "HS256" {
		kid = encode(randomBytes(16))
	}
	if kid == "" {
		if kid, err = thumbprint(public); err != nil {
			return nil, err
		}
	}
	members := map[string]any{"alg": algorithm, "kid": kid, "key_ops": []string{"sign", "verify"}}
	if algorithm != "HS256" {
		members["use"] = "sig"
	}
	for _, parameters := range []map[string]string{public, private} {
		for name, value := range parameters {
			members[name] = value
		}
	}
	return json.Marshal(members)
}

// VerifyOnlyKey returns a shared secret as a JWK that verifies HS256 tokens and
// signs none: beside an asymmetric signing key it keeps older tokens, anon and
// service_role keys among them, valid. The answer is a secret.
func VerifyOnlyKey(secret config.Secret, kid string) (json.RawMessage, error) {
	return json.Marshal(map[string]any{
		"kty": "oct", "alg": "HS256", "kid": kid, "k": encode([]byte(secret.Reveal())), "key_ops": []string{"verify"},
	})
}

// generateParameters makes a key and returns its public and private parameters.
func generateParameters(algorithm string) (public, private map[string]string, err error) {
	switch algorithm {
	case "HS256":
		return map[string]string{"kty": "oct"}, map[string]string{"k": encode(randomBytes(32))}, nil
	case "ES256":
		return generateEC(elliptic.P256())
	case "ES512":
		return generateEC(elliptic.P521())
	case "EdDSA":
		x, d, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		return map[string]string{"kty": "OKP", "crv": "Ed25519", "x": encode(x)}, map[string]string{"d": encode(d.Seed())}, nil
	default:
		return generateRSA()
	}
}

func generateEC(curve elliptic.Curve) (public, private map[string]string, err error) {
	made, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	point, err := made.PublicKey.Bytes()
	if err != nil {
		return nil, nil, err
	}
	d, err := made.Bytes()
	if err != nil {
		return nil, nil, err
	}
	half := (len(point) - 1) / 2 // after the byte 4 come x and y
	public = map[string]string{
		"kty": "EC", "crv": curve.Params().Name, "x": encode(point[1 : 1+half]), "y": encode(point[1+half:]),
	}
	return public, map[string]string{"d": encode(d)}, nil
}

func generateRSA() (public, private map[string]string, err error) {
	made, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	public = map[string]string{"kty": "RSA", "n": encode(made.N.Bytes()), "e": encode([]byte{1, 0, 1})}
	return public, map[string]string{
		"d": encode(made.D.Bytes()), "p": encode(made.Primes[0].Bytes()), "q": encode(made.Primes[1].Bytes()),
		"dp": encode(made.Precomputed.Dp.Bytes()), "dq": encode(made.Precomputed.Dq.Bytes()),
		"qi": encode(made.Precomputed.Qinv.Bytes()),
	}, nil
}

// thumbprint is RFC 7638's: SHA-256 over the required public members, sorted.
func thumbprint(public map[string]string) (string, error) {
	members, err := json.Marshal(public)
	if err != nil {
		return "", fmt.Errorf("encode the public key: %w", err)
	}
	sum := sha256.Sum256(members)
	return encode(sum[:]), nil
}

func randomBytes(count int) []byte {
	raw := make([]byte, count)
	_, _ = rand.Read(raw) // never fails: crypto/rand ends the process instead
	return raw
}

// RetireKeys returns the keys of GOTRUE_JWT_KEYS as ones that only verify, their
// private parts removed, to stand beside a new signing key until the last token
// that they signed has expired. The answer is a secret: symmetric keys are whole.
func RetireKeys(jwks config.Secret) ([]json.RawMessage, error) {
	if _, err := parseKeys(jwks.Reveal()); err != nil {
		return nil, err
	}
	var keys []map[string]any
	if err := json.Unmarshal([]byte(jwks.Reveal()), &keys); err != nil {
		return nil, errors.New("not a JSON array of keys")
	}
	out := make([]json.RawMessage, 0, len(keys))
	for _, key := range keys {
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth"} {
			delete(key, private)
		}
		key["key_ops"] = []string{"verify"}
		raw, err := json.Marshal(key)
		if err != nil {
			return nil, fmt.Errorf("encode a key: %w", err)
		}
		out = append(out, raw)
	}
	return out, nil
}
