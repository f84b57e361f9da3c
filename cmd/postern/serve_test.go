package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postern-auth/postern/tests/pgtest"
)

const testSecret = "a-shared-secret-for-tests-of-more-than-32-characters"

// gatewayEnvironment is the least that a gateway needs, with lines NAME=value on top; -NAME removes one.
func gatewayEnvironment(dsn string, more ...string) []string {
	env := []string{
		"DATABASE_URL=" + dsn, "GOTRUE_JWT_SECRET=" + testSecret, "GOTRUE_SITE_URL=https://app.example.com",
		"API_EXTERNAL_URL=https://auth.example.com", "GOTRUE_API_HOST=127.0.0.1", "PORT=0", "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true",
	}
	for _, line := range more {
		if name, ok := strings.CutPrefix(line, "-"); ok {
			env = slices.DeleteFunc(env, func(set string) bool { return strings.HasPrefix(set, name+"=") })
			continue
		}
		env = append(env, line)
	}
	return env
}

func TestMistakesInTheEnvironmentAreOneLineEach(t *testing.T) {
	t.Parallel()
	dsn := pgtest.New(t).GatewayDSN
	for name, c := range map[string]struct {
		line string
		want []string
	}{
		"no database":           {"-DATABASE_URL", []string{"DATABASE_URL"}},
		"no database URL":       {"DATABASE_URL=not a url", []string{"DATABASE_URL"}},
		"another database":      {"DATABASE_URL=mysql://root:hunter2@127.0.0.1/x", []string{"DATABASE_URL"}},
		"no secret":             {"-GOTRUE_JWT_SECRET", []string{"GOTRUE_JWT_SECRET"}},
		"empty secret":          {"GOTRUE_JWT_SECRET=", []string{"GOTRUE_JWT_SECRET"}},
		"keys that are no keys": {"GOTRUE_JWT_KEYS=hunter2", []string{"GOTRUE_JWT_KEYS"}},
		"no signing key":        {`GOTRUE_JWT_KEYS=[{"kty":"oct","alg":"HS256","k":"aHVudGVyMg","key_ops":["verify"]}]`, []string{"GOTRUE_JWT_KEYS", "no signing key found"}},
		"no site":               {"-GOTRUE_SITE_URL", []string{"GOTRUE_SITE_URL"}},
		"no address":            {"-API_EXTERNAL_URL", []string{"API_EXTERNAL_URL"}},
		"address elsewhere":     {"GOTRUE_API_HOST=192.0.2.1", []string{"GOTRUE_API_HOST"}},
		"host that is none":     {"GOTRUE_API_HOST=no such host", []string{"GOTRUE_API_HOST"}},
		"another schema":        {"DB_NAMESPACE=other", []string{"DB_NAMESPACE"}},
		"port beyond":           {"PORT=65536", []string{"PORT"}},
		"number that is none":   {"GOTRUE_PASSWORD_MIN_LENGTH=six", []string{"GOTRUE_PASSWORD_MIN_LENGTH"}},
		"empty boolean":         {"GOTRUE_DISABLE_SIGNUP=", []string{"GOTRUE_DISABLE_SIGNUP"}},
		"negative time":         {"GOTRUE_SESSIONS_TIMEBOX=-1h", []string{"GOTRUE_SESSIONS_TIMEBOX"}},
		"unknown algorithm":     {"GOTRUE_SECURITY_REFRESH_TOKEN_ALGORITHM_VERSION=3", []string{"GOTRUE_SECURITY_REFRESH_TOKEN_ALGORITHM_VERSION"}},
		"broken pattern":        {"GOTRUE_URI_ALLOW_LIST=https://[", []string{"GOTRUE_URI_ALLOW_LIST"}},
		"hook without a scheme": {"GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_URI=public.claims", []string{"GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_URI"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := startUp(t, gatewayEnvironment(dsn, c.line))
			o.failedWith(t, c.want...)
			if o.err != nil && strings.Contains(o.err.Error(), "hunter2") {
				t.Errorf("the error shows a secret: %v", o.err)
			}
		})
	}
}

// startUp runs serve, which is expected to fail soon.
func startUp(t *testing.T, environ []string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var logs bytes.Buffer
	err := serveGateway(ctx, environ, &logs, serving{ready: func(addr string) { t.Errorf("it serves at %s", addr); cancel() }})
	return outcome{"", logs.String(), err}
}

