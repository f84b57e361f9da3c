// Package localpg runs a private PostgreSQL server as a child of this process, for development and
// tests: its own data folder, loopback only, gone when this process ends. It works for root, as user postgres,
// and for ordinary users.
package localpg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/postern-auth/postern/gateway/config"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 20 * time.Second
	maxLogSize   = 10 << 20
)

// Options say what kind of server to start.
type Options struct {
	// Dir is the cluster's folder. It is made when missing; the data in it survives restarts.
	Dir string
	// Port is the TCP port on 127.0.0.1; 0 takes the last one again or else a free one below 32768
	// (above, the kernel hands ports out to clients).
	Port int
	// Password is the superuser's; empty lets everybody on this machine in. It is set when the data are made and
	// must stay the same afterwards.
	Password config.Secret
	// Settings are server parameters, such as fsync=off.
	Settings map[string]string
	// BinDir is the folder with the programs; empty takes those of the version that made the data, or the newest.
	BinDir string
}

// Cluster is a running server.
type Cluster struct {
	dir      string
	binDir   string
	port     int
	password config.Secret
	cmd      *exec.Cmd
	exited   chan struct{} // closed when the process has ended
	gone     chan struct{} // closed when its folder is free as well
	stop     sync.Once
}

// Start brings the server up, making its data on first use, and returns when it accepts connections. It fails with a
// *RunningError when another process runs on the same data, with an *UnreachableError when root asks for
// a folder that user postgres may not enter.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	owner, err := serverUser()
	if err != nil {
		return nil, err
	}
	if err := makeDir(dir, owner); err != nil {
		return nil, err
	}
	release, err := lock(filepath.Join(dir, "lock"))
	if errors.Is(err, syscall.EWOULDBLOCK) {
		p, _ := readPIDFile(filepath.Join(dir, "data")) //nolint:errcheck // there is none before the server starts
		return nil, &RunningError{Dir: dir, PID: p.pid, Port: p.port}
	}
	if err != nil {
		return nil, err
	}
	c, err := startIn(ctx, dir, o, owner)
	if err != nil {
		release()
		return nil, err
	}
	go func() {
		<-c.exited
		release()
		close(c.gone)
	}()
	return c, nil
}

// startIn is Start in a folder that is ours.
func startIn(ctx context.Context, dir string, o Options, owner *account) (*Cluster, error) {
	data := filepath.Join(dir, "data")
	bin, err := programs(o.BinDir, data)
	if err != nil {
		return nil, err
	}
	if err := settle(ctx, dir, data); err != nil {
		return nil, err
	}
	if err := initialise(ctx, bin, dir, o.Password, owner); err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		c := &Cluster{dir: dir, binDir: bin, port: o.Port, password: o.Password, exited: make(chan struct{}), gone: make(chan struct{})}
		if c.port == 0 {
			c.port = freePort(dir, attempt == 1)
		}
		err := c.launch(ctx, o.Settings, owner)
		if err == nil {
			if err := c.rememberPort(); err != nil {
				return nil, errors.Join(err, c.end())
			}
			return c, nil
		}
		// A port that was free a moment ago may be taken now, and backends of a server that was killed take
		// a moment to notice: both are worth another try, nothing else is.
		busy := strings.Contains(err.Error(), "could not bind") && o.Port == 0
		orphans := strings.Contains(err.Error(), "still in use")
		if attempt == 10 || ctx.Err() != nil || !busy && !orphans {
			return nil, err
		}
		if orphans {
			time.Sleep(200 * time.Millisecond)
		}
	}
}

// Stop shuts the server down, cutting off its clients, and returns when it is gone. Calling it again does nothing.
func (c *Cluster) Stop() error {
	err := c.end()
	<-c.gone
	return err
}

// end is Stop without the folder.
func (c *Cluster) end() error {
	var err error
	c.stop.Do(func() {
		// os.Interrupt is PostgreSQL's "fast shutdown". An error means that it is gone already.
		_ = c.cmd.Process.Signal(os.Interrupt)
		select {
		case <-c.exited:
		case <-time.After(stopTimeout):
			err = fmt.Errorf("PostgreSQL (process %d) did not stop within %s and was killed", c.PID(), stopTimeout)
			_ = c.cmd.Process.Kill()
			<-c.exited
		}
	})
	return err
}

