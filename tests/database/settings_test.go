package database_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/postern-auth/postern/gateway/config"
)

// A value that the row does not take would stop a gateway with the words of a constraint. A mistake is to name its variable.
func TestTheRowTakesWhateverTheGatewayReads(t *testing.T) {
	t.Parallel()
	_, conn := installed(t)
	texts := []string{
		"", "0", "0.5", "1", "-1", "5", "11", "72", "1e9", "1000000001", "2147483647", "2147483648", "1e18", "1e308", "99999999999999999999",
		"0s", "1ns", "1us", "1.5ms", "-1h", "1h30m", "2562047h47m16s", "1/1ns", "1/1us", "0/1h", "0.001/1h", "999999999/2562047h", "1000000000/1s",
		"true", "text", "a,b", ",", "a:b", "a:b:c", ":", `\:`, "[", "{}", "null", "https://x.example.com/**", "localhost:3000", "pg-functions://postgres/public/f",
		"pg-functions:///", "http://localhost", "https://", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59+14:00", strings.Repeat("x", 100_000),
	}
	taken := 0
	for _, v := range config.Variables() {
		if v.Where != config.Settings {
			continue
		}
		for _, text := range texts {
			cfg, err := config.Load([]string{
				"DATABASE_URL=postgres://db/x", "API_EXTERNAL_URL=http://localhost", "GOTRUE_SITE_URL=http://localhost",
				"GOTRUE_JWT_SECRET=" + strings.Repeat("x", 32), "GOTRUE_SECURITY_CAPTCHA_SECRET=x", v.Name + "=" + text,
			})
			if err != nil {
				if !strings.HasPrefix(err.Error(), v.Name+": ") {
					t.Errorf("%.60s=%.60s: the mistake does not name the variable: %v", v.Name, text, err)
				}
				continue
			}
			policy, err := json.Marshal(cfg.Policy)
			if err != nil {
				t.Fatal(err)
			}
			taken++
			if _, err := conn.Exec(t.Context(), "select postern.apply_environment($1)", string(policy)); err != nil {
				t.Errorf("%s=%.60s: %v", v.Name, text, err)
			}
		}
	}
	if taken < 500 {
		t.Errorf("only %d values were read", taken)
	}
}