func TestSeveralMistakesAreSeveralLines(t *testing.T) {
	t.Parallel()
	o := startUp(t, []string{"GOTRUE_JWT_EXP=soon", "PORT=-1"})
	if o.err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(o.err.Error(), "\n")
	for _, name := range []string{"GOTRUE_JWT_EXP", "PORT", "DATABASE_URL", "GOTRUE_JWT_SECRET", "GOTRUE_SITE_URL", "API_EXTERNAL_URL"} {
		if count := len(slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return !strings.HasPrefix(line, name) })); count != 1 {
			t.Errorf("%d lines begin with %s:\n%v", count, name, o.err)
		}
	}
}

func TestDatabasesThatDoNotDoAreOneLine(t *testing.T) {
	t.Parallel()
	ready, empty, old := pgtest.New(t), pgtest.Empty(t), pgtest.New(t)
	execute(t, old.OwnerDSN, `create or replace function postern.schema_version() returns integer language sql as 'select 3'`)
	gone, err := url.Parse(ready.GatewayDSN)
	if err != nil {
		t.Fatal(err)
	}
	gone.Path = "/no_such_database"
	stranger, err := url.Parse(ready.SuperDSN)
	if err != nil {
		t.Fatal(err)
	}
	stranger.RawQuery = "options=-c%20role%3Danon"
	for name, c := range map[string]struct {
		dsn  string
		want []string
	}{
		"nobody listens":            {"postgres://u:hunter2@127.0.0.1:1/x?sslmode=disable", []string{"DATABASE_URL", "refused"}},
		"nobody listens, maybe TLS": {"postgres://u:hunter2@127.0.0.1:1/x", []string{"DATABASE_URL", "refused"}},
		"two hosts":                 {"postgres://u:hunter2@127.0.0.1:1,127.0.0.1:2/x", []string{"DATABASE_URL", "refused"}},
		"unknown host":              {"postgres://u:hunter2@no-such-host.invalid/x", []string{"DATABASE_URL"}},
		"no such database":          {gone.String(), []string{"DATABASE_URL", "no_such_database"}},
		"role without rights":       {stranger.String(), []string{"DATABASE_URL", "permission denied"}},
		"not migrated":              {empty.SuperDSN, []string{"`postern migrate`", "`tern migrate"}},
		"older schema":              {old.GatewayDSN, []string{"schema version 3", "`tern migrate -m sql -d "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := startUp(t, gatewayEnvironment(c.dsn))
			o.failedWith(t, c.want...)
			if o.err != nil && strings.Contains(o.err.Error(), "hunter2") {
				t.Errorf("the error shows the password: %v", o.err)
			}
		})
	}
}

func TestPortInUseIsOneLine(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // a test's
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	startUp(t, gatewayEnvironment(pgtest.New(t).GatewayDSN, "PORT="+port)).failedWith(t, "PORT", "in use")
}

// TestNewerSchemaIsServed: the previous release's gateway goes on while the next one is brought in.
func TestNewerSchemaIsServed(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	execute(t, db.OwnerDSN, `create or replace function postern.schema_version() returns integer language sql immutable as 'select 1000'`)
	address := serveInBackground(t, gatewayEnvironment(db.GatewayDSN))
	postern(t, nil, "health", "--ready", "--url", address).succeeded(t)
}

func execute(t *testing.T, dsn, statement string) {
	t.Helper()
	if _, err := pgtest.Connect(t, dsn).Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// process is a built gateway that runs by itself.
type process struct {
	cmd     *exec.Cmd
	address string
	exited  chan error
}

func startProcess(t *testing.T, program string, environ []string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(program, "serve"), exited: make(chan error, 1)}
	p.cmd.Env = environ
	logs, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	address := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(logs)
		for lines.Scan() {
			var line struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
				address <- line.Address
			}
		}
		p.exited <- p.cmd.Wait()
	}()
	select {
	case p.address = <-address:
	case err := <-p.exited:
		t.Fatalf("postern serve ended: %v", err)
	case <-time.After(patience):
		t.Fatal("postern serve does not listen")
	}
	return p
}

func (p *process) post(path, body string) (int, []byte, error) {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Post("http://"+p.address+path, "application/json", strings.NewReader(body)) //nolint:noctx // has a timeout
	if err != nil {
		return 0, nil, err
	}
	raw, err := io.ReadAll(res.Body)
	return res.StatusCode, raw, errors.Join(err, res.Body.Close())
}

