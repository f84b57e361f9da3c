package http_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

const (
	msgInactive = "Invalid Refresh Token: Session Expired (Inactivity)"
	msgLowAAL   = "Invalid Refresh Token: Session Expired (Low AAL: User Needs MFA Verification)"
	msgNewer    = "Invalid Refresh Token: Session Expired (Revoked by Newer Login)"
)

// ageSession moves the times of a session back.
func (s *server) ageSession(id, column, by string) {
	s.t.Helper()
	s.exec(fmt.Sprintf(`update auth.sessions set %[1]s = %[1]s - $2::text::interval where id = $1::uuid`, column), id, by)
}

// refusedUntouched presents a token that the session's limits refuse; nothing may be written.
func (s *server) refusedUntouched(refresh, code, message string) {
	s.t.Helper()
	before := s.written()
	s.renew(refresh).refusedWith(400, code, message)
	if s.written() != before {
		s.t.Errorf("refusing with %q wrote to the database", message)
	}
}

func TestTimeboxEndsASessionHoweverActive(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_SESSIONS_TIMEBOX=24h")
	ada := s.newcomer("ada@example.com")
	s.ageSession(ada.ID, "created_at", "23 hours 59 minutes")
	a := s.renew(ada.Refresh).want(http.StatusOK)
	s.ageSession(ada.ID, "created_at", "2 minutes")
	s.refusedUntouched(a.text("refresh_token"), "session_expired", msgExpired)
	// Limits act on refreshes only (contract core.md 12.5).
	s.get("/user", ada.Access).want(http.StatusOK)
	// Reuse of an expired session's token does not revoke it.
	s.age(ada.ID, "1 hour")
	s.refusedUntouched(mintRefresh(t, ada.ID, 0), "session_expired", msgExpired)
}

func TestInactivityEndsASession(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_SESSIONS_INACTIVITY_TIMEOUT=1h")
	ada := s.newcomer("ada@example.com")
	// Never refreshed: its beginning counts, and its token (contract core.md 4.6).
	s.ageSession(ada.ID, "created_at", "61 minutes")
	s.age(ada.ID, "61 minutes")
	s.refusedUntouched(ada.Refresh, "session_expired", msgInactive)
	s.ageSession(ada.ID, "created_at", "-2 minutes")
	a := s.renew(ada.Refresh).want(http.StatusOK)
	// Refreshed: the last time counts, and repeating the last token is activity.
	s.ageSession(ada.ID, "created_at", "1 year")
	s.ageSession(ada.ID, "refreshed_at", "59 minutes")
	s.renew(ada.Refresh).want(http.StatusOK)
	s.ageSession(ada.ID, "refreshed_at", "59 minutes")
	b := s.renew(a.text("refresh_token")).want(http.StatusOK)
	s.ageSession(ada.ID, "refreshed_at", "61 minutes")
	s.refusedUntouched(b.text("refresh_token"), "session_expired", msgInactive)
}

func TestNotAfterEndsASession(t *testing.T) {
	t.Parallel()
	s := start(t)
	ada := s.newcomer("ada@example.com")
	s.exec(`update auth.sessions set not_after = now() + interval '1 minute'`)
	a := s.renew(ada.Refresh).want(http.StatusOK)
	s.exec(`update auth.sessions set not_after = now() - interval '1 second'`)
	s.refusedUntouched(a.text("refresh_token"), "session_expired", msgExpired)
}

func TestSinglePerUserLetsTheNewestSessionWin(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_SESSIONS_SINGLE_PER_USER=true", "GOTRUE_SESSIONS_TIMEBOX=24h")
	old := s.newcomer("ada@example.com")
	bob := s.newcomer("bob@example.com")
	fresh := s.enter("ada@example.com")
	if got := s.one(`select count(*) from auth.sessions where user_id = $1::uuid`, old.UserID); got != "2" {
		t.Errorf("signing in left %s sessions", got)
	}
	s.refusedUntouched(old.Refresh, "session_expired", msgNewer)
	s.get("/user", old.Access).want(http.StatusOK)
	a := s.renew(fresh.Refresh).want(http.StatusOK)
	s.renew(bob.Refresh).want(http.StatusOK)
	s.refusedUntouched(old.Refresh, "session_expired", msgNewer)
	// A newer session that is over itself does not stand in the way.
	s.exec(`update auth.sessions set not_after = now() - interval '1 second' where id = $1::uuid`, fresh.ID)
	s.renew(old.Refresh).want(http.StatusOK)
	s.exec(`update auth.sessions set not_after = null where id = $1::uuid`, fresh.ID)
	s.refusedUntouched(a.text("refresh_token"), "session_expired", msgNewer)
}

func TestSinglePerUserCountsPerTag(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_SESSIONS_SINGLE_PER_USER=true", "GOTRUE_SESSIONS_TAGS=web,mobile")
	tagged := map[string]session{}
	s.account("ada@example.com")
	// Without a tag, or with one that is not listed, a session counts as the first tag's.
	for _, tag := range []string{"web", "mobile", "unlisted", "null"} {
		tagged[tag] = s.enter("ada@example.com")
		if tag != "null" {
			s.exec(`update auth.sessions set tag = $2 where id = $1::uuid`, tagged[tag].ID, tag)
		}
	}
	s.refusedUntouched(tagged["web"].Refresh, "session_expired", msgNewer)
	s.refusedUntouched(tagged["unlisted"].Refresh, "session_expired", msgNewer)
	s.renew(tagged["mobile"].Refresh).want(http.StatusOK)
	s.renew(tagged["null"].Refresh).want(http.StatusOK)
}

