package http_test

import (
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// once ends the test when mails are missing, or when one came twice.
func (r *relay) once(want int) {
	r.t.Helper()
	seen := map[string]int{}
	for _, mail := range r.all() {
		seen[mail.To]++
		if seen[mail.To] > 1 {
			r.t.Errorf("%s got %d mails", mail.To, seen[mail.To])
		}
	}
	if len(seen) != want {
		r.t.Errorf("%d mails arrived, want %d", len(seen), want)
	}
}

// A relay that is down holds mails up and loses none; requests are answered all the same.
func TestRelayDownThenUp(t *testing.T) {
	t.Parallel()
	r := startRelay(t)
	r.down()
	s := start(t, mailing(r)...)
	for i := range 30 {
		s.post("/otp", map[string]any{"email": fmt.Sprintf("user%d@example.com", i)}, "").want(200)
	}
	s.eventually("an attempt was made", func() bool { return s.one(`select count(*) from auth.outbox where last_reply <> ''`) != "0" })
	if got := s.one(`select count(*) from auth.outbox where state = 'queued' and sealed is not null`); got != "30" {
		t.Errorf("%s of 30 mails are queued", got)
	}
	r.up()
	s.dueNow(func() bool { return len(r.all()) >= 30 })
	s.drained()
	r.once(30)
	last := r.all()[29]
	s.do(verifyCode("signup", last.To, last.Code)).want(200).session()
	// A relay that rests is not asked, and that costs no attempt: most mails went out with their first.
	if got := s.one(`select max(attempts) from auth.outbox`); len(got) > 1 {
		t.Errorf("%s attempts", got)
	}
}

// The fallback relay takes over when the first one is down or sends clients away, and the first is used again when it is back.
func TestFailoverToTheFallbackRelay(t *testing.T) {
	t.Parallel()
	first, second := startRelay(t), startRelay(t)
	s := start(t, append(mailing(first), second.env("POSTERN_SMTP_FALLBACK_1_")...)...)
	send := func(email string) { s.post("/otp", map[string]any{"email": email}, "").want(200); s.drained() }
	send("one@example.com")
	first.answering(func(string) error { return &smtp.SMTPError{Code: 421, Message: "closing for maintenance"} }, nil)
	send("two@example.com")
	first.down()
	send("three@example.com")
	if len(first.all()) != 1 || len(second.all()) != 2 {
		t.Errorf("%d mails by the first relay, %d by the second", len(first.all()), len(second.all()))
	}
	first.answering(nil, nil)
	first.up()
	s.eventually("the first relay is used again", func() bool {
		send(fmt.Sprintf("again%d@example.com", time.Now().UnixNano()))
		return len(first.all()) > 1
	})
	if got := s.one(`select count(*) from auth.outbox where attempts <> 1 or state <> 'sent'`); got != "0" {
		t.Errorf("%s mails took more than one attempt", got)
	}
}

// A sign-up that a trigger of the user's undoes sends nothing, whether the trigger raises at once or at the commit.
func TestMailsOfRolledBackSignUpsAreNeverSent(t *testing.T) {
	t.Parallel()
	for name, trigger := range map[string]string{
		"at once":       `create trigger refuse after insert on auth.users for each row execute function public.refuse()`,
		"by an update":  `create trigger refuse after update on auth.users for each row execute function public.refuse()`,
		"at the commit": `create constraint trigger refuse after insert on auth.users deferrable initially deferred for each row execute function public.refuse()`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, r := startMailing(t)
			s.exec(`create function public.refuse() returns trigger language plpgsql as $$ begin
				if new.email like 'bad%' then raise exception 'no room'; end if; return new; end $$; ` + trigger)
			a := s.post("/signup", map[string]any{"email": "bad@example.com", "password": goodPassword}, "")
			b := s.post("/otp", map[string]any{"email": "bad2@example.com"}, "")
			if a.Status < 400 || b.Status < 400 {
				t.Errorf("answers %d, %d", a.Status, b.Status)
			}
			s.post("/otp", map[string]any{"email": "good@example.com"}, "").want(200)
			s.mail(r, "good@example.com", 1)
			s.drained()
			r.once(1)
			if got := s.one(`select count(*) from auth.outbox`); got != "1" {
				t.Errorf("%s rows in the outbox", got)
			}
		})
	}
}

