package database_test

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/postern-auth/postern/tests/pgtest"
)

// Keys are locked before rows (DESIGN 11), and an account before what belongs to it: two requests that need both wait for each other in
// one order, so that neither is the victim of a deadlock. A third connection holds both up until each has taken what it takes first.
func TestLocksAreTakenInOneOrder(t *testing.T) {
	t.Parallel()
	const (
		me       = `postern.caller(user_id => (select id from auth.users where email = 'ada@example.com'))`
		envelope = `postern.envelope(outbox_id => gen_random_uuid(), code_hmac => 'c', link_digest => gen_random_uuid()::text, sealed => 's')`
		recovery = `postern.request_recovery('ada@example.com', envelope => ` + envelope + `)`
		// A trigger of somebody's that takes its time over new accounts.
		slowTrigger = `create function public.slow() returns trigger language plpgsql as $$ begin
				perform pg_advisory_xact_lock(1); return new; end $$;
			create trigger slow after insert on auth.users for each row execute function public.slow()`
	)
	for name, c := range map[string]struct{ given, holding, first, second string }{
		"change of address, recovery": {
			holding: `select from auth.users for update`,
			first:   `postern.update_user(` + me + `, email => 'new@example.com', envelope => ` + envelope + `)`, second: recovery,
		},
		"change of number, code by SMS": {
			given:   `update auth.users set email = null, phone = '15551230001', phone_confirmed_at = now()`,
			holding: `select from auth.users for update`,
			first: `postern.update_user(postern.caller(user_id => (select id from auth.users)), phone => '15551230002',
				envelope => ` + envelope + `)`,
			second: `postern.reauthenticate(` + envelope + `, postern.caller(user_id => (select id from auth.users)))`,
		},
		"new password with a notification, recovery": {
			holding: `select from auth.users for update`,
			first:   `postern.update_user(` + me + `, password_hash => 'n', compared_digest => ` + digest + `)`, second: recovery,
		},
		"confirmation of an address with a notification, recovery": {
			given: `select postern.update_user(` + me + `, email => 'new@example.com', envelope =>
				postern.envelope(outbox_id => gen_random_uuid(), code_hmac => 'c', link_digest => 'link', sealed => 's'))`,
			holding: `select from auth.users for update`,
			first:   `postern.verify_one_time_token('email_change', link_digest => 'link')`, second: recovery,
		},
		"sign-up, invitation": {
			given: slowTrigger, holding: `select pg_advisory_xact_lock(1)`,
			first:  `postern.sign_up(email => 'new@example.com', password_hash => 'h', envelope => ` + envelope + `)`,
			second: `postern.admin_invite_user(postern.caller(role => 'service_role'), email => 'new@example.com', envelope => ` + envelope + `)`,
		},
		"code for a new address, invitation": {
			given: slowTrigger, holding: `select pg_advisory_xact_lock(1)`,
			first:  `postern.request_magic_link('new@example.com', envelope => ` + envelope + `)`,
			second: `postern.admin_invite_user(postern.caller(role => 'service_role'), email => 'new@example.com', envelope => ` + envelope + `)`,
		},
		"taking back, recovery": {
			given: `update auth.settings set hook_send_email_enabled = true, hook_send_email_uri = 'https://hooks.example.com/x';
				select ` + recovery,
			holding: `select from auth.one_time_tokens for update`,
			first:   `postern.take_back(array(select id from auth.outbox))`, second: recovery,
		},
		"taking back, its link": {
			given: `update auth.settings set hook_send_email_enabled = true, hook_send_email_uri = 'https://hooks.example.com/x';
				select postern.request_recovery('ada@example.com', repeat('x', 43), 's256', envelope =>
					postern.envelope(outbox_id => gen_random_uuid(), code_hmac => 'c', link_digest => 'link', sealed => 's'))`,
			holding: `select from auth.flow_state for update`,
			first:   `postern.take_back(array(select id from auth.outbox))`,
			// That it is refused then is right, and no matter here.
			second: `json_build_object('answer', postern.verify_one_time_token('recovery', link_digest => 'link', is_pkce => true))`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, conn := installed(t)
			run(t, conn, `update auth.settings set jwt_aud = 'authenticated', smtp_max_frequency = '0', mailer_secure_email_change_enabled = false,
				mailer_notifications_password_changed_enabled = true, mailer_notifications_email_changed_enabled = true`)
			account(t, conn)
			if c.given != "" {
				run(t, conn, c.given)
			}
			// The quota's row exists, as it does after the first mail.
			run(t, conn, `insert into auth.rate_limits values ('emails', '', now()), ('sms', '', now()) on conflict do nothing`)
			tx, err := conn.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			run(t, conn, c.holding)
			first := waiting(t, db, c.first)
			second := waiting(t, db, c.second)
			if err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			for which, outcome := range map[string]chan error{"first": first, "second": second} {
				if err := <-outcome; err != nil {
					t.Errorf("the %s: %s", which, explain(err))
				}
			}
		})
	}
}

// waiting calls a function in a connection of its own, and returns when that waits for a lock; the channel tells how it ended.
func waiting(t *testing.T, db *pgtest.DB, function string) chan error {
	t.Helper()
	caller, watcher := pgtest.Connect(t, db.SuperDSN), pgtest.Connect(t, db.SuperDSN)
	run(t, caller, `set lock_timeout = '60s'`)
	outcome := make(chan error, 1)
	go func(conn *pgx.Conn) {
		var answer *string
		call := func() error {
			return conn.QueryRow(t.Context(), `select a #>> '{error,message}' from `+function+` a`).Scan(&answer)
		}
		err := call()
		// An account that changed meanwhile: the gateway calls once more. A deadlock (40P01) would be a fault.
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "40001" {
			err = call()
		}
		if err == nil && answer != nil {
			err = errors.New(*answer)
		}
		outcome <- err
	}(caller)
	waitFor(t, "a lock to hold it up", func() bool {
		return ask[bool](t, watcher, `select exists (select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock')`,
			caller.PgConn().PID())
	})
	return outcome
}
