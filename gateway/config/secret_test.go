package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretNeverPrintsItself(t *testing.T) {
	t.Parallel()
	const value = "correct-horse"
	secret := Secret(value)
	type holder struct {
		Key  Secret
		Keys []Secret
	}
	in := holder{secret, []Secret{secret}}

	var printed []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10s"} {
		printed = append(printed, fmt.Sprintf(verb, secret), fmt.Sprintf(verb, in), fmt.Sprintf(verb, &in))
	}
	encoded, err := json.Marshal(map[string]any{"one": secret, "in": in})
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("started", "key", secret, "in", in)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("started", "key", secret, "in", in)
	printed = append(printed, string(encoded), logged.String(), fmt.Sprint(fmt.Errorf("open %v", secret)))

	for _, text := range printed {
		if strings.Contains(text, value) || strings.Contains(text, fmt.Sprintf("%x", value)) {
			t.Errorf("the secret is in %q", text)
		}
		if !strings.Contains(text, "***") {
			t.Errorf("no mask in %q", text)
		}
	}
	if secret.Reveal() != value {
		t.Errorf("Reveal = %q", secret.Reveal())
	}
}
