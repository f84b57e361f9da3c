package http_test

import (
	"strings"
	"testing"
	"time"
)

// expire leaves rows that nobody needs any more.
func (s *server) expire(rows int) {
	s.t.Helper()
	s.exec(`insert into auth.oauth_client_states (id, provider_type, created_at)
		select gen_random_uuid(), 'x', now() - interval '2 days' from generate_series(1, $1)`, rows)
}

func TestExpiredRowsAreDeleted(t *testing.T) {
	t.Parallel()
	const left = `select count(*) from auth.oauth_client_states`
	s := start(t)
	s.expire(350)
	// Rows that only Postern has go in any case.
	s.exec(`insert into auth.outbox (id, channel, kind, recipient, state, created_at, expires_at)
		select gen_random_uuid(), 'email', 'recovery', 'x@example.com', 'dead', now() - interval '8 days', now() - interval '7 days'`)
	quiet := startOn(t, s.db)
	quiet.eventually("settled mails go", func() bool { return quiet.one(`select count(*) from auth.outbox`) == "0" })
	if got := quiet.one(left); got != "350" {
		t.Fatalf("%s rows left, though nobody asked for it", got)
	}
	// More than one batch, by two gateways at once.
	one, two := startOn(t, s.db, "GOTRUE_DB_CLEANUP_ENABLED=true"), startOn(t, s.db, "GOTRUE_DB_CLEANUP_ENABLED=true")
	one.eventually("expired rows go", func() bool { return one.one(left) == "0" })
	one.get("/health", "").want(200)
	two.get("/health", "").want(200)
}

func TestOneGatewayAtATimeCleansUp(t *testing.T) {
	t.Parallel()
	s := start(t)
	tx, err := s.superuser().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The gateway's own first call may be under way.
	s.eventually("nobody else is at it", func() bool {
		var isBusy string
		if err := tx.QueryRow(t.Context(), `select postern.cleanup() #>> '{body,is_busy}'`).Scan(&isBusy); err != nil {
			t.Fatal(err)
		}
		return isBusy == "false"
	})
	s.expire(1)
	if got := s.one(`select postern.cleanup() #>> '{body,is_busy}'`); got != "true" {
		t.Errorf("a second one at the same time: busy %s", got)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.eventually("after it, one is deleted", func() bool {
		return s.one(`select coalesce(postern.cleanup() #>> '{body,deleted,oauth_client_states}', '')`) == "1"
	})
}

// Rows that somebody works with are passed over, not waited for.
func TestCleanupPassesOverLockedRows(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.expire(3)
	tx, err := s.superuser().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context()) //nolint:errcheck // over anyway
	if _, err := tx.Exec(t.Context(), `select from auth.oauth_client_states limit 1 for update`); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.eventually("two of three are deleted, one is locked", func() bool {
		return s.one(`select coalesce(postern.cleanup() #>> '{body,deleted,oauth_client_states}', '')`) == "2"
	})
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s", took)
	}
}

// Anonymous users go when they have not come back for the time that the environment says, unless they became permanent.
func TestAnonymousUsersAreKeptWhileTheyComeBack(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true", "GOTRUE_DB_CLEANUP_ENABLED=true", "POSTERN_ANONYMOUS_USERS_RETENTION=48h")
	signUp := func() session { return s.post("/signup", `{}`, "").want(200).session() }
	back, gone, permanent := signUp(), signUp(), signUp()
	s.put("/user", `{"email": "ada@example.com"}`, permanent.Access).want(200)
	s.exec(`update auth.users set created_at = now() - interval '3 days'`)
	s.exec(`update auth.sessions set created_at = now() - interval '3 days'
		where user_id in (select id from auth.users where id <> $1::text::uuid)`, back.UserID)
	s.post("/token?grant_type=refresh_token", map[string]any{"refresh_token": back.Refresh}, "").want(200)
	s.exec(`update auth.sessions set created_at = now() - interval '3 days'`)
	another := startOn(t, s.db, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true", "GOTRUE_DB_CLEANUP_ENABLED=true", "POSTERN_ANONYMOUS_USERS_RETENTION=48h")
	another.eventually("who did not come back goes", func() bool {
		return another.one(`select count(*) from auth.users where id = $1::text::uuid`, gone.UserID) == "0"
	})
	s.get("/user", back.Access).want(200)
	s.get("/user", permanent.Access).want(200)
	s.get("/user", gone.Access).refused(403, "user_not_found")
}

func TestTestCodesAreNotLogged(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_SMS_TEST_OTP=15551230000:864209")
	if log := s.Log.String(); !strings.Contains(log, `"setting":"sms_test_otp","from":"***","to":"***"`) || strings.Contains(log, "864209") {
		t.Errorf("the log says %s", log)
	}
}
