package token

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

func TestMalformedTokens(t *testing.T) {
	t.Parallel()
	ring := mustKeyring(t, testSecret, "", nil)
	good, err := ring.Sign([]byte(`{"sub":"ada"}`))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	for token, want := range map[string]string{
		"":                      "token is malformed: token contains an invalid number of segments",
		"nonsense":              "token is malformed: token contains an invalid number of segments",
		good + ".x":             "token is malformed: token contains an invalid number of segments",
		"!." + parts[1] + ".x":  "token is malformed: could not base64 decode header: illegal base64 data at input byte 0",
		"e30." + parts[1] + ".": "token is unverifiable: signing method (alg) is unspecified",
		parts[0] + ".!." + parts[2]: "token is malformed: could not base64 decode claim: " +
			"illegal base64 data at input byte 0",
		parts[0] + "." + parts[1] + ".AAAA":    "token signature is invalid: signature is invalid",
		parts[0] + "." + parts[1] + ".":        "token signature is invalid: signature is invalid",
		parts[0] + ".e30." + parts[2]:          "token signature is invalid: signature is invalid",
		parts[0] + "." + parts[1] + ".not*b64": "token is malformed: could not base64 decode signature: illegal base64 data at input byte 3",
	} {
		_, err := ring.Verify(token)
		if err == nil || err.Error() != wirePrefix+want {
			t.Errorf("%q:\n got %v\nwant %s", token, err, want)
		}
		var unwrapped interface{ Unwrap() error }
		if !errors.As(err, &unwrapped) {
			t.Errorf("%q: the cause is not wrapped", token)
		}
	}
}

func TestClaimTypes(t *testing.T) {
	t.Parallel()
	ring := mustKeyring(t, testSecret, "", nil)
	for claims, ok := range map[string]bool{
		`{"amr":["password","totp"]}`:                   true,
		`{"amr":[{"method":"password","timestamp":1}]}`: true,
		`{"amr":[ ]}`:                            true,
		`{"amr":null}`:                           true,
		`{"amr":"password"}`:                     false,
		`{"amr":[1]}`:                            false,
		`{"amr":["password",{"method":"totp"}]}`: false,
		`{"amr":{}}`:                             false,
		`{"app_metadata":{"a":[1,{"b":"}"}]},"sub":"x"}`: true,
		`{"app_metadata":null,"user_metadata":null}`:     true,
		`{"app_metadata":"x"}`:                           false,
		`{"app_metadata":[]}`:                            false,
		`{"user_metadata":7}`:                            false,
		`{"is_anonymous":true}`:                          true,
		`{"is_anonymous":"true"}`:                        false,
		`{"sub":7}`:                                      false,
		`{"sub":null,"role":null,"aud":null}`:            true,
		`{"role":["service_role"]}`:                      false,
		`{"session_id":{}}`:                              false,
		`{"aal":1}`:                                      false,
		`{"email":1}`:                                    false,
		`{"phone":false}`:                                false,
		`{"iss":[]}`:                                     false,
		`{"scope":[]}`:                                   false,
		`{"aud":7}`:                                      false,
		`{"aud":[7]}`:                                    false,
		`{"aud":[]}`:                                     true,
		`{"exp":"tomorrow"}`:                             false,
		`{"iat":"yesterday"}`:                            false,
		`{"nbf":{}}`:                                     false,
		`{"own":[[{}],"\\\"]}",-1.5e3],"more":{"a":{"b":[]}}}`: true,
		` {  } `: true,
		`[]`:     false,
		`7`:      false,
		`"x"`:    false,
		`{"sub"`: false,
		``:       false,
	} {
		signed, err := ring.Sign([]byte(claims))
		if err != nil {
			t.Fatal(err)
		}
		_, err = ring.Verify(signed)
		switch {
		case ok && err != nil:
			t.Errorf("%s: %v", claims, err)
		case !ok && err == nil:
			t.Errorf("%s: accepted", claims)
		case !ok && !strings.HasPrefix(err.Error(), wirePrefix+"token is malformed: could not JSON decode claim: "):
			t.Errorf("%s: %v", claims, err)
		}
	}
}

