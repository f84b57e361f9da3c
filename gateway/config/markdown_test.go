package config_test

import (
	"os"
	"strings"
	"testing"

	"github.com/postern-auth/postern/gateway/config"
)

func TestReferencePageIsUpToDate(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != config.Markdown() {
		t.Error("docs/settings.md is not what the table says: go run ./tools/settingsdoc")
	}
}

func TestReferencePageShowsEveryVariable(t *testing.T) {
	t.Parallel()
	page := config.Markdown()
	for _, v := range config.Variables() {
		name := v.Name
		if v.Family != "" {
			name = v.Family
		}
		if strings.Count(page, "\n| `"+name+"`") != 1 {
			t.Errorf("%s is not on the page once", name)
		}
	}
}
