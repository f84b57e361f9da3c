package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/devmail"
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

func TestDevStateOfTwoFirstRunsAtOnceIsOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	states, begin := make(chan *devState, 16), make(chan struct{})
	for range cap(states) {
		go func() {
			<-begin
			state, err := loadState(dir)
			if err != nil {
				t.Error(err)
			}
			states <- state
		}()
	}
	close(begin)
	first := <-states
	for range cap(states) - 1 {
		if other := <-states; *other != *first {
			t.Fatal("two runs have secrets of their own")
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%d files, %v", len(entries), err)
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
	devCatches(t, first["API_URL"])
	stop()
	if _, err := pgx.Connect(t.Context(), first["DATABASE_URL"]); err == nil {
		t.Error("PostgreSQL is still running")
	}

	// In the terminal in which dev.env was sourced.
	second, stop := startDev(t, dir, "DATABASE_URL="+first["DATABASE_URL"])
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

// devCatches checks that mails and SMS end at /dev/mail, by the way that they take to a relay and a provider.
func devCatches(t *testing.T, apiURL string) {
	t.Helper()
	for recipient, body := range map[string]string{
		"ada@example.com": `{"email":"ada@example.com"}`, "4915112345678": `{"phone":"+4915112345678"}`,
	} {
		response, err := http.Post(apiURL+"/otp", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("/otp for %s answers %s", recipient, response.Status)
		}
		response, err = http.Get(apiURL + "/dev/mail.json?wait=10s&to=" + recipient)
		if err != nil {
			t.Fatal(err)
		}
		var messages []devmail.Message
		err = json.NewDecoder(response.Body).Decode(&messages)
		_ = response.Body.Close()
		if err != nil || len(messages) != 1 {
			t.Fatalf("%d messages to %s: %v", len(messages), recipient, err)
		}
		m := messages[0]
		if m.Channel == "email" && (m.Kind != "magic_link" || !strings.HasPrefix(m.Link, apiURL+"/verify?token=")) ||
			m.Channel == "sms" && len(m.Code) != 6 {
			t.Errorf("caught: %+v", m)
		}
	}
}

// Somebody's own relay and provider are used, and then there is no page.
func TestDevSendsWhereItIsTold(t *testing.T) {
	t.Parallel()
	required := []string{
		"DATABASE_URL=postgres://db/x", "API_EXTERNAL_URL=http://localhost", "GOTRUE_SITE_URL=http://localhost",
		"GOTRUE_JWT_SECRET=" + strings.Repeat("x", 32),
	}
	relay := []string{"GOTRUE_SMTP_HOST=smtp.example.com", "GOTRUE_SMTP_ADMIN_EMAIL=auth@example.com"}
	fallback := []string{"POSTERN_SMTP_FALLBACK_1_HOST=smtp.example.com", "GOTRUE_SMTP_ADMIN_EMAIL=auth@example.com"}
	provider := []string{"GOTRUE_SMS_PROVIDER=vonage", "GOTRUE_SMS_VONAGE_FROM=me"}
	for name, c := range map[string]struct {
		environ            []string
		smtp, sms, mailsAt string
		hasPage            bool
	}{
		"neither":  {nil, "127.0.0.1", "textlocal", "http://here/dev/mail", true},
		"relay":    {relay, "smtp.example.com", "textlocal", "sent by smtp.example.com; SMS: http://here/dev/mail", true},
		"fallback": {fallback, "", "textlocal", "sent by smtp.example.com; SMS: http://here/dev/mail", true},
		"provider": {provider, "127.0.0.1", "vonage", "http://here/dev/mail", true},
		"both":     {slices.Concat(relay, provider), "smtp.example.com", "vonage", "sent by smtp.example.com", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			caught, err := catchMessages(t.Context(), slices.Concat(required, c.environ), io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			defer caught.close()
			smtp, _ := lookup(caught.environ, "GOTRUE_SMTP_HOST")
			provider, _ := lookup(caught.environ, "GOTRUE_SMS_PROVIDER")
			if smtp != c.smtp || provider != c.sms || caught.describe("http://here") != c.mailsAt || (caught.front != nil) != c.hasPage {
				t.Errorf("mails to %q, SMS by %q, %s, page: %v", smtp, provider, caught.describe("http://here"), caught.front != nil)
			}
			if (caught.endpoints.SMS != "") != (c.sms == "textlocal") {
				t.Errorf("SMS go to %q", caught.endpoints.SMS)
			}
			if _, err := config.Load(caught.environ); err != nil {
				t.Error(err)
			}
		})
	}
}

// startDev runs `postern dev` on a folder until stop is called, and returns what dev.env says.
func startDev(t *testing.T, dir string, more ...string) (values map[string]string, stop func()) {
	t.Helper()
	envFile := filepath.Join(dir, "dev.env")
	if err := os.Remove(envFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		environ := append([]string{"PATH=" + os.Getenv("PATH"), "GOTRUE_EXTERNAL_PHONE_ENABLED=true"}, more...)
		d := &devServer{dir: dir, environ: environ, stdout: &out}
		ended <- d.run(ctx)
	}()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("postern dev: %v", err)
		}
		for _, value := range append(slices.Collect(maps.Values(values)), values["API_URL"]+"/dev/mail\n") {
			if !strings.Contains(out.String(), value) {
				t.Errorf("%q is not in the table:\n%s", value, &out)
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
