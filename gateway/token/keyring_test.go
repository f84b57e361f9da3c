package token

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/postern-auth/postern/gateway/config"
)

const (
	testSecret = config.Secret("a-shared-secret-of-more-than-thirty-two-bytes")
	wirePrefix = "invalid JWT: unable to parse or verify signature, "
)

// mustKeyring makes a keyring or ends the test.
func mustKeyring(t testing.TB, secret config.Secret, keyID string, methods []string, keys ...json.RawMessage) *Keyring {
	t.Helper()
	var set config.Secret
	if len(keys) > 0 {
		raw, err := json.Marshal(keys)
		if err != nil {
			t.Fatal(err)
		}
		set = config.Secret(raw)
	}
	ring, err := NewKeyring(secret, set, keyID, methods)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func mustGenerate(t testing.TB, algorithm, kid string) json.RawMessage {
	t.Helper()
	key, err := GenerateKey(algorithm, kid)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// edit returns the key with members replaced; nil removes one.
func edit(t testing.TB, key json.RawMessage, changes map[string]any) json.RawMessage {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal(key, &members); err != nil {
		t.Fatal(err)
	}
	for name, value := range changes {
		members[name] = value
		if value == nil {
			delete(members, name)
		}
	}
	out, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// forge signs any header and claims with any key.
func forge(t testing.TB, header map[string]any, claims string, method jwt.SigningMethod, key any) string {
	t.Helper()
	raw, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	text := encode(raw) + "." + encode([]byte(claims))
	signature, err := method.Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + encode(signature)
}

func headerOf(t testing.TB, token string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestSignAndVerifyWithEveryAlgorithm(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"RS256", "RS512", "ES256", "ES512", "EdDSA", "HS256"} {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			ring := mustKeyring(t, testSecret, "", nil, mustGenerate(t, algorithm, "k1"))
			signed, err := ring.Sign([]byte(`{"sub":"ada","session_id":"s","role":"authenticated","aud":["a","b"],"aal":"aal2"}`))
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf(`{"alg":%q,"kid":"k1","typ":"JWT"}`, algorithm); headerOf(t, signed) != want {
				t.Errorf("header = %s, want %s", headerOf(t, signed), want)
			}
			got, err := ring.Verify(signed)
			want := Claims{Subject: "ada", SessionID: "s", Role: "authenticated", Audience: "a", AAL: "aal2", HasAudience: true}
			if err != nil || got != want {
				t.Errorf("Verify = %+v, %v, want %+v", got, err, want)
			}
		})
	}
}

func TestSecretAloneSignsHS256(t *testing.T) {
	t.Parallel()
	for keyID, want := range map[string]string{"": `{"alg":"HS256","typ":"JWT"}`, "main": `{"alg":"HS256","kid":"main","typ":"JWT"}`} {
		ring := mustKeyring(t, testSecret, keyID, nil)
		signed, err := ring.Sign([]byte(`{"sub":"ada"}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := headerOf(t, signed); got != want {
			t.Errorf("header = %s, want %s", got, want)
		}
		if _, err := ring.Verify(signed); err != nil {
			t.Error(err)
		}
		if string(ring.JWKS()) != `{"keys":[]}` {
			t.Errorf("JWKS = %s", ring.JWKS())
		}
	}
}

func TestClaimsAreSignedAsTheyAre(t *testing.T) {
	t.Parallel()
	claims := `{ "z":1, "sub":"\u003cada>" , "a":1.50 }`
	signed, err := mustKeyring(t, testSecret, "", nil).Sign([]byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(signed, ".")[1])
	if err != nil || string(raw) != claims {
		t.Errorf("payload = %s, %v", raw, err)
	}
}

// The private key of the conformance kit and the key set that the reference published for it.
const (
	conformanceKey = `{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"conformance-es256",` +
		`"x":"h2Til9BlHeVvYVUbkPeuew7iuyKTxj6_09zUESttTzI","y":"usyGFJYuNGPZ0sXA1ifHFFps8YiXukWiOXEQpNh0KW0",` +
		`"d":"ax9KLZw-WHChssPU5fYHGCk6S1xtfo-QEjRWeJq83vE","key_ops":["sign","verify"]}`
	conformanceSet = `{"keys":[{"alg":"ES256","crv":"P-256","key_ops":["verify"],"kid":"conformance-es256","kty":"EC",` +
		`"use":"sig","x":"h2Til9BlHeVvYVUbkPeuew7iuyKTxj6_09zUESttTzI","y":"usyGFJYuNGPZ0sXA1ifHFFps8YiXukWiOXEQpNh0KW0"}]}`
)

func TestPublishedKeysAreThoseOfTheReference(t *testing.T) {
	t.Parallel()
	shared, err := VerifyOnlyKey(testSecret, "legacy-hs256")
	if err != nil {
		t.Fatal(err)
	}
	ring := mustKeyring(t, testSecret, "", nil, json.RawMessage(conformanceKey), shared)
	if string(ring.JWKS()) != conformanceSet {
		t.Errorf("JWKS = %s", ring.JWKS())
	}
}

func TestPublishedKeysHoldNoPrivatePart(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"RS256", "ES256", "ES512", "EdDSA"} {
		ring := mustKeyring(t, testSecret, "", nil, mustGenerate(t, algorithm, ""))
		var set struct{ Keys []map[string]any }
		if err := json.Unmarshal(ring.JWKS(), &set); err != nil || len(set.Keys) != 1 {
			t.Fatalf("JWKS = %s, %v", ring.JWKS(), err)
		}
		for name := range set.Keys[0] {
			if !slices.Contains([]string{"alg", "crv", "e", "key_ops", "kid", "kty", "n", "use", "x", "y"}, name) {
				t.Errorf("%s: member %s is published", algorithm, name)
			}
		}
	}
}

func TestKeySelection(t *testing.T) {
	t.Parallel()
	shared, err := VerifyOnlyKey("another-secret-that-has-thirty-two-bytes", "old")
	if err != nil {
		t.Fatal(err)
	}
	elliptic, nameless := mustGenerate(t, "ES256", "new"), edit(t, mustGenerate(t, "ES256", "x"), map[string]any{"kid": nil})
	ring := mustKeyring(t, testSecret, "", nil, elliptic, shared)
	named := mustKeyring(t, testSecret, "new", nil, elliptic, shared)
	lonely := mustKeyring(t, testSecret, "", nil, elliptic)
	anonymous := mustKeyring(t, testSecret, "main", nil, nameless)
	hs, es := jwt.SigningMethodHS256, jwt.SigningMethodES256
	secret, old := []byte(testSecret), []byte("another-secret-that-has-thirty-two-bytes")
	header := func(algorithm string, kid any) map[string]any {
		if kid == nil {
			return map[string]any{"alg": algorithm}
		}
		return map[string]any{"alg": algorithm, "kid": kid}
	}
	invalid := wirePrefix + "token signature is invalid: "
	for name, c := range map[string]struct {
		ring   *Keyring
		header map[string]any
		method jwt.SigningMethod
		key    any
		want   string
	}{
		"kid of the signing key":                     {ring, header("ES256", "new"), es, ring.signer, ""},
		"kid of a verifying key":                     {ring, header("HS256", "old"), hs, old, ""},
		"that kid, signed with the secret":           {ring, header("HS256", "old"), hs, secret, invalid + "signature is invalid"},
		"no kid: the secret":                         {ring, header("HS256", nil), hs, secret, ""},
		"unknown kid: the secret":                    {ring, header("HS256", "gone"), hs, secret, ""},
		"kid that is no string: the secret":          {ring, header("HS256", 7), hs, secret, ""},
		"kid of another algorithm":                   {ring, header("HS256", "new"), hs, secret, invalid + "key is of invalid type: HMAC verify expects []byte"},
		"kid of the secret is also a key's":          {named, header("ES256", "new"), es, ring.signer, ""},
		"unknown kid":                                {ring, header("ES256", "gone"), es, ring.signer, wirePrefix + "unrecognized JWT kid gone for algorithm ES256"},
		"no kid":                                     {ring, header("ES256", nil), es, ring.signer, wirePrefix + "unrecognized JWT kid <nil> for algorithm ES256"},
		"empty kid equals the secret's empty one":    {ring, header("ES256", ""), es, ring.signer, invalid + "key is of invalid type: ECDSA verify expects *ecdsa.PublicKey"},
		"HS256 where only ES256 is configured":       {lonely, header("HS256", nil), hs, secret, invalid + "signing method HS256 is invalid"},
		"algorithm outside the list":                 {ring, header("HS512", nil), jwt.SigningMethodHS512, secret, invalid + "signing method HS512 is invalid"},
		"none":                                       {ring, header("none", nil), jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, invalid + "signing method none is invalid"},
		"a signing key without kid verifies nothing": {anonymous, header("ES256", nil), es, anonymous.signer, wirePrefix + "unrecognized JWT kid <nil> for algorithm ES256"},
	} {
		_, err := c.ring.Verify(forge(t, c.header, `{"sub":"ada"}`, c.method, c.key))
		if text := fmt.Sprint(err); text != c.want && (err != nil || c.want != "") {
			t.Errorf("%s:\n got %s\nwant %s", name, text, c.want)
		}
	}
}

func TestValidMethodsReplaceTheKeysOwn(t *testing.T) {
	t.Parallel()
	ring := mustKeyring(t, testSecret, "", []string{"HS256", "ES256"}, mustGenerate(t, "ES256", "new"))
	if _, err := ring.Verify(forge(t, map[string]any{"alg": "HS256"}, `{}`, jwt.SigningMethodHS256, []byte(testSecret))); err != nil {
		t.Error(err)
	}
	only := mustKeyring(t, testSecret, "", []string{"HS256"}, mustGenerate(t, "ES256", "new"))
	signed, err := only.Sign([]byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := only.Verify(signed); err == nil {
		t.Error("a token of an algorithm outside the list was accepted")
	}
}

func TestWrongKeysAreRefusedAtStart(t *testing.T) {
	t.Parallel()
	ec, rsa, ed, oct := mustGenerate(t, "ES256", "a"), mustGenerate(t, "RS256", "b"), mustGenerate(t, "EdDSA", "c"), mustGenerate(t, "HS256", "d")
	verify := map[string]any{"key_ops": []string{"verify"}}
	list := func(keys ...json.RawMessage) config.Secret {
		raw, err := json.Marshal(keys)
		if err != nil {
			t.Fatal(err)
		}
		return config.Secret(raw)
	}
	other := func(key json.RawMessage, member string) any {
		var members map[string]any
		if err := json.Unmarshal(key, &members); err != nil {
			t.Fatal(err)
		}
		return members[member]
	}
	for want, c := range map[string]struct {
		secret, keys config.Secret
		methods      []string
	}{
		"GOTRUE_JWT_SECRET: required":                                {},
		"GOTRUE_JWT_KEYS: no signing key found":                      {testSecret, list(edit(t, ec, verify), edit(t, oct, verify)), nil},
		"GOTRUE_JWT_KEYS: multiple signing keys detected, only 1":    {testSecret, list(ec, rsa), nil},
		`GOTRUE_JWT_KEYS: kid "a" is used twice`:                     {testSecret, list(ec, edit(t, ec, verify)), nil},
		"GOTRUE_JWT_KEYS: not a JSON array of keys":                  {testSecret, "{", nil},
		"GOTRUE_JWT_KEYS: key 1: not a JSON Web Key":                 {testSecret, `["x"]`, nil},
		`key 1: kty "what" is not supported`:                         {testSecret, `[{"kty":"what"}]`, nil},
		"key 1: n is missing or not base64url":                       {testSecret, `[{"kty":"RSA"}]`, nil},
		`key 1: crv "secp256k1" is not supported`:                    {testSecret, `[{"kty":"EC","crv":"secp256k1"}]`, nil},
		`key 1: crv "X25519" is not supported`:                       {testSecret, `[{"kty":"OKP","crv":"X25519"}]`, nil},
		"key 1: alg ES512 does not fit a key of type EC P-256":       {testSecret, list(edit(t, ec, map[string]any{"alg": "ES512"})), nil},
		"key 1: alg HS256 does not fit a key of type RSA":            {testSecret, list(edit(t, rsa, map[string]any{"alg": "HS256"})), nil},
		`key 1: alg "" is not supported`:                             {testSecret, list(edit(t, ed, map[string]any{"alg": nil})), nil},
		"key 1: alg PS256 cannot sign access tokens":                 {testSecret, list(edit(t, rsa, map[string]any{"alg": "PS256"})), nil},
		"key 2: key_ops has sign, but the private part is missing":   {testSecret, list(oct, edit(t, ec, map[string]any{"d": nil})), nil},
		"key 1: d does not belong to x and y":                        {testSecret, list(edit(t, ec, map[string]any{"d": other(mustGenerate(t, "ES256", ""), "d")})), nil},
		"key 1: d does not belong to x":                              {testSecret, list(edit(t, ed, map[string]any{"d": other(mustGenerate(t, "EdDSA", ""), "d")})), nil},
		"key 1: x and y are not a point of P-256":                    {testSecret, list(edit(t, ec, map[string]any{"x": "AQ"})), nil},
		"key 1: the RSA parameters do not belong together":           {testSecret, list(edit(t, rsa, map[string]any{"d": "AQAB"})), nil},
		"key 1: p is missing or not base64url":                       {testSecret, list(edit(t, rsa, map[string]any{"p": nil})), nil},
		"key 1: an RSA key of 16 bits is too short":                  {testSecret, list(edit(t, rsa, map[string]any{"n": "gAE"})), nil},
		`GOTRUE_JWT_VALID_METHODS: unknown algorithm "none"`:         {testSecret, "", []string{"none"}},
		`GOTRUE_JWT_VALID_METHODS: unknown algorithm " ES256"`:       {testSecret, list(ec), []string{"ES256", " ES256"}},
		"GOTRUE_JWT_KEYS: key 1: d is missing or not base64url":      {testSecret, list(edit(t, ec, map[string]any{"d": "!"})), nil},
		"GOTRUE_JWT_KEYS: key 1: x is too long":                      {testSecret, list(edit(t, ed, map[string]any{"x": strings.Repeat("AQID", 20)})), nil},
		"GOTRUE_JWT_KEYS: key 1: d has the wrong length":             {testSecret, list(edit(t, ed, map[string]any{"d": "AQ"})), nil},
		"GOTRUE_JWT_KEYS: key 1: k is missing or not base64url":      {testSecret, `[{"kty":"oct","key_ops":["sign"]}]`, nil},
		"GOTRUE_JWT_KEYS: key 1: e is too large":                     {testSecret, list(edit(t, rsa, map[string]any{"e": "AQIDBAUGBwgJ"})), nil},
		"GOTRUE_JWT_KEYS: key 1: e is missing or not base64url":      {testSecret, list(edit(t, rsa, map[string]any{"e": nil})), nil},
		"GOTRUE_JWT_KEYS: key 1: y is missing or not base64url":      {testSecret, list(edit(t, ec, map[string]any{"y": ""})), nil},
		`GOTRUE_JWT_KEYS: key 1: alg "ES256K" is not supported`:      {testSecret, list(edit(t, ec, map[string]any{"alg": "ES256K"})), nil},
		"GOTRUE_JWT_KEYS: key 1: kty \"\" is not supported":          {testSecret, `[{}]`, nil},
		"GOTRUE_JWT_KEYS: key 1: alg ES256 does not fit a key of ty": {testSecret, list(edit(t, oct, map[string]any{"alg": "ES256"})), nil},
	} {
		_, err := NewKeyring(c.secret, c.keys, "", c.methods)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	_, err := NewKeyring(testSecret, "[]", "", nil)
	if !errors.Is(err, ErrNoSigningKey) {
		t.Errorf("empty list: %v", err)
	}
	if _, err = NewKeyring(testSecret, list(ec, rsa), "", nil); !errors.Is(err, ErrManySigningKeys) {
		t.Errorf("two keys: %v", err)
	}
}

func TestKeysFromOtherWritersAreRead(t *testing.T) {
	t.Parallel()
	padded := edit(t, mustGenerate(t, "HS256", "p"), map[string]any{"k": "YWJjZA==", "alg": nil})
	ring := mustKeyring(t, testSecret, "", nil, padded)
	if !slices.Equal(ring.signer.([]byte), []byte("abcd")) || ring.method.Alg() != "HS256" {
		t.Errorf("signer = %v, method %s", ring.signer, ring.method.Alg())
	}
	// A verify-only key may leave alg out; then the list of methods must name it.
	public := edit(t, json.RawMessage(conformanceKey), map[string]any{"alg": nil, "d": nil, "key_ops": []string{"verify"}})
	mustKeyring(t, testSecret, "", []string{"ES256"}, padded, public)
}

func TestTheEmptySecretVerifiesNothing(t *testing.T) {
	t.Parallel()
	ring := mustKeyring(t, "", "", []string{"HS256", "ES256"}, mustGenerate(t, "ES256", "new"))
	for _, header := range []map[string]any{{"alg": "HS256"}, {"alg": "HS256", "kid": ""}, {"alg": "HS256", "kid": "x"}} {
		_, err := ring.Verify(forge(t, header, `{"role":"service_role"}`, jwt.SigningMethodHS256, []byte{}))
		if err == nil || !strings.Contains(err.Error(), "unrecognized JWT kid") {
			t.Errorf("header %v: %v", header, err)
		}
	}
}

func TestTimesHaveNoLeeway(t *testing.T) {
	t.Parallel()
	ring := mustKeyring(t, testSecret, "", nil)
	now := time.Now().Unix()
	for claims, want := range map[string]string{
		`{}`:                                ``,
		`{"exp":null,"nbf":null}`:           ``,
		fmt.Sprintf(`{"exp":%d}`, now+60):   ``,
		fmt.Sprintf(`{"exp":%d.5}`, now+60): ``,
		fmt.Sprintf(`{"iat":%d}`, now+9000): ``,
		fmt.Sprintf(`{"nbf":%d}`, now-1):    ``,
		fmt.Sprintf(`{"exp":%d}`, now-1):    `token has invalid claims: token is expired`,
		`{"exp":0}`:                         `token has invalid claims: token is expired`,
		fmt.Sprintf(`{"nbf":%d}`, now+60):   `token has invalid claims: token is not valid yet`,
	} {
		signed, err := ring.Sign([]byte(claims))
		if err != nil {
			t.Fatal(err)
		}
		_, err = ring.Verify(signed)
		if (err == nil) != (want == "") || err != nil && err.Error() != wirePrefix+want {
			t.Errorf("%s: %v, want %s", claims, err, want)
		}
	}
}
