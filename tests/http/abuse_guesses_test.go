package http_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Parallel guessing does not get past the limit: 200 wrong codes at once, from as many clients, through two gateways.
func TestParallelGuessingDoesNotGetPastTheLimit(t *testing.T) {
	t.Parallel()
	s := start(t)
	gateways := []*server{s, startOn(t, s.db)}
	id := s.account("ada@example.com")
	began := time.Now()
	statuses := make([]int, 200)
	var guessing sync.WaitGroup
	// As many at once as get a connection in time, so that nobody is turned away for another reason.
	places := make(chan struct{}, 20)
	for i := range statuses {
		guessing.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			a, err := gateways[i%2].send(call{
				Method: "POST", Path: "/verify", Body: fmt.Sprintf(`{"type": "magiclink", "email": "ada@example.com", "token": "%06d"}`, i),
				Header: map[string]string{"X-Forwarded-For": fmt.Sprintf("10.0.0.%d", i)},
			})
			if err != nil {
				t.Error(err)
				return
			}
			statuses[i] = a.Status
			if a.Status == http.StatusTooManyRequests && a.Header.Get("Retry-After") == "" {
				t.Error("429 without Retry-After")
			}
		})
	}
	guessing.Wait()
	count := map[int]int{}
	for _, status := range statuses {
		count[status]++
	}
	// One more becomes free every ten seconds.
	most := 30 + int(time.Since(began)/(10*time.Second))
	if count[403] < 30 || count[403] > most || count[403]+count[429] != len(statuses) {
		t.Errorf("%v, want 30 to %d times 403 and else 429", count, most)
	}

	guess := `{"type": "recovery", "email": "ADA@example.com", "token": "123456"}`
	s.post("/verify", guess, "").refused(429, "over_request_rate_limit")
	s.post("/verify", `{"type": "recovery", "email": "bob@example.com", "token": "123456"}`, "").refused(403, "otp_expired")
	s.post("/verify", `{"type": "recovery", "token_hash": "ff"}`, "").refused(403, "otp_expired")
	if got := s.one(`select postern.unblock($1)`, id); got != "1" {
		t.Errorf("unblock: %s", got)
	}
	s.post("/verify", guess, "").refused(403, "otp_expired")
	if got := s.one(`select places_left from postern.rate_limit_status($1)`, id); got != "29" {
		t.Errorf("%s places left", got)
	}
}

// The code that a change of password asks for is guessed no faster, from however many connections: nobody's hash is in the way here.
func TestParallelGuessingAtACodeForAPassword(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_SECURITY_UPDATE_PASSWORD_REQUIRE_REAUTHENTICATION=true")
	me := s.member("ada@example.com")
	s.exec(`update auth.sessions set created_at = now() - interval '25 hours'`)
	pool, err := pgxpool.New(t.Context(), s.db.GatewayDSN+"&pool_max_conns=20")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	began := time.Now()
	codes := make([]string, 200)
	var guessing sync.WaitGroup
	for i := range codes {
		guessing.Go(func() {
			err := pool.QueryRow(t.Context(), `select postern.update_user(postern.caller(user_id => $1::text::uuid, session_id => $2::text::uuid),
				password_hash => 'n', compared_digest => encode(sha256($3::text::bytea), 'hex'), nonce => '000000',
				nonce_hmacs => array['x'::bytea]) #>> '{error,code}'`, me.UserID, me.ID, goodPasswordHash).Scan(&codes[i])
			if err != nil {
				t.Error(err)
			}
		})
	}
	guessing.Wait()
	count := map[string]int{}
	for _, code := range codes {
		count[code]++
	}
	most := 30 + int(time.Since(began)/(10*time.Second))
	if n := count["reauthentication_not_valid"]; n < 30 || n > most || n+count["over_request_rate_limit"] != len(codes) {
		t.Errorf("%v, want 30 to %d codes compared, and the others refused", count, most)
	}

	s.exec(`update auth.rate_limits set full_at = now() + interval '5 minutes' where limiter = 'guesses'`)
	a := s.put("/user", map[string]any{"password": "another good one", "nonce": "123456"}, me.Access)
	if a.refused(429, "over_request_rate_limit"); a.Header.Get("Retry-After") == "" {
		t.Error("429 without Retry-After")
	}
	s.put("/user", map[string]any{"data": map[string]any{"name": "Ada"}}, me.Access).want(200)
}

// Counting a guess is part of the request's one statement.
func TestGuessesCostNoStatement(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.account("ada@example.com")
	s = startOn(t, s.db)
	got, texts := s.statements(func() {
		s.post("/verify", `{"type": "recovery", "email": "ada@example.com", "token": "123456"}`, "").refused(403, "otp_expired")
	})
	if got != 1 {
		t.Errorf("%d statements: %v", got, texts)
	}
}
