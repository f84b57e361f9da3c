package localpg_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postern-auth/postern/gateway/localpg"
)

// childDir, when set, makes this test program a parent that starts a server and waits to be killed.
const childDir = "LOCALPG_TEST_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		c, err := localpg.Start(context.Background(), localpg.Options{Dir: dir})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(c.PID(), c.Port())
		select {}
	}
	os.Exit(m.Run())
}

func TestDataSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	options := localpg.Options{Dir: dir, Settings: map[string]string{"fsync": "off", "work_mem": "5MB"}}

	first := start(t, options)
	if port := first.Port(); port >= 32768 {
		t.Errorf("port %d is in the range the kernel hands out to clients", port)
	}
	query(t, first.DSN("postgres", "postgres"), "create table kept as select 42 as n")
	if got := query(t, first.DSN("postgres", "postgres"), "show work_mem"); got != "5MB" {
		t.Errorf("work_mem = %s, the setting was not passed on", got)
	}
	stop(t, first)
	if err := first.Stop(); err != nil {
		t.Errorf("stopping twice: %v", err)
	}

	second := start(t, options)
	if got := query(t, second.DSN("postgres", "postgres"), "select n::text from kept"); got != "42" {
		t.Errorf("kept = %s", got)
	}
	if second.Port() != first.Port() {
		t.Errorf("port changed from %d to %d, although it was free", first.Port(), second.Port())
	}
}

func TestAServerThatEndedByItselfIsStartedAgain(t *testing.T) {
	t.Parallel()
	options := localpg.Options{Dir: folder(t)}
	first := start(t, options)
	process, err := os.FindProcess(first.PID())
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	<-first.Exited()
	start(t, options)
}

func TestPasswordIsAskedFor(t *testing.T) {
	t.Parallel()
	c := start(t, localpg.Options{Dir: folder(t), Password: "s3cret/with?signs"})
	query(t, c.DSN("postgres", "postgres"), "select 'in'")
	u, err := url.Parse(c.DSN("postgres", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("postgres", "wrong")
	if conn, err := pgx.Connect(t.Context(), u.String()); err == nil {
		_ = conn.Close(t.Context())
		t.Error("a wrong password was let in")
	}
	for name := range contents(t, filepath.Dir(dataOf(t, c))) {
		if strings.Contains(name, "password") {
			t.Errorf("%s was left behind", name)
		}
	}
}

func TestASecondServerOnTheSameDataIsAnError(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	c := start(t, localpg.Options{Dir: dir})
	_, err := localpg.Start(t.Context(), localpg.Options{Dir: dir})
	var running *localpg.RunningError
	if !errors.As(err, &running) {
		t.Fatalf("got %v, want a RunningError", err)
	}
	if running.PID != c.PID() || running.Port != c.Port() {
		t.Errorf("%v does not name process %d, port %d", running, c.PID(), c.Port())
	}
}

// Of two first starts one makes the data, and the other says so.
func TestTwoFirstStartsAtOnce(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	ends := make(chan error, 2)
	for range 2 {
		go func() {
			c, err := localpg.Start(t.Context(), localpg.Options{Dir: dir})
			if err == nil {
				t.Cleanup(func() { stop(t, c) })
			}
			ends <- err
		}()
	}
	first, second := <-ends, <-ends
	if first == nil {
		first = second
	} else if second != nil {
		t.Fatalf("neither started: %v; %v", first, second)
	}
	if _, ok := errors.AsType[*localpg.RunningError](first); !ok {
		t.Errorf("got %v, want a RunningError", first)
	}
}

func TestATakenPortIsAnErrorThatQuotesTheLog(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	port := l.Addr().(*net.TCPAddr).Port
	_, err = localpg.Start(t.Context(), localpg.Options{Dir: folder(t), Port: port})
	if err == nil || !strings.Contains(err.Error(), "could not bind") {
		t.Errorf("got %v", err)
	}
}

func TestAStalePIDFileDoesNotStopTheServer(t *testing.T) {
	t.Parallel()
	for _, stale := range []struct{ name, pid string }{
		{"dead process", "4194303"},
		{"recycled by another program", strconv.Itoa(os.Getpid())},
		{"not a number", "x"},
	} {
		t.Run(stale.name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			stop(t, start(t, localpg.Options{Dir: dir}))
			path := filepath.Join(dir, "data", "postmaster.pid")
			if err := os.WriteFile(path, []byte(stale.pid+"\n"+dir+"/data\n1700000000\n5432\n\n127.0.0.1\n\nready\n"), 0o666); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, 0o666); err != nil {
				t.Fatal(err)
			}
			start(t, localpg.Options{Dir: dir})
		})
	}
}

func TestTheServerEndsWithItsParent(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), childDir+"="+dir)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid, port int
	if _, err := fmt.Fscan(out, &pid, &port); err != nil {
		t.Fatalf("the child did not say what it started: %v", err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // killed: always an error

	// At once, while the old one may still be going down.
	c := start(t, localpg.Options{Dir: dir})
	if c.PID() == pid {
		t.Error("the same process?")
	}
}

func TestAClosedFolderIsNamed(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root starts the server as another user")
	}
	closed := filepath.Join(folder(t), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := localpg.Start(t.Context(), localpg.Options{Dir: filepath.Join(closed, "inside", "db")})
	var unreachable *localpg.UnreachableError
	if !errors.As(err, &unreachable) {
		t.Fatalf("got %v, want an UnreachableError", err)
	}
	if unreachable.Blocked != closed {
		t.Errorf("blamed %s, want %s", unreachable.Blocked, closed)
	}
}

func TestAnInterruptedInitdbIsDoneAgain(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	if err := os.MkdirAll(filepath.Join(dir, "data.new", "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	start(t, localpg.Options{Dir: dir})
}

func TestEveryInstallationStarts(t *testing.T) {
	t.Parallel()
	for _, inst := range localpg.Installations() {
		t.Run(inst.Version, func(t *testing.T) {
			t.Parallel()
			settings := map[string]string{}
			if localpg.HasLibrary(inst.Dir, "pg_stat_statements") {
				settings["shared_preload_libraries"] = "pg_stat_statements"
			}
			c := start(t, localpg.Options{Dir: folder(t), BinDir: inst.Dir, Settings: settings})
			got := query(t, c.DSN("postgres", "postgres"), "select current_setting('server_version_num')::int / 10000 || ''")
			if got != strconv.Itoa(inst.Major) {
				t.Errorf("started version %s, want %d", got, inst.Major)
			}
		})
	}
}

// folder is a temporary folder that user postgres can enter; t.TempDir's parents are closed to others.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "localpg-test-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func start(t *testing.T, o localpg.Options) *localpg.Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := localpg.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, c) })
	return c
}

func stop(t *testing.T, c *localpg.Cluster) {
	t.Helper()
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	select {
	case <-c.Exited():
	default:
		t.Error("Stop returned before the server was gone")
	}
}

func query(t *testing.T, dsn, statement string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // nothing pending
	rows, err := conn.Query(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	answer := ""
	for rows.Next() && len(rows.FieldDescriptions()) > 0 {
		if err := rows.Scan(&answer); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return answer
}

func dataOf(t *testing.T, c *localpg.Cluster) string {
	t.Helper()
	return query(t, c.DSN("postgres", "postgres"), "show data_directory")
}

func contents(t *testing.T, dir string) map[string]bool {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name()] = true
	}
	return names
}