// Several gateways share the work, and no mail goes out twice, however slow the relay is.
func TestGatewaysShareTheOutbox(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t)
	r.answering(nil, func() { time.Sleep(2 * time.Millisecond) })
	for range 2 {
		startOn(t, s.db, mailing(r)...)
	}
	s.exec(`create table public.claims (leased_by text);
		create function public.note() returns trigger language plpgsql security definer as $$ begin
			if new.leased_by is not null then insert into public.claims values (new.leased_by); end if; return new; end $$;
		create trigger note after update on auth.outbox for each row execute function public.note()`)
	s.enqueue("user", 400)
	s.eventually("all are sent", func() bool { return s.one(`select count(*) from auth.outbox where state = 'sent'`) == "400" })
	r.once(400)
	if got := s.one(`select count(distinct leased_by) from public.claims`); got != "3" {
		t.Errorf("%s of 3 gateways took part", got)
	}
	if got := s.one(`select count(*) from auth.outbox where attempts <> 1`); got != "0" {
		t.Errorf("%s mails took more than one attempt", got)
	}
}

// What a relay refuses for good is not tried again: its words stay in the row, the secret goes, and the log names nobody.
func TestRefusedMailsAreGivenUp(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t)
	r.answering(func(to string) error {
		if strings.HasPrefix(to, "gone") {
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no mailbox for " + to}
		}
		return nil
	}, nil)
	for _, email := range []string{"gone@example.com", "here@example.com"} {
		s.post("/otp", map[string]any{"email": email}, "").want(200)
	}
	s.drained()
	if got := s.one(`select concat(state, ' ', attempts, ' ', sealed is null, ' ', leased_by, last_reply) from auth.outbox where recipient = 'gone@example.com'`); !strings.HasPrefix(got, "dead 1 t ") || !strings.Contains(got, "550 5.1.1 no mailbox for gone@example.com") {
		t.Errorf("the refused mail: %s", got)
	}
	if got := s.one(`select concat(state, ' ', last_reply) from auth.outbox where recipient = 'here@example.com'`); !strings.HasPrefix(got, "sent "+r.addr) {
		t.Errorf("the other one: %s", got)
	}
	if log := s.Log.String(); !strings.Contains(log, "no mailbox for") || strings.Contains(log, "gone@example.com") {
		t.Errorf("log: %s", log)
	}
}

// What a relay refuses for now is tried again with growing distance, and given up after twelve attempts.
func TestTemporaryRefusalsAreTriedAgain(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t)
	r.answering(func(string) error { return &smtp.SMTPError{Code: 451, Message: "greylisted, come back"} }, nil)
	s.post("/otp", map[string]any{"email": "ada@example.com"}, "").want(200)
	s.eventually("a first attempt", func() bool { return s.one(`select last_reply from auth.outbox`) != "" })
	if got := s.one(`select concat(state, ' ', attempts, ' ', sealed is null, ' ', next_attempt_at - now() between interval '3 s' and interval '6 s') from auth.outbox`); got != "queued 1 f t" {
		t.Errorf("after one attempt: %s", got)
	}
	s.exec(`update auth.outbox set attempts = 8`)
	s.exec(`update auth.outbox set next_attempt_at = now()`)
	s.eventually("a ninth", func() bool {
		return s.one(`select attempts || ' ' || (leased_by is null) from auth.outbox`) == "9 true"
	})
	if got := s.one(`select next_attempt_at - now() between interval '20 min' and interval '26 min' from auth.outbox`); got != "true" {
		t.Errorf("the tenth is due in %s", s.one(`select (next_attempt_at - now())::text from auth.outbox`))
	}
	s.exec(`update auth.outbox set attempts = 11, next_attempt_at = now()`)
	s.drained()
	if got := s.one(`select concat(state, ' ', attempts, ' ', sealed is null, ' ', last_reply) from auth.outbox`); !strings.HasPrefix(got, "dead 12 t ") || !strings.Contains(got, "451 ") || !strings.Contains(got, "greylisted") {
		t.Errorf("at the end: %s", got)
	}
}

// A mail whose code no longer works is not sent, and its secret goes.
func TestMailsThatAreTooLateExpire(t *testing.T) {
	t.Parallel()
	r := startRelay(t)
	r.down()
	s := start(t, mailing(r)...)
	s.post("/otp", map[string]any{"email": "ada@example.com"}, "").want(200)
	s.eventually("an attempt", func() bool {
		return s.one(`select last_reply is not null and leased_by is null from auth.outbox`) == "true"
	})
	s.exec(`update auth.outbox set expires_at = now() - interval '1 second', next_attempt_at = now()`)
	r.up()
	s.drained()
	if got := s.one(`select state || ' ' || (sealed is null) from auth.outbox`); got != "expired true" || len(r.all()) != 0 {
		t.Errorf("%s, %d mails sent", got, len(r.all()))
	}
}

