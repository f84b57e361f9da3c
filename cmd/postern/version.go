package main

import (
	"fmt"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// version is set by the linker (make build).
var version string

// versionText is the release, or what the Go toolchain knows of the build.
func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:        "version",
		Usage:       "print the version, and the schema version it needs",
		Description: "The schema version is the number of the last migration in this program.",
		UsageText:   "postern version",
		Action: func(c *cli.Context) error {
			latest, err := latestMigration()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.App.Writer, "postern %s, schema version %d\n", versionText(), latest)
			return err
		},
	}
}
