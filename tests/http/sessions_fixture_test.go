package http_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/postern-auth/postern/tests/pgtest"
)

// A database that Supabase Auth made, and what its clients still hold; see the README beside them.
const (
	fixtureDump    = "../../../shared/fixtures/supabase-auth-2.196.sql"
	fixtureClients = "../../../shared/fixtures/supabase-auth-2.196.json"
)

// fixtureAccount is one account of the fixture.
type fixtureAccount struct {
	Name     string   `json:"name"`
	Email    string   `json:"email"`
	Phone    string   `json:"phone"`
	Password string   `json:"password"`
	Refresh  string   `json:"refresh_token"`
	Spent    []string `json:"spent_refresh_tokens"`
	UserID   string   `json:"user_id"`
}

// fixture is what clients of the adopted database hold.
type fixture struct {
	JWTSecret string           `json:"jwt_secret"`
	Accounts  []fixtureAccount `json:"accounts"`
}

// readFixture skips the test where the fixture is not beside the checkout.
func readFixture(t testing.TB) fixture {
	t.Helper()
	raw, err := os.ReadFile(fixtureClients)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no database of Supabase Auth beside this checkout: " + fixtureClients)
	} else if err != nil {
		t.Fatal(err)
	}
	var out fixture
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// account is the fixture's account of this name.
func (f fixture) account(t testing.TB, name string) fixtureAccount {
	t.Helper()
	for _, account := range f.Accounts {
		if account.Name == name {
			return account
		}
	}
	t.Fatalf("the fixture has no account %q", name)
	return fixtureAccount{}
}

// Accounts by what they are in the fixture.
const (
	neverRefreshed  = "bcrypt password, one live session"
	refreshedTwice  = "12-character refresh token, refreshed twice"
	anonymousUser   = "anonymous"
	phoneUser       = "phone, confirmed"
	secondFactor    = "TOTP factor verified, aal2 session"
	v2Fresh         = "v2 refresh token, never refreshed"
	v2Used          = "v2 refresh token, refreshed twice"
	bannedUser      = "banned"
	softDeleted     = "soft-deleted"
	unconfirmedUser = "not confirmed"
)

// restored is a copy of the fixture as Supabase Auth left it.
func restored(t testing.TB) *pgtest.DB {
	t.Helper()
	return pgtest.From(t, "supabase-auth-"+fixtureSum(t), restoreFixture)
}

// adopted is a copy of the fixture after the migrations.
func adopted(t testing.TB) *pgtest.DB {
	t.Helper()
	key := fmt.Sprintf("adopted-%s-%s", fixtureSum(t), migrationsSum(t))
	return pgtest.From(t, key, func(ctx context.Context, superDSN string) error {
		if err := restoreFixture(ctx, superDSN); err != nil {
			return err
		}
		return pgtest.MigrateURL(ctx, superDSN)
	})
}

// startAdopted brings up a gateway on a copy of the adopted database, with the settings of the server that made it.
func startAdopted(t testing.TB, env ...string) *server {
	t.Helper()
	return startAdoptedOn(t, adopted(t), env...)
}

func fixtureSum(t testing.TB) string {
	t.Helper()
	readFixture(t) // or skip
	dump, err := os.ReadFile(fixtureDump)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(dump)
	return hex.EncodeToString(sum[:6])
}

// restoreFixture makes the roles that the dump mentions, which may exist and belong to the whole server, and reads it in.
func restoreFixture(ctx context.Context, superDSN string) error {
	conn, err := pgx.Connect(ctx, superDSN)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing pending
	for _, role := range []string{
		"supabase_admin login createrole createdb replication bypassrls", "supabase_auth_admin noinherit createrole login",
		"postgres superuser login", "anon", "authenticated", "service_role bypassrls",
	} {
		_, err := conn.Exec(ctx, `do $$ begin create role `+role+`; exception when duplicate_object or unique_violation then null; end $$`)
		if err != nil {
			return fmt.Errorf("role %s: %w", role, err)
		}
	}
	out, err := exec.CommandContext(ctx, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", superDSN, "-f", fixtureDump).CombinedOutput()
	if err != nil {
		return fmt.Errorf("restoring the fixture: %w: %s", err, out)
	}
	return nil
}
