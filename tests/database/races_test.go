package database_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/postern-auth/postern/tests/pgtest"
)

// Two connections at once, as two gateways are. Each test says which lock settles its race.

const (
	// hash looks like one; nobody computes it here.
	hash   = "'$2a$10$' || repeat('a', 53)"
	digest = "encode(sha256((" + hash + ")::bytea), 'hex')"
)

// together asks a query on n connections of the gateway at the same time.
func together[T any](t *testing.T, db *pgtest.DB, n int, query string, args ...any) []T {
	t.Helper()
	conns := make([]*pgx.Conn, n)
	for i := range conns {
		conns[i] = pgtest.Connect(t, db.GatewayDSN)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	answers, errs := make([]T, n), make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i, conn := range conns {
		wg.Go(func() {
			<-start
			errs[i] = conn.QueryRow(ctx, query, args...).Scan(&answers[i])
		})
	}
	close(start)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return answers
}

// tally counts equal answers.
func tally(answers []string) map[string]int {
	counts := map[string]int{}
	for _, answer := range answers {
		counts[answer]++
	}
	return counts
}

func account(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	return ask[string](t, conn, "select postern.create_user(email => 'ada@example.com', password_hash => "+hash+")")
}

func session(t *testing.T, conn *pgx.Conn, user string) string {
	t.Helper()
	return ask[string](t, conn, "select postern.sign_in_with_password($1, 'email', true, "+digest+") #>> '{session,id}'", user)
}

// The unique index on addresses settles it.
func TestSignUpsWithOneAddressAtOnce(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{"true": "user_already_exists", "false": "the same account"} {
		t.Run("autoconfirm "+setting, func(t *testing.T) {
			t.Parallel()
			db, conn := installed(t)
			run(t, conn, "update auth.settings set mailer_autoconfirm = "+setting)
			answers := tally(together[string](t, db, 8, `select coalesce(a #>> '{error,code}', a #>> '{body,id}', 'session')
				from postern.sign_up(email => 'Ada@example.com', password_hash => 'h') a`))
			if n := ask[int](t, conn, "select count(*) from auth.users"); n != 1 {
				t.Errorf("%d accounts", n)
			}
			if n := ask[int](t, conn, "select count(*) from auth.identities"); n != 1 {
				t.Errorf("%d identities", n)
			}
			if setting == "false" && len(answers) != 1 {
				t.Errorf("want %s for all: %v", want, answers)
			}
			if setting == "true" && (answers["session"] != 1 || answers[want] != 7) {
				t.Errorf("want one session, and %s: %v", want, answers)
			}
		})
	}
}

// The lock on the session settles it: one rotates, all get the same token.
func TestRefreshesOfOneTokenAtOnce(t *testing.T) {
	t.Parallel()
	db, conn := installed(t)
	id := session(t, conn, account(t, conn))
	answers := tally(together[string](t, db, 20, `select concat_ws(' ', a #>> '{session,counter}', a #>> '{session,reuse}', a #>> '{error,code}')
		from postern.refresh_session($1, 0) a`, id))
	if answers["1"] != 1 || answers["1 fail-to-save"] != 19 {
		t.Errorf("want one rotation and 19 times the same token: %v", answers)
	}
	if n := ask[int](t, conn, "select count(*) from auth.refresh_tokens where counter = 1 and not revoked"); n != 1 {
		t.Errorf("%d rows with counter 1", n)
	}
}

// The lock on the row of the limit settles it.
func TestTheLastPlacesOfALimitAtOnce(t *testing.T) {
	t.Parallel()
	db, conn := installed(t)
	run(t, conn, "update auth.settings set rate_limit_otp = 0.001")
	refusals := 0
	for _, n := range together[int](t, db, 8, `select count(a.error)::int from (
			select postern.take_limit('signups', postern.caller(limiter_key => 'one client')) -> 'error' as error from generate_series(1, 5)) a`) {
		refusals += n
	}
	if refusals != 8*5-30 {
		t.Errorf("%d of 40 were refused, want 10", refusals)
	}
}

// The lock on the account settles it: whoever waits sees what the other did.
func TestASignInThatWaitsForABanIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ change, want string }{
		"ban":          {"update auth.users set banned_until = 'infinity'", "user_banned"},
		"new password": {"select postern.set_password_hash(id, '$2a$10$' || repeat('b', 53)) from auth.users", "conflict"},
		"deletion":     {"delete from auth.users", "invalid_credentials"},
		"soft delete":  {"select postern.delete_user(id, true) from auth.users", "invalid_credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, conn := installed(t)
			user := account(t, conn)
			run(t, conn, "begin", c.change)
			got := make(chan string, 1)
			gateway, watcher := pgtest.Connect(t, db.GatewayDSN), pgtest.Connect(t, db.SuperDSN)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			go func() {
				var code string
				if err := gateway.QueryRow(ctx, `select coalesce(a #>> '{error,code}', 'signed in')
					from postern.sign_in_with_password($1, 'email', true, `+digest+`) a`, user).Scan(&code); err != nil {
					code = err.Error()
				}
				got <- code
			}()
			waitFor(t, "the sign-in to wait", func() bool {
				return ask[bool](t, watcher, "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')")
			})
			run(t, conn, "commit")
			if code := <-got; code != c.want {
				t.Errorf("got %s, want %s", code, c.want)
			}
			if n := ask[int](t, conn, "select count(*) from auth.sessions"); n != 0 {
				t.Errorf("%d sessions", n)
			}
		})
	}
}

