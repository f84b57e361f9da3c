// Bench measures a gateway on a private PostgreSQL: cost and latency of requests with the load generator, refreshes at a
// fixed rate with and without a storm of logins, memory, the time to the first answer; sign-ins by mail, the outbox, and
// limits. `make bench` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postern-auth/postern/gateway/localpg"
	"github.com/postern-auth/postern/tests/pgtest"
)

type options struct {
	load, postern string
	only          string // a part, all of them when empty
	quick         bool
	clients       int
	time          time.Duration // of each scenario, in each round
	rounds        int
	rate          float64 // refreshes a second in the comparison of quiet and storm
	starts        int
}

func main() {
	o := options{clients: 16, time: 3 * time.Second, rounds: 4, starts: 15}
	flag.StringVar(&o.load, "load", "../shared/load", "`folder` of the load generator")
	flag.StringVar(&o.postern, "postern", "bin/postern", "the `program` to measure")
	flag.StringVar(&o.only, "only", "", "one `part`: requests, mails or limits")
	flag.Float64Var(&o.rate, "rate", 100, "refreshes a `second` in the comparison of quiet and storm")
	flag.BoolVar(&o.quick, "quick", false, "shorter runs")
	flag.Parse()
	if o.quick {
		o.time, o.rounds, o.starts = 2*time.Second, 1, 5
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // exitAfterDefer: run has stopped everything
	}
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "postern-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a leftover in the temporary folder is no failure
	// User postgres passes through when we are root.
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // see above
		return err
	}
	generator := filepath.Join(dir, "load")
	build := exec.CommandContext(ctx, "go", "build", "-C", o.load, "-o", generator, ".") //nolint:gosec // our own arguments
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building the load generator: %w", err)
	}
	// The oldest supported version, as in the tests.
	programs, err := pgtest.Programs()
	if err != nil {
		return err
	}
	cluster, err := localpg.Start(ctx, localpg.Options{Dir: filepath.Join(dir, "postgres"), BinDir: programs, Settings: map[string]string{
		"shared_preload_libraries": "pg_stat_statements",
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	if err := prepare(ctx, cluster, o.postern); err != nil {
		return err
	}
	version, err := exec.CommandContext(ctx, filepath.Join(cluster.BinDir(), "postgres"), "--version").Output() //nolint:gosec // a server's program
	if err != nil {
		return err
	}
	fmt.Printf("%s%d clients, %d rounds, %s per scenario, pool of default size\n\n", version, o.clients, o.rounds, o.time)
	for _, part := range []struct {
		name string
		run  func() error
	}{
		{"requests", func() error { return measure(ctx, o, cluster, generator) }},
		{"mails", func() error { return measureMails(ctx, o, cluster) }},
		{"limits", func() error { return measureLimits(ctx, o, cluster) }},
	} {
		if o.only != "" && o.only != part.name {
			continue
		}
		if err := part.run(); err != nil {
			return err
		}
	}
	return nil
}

const database = "bench"

// prepare makes the database as an operator would.
func prepare(ctx context.Context, cluster *localpg.Cluster, postern string) error {
	if err := statement(ctx, cluster.DSN("postgres", "postgres"), "create database "+database); err != nil {
		return err
	}
	migrate := exec.CommandContext(ctx, postern, "migrate") //nolint:gosec // the program under test
	migrate.Env = []string{"DATABASE_URL=" + cluster.DSN("postgres", database)}
	if out, err := migrate.CombinedOutput(); err != nil {
		return fmt.Errorf("postern migrate: %w\n%s", err, out)
	}
	return statement(ctx, cluster.DSN("postgres", database), "create extension pg_stat_statements")
}

func statement(ctx context.Context, dsn, sql string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing pending
	_, err = conn.Exec(ctx, sql)
	return err
}

// measure starts gateways one after the other, so that none is measured with the memory of an earlier run.
func measure(ctx context.Context, o options, cluster *localpg.Cluster, generator string) error {
	dsn := cluster.DSN("postern_gateway", database)
	starts, err := timeStarts(ctx, o, dsn)
	if err != nil {
		return err
	}
	server, err := startGateway(ctx, o.postern, dsn)
	if err != nil {
		return err
	}
	defer server.stop()
	time.Sleep(time.Second)
	idle := server.memory("VmRSS")

	var rounds [][]row
	for range o.rounds {
		rows, err := runGenerator(ctx, o, generator, server, cluster)
		if err != nil {
			return err
		}
		rounds = append(rounds, rows)
	}
	quiet, storm, err := compareWithStorm(ctx, o, server)
	if err != nil {
		return err
	}
	report(o, rounds, quiet, storm, starts, idle, server.memory("VmHWM"))
	return nil
}

// runGenerator runs the load generator, which prints its table, and returns the rows of it.
func runGenerator(ctx context.Context, o options, generator string, server *gatewayProcess, cluster *localpg.Cluster) ([]row, error) {
	cmd := exec.CommandContext( //nolint:gosec // our own program
		ctx, generator, "-url", server.url, "-c", strconv.Itoa(o.clients), "-d", o.time.String(),
		"-only", "health,user,refresh,anonymous,login", "-storm", "16", "-pid", strconv.Itoa(server.pid()),
		"-pgpid", strconv.Itoa(cluster.PID()), "-pg", cluster.DSN("postgres", database))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	fmt.Println(string(out))
	if err != nil {
		return nil, fmt.Errorf("the load generator: %w", err)
	}
	return parseTable(string(out)), nil
}
