package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/localpg"
	"github.com/postern-auth/postern/gateway/seal"
)

// measureMails measures sign-ins by a mailed code, requests for recovery, and how fast the outbox drains.
func measureMails(ctx context.Context, o options, cluster *localpg.Cluster) error {
	box, err := startRelay(ctx)
	if err != nil {
		return err
	}
	defer box.stop()
	m, err := newMeter(ctx, cluster)
	if err != nil {
		return err
	}
	defer m.conn.Close(ctx) //nolint:errcheck // nothing pending
	server, err := startGateway(ctx, o.postern, cluster.DSN("postern_gateway", database), box.environment()...)
	if err != nil {
		return err
	}
	defer server.stop()

	fmt.Printf("\nMails, to an SMTP server on this machine, %d clients; each mail's sending is counted in:\n", o.clients)
	fmt.Printf("  %-24s %8s %12s %12s %10s %10s %12s\n", "", "a second", "postern µs", "postgres µs", "p50 ms", "p99 ms", "statements")
	for _, scenario := range []struct {
		name string
		run  func(context.Context, *gatewayProcess, string, <-chan string) error
	}{{"otp-verify", signInByCode}, {"recover", recoverAccount}} {
		if err := measureScenario(ctx, o, m, server, box, scenario.name, scenario.run); err != nil {
			return fmt.Errorf("%s: %w", scenario.name, err)
		}
	}
	server.stop()
	return measureDraining(ctx, o, cluster, m, box)
}

func measureScenario(ctx context.Context, o options, m *meter, server *gatewayProcess, box *relay, name string,
	run func(context.Context, *gatewayProcess, string, <-chan string) error,
) error {
	// An account may guess 30 codes in five minutes, the right ones included.
	const accounts = 1000
	_, err := m.conn.Exec(ctx, `select postern.create_user(email => format('%s-%s-%s@example.com', $1::text, c, n))
		from generate_series(0, $2::int - 1) c, generate_series(0, $3::int - 1) n`, name, o.clients, accounts/o.clients)
	if err != nil {
		return err
	}
	turns := make([]int, o.clients)
	before, err := m.read(ctx, server)
	if err != nil {
		return err
	}
	took, elapsed, err := repeat(ctx, o, func(ctx context.Context, client int) error {
		address := fmt.Sprintf("%s-%d-%d@example.com", name, client, turns[client]%(accounts/o.clients))
		turns[client]++
		return run(ctx, server, address, box.waiting(address))
	})
	if err != nil {
		return err
	}
	if err := m.drained(ctx); err != nil {
		return err
	}
	after, err := m.read(ctx, server)
	if err != nil {
		return err
	}
	used, count := after.since(before), time.Duration(len(took))
	fmt.Printf("  %-24s %8.0f %12d %12d %10.1f %10.1f %12.2f\n", name, float64(count)/elapsed.Seconds(),
		(used.server / count).Microseconds(), (used.database / count).Microseconds(),
		milliseconds(took.at(.5)), milliseconds(took.at(.99)), float64(used.statements)/float64(count))
	return nil
}