// A wait for a lock of a user's own trigger ends by lock_timeout, and reaches the gateway as that: it answers 409 or tries
// again, which no refusal would let it.
func TestALockTimeoutIsRaisedAgain(t *testing.T) {
	t.Parallel()
	db, conn := installed(t)
	run(t, conn, "update auth.settings set mailer_autoconfirm = true",
		"create table public.counter (n int)", "insert into public.counter values (0)",
		`create function public.count_users() returns trigger language plpgsql security definer
			as 'begin update public.counter set n = n + 1; return new; end'`,
		"create trigger count_users after insert on auth.users for each row execute function public.count_users()",
		"begin", "update public.counter set n = n + 1")
	gateway := pgtest.Connect(t, db.GatewayDSN)
	if got := ask[string](t, gateway, "show lock_timeout"); got != "2s" {
		t.Errorf("lock_timeout of postern_gateway is %s", got)
	}
	run(t, gateway, "set lock_timeout = '50ms'")
	_, err := gateway.Exec(t.Context(), "select postern.sign_up(email => 'ada@example.com', password_hash => 'h')")
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); !ok || pgErr.Code != "55P03" {
		t.Errorf("want 55P03, got %v", err)
	}
	run(t, gateway, "set statement_timeout = '50ms'", "set lock_timeout = 0")
	_, err = gateway.Exec(t.Context(), "select postern.sign_up(email => 'ada@example.com', password_hash => 'h')")
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); !ok || pgErr.Code != "57014" {
		t.Errorf("want 57014, got %v", err)
	}
	run(t, conn, "rollback")
	run(t, gateway, "set statement_timeout = 0")
	if got := ask[*string](t, gateway, "select postern.sign_up(email => 'ada@example.com', password_hash => 'h') #>> '{session,id}'"); got == nil {
		t.Error("the address is not free any more")
	}
}

