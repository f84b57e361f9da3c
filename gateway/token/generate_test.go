package token

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/postern-auth/postern/gateway/config"
)

func TestGeneratedKeysDiffer(t *testing.T) {
	t.Parallel()
	if one, two := GenerateSecret(), GenerateSecret(); one == two || len(one) != 43 {
		t.Errorf("%d characters, equal: %v", len(one), one == two)
	}
	for _, algorithm := range []string{"ES256", "EdDSA", "HS256"} {
		one, two := mustGenerate(t, algorithm, "k"), mustGenerate(t, algorithm, "k")
		if bytes.Equal(one, two) {
			t.Errorf("%s: two keys are equal", algorithm)
		}
	}
	for _, algorithm := range []string{"", "none", "PS256", "ES384"} {
		if key, err := GenerateKey(algorithm, ""); err == nil {
			t.Errorf("%q: %s", algorithm, key)
		}
	}
}

// The example of RFC 8037, appendix A.3.
func TestThumbprint(t *testing.T) {
	t.Parallel()
	got, err := thumbprint(map[string]string{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
	if err != nil || got != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("thumbprint = %s, %v", got, err)
	}
}

func TestRetiredKeysGoOnVerifying(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"RS256", "ES256", "EdDSA", "HS256"} {
		old := mustGenerate(t, algorithm, "old")
		signed, err := mustKeyring(t, testSecret, "", nil, old).Sign([]byte(`{"sub":"ada"}`))
		if err != nil {
			t.Fatal(err)
		}
		retired, err := RetireKeys(config.Secret("[" + string(old) + "]"))
		if err != nil {
			t.Fatal(err)
		}
		ring := mustKeyring(t, testSecret, "", nil, append([]json.RawMessage{mustGenerate(t, "ES256", "new")}, retired...)...)
		if _, err := ring.Verify(signed); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
		if algorithm != "HS256" && strings.Contains(string(retired[0]), `"d":`) {
			t.Errorf("%s: the private part is still there", algorithm)
		}
	}
	if _, err := RetireKeys("{}"); err == nil {
		t.Error("no array, no error")
	}
}
