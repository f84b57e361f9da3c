// Package http_test proves the gateway over HTTP on a real PostgreSQL. Every test owns its database (start), and the
// deliberate differences from Supabase Auth are listed in differences.md.
package http_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/postern-auth/postern/gateway"
	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/sql"
	"github.com/postern-auth/postern/tests/pgtest"
)

// jwtSecret signs access tokens in all tests that do not configure keys of their own.
const jwtSecret = "a-shared-secret-for-tests-of-more-than-32-characters"

// goodPassword and its bcrypt hash of cost 10, for accounts that are made without hashing.
const (
	goodPassword     = "correct horse battery"
	goodPasswordHash = "$2a$10$VPD129x2k2NBCnwOtOhoQu.7ZMCAfaFCUlsgZpuuaM62CeAX4qRHK"
)

// patience bounds every wait of a test.
const patience = 60 * time.Second

// server is a gateway under test with a database of its own.
type server struct {
	t   testing.TB
	db  *pgtest.DB
	URL string // no slash at its end
	Log *logBuffer

	stop    func() // ends the gateway before the test does
	gateway *gateway.Server
	http    *httptest.Server
	super   *pgxpool.Pool
}

// start brings up a gateway on a new database. env are lines NAME=value on top of environment(); -NAME removes one.
func start(t testing.TB, env ...string) *server {
	t.Helper()
	return startOn(t, patient(t, pgtest.New(t)), env...)
}

// patient is a database whose locks the gateway waits for longer than the usual 2 s, which a busy machine needs to hash a password.
func patient(t testing.TB, db *pgtest.DB) *pgtest.DB {
	t.Helper()
	dsn, err := url.Parse(db.GatewayDSN)
	if err != nil {
		t.Fatal(err)
	}
	query := dsn.Query()
	query.Set("lock_timeout", "9s")
	dsn.RawQuery = query.Encode()
	out := *db
	out.GatewayDSN = dsn.String()
	return &out
}

// startOn brings up a gateway on a database, beside those that it has already.
func startOn(t testing.TB, db *pgtest.DB, env ...string) *server {
	t.Helper()
	return startAsking(t, db, gateway.Endpoints{}, env...)
}

// startAsking is startOn for a gateway that asks others: the endpoints are their doubles.
func startAsking(t testing.TB, db *pgtest.DB, endpoints gateway.Endpoints, env ...string) *server {
	t.Helper()
	s := &server{t: t, db: db, Log: new(logBuffer)}
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.gateway.ServeHTTP(w, r) }))
	s.URL = "http://" + s.http.Listener.Addr().String()
	cfg, err := config.Load(environment(s.URL, db.GatewayDSN, env...))
	if err != nil {
		t.Fatalf("configuration: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	log := slog.New(slog.NewJSONHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.gateway, err = gateway.New(ctx, cfg, gateway.Options{
		Version: "test", SchemaVersion: latestMigration(t), Log: log, Endpoints: endpoints,
	})
	if err != nil {
		stop()
		t.Fatalf("starting the gateway: %v", err)
	}
	done := make(chan struct{})
	go func() { defer close(done); s.gateway.Run(ctx) }()
	s.http.Start()
	s.http.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s.stop = sync.OnceFunc(func() {
		s.http.Close()
		stop()
		<-done
		s.gateway.Close()
	})
	t.Cleanup(s.stop)
	return s
}

// environment is what a gateway under test runs with: the conformance kit's profile autoconfirm.
func environment(url, dsn string, more ...string) []string {
	env := map[string]string{
		"DATABASE_URL": dsn, "API_EXTERNAL_URL": url, "GOTRUE_JWT_ISSUER": url,
		"DB_NAMESPACE": "auth", "GOTRUE_DB_DRIVER": "postgres", "GOTRUE_DB_MAX_POOL_SIZE": "10", "GOTRUE_API_HOST": "127.0.0.1",
		"GOTRUE_SITE_URL": "https://app.example.com", "GOTRUE_URI_ALLOW_LIST": "https://app.example.com/**",
		"GOTRUE_JWT_SECRET": jwtSecret, "GOTRUE_JWT_EXP": "3600", "GOTRUE_JWT_AUD": "authenticated",
		"GOTRUE_JWT_ADMIN_ROLES": "service_role,supabase_admin", "GOTRUE_JWT_DEFAULT_GROUP_NAME": "authenticated",
		// Longer than by default: the machine may be busy.
		"POSTERN_DB_POOL_WAIT": "20s", "GOTRUE_API_MAX_REQUEST_DURATION": "40s",
		"GOTRUE_LOG_LEVEL": "info", "GOTRUE_EXTERNAL_EMAIL_ENABLED": "true", "GOTRUE_MAILER_AUTOCONFIRM": "true",
		"GOTRUE_SECURITY_REFRESH_TOKEN_ROTATION_ENABLED": "true", "GOTRUE_SECURITY_REFRESH_TOKEN_REUSE_INTERVAL": "10",
	}
	for _, line := range more {
		if name, ok := strings.CutPrefix(line, "-"); ok {
			delete(env, name)
			continue
		}
		name, value, _ := strings.Cut(line, "=")
		env[name] = value
	}
	out := make([]string, 0, len(env))
	for name, value := range env {
		out = append(out, name+"="+value)
	}
	return out
}

