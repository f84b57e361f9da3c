package http_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"testing"
)

const (
	reuseInterval = "GOTRUE_SECURITY_REFRESH_TOKEN_REUSE_INTERVAL="
	algorithm     = "GOTRUE_SECURITY_REFRESH_TOKEN_ALGORITHM_VERSION="
	rotation      = "GOTRUE_SECURITY_REFRESH_TOKEN_ROTATION_ENABLED="
	allowReuse    = "GOTRUE_SECURITY_REFRESH_TOKEN_ALLOW_REUSE="
)

// The tests below are the rows of the table in DESIGN 7: c is the counter presented, n the one stored.

func TestRefreshTokenThatNobodySignedIsNotFound(t *testing.T) {
	t.Parallel()
	s := start(t)
	ada := s.newcomer("ada@example.com")
	raw, err := base64.RawURLEncoding.DecodeString(ada.Refresh)
	if err != nil {
		t.Fatal(err)
	}
	forged := append([]byte(nil), raw[:len(raw)-4]...)
	forged[len(forged)-1] ^= 1
	before := s.written()
	s.renew(resealed(forged)).refusedWith(400, "refresh_token_not_found", msgNotFound)

	other := append([]byte(nil), raw[:len(raw)-4]...)
	other[3] ^= 0x40 // another session
	s.renew(resealed(other)).refusedWith(400, "refresh_token_not_found", msgNotFound)

	later := append([]byte(nil), raw[:len(raw)-4]...)
	later[17] = 1 // another counter
	s.renew(resealed(later)).refusedWith(400, "refresh_token_not_found", msgNotFound)
	if s.written() != before {
		t.Error("a token that nobody signed wrote to the database")
	}
	s.renew(ada.Refresh).want(http.StatusOK)
}

func TestRefreshTokenWithoutItsSessionOrRowIsNotFound(t *testing.T) {
	t.Parallel()
	s := start(t)
	ada, bob := s.newcomer("ada@example.com"), s.newcomer("bob@example.com")
	s.exec(`delete from auth.sessions where id = $1::uuid`, ada.ID)
	s.exec(`delete from auth.refresh_tokens where session_id = $1::uuid`, bob.ID)
	before := s.written()
	for _, gone := range []session{ada, bob} {
		s.renew(gone.Refresh).refusedWith(400, "refresh_token_not_found", msgNotFound)
	}
	s.renew(mintRefresh(t, "11111111-2222-4333-8444-555555555555", 0)).refusedWith(400, "refresh_token_not_found", msgNotFound)
	if s.written() != before {
		t.Error("a token without a session wrote to the database")
	}
}

func TestRefreshTokenOfAFutureGenerationIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	ada := s.newcomer("ada@example.com")
	before := s.written()
	for _, counter := range []uint64{2, 3, 127, 128, 1<<32 + 1, 1<<63 - 1} {
		s.renew(mintRefresh(t, ada.ID, counter)).refusedWith(400, "validation_failed", msgNotIssued)
	}
	if s.written() != before {
		t.Error("a token that was never issued wrote to the database")
	}
	s.renew(ada.Refresh).want(http.StatusOK)
}

func TestRevokedRowRefusesEveryGeneration(t *testing.T) {
	t.Parallel()
	s := start(t, rotation+"false")
	ada := s.newcomer("ada@example.com")
	tokens := s.advance(ada, 3)
	s.exec(`update auth.refresh_tokens set revoked = true where session_id = $1::uuid`, ada.ID)
	before := s.written()
	for _, refresh := range tokens {
		s.renew(refresh).refusedWith(400, "refresh_token_already_used", msgAlreadyUsed)
	}
	if s.written() != before {
		t.Error("refusing a revoked token wrote to the database")
	}
	s.get("/user", ada.Access).want(http.StatusOK)
	s.exec(`update auth.refresh_tokens set revoked = false where session_id = $1::uuid`, ada.ID)
	s.renew(tokens[3]).want(http.StatusOK)
}

