// Package pgtest gives every test a PostgreSQL database of its own, cloned from a template that the
// migrations in sql/ have been run on once.
//
// One server serves all tests of a process. It is started at first use, or it is the one that
// POSTERN_TEST_DATABASE_URL names (a superuser's URL; the Makefile starts one for all packages). POSTERN_TEST_PG_BIN
// names the folder of the PostgreSQL programs to start; without it the oldest supported version on the
// machine is taken, because what works there works on the newer ones.
package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// patience bounds whatever a helper of this package waits for.
const patience = 2 * time.Minute

// DB is a database that belongs to one test. It is dropped when the test ends, whoever is still connected.
type DB struct {
	// Name of the database.
	Name string
	// SuperDSN connects as the superuser.
	SuperDSN string
	// OwnerDSN connects as the role that owns the tables in schema auth (as the superuser when there are none).
	OwnerDSN string
	// GatewayDSN connects as postern_gateway.
	GatewayDSN string
}

// New returns a migrated database.
func New(t testing.TB) *DB {
	t.Helper()
	hash, err := migrationsHash()
	if err != nil {
		t.Fatalf("pgtest: reading the migrations: %v", err)
	}
	return From(t, "migrated-"+hash, MigrateURL)
}

// Empty returns a database without anything in it. The cluster's roles may exist already.
func Empty(t testing.TB) *DB {
	t.Helper()
	return Server(t).clone(t, "template0", "")
}

// From returns a copy of the template called key, which build fills when no test of this cluster has asked
// for it yet. What decides the template's contents must be part of key: a server may outlive the test run.
func From(t testing.TB, key string, build func(ctx context.Context, superDSN string) error) *DB {
	t.Helper()
	s := Server(t)
	tpl, err := s.template(key, build)
	if err != nil {
		t.Fatalf("pgtest: template %s: %v", key, err)
	}
	return s.clone(t, tpl.name, tpl.owner)
}

// Migrate runs the migrations in sql/ on the database as the superuser.
func Migrate(t testing.TB, db *DB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := MigrateURL(ctx, db.SuperDSN); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	s := Server(t)
	owner, err := ownerOf(ctx, db.SuperDSN)
	if err == nil {
		err = s.admitGateway(ctx)
	}
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	db.OwnerDSN = s.asRole(owner, db.Name)
}

// Connect opens a connection that is closed when the test ends.
func Connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = conn.Close(ctx) // the database is dropped by force anyway
	})
	return conn
}

// clone makes a test's database and sees to its end.
func (s *Instance) clone(t testing.TB, template, owner string) *DB {
	t.Helper()
	db := &DB{Name: "test_" + randomHex()}
	// Copying files instead of writing every page to the log halves the time.
	create := "create database " + db.Name + " template " + template + " strategy file_copy"
	if err := s.exec(create); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if err := s.exec("drop database if exists " + db.Name + " with (force)"); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	db.SuperDSN = s.DSN(db.Name)
	db.OwnerDSN = s.asRole(owner, db.Name)
	db.GatewayDSN = s.gatewayDSN(db.Name)
	return db
}

// DSN is the superuser's URL of a database on this server.
func (s *Instance) DSN(database string) string {
	u := *s.url
	u.Path = "/" + database
	return u.String()
}

// asRole is the superuser's URL with another role switched on: the owner usually cannot log in.
func (s *Instance) asRole(role, database string) string {
	u := *s.url
	u.Path = "/" + database
	if role != "" {
		q := u.Query()
		q.Set("options", "-c role="+role)
		// pgx takes a plus sign literally, so spaces are written as %20.
		u.RawQuery = encodeQuery(q)
	}
	return u.String()
}

// gatewayDSN is the URL for postern_gateway, which shares the superuser's password when there is one.
func (s *Instance) gatewayDSN(database string) string {
	u := *s.url
	u.Path = "/" + database
	u.User = url.User(gatewayRole)
	if password, ok := s.url.User.Password(); ok {
		u.User = url.UserPassword(gatewayRole, password)
	}
	return u.String()
}

func randomHex() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
