package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/token"
)

const commandSecret = "a-secret-for-the-tests-of-the-command-line"

// command runs one of the two commands with its own environment and input. Tests
// that call it are not parallel: the library keeps its help flag in a global.
func command(t *testing.T, environ []string, input string, args ...string) (stdout string, err error) {
	t.Helper()
	var out, errors bytes.Buffer
	app := &cli.App{
		Name: "postern", Commands: []*cli.Command{keysCommand(), tokenCommand()}, Metadata: map[string]any{"environ": environ},
		Reader: strings.NewReader(input), Writer: &out, ErrWriter: &errors, ExitErrHandler: func(*cli.Context, error) {},
	}
	err = app.RunContext(context.Background(), append([]string{"postern"}, args...))
	return out.String(), err
}

func mustCommand(t *testing.T, environ []string, input string, args ...string) string {
	t.Helper()
	out, err := command(t, environ, input, args...)
	if err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	return out
}

// unquote reads one line of what the commands print for a shell.
func unquote(t *testing.T, line, name string) string {
	t.Helper()
	value, ok := strings.CutPrefix(strings.TrimSpace(line), name+"=")
	if !ok {
		t.Fatalf("%q does not set %s", line, name)
	}
	return strings.Trim(value, "'")
}

func TestKeysSecret(t *testing.T) {
	one := unquote(t, mustCommand(t, nil, "", "keys", "secret"), "GOTRUE_JWT_SECRET")
	var two map[string]string
	if err := json.Unmarshal([]byte(mustCommand(t, nil, "", "keys", "secret", "--json")), &two); err != nil {
		t.Fatal(err)
	}
	if len(one) != 43 || len(two["GOTRUE_JWT_SECRET"]) != 43 || one == two["GOTRUE_JWT_SECRET"] {
		t.Errorf("%q, %q", one, two)
	}
}