// The claims of a gateway that is gone return after their lease; until then nobody else touches them.
func TestClaimsReturnAfterTheirLease(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t)
	s.exec(`insert into auth.outbox (id, channel, kind, recipient, expires_at, leased_by, attempts, next_attempt_at)
		select gen_random_uuid(), 'email', 'password_changed_notification', replace(n, ' ', '') || '@example.com', now() + interval '1 hour', 'a gateway that is gone', 1,
			now() + n::interval
		from unnest(array['2 s', '1 h']) n`)
	s.eventually("the first lease ends", func() bool { return len(r.all()) == 1 })
	if got := s.one(`select concat(state, ' ', leased_by) from auth.outbox where recipient = '1h@example.com'`); got != "queued a gateway that is gone" {
		t.Errorf("the other claim: %s", got)
	}
	// A report that comes too late is nobody's any more.
	id := s.one(`select id from auth.outbox where state = 'queued'`)
	if got := s.one(`select postern.record_delivery($1::uuid, 'somebody else', 'sent')::text`, id); !strings.Contains(got, `"recorded":false`) && !strings.Contains(got, `"recorded" : false`) {
		t.Errorf("a stranger's report: %s", got)
	}
}

// A gateway that comes back after its lease finds its claim with another one, and leaves it there, whatever it has to report.
func TestALateReportIsNobodysAnyMore(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]error{"sent": nil, "refused for good": &smtp.SMTPError{Code: 550, Message: "late no"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slow, quick := startRelay(t), startRelay(t)
			slowReached, slowRelease := make(chan struct{}, 1), make(chan struct{})
			slow.answering(func(string) error { slowReached <- struct{}{}; <-slowRelease; return late }, nil)
			quickReached, quickRelease := make(chan struct{}, 1), make(chan struct{})
			quick.answering(nil, func() { quickReached <- struct{}{}; <-quickRelease })
			first := start(t, mailing(slow)...)
			first.post("/otp", map[string]any{"email": "ada@example.com"}, "").want(200)
			<-slowReached
			const row = `select concat(state, ' ', attempts, ' ', sealed is not null, ' ', leased_by, ' ', last_reply) from auth.outbox`
			if got := first.one(`select next_attempt_at - now() between interval '80 s' and interval '90 s' from auth.outbox`); got != "true" {
				t.Errorf("the claim does not last for 90 s: %s", first.one(`select (next_attempt_at - now())::text from auth.outbox`))
			}
			before := first.one(row)

			// The lease is over: the second gateway claims the mail, and is still at it when the first one reports.
			second := startOn(t, first.db, mailing(quick)...)
			first.exec(`update auth.outbox set next_attempt_at = now() - interval '1 second'`)
			<-quickReached
			during := first.one(row)
			if !strings.HasPrefix(during, "queued 2 t ") || during == strings.Replace(before, "queued 1", "queued 2", 1) {
				t.Fatalf("first claim %s, second %s", before, during)
			}
			close(slowRelease)
			first.stop() // when it has reported
			if got := second.one(row); got != during {
				t.Errorf("after the late report %s, before %s", got, during)
			}
			close(quickRelease)
			second.drained()
			if got := second.one(row); !strings.HasPrefix(got, "sent 2 f ") || !strings.Contains(got, quick.addr) {
				t.Errorf("at the end %s", got)
			}
			if mails := quick.all(); len(mails) != 1 || late == nil && slow.all()[0].ID != mails[0].ID {
				t.Errorf("%d mails by the second gateway, or other Message-IDs", len(mails))
			}
		})
	}
}

// An SMS whose gateway died before the provider had it is no mail: without a provider it is given up.
func TestOrphanedSMSAreNotMailed(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t)
	s.exec(`insert into auth.outbox (id, channel, kind, recipient, payload, expires_at)
		values (gen_random_uuid(), 'sms', 'confirmation', '491511', '{"channel": "sms"}', now() + interval '1 hour')`)
	s.drained()
	if got := s.one(`select state || ' ' || last_reply from auth.outbox`); !strings.HasPrefix(got, "dead GOTRUE_SMS_PROVIDER is not set") || r.attempts() != 0 {
		t.Errorf("%s, %d mails offered", got, r.attempts())
	}
}

// A gateway that is told to stop finishes the mails under way, records them, and gives the rest of its claim back.
func TestAStoppedGatewayRepeatsNothing(t *testing.T) {
	t.Parallel()
	s, r := startMailing(t)
	reached, release := make(chan struct{}, 100), make(chan struct{})
	r.answering(nil, func() { reached <- struct{}{}; <-release })
	s.enqueue("user", 30)
	<-reached
	stopped := make(chan struct{})
	go func() { defer close(stopped); s.stop() }()
	time.Sleep(300 * time.Millisecond)
	close(release)
	<-stopped
	sent := len(r.all())
	if got := s.one(`select count(*) filter (where state = 'sent') || ' ' || count(*) filter (where leased_by is not null and state = 'queued') from auth.outbox`); got != fmt.Sprintf("%d 0", sent) || sent == 30 {
		t.Errorf("%s after %d mails", got, sent)
	}
	startOn(t, s.db, mailing(r)...)
	s.drained()
	r.once(30)
	if got := s.one(`select max(attempts) from auth.outbox`); got != "1" {
		t.Errorf("%s attempts", got)
	}
}

