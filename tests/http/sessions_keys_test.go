package http_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"testing"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/token"
)

const tokenKeys = "POSTERN_TOKEN_KEYS="

// resealed is a token of these bytes with a checksum that fits: only the key tells that it is none.
func resealed(covered []byte) string {
	sum := sha256.Sum256(covered)
	return base64.RawURLEncoding.EncodeToString(append(append([]byte(nil), covered...), sum[:4]...))
}

func TestRotatingTokenKeysSignsNobodyOut(t *testing.T) {
	t.Parallel()
	first := start(t)
	ada := first.newcomer("ada@example.com")

	// From the JWT secret to a key of its own, which keeps the secret as the older key; then to another one.
	const one, two = "the-first-token-key-of-32-characters!", "the-second-token-key-of-32-characters"
	second := startOn(t, first.db, tokenKeys+one+","+jwtSecret)
	a := second.renew(ada.Refresh).want(http.StatusOK)
	third := startOn(t, first.db, tokenKeys+two+","+one)
	b := third.renew(a.text("refresh_token")).want(http.StatusOK)

	session := idBytes(t, ada.ID)
	if want := token.NewRefreshKeys([]config.Secret{one}, "").Mint(session, 1); a.text("refresh_token") != want {
		t.Error("the token was not made with the newest key")
	}
	newest := token.NewRefreshKeys([]config.Secret{two}, "").Mint(session, 2)
	if b.text("refresh_token") != newest {
		t.Error("the token was not made with the newest key")
	}
	// The gateway that has not got the newest key yet does not know its tokens, and ends nothing by that.
	second.renew(newest).refusedWith(400, "refresh_token_not_found", msgNotFound)
	// A lost answer across the change of keys: the current token, in the newest key.
	if got := third.renew(a.text("refresh_token")).want(http.StatusOK).text("refresh_token"); got != newest {
		t.Error("an older key's token was not answered with the current one")
	}
	// The key of before the last change is gone.
	third.renew(ada.Refresh).refusedWith(400, "refresh_token_not_found", msgNotFound)
	third.renew(newest).want(http.StatusOK)
}

func TestGarbageCausesNoDatabaseStatement(t *testing.T) {
	t.Parallel()
	s := start(t)
	ada := s.newcomer("ada@example.com")
	raw, err := base64.RawURLEncoding.DecodeString(ada.Refresh)
	if err != nil {
		t.Fatal(err)
	}
	forged := append([]byte(nil), raw[:len(raw)-4]...)
	forged[20] ^= 0xff
	for name, text := range map[string]string{
		"empty": "", "short": "short", "upper case": "ABCDEFGHIJKL", "not base64": "?" + ada.Refresh[1:],
		"bad checksum": ada.Refresh[:len(ada.Refresh)-2] + "AA", "bad MAC": resealed(forged),
		"another server's": token.NewRefreshKeys([]config.Secret{"another"}, "").Mint(idBytes(t, ada.ID), 0),
		// Only Supabase Auth issued these, and it did not make this database.
		"12 characters": "abcdefghijkl",
	} {
		if count, texts := s.statements(func() {
			if a := s.renew(text); a.Status != 400 {
				t.Errorf("%s: %d %s", name, a.Status, a.Raw)
			}
		}); count != 0 {
			t.Errorf("%s: %d statements: %q", name, count, texts)
		}
	}
}