// Signing out everywhere while a token is refreshed: either order is fine, but no session outlives it, and nothing deadlocks.
func TestSigningOutWhileRefreshing(t *testing.T) {
	t.Parallel()
	db, conn := installed(t)
	user := account(t, conn)
	for round := range 5 {
		id := session(t, conn, user)
		queries := []string{
			fmt.Sprintf("select coalesce(postern.refresh_session('%s', 0) #>> '{error,code}', 'refreshed')", id),
			fmt.Sprintf("select coalesce(postern.log_out(postern.caller(user_id => '%s')) #>> '{error,code}', 'out')", user),
			fmt.Sprintf("select coalesce(postern.update_user(postern.caller(user_id => '%s', session_id => '%s'), data => '{}') #>> '{error,code}', 'updated')", user, id),
		}
		answers := make([]string, len(queries))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		var wg sync.WaitGroup
		for i, query := range queries {
			gateway := pgtest.Connect(t, db.GatewayDSN)
			wg.Go(func() {
				if err := gateway.QueryRow(ctx, query).Scan(&answers[i]); err != nil {
					answers[i] = err.Error()
				}
			})
		}
		wg.Wait()
		cancel()
		if r := answers[0]; r != "refreshed" && r != "refresh_token_not_found" {
			t.Errorf("round %d: refresh: %s", round, r)
		}
		if answers[1] != "out" {
			t.Errorf("round %d: log-out: %s", round, answers[1])
		}
		if u := answers[2]; u != "updated" && u != "session_not_found" {
			t.Errorf("round %d: update: %s", round, u)
		}
		if n := ask[int](t, conn, "select count(*) from auth.sessions"); n != 0 {
			t.Errorf("round %d: %d sessions are left", round, n)
		}
	}
}

// Two gateways that start at once with the same environment write it once.
func TestTwoStartsAtOnce(t *testing.T) {
	t.Parallel()
	db, conn := installed(t)
	answers := tally(together[string](t, db, 6, `select postern.apply_environment('{"site_url": "https://a.example", "jwt_exp": 60}') ->> 'changes'`))
	if answers["[]"] != 5 || len(answers) != 2 {
		t.Errorf("want the changes once: %v", answers)
	}
	if got := ask[string](t, conn, "select site_url || jwt_exp from auth.settings"); got != "https://a.example60" {
		t.Errorf("settings: %s", got)
	}
}

// Asked for by several clients at once, a number gets one SMS: the second request waits for the first, and finds its time.
func TestCodesForOneNumberAtOnce(t *testing.T) {
	t.Parallel()
	db, conn := installed(t)
	run(t, conn, `update auth.settings set jwt_aud = 'authenticated', external_phone_enabled = true, sms_max_frequency = '1 minute', rate_limit_sms_sent = '1000'`)
	account(t, conn)
	run(t, conn, `update auth.users set phone = '15551230001', phone_confirmed_at = now(), email = null`)
	together[string](t, db, 8, `select postern.request_sms('15551230001', envelope =>
		postern.envelope(outbox_id => gen_random_uuid(), code_hmac => 'c', link_digest => gen_random_uuid()::text, sealed => 's'))::text`)
	if n := ask[int](t, conn, `select count(*) from auth.outbox`); n != 1 {
		t.Errorf("%d SMS were queued", n)
	}
}

// Requests that register one address or number at the same time make one account. As long as it is unconfirmed, each that is not
// refused tells the after_user_created hook of it.
func TestOneOfManyRegistersAnAccount(t *testing.T) {
	t.Parallel()
	db, conn := installed(t)
	run(t, conn, `update auth.settings set jwt_aud = 'authenticated', external_phone_enabled = true, smtp_max_frequency = '0', sms_max_frequency = '0',
		rate_limit_email_sent = '1000', rate_limit_sms_sent = '1000', hook_after_user_created_enabled = true`)
	const envelope = `postern.envelope(outbox_id => gen_random_uuid(), code_hmac => 'c', link_digest => gen_random_uuid()::text, sealed => 's')`
	for name, function := range map[string]string{
		"link": `postern.request_magic_link('new@example.com', envelope => ` + envelope + `)`,
		"SMS":  `postern.request_sms('15551230001', envelope => ` + envelope + `)`,
	} {
		told := tally(together[string](t, db, 8, `select coalesce(a #>> '{error,code}', a ->> 'user_id', 'nobody') from `+function+` a`))
		delete(told, "over_email_send_rate_limit")
		delete(told, "over_sms_send_rate_limit")
		account := ask[string](t, conn, `select max(id::text) from auth.users having count(*) = 1`)
		if len(told) != 1 || told[account] < 1 {
			t.Errorf("%s: told %v of account %s", name, told, account)
		}
		run(t, conn, `delete from auth.users`)
	}
}
