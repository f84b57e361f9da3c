package http_test

import (
	"context"
	"maps"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/postern-auth/postern/gateway/localpg"
	"github.com/postern-auth/postern/tests/pgtest"
)

func TestExhaustedPoolIsServiceUnavailable(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_DB_MAX_POOL_SIZE=1", "POSTERN_DB_POOL_WAIT=1s")
	ada, bob := s.newcomer("ada@example.com"), s.newcomer("bob@example.com")
	hold := s.begin(`select from auth.sessions where id = $1::uuid for update`, ada.ID)
	slow := s.later(renewal(ada.Refresh))
	s.awaitLocked("1")
	within(t, 8*time.Second, "the refusal", func() {
		a := s.get("/user", bob.Access).want(http.StatusServiceUnavailable)
		wantRetryAfter(t, a)
		if code, text := a.text("error_code"), a.text("msg"); code == "unexpected_failure" || code == "" || strings.Contains(text, "cannot be reached") {
			t.Errorf("the body should say that all connections are busy: %s", a.Raw)
		}
	})
	s.get("/health", "").want(http.StatusOK)
	hold.commit()
	slow().want(http.StatusOK)
	s.get("/user", bob.Access).want(http.StatusOK)
}

func wantRetryAfter(t *testing.T, a *answer) {
	t.Helper()
	if seconds, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || seconds < 1 {
		t.Errorf("Retry-After: %q", a.Header.Get("Retry-After"))
	}
}

// ownServer is a PostgreSQL that a test stops and starts.
type ownServer struct {
	t       *testing.T
	options localpg.Options
	cluster *localpg.Cluster
}

func startOwn(t *testing.T, options map[string]string) (*ownServer, *pgtest.DB) {
	t.Helper()
	bin, err := pgtest.Programs()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "postern-outage-") // user postgres must be able to enter it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	settings := pgtest.Settings(bin)
	settings["fsync"] = "on" // it is stopped in unkind ways
	maps.Copy(settings, options)
	p := &ownServer{t: t, options: localpg.Options{Dir: dir, BinDir: bin, Settings: settings}}
	p.start()
	t.Cleanup(func() { _ = p.cluster.Stop() })
	p.options.Port = p.cluster.Port()
	super := p.cluster.DSN("postgres", "postgres")
	if err := pgtest.MigrateURL(t.Context(), super); err != nil {
		t.Fatal(err)
	}
	return p, &pgtest.DB{Name: "postgres", SuperDSN: super, OwnerDSN: super, GatewayDSN: p.cluster.DSN("postern_gateway", "postgres")}
}

func (p *ownServer) start() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var err error
	if p.cluster, err = localpg.Start(ctx, p.options); err != nil {
		p.t.Fatal(err)
	}
}

func (p *ownServer) stop() {
	p.t.Helper()
	if err := p.cluster.Stop(); err != nil {
		p.t.Fatal(err)
	}
}

// A refresh does not wait for the disk. When the server dies before it wrote the commit, its clients go on all the same, and what
// waited for the disk is there.
func TestRefreshThatACrashLosesHurtsNobody(t *testing.T) {
	t.Parallel()
	p, db := startOwn(t, map[string]string{"synchronous_commit": "on", "wal_writer_delay": "10s"})
	s := startOn(t, db)
	const counter = `select counter from auth.refresh_tokens where session_id = $1::uuid`
	for try := 1; ; try++ {
		ada := s.newcomer("ada" + strconv.Itoa(try) + "@example.com")
		next := s.renew(ada.Refresh).want(http.StatusOK).text("refresh_token")
		if got := s.one(counter, ada.ID); got != "1" {
			t.Fatalf("the refresh left counter %s", got)
		}
		if err := syscall.Kill(p.cluster.PID(), syscall.SIGQUIT); err != nil {
			t.Fatal(err)
		}
		<-p.cluster.Exited()
		s.away(ada)
		p.start()
		s.superuser().Reset()
		s.get("/user", ada.Access).want(http.StatusOK) // the sign-up was not lost
		if s.one(counter, ada.ID) != "0" {
			if try < 5 {
				continue // somebody else's commit, as autovacuum's, took it along to the disk
			}
			t.Fatal("no crash of five lost a refresh: they wait for the disk, or this test is no good")
		}

		last := s.renew(next).want(http.StatusOK).text("refresh_token")
		if got := s.one(counter, ada.ID); got != "2" {
			t.Errorf("after the token of the lost commit the counter is %s, want 2", got)
		}
		s.age(ada.ID, "1 hour")
		s.renew(ada.Refresh).refusedWith(400, "refresh_token_already_used", msgAlreadyUsed)
		s.renew(last).refusedWith(400, "refresh_token_already_used", msgAlreadyUsed)
		return
	}
}

