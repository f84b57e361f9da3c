package http_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/postern-auth/postern/tests/pgtest"
)

// startPgBouncer puts a pooler in transaction mode before a database, with fewer connections than gateways open, and returns
// the database with the pooler's DSN for the gateway.
func startPgBouncer(t *testing.T, db *pgtest.DB) *pgtest.DB {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/pgbouncer") // where ordinary users do not look
	}
	if err != nil {
		t.Skip("no pgbouncer on this machine (Debian: apt-get install pgbouncer)")
	}
	port := freePort(t)
	dir := configurePgBouncer(t, db, port)
	cmd := exec.Command(program, filepath.Join(dir, "pgbouncer.ini"))
	cmd.Dir = dir
	var log bytes.Buffer
	cmd.Stderr = &log
	if os.Getuid() == 0 { // which it refuses
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: postgresUser(t)}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		<-ended
		if t.Failed() {
			t.Logf("pgbouncer: %s", log.String())
		}
	})
	out := *db
	out.GatewayDSN = fmt.Sprintf("postgres://postern_gateway@127.0.0.1:%d/%s?sslmode=disable&default_query_exec_mode=cache_describe", port, db.Name)
	waiting := &server{t: t}
	waiting.eventually("pgbouncer listens", func() bool {
		select {
		case <-ended:
			t.Fatal("pgbouncer did not start")
		default:
		}
		conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		return err == nil && conn.Close() == nil
	})
	return &out
}