func TestRefreshTokenIsRotated(t *testing.T) {
	t.Parallel()
	s := start(t)
	ada := s.newcomer("ada@example.com")
	row := s.one(`select id from auth.refresh_tokens where session_id = $1::uuid`, ada.ID)
	user := s.one(`select xmin::text || ctid from auth.users where id = $1::uuid`, ada.UserID)
	a := s.do(call{
		Method: http.MethodPost, Path: "/token?grant_type=refresh_token", Body: map[string]any{"refresh_token": ada.Refresh},
		Header: map[string]string{"User-Agent": "castle/2", "X-Forwarded-For": "203.0.113.9"},
	}).want(http.StatusOK)

	next := parsed(t, a.text("refresh_token"))
	if next.Session != idBytes(t, ada.ID) || next.Counter != 1 {
		t.Errorf("the new token is generation %d of session %x", next.Counter, next.Session)
	}
	if got := s.column(`select id || ' ' || counter || ' ' || revoked from auth.refresh_tokens`); len(got) != 1 || got[0] != row+" 1 false" {
		t.Errorf("rows of refresh tokens: %q, want row %s at counter 1", got, row)
	}
	if got := s.one(`select concat_ws(' ', user_agent, host(ip), (now() at time zone 'UTC') - refreshed_at between interval '0' and interval '1 minute') from auth.sessions where id = $1::uuid`, ada.ID); got != "castle/2 203.0.113.9 t" {
		t.Errorf("session: %q", got)
	}
	if got := s.one(`select xmin::text || ctid from auth.users where id = $1::uuid`, ada.UserID); got != user {
		t.Error("a refresh touched auth.users")
	}
	if got := s.audit(); len(got) != 2 || got[1] != "token_refreshed" {
		t.Errorf("audit: %q", got)
	}
	old, fresh := claimsOf(t, ada.Access), claimsOf(t, a.text("access_token"))
	for _, name := range []string{"session_id", "sub", "amr", "aal", "role", "aud"} {
		if fmt.Sprint(old[name]) != fmt.Sprint(fresh[name]) {
			t.Errorf("claim %s: %v became %v", name, old[name], fresh[name])
		}
	}
	s.get("/user", a.text("access_token")).want(http.StatusOK)
	if a.at("weak_password") != nil {
		t.Error("weak_password in the answer to a refresh")
	}
	wantHeaders(t, a, map[string]string{
		"sb-auth-user-id": ada.UserID, "sb-auth-session-id": ada.ID, "sb-auth-refresh-token-counter": "1",
		"sb-auth-refresh-token-reuse": "false", "sb-auth-refresh-token-reuse-cause": "", "sb-auth-refresh-token-rotated": "",
	})
}

func TestLostAnswerIsAnsweredAgainAlways(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"0", "1", "2"} {
		t.Run("algorithm "+version, func(t *testing.T) {
			t.Parallel()
			s := start(t, reuseInterval+"0", algorithm+version)
			ada := s.newcomer("ada@example.com")
			tokens := s.advance(ada, 2)
			s.age(ada.ID, "1 year")
			rotated := s.one(`select updated_at from auth.refresh_tokens where session_id = $1::uuid`, ada.ID)
			for range 3 {
				a := s.renew(tokens[1]).want(http.StatusOK)
				if a.text("refresh_token") != tokens[2] {
					t.Fatal("the answer is not the current token")
				}
				wantHeaders(t, a, map[string]string{
					"sb-auth-refresh-token-reuse": "", "sb-auth-refresh-token-reuse-cause": "fail-to-save", "sb-auth-refresh-token-counter": "2",
				})
				s.get("/user", a.text("access_token")).want(http.StatusOK)
			}
			if got := s.one(`select updated_at from auth.refresh_tokens where session_id = $1::uuid`, ada.ID); got != rotated {
				t.Errorf("the last rotation moved from %s to %s", rotated, got)
			}
			s.renew(tokens[2]).want(http.StatusOK)
		})
	}
}