func TestKeysJWKS(t *testing.T) {
	for _, algorithm := range []string{"RS256", "RS512", "ES256", "ES512", "EdDSA", "HS256"} {
		line := mustCommand(t, nil, "", "keys", "jwks", "--alg", algorithm, "--kid", "mine")
		ring, err := token.NewKeyring(commandSecret, config.Secret(unquote(t, line, "GOTRUE_JWT_KEYS")), "", nil)
		if err != nil {
			t.Errorf("%s: %v", algorithm, err)
			continue
		}
		signed, err := ring.Sign([]byte(`{"sub":"ada"}`))
		if err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
		if _, err := ring.Verify(signed); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
	var both struct {
		Keys []map[string]any            `json:"GOTRUE_JWT_KEYS"`
		JWKS map[string][]map[string]any `json:"jwks"`
	}
	if err := json.Unmarshal([]byte(mustCommand(t, nil, "", "keys", "jwks", "--json")), &both); err != nil {
		t.Fatal(err)
	}
	if both.Keys[0]["alg"] != "ES256" || both.Keys[0]["d"] == nil || both.JWKS["keys"][0]["d"] != nil ||
		both.JWKS["keys"][0]["kid"] != both.Keys[0]["kid"] {
		t.Errorf("%v", both)
	}
	if _, err := command(t, nil, "", "keys", "jwks", "--alg", "none"); err == nil || !strings.HasPrefix(err.Error(), "--alg: ") {
		t.Errorf("--alg none: %v", err)
	}
}

func TestKeysJWKSKeepsWhatWasSignedBefore(t *testing.T) {
	secretOnly := []string{"GOTRUE_JWT_SECRET=" + commandSecret}
	first := unquote(t, mustCommand(t, secretOnly, "", "keys", "jwks", "--keep"), "GOTRUE_JWT_KEYS")
	withKeys := append(secretOnly, "GOTRUE_JWT_KEYS="+first)
	second := unquote(t, mustCommand(t, withKeys, "", "keys", "jwks", "--keep", "--alg", "EdDSA"), "GOTRUE_JWT_KEYS")
	ring, err := token.NewKeyring(commandSecret, config.Secret(second), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, environ := range [][]string{secretOnly, withKeys, append(secretOnly, "GOTRUE_JWT_KEYS="+second)} {
		anon := unquote(t, strings.Split(mustCommand(t, environ, "", "keys", "api"), "\n")[0], "ANON_KEY")
		if claims, err := ring.Verify(anon); err != nil || claims.Role != "anon" {
			t.Errorf("%+v, %v", claims, err)
		}
	}
	if _, err := command(t, nil, "", "keys", "jwks", "--keep"); err == nil {
		t.Error("--keep without anything to keep is no error")
	}
	if _, err := command(t, withKeys, "", "keys", "jwks", "--keep", "--kid", "secret"); err == nil || !strings.Contains(err.Error(), "used twice") {
		t.Errorf("an id used twice: %v", err)
	}
}

func TestKeysAPI(t *testing.T) {
	environ := []string{"GOTRUE_JWT_SECRET=overridden", "GOTRUE_JWT_SECRET=" + commandSecret}
	ring, err := token.NewKeyring(commandSecret, "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(mustCommand(t, environ, "", "keys", "api"), "\n")
	for i, want := range []struct{ name, role string }{{"ANON_KEY", "anon"}, {"SERVICE_ROLE_KEY", "service_role"}} {
		claims, err := ring.Verify(unquote(t, lines[i], want.name))
		if err != nil || claims != (token.Claims{Role: want.role}) {
			t.Errorf("%s: %+v, %v", want.name, claims, err)
		}
	}
	var report inspection
	inspected := mustCommand(t, environ, unquote(t, lines[0], "ANON_KEY"), "token", "inspect", "--json")
	if err := json.Unmarshal([]byte(inspected), &report); err != nil {
		t.Fatal(err)
	}
	if lifetime := report.Expires.Sub(*report.Issued); lifetime != 3650*24*time.Hour {
		t.Errorf("lifetime %v", lifetime)
	}
	var keys map[string]string
	if err := json.Unmarshal([]byte(mustCommand(t, environ, "", "keys", "api", "--expires", "never", "--json")), &keys); err != nil || len(keys) != 2 {
		t.Errorf("%v, %v", keys, err)
	}
	for want, args := range map[string][]string{
		"GOTRUE_JWT_SECRET: required": {"keys", "api"},
		"GOTRUE_JWT_KEYS: not a JSON": {"keys", "api", "x"},
		`--expires: "1w" is no life`:  {"keys", "api", "--expires", "1w"},
	} {
		environ := map[string][]string{"G": nil, "-": environ}[want[:1]]
		if strings.Contains(want, "KEYS") {
			environ = []string{"GOTRUE_JWT_KEYS={}"}
		}
		if _, err := command(t, environ, "", args...); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v: %v, want %s", args, err, want)
		}
	}
}

func TestLifetimes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"never": 0, "1h30m": 90 * time.Minute, "2d": 48 * time.Hour, "10y": 87600 * time.Hour,
	} {
		if got, err := parseLifetime(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "0d", "-1h", "-1d", "d", "1.5d", "1000y", "99999999999999999999d", "x"} {
		if got, err := parseLifetime(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestHelpOfKeysAndTokenHasExamples(t *testing.T) {
	for _, args := range [][]string{
		{"keys"}, {"keys", "secret"}, {"keys", "jwks"}, {"keys", "api"}, {"token"}, {"token", "mint"}, {"token", "inspect"},
	} {
		help := mustCommand(t, nil, "", append(args, "--help")...)
		if !strings.Contains(help, "DESCRIPTION:") || !strings.Contains(help, "Examples:") || !strings.Contains(help, "postern "+strings.Join(args, " ")) {
			t.Errorf("%v:\n%s", args, help)
		}
	}
}