// repeat has every client do something over and over, and returns how long each time took that went well.
func repeat(ctx context.Context, o options, do func(context.Context, int) error) (took samples, elapsed time.Duration, err error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	var failed int
	begun := time.Now()
	for client := range o.clients {
		all.Go(func() {
			for time.Since(begun) < o.time {
				start := time.Now()
				problem := do(ctx, client)
				mu.Lock()
				if problem == nil {
					took = append(took, time.Since(start))
				} else {
					failed, err = failed+1, problem
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	elapsed = time.Since(begun)
	switch {
	case len(took) == 0:
		return nil, elapsed, err
	case failed > 0:
		fmt.Printf("  %d errors beside %d that went well, the last: %v\n", failed, len(took), err)
	}
	return took, elapsed, nil
}

// signInByCode asks for a code, waits for its mail and signs in with it.
func signInByCode(ctx context.Context, server *gatewayProcess, address string, codes <-chan string) error {
	if err := post(ctx, server.url+"/otp", map[string]any{"email": address, "create_user": false}, nil); err != nil {
		return err
	}
	select {
	case code := <-codes:
		return post(ctx, server.url+"/verify", map[string]string{"type": "email", "email": address, "token": code}, nil)
	case <-time.After(patience):
		return fmt.Errorf("no mail in %s", patience)
	}
}

// recoverAccount asks for a mail of recovery. Nobody waits for the mail.
func recoverAccount(ctx context.Context, server *gatewayProcess, address string, _ <-chan string) error {
	return post(ctx, server.url+"/recover", map[string]string{"email": address}, nil)
}

// drained waits until the outbox has sent everything.
func (m *meter) drained(ctx context.Context) error {
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var waiting bool
		err := m.conn.QueryRow(ctx, "select exists (select from auth.outbox where state = 'queued')").Scan(&waiting)
		if err != nil || !waiting {
			return err
		}
	}
	return fmt.Errorf("mails are still queued")
}

// measureDraining queues mails that become due at one moment, and lets one gateway send them, then two.
func measureDraining(ctx context.Context, o options, cluster *localpg.Cluster, m *meter, box *relay) error {
	count := 5000
	if o.quick {
		count = 1000
	}
	fmt.Printf("\nThe outbox, %d mails that are due at once:\n", count)
	for _, gateways := range []int{1, 2} {
		var running []*gatewayProcess
		stop := func() {
			for _, g := range running {
				g.stop()
			}
		}
		for range gateways {
			g, err := startGateway(ctx, o.postern, cluster.DSN("postern_gateway", database), box.environment()...)
			if err != nil {
				stop()
				return err
			}
			running = append(running, g)
		}
		err := drain(ctx, m, box, running, count)
		stop()
		if err != nil {
			return err
		}
	}
	return nil
}

func drain(ctx context.Context, m *meter, box *relay, running []*gatewayProcess, count int) error {
	if err := enqueue(ctx, m.conn, count); err != nil {
		return err
	}
	box.reset()
	before, err := m.read(ctx, running...)
	if err != nil {
		return err
	}
	if _, err = m.conn.Exec(ctx, "update auth.outbox set next_attempt_at = now() where state = 'queued'"); err != nil {
		return err
	}
	if err := m.drained(ctx); err != nil {
		return err
	}
	after, err := m.read(ctx, running...)
	if err != nil {
		return err
	}
	taken, elapsed := box.count()
	if taken != count {
		return fmt.Errorf("%d mails were queued, %d arrived", count, taken)
	}
	used := after.since(before)
	fmt.Printf("  %d gateway(s): %8.0f mails a second, %d µs of the gateways and %d µs of the database for each\n", len(running),
		float64(count)/elapsed.Seconds(), used.server.Microseconds()/int64(count), used.database.Microseconds()/int64(count))
	return nil
}

// enqueue writes mails as a gateway with the same keys would have them written, due in an hour.
func enqueue(ctx context.Context, conn *pgx.Conn, count int) error {
	keys, err := seal.New(nil, config.Secret(jwtSecret))
	if err != nil {
		return err
	}
	secret, err := json.Marshal(map[string]string{"code": "314159", "link": strings.Repeat("ab", 28)})
	if err != nil {
		return err
	}
	ids, sealed := make([]string, count), make([][]byte, count)
	for i := range count {
		ids[i] = fmt.Sprintf("%08x-0000-4000-8000-%012x", i, time.Now().UnixNano()&(1<<48-1))
		sealed[i] = keys.Seal(ids[i], secret)
	}
	_, err = conn.Exec(ctx, `insert into auth.outbox (id, channel, kind, recipient, payload, sealed, next_attempt_at, expires_at)
		select i.id, 'email', 'recovery', i.n || '@example.com',
			'{"link_type": "recovery", "email": "x@example.com", "redirect_to": "https://app.example.com"}', i.sealed,
			now() + interval '1 hour', now() + interval '2 hours'
		from unnest($1::uuid[], $2::bytea[]) with ordinality i (id, sealed, n)`, ids, sealed)
	return err
}
