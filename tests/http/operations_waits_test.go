package http_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postern-auth/postern/tests/pgtest"
)

func TestDeadlockIsTriedOnceMore(t *testing.T) {
	t.Parallel()
	s := start(t)
	ada := s.newcomer("ada@example.com")
	// The gateway's statement looks for deadlocks first, so that it is the one that the server ends.
	hold := s.begin(`set local deadlock_timeout = '20s'`)
	hold.exec(`select from auth.refresh_tokens where session_id = $1::uuid for update`, ada.ID)
	refresh := s.later(renewal(ada.Refresh))
	s.awaitLocked("1")
	hold.exec(`select from auth.sessions where id = $1::uuid for update`, ada.ID)
	s.eventually("the deadlock", func() bool {
		return s.one(`select deadlocks from pg_stat_database where datname = current_database()`) != "0" ||
			s.one(`select count(*) from pg_locks where not granted and database = (select oid from pg_database where datname = current_database())`) == "0"
	})
	hold.commit()
	refresh().want(http.StatusOK)
	if got := s.counter(ada.ID); got != "1" {
		t.Errorf("counter %s after one refresh", got)
	}
}

func TestLockWaitEndsAsConflict(t *testing.T) {
	t.Parallel()
	for name, owner := range map[string]bool{"as postern_gateway": false, "as the owner": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			if owner {
				db = asOwner(db)
			}
			s := startOn(t, db)
			ada := s.newcomer("ada@example.com")
			hold := s.begin(`select from auth.sessions where id = $1::uuid for update`, ada.ID)
			within(t, 8*time.Second, "the conflict", func() {
				s.renew(ada.Refresh).refusedWith(409, "conflict",
					"Too many concurrent token refresh requests on the same session or refresh token")
			})
			hold.commit()
			s.renew(ada.Refresh).want(http.StatusOK)
		})
	}
}

// slowUsers makes every insert into auth.users take this long.
func (s *server) slowUsers(seconds string) {
	s.t.Helper()
	s.exec(`create function public.slow() returns trigger language plpgsql as $$ begin perform pg_sleep(` + seconds + `); return new; end $$;
		create trigger slow before insert on auth.users for each row execute function public.slow();
		grant execute on function public.slow() to public`)
}

func TestStatementOverTimeIsRequestTimeout(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_API_MAX_REQUEST_DURATION=500ms", "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true")
	s.slowUsers("30")
	within(t, 8*time.Second, "the answer", func() {
		s.post("/signup", map[string]any{}, "").refusedWith(504, "request_timeout",
			"Processing this request timed out, please retry after a moment.")
	})
	// Nothing goes on behind the client's back.
	s.eventually("the statement ends", func() bool {
		return s.one(`select count(*) from pg_stat_activity where datname = current_database() and usename = 'postern_gateway'
			and state = 'active'`) == "0"
	})
	if got := s.one(`select count(*) from auth.users`); got != "0" {
		t.Errorf("%s users after a sign-up that timed out", got)
	}
}

func TestStatementTimeoutOfTheRoleIsRequestTimeout(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	dsn := *db
	// The role's own limit is ten seconds; the connection's stands in for it.
	dsn.GatewayDSN += separator(dsn.GatewayDSN) + "statement_timeout=2000"
	s := startOn(t, &dsn, "GOTRUE_API_MAX_REQUEST_DURATION=0", "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true")
	if got := s.one(`select setting from pg_db_role_setting, unnest(setconfig) setting
		where setrole = 'postern_gateway'::regrole and setting like 'statement_timeout=%'`); got != "statement_timeout=10s" {
		t.Errorf("the role has %q", got)
	}
	s.slowUsers("30")
	within(t, 9*time.Second, "the answer", func() { s.post("/signup", map[string]any{}, "").refused(504, "request_timeout") })
	if got := s.one(`select count(*) from auth.users`); got != "0" {
		t.Errorf("%s users", got)
	}
}

func separator(dsn string) string {
	if strings.Contains(dsn, "?") {
		return "&"
	}
	return "?"
}

func TestRequestTimeoutCoversHashing(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_API_MAX_REQUEST_DURATION=150ms")
	// A hash of cost 12 takes a quarter of a second and more.
	s.one(`select postern.create_user(email => $1, password_hash => $2)`, "ada@example.com", strings.Replace(goodPasswordHash, "$10$", "$12$", 1))
	s.do(login("ada@example.com", goodPassword)).refused(504, "request_timeout")
}

func TestWorkSurvivesAClientThatHangsUp(t *testing.T) {
	t.Parallel()
	s := start(t)
	ada := s.newcomer("ada@example.com")
	hold := s.begin(`select from auth.sessions where id = $1::uuid for update`, ada.ID)
	ctx, hangUp := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/token?grant_type=refresh_token",
			strings.NewReader(`{"refresh_token":"`+ada.Refresh+`"}`))
		if err == nil {
			var res *http.Response
			if res, err = s.http.Client().Do(req); err == nil {
				err = res.Body.Close()
			}
		}
		done <- err
	}()
	s.awaitLocked("1")
	hangUp()
	if err := <-done; err == nil {
		t.Fatal("the client got an answer")
	}
	hold.commit()
	s.eventually("the refresh is recorded", func() bool { return s.counter(ada.ID) == "1" })
	// Which is what makes the client's next try work.
	s.renew(ada.Refresh).want(http.StatusOK)
}
