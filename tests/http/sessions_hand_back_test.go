package http_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/postern-auth/postern/tests/pgtest"
)

// buildPostern makes the program and returns its path.
func buildPostern(t testing.TB) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "postern")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/postern").CombinedOutput(); err != nil {
		t.Fatalf("building postern: %v\n%s", err, out)
	}
	return program
}

// postern runs a command with nothing but this environment, and returns what it printed.
func runPostern(t testing.TB, program string, env []string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// acceptedBySupabaseAuth judges a token of the second generation as contract core.md 4.8 says, with what stands in auth.sessions.
func (s *server) acceptedBySupabaseAuth(refresh string) error {
	raw, err := base64.RawURLEncoding.DecodeString(refresh)
	if err != nil || len(raw) < 38 || raw[0] != 0 {
		return fmt.Errorf("not of the second generation: %q", refresh)
	}
	signed, mac := raw[:len(raw)-20], raw[len(raw)-20:len(raw)-4]
	var counter uint64
	for i, b := range signed[17:] {
		counter |= uint64(b&0x7f) << (7 * i)
	}
	stored := s.one(`select concat(refresh_token_hmac_key, ' ', refresh_token_counter) from auth.sessions where id = $1::uuid`,
		fmt.Sprintf("%x", signed[1:17]))
	text, number, _ := strings.Cut(stored, " ")
	key, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(key) != 32 {
		return fmt.Errorf("the session's key is %q", text)
	}
	hash := hmac.New(sha256.New, key)
	hash.Write(signed)
	if !hmac.Equal(hash.Sum(nil)[:16], mac) {
		return fmt.Errorf("the session's key did not make the token")
	}
	if number != strconv.FormatUint(counter, 10) {
		return fmt.Errorf("the session is at %s, the token at %d", number, counter)
	}
	return nil
}

func TestHandBackKeepsEverybodySignedIn(t *testing.T) {
	t.Parallel()
	f := readFixture(t)
	db := adopted(t)
	const keys = "a-token-key-of-its-own-with-32-characters"
	env := []string{tokenKeys + keys, reuseInterval + "0"}
	s := startAdoptedOn(t, db, env...)
	users := s.column(`select id || md5(u::text) from auth.users u order by id`)

	held := map[string]string{
		"12 characters, refreshed": s.renew(f.account(t, refreshedTwice).Refresh).want(http.StatusOK).text("refresh_token"),
		"v2, refreshed":            s.renew(f.account(t, v2Fresh).Refresh).want(http.StatusOK).text("refresh_token"),
		"v2, answered again":       s.renew(f.account(t, v2Used).Spent[1]).want(http.StatusOK).text("refresh_token"),
	}
	held["12 characters, refreshed twice"] = s.renew(
		s.renew(f.account(t, anonymousUser).Refresh).want(http.StatusOK).text("refresh_token")).want(http.StatusOK).text("refresh_token")
	opened := s.post("/signup", map[string]any{}, "").want(http.StatusOK).session()
	held["opened by Postern"] = opened.Refresh
	held["opened by Postern, refreshed"] = s.renew(
		s.post("/signup", map[string]any{}, "").want(http.StatusOK).text("refresh_token")).want(http.StatusOK).text("refresh_token")
	revoked := s.post("/signup", map[string]any{}, "").want(http.StatusOK).session()
	s.exec(`update auth.refresh_tokens set revoked = true where session_id = $1::uuid`, revoked.ID)

	program := buildPostern(t)
	environ := environment(s.URL, db.OwnerDSN, append(env, "GOTRUE_JWT_SECRET="+f.JWTSecret)...)
	for range 2 { // it can be repeated
		if out, err := runPostern(t, program, environ, "hand-back"); err != nil {
			t.Fatalf("hand-back: %v\n%s", err, out)
		}
	}
	for name, refresh := range held {
		if err := s.acceptedBySupabaseAuth(refresh); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.acceptedBySupabaseAuth(revoked.Refresh); err == nil {
		t.Error("a revoked session came back to life")
	}
	unused := f.account(t, neverRefreshed).Refresh
	if got := s.one(`select count(*) from auth.refresh_tokens where token = $1 and not revoked`, unused); got != "1" {
		t.Errorf("a 12-character token that was not used here: %s rows", got)
	}
	if got := s.one(`select count(*) from auth.one_time_tokens`); got != "0" {
		t.Errorf("%s one-time tokens that Supabase Auth could not verify", got)
	}
	for _, id := range users {
		if s.one(`select count(*) from auth.users where id = $1::uuid`, id[:36]) != "1" {
			t.Errorf("user %s is gone", id[:36])
		}
	}

	if out, err := runPostern(t, program, []string{"DATABASE_URL=" + db.SuperDSN}, "migrate", "--to", "0"); err != nil {
		t.Fatalf("migrate --to 0: %v\n%s", err, out)
	}
	for name, refresh := range held {
		if err := s.acceptedBySupabaseAuth(refresh); err != nil {
			t.Errorf("after migrate --to 0, %s: %v", name, err)
		}
	}
	sameCatalog(t, s, restored(t))
}

// startAdoptedOn is startAdopted on a given database.
func startAdoptedOn(t testing.TB, db *pgtest.DB, env ...string) *server {
	t.Helper()
	return startOn(t, db, append([]string{
		"GOTRUE_JWT_SECRET=" + readFixture(t).JWTSecret, "GOTRUE_EXTERNAL_PHONE_ENABLED=true", "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true",
		reuseInterval + "0",
	}, env...)...)
}

// catalog lists what tables, columns, indexes, constraints, functions, triggers and policies a database has.
const catalog = `
	select 'column ' || c.oid::regclass || ' ' || a.attnum || ' ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' '
		|| a.attnotnull || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '') || coalesce(c.reloptions::text, '')
	from pg_class c join pg_attribute a on a.attrelid = c.oid left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
	where c.relnamespace in (select oid from pg_namespace where nspname in ('auth', 'public', 'postern')) and c.relkind = 'r'
		and a.attnum > 0 and not a.attisdropped and c.relname <> 'postern_version'
	union all select 'index ' || pg_get_indexdef(i.indexrelid) from pg_index i join pg_class c on c.oid = i.indrelid
	where c.relnamespace in (select oid from pg_namespace where nspname in ('auth', 'public')) and c.relname <> 'postern_version'
	union all select 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) from pg_constraint
	where connamespace in (select oid from pg_namespace where nspname in ('auth', 'public')) and conrelid <> 0 and conrelid::regclass::text <> 'postern_version'
	union all select 'function ' || oid::regprocedure from pg_proc
	where pronamespace in (select oid from pg_namespace where nspname in ('auth', 'public', 'postern'))
	union all select 'trigger ' || tgrelid::regclass || ' ' || tgname from pg_trigger where not tgisinternal
	union all select 'policy ' || polrelid::regclass || ' ' || polname from pg_policy
	union all select 'schema ' || nspname from pg_namespace where nspname !~ '^pg_'
	order by 1`

// sameCatalog compares a database with another one.
func sameCatalog(t *testing.T, s *server, other *pgtest.DB) {
	t.Helper()
	reference := &server{t: t, db: other}
	got, want := s.column(catalog), reference.column(catalog)
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("left behind: %s", line)
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("missing: %s", line)
		}
	}
}

