// Withpg starts a PostgreSQL server with the settings for tests, runs a command with it, and stops it again:
//
//	withpg -- go test ./...
//	withpg -migrate postern -- pg_prove -d postern tests/sql
//	withpg -dir .cache/db -url-file .cache/db.url
//
// The command finds the server in POSTERN_TEST_DATABASE_URL and in PGHOST, PGPORT and PGUSER. Without a command the server
// stays up until this program is told to stop.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/jackc/pgx/v5"

	"github.com/postern-auth/postern/gateway/localpg"
	"github.com/postern-auth/postern/tests/pgtest"
)

type options struct {
	dir, bin, urlFile string
	migrate           string
	port              int
	command           []string
}

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", "", "keep the data in this `folder` (default: a temporary one, removed at the end)")
	flag.StringVar(&o.bin, "bin", "", "`folder` of the PostgreSQL programs (default: POSTERN_TEST_PG_BIN, else the oldest supported version found)")
	flag.StringVar(&o.migrate, "migrate", "", "create a database with this `name`, unless it exists, and migrate it")
	flag.StringVar(&o.urlFile, "url-file", "", "write the database's URL to this `file` when it is ready, remove it at the end")
	flag.IntVar(&o.port, "port", 0, "TCP `port` (default: a free one)")
	flag.Parse()
	o.command = flag.Args()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := run(ctx, o)
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed) && failed.ExitCode() > 0:
		os.Exit(failed.ExitCode()) // the command has said why
	case err != nil:
		fmt.Fprintln(os.Stderr, "withpg:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.bin == "" {
		if o.bin, err = pgtest.Programs(); err != nil {
			return err
		}
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "postern-withpg-"); err != nil {
			return err
		}
		defer os.RemoveAll(o.dir) //nolint:errcheck // a leftover in the temporary folder is no failure
	}
	cluster, err := localpg.Start(ctx, localpg.Options{Dir: o.dir, Port: o.port, BinDir: o.bin, Settings: pgtest.Settings(o.bin)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()

	dsn := cluster.DSN("postgres", "postgres")
	if o.migrate != "" {
		if dsn, err = prepare(ctx, cluster, o.migrate); err != nil {
			return err
		}
	}
	if o.urlFile != "" {
		if err := os.WriteFile(o.urlFile, []byte(dsn+"\n"), 0o600); err != nil {
			return err
		}
		defer os.Remove(o.urlFile) //nolint:errcheck // gone is gone
	}
	if len(o.command) == 0 {
		fmt.Println(dsn)
		select {
		case <-ctx.Done():
			return nil
		case <-cluster.Exited():
			return errors.New("the server ended by itself")
		}
	}
	return execute(ctx, o.command, cluster)
}

// execute runs the command; when we are told to stop, the command is told first and the server goes after it.
func execute(ctx context.Context, command []string, cluster *localpg.Cluster) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // running it is what this program is for
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(
		os.Environ(),
		"POSTERN_TEST_DATABASE_URL="+cluster.DSN("postgres", "postgres"),
		"PGHOST=127.0.0.1", "PGPORT="+strconv.Itoa(cluster.Port()), "PGUSER=postgres",
	)
	return cmd.Run()
}

// prepare makes a migrated database and returns its URL.
func prepare(ctx context.Context, cluster *localpg.Cluster, name string) (string, error) {
	conn, err := pgx.Connect(ctx, cluster.DSN("postgres", "postgres"))
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing pending
	var exists bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", name).Scan(&exists); err != nil {
		return "", err
	}
	if !exists {
		if _, err := conn.Exec(ctx, "create database "+pgx.Identifier{name}.Sanitize()); err != nil {
			return "", err
		}
	}
	dsn := cluster.DSN("postgres", name)
	return dsn, pgtest.MigrateURL(ctx, dsn)
}