func TestOldTokenWithinTheReuseInterval(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"0", "1", "2"} {
		t.Run("algorithm "+version, func(t *testing.T) {
			t.Parallel()
			s := start(t, reuseInterval+"600", algorithm+version)
			ada := s.newcomer("ada@example.com")
			tokens := s.advance(ada, 3)
			rotated := s.one(`select updated_at from auth.refresh_tokens where session_id = $1::uuid`, ada.ID)
			for _, old := range []string{tokens[0], tokens[1], tokens[0]} {
				a := s.renew(old).want(http.StatusOK)
				if a.text("refresh_token") != tokens[3] {
					t.Fatal("the answer is not the current token")
				}
				wantHeaders(t, a, map[string]string{
					"sb-auth-refresh-token-reuse": "", "sb-auth-refresh-token-reuse-cause": "concurrent-refresh",
				})
			}
			if got := s.one(`select updated_at from auth.refresh_tokens where session_id = $1::uuid`, ada.ID); got != rotated {
				t.Error("reuse extended its own window")
			}
			s.age(ada.ID, "540 seconds")
			s.renew(tokens[0]).want(http.StatusOK)
			s.age(ada.ID, "61 seconds")
			s.renew(tokens[0]).refusedWith(400, "refresh_token_already_used", msgAlreadyUsed)
		})
	}
}

func TestReuseCausesAppearTogether(t *testing.T) {
	t.Parallel()
	s := start(t, reuseInterval+"60", algorithm+"2")
	tokens := s.advance(s.newcomer("ada@example.com"), 1)
	wantHeaders(t, s.renew(tokens[0]).want(http.StatusOK), map[string]string{
		"sb-auth-refresh-token-reuse-cause": "concurrent-refresh,fail-to-save",
	})
}

func TestReuseRevokesTheRowAndKeepsTheSession(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"0", "1"} {
		for _, interval := range []string{"0", "10"} {
			t.Run("algorithm "+version+" interval "+interval, func(t *testing.T) {
				t.Parallel()
				// Allowing reuse has no effect on these algorithms.
				s := start(t, reuseInterval+interval, algorithm+version, allowReuse+"true")
				ada := s.newcomer("ada@example.com")
				other := s.enter("ada@example.com")
				tokens := s.advance(ada, 2)
				s.age(ada.ID, "11 seconds")
				a := s.renew(tokens[0]).refusedWith(400, "refresh_token_already_used", msgAlreadyUsed)
				wantHeaders(t, a, map[string]string{"sb-auth-refresh-token-rotated": ""})
				for _, refresh := range tokens {
					s.renew(refresh).refusedWith(400, "refresh_token_already_used", msgAlreadyUsed)
				}
				if got := s.one(`select revoked from auth.refresh_tokens where session_id = $1::uuid`, ada.ID); got != "true" {
					t.Errorf("revoked: %s", got)
				}
				s.get("/user", ada.Access).want(http.StatusOK)
				s.renew(other.Refresh).want(http.StatusOK)
			})
		}
	}
}

func TestReuseEndsTheSessionWithAlgorithmTwo(t *testing.T) {
	t.Parallel()
	s := start(t, reuseInterval+"0", algorithm+"2")
	ada := s.newcomer("ada@example.com")
	other := s.enter("ada@example.com")
	tokens := s.advance(ada, 2)
	a := s.renew(tokens[0]).refusedWith(400, "refresh_token_already_used", msgAlreadyUsed)
	wantHeaders(t, a, map[string]string{"sb-auth-refresh-token-rotated": "true"})
	if got := s.one(`select count(*) from auth.sessions where id = $1::uuid`, ada.ID); got != "0" {
		t.Error("the session is still there")
	}
	for _, refresh := range tokens {
		s.renew(refresh).refusedWith(400, "refresh_token_not_found", msgNotFound)
	}
	s.get("/user", ada.Access).refused(403, "session_not_found")
	s.renew(other.Refresh).want(http.StatusOK)
}

