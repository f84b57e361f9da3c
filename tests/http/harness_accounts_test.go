package http_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/token"
)

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
// (get_settings), the outbox's workers (claim_outbox, record_delivery), the clean-up and the record of failures (record_hook_run), which
// no request waits for, do not count, nor do the bodies of postern.caller and postern.envelope, which the planner runs when it folds the calls into constants.
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
		where s.query not like '%get_settings%' and s.query not like '%claim_outbox%' and s.query not like '%record_delivery%'
			and s.query not like '%record_hook_run%' and s.query not like '%cleanup%'
			and s.query not like 'select row(ip, %)::postern.caller' and s.query not like 'select row(outbox_id, %)::postern.envelope'
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