// configurePgBouncer writes its files into a new folder, which it returns.
func configurePgBouncer(t *testing.T, db *pgtest.DB, port int) string {
	t.Helper()
	dsn, err := url.Parse(db.GatewayDSN)
	if err != nil {
		t.Fatal(err)
	}
	password, withPassword := dsn.User.Password()
	secret := ""
	if withPassword {
		secret = " password=" + password
	}
	dir, err := os.MkdirTemp("", "postern-pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ini := filepath.Join(dir, "pgbouncer.ini")
	for path, text := range map[string]string{
		filepath.Join(dir, "users.txt"): fmt.Sprintf("%q %q\n", "postern_gateway", password),
		ini: fmt.Sprintf(`[databases]
%s = host=%s port=%s dbname=%s user=postern_gateway%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
pool_mode = transaction
default_pool_size = 3
max_client_conn = 200
auth_type = trust
auth_file = %s
`, db.Name, dsn.Hostname(), dsn.Port(), db.Name, secret, port, filepath.Join(dir, "users.txt")),
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // user postgres reads it
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // and enters it
		t.Fatal(err)
	}
	return dir
}

func postgresUser(t *testing.T) *syscall.Credential {
	t.Helper()
	account, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// portsGiven are the ports that freePort has answered.
var portsGiven sync.Map

// freePort is a port for one test alone, while nothing listens there too: below those that the kernel hands out to
// clients and those that localpg takes.
func freePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 11000 + rand.IntN(9000)
		if _, taken := portsGiven.LoadOrStore(port, true); taken {
			continue
		}
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil { //nolint:noctx // at once
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func TestTwoHundredRequestsThroughPgBouncer(t *testing.T) {
	t.Parallel()
	db := startPgBouncer(t, pgtest.New(t))
	s := startOn(t, db, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true", "GOTRUE_JWT_EXP=1800", "POSTERN_DB_POOL_WAIT=10s")
	admin := s.serviceRole()
	var calls []call
	for i := range 20 {
		x := s.newcomer(fmt.Sprintf("user%d@example.com", i))
		away := s.enter(fmt.Sprintf("user%d@example.com", i))
		calls = append(calls,
			call{Method: http.MethodGet, Path: "/user", Bearer: x.Access},
			renewal(x.Refresh), renewal(x.Refresh),
			call{Method: http.MethodPut, Path: "/user", Bearer: x.Access, Body: map[string]any{"data": map[string]any{"n": i}}},
			call{Method: http.MethodPost, Path: "/signup", Body: map[string]any{"data": map[string]any{"anonymous": i}}},
			call{Method: http.MethodGet, Path: "/admin/users?per_page=3&filter=user&sort=created_at+asc", Bearer: admin},
			call{Method: http.MethodPost, Path: "/admin/users", Bearer: admin, Body: map[string]any{"phone": fmt.Sprintf("49151%05d", i)}},
			call{Method: http.MethodGet, Path: "/admin/users/" + x.UserID, Bearer: admin},
			call{Method: http.MethodPost, Path: "/logout?scope=local", Bearer: away.Access},
			call{Method: http.MethodGet, Path: "/ready"},
		)
	}
	calls = append(calls, login("user1@example.com", goodPassword), login("user2@example.com", "wrong"))
	for _, a := range s.atOnce(calls...) {
		want := a.Status == http.StatusOK || a.call.Path == "/logout?scope=local" && a.Status == http.StatusNoContent
		if fmt.Sprint(a.call.Body) == fmt.Sprint(login("user2@example.com", "wrong").Body) {
			want = a.Status == http.StatusBadRequest
		}
		if !want {
			t.Errorf("%s %s: %d %s", a.call.Method, a.call.Path, a.Status, a.Raw)
		}
	}
	if strings.Contains(s.Log.String(), `"level":"ERROR"`) {
		t.Errorf("errors in the log: %s", s.Log.String())
	}
	if got := s.one(`select count(*) from pg_stat_activity where datname = current_database() and usename = 'postern_gateway'`); got > "3" {
		t.Errorf("%s connections: the gateway goes past the pooler", got)
	}
}

// The workers of the outbox share the pooler's connections with requests.
func TestMailsThroughPgBouncer(t *testing.T) {
	t.Parallel()
	db, r := startPgBouncer(t, pgtest.New(t)), startRelay(t)
	s := startOn(t, db, mailing(r, "POSTERN_DB_POOL_WAIT=10s")...)
	const count = 20
	calls := make([]call, count)
	for i := range calls {
		calls[i] = call{Method: http.MethodPost, Path: "/otp", Body: map[string]any{"email": fmt.Sprintf("user%d@example.com", i)}}
	}
	for _, a := range s.atOnce(calls...) {
		a.want(http.StatusOK)
	}
	for i := range calls {
		calls[i] = call{Method: http.MethodGet, Path: s.mail(r, fmt.Sprintf("user%d@example.com", i), 1).Link.RequestURI()}
	}
	for _, a := range s.atOnce(calls...) {
		if _, _, fragment := a.landed(); fragment.Get("access_token") == "" {
			t.Errorf("no session: %v", fragment)
		}
	}
	s.drained()
	if got := s.one(`select count(*) || ' ' || max(attempts) from auth.outbox where state = 'sent'`); got != "20 1" {
		t.Errorf("sent, attempts: %s", got)
	}
	if strings.Contains(s.Log.String(), `"level":"ERROR"`) {
		t.Errorf("errors in the log: %s", s.Log.String())
	}
}

func TestHookStatementsThroughPgBouncer(t *testing.T) {
	t.Parallel()
	db := startPgBouncer(t, pgtest.New(t))
	hook := &server{t: t, db: db}
	hook.exec(`create function public.claims(event jsonb) returns jsonb language sql as
		$$ select jsonb_set(event, '{claims,tenant}', '"acme"') $$;
		grant execute on function public.claims(jsonb) to supabase_auth_admin`)
	s := startOn(t, db, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true", "GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_ENABLED=true",
		"GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_URI=pg-functions://postgres/public/claims", "POSTERN_DB_POOL_WAIT=10s")
	calls := make([]call, 40)
	for i := range calls {
		calls[i] = call{Method: http.MethodPost, Path: "/signup", Body: map[string]any{}}
	}
	for _, a := range s.atOnce(calls...) {
		if got := claimsOf(t, a.want(http.StatusOK).text("access_token"))["tenant"]; got != "acme" {
			t.Errorf("tenant %v", got)
		}
	}
}
