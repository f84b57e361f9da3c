// Command postern is the authentication gateway and the tools around it.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args, os.Environ(), os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:gocritic // exitAfterDefer: nothing is left to stop
	}
}

// run is the whole program, for main and for tests.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	app := &cli.App{
		Name:  "postern",
		Usage: "authentication that lives in PostgreSQL, for clients of Supabase Auth",
		Description: "Settings come from the environment under the names of Supabase Auth (GOTRUE_...), and from\n" +
			"auth.settings; docs/settings.md lists them.",
		Version:         versionText(),
		HideVersion:     true,
		Writer:          stdout,
		ErrWriter:       stderr,
		ExitErrHandler:  func(*cli.Context, error) {},
		HideHelpCommand: true,
		Metadata:        map[string]any{"environ": environ},
		Commands: withoutArguments([]*cli.Command{
			serveCommand(environ, stderr),
			migrateCommand(environ),
			handBackCommand(environ),
			devCommand(),
			keysCommand(),
			tokenCommand(),
			outboxCommand(environ),
			mailCommand(environ),
			healthCommand(environ),
			versionCommand(),
		}),
	}
	return app.RunContext(ctx, args)
}
