package http_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestHashingLaneRefusesWhatWouldWaitTooLong floods the lane from one address; another address still gets its turn.
func TestHashingLaneRefusesWhatWouldWaitTooLong(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.account("ada@example.com")
	started := time.Now()
	s.do(login("nobody@example.com", "whatever it is")).refused(400, "invalid_credentials")
	hash := time.Since(started)
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
	// Until it has seen some, the lane takes a hash to last 80 ms: where it lasts much longer the flood gets more than its share.
	if a := s.do(other); a.Status != http.StatusOK && hash < 160*time.Millisecond {
		t.Errorf("another client: %d %s", a.Status, a.Raw)
	}

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

// TestUnknownAccountsCostTheSameHash: a hash of cost 10 takes any machine tens of milliseconds and no load makes it faster, so that
// an answer that came quicker had none.
func TestUnknownAccountsCostTheSameHash(t *testing.T) {
	t.Parallel()
	const hash = 20 * time.Millisecond
	s := start(t)
	s.account("ada@example.com")
	s.account("empty@example.com")
	s.exec(`update auth.users set encrypted_password = null where email = 'empty@example.com'`)
	for _, email := range []string{"ada@example.com", "nobody@example.com", "empty@example.com"} {
		for range 3 {
			started := time.Now()
			s.do(login(email, "wrong")).refusedWith(400, "invalid_credentials", "Invalid login credentials")
			if took := time.Since(started); took < hash {
				t.Errorf("%s was refused after %v, without a hash", email, took)
			}
		}
	}
}