// factor gives a user a second factor.
func (s *server) factor(userID, status string) {
	s.t.Helper()
	s.exec(`insert into auth.mfa_factors (id, user_id, friendly_name, factor_type, status, created_at, updated_at, secret)
		values (gen_random_uuid(), $1::uuid, gen_random_uuid()::text, 'totp', $2::auth.factor_status, now(), now(), 'secret')`, userID, status)
}

func TestLowAALEndsSessionsOfUsersWithASecondFactor(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_SESSIONS_ALLOW_LOW_AAL=1h")
	ada := s.newcomer("ada@example.com")
	s.ageSession(ada.ID, "created_at", "61 minutes")
	a := s.renew(ada.Refresh).want(http.StatusOK) // no factor
	s.factor(ada.UserID, "unverified")
	b := s.renew(a.text("refresh_token")).want(http.StatusOK)
	s.factor(ada.UserID, "verified")
	s.refusedUntouched(b.text("refresh_token"), "session_expired", msgLowAAL)
	s.exec(`update auth.sessions set aal = 'aal2' where id = $1::uuid`, ada.ID)
	c := s.renew(b.text("refresh_token")).want(http.StatusOK)
	if got := c.at("expires_in"); got != float64(3600) {
		t.Errorf("expires_in of an aal2 session is %v", got)
	}
	s.exec(`update auth.sessions set aal = null where id = $1::uuid`, ada.ID)
	s.refusedUntouched(c.text("refresh_token"), "session_expired", msgLowAAL)
}

func TestLowAALShortensAccessTokens(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_SESSIONS_ALLOW_LOW_AAL=1h", "GOTRUE_JWT_EXP=7200")
	ada := s.newcomer("ada@example.com")
	if got := s.renew(ada.Refresh).want(http.StatusOK).at("expires_in"); got != float64(7200) {
		t.Errorf("without a factor expires_in is %v", got)
	}
	s.factor(ada.UserID, "verified")
	s.ageSession(ada.ID, "created_at", "30 minutes")
	a := s.renew(ada.Refresh).want(http.StatusOK)
	in, _ := a.at("expires_in").(float64)
	at, _ := a.at("expires_at").(float64)
	exp, _ := claimsOf(t, a.text("access_token"))["exp"].(float64)
	if in < 1700 || in > 1800 || at != exp || exp > float64(time.Now().Add(30*time.Minute).Unix()+1) {
		t.Errorf("expires_in %v, expires_at %v, exp %v, want the rest of the hour", in, at, exp)
	}
}

func TestBansActOnRefreshesAndUsers(t *testing.T) {
	t.Parallel()
	s := start(t, reuseInterval+"0")
	ada := s.newcomer("ada@example.com")
	tokens := s.advance(ada, 2)
	s.exec(`update auth.users set banned_until = now() + interval '1 hour'`)
	s.refusedUntouched(tokens[2], "user_banned", msgBanned)
	s.refusedUntouched(tokens[1], "user_banned", msgBanned)
	s.refusedUntouched(tokens[0], "user_banned", msgBanned) // no reuse handling either
	s.get("/user", ada.Access).refusedWith(403, "user_banned", "User is banned")
	s.put("/user", map[string]any{"data": map[string]any{"a": 1}}, ada.Access).refused(403, "user_banned")
	s.post("/logout", nil, ada.Access).refused(403, "user_banned")
	s.do(login("ada@example.com", "whatever it is")).refusedWith(400, "user_banned", "User is banned")
	// The ban comes before the session's own end (contract core.md 4.6).
	s.exec(`update auth.sessions set not_after = now() - interval '1 second'`)
	s.refusedUntouched(tokens[2], "user_banned", msgBanned)
	s.exec(`update auth.sessions set not_after = null`)
	s.exec(`update auth.users set banned_until = now() - interval '1 second'`)
	s.renew(tokens[2]).want(http.StatusOK)
	s.get("/user", ada.Access).want(http.StatusOK)
}

func TestSessionsOfOAuthClientsAreNotRefreshedHere(t *testing.T) {
	t.Parallel()
	s := start(t)
	ada := s.newcomer("ada@example.com")
	s.exec(`insert into auth.oauth_clients (id, registration_type, redirect_uris, grant_types, client_type, token_endpoint_auth_method)
		values ('c253f324-182d-4057-82ab-b64e4551506b', 'dynamic', 'https://a.example', 'authorization_code', 'public', 'none')`)
	s.exec(`update auth.sessions set oauth_client_id = 'c253f324-182d-4057-82ab-b64e4551506b'`)
	before := s.written()
	a := s.renew(ada.Refresh).want(http.StatusBadRequest)
	if a.text("error") != "invalid_client" || a.text("error_description") != "Client authentication required for OAuth session" {
		t.Errorf("answer: %s", a.Raw)
	}
	if s.written() != before {
		t.Error("the refusal wrote to the database")
	}
}