// latestMigration is the number of the last migration in sql/.
func latestMigration(t testing.TB) int {
	t.Helper()
	names, err := fs.Glob(sql.FS, "[0-9]*_*.sql")
	if err != nil || len(names) == 0 {
		t.Fatalf("no migrations: %v", err)
	}
	latest := 0
	for _, name := range names {
		number, _, _ := strings.Cut(path.Base(name), "_")
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatalf("migration %s has no number", name)
		}
		latest = max(latest, n)
	}
	return latest
}

// call is one request. A Body that is a string or bytes is sent as it is, anything else as JSON, nil not at all.
type call struct {
	Method, Path string // Path may hold a query string
	Body         any
	Bearer       string
	Header       map[string]string
}

// answer is what came back.
type answer struct {
	t      testing.TB
	call   call
	Status int
	Header http.Header
	Raw    []byte
}

// send makes a request. It may be used from any goroutine.
func (s *server) send(c call) (*answer, error) {
	var body io.Reader
	switch b := c.Body.(type) {
	case nil:
	case string:
		body = strings.NewReader(b)
	case []byte:
		body = bytes.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(raw)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, c.Method, s.URL+c.Path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.Bearer != "" {
		req.Header.Set("Authorization", "Bearer "+c.Bearer)
	}
	for name, value := range c.Header {
		req.Header.Set(name, value)
	}
	res, err := s.http.Client().Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	raw, err := io.ReadAll(res.Body)
	return &answer{t: s.t, call: c, Status: res.StatusCode, Header: res.Header, Raw: raw}, err
}

// do is send for the test's own goroutine.
func (s *server) do(c call) *answer {
	s.t.Helper()
	a, err := s.send(c)
	if err != nil {
		s.t.Fatalf("%s %s: %v", c.Method, c.Path, err)
	}
	return a
}

func (s *server) get(path, bearer string) *answer {
	s.t.Helper()
	return s.do(call{Method: http.MethodGet, Path: path, Bearer: bearer})
}

func (s *server) post(path string, body any, bearer string) *answer {
	s.t.Helper()
	return s.do(call{Method: http.MethodPost, Path: path, Body: body, Bearer: bearer})
}

func (s *server) put(path string, body any, bearer string) *answer {
	s.t.Helper()
	return s.do(call{Method: http.MethodPut, Path: path, Body: body, Bearer: bearer})
}

func (s *server) delete(path string, body any, bearer string) *answer {
	s.t.Helper()
	return s.do(call{Method: http.MethodDelete, Path: path, Body: body, Bearer: bearer})
}

// want ends the test unless the status is this one.
func (a *answer) want(status int) *answer {
	a.t.Helper()
	if a.Status != status {
		a.t.Fatalf("%s %s: status %d, want %d: %s", a.call.Method, a.call.Path, a.Status, status, a.Raw)
	}
	return a
}

// refused ends the test unless the answer is this error.
func (a *answer) refused(status int, code string) *answer {
	a.t.Helper()
	a.want(status)
	if got := a.text("error_code"); got != code {
		a.t.Fatalf("%s %s: error_code %q, want %q: %s", a.call.Method, a.call.Path, got, code, a.Raw)
	}
	return a
}

// json is the body as a JSON value.
func (a *answer) json() any {
	a.t.Helper()
	var out any
	if err := json.Unmarshal(a.Raw, &out); err != nil {
		a.t.Fatalf("%s %s: the body is not JSON: %v: %q", a.call.Method, a.call.Path, err, a.Raw)
	}
	return out
}

// at is the member at a path such as user.identities.0.id; nil when there is none.
func (a *answer) at(path string) any {
	a.t.Helper()
	return member(a.json(), path)
}

// text is the member at a path as text; "" when there is none.
func (a *answer) text(path string) string {
	a.t.Helper()
	switch v := a.at(path).(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		raw, _ := json.Marshal(v) // it came from JSON
		return string(raw)
	}
}

func member(value any, path string) any {
	for step := range strings.SplitSeq(path, ".") {
		switch v := value.(type) {
		case map[string]any:
			value = v[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v) {
				return nil
			}
			value = v[i]
		default:
			return nil
		}
	}
	return value
}

// session is what a client keeps after signing in.
type session struct {
	Access, Refresh, UserID, ID string
}

// session reads the token response.
func (a *answer) session() session {
	a.t.Helper()
	out := session{Access: a.text("access_token"), Refresh: a.text("refresh_token"), UserID: a.text("user.id")}
	if out.Access == "" || out.Refresh == "" {
		a.t.Fatalf("%s %s: no session: %d %s", a.call.Method, a.call.Path, a.Status, a.Raw)
	}
	out.ID, _ = claimsOf(a.t, out.Access)["session_id"].(string)
	return out
}

// claimsOf reads the claims of a token without verifying it.
func claimsOf(t testing.TB, access string) jwt.MapClaims {
	t.Helper()
	claims := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(access, claims); err != nil {
		t.Fatalf("not a token: %v", err)
	}
	return claims
}

// logBuffer collects a gateway's log.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// String is all that was logged so far.
func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
