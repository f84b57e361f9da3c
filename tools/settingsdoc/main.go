// Settingsdoc writes the reference of all settings, docs/settings.md, from the table in gateway/config. Run it from the root
// of the repository; a test of gateway/config fails while the page is not up to date.
package main

import (
	"fmt"
	"os"

	"github.com/postern-auth/postern/gateway/config"
)

func main() {
	if err := os.WriteFile("docs/settings.md", []byte(config.Markdown()), 0o644); err != nil { //nolint:gosec // a page for everybody
		fmt.Fprintln(os.Stderr, "settingsdoc:", err)
		os.Exit(1)
	}
}
