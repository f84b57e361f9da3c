package main

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/token"
	"github.com/postern-auth/postern/tests/pgtest"
)

const testTokenKey = "a-token-key-of-its-own-with-32-characters"

// storedKey is what a session's tokens verify with after hand-back, by DESIGN 7: HKDF-SHA256 of the newest token key.
func storedKey(t *testing.T, key string, session []byte) string {
	t.Helper()
	raw, err := hkdf.Key(sha256.New, []byte(key), nil, "postern refresh token v1"+string(session), 32)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

func TestHandBackWritesKeysAndCounters(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	// More sessions than one batch holds, at different generations, every seventh revoked.
	execute(t, db.SuperDSN, `with u as (select postern.create_user(email => 'ada@example.com') as id),
		s as (insert into auth.sessions (id, user_id, created_at, updated_at, aal)
			select gen_random_uuid(), u.id, now(), now(), 'aal1' from u, generate_series(1, 2500) returning id, user_id)
		insert into auth.refresh_tokens (instance_id, user_id, session_id, revoked, counter, created_at, updated_at)
		select '00000000-0000-0000-0000-000000000000', s.user_id, s.id, row_number() over () % 7 = 0, row_number() over (), now(), now() from s`)
	env := gatewayEnvironment(db.OwnerDSN, "POSTERN_TOKEN_KEYS="+testTokenKey+","+testSecret)
	for range 2 {
		o := postern(t, env, "hand-back").succeeded(t)
		if !strings.Contains(o.stdout, "sessions") {
			t.Errorf("hand-back printed %q", o.stdout)
		}
	}

	rows, err := pgtest.Connect(t, db.SuperDSN).Query(t.Context(), `select replace(s.id::text, '-', ''),
		coalesce(s.refresh_token_hmac_key, ''), coalesce(s.refresh_token_counter, -1), t.counter, t.revoked
		from auth.sessions s join auth.refresh_tokens t on t.session_id = s.id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	checked := 0
	for rows.Next() {
		var id, key string
		var counter, want int64
		var revoked bool
		if err := rows.Scan(&id, &key, &counter, &want, &revoked); err != nil {
			t.Fatal(err)
		}
		session, err := hex.DecodeString(id)
		if err != nil {
			t.Fatal(err)
		}
		wantKey := storedKey(t, testTokenKey, session)
		if revoked {
			wantKey, want = "", -1
		}
		if key != wantKey || counter != want {
			t.Fatalf("session %s has key %q and counter %d, want %q and %d", id, key, counter, wantKey, want)
		}
		if !revoked {
			verifies(t, key, token.NewRefreshKeys([]config.Secret{testTokenKey}, "").Mint([16]byte(session), uint64(want))) //nolint:gosec // small
		}
		checked++
	}
	if err := rows.Err(); err != nil || checked != 2500 {
		t.Errorf("%d sessions checked: %v", checked, err)
	}
}

// verifies checks a token's MAC with a session's stored key as contract core.md 4.8 says.
func verifies(t *testing.T, key, refresh string) {
	t.Helper()
	secret, err := base64.RawURLEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(refresh)
	if err != nil {
		t.Fatal(err)
	}
	hash := hmac.New(sha256.New, secret)
	hash.Write(raw[:len(raw)-20])
	if !hmac.Equal(hash.Sum(nil)[:16], raw[len(raw)-20:len(raw)-4]) {
		t.Fatal("the stored key did not make the token")
	}
}

func TestHandBackIsForTheOwner(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	postern(t, gatewayEnvironment(db.GatewayDSN), "hand-back").failedWith(t, "permission denied")
	postern(t, nil, "hand-back").failed(t, "DATABASE_URL")
	postern(t, gatewayEnvironment(pgtest.Empty(t).SuperDSN), "hand-back").failedWith(t, "auth.sessions")
}