func TestGatewayOutlivesItsDatabase(t *testing.T) {
	t.Parallel()
	p, db := startOwn(t, nil)
	s := startOn(t, db, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true")
	ada := s.newcomer("ada@example.com")
	s.get("/user", ada.Access).want(http.StatusOK)
	s.get("/ready", "").want(http.StatusOK)

	p.stop()
	for range 3 {
		s.away(ada)
	}
	p.start()
	s.back(ada)

	// Without a farewell: the server's processes just end, in the middle of a request.
	hold := s.begin(`select from auth.sessions where id = $1::uuid for update`, ada.ID)
	cut := s.later(renewal(ada.Refresh))
	s.awaitLocked("1")
	if err := syscall.Kill(p.cluster.PID(), syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	if a := cut(); a.Status != http.StatusServiceUnavailable {
		t.Errorf("the request that was under way: %d %s", a.Status, a.Raw)
	}
	_ = hold.conn.Close(t.Context())
	<-p.cluster.Exited()
	s.away(ada)
	p.start()
	s.back(ada)
}

// away checks what a gateway answers while its database is stopped.
func (s *server) away(x session) {
	s.t.Helper()
	t := s.t.(*testing.T)
	for _, c := range []call{
		{Method: http.MethodGet, Path: "/user", Bearer: x.Access},
		renewal(x.Refresh),
		{Method: http.MethodPost, Path: "/signup", Body: map[string]any{}},
		{Method: http.MethodPost, Path: "/logout", Bearer: x.Access},
		{Method: http.MethodGet, Path: "/admin/users", Bearer: s.serviceRole()},
		login("ada@example.com", goodPassword),
	} {
		within(s.t, 2*time.Second, c.Path+" without a database", func() {
			a := s.do(c)
			if a.Status != http.StatusServiceUnavailable {
				t.Errorf("%s: %d %s", c.Path, a.Status, a.Raw)
				return
			}
			wantRetryAfter(t, a)
		})
	}
	s.get("/health", "").want(http.StatusOK)
	s.get("/settings", "").want(http.StatusOK)
	s.get("/.well-known/jwks.json", "").want(http.StatusOK)
	within(s.t, 2*time.Second, "/ready without a database", func() {
		a := s.get("/ready", "").want(http.StatusServiceUnavailable)
		if text := a.text("msg"); !strings.Contains(text, "database") || !strings.Contains(text, "refused") {
			t.Errorf("/ready does not say why: %s", a.Raw)
		}
	})
}

// back checks that a gateway serves again, without a restart and without delay.
func (s *server) back(x session) {
	s.t.Helper()
	s.superuser().Reset() // the test's own connections have no reason to have survived
	s.get("/ready", "").want(http.StatusOK)
	s.get("/user", x.Access).want(http.StatusOK)
	s.renew(x.Refresh).want(http.StatusOK)
}

// TestDeadIdleConnectionsAreReplaced terminates what a pool keeps, as a restart or a failover does.
func TestDeadIdleConnectionsAreReplaced(t *testing.T) {
	t.Parallel()
	s := start(t)
	ada := s.newcomer("ada@example.com")
	// Requests that wait for one row fill the pool.
	hold := s.begin(`select from auth.sessions where id = $1::uuid for update`, ada.ID)
	waiting := make([]func() *answer, 8)
	for i := range waiting {
		waiting[i] = s.later(renewal(ada.Refresh))
	}
	s.awaitLocked("8")
	hold.commit()
	for _, answered := range waiting {
		answered().want(http.StatusOK)
	}
	const backends = `from pg_stat_activity where datname = current_database() and usename = 'postern_gateway'`
	s.column(`select pg_terminate_backend(pid) ` + backends)
	s.eventually("the backends end", func() bool { return s.one(`select count(*) `+backends) == "0" })
	for range 8 {
		s.get("/user", ada.Access).want(http.StatusOK)
	}
}

func TestTerminatedBackendsAreNoServerErrors(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true", "GOTRUE_DB_MAX_POOL_SIZE=4")
	ada := s.newcomer("ada@example.com")
	s.superuser()
	var mu sync.Mutex
	seen, bodies := map[int]int{}, map[string]bool{}
	terminated := 0
	begin := time.Now()
	enough := func() bool {
		mu.Lock()
		defer mu.Unlock()
		took := time.Since(begin)
		return took > patience || took > 1500*time.Millisecond && terminated > 0 && seen[200] > 0
	}
	var load sync.WaitGroup
	for worker := range 8 {
		load.Go(func() {
			for i := worker; !enough(); i++ {
				c := []call{
					{Method: http.MethodGet, Path: "/user", Bearer: ada.Access},
					renewal(ada.Refresh),
					{Method: http.MethodPost, Path: "/signup", Body: map[string]any{}},
					{Method: http.MethodGet, Path: "/admin/users", Bearer: s.serviceRole()},
				}[i%4]
				a, err := s.send(c)
				mu.Lock()
				if err != nil {
					bodies[err.Error()] = true
					seen[0]++
				} else {
					seen[a.Status]++
					if a.Status >= 500 {
						bodies[string(a.Raw)[:min(len(a.Raw), 120)]] = true
					}
				}
				mu.Unlock()
			}
		})
	}
	for pause := time.NewTicker(20 * time.Millisecond); !enough(); <-pause.C {
		ended := len(s.column(`select pg_terminate_backend(pid) from pg_stat_activity
			where datname = current_database() and usename = 'postern_gateway'`))
		mu.Lock()
		terminated += ended
		mu.Unlock()
	}
	load.Wait()
	t.Logf("%d backends terminated, answers %v", terminated, seen)
	if terminated == 0 || seen[200] == 0 {
		t.Fatal("no load, or nothing terminated")
	}
	for status := range seen {
		if status != http.StatusOK && status != http.StatusServiceUnavailable {
			t.Errorf("%d answers with status %d: %v", seen[status], status, bodies)
		}
	}
	s.get("/user", ada.Access).want(http.StatusOK)
	s.renew(ada.Refresh).want(http.StatusOK) // a slow machine may not have answered one of them
	if got := s.counter(ada.ID); got != "1" {
		t.Errorf("counter %s after many presentations of one token", got)
	}
}
