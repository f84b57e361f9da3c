package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestDevStateIsGeneratedOnceAndKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := loadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := loadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if *first != *second {
		t.Error("the second run has other secrets")
	}
	if first.JWTSecret == first.DatabasePassword || first.JWTSecret == first.GatewayPassword {
		t.Error("one secret is used twice")
	}
	info, err := os.Stat(filepath.Join(dir, "secrets.json"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("secrets.json has mode %v", info.Mode())
	}
}

func TestDevEnvironmentLetsTheUserWin(t *testing.T) {
	t.Parallel()
	state := &devState{JWTSecret: "generated"}
	user := []string{
		"DATABASE_URL=postgres://owner@db/x", "GOTRUE_API_PORT=1234", "GOTRUE_MAILER_AUTOCONFIRM=false",
		"GOTRUE_JWT_SECRET=mine", "GOTRUE_API_API_EXTERNAL_URL=https://auth.example.com", "HOME=/home/me",
	}
	environ, err := devEnvironment(user, state, "postgres://gateway@db/x")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"DATABASE_URL":                            "postgres://gateway@db/x",
		"GOTRUE_API_PORT":                         "1234",
		"GOTRUE_MAILER_AUTOCONFIRM":               "false",
		"GOTRUE_JWT_SECRET":                       "mine",
		"GOTRUE_API_API_EXTERNAL_URL":             "https://auth.example.com",
		"GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED": "true",
		"GOTRUE_SITE_URL":                         "http://localhost:3000",
		"GOTRUE_API_HOST":                         "127.0.0.1",
		"HOME":                                    "/home/me",
	} {
		if got, _ := lookup(environ, name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"PORT", "API_EXTERNAL_URL"} {
		if got, set := lookup(environ, name); set {
			t.Errorf("%s = %q beside the user's own spelling", name, got)
		}
	}
}

func TestDevTakesTheNextFreePort(t *testing.T) {
	t.Parallel()
	// Holds 9999 unless something else does already; either way it is taken.
	if l, err := net.Listen("tcp", "127.0.0.1:9999"); err == nil {
		t.Cleanup(func() { _ = l.Close() })
	}
	port, err := freePort("")
	if err != nil {
		t.Fatal(err)
	}
	if port <= 9999 {
		t.Errorf("port %d", port)
	}
}

func TestWithUser(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{
		"postgres://owner:secret@db.example.com:6543/app?sslmode=disable&options=-c%20geqo%3Doff",
		"postgresql://db.example.com:6543/app?user=owner&password=secret&sslmode=disable",
		"host=db.example.com port=6543 dbname=app user=owner password=secret sslmode=disable",
	} {
		got, err := withUser(dsn, "postern_gateway", "p-_1")
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := pgx.ParseConfig(got)
		if err != nil {
			t.Fatal(err)
		}
		if parsed.User != "postern_gateway" || parsed.Password != "p-_1" || parsed.Host != "db.example.com" ||
			parsed.Port != 6543 || parsed.Database != "app" || parsed.TLSConfig != nil {
			t.Errorf("%s became %s", dsn, got)
		}
		if options, ok := parsed.RuntimeParams["options"]; ok && options != "-c geqo=off" {
			t.Errorf("options became %q", options)
		}
	}
}

func TestShellQuoteSurvivesTheShell(t *testing.T) {
	t.Parallel()
	const value = `it's $HOME "and" \more`
	out, err := exec.Command("/bin/sh", "-c", "X="+shellQuote(value)+`; printf %s "$X"`).Output()
	if err != nil || string(out) != value {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestReachable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"[::]:9999": "127.0.0.1:9999", "0.0.0.0:9999": "127.0.0.1:9999", ":9999": "127.0.0.1:9999",
		"127.0.0.1:9999": "127.0.0.1:9999", "[::1]:9999": "[::1]:9999", "10.0.0.1:80": "10.0.0.1:80",
	} {
		if got := reachable(in); got != want {
			t.Errorf("reachable(%s) = %s, want %s", in, got, want)
		}
	}
}

// TestDevComesUpAndKeepsItsData runs the whole of `postern dev` twice on one folder.
func TestDevComesUpAndKeepsItsData(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "postern-dev-test-") // user postgres may not enter t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}

	first, stop := startDev(t, dir)
	conn := connectDev(t, first)
	if _, err := conn.Exec(t.Context(), "create table public.kept ()"); err != nil {
		t.Fatal(err)
	}
	var gateways int
	err = conn.QueryRow(t.Context(), "select count(*) from pg_stat_activity where usename = 'postern_gateway'").Scan(&gateways)
	if err != nil || gateways == 0 {
		t.Errorf("%d connections as postern_gateway (%v)", gateways, err)
	}
	response, err := http.Get(first["API_URL"] + "/health")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("/health answers %s", response.Status)
	}
	stop()
	if _, err := pgx.Connect(t.Context(), first["DATABASE_URL"]); err == nil {
		t.Error("PostgreSQL is still running")
	}

	second, stop := startDev(t, dir)
	for _, name := range []string{"ANON_KEY", "SERVICE_ROLE_KEY"} {
		if first[name] == "" || first[name] != second[name] {
			t.Errorf("%s changed with the second run", name)
		}
	}
	if _, err := connectDev(t, second).Exec(t.Context(), "table public.kept"); err != nil {
		t.Errorf("the data are gone: %v", err)
	}
	stop()
}

// startDev runs `postern dev` on a folder until stop is called, and returns what dev.env says.
func startDev(t *testing.T, dir string) (values map[string]string, stop func()) {
	t.Helper()
	envFile := filepath.Join(dir, "dev.env")
	if err := os.Remove(envFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		d := &devServer{dir: dir, environ: []string{"PATH=" + os.Getenv("PATH")}, stdout: &out}
		ended <- d.run(ctx)
	}()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("postern dev: %v", err)
		}
		for _, value := range values {
			if !strings.Contains(out.String(), value) {
				t.Errorf("%q is in dev.env and not in the table:\n%s", value, &out)
			}
		}
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(envFile); err == nil {
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("postern dev ended: %v\n%s", err, &out)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("dev.env was not written within a minute")
		}
	}
	// The way a script reads it.
	sourced, err := exec.Command("/bin/sh", "-c",
		`. "$0"; printf '%s\n' "$API_URL" "$DATABASE_URL" "$ANON_KEY" "$SERVICE_ROLE_KEY"`, envFile).Output()
	lines := strings.Split(string(sourced), "\n")
	if err != nil || len(lines) != 5 {
		t.Fatalf("sourcing dev.env: %v, %q", err, sourced)
	}
	values = map[string]string{
		"API_URL": lines[0], "DATABASE_URL": lines[1], "ANON_KEY": lines[2], "SERVICE_ROLE_KEY": lines[3],
	}
	return values, stop
}

func connectDev(t *testing.T, values map[string]string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), values["DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}
