package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/postern-auth/postern/gateway"
	"github.com/postern-auth/postern/gateway/config"
)

// drainTime is how long requests under way may take to finish after SIGTERM, and after them deliveries.
const drainTime = 15 * time.Second

func serveCommand(environ []string, logs io.Writer) *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "answer requests",
		Description: "Answers Supabase Auth's HTTP API, at the root and under /auth/v1. Needs DATABASE_URL (as role\n" +
			"postern_gateway), GOTRUE_JWT_SECRET, GOTRUE_SITE_URL and API_EXTERNAL_URL; docs/settings.md lists all\n" +
			"variables. The database must have been migrated: serve never changes the schema. SIGTERM finishes the\n" +
			"requests under way, for at most " + drainTime.String() + ", and then the mails, for as long again.",
		UsageText: "postern serve\n\nDATABASE_URL=postgres://postern_gateway:…@db/app postern serve",
		Action: func(c *cli.Context) error {
			return serveGateway(c.Context, environ, logs, serving{ready: func(string) {}})
		},
	}
}

// serving is what a command adds to a gateway.
type serving struct {
	ready     func(addr string)               // told the address once it listens
	front     func(http.Handler) http.Handler // stands before the API; nil is nothing
	endpoints gateway.Endpoints
}

// serveGateway answers requests until the context ends, then drains.
func serveGateway(ctx context.Context, environ []string, logs io.Writer, with serving) error {
	cfg, err := config.Load(environ)
	if err != nil {
		return err
	}
	collectRarely(environ)
	latest, err := latestMigration()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: cfg.LogLevel}))
	server, err := gateway.New(ctx, cfg, gateway.Options{
		Version: versionText(), SchemaVersion: latest, HashingWorkers: hashingWorkers(), Endpoints: with.endpoints, Log: log,
	})
	if err != nil {
		return err
	}
	defer server.Close()

	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port)))
	if err != nil {
		wrong := "GOTRUE_API_HOST"
		if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES) {
			wrong = "PORT"
		}
		return fmt.Errorf("%s: %w", wrong, err)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	sent := make(chan struct{})
	go func() { defer close(sent); server.Run(background) }()
	defer func() {
		// A mail under way is recorded before the database connections close: it would be sent again otherwise.
		stop()
		select {
		case <-sent:
		case <-time.After(drainTime):
			log.Warn("stopped in the middle of a delivery: it may be repeated, with the same Message-ID")
		}
	}()

	// Header and body of a slow client may not hold a connection for ever; an answer takes at most its deadline.
	const headerTime = 2 * time.Second
	longest := cfg.MaxRequestDuration + drainTime
	reading := longest
	if cfg.MaxRequestDuration > 0 {
		reading = cfg.MaxRequestDuration + headerTime
	}
	var handler http.Handler = server
	if with.front != nil {
		handler = with.front(handler)
	}
	web := &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTime, ReadTimeout: reading, WriteTimeout: 2 * longest,
		IdleTimeout: 2 * time.Minute, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(listener) }()
	log.Info("listening", "address", listener.Addr().String(), "version", versionText())
	with.ready(listener.Addr().String())

	select {
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	log.Info("stopping: requests under way are finished")
	drain, cancel := context.WithTimeout(background, drainTime)
	defer cancel()
	if err := web.Shutdown(drain); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stopping: %w", err)
	}
	return nil
}

// collectRarely trades memory for processor time: the live heap is a few megabytes, so that the default would collect garbage
// hundreds of times a second under load. GOGC in the environment wins.
func collectRarely(environ []string) {
	const percent, limit = 400, 80 << 20
	for _, entry := range environ {
		if strings.HasPrefix(entry, "GOGC=") {
			return
		}
	}
	debug.SetGCPercent(percent)
	debug.SetMemoryLimit(limit)
}

// hashingWorkers lets Go run twice as many threads as there are cores, once, and returns the number of cores: that many threads may
// hash passwords, at a low priority, and must not hold up the others. GOMAXPROCS in the environment wins.
var hashingWorkers = sync.OnceValue(func() int {
	cores := runtime.GOMAXPROCS(0)
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2 * cores)
	}
	return cores
})
