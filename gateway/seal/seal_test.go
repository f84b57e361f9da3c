package seal_test

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/seal"
)

func keys(t *testing.T, names ...config.Secret) *seal.Keys {
	t.Helper()
	k, err := seal.New(names, "")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSealedTextOpensForItsRowOnly(t *testing.T) {
	t.Parallel()
	k := keys(t, "one key of thirty-two bytes length")
	sealed := k.Seal("row 1", []byte("123456"))
	if bytes.Contains(sealed, []byte("123456")) {
		t.Fatal("the text shows")
	}
	if text, err := k.Open("row 1", sealed); err != nil || string(text) != "123456" {
		t.Fatalf("got %q, %v", text, err)
	}
	if _, err := k.Open("row 2", sealed); !errors.Is(err, seal.ErrUnreadable) {
		t.Fatalf("another row's text opened: %v", err)
	}
	sealed[len(sealed)-1] ^= 1
	if _, err := k.Open("row 1", sealed); !errors.Is(err, seal.ErrUnreadable) {
		t.Fatalf("a changed text opened: %v", err)
	}
}

func TestOlderKeysStillOpenAndVerify(t *testing.T) {
	t.Parallel()
	before, after := keys(t, "old"), keys(t, "new", "old")
	if _, err := after.Open("row", before.Seal("row", []byte("x"))); err != nil {
		t.Fatal(err)
	}
	if hmacs := after.CodeHMACs("123456"); !bytes.Equal(hmacs[1], before.CodeHMAC("123456")) || bytes.Equal(hmacs[0], hmacs[1]) {
		t.Fatal("the older key's code is not among those that are compared")
	}
}

func TestCodesAndLinks(t *testing.T) {
	t.Parallel()
	for digits := 6; digits <= 10; digits++ {
		code, err := seal.Code(digits)
		if err != nil || !regexp.MustCompile(`^[0-9]+$`).MatchString(code) || len(code) != digits {
			t.Errorf("%d digits: %q, %v", digits, code, err)
		}
	}
	if link := seal.Link(true); !regexp.MustCompile(`^pkce_[0-9a-f]{56}$`).MatchString(link) || !seal.IsPKCE(link) {
		t.Errorf("link %q", link)
	}
	if one, two := seal.Link(false), seal.Link(false); one == two {
		t.Error("two links are equal")
	}
}

// The fixture's pending recovery: Supabase Auth stored this hash for this code.
func TestAdoptedCodeDigest(t *testing.T) {
	t.Parallel()
	want := seal.LinkDigest("1e338415d9255811713951fa29aa0ba132f096aeb0258f363d94db79")
	if got := seal.AdoptedCodeDigest("ada@example.com", "237175"); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}

// Secrets of factors open for their factor only, with older keys too, and tell whether the newest one sealed them.
func TestSecretsOfFactors(t *testing.T) {
	t.Parallel()
	const older, newer = "one key of thirty-two bytes length", "another key of thirty-two bytes!!!"
	k, rotated := keys(t, older), keys(t, newer, older)
	stored := k.SealFactor("factor 1", "JBSWY3DPEHPK3PXP")
	if strings.Contains(stored, "JBSWY3DPEHPK3PXP") || !strings.HasPrefix(stored, seal.FactorPrefix) || stored == k.SealFactor("factor 1", "JBSWY3DPEHPK3PXP") {
		t.Errorf("stored as %s", stored)
	}
	for name, c := range map[string]struct {
		keys      *seal.Keys
		id        string
		stored    string
		isCurrent bool
		fails     bool
	}{
		"as sealed":                  {k, "factor 1", stored, true, false},
		"with an older key":          {rotated, "factor 1", stored, false, false},
		"plain, of Supabase Auth":    {k, "factor 1", "JBSWY3DPEHPK3PXP", false, false},
		"encrypted by Supabase Auth": {k, "factor 1", `{"key_id": "k", "alg": "aes-gcm-hkdf", "data": "", "nonce": ""}`, false, true},
		"of another factor":          {k, "factor 2", stored, false, true},
		"without its key":            {keys(t, newer), "factor 1", stored, false, true},
		"changed":                    {k, "factor 1", stored[:len(stored)-2] + "AA", false, true},
		"cut":                        {k, "factor 1", seal.FactorPrefix + "!", false, true},
	} {
		secret, isCurrent, err := c.keys.OpenFactor(c.id, c.stored)
		switch {
		case c.fails && !errors.Is(err, seal.ErrUnreadable):
			t.Errorf("%s: %q, %v", name, secret, err)
		case !c.fails && (err != nil || secret != "JBSWY3DPEHPK3PXP" || isCurrent != c.isCurrent):
			t.Errorf("%s: %q, %v, %v", name, secret, isCurrent, err)
		}
	}
}
