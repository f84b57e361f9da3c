package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-auth/postern/gateway/config"
	"github.com/postern-auth/postern/gateway/token"
)

// mintedClaims mints with the arguments and returns the claims but for times.
func mintedClaims(t *testing.T, environ []string, args ...string) map[string]any {
	t.Helper()
	var report struct {
		Validity, Reason string
		Claims           map[string]any
	}
	minted := mustCommand(t, environ, "", append([]string{"token", "mint"}, args...)...)
	if err := json.Unmarshal([]byte(mustCommand(t, environ, minted, "token", "inspect", "--json")), &report); err != nil {
		t.Fatal(err)
	}
	if report.Validity != "valid" {
		t.Errorf("%v: %s", args, report.Reason)
	}
	delete(report.Claims, "iat")
	return report.Claims
}

func TestTokenMint(t *testing.T) {
	environ := []string{"GOTRUE_JWT_SECRET=" + commandSecret}
	named := append([]string{"GOTRUE_JWT_AUD=authenticated", "GOTRUE_JWT_ISSUER=https://auth.example.com"}, environ...)
	for _, c := range []struct {
		environ, args []string
		want          map[string]any
	}{
		{environ, []string{"--expires", "never"}, map[string]any{"role": "authenticated"}},
		{environ, []string{"--expires", "never", "--role", ""}, map[string]any{}},
		{
			named,
			[]string{"--expires", "never", "--sub", "ada", "--role", "editor"},
			map[string]any{"role": "editor", "sub": "ada", "aud": "authenticated", "iss": "https://auth.example.com"},
		},
		{
			environ,
			[]string{"--claim", "exp=4102444800", "--claim", `app_metadata={"a":[1,2],"b":"x=y"}`, "--claim", "tenant=7", "--claim", `n="7"`, "--claim", "name=Ada, L."},
			map[string]any{
				"role": "authenticated", "exp": 4102444800.0, "app_metadata": map[string]any{"a": []any{1.0, 2.0}, "b": "x=y"},
				"tenant": 7.0, "n": "7", "name": "Ada, L.",
			},
		},
	} {
		if diff := cmp.Diff(c.want, mintedClaims(t, c.environ, c.args...)); diff != "" {
			t.Errorf("%v: %s", c.args, diff)
		}
	}
	if claims := mintedClaims(t, environ); claims["exp"] == nil {
		t.Errorf("no exp in %v", claims)
	}
	for _, args := range [][]string{{"--claim", "x"}, {"--claim", "=x"}, {"--expires", "soon"}} {
		if out, err := command(t, environ, "", append([]string{"token", "mint"}, args...)...); err == nil {
			t.Errorf("%v: %s", args, out)
		}
	}
	if _, err := command(t, nil, "", "token", "mint"); err == nil || err.Error() != "GOTRUE_JWT_SECRET: required" {
		t.Errorf("without a secret: %v", err)
	}
}

func TestTokenInspect(t *testing.T) {
	environ := []string{"GOTRUE_JWT_SECRET=" + commandSecret}
	good := strings.TrimSpace(mustCommand(t, environ, "", "token", "mint", "--claim", "iat=1700000000", "--claim", "exp=4102444800"))
	expired := mustCommand(t, environ, "", "token", "mint", "--claim", "exp=1700000000")
	endless := mustCommand(t, environ, "", "token", "mint", "--claim", "exp=1e300")
	refresh := token.NewRefreshKeys(nil, commandSecret).Mint([16]byte{0x0f, 0x2b}, 300)
	for name, c := range map[string]struct {
		environ []string
		input   string
		want    []string // in what is printed
		fails   bool
	}{
		"valid": {environ, good + "\n", []string{
			"kind      access token\n", `header    {"alg":"HS256","typ":"JWT"}`, `"role": "authenticated"`, "issued    2023-11-14T22:13:20Z (",
			" ago)", "expires   2100-01-01T00:00:00Z (in ", "validity  valid\n",
		}, false},
		"with the scheme":      {environ, "Bearer " + good, []string{"validity  valid\n"}, false},
		"end beyond all times": {environ, endless, []string{"kind      access token\n"}, true},
		"expired": {environ, expired, []string{
			"expires   2023-11-14T22:13:20Z (", "validity  invalid\n", "reason    invalid JWT: unable to parse or verify signature, token has invalid claims: token is expired\n",
		}, true},
		"other secret":  {[]string{"GOTRUE_JWT_SECRET=another"}, good, []string{`"role"`, "validity  invalid\n", "signature is invalid"}, true},
		"no secret":     {nil, good, []string{`"role"`, "validity  not checked\n", "neither GOTRUE_JWT_SECRET nor GOTRUE_JWT_KEYS is set"}, false},
		"wrong keys":    {[]string{"GOTRUE_JWT_KEYS=[]"}, good, []string{"not checked", "GOTRUE_JWT_KEYS: no signing key found"}, false},
		"not base64":    {environ, "a.!.c", []string{"validity  invalid\n", "could not base64 decode"}, true},
		"control bytes": {environ, "e30.eyJhIjoiwpsifQ.", []string{`"a": "?"`, "invalid"}, true},
		"refresh token": {environ, refresh, []string{
			"kind      refresh token\n", "session   0f2b0000-0000-0000-0000-000000000000\n", "counter   300\n", "validity  valid\n",
		}, false},
		"older refresh key":     {append(environ, "POSTERN_TOKEN_KEYS=new, "+commandSecret), refresh, []string{"validity  valid\n"}, false},
		"unknown refresh key":   {append(environ, "POSTERN_TOKEN_KEYS=new"), refresh, []string{"validity  invalid\n", "no configured key made it"}, true},
		"refresh token, no key": {nil, refresh, []string{"validity  not checked\n"}, false},
		"first version":         {environ, "acjdjnlggqi5", []string{"first version", "not checked", "only the database knows"}, false},
		"something else":        {environ, "nonsense", []string{"kind      unknown\n", "neither an access token nor a refresh token"}, true},
	} {
		out, err := command(t, c.environ, c.input, "token", "inspect")
		if (err != nil) != c.fails || err != nil && err.Error() != "the token is not valid" {
			t.Errorf("%s: error %v", name, err)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is not in\n%s", name, want, out)
			}
		}
	}
	for name, run := range map[string]func() (string, error){
		"empty":    func() (string, error) { return command(t, environ, " \n", "token", "inspect") },
		"argument": func() (string, error) { return command(t, environ, "", "token", "inspect", good) },
	} {
		if out, err := run(); err == nil || out != "" {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestTokenInspectNeverPrintsAKey(t *testing.T) {
	key, err := token.GenerateKey("HS256", "k")
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(key, &members); err != nil {
		t.Fatal(err)
	}
	environ := []string{"GOTRUE_JWT_SECRET=" + commandSecret, "GOTRUE_JWT_KEYS=[" + string(key) + "]"}
	if _, err := token.NewKeyring(commandSecret, config.Secret("["+string(key)+"]"), "", nil); err != nil {
		t.Fatal(err)
	}
	minted := mustCommand(t, environ, "", "token", "mint")
	broken := []string{"GOTRUE_JWT_SECRET=" + commandSecret, "GOTRUE_JWT_KEYS=[" + strings.Replace(string(key), `"HS256"`, `"ES256"`, 1) + "]"}
	for _, environ := range [][]string{environ, broken} {
		out := mustCommand(t, environ, minted, "token", "inspect")
		if strings.Contains(out, members["k"].(string)) || strings.Contains(out, commandSecret) {
			t.Errorf("a secret is in\n%s", out)
		}
	}
}