// built is the command as a program.
func built(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "postern")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "../../cmd/postern").CombinedOutput(); err != nil {
		t.Fatalf("building postern: %v: %s", err, out)
	}
	return path
}

// serving is a gateway in a process of its own.
func serving(t *testing.T, path string, env []string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(path, "serve") //nolint:noctx // the test ends it
	cmd.Env = env
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// A gateway killed with SIGKILL while 1,000 mails are queued, the relay away for a while: nothing is lost, and what comes twice
// was in flight at the kill and has the same Message-ID.
func TestKilledGatewayLosesNothing(t *testing.T) {
	t.Parallel()
	const count = 1000
	s := start(t, mailUnsure) // without a relay: it would send itself
	s.stop()
	r := startRelay(t)
	r.answering(nil, func() { time.Sleep(time.Millisecond) })
	env := environment("http://127.0.0.1:1", s.db.GatewayDSN, append(mailing(r), fmt.Sprintf("PORT=%d", freePort(t)))...)
	s.enqueue("user", count)
	path := built(t)
	victim := serving(t, path, env)
	s.eventually("a third is sent", func() bool { return len(r.all()) > count/3 })
	if err := victim.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait()
	s.eventually("its last statements end", func() bool {
		return s.one(`select count(*) from pg_stat_activity where datname = current_database() and usename = 'postern_gateway'`) == "0"
	})
	before := len(r.all())
	inFlight := s.column(`select recipient from auth.outbox where state = 'queued' and leased_by is not null`)
	if before >= count || len(inFlight) > 20 {
		t.Fatalf("%d mails at the kill, %d in flight", before, len(inFlight))
	}

	survivor := serving(t, path, append(env, fmt.Sprintf("PORT=%d", freePort(t))))
	s.eventually("it goes on", func() bool { return len(r.all()) > before+100 })
	r.down()
	time.Sleep(300 * time.Millisecond)
	r.up()
	// The lease of the dead gateway's claims is over.
	s.exec(`update auth.outbox set next_attempt_at = now() where state = 'queued' and recipient = any ($1)`, inFlight)
	s.dueNow(func() bool { return s.one(`select count(*) from auth.outbox where state = 'queued'`) == "0" })
	if err := survivor.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := survivor.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Error(err)
	}

	ids := map[string][]string{}
	for _, mail := range r.all() {
		ids[mail.To] = append(ids[mail.To], mail.ID)
	}
	twice := 0
	for to, of := range ids {
		if len(of) > 1 {
			twice++
		}
		for _, id := range of {
			if id != of[0] || id == "" {
				t.Errorf("%s got mails with the ids %v", to, of)
			}
		}
	}
	// Four are under way at once: at the kill, and when the relay hangs up on them.
	if len(ids) != count || twice > 8 {
		t.Errorf("%d of %d mails arrived, %d of them twice", len(ids), count, twice)
	}
	if got := s.one(`select count(*) from auth.outbox where state = 'sent' and sealed is null`); got != fmt.Sprint(count) {
		t.Errorf("%s of %d are recorded as sent, without secrets", got, count)
	}
}

// The outcome of a delivery is recorded when the database is back: a mail that was sent before is not sent again.
func TestOutcomesAreRecordedWhenTheDatabaseIsBack(t *testing.T) {
	t.Parallel()
	own, db := startOwn(t, nil)
	r := startRelay(t)
	s := startOn(t, db, mailing(r)...)
	reached, release := make(chan struct{}, 10), make(chan struct{})
	r.answering(nil, func() { reached <- struct{}{}; <-release })
	s.post("/otp", map[string]any{"email": "ada@example.com"}, "").want(http.StatusOK)
	<-reached
	own.stop()
	close(release)
	s.eventually("the relay has it", func() bool { return len(r.all()) == 1 })
	time.Sleep(time.Second)
	own.start()
	s.eventually("it is recorded", func() bool {
		conn, err := s.superuser().Acquire(t.Context())
		if err != nil {
			return false
		}
		defer conn.Release()
		var state string
		return conn.QueryRow(t.Context(), `select state from auth.outbox`).Scan(&state) == nil && state == "sent"
	})
	r.once(1)
}