// Exited is closed when the server is gone, for whatever reason.
func (c *Cluster) Exited() <-chan struct{} { return c.gone }

// PID is the server's process id.
func (c *Cluster) PID() int { return c.cmd.Process.Pid }

// Port is the TCP port on 127.0.0.1.
func (c *Cluster) Port() int { return c.port }

// BinDir is the folder of the programs in use.
func (c *Cluster) BinDir() string { return c.binDir }

// DSN is the connection URL for a user and a database. It carries the password for user postgres only: other roles'
// passwords are their makers' business.
func (c *Cluster) DSN(user, database string) string {
	u := url.URL{
		Scheme:   "postgres",
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)),
		User:     url.User(user),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	if user == "postgres" && c.password != "" {
		u.User = url.UserPassword(user, c.password.Reveal())
	}
	return u.String()
}

// launch starts the server and waits until it is ready.
func (c *Cluster) launch(ctx context.Context, settings map[string]string, owner *account) error {
	logs, offset, err := openLog(filepath.Join(c.dir, "server.log"))
	if err != nil {
		return err
	}
	data := filepath.Join(c.dir, "data")
	// No unix socket: its path would be too long in a deep folder.
	args := []string{"-D", data, "-p", strconv.Itoa(c.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="}
	for _, name := range sortedKeys(settings) {
		args = append(args, "-c", name+"="+settings[name])
	}
	c.cmd = exec.Command(filepath.Join(c.binDir, "postgres"), args...) //nolint:gosec // our own programs and settings
	c.cmd.Dir, c.cmd.Stdout, c.cmd.Stderr = c.dir, logs, logs
	isolate(c.cmd, owner)
	started := make(chan error)
	go func() {
		// The signal for the parent's death is sent when the *thread* that forked ends, so that thread
		// is kept for as long as the server lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			_ = c.cmd.Wait()
		}
		_ = logs.Close()
		close(c.exited)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting PostgreSQL: %w", err)
	}
	return c.await(ctx, data, offset)
}

// await returns when the server says it is ready, the way pg_ctl waits.
func (c *Cluster) await(ctx context.Context, data string, logOffset int64) error {
	for {
		if p, err := readPIDFile(data); err == nil && p.pid == c.PID() && p.status == "ready" {
			return nil
		}
		select {
		case <-c.exited:
			return fmt.Errorf("PostgreSQL did not start, its log says:\n%s", logSince(filepath.Join(c.dir, "server.log"), logOffset))
		default:
		}
		if err := pause(ctx); err != nil {
			stopErr := c.end()
			return errors.Join(fmt.Errorf("PostgreSQL was not ready in time: %w", err), stopErr)
		}
	}
}

// freePort picks a port nobody listens on: the one used last, so that URLs stay good, or a random one.
func freePort(dir string, again bool) int {
	if again {
		if body, err := os.ReadFile(filepath.Join(dir, "port")); err == nil {
			if port, err := strconv.Atoi(strings.TrimSpace(string(body))); err == nil && isFree(port) {
				return port
			}
		}
	}
	for range 100 {
		port := 20000 + rand.IntN(12000) //nolint:gosec // any port will do
		if isFree(port) {
			return port
		}
	}
	return 5432 // everything taken: let the server say so
}

func isFree(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

func (c *Cluster) rememberPort() error {
	return os.WriteFile(filepath.Join(c.dir, "port"), []byte(strconv.Itoa(c.port)+"\n"), 0o600)
}

// openLog opens the server's log for appending and returns where this start's part begins.
func openLog(path string) (*os.File, int64, error) {
	if info, err := os.Stat(path); err == nil && info.Size() > maxLogSize {
		if err := os.Truncate(path, 0); err != nil {
			return nil, 0, err
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, 0, err
	}
	offset, err := f.Seek(0, io.SeekEnd)
	return f, offset, err
}

func logSince(path string, offset int64) string {
	body, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	text := strings.TrimSpace(string(body[min(offset, int64(len(body))):]))
	return cmp.Or(text, "(nothing)")
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
