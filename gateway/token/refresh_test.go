package token

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/postern-auth/postern/gateway/config"
)

// session is any session id.
func session(t testing.TB, text string) [16]byte {
	t.Helper()
	raw, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(raw) != 16 {
		t.Fatal(text, err)
	}
	return [16]byte(raw)
}

// Tokens that Supabase Auth 2.196 issued, with the keys it stored.
func TestTokensOfTheReference(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		token, session, key string
		counter             uint64
	}{
		{
			"AE5-DGJ7cELqu-qpM8dCjqcAAP5NzVjtRNt914G28JhnTqsCgtE", "4e7e0c62-7b70-42ea-bbea-a933c7428ea7",
			"GPMkXWS4nl1zdjBBfMmk28dD7TjIetj4PWoZ_NnFiAc", 0,
		},
		{
			"ADl3DJRZt0gggixxXNcNHLYBsTIjN7OgAC0JDH-uolX4NdMuYec", "39770c94-59b7-4820-822c-715cd70d1cb6",
			"-sj2bUKi2gakkRUXdrwoISYDB4XVgaVvYBokWvFYk3U", 1,
		},
		{
			"ADl3DJRZt0gggixxXNcNHLYC9lq52eHOKyTsJGVEinymkiBRbj0", "39770c94-59b7-4820-822c-715cd70d1cb6",
			"-sj2bUKi2gakkRUXdrwoISYDB4XVgaVvYBokWvFYk3U", 2,
		},
	} {
		key, err := base64.RawURLEncoding.DecodeString(c.key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseRefresh(c.token)
		if err != nil || got.Session != session(t, c.session) || got.Counter != c.counter || got.Legacy != "" {
			t.Errorf("%s: %+v, %v", c.token, got, err)
		}
		if !got.SignedBy(key) {
			t.Errorf("%s: its session's key does not verify it", c.token)
		}
		if got.SignedBy(append([]byte{1}, key...)) || NewRefreshKeys(nil, testSecret).Valid(got) {
			t.Errorf("%s: a foreign key verifies it", c.token)
		}
		if minted := mintRefresh(key, got.Session, got.Counter); minted != c.token {
			t.Errorf("minted %s, want %s", minted, c.token)
		}
	}
}

func TestCountersOfEverySize(t *testing.T) {
	t.Parallel()
	keys := NewRefreshKeys(nil, testSecret)
	id := session(t, "4e7e0c62-7b70-42ea-bbea-a933c7428ea7")
	for counter, length := range map[uint64]int{0: 51, 1: 51, 127: 51, 128: 52, 1 << 20: 54, 1<<63 - 1: 62} {
		minted := keys.Mint(id, counter)
		got, err := ParseRefresh(minted)
		if err != nil || got.Session != id || got.Counter != counter || !keys.Valid(got) || len(minted) != length {
			t.Errorf("counter %d: %s (%d): %+v, %v", counter, minted, len(minted), got, err)
		}
		if keys.Mint(id, counter) != minted {
			t.Errorf("counter %d: minting again gives another token", counter)
		}
	}
}

