package http_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestHashingLaneRefusesWhatWouldWaitTooLong floods the lane from one address; another address still gets its turn.
func TestHashingLaneRefusesWhatWouldWaitTooLong(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.account("ada@example.com")
	flood := make([]call, 80)
	for i := range flood {
		flood[i] = login("nobody@example.com", "whatever it is")
		flood[i].Header = map[string]string{"X-Forwarded-For": "198.51.100.7"}
	}
	flooded := make(chan []*answer, 1)
	go func() { flooded <- s.atOnce(flood...) }()
	time.Sleep(100 * time.Millisecond) // the flood has filled its share by then, or the machine is faster than it matters
	other := login("ada@example.com", goodPassword)
	other.Header = map[string]string{"X-Forwarded-For": "198.51.100.8"}
	s.do(other).want(http.StatusOK)

	refused := 0
	for _, a := range <-flooded {
		switch a.Status {
		case http.StatusBadRequest:
			a.refused(400, "invalid_credentials")
		case http.StatusServiceUnavailable:
			refused++
			wantRetryAfter(t, a)
			if a.text("error_code") == "unexpected_failure" || !strings.Contains(a.text("msg"), "retry") {
				t.Errorf("the body should say what happened: %s", a.Raw)
			}
		default:
			t.Errorf("%d %s", a.Status, a.Raw)
		}
	}
	if refused == 0 || refused == len(flood) {
		t.Errorf("%d of %d refused", refused, len(flood))
	}
}

// TestRefreshesPassALoginStorm holds no connection while hashing: with a pool of one, refreshes go on.
func TestRefreshesPassALoginStorm(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_DB_MAX_POOL_SIZE=1")
	ada := s.newcomer("ada@example.com")
	storm := make([]func() *answer, 6)
	for i := range storm {
		storm[i] = s.later(login("nobody@example.com", "whatever it is"))
	}
	for range 20 {
		s.renew(ada.Refresh).want(http.StatusOK)
	}
	for _, answered := range storm {
		answered().refused(400, "invalid_credentials")
	}
}

// TestUnknownAccountsCostTheSameHash compares the fastest of several tries, which a busy machine disturbs least.
func TestUnknownAccountsCostTheSameHash(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.account("ada@example.com")
	s.account("empty@example.com")
	s.exec(`update auth.users set encrypted_password = null where email = 'empty@example.com'`)
	fastest := func(body map[string]any) time.Duration {
		took := make([]time.Duration, 3)
		for i := range took {
			started := time.Now()
			s.post("/token?grant_type=password", body, "").refusedWith(400, "invalid_credentials", "Invalid login credentials")
			took[i] = time.Since(started)
		}
		return slices.Min(took)
	}
	known := fastest(map[string]any{"email": "ada@example.com", "password": "wrong"})
	for name, body := range map[string]map[string]any{
		"unknown address":  {"email": "nobody@example.com", "password": "wrong"},
		"without password": {"email": "empty@example.com", "password": "wrong"},
	} {
		if took := fastest(body); took < known*6/10 {
			t.Errorf("%s: %s, a known account takes %s", name, took, known)
		}
	}
}
