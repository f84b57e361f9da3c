// Package http_test proves the gateway over HTTP on a real PostgreSQL. Every test owns its database (start), and the
// deliberate differences from Supabase Auth are listed in differences.md.
package http_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/postern-auth/postern/gateway"
	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/token"
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

	gateway *gateway.Server
	http    *httptest.Server
	super   *pgxpool.Pool
}

// start brings up a gateway on a new database. env are lines NAME=value on top of environment(); -NAME removes one.
func start(t testing.TB, env ...string) *server {
	t.Helper()
	return startOn(t, pgtest.New(t), env...)
}

// startOn brings up a gateway on a database, beside those that it has already.
func startOn(t testing.TB, db *pgtest.DB, env ...string) *server {
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
	s.gateway, err = gateway.New(ctx, cfg, gateway.Options{Version: "test", SchemaVersion: latestMigration(t), Log: log})
	if err != nil {
		stop()
		t.Fatalf("starting the gateway: %v", err)
	}
	done := make(chan struct{})
	go func() { defer close(done); s.gateway.Run(ctx) }()
	s.http.Start()
	s.http.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(func() {
		s.http.Close()
		stop()
		<-done
		s.gateway.Close()
	})
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

// signUp makes an account over HTTP and returns its session (it costs one hash).
func (s *server) signUp(email, password string) session {
	s.t.Helper()
	return s.post("/signup", map[string]any{"email": email, "password": password}, "").want(http.StatusOK).session()
}

// signIn signs in with a password over HTTP (it costs one hash).
func (s *server) signIn(email, password string) session {
	s.t.Helper()
	return s.post("/token?grant_type=password", map[string]any{"email": email, "password": password}, "").want(http.StatusOK).session()
}

// account makes a confirmed account with goodPassword in the database, without hashing, and returns its id.
func (s *server) account(email string) string {
	s.t.Helper()
	return s.one(`select postern.create_user(email => $1, password_hash => $2)`, email, goodPasswordHash)
}

// member makes an account like account does, with a session that is made without hashing.
func (s *server) member(email string) session {
	s.t.Helper()
	return s.open(s.account(email))
}

// open makes a session for an account as signing in does, without hashing and without the code under test.
func (s *server) open(userID string) session {
	s.t.Helper()
	out := session{UserID: userID}
	out.ID = s.one(`
		with opened as (
			insert into auth.sessions (id, user_id, created_at, updated_at, aal, user_agent)
			values (gen_random_uuid(), $1::uuid, now(), now(), 'aal1', 'test')
			returning id, user_id
		), refreshable as (
			insert into auth.refresh_tokens (instance_id, user_id, session_id, revoked, counter, created_at, updated_at)
			select '00000000-0000-0000-0000-000000000000', user_id, id, false, 0, now(), now() from opened
		), method as (
			insert into auth.mfa_amr_claims (id, session_id, authentication_method, created_at, updated_at)
			select gen_random_uuid(), id, 'password', now(), now() from opened
		)
		select id from opened`, userID)
	var claims map[string]any
	raw := s.one(`
		select json_build_object('sub', id, 'aud', aud, 'email', coalesce(email, ''), 'phone', coalesce(phone, ''),
			'app_metadata', raw_app_meta_data, 'user_metadata', raw_user_meta_data, 'role', role, 'is_anonymous', is_anonymous)::text
		from auth.users where id = $1::uuid`, userID)
	if err := json.Unmarshal([]byte(raw), &claims); err != nil {
		s.t.Fatal(err)
	}
	now := time.Now().Unix()
	maps.Copy(claims, map[string]any{
		"iss": s.URL, "exp": now + 3600, "iat": now, "aal": "aal1", "session_id": out.ID,
		"amr": []any{map[string]any{"method": "password", "timestamp": now}},
	})
	out.Access = s.mint(claims)
	out.Refresh = mintRefresh(s.t, out.ID, 0)
	return out
}

// mintRefresh makes the refresh token of a session's generation, for a gateway that has no POSTERN_TOKEN_KEYS.
func mintRefresh(t testing.TB, sessionID string, counter uint64) string {
	t.Helper()
	return mintRefreshWith(t, jwtSecret, sessionID, counter)
}

// mintRefreshWith is mintRefresh with a key of one's own.
func mintRefreshWith(t testing.TB, key, sessionID string, counter uint64) string {
	t.Helper()
	raw, err := hex.DecodeString(strings.ReplaceAll(sessionID, "-", ""))
	if err != nil || len(raw) != 16 {
		t.Fatalf("session id %q", sessionID)
	}
	return token.NewRefreshKeys(nil, config.Secret(key)).Mint([16]byte(raw), counter)
}

// mint signs an access token of the given claims with jwtSecret.
func (s *server) mint(claims map[string]any) string {
	s.t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(claims)).SignedString([]byte(jwtSecret))
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

// serviceRole is an administrator's token.
func (s *server) serviceRole() string {
	s.t.Helper()
	return s.mint(map[string]any{"role": "service_role", "exp": time.Now().Add(time.Hour).Unix()})
}

// edited is an access token with other claims: a nil value removes one.
func (s *server) edited(access string, changes map[string]any) string {
	s.t.Helper()
	claims := claimsOf(s.t, access)
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return s.mint(claims)
}

// superuser is a pool of connections to the test's database as superuser; it may be used from any goroutine.
func (s *server) superuser() *pgxpool.Pool {
	s.t.Helper()
	if s.super == nil {
		cfg, err := pgxpool.ParseConfig(s.db.SuperDSN)
		if err != nil {
			s.t.Fatal(err)
		}
		cfg.MaxConns = 4
		if s.super, err = pgxpool.NewWithConfig(context.Background(), cfg); err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(s.super.Close)
	}
	return s.super
}

// exec runs SQL as superuser; several statements at once when there are no arguments.
func (s *server) exec(query string, args ...any) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if len(args) == 0 {
		args = []any{pgx.QueryExecModeSimpleProtocol}
	}
	if _, err := s.superuser().Exec(ctx, query, args...); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
}

