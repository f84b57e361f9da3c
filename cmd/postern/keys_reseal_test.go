package main

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/seal"
	"github.com/postern-auth/postern/tests/pgtest"
)

// An older key can be dropped after reseal, and hand-back gives Supabase Auth what it reads; neither touches what it cannot open.
func TestSecretsOfAuthenticatorAppsChangeTheirKey(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	const older, lost = "an-older-token-key-of-more-than-32-characters", "a-token-key-that-is-gone-of-more-than-32-chars"
	factors := seedFactors(t, db, 2500, older)
	lostFactor := seedFactors(t, db, 1, lost)[0]
	check := func(name string, keys *seal.Keys, sealed bool) {
		t.Helper()
		stored := storedSecrets(t, db)
		for _, id := range factors {
			if strings.HasPrefix(stored[id], seal.FactorPrefix) != sealed {
				t.Fatalf("%s: factor %s is stored as %s", name, id, stored[id])
			}
			if secret, isCurrent, err := keys.OpenFactor(id, stored[id]); err != nil || secret != secretOf(id) || isCurrent != sealed {
				t.Fatalf("%s: factor %s: %q, %v, %v", name, id, secret, isCurrent, err)
			}
		}
		if _, _, err := factorKeys(t, lost).OpenFactor(lostFactor, stored[lostFactor]); err != nil {
			t.Errorf("%s: what could not be opened was changed", name)
		}
	}

	env := gatewayEnvironment(db.OwnerDSN, "POSTERN_TOKEN_KEYS="+testTokenKey+","+older)
	for _, count := range []string{"2500", "0"} {
		o := postern(t, env, "keys", "reseal")
		o.failedWith(t, lostFactor)
		if !strings.Contains(o.stdout, count+" authenticator apps sealed") {
			t.Errorf("reseal printed %q", o.stdout)
		}
		check("reseal", factorKeys(t, testTokenKey), true)
	}
	env = gatewayEnvironment(db.OwnerDSN, "POSTERN_TOKEN_KEYS="+testTokenKey)
	o := postern(t, env, "hand-back")
	if o.failedWith(t, lostFactor); !strings.Contains(o.stdout, "2500 authenticator apps") {
		t.Errorf("hand-back printed %q", o.stdout)
	}
	check("hand-back", factorKeys(t, testTokenKey), false)
	postern(t, gatewayEnvironment(db.GatewayDSN), "keys", "reseal").failedWith(t, "permission denied")
}

func factorKeys(t *testing.T, key config.Secret) *seal.Keys {
	t.Helper()
	keys, err := seal.New([]config.Secret{key}, "")
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// secretOf is the secret that seedFactors gives a factor.
func secretOf(id string) string { return "SECRET" + strings.ToUpper(strings.ReplaceAll(id, "-", "")) }

// seedFactors makes TOTP factors of one account, sealed with a key, and returns their ids.
func seedFactors(t *testing.T, db *pgtest.DB, count int, key config.Secret) (ids []string) {
	t.Helper()
	conn, keys := pgtest.Connect(t, db.SuperDSN), factorKeys(t, key)
	rows, err := conn.Query(t.Context(), `select gen_random_uuid()::text from generate_series(1, $1)`, count)
	if err != nil {
		t.Fatal(err)
	}
	if ids, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		t.Fatal(err)
	}
	stored := make([]string, count)
	for i, id := range ids {
		stored[i] = keys.SealFactor(id, secretOf(id))
	}
	_, err = conn.Exec(t.Context(), `with u as (select postern.create_user(email => $3) as id)
		insert into auth.mfa_factors (id, user_id, friendly_name, factor_type, status, secret, created_at, updated_at)
		select f.id, u.id, f.id::text, 'totp', 'verified', f.secret, now(), now() from u, unnest($1::uuid[], $2::text[]) f (id, secret)`,
		ids, stored, string(key)[:9]+"@example.com")
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// storedSecrets are all secrets as they are stored, by factor.
func storedSecrets(t *testing.T, db *pgtest.DB) map[string]string {
	t.Helper()
	rows, err := pgtest.Connect(t, db.SuperDSN).Query(t.Context(), `select id::text, secret from auth.mfa_factors`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	stored := map[string]string{}
	for rows.Next() {
		var id, secret string
		if err := rows.Scan(&id, &secret); err != nil {
			t.Fatal(err)
		}
		stored[id] = secret
	}
	return stored
}