// build makes the program and returns its path.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "postern")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("building postern: %v\n%s", err, out)
	}
	return program
}

func TestSIGTERM(t *testing.T) {
	t.Parallel()
	program := build(t)
	t.Run("drains", func(t *testing.T) { t.Parallel(); drains(t, program) })
	t.Run("ends an idle gateway at once", func(t *testing.T) { t.Parallel(); endsIdle(t, program) })
}

func drains(t *testing.T, program string) {
	t.Helper()
	db := pgtest.New(t)
	p := startProcess(t, program, gatewayEnvironment(db.GatewayDSN))
	status, raw, err := p.post("/signup", "{}")
	if err != nil || status != http.StatusOK {
		t.Fatalf("signing up: %d %s %v", status, raw, err)
	}
	var opened struct {
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal(raw, &opened); err != nil {
		t.Fatal(err)
	}

	watch, hold := pgtest.Connect(t, db.SuperDSN), begin(t, db.SuperDSN, `select from auth.sessions for update`)
	type result struct {
		status int
		raw    []byte
		err    error
	}
	slow := make(chan result, 1)
	go func() {
		status, raw, err := p.post("/token?grant_type=refresh_token", `{"refresh_token":"`+opened.Refresh+`"}`)
		slow <- result{status, raw, err}
	}()
	wait(t, "the request waits for the row", func() bool {
		var waiting bool
		err := watch.QueryRow(t.Context(), `select exists (select from pg_stat_activity
			where datname = current_database() and usename = 'postern_gateway' and wait_event_type = 'Lock')`).Scan(&waiting)
		return err == nil && waiting
	})
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	wait(t, "new connections are refused", func() bool {
		conn, err := net.DialTimeout("tcp", p.address, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	select {
	case err := <-p.exited:
		t.Fatalf("it ended with a request under way: %v", err)
	default:
	}
	if err := hold.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := <-slow; r.err != nil || r.status != http.StatusOK {
		t.Errorf("the request under way: %d %s %v", r.status, r.raw, r.err)
	}
	p.ended(t)
}

// ended wants the process to be gone soon, with exit status 0.
func (p *process) ended(t *testing.T) {
	t.Helper()
	select {
	case err := <-p.exited:
		if err != nil {
			t.Errorf("exit: %v", err)
		}
	case <-time.After(drainTime / 2):
		t.Errorf("it has not ended after %s", drainTime/2)
	}
}

func endsIdle(t *testing.T, program string) {
	t.Helper()
	p := startProcess(t, program, gatewayEnvironment(pgtest.New(t).GatewayDSN))
	// A client that keeps its connection open without a request does not hold it up.
	conn, err := net.DialTimeout("tcp", p.address, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test's
	if status, raw, err := p.post("/signup", "{}"); err != nil || status != http.StatusOK {
		t.Fatalf("signing up: %d %s %v", status, raw, err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.ended(t)
}

// begin opens a transaction on a connection of its own and runs a statement in it.
func begin(t *testing.T, dsn, statement string) pgx.Tx {
	t.Helper()
	tx, err := pgtest.Connect(t, dsn).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
	return tx
}

// wait waits until a condition holds.
func wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// The page with the mails is for `postern dev` alone: it shows every code.
func TestServeHasNoPageWithMails(t *testing.T) {
	t.Parallel()
	address := serveInBackground(t, gatewayEnvironment(pgtest.New(t).GatewayDSN))
	for _, path := range []string{"/dev/mail", "/dev/mail.json", "/dev/mail/1", "/dev/mail/mail.js", "/auth/v1/dev/mail"} {
		response, err := http.Get(address + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusNotFound {
			t.Errorf("%s answers %s", path, response.Status)
		}
	}
}

// A client that does not send its body in time is told so, as of any request that takes too long, and nothing of the socket.
func TestBodiesThatDoNotComeInTime(t *testing.T) {
	t.Parallel()
	address := serveInBackground(t, gatewayEnvironment(pgtest.New(t).GatewayDSN, "GOTRUE_API_MAX_REQUEST_DURATION=100ms"))
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // nothing pending
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "POST /signup HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // read only
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusGatewayTimeout || !strings.Contains(string(body), `"request_timeout"`) {
		t.Errorf("%s: %s (%v)", response.Status, body, err)
	}
}
