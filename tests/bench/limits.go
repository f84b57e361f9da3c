package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/postern-auth/postern/gateway/localpg"
)

// measureLimits refreshes without a limit per client, with a key for each client, and with one key shared by all, as behind a
// server that renders pages for everybody.
func measureLimits(ctx context.Context, o options, cluster *localpg.Cluster) error {
	m, err := newMeter(ctx, cluster)
	if err != nil {
		return err
	}
	defer m.conn.Close(ctx) //nolint:errcheck // nothing pending
	const header = "X-Client"
	server, err := startGateway(ctx, o.postern, cluster.DSN("postern_gateway", database),
		"GOTRUE_RATE_LIMIT_HEADER="+header, "GOTRUE_RATE_LIMIT_TOKEN_REFRESH=999999999", "GOTRUE_RATE_LIMIT_ANONYMOUS_USERS=999999999")
	if err != nil {
		return err
	}
	defer server.stop()
	sessions := make([]*session, o.clients)
	for i := range sessions {
		sessions[i] = new(session)
		if err := post(ctx, server.url+"/signup", map[string]string{}, sessions[i]); err != nil {
			return err
		}
	}

	fmt.Printf("\nRefreshes and the limit per client, %d clients:\n", o.clients)
	fmt.Printf("  %-24s %8s %12s %12s %10s %10s\n", "", "a second", "postern µs", "postgres µs", "p50 ms", "p99 ms")
	for _, keys := range []struct {
		name string
		of   func(client int) string // what the header says; nothing is not limited
	}{
		{"no limit", func(int) string { return "" }},
		{"a key for each client", strconv.Itoa},
		{"one key for all", func(int) string { return "shared" }},
	} {
		before, err := m.read(ctx, server)
		if err != nil {
			return err
		}
		took, elapsed, err := repeat(ctx, o, func(ctx context.Context, client int) error {
			body := map[string]string{"refresh_token": sessions[client].Refresh}
			return postWith(ctx, header, keys.of(client), server.url+"/token?grant_type=refresh_token", body, sessions[client])
		})
		if err != nil {
			return fmt.Errorf("%s: %w", keys.name, err)
		}
		after, err := m.read(ctx, server)
		if err != nil {
			return err
		}
		used, count := after.since(before), time.Duration(len(took))
		fmt.Printf("  %-24s %8.0f %12d %12d %10.1f %10.1f\n", keys.name, float64(count)/elapsed.Seconds(),
			(used.server / count).Microseconds(), (used.database / count).Microseconds(),
			milliseconds(took.at(.5)), milliseconds(took.at(.99)))
	}
	return nil
}
