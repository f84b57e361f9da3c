package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

func healthCommand(environ []string) *cli.Command {
	return &cli.Command{
		Name:  "health",
		Usage: "ask a running gateway for its health; the exit status says it",
		Description: "Asks the gateway on this machine (GOTRUE_API_HOST; PORT or GOTRUE_API_PORT, default 8081) or at --url. Exit status 0 means\n" +
			"healthy. For container health checks.",
		UsageText: "postern health\npostern health --ready\npostern health --url http://127.0.0.1:9999",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "url", Usage: "base `URL` of the gateway"},
			&cli.BoolFlag{Name: "ready", Usage: "ask /ready (the database too) instead of /health"},
			&cli.DurationFlag{Name: "timeout", Value: 3 * time.Second, Usage: "how long to wait for the answer"},
		},
		Action: func(c *cli.Context) error {
			base := strings.TrimRight(c.String("url"), "/")
			if base == "" {
				host, _ := lookup(environ, "GOTRUE_API_HOST")
				base = "http://" + reachable(net.JoinHostPort(host, portOf(environ)))
			}
			path := "/health"
			if c.Bool("ready") {
				path = "/ready"
			}
			ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
			defer cancel()
			return askHealth(ctx, base+path, c.App.Writer)
		},
	}
}

func portOf(environ []string) string {
	port := "8081"
	for _, name := range []string{"PORT", "GOTRUE_API_PORT"} {
		for _, entry := range environ {
			if value, ok := strings.CutPrefix(entry, name+"="); ok && value != "" {
				port = value
			}
		}
	}
	return port
}

func askHealth(ctx context.Context, address string, out io.Writer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("--url: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("the gateway does not answer: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // read only
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", response.Status, body)
	}
	_, err = fmt.Fprintln(out, string(body))
	return err
}
