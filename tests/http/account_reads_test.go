package http_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postern-auth/postern/tests/pgtest"
)

// startPatient starts a gateway whose statements wait for locks as long as a test on a busy machine may hold them.
func startPatient(t *testing.T, env ...string) *server {
	t.Helper()
	db := *pgtest.New(t)
	db.GatewayDSN += separator(db.GatewayDSN) + "lock_timeout=20000"
	return startOn(t, &db, env...)
}

// crowd is what asks at once: members, one of whom is banned and one signed out, and what each is told.
type crowd struct {
	calls []call
	want  []string // the address in the answer, or the error_code
}

func (s *server) crowd(n int) crowd {
	s.t.Helper()
	var c crowd
	for i := range n {
		x := s.member(fmt.Sprintf("member%d@example.com", i))
		want := fmt.Sprintf("member%d@example.com", i)
		switch i {
		case 2:
			s.exec(`update auth.users set banned_until = now() + interval '1 hour' where id = $1::uuid`, x.UserID)
			want = "user_banned"
		case 5:
			s.exec(`delete from auth.sessions where id = $1::uuid`, x.ID)
			want = "session_not_found"
		}
		c.calls, c.want = append(c.calls, call{Method: http.MethodGet, Path: "/user", Bearer: x.Access}), append(c.want, want)
	}
	return c
}

// behind sends the calls while the first of them waits for a lock, and returns how many statements all of them took.
func (s *server) behind(lock string, c crowd, check func(i int, a *answer)) int {
	s.t.Helper()
	n, _ := s.statements(func() {
		hold := s.begin(lock)
		answered := []func() *answer{s.later(c.calls[0])}
		s.awaitLocked("1")
		for _, one := range c.calls[1:] {
			answered = append(answered, s.later(one))
		}
		time.Sleep(200 * time.Millisecond) // until they have come: nothing outside of the gateway tells
		hold.commit()
		for i, wait := range answered {
			check(i, wait())
		}
	})
	return n
}

// Who asks for an account while a statement is under way shares the next with all others, and is told of nobody else.
func TestAccountsAreReadTogether(t *testing.T) {
	t.Parallel()
	s := startPatient(t, "GOTRUE_DB_MAX_POOL_SIZE=2") // one statement at once
	c := s.crowd(30)
	for try := 1; ; try++ {
		n := s.behind(`lock table auth.users in access exclusive mode`, c, func(i int, a *answer) {
			got := a.text("email")
			if a.Status != http.StatusOK {
				got = a.text("error_code")
			}
			if got != c.want[i] {
				t.Errorf("caller %d was told %q, want %q: %s", i, got, c.want[i], a.Raw)
			}
		})
		switch {
		case n == 2:
			return
		case try == 5:
			t.Fatalf("30 requests took %d statements, want one for the first and one for the others", n)
		}
	}
}

// What cannot be read of one account is that caller's trouble alone.
func TestADamagedAccountIsOnlyItsOwners(t *testing.T) {
	t.Parallel()
	s := startPatient(t, "GOTRUE_DB_MAX_POOL_SIZE=2")
	c := s.crowd(10)
	s.exec(`update auth.users set phone_change = '49123' where email = 'member7@example.com'`)
	s.exec(`create or replace function postern._rare_user_json(user_id uuid) returns text language plpgsql stable as $$
		begin raise data_corrupted using message = 'invalid page in block 7'; end $$`)
	s.behind(`lock table auth.users in access exclusive mode`, c, func(i int, a *answer) {
		switch {
		case i == 7:
			a.refused(http.StatusInternalServerError, "unexpected_failure")
		case strings.Contains(c.want[i], "@") && (a.Status != http.StatusOK || a.text("email") != c.want[i]):
			t.Errorf("caller %d: %d %s", i, a.Status, a.Raw)
		}
	})
}

// A statement that takes its time holds up only those whose it is.
func TestASlowReadHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	s := startPatient(t)
	ada, bob := s.member("ada@example.com"), s.member("bob@example.com")
	s.exec(`update auth.users set phone_change = '49123' where id = $1::uuid`, ada.UserID)
	s.exec(`create or replace function postern._rare_user_json(user_id uuid) returns text language plpgsql as $$
		begin perform pg_advisory_xact_lock(7); return ''; end $$`)
	hold := s.begin(`select pg_advisory_xact_lock(7)`)
	slow := s.later(call{Method: http.MethodGet, Path: "/user", Bearer: ada.Access})
	s.awaitLocked("1")
	if a := s.get("/user", bob.Access).want(http.StatusOK); a.text("email") != "bob@example.com" {
		t.Errorf("bob was told %s", a.Raw)
	}
	if s.one(`select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`) != "1" {
		t.Error("the slow statement ended before the other's account was read: this test shows nothing")
	}
	hold.commit()
	slow()
}

// Who waits for others' statements waits no longer than for a connection, and what goes on after that is not theirs.
func TestReadsOfAccountsDoNotWaitForEver(t *testing.T) {
	t.Parallel()
	s := startPatient(t, "GOTRUE_DB_MAX_POOL_SIZE=2", "POSTERN_DB_POOL_WAIT=300ms")
	ada, bob := s.member("ada@example.com"), s.member("bob@example.com")
	hold := s.begin(`lock table auth.users in access exclusive mode`)
	first := s.later(call{Method: http.MethodGet, Path: "/user", Bearer: ada.Access})
	s.awaitLocked("1")
	a := s.get("/user", bob.Access).want(http.StatusServiceUnavailable)
	wantRetryAfter(t, a)
	hold.commit()
	first().want(http.StatusOK)
	for range 2 {
		if a := s.get("/user", bob.Access).want(http.StatusOK); a.text("email") != "bob@example.com" {
			t.Errorf("bob was told %s", a.Raw)
		}
	}
}
