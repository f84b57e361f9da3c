package http_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postern-auth/postern/gateway/token"
)

// Messages of refused refreshes (contract core.md 4.5 to 4.8).
const (
	msgNotFound    = "Invalid Refresh Token: Refresh Token Not Found"
	msgAlreadyUsed = "Invalid Refresh Token: Already Used"
	msgNotIssued   = "Invalid Refresh Token: Not Issued By This Server"
	msgExpired     = "Invalid Refresh Token: Session Expired"
	msgBanned      = "Invalid Refresh Token: User Banned"
)

// renewal is the request that continues a session with a refresh token.
func renewal(refresh string) call {
	return call{
		Method: http.MethodPost, Path: "/token?grant_type=refresh_token", Body: map[string]any{"refresh_token": refresh},
	}
}

// login is the request that signs in with an address and a password.
func login(email, password string) call {
	return call{
		Method: http.MethodPost, Path: "/token?grant_type=password", Body: map[string]any{"email": email, "password": password},
	}
}

// in is the same server for a subtest.
func (s *server) in(t testing.TB) *server {
	s.superuser()
	out := *s
	out.t = t
	return &out
}

// renew presents a refresh token.
func (s *server) renew(refresh string) *answer {
	s.t.Helper()
	return s.do(renewal(refresh))
}

// refusedWith ends the test unless the answer is this error with this text.
func (a *answer) refusedWith(status int, code, message string) *answer {
	a.t.Helper()
	a.refused(status, code)
	if got := a.text("msg"); got != message {
		a.t.Fatalf("%s %s: message %q, want %q", a.call.Method, a.call.Path, got, message)
	}
	return a
}

// atOnce sends requests that start together, and returns their answers in the order of the requests.
func (s *server) atOnce(calls ...call) []*answer {
	s.t.Helper()
	out, errs := make([]*answer, len(calls)), make([]error, len(calls))
	var group sync.WaitGroup
	gate := make(chan struct{})
	for i, c := range calls {
		group.Go(func() {
			<-gate
			out[i], errs[i] = s.send(c)
		})
	}
	close(gate)
	group.Wait()
	for i, err := range errs {
		if err != nil {
			s.t.Fatalf("%s %s: %v", calls[i].Method, calls[i].Path, err)
		}
	}
	return out
}

// later sends a request in the background; the returned function waits for its answer.
func (s *server) later(c call) func() *answer {
	s.t.Helper()
	type result struct {
		answer *answer
		err    error
	}
	done := make(chan result, 1)
	go func() {
		a, err := s.send(c)
		done <- result{a, err}
	}()
	return func() *answer {
		s.t.Helper()
		r := <-done
		if r.err != nil {
			s.t.Fatalf("%s %s: %v", c.Method, c.Path, r.err)
		}
		return r.answer
	}
}

// open transaction of a superuser, which holds the locks that its statements took.
type transaction struct {
	t    testing.TB
	conn *pgx.Conn
	tx   pgx.Tx
}

// begin opens a transaction on a connection of its own and runs a statement in it.
func (s *server) begin(query string, args ...any) *transaction {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.db.SuperDSN)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	tx, err := conn.Begin(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	out := &transaction{t: s.t, conn: conn, tx: tx}
	out.exec(query, args...)
	return out
}

func (x *transaction) exec(query string, args ...any) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := x.tx.Exec(ctx, query, args...); err != nil {
		x.t.Fatalf("%s: %v", query, err)
	}
}

func (x *transaction) commit() {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := x.tx.Commit(ctx); err != nil {
		x.t.Fatal(err)
	}
}

// awaitLocked waits until this many of the gateway's statements wait for a lock.
func (s *server) awaitLocked(count string) {
	s.t.Helper()
	s.eventually(count+" statements of the gateway wait for a lock", func() bool {
		return s.one(`select count(*) from pg_stat_activity where datname = current_database()
			and usename = 'postern_gateway' and wait_event_type = 'Lock'`) == count
	})
}

// written is a fingerprint of what a refused refresh might write: the rows with the transactions that made them.
func (s *server) written() string {
	s.t.Helper()
	return s.one(`select md5(string_agg(r.line, e'\n' order by r.line)) from (
		select concat('user ', t.xmin, t) from auth.users t
		union all select concat('session ', t.xmin, t) from auth.sessions t
		union all select concat('token ', t.xmin, t) from auth.refresh_tokens t
		union all select concat('amr ', t.xmin, t) from auth.mfa_amr_claims t
		union all select concat('audit ', t.xmin, t.id) from auth.audit_log_entries t) r (line)`)
}

// counter is the generation of a session's live token, "" when it has none.
func (s *server) counter(sessionID string) string {
	s.t.Helper()
	return s.one(`select counter from auth.refresh_tokens where session_id = $1::uuid order by id desc limit 1`, sessionID)
}

// advance refreshes a session this many times and returns all its tokens, the oldest first.
func (s *server) advance(opened session, times int) []string {
	s.t.Helper()
	tokens := []string{opened.Refresh}
	for range times {
		tokens = append(tokens, s.renew(tokens[len(tokens)-1]).want(http.StatusOK).text("refresh_token"))
	}
	return tokens
}

// age moves the last rotation of a session's token back in time.
func (s *server) age(sessionID, by string) {
	s.t.Helper()
	s.exec(`update auth.refresh_tokens set updated_at = updated_at - $2::text::interval where session_id = $1::uuid`, sessionID, by)
}

// parsed reads a refresh token of Postern's form.
func parsed(t testing.TB, refresh string) token.Refresh {
	t.Helper()
	out, err := token.ParseRefresh(refresh)
	if err != nil {
		t.Fatalf("refresh token %q: %v", refresh, err)
	}
	return out
}

// idBytes is a UUID's sixteen bytes.
func idBytes(t testing.TB, id string) [16]byte {
	t.Helper()
	raw, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	if err != nil || len(raw) != 16 {
		t.Fatalf("no UUID: %q", id)
	}
	return [16]byte(raw)
}

// within fails the test when work takes longer.
func within(t testing.TB, limit time.Duration, what string, work func()) {
	t.Helper()
	started := time.Now()
	work()
	if took := time.Since(started); took > limit {
		t.Errorf("%s took %s, want at most %s", what, took.Round(time.Millisecond), limit)
	}
}

// newcomer makes a confirmed account with goodPassword and signs it in, without hashing and without a request.
func (s *server) newcomer(email string) session {
	s.t.Helper()
	s.account(email)
	return s.enter(email)
}

// enter opens a session of an account as a right password does, without hashing and without a request.
func (s *server) enter(email string) session {
	s.t.Helper()
	raw := s.one(`select postern.sign_in_with_password(user_id => u.id, provider => 'email', is_valid => true,
		compared_digest => encode(sha256(convert_to(u.encrypted_password, 'UTF8')), 'hex'),
		caller => postern.caller(user_agent => 'test'))::text from auth.users u where u.email = $1`, email)
	var opened struct {
		Session struct {
			ID     string `json:"id"`
			UserID string `json:"user_id"`
		} `json:"session"`
		Claims map[string]any `json:"claims"`
	}
	if err := json.Unmarshal([]byte(raw), &opened); err != nil || opened.Session.ID == "" {
		s.t.Fatalf("signing %s in: %v: %s", email, err, raw)
	}
	return session{
		Access: s.mint(opened.Claims), Refresh: mintRefresh(s.t, opened.Session.ID, 0), UserID: opened.Session.UserID, ID: opened.Session.ID,
	}
}