func TestClaimValues(t *testing.T) {
	t.Parallel()
	ring := mustKeyring(t, testSecret, "", nil)
	for claims, want := range map[string]Claims{
		`{}`:                   {},
		`{"aud":""}`:           {HasAudience: true},
		`{"aud":["","b"]}`:     {HasAudience: true},
		`{"aud":"\u0061b"}`:    {HasAudience: true, Audience: "ab"},
		`{"\u0073ub":"a\"\\"}`: {Subject: `a"\`},
		"{\n\t\"sub\" : \"a\" ,\r\"role\": \"b\" }":                                        {Subject: "a", Role: "b"},
		`{"sub":"first","sub":"last"}`:                                                     {Subject: "last"},
		`{"role":"user","ROLE":"admin"}`:                                                   {Role: "user"},
		`{"own":{"sub":"inner"},"x":["}",{"role":"inner"}],"aal":"aal1","session_id":"s"}`: {AAL: "aal1", SessionID: "s"},
	} {
		signed, err := ring.Sign([]byte(claims))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ring.Verify(signed); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", claims, got, err, want)
		}
	}
}

// FuzzVerify holds the walk over the claims against encoding/json, and tries
// whatever text comes as a whole token.
func FuzzVerify(f *testing.F) {
	ring := mustKeyring(f, testSecret, "", nil)
	for _, claims := range []string{
		usualClaims, `{}`, `{"aud":["a","b"],"amr":["x"]}`, `{"sub":"\u0000\ud83d","amr":[{"a":"]"}]}`, `{"exp":1e3}`, `{"own":1e1000}`, `null`, `[1]`, "{\"a\":\"\xff\"}",
	} {
		signed, err := ring.Sign([]byte(claims))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(signed, []byte(claims))
	}
	f.Add("e30.e30.", []byte(`{"sub":`))
	f.Add("..", []byte(`{"a":{"b":[1,2,{"c":"\\"}]},"role":"x"}`))
	f.Fuzz(func(t *testing.T, token string, claims []byte) {
		if _, err := ring.Verify(token); err != nil && !strings.HasPrefix(err.Error(), wirePrefix) {
			t.Errorf("error without the prefix: %v", err)
		}
		signed, err := ring.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ring.Verify(signed)
		var raw map[string]json.RawMessage
		if json.Unmarshal(claims, &raw) != nil {
			if err == nil {
				t.Fatalf("accepted %q", claims)
			}
			return
		}
		members := map[string]any{}
		for name, value := range raw {
			var decoded any
			if json.Unmarshal(value, &decoded) == nil { // a number of somebody's own claim may be beyond Go's
				members[name] = decoded
			}
		}
		if err != nil {
			return
		}
		for name, value := range map[string]string{"sub": got.Subject, "role": got.Role, "session_id": got.SessionID, "aal": got.AAL} {
			if want, _ := members[name].(string); value != want {
				t.Errorf("%s of %q = %q, want %q", name, claims, value, want)
			}
		}
		if list, ok := members["aud"].([]any); ok && len(list) > 0 && got.Audience != list[0] {
			t.Errorf("aud of %q = %q", claims, got.Audience)
		}
	})
}

func TestHeaderMayBeAnything(t *testing.T) {
	t.Parallel()
	ring := mustKeyring(t, testSecret, "", nil)
	for header, want := range map[string]string{
		`null`:           "token is unverifiable: signing method (alg) is unspecified",
		`[]`:             "token is malformed: could not JSON decode header: ",
		`{"alg":7}`:      "token is unverifiable: signing method (alg) is unspecified",
		`{"alg":"XX1"}`:  "token is unverifiable: signing method (alg) is unavailable",
		`{"alg":"none"}`: "token signature is invalid: signing method none is invalid",
	} {
		_, err := ring.Verify(encode([]byte(header)) + ".e30.")
		if err == nil || !strings.HasPrefix(err.Error(), wirePrefix+want) {
			t.Errorf("%s: %v", header, err)
		}
	}
	if !errors.Is(func() error { _, err := ring.Verify("a.b"); return err }(), jwt.ErrTokenMalformed) {
		t.Error("the library's error is not in the chain")
	}
}