// one is the first column of the first row as text; "" when it is null or there is no row.
func (s *server) one(query string, args ...any) string {
	s.t.Helper()
	all := s.column(query, args...)
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

// column is the first column of all rows as text.
func (s *server) column(query string, args ...any) []string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rows, err := s.superuser().Query(ctx, query, args...)
	if err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		values, err := row.Values()
		if err != nil || values[0] == nil {
			return "", err
		}
		if id, ok := values[0].([16]byte); ok {
			return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:]), nil
		}
		if raw, ok := values[0].(map[string]any); ok {
			text, err := json.Marshal(raw)
			return string(text), err
		}
		return fmt.Sprint(values[0]), nil
	})
	if err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return out
}

// audit is the actions of the audit log, oldest first.
func (s *server) audit() []string {
	s.t.Helper()
	return s.column(`select payload ->> 'action' from auth.audit_log_entries order by created_at, id`)
}

// statements counts what the gateway sends to the database while work runs, and returns the texts. The reload of the policy
// (get_settings), which no request causes, does not count, nor does the body of postern.caller, which the planner runs when it
// folds the call into a constant.
func (s *server) statements(work func()) (int, []string) {
	s.t.Helper()
	if s.one(`select current_setting('shared_preload_libraries') like '%pg_stat_statements%'`) != "true" {
		s.t.Skip("this PostgreSQL has no pg_stat_statements")
	}
	s.exec(`select pg_stat_statements_reset(0, (select oid from pg_database where datname = current_database()), 0)`)
	work()
	texts := s.column(`select s.calls || ' x ' || s.query from pg_stat_statements s
		join pg_database d on d.oid = s.dbid and d.datname = current_database()
		join pg_roles r on r.oid = s.userid and r.rolname = 'postern_gateway'
		where s.query not like '%get_settings%' and s.query not like 'select row(ip, %)::postern.caller'
		order by s.query`)
	count := 0
	for _, text := range texts {
		calls, _, _ := strings.Cut(text, " ")
		n, err := strconv.Atoi(calls)
		if err != nil {
			s.t.Fatal(err)
		}
		count += n
	}
	return count, texts
}

// eventually waits until a condition holds.
func (s *server) eventually(what string, holds func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		if holds() {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// set changes columns of auth.settings, written as in `update … set`, and waits until this gateway has read them. The issuer,
// which /.well-known/openid-configuration shows, tells.
func (s *server) set(columns string) {
	s.t.Helper()
	issuer := s.one(`select jwt_issuer from auth.settings`)
	reads := func(shown string) {
		s.eventually("the gateway reads auth.settings", func() bool {
			s.get("/admin/users?per_page=1", s.serviceRole()) // its answer carries the settings' version
			return s.get("/.well-known/openid-configuration", "").text("issuer") == shown
		})
	}
	s.exec(`update auth.settings set jwt_issuer = 'changing', ` + columns)
	reads("changing")
	s.exec(`update auth.settings set jwt_issuer = $1`, issuer)
	reads(issuer)
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
