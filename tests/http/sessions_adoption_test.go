package http_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"testing"

	"github.com/postern-auth/postern/sql"
)

// migrationsSum names the state of sql/.
func migrationsSum(t testing.TB) string {
	t.Helper()
	hash := sha256.New()
	err := fs.WalkDir(sql.FS, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(sql.FS, path)
		_, _ = fmt.Fprintf(hash, "%s %d\n%s", path, len(body), body) // a hash never fails
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(hash.Sum(nil)[:6])
}

func TestAdoptedAccountsSignIn(t *testing.T) {
	t.Parallel()
	s := startAdopted(t)
	refused := map[string]string{bannedUser: "user_banned", softDeleted: "invalid_credentials", unconfirmedUser: "email_not_confirmed"}
	tried := 0
	for _, account := range readFixture(t).Accounts {
		if account.Password == "" {
			continue
		}
		tried++
		t.Run(account.Name, func(t *testing.T) {
			t.Parallel()
			s := s.in(t)
			before := s.one(`select encrypted_password from auth.users where id = $1::uuid`, account.UserID)
			a := s.post("/token?grant_type=password",
				map[string]any{"email": account.Email, "phone": account.Phone, "password": account.Password}, "")
			if code, out := refused[account.Name]; out {
				a.refused(400, code)
				return
			}
			x := a.want(http.StatusOK).session()
			if x.UserID != account.UserID {
				t.Errorf("signed in as %s, want %s", x.UserID, account.UserID)
			}
			if got := s.get("/user", x.Access).want(http.StatusOK).text("id"); got != account.UserID {
				t.Errorf("GET /user: %s", got)
			}
			if got := claimsOf(t, x.Access)["aal"]; got != "aal1" {
				t.Errorf("aal %v after a password alone", got)
			}
			s.renew(x.Refresh).want(http.StatusOK)
			if got := s.one(`select encrypted_password from auth.users where id = $1::uuid`, account.UserID); got != before {
				t.Error("a bcrypt hash of cost 10 was made again")
			}
		})
	}
	if tried < 9 {
		t.Errorf("only %d accounts with a password in the fixture", tried)
	}
}

func TestAdoptedAccountsKeepTheirPasswordsSecret(t *testing.T) {
	t.Parallel()
	s := startAdopted(t)
	s.do(login("ada@example.com", "correct-horse-8")).refused(400, "invalid_credentials")
	// The soft-deleted account's address is free for a new account.
	s.signUp("gone@example.com", "correct-horse-9")
}

func TestAdoptedLiveTokensGoOn(t *testing.T) {
	t.Parallel()
	live := 0
	for _, account := range readFixture(t).Accounts {
		if account.Refresh == "" {
			continue
		}
		live++
		t.Run(account.Name, func(t *testing.T) {
			t.Parallel()
			s := startAdopted(t)
			sessionID := s.one(`select id from auth.sessions where user_id = $1::uuid`, account.UserID)
			a := s.renew(account.Refresh).want(http.StatusOK)
			x := a.session()
			if x.UserID != account.UserID || x.ID != sessionID {
				t.Errorf("the answer is session %s of user %s, want %s of %s", x.ID, x.UserID, sessionID, account.UserID)
			}
			s.get("/user", x.Access).want(http.StatusOK)
			if got := claimsOf(t, x.Access)["aal"]; (account.Name == secondFactor) != (got == "aal2") {
				t.Errorf("aal %v", got)
			}
			if got := parsed(t, x.Refresh); got.Session != idBytes(t, sessionID) {
				t.Errorf("the new token is of session %x", got.Session)
			}
			// The response was lost: the same again. Then the new token, twice over.
			if got := s.renew(account.Refresh).want(http.StatusOK).text("refresh_token"); got != x.Refresh {
				t.Error("presented again, the adopted token does not lead to the same new one")
			}
			next := s.renew(x.Refresh).want(http.StatusOK).text("refresh_token")
			s.renew(next).want(http.StatusOK)
			// Now the adopted token is two generations old.
			s.renew(account.Refresh).refusedWith(400, "refresh_token_already_used", msgAlreadyUsed)
			s.get("/user", x.Access)
			if len(account.Refresh) != 12 && s.one(`select refresh_token_hmac_key from auth.sessions where id = $1::uuid`, sessionID) != "" {
				t.Error("the stored key is still there: who reads the table could go on minting")
			}
		})
	}
	if live < 7 {
		t.Errorf("only %d live tokens in the fixture", live)
	}
}

// The direct predecessor is answered with the current token, older ones with a refusal that ends the family (12 characters,
// contract core.md 4.7) or the session (v2, 4.8).
func TestAdoptedSpentTokens(t *testing.T) {
	t.Parallel()
	v1 := readFixture(t).account(t, refreshedTwice)
	t.Run("older 12-character token", func(t *testing.T) {
		t.Parallel()
		s := startAdopted(t)
		s.renew(v1.Spent[0]).refusedWith(400, "refresh_token_already_used", msgAlreadyUsed)
		if got := s.one(`select count(*) filter (where not revoked) from auth.refresh_tokens where user_id = $1`, v1.UserID); got != "0" {
			t.Errorf("%s tokens of the family are not revoked", got)
		}
		if got := s.one(`select count(*) from auth.sessions where user_id = $1::uuid`, v1.UserID); got != "1" {
			t.Error("the session is gone")
		}
		s.renew(v1.Refresh).refused(400, "refresh_token_already_used")
	})
	t.Run("direct predecessor of 12 characters", func(t *testing.T) {
		t.Parallel()
		s := startAdopted(t)
		first := s.renew(v1.Spent[1]).want(http.StatusOK).text("refresh_token")
		for range 2 {
			if got := s.renew(v1.Spent[1]).want(http.StatusOK).text("refresh_token"); got != first {
				t.Error("presented again, it does not lead to the same token")
			}
		}
		s.renew(first).want(http.StatusOK)
		s.renew(v1.Refresh).want(http.StatusOK) // its answer was lost as well
		s.renew(v1.Spent[1]).refused(400, "refresh_token_already_used")
	})
	t.Run("direct predecessor, then the live token of 12 characters", func(t *testing.T) {
		t.Parallel()
		s := startAdopted(t)
		s.renew(v1.Spent[1]).want(http.StatusOK)
		x := s.renew(v1.Refresh).want(http.StatusOK)
		s.renew(x.text("refresh_token")).want(http.StatusOK)
	})
	t.Run("12-character tokens without rotation", func(t *testing.T) {
		t.Parallel()
		s := startAdopted(t, rotation+"false")
		before := s.written()
		s.renew(v1.Spent[0]).refused(400, "refresh_token_already_used")
		if s.written() != before {
			t.Error("the refusal wrote to the database")
		}
		s.renew(v1.Refresh).want(http.StatusOK)
	})
}

func TestAdoptedSpentTokensOfV2(t *testing.T) {
	t.Parallel()
	v2 := readFixture(t).account(t, v2Used)
	t.Run("older v2 token", func(t *testing.T) {
		t.Parallel()
		s := startAdopted(t)
		a := s.renew(v2.Spent[0]).refusedWith(400, "refresh_token_already_used", msgAlreadyUsed)
		wantHeaders(t, a, map[string]string{"sb-auth-refresh-token-rotated": "true"})
		if got := s.one(`select count(*) from auth.sessions where user_id = $1::uuid`, v2.UserID); got != "0" {
			t.Error("the session is still there")
		}
		s.renew(v2.Refresh).refused(400, "refresh_token_not_found")
	})
	t.Run("direct predecessor of v2", func(t *testing.T) {
		t.Parallel()
		s := startAdopted(t)
		first := s.renew(v2.Spent[1]).want(http.StatusOK).text("refresh_token")
		if got := s.renew(v2.Spent[1]).want(http.StatusOK).text("refresh_token"); got != first {
			t.Error("presented again, it does not lead to the same token")
		}
		s.renew(first).want(http.StatusOK)
		s.renew(v2.Refresh).want(http.StatusOK) // its answer was lost as well
	})
	t.Run("v2 without rotation", func(t *testing.T) {
		t.Parallel()
		s := startAdopted(t, rotation+"false")
		s.renew(v2.Spent[0]).refused(400, "refresh_token_already_used")
		s.renew(v2.Refresh).want(http.StatusOK)
	})
}

func TestAdoptedTokenIsReplacedByItsDigestAtFirstUse(t *testing.T) {
	t.Parallel()
	s := startAdopted(t)
	for _, account := range readFixture(t).Accounts {
		if len(account.Refresh) != 12 {
			continue
		}
		s.renew(account.Refresh).want(http.StatusOK)
		sum := sha256.Sum256([]byte(account.Refresh))
		digest := hex.EncodeToString(sum[:])
		if got := s.one(`select token from auth.refresh_tokens where user_id = $1 order by id desc limit 1`, account.UserID); got != digest {
			t.Errorf("%s: stored is %q, want the digest", account.Name, got)
		}
		if got := s.one(`select count(*) from auth.refresh_tokens where $1 in (token, parent)`, account.Refresh); got != "0" {
			t.Errorf("%s: the token itself is still stored", account.Name)
		}
		for _, stored := range []string{digest, digest[:12], base64.RawURLEncoding.EncodeToString(sum[:])} {
			if a := s.renew(stored); a.Status != http.StatusBadRequest || a.text("error_code") == "refresh_token_already_used" {
				t.Errorf("%s: what is stored is answered with %d %s", account.Name, a.Status, a.Raw)
			}
		}
		s.renew(account.Refresh).want(http.StatusOK)
	}
}

func TestAdoptedV2TokensAreChecked(t *testing.T) {
	t.Parallel()
	s := startAdopted(t)
	f := readFixture(t)
	fresh, used := f.account(t, v2Fresh), f.account(t, v2Used)
	before := s.written()
	raw, err := base64.RawURLEncoding.DecodeString(fresh.Refresh)
	if err != nil {
		t.Fatal(err)
	}
	covered := raw[:len(raw)-4]
	for name, change := range map[string]func([]byte){
		"MAC":              func(b []byte) { b[len(b)-1] ^= 1 },
		"counter":          func(b []byte) { b[17] ^= 1 },
		"session":          func(b []byte) { copy(b[1:17], idOf(t, used.Refresh)) },
		"unknown session":  func(b []byte) { b[5] ^= 1 },
		"12-character one": func(b []byte) { copy(b[1:17], idOfSession(t, s, f.account(t, neverRefreshed).UserID)) },
	} {
		forged := append([]byte(nil), covered...)
		change(forged)
		if a := s.renew(resealed(forged)); a.Status != 400 || a.text("error_code") != "refresh_token_not_found" {
			t.Errorf("another %s: %d %s", name, a.Status, a.Raw)
		}
	}
	if s.written() != before {
		t.Error("forged tokens wrote to the database")
	}
	s.renew(fresh.Refresh).want(http.StatusOK)
}

func idOf(t testing.TB, refresh string) []byte {
	t.Helper()
	id := parsed(t, refresh).Session
	return id[:]
}

func idOfSession(t testing.TB, s *server, userID string) []byte {
	t.Helper()
	id := idBytes(t, s.one(`select id from auth.sessions where user_id = $1::uuid`, userID))
	return id[:]
}