// TestDownGivesSupabaseAuthItsRowsBack adopts in two goes, as after an interruption, and goes back twice.
func TestDownGivesSupabaseAuthItsRowsBack(t *testing.T) {
	t.Parallel()
	db, program := restored(t), buildPostern(t)
	for _, args := range [][]string{{"--to", "7"}, {}, {"--to", "0"}, {}, {"--to", "0"}} {
		out, err := runPostern(t, program, []string{"DATABASE_URL=" + db.SuperDSN}, append([]string{"migrate"}, args...)...)
		if err != nil {
			t.Fatalf("migrate %q: %v\n%s", args, err, out)
		}
	}
	after, before := &server{t: t, db: db}, &server{t: t, db: restored(t)}
	sameCatalog(t, after, before.db)
	tables := before.column(`select c.oid::regclass from pg_class c where c.relkind = 'r'
		and c.relnamespace in (select oid from pg_namespace where nspname in ('auth', 'public')) order by 1`)
	if len(tables) < 23 {
		t.Fatalf("only %d tables in the fixture", len(tables))
	}
	for _, table := range tables {
		// Mailed codes and links do not go back (DESIGN 8).
		rows := `select coalesce(string_agg(r, e'\n' order by r), '') from ` + table + ` t,
			lateral (select (to_jsonb(t) - '{token_hash,recovery_token}'::text[])::text) s (r)`
		if got, want := after.one(rows), before.one(rows); got != want {
			t.Errorf("%s differs:\n%s\nwant\n%s", table, got, want)
		}
	}
}

func TestAdoptedSessionThatWasUpgradedToV2GoesOn(t *testing.T) {
	t.Parallel()
	s := startAdopted(t)
	used := readFixture(t).account(t, v2Used)
	// An upgrade leaves the 12-character tokens behind, all revoked (contract core.md 4.8).
	s.exec(`insert into auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, session_id)
		select '00000000-0000-0000-0000-000000000000', 'abcdefghijkl', user_id, true, created_at, created_at, id
		from auth.sessions where user_id = $1::uuid`, used.UserID)
	a := s.renew(used.Refresh).want(http.StatusOK)
	s.renew(a.text("refresh_token")).want(http.StatusOK)
}

func TestAdoptedSessionKeyThatCannotBeReadIsNoServerError(t *testing.T) {
	t.Parallel()
	s := startAdopted(t)
	fresh := readFixture(t).account(t, v2Fresh)
	// As GOTRUE_SECURITY_DB_ENCRYPTION_ENCRYPT stores it (contract core.md 10.5).
	s.exec(`update auth.sessions set refresh_token_hmac_key = '{"key_id":"a","alg":"aes-gcm-hkdf","data":"YQ==","nonce":"YQ=="}'`)
	s.renew(fresh.Refresh).refused(400, "refresh_token_not_found")
}