func TestMalformedRefreshTokens(t *testing.T) {
	t.Parallel()
	key := []byte("any")
	good := mintRefresh(key, [16]byte{1}, 5)
	// seal completes what stands before the checksum.
	seal := func(covered []byte) string { return encode(append(bytes.Clone(covered), checksum(covered)...)) }
	covered := func(version byte, counter ...byte) []byte {
		raw := append([]byte{version}, make([]byte, 16)...)
		return append(append(raw, counter...), make([]byte, 16)...)
	}
	if _, err := ParseRefresh(seal(covered(0, 5))); err != nil {
		t.Fatalf("the helper makes no token: %v", err)
	}
	for name, text := range map[string]string{
		"empty":                   "",
		"eleven characters":       "abcdefghijk",
		"upper case":              "ABCDEFGHIJKL",
		"twelve with a dash":      "abcdefghijk-",
		"thirteen characters":     "abcdefghijklm",
		"padding":                 good + "=",
		"line end":                good[:20] + "\n" + good[20:],
		"standard alphabet":       "+/" + good[2:],
		"changed":                 "AQ" + good[2:],
		"cut":                     good[:len(good)-1],
		"longer":                  good + "AAAA",
		"unused bits set":         good[:len(good)-1] + "B",
		"version 1":               seal(covered(1, 5)),
		"no counter":              seal(covered(0)),
		"counter does not end":    seal(covered(0, 0x80)),
		"counter ends early":      seal(covered(0, 1, 1)),
		"counter of ten bytes":    seal(covered(0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1)),
		"very long":               strings.Repeat("A", 1<<20),
		"twelve bytes, not ASCII": "äöüäöü",
	} {
		if got, err := ParseRefresh(text); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestLegacyTokens(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"acjdjnlggqi5", "000000000000", "zzzzzzzzzzz9"} {
		got, err := ParseRefresh(text)
		if err != nil || got.Legacy != text {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if NewRefreshKeys(nil, testSecret).Valid(got) {
			t.Errorf("%s is valid without the database", text)
		}
	}
}

func TestRotatingTheKeySignsNobodyOut(t *testing.T) {
	t.Parallel()
	id := session(t, "39770c94-59b7-4820-822c-715cd70d1cb6")
	before := NewRefreshKeys(nil, testSecret)
	after := NewRefreshKeys([]config.Secret{"newest", testSecret}, "the JWT secret changed as well")
	stranger := NewRefreshKeys([]config.Secret{"newest"}, testSecret)
	parse := func(text string) Refresh {
		token, err := ParseRefresh(text)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	if !after.Valid(parse(before.Mint(id, 3))) {
		t.Error("a token of the older key is refused")
	}
	if before.Valid(parse(after.Mint(id, 3))) {
		t.Error("new tokens are still made with the older key")
	}
	if stranger.Valid(parse(before.Mint(id, 3))) {
		t.Error("the JWT secret verifies although keys are configured")
	}
	moved := parse(before.Mint(id, 3))
	moved.Session[0]++
	if before.Valid(moved) {
		t.Error("one session's key verifies another session's token")
	}
}

func TestSessionKeyIsHKDF(t *testing.T) {
	t.Parallel()
	id := session(t, "39770c94-59b7-4820-822c-715cd70d1cb6")
	want, err := hkdf.Key(sha256.New, []byte(testSecret), nil, refreshInfo+string(id[:]), 32)
	if err != nil {
		t.Fatal(err)
	}
	keys := NewRefreshKeys(nil, testSecret)
	if got := keys.SessionKey(id); !bytes.Equal(got, want) {
		t.Errorf("SessionKey = %x, want %x", got, want)
	}
	token, err := ParseRefresh(keys.Mint(id, 9))
	if err != nil || !token.SignedBy(want) {
		t.Errorf("the session key does not verify the session's token: %v", err)
	}
}

func TestAnEmptyKeyMintsNothingThatOthersCouldMint(t *testing.T) {
	t.Parallel()
	id := session(t, "39770c94-59b7-4820-822c-715cd70d1cb6")
	guess, err := hkdf.Key(sha256.New, nil, nil, refreshInfo+string(id[:]), 32)
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range []*RefreshKeys{NewRefreshKeys(nil, ""), NewRefreshKeys([]config.Secret{""}, testSecret), NewRefreshKeys([]config.Secret{"k", ""}, "")} {
		forged, err := ParseRefresh(mintRefresh(guess, id, 0))
		if err != nil || keys.Valid(forged) {
			t.Errorf("a token minted with the empty key is valid: %v", err)
		}
	}
}

// FuzzParseRefresh: what parses is a spelling that only one token has.
func FuzzParseRefresh(f *testing.F) {
	for _, seed := range []string{
		"", "acjdjnlggqi5", "ACJDJNLGGQI5", "AE5-DGJ7cELqu-qpM8dCjqcAAP5NzVjtRNt914G28JhnTqsCgtE",
		mintRefresh([]byte("k"), [16]byte{1}, 300), mintRefresh([]byte("k"), [16]byte{}, 1<<63-1), strings.Repeat("A", 51),
	} {
		f.Add(seed)
	}
	keys := NewRefreshKeys(nil, testSecret)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseRefresh(text)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("unexpected error %v", err)
			}
			return
		}
		if got.Legacy != "" {
			if got.Legacy != text || len(text) != 12 {
				t.Errorf("%q was read as %q", text, got.Legacy)
			}
			return
		}
		whole := append(bytes.Clone(got.Signed), got.MAC...)
		if encode(append(whole, checksum(whole)...)) != text {
			t.Errorf("%q has a second spelling", text)
		}
		if keys.Valid(got) && keys.Mint(got.Session, got.Counter) != text {
			t.Errorf("%q is valid, but was never minted", text)
		}
	})
}

func BenchmarkRefreshParseAndValid(b *testing.B) {
	keys := NewRefreshKeys(nil, testSecret)
	text := keys.Mint([16]byte{1}, 7)
	b.ReportAllocs()
	for b.Loop() {
		token, err := ParseRefresh(text)
		if err != nil || !keys.Valid(token) {
			b.Fatal(err)
		}
	}
}
