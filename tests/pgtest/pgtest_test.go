package pgtest_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/postern-auth/postern/tests/pgtest"
)

func TestNewGivesEachTestItsOwnMigratedDatabase(t *testing.T) {
	t.Parallel()
	one, two := pgtest.New(t), pgtest.New(t)
	if one.Name == two.Name {
		t.Fatal("two tests share a database")
	}
	for _, db := range []*pgtest.DB{one, two} {
		super, owner, gateway := pgtest.Connect(t, db.SuperDSN), pgtest.Connect(t, db.OwnerDSN), pgtest.Connect(t, db.GatewayDSN)
		if got := ask(t, super, "select current_database()"); got != db.Name {
			t.Errorf("connected to %s, want %s", got, db.Name)
		}
		if got := ask(t, super, "select current_setting('is_superuser')"); got != "on" {
			t.Errorf("is_superuser = %s", got)
		}
		want := ask(t, super, "select tableowner from pg_tables where schemaname = 'auth' and tablename = 'users'")
		if got := ask(t, owner, "select current_user"); got != want {
			t.Errorf("owner connects as %s, want %s", got, want)
		}
		if got := ask(t, owner, "select current_setting('is_superuser')"); got != "off" {
			t.Error("the owner has a superuser's rights")
		}
		if got := ask(t, gateway, "select session_user"); got != "postern_gateway" {
			t.Errorf("gateway connects as %s", got)
		}
	}
}

func TestEmptyAndMigrate(t *testing.T) {
	t.Parallel()
	db := pgtest.Empty(t)
	conn := pgtest.Connect(t, db.SuperDSN)
	if got := ask(t, conn, "select count(*)::text from pg_namespace where nspname = 'auth'"); got != "0" {
		t.Fatal("the empty database has a schema auth")
	}
	pgtest.Migrate(t, db)
	pgtest.Migrate(t, db) // a second time does nothing
	if got := ask(t, pgtest.Connect(t, db.OwnerDSN), "select current_setting('is_superuser')"); got != "off" {
		t.Error("OwnerDSN still connects as the superuser")
	}
}

func TestFromBuildsATemplateOnce(t *testing.T) {
	t.Parallel()
	built := 0
	build := func(ctx context.Context, dsn string) error {
		built++
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			return err
		}
		defer conn.Close(ctx) //nolint:errcheck // nothing pending
		_, err = conn.Exec(ctx, "create table mine as select 'here' as word")
		return err
	}
	key := t.Name() + pgtest.Empty(t).Name // a server that outlives the tests may know the plain name
	for range 3 {
		db := pgtest.From(t, key, build)
		if got := ask(t, pgtest.Connect(t, db.SuperDSN), "select word from mine"); got != "here" {
			t.Errorf("word = %s", got)
		}
	}
	if built != 1 {
		t.Errorf("built %d times", built)
	}
}

func TestDatabasesAreDropped(t *testing.T) {
	t.Parallel()
	name := ""
	t.Run("owner", func(t *testing.T) {
		db := pgtest.Empty(t)
		name = db.Name
		pgtest.Connect(t, db.SuperDSN)
	})
	conn := pgtest.Connect(t, pgtest.Server(t).DSN("postgres"))
	if got := ask(t, conn, "select count(*)::text from pg_database where datname = '"+name+"'"); got != "0" {
		t.Error("the database is still there")
	}
}

func TestPrivateServersAreApart(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Private(t, map[string]string{"max_connections": "7"})
	conn := pgtest.Connect(t, cluster.DSN("postgres", "postgres"))
	if got := ask(t, conn, "show max_connections"); got != "7" {
		t.Errorf("max_connections = %s", got)
	}
}

func ask(t *testing.T, conn *pgx.Conn, query string) string {
	t.Helper()
	var answer string
	if err := conn.QueryRow(t.Context(), query).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return answer
}
