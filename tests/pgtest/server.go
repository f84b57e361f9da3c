package pgtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/postern-auth/postern/gateway/localpg"
)

// Instance is the server that this process's tests share.
type Instance struct {
	url *url.URL // superuser, maintenance database

	mu        sync.Mutex
	templates map[string]template
}

// shared returns the process's server, starting it at the first call.
var shared = sync.OnceValues(startShared)

// Server returns the server that the tests of this process share.
func Server(t testing.TB) *Instance {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatalf("pgtest: no PostgreSQL: %v", err)
	}
	return s
}

// Private starts a server for this test alone, for tests that stop it or change its settings. It may be stopped and,
// with localpg.Start on the same folder and port, started again.
func Private(t testing.TB, settings map[string]string) *localpg.Cluster {
	t.Helper()
	bin, err := Programs()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	dir, err := tempDir()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // a leftover in the temporary folder is no test failure
	merged := Settings(bin)
	maps.Copy(merged, settings)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cluster, err := localpg.Start(ctx, localpg.Options{Dir: dir, BinDir: bin, Settings: merged})
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return cluster
}

// Programs is the folder of the PostgreSQL programs that tests use: POSTERN_TEST_PG_BIN, or the oldest supported
// version found.
func Programs() (string, error) {
	if dir := os.Getenv("POSTERN_TEST_PG_BIN"); dir != "" {
		inst, err := localpg.Inspect(dir)
		return inst.Dir, err
	}
	found := localpg.Installations()
	if len(found) == 0 {
		return localpg.Binaries() // its error says where to look and what to install
	}
	return found[len(found)-1].Dir, nil
}

// Settings are the server parameters for tests: no durability, room for many connections, and statement
// counts where the module for them is installed.
func Settings(binDir string) map[string]string {
	settings := map[string]string{
		"fsync":              "off",
		"synchronous_commit": "off",
		"full_page_writes":   "off",
		"autovacuum":         "off",
		"max_connections":    "300",
		"max_wal_size":       "4GB",
		"shared_buffers":     "128MB",
		"wal_level":          "minimal",
		"max_wal_senders":    "0",
	}
	if localpg.HasLibrary(binDir, "pg_stat_statements") {
		settings["shared_preload_libraries"] = "pg_stat_statements"
		settings["pg_stat_statements.max"] = "50000" // more than all databases of a run need: none that a test counts is thrown out
	}
	return settings
}

// startShared takes the server it is given or starts one that lives as long as this process.
func startShared() (*Instance, error) {
	dsn := os.Getenv("POSTERN_TEST_DATABASE_URL")
	if dsn == "" {
		var err error
		if dsn, err = startOwn(); err != nil {
			return nil, err
		}
	}
	u, err := url.Parse(dsn)
	if err != nil || !strings.HasPrefix(u.Scheme, "postgres") || u.User == nil {
		return nil, errors.New("POSTERN_TEST_DATABASE_URL must be a URL such as postgres://postgres@127.0.0.1:15432/postgres")
	}
	s := &Instance{url: u, templates: map[string]template{}}
	var super string
	if err := s.query("select current_setting('is_superuser')", &super); err != nil {
		return nil, err
	}
	if super != "on" {
		return nil, fmt.Errorf("%s is not a superuser, and tests need one", u.User.Username())
	}
	return s, nil
}

func startOwn() (string, error) {
	bin, err := Programs()
	if err != nil {
		return "", err
	}
	dir, err := tempDir()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cluster, err := localpg.Start(ctx, localpg.Options{Dir: dir, BinDir: bin, Settings: Settings(bin)})
	if err != nil {
		_ = os.RemoveAll(dir) // the first error is the one to report
		return "", err
	}
	if err := removeAtExit(dir, cluster.PID()); err != nil {
		return "", errors.Join(err, cluster.Stop())
	}
	return cluster.DSN("postgres", "postgres"), nil
}

// removeAtExit leaves a shell behind that removes dir once this process and its server are gone: there is no hook for
// the end of a test process, least of all for one that is killed. The shell waits for the end of its
// input, which this process alone holds open.
func removeAtExit(dir string, serverPID int) error {
	// The count is for containers whose first process never collects its orphans: there the server stays visible.
	const script = `read -r _; n=0; while kill -0 "$1" 2>/dev/null && [ $n -lt 300 ]; do n=$((n+1)); sleep 0.1; done; rm -rf "$2"`
	cmd := exec.Command("/bin/sh", "-c", script, "sh", strconv.Itoa(serverPID), dir) //nolint:gosec // our own folder
	cmd.Dir = "/"
	if _, err := cmd.StdinPipe(); err != nil {
		return err
	}
	outOfGroup(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	// Waiting also keeps the pipe from being collected, and thereby closed, early.
	go func() { _ = cmd.Wait() }()
	return nil
}

// tempDir makes a folder that user postgres can enter when we are root, which TMPDIR need not be.
func tempDir() (string, error) {
	dir, err := os.MkdirTemp("", "postern-pgtest-")
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

// exec runs one statement on the maintenance database.
func (s *Instance) exec(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url.String())
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing pending
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

func (s *Instance) query(statement string, into ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url.String())
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing pending
	return conn.QueryRow(ctx, statement).Scan(into...)
}

// encodeQuery writes a query string with %20 for spaces.
func encodeQuery(q url.Values) string {
	return strings.ReplaceAll(q.Encode(), "+", "%20")
}