func TestReuseWithoutRotationChangesNothing(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"0", "1", "2"} {
		t.Run("algorithm "+version, func(t *testing.T) {
			t.Parallel()
			s := start(t, reuseInterval+"0", algorithm+version, rotation+"false")
			ada := s.newcomer("ada@example.com")
			tokens := s.advance(ada, 3)
			before := s.written()
			for _, old := range tokens[:2] {
				a := s.renew(old).refusedWith(400, "refresh_token_already_used", msgAlreadyUsed)
				wantHeaders(t, a, map[string]string{"sb-auth-refresh-token-rotated": ""})
			}
			if s.written() != before {
				t.Error("refused reuse wrote to the database")
			}
			s.renew(tokens[3]).want(http.StatusOK)
		})
	}
}

func TestReuseCanBeAllowedWithAlgorithmTwo(t *testing.T) {
	t.Parallel()
	s := start(t, reuseInterval+"0", algorithm+"2", allowReuse+"true")
	ada := s.newcomer("ada@example.com")
	tokens := s.advance(ada, 3)
	s.age(ada.ID, "1 year")
	a := s.renew(tokens[0]).want(http.StatusOK)
	if a.text("refresh_token") != tokens[3] {
		t.Error("the answer is not the current token")
	}
	wantHeaders(t, a, map[string]string{"sb-auth-refresh-token-reuse-cause": "always-allow"})
}

func TestFiftyConcurrentRefreshesAgreeOnOneNewToken(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"0", "2"} {
		t.Run("algorithm "+version, func(t *testing.T) {
			t.Parallel()
			s := start(t, reuseInterval+"0", algorithm+version)
			ada := s.newcomer("ada@example.com")
			calls := make([]call, 50)
			for i := range calls {
				calls[i] = renewal(ada.Refresh)
			}
			want, rotations := mintRefresh(t, ada.ID, 1), 0
			for i, a := range s.atOnce(calls...) {
				a.want(http.StatusOK)
				if got := a.text("refresh_token"); got != want {
					t.Errorf("answer %d has another token: %s", i, got)
				}
				if a.Header.Get("sb-auth-refresh-token-reuse") == "false" {
					rotations++
				}
			}
			if rotations != 1 || s.counter(ada.ID) != "1" {
				t.Errorf("%d rotations, counter %s, want one", rotations, s.counter(ada.ID))
			}
			s.renew(want).want(http.StatusOK)
		})
	}
}

func TestCountersBeyondOneByte(t *testing.T) {
	t.Parallel()
	s := start(t)
	ada := s.newcomer("ada@example.com")
	for _, counter := range []uint64{127, 128, 16383, 1 << 40, 1<<62 + 1} {
		s.exec(`update auth.refresh_tokens set counter = $2::text::bigint where session_id = $1::uuid`, ada.ID, strconv.FormatUint(counter, 10))
		a := s.renew(mintRefresh(t, ada.ID, counter)).want(http.StatusOK)
		if got := parsed(t, a.text("refresh_token")).Counter; got != counter+1 {
			t.Errorf("after %d comes %d", counter, got)
		}
	}
}

func TestRefreshTokensOfTheWrongShape(t *testing.T) {
	t.Parallel()
	s := start(t)
	ada := s.newcomer("ada@example.com")
	for _, text := range []string{
		"", "short", "abcdefghijk", "ABCDEFGHIJKL", "abcdefghijk\u00e9", ada.Refresh + "A", ada.Refresh[:50], ada.Refresh + "=", " " + ada.Refresh,
		ada.Refresh + "\n", "x" + ada.Refresh[1:], ada.Refresh[:25] + "\n" + ada.Refresh[25:],
	} {
		s.renew(text).refusedWith(400, "validation_failed", "Refresh token is not valid")
	}
	s.post("/token?grant_type=refresh_token", `{}`, "").refused(400, "validation_failed")
	s.post("/token?grant_type=refresh_token", `{"refresh_token":12}`, "").refused(400, "bad_json")
	s.renew(ada.Refresh).want(http.StatusOK)
}

// wantHeaders compares headers; "" means absent.
func wantHeaders(t *testing.T, a *answer, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got := a.Header.Get(name); got != value {
			t.Errorf("header %s: %q, want %q", name, got, value)
		}
	}
}
