package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/urfave/cli/v2"

	"github.com/postern-auth/postern/gateway/localpg"
)

const (
	gatewayRole = "postern_gateway"
	devDatabase = "postern"
	firstPort   = 9999
)

// devCommand is `postern dev`, which `make run` runs: everything a newcomer needs, in one process.
func devCommand() *cli.Command {
	return &cli.Command{
		Name:  "dev",
		Usage: "start Postern for development, with a private PostgreSQL",
		Description: `Starts a PostgreSQL of its own (or uses DATABASE_URL when it names another), migrates it, starts the gateway as
postern_gateway, and prints where everything is. Ctrl-C stops what it started. The data and the generated
secrets are kept in .postern; remove that folder to begin anew.

Without GOTRUE_SMTP_HOST mails are caught and shown at /dev/mail, with the link and the code in them; for scripts
/dev/mail.json?to=ada@example.com&wait=10s. Without GOTRUE_SMS_PROVIDER so are SMS.

Every variable of the gateway may be set and wins over the settings for development: accounts confirmed at
once, anonymous sign-ins on, a mail each second to one person, site URL http://localhost:3000.

Examples:
   postern dev
   GOTRUE_JWT_EXP=60 PORT=9000 postern dev
   GOTRUE_MAILER_AUTOCONFIRM=false GOTRUE_EXTERNAL_PHONE_ENABLED=true postern dev
   DATABASE_URL=postgres://me@localhost/mine postern dev
   . .postern/dev.env && curl "$API_URL/health"`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Value: ".postern", Usage: "`FOLDER` for the data, the secrets, dev.env and the log"},
		},
		Action: func(c *cli.Context) error {
			d := &devServer{dir: c.String("dir"), environ: os.Environ(), stdout: c.App.Writer}
			ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
			defer stop()
			return d.run(ctx)
		},
	}
}

// devServer is one run of `postern dev`.
type devServer struct {
	dir     string
	environ []string
	stdout  io.Writer
	state   *devState
	private *localpg.Cluster // nil when the user named a database
}

// run brings everything up, serves until ctx ends, and takes down what it brought up.
func (d *devServer) run(ctx context.Context) (err error) {
	// User postgres passes through when we are root; what is secret in it is closed by itself.
	if err := os.MkdirAll(d.dir, 0o755); err != nil { //nolint:gosec // see above
		return err
	}
	if d.state, err = loadState(d.dir); err != nil {
		return err
	}
	ownerURL, err := d.database(ctx)
	if d.private != nil {
		defer func() { err = errors.Join(err, d.private.Stop()) }()
	}
	if err != nil {
		return quiet(ctx, err)
	}
	gatewayURL, err := d.migrate(ctx, ownerURL)
	if err != nil {
		return quiet(ctx, err)
	}
	environ, err := devEnvironment(d.environ, d.state, gatewayURL)
	if err != nil {
		return err
	}
	return d.serve(ctx, environ, ownerURL)
}

// serve runs the gateway until ctx ends or the private server does.
func (d *devServer) serve(ctx context.Context, environ []string, ownerURL string) error {
	logPath := filepath.Join(d.dir, "gateway.log")
	logs, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logs.Close() //nolint:errcheck // nothing of value is lost
	caught, err := catchMessages(ctx, environ, logs)
	if err != nil {
		return err
	}
	defer caught.close()
	sheet, err := newDevSheet(caught.environ, d.state, ownerURL)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if d.private != nil {
		go func() {
			select {
			case <-d.private.Exited():
				cancel(errors.New("PostgreSQL ended by itself: see server.log beside its data"))
			case <-ctx.Done():
			}
		}()
	}
	var announced error
	caught.ready = func(addr string) {
		sheet.apiURL = "http://" + reachable(addr)
		sheet.mails = caught.describe(sheet.apiURL)
		if announced = sheet.write(d.dir); announced != nil {
			cancel(announced)
			return
		}
		sheet.print(d.stdout, d.dir)
	}
	err = serveGateway(ctx, caught.environ, logs, caught.serving)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return errors.Join(cause, err)
	}
	if err != nil {
		return fmt.Errorf("%w (its log: %s)", err, logPath)
	}
	fmt.Fprintln(d.stdout, "Stopped.")
	return nil
}

// database returns the URL to migrate with: the user's, or that of a private server, which it starts.
func (d *devServer) database(ctx context.Context) (string, error) {
	if dsn := databaseURL(d.environ); dsn != "" && !d.isPrivate(dsn) {
		return dsn, nil
	}
	folder := filepath.Join(d.dir, "postgres")
	var err error
	d.private, err = d.start(ctx, folder)
	if closed, ok := errors.AsType[*localpg.UnreachableError](err); ok {
		// A checkout below /root: user postgres cannot get there, and opening root's home is not ours to do.
		if folder, err = outsideFolder(folder); err != nil {
			return "", err
		}
		fmt.Fprintf(d.stdout, "User %s may not enter %s, so the data are kept in %s.\n", closed.User, closed.Blocked, folder)
		d.private, err = d.start(ctx, folder)
	}
	if _, ok := errors.AsType[*localpg.RunningError](err); ok {
		return "", fmt.Errorf("another postern dev has this folder: %w", err)
	}
	if err != nil {
		return "", err
	}
	return d.createDatabase(ctx)
}

// isPrivate recognises the private server's own URL: dev.env was sourced in this terminal, and the server has yet to start.
func (d *devServer) isPrivate(dsn string) bool {
	parsed, err := pgx.ParseConfig(dsn)
	return err == nil && parsed.Password == d.state.DatabasePassword
}

func (d *devServer) start(ctx context.Context, folder string) (*localpg.Cluster, error) {
	return localpg.Start(ctx, localpg.Options{Dir: folder, Password: d.state.databasePassword()})
}

// outsideFolder is where root's data go when the checkout cannot hold them; one folder per checkout.
func outsideFolder(folder string) (string, error) {
	absolute, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(absolute))
	return filepath.Join("/var/lib/postern", hex.EncodeToString(sum[:6])), nil
}

// createDatabase makes the database on the private server at first use.
func (d *devServer) createDatabase(ctx context.Context) (string, error) {
	conn, err := pgx.Connect(ctx, d.private.DSN("postgres", "postgres"))
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing pending
	var exists bool
	err = conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", devDatabase).Scan(&exists)
	if err == nil && !exists {
		_, err = conn.Exec(ctx, "create database "+devDatabase)
	}
	return d.private.DSN("postgres", devDatabase), err
}

// migrate brings the schema up to date and returns the URL that the gateway connects with.
func (d *devServer) migrate(ctx context.Context, ownerURL string) (string, error) {
	conn, err := pgx.Connect(ctx, ownerURL)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing pending
	var existed bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_roles where rolname = $1)", gatewayRole).Scan(&existed); err != nil {
		return "", err
	}
	if err := migrateUp(ctx, ownerURL, d.stdout); err != nil {
		return "", err
	}
	gatewayURL, err := withUser(ownerURL, gatewayRole, d.state.GatewayPassword)
	if err != nil {
		return "", err
	}
	err = tryConnect(ctx, gatewayURL)
	if err == nil {
		return gatewayURL, nil
	}
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code[:2] != "28" {
		return "", fmt.Errorf("connecting as %s: %w", gatewayRole, err)
	}
	// Somebody else's gateway may be using the password of a role that was here before us.
	if existed && d.private == nil {
		fmt.Fprintf(d.stdout, "%s exists with a password that is not known here: the gateway connects as you do.\n", gatewayRole)
		return ownerURL, nil
	}
	var statement string
	err = conn.QueryRow(ctx, "select format('alter role %I password %L', $1::text, $2::text)",
		gatewayRole, d.state.GatewayPassword).Scan(&statement)
	if err == nil {
		_, err = conn.Exec(ctx, statement)
	}
	if err != nil {
		return "", fmt.Errorf("giving %s a password: %w", gatewayRole, err)
	}
	return gatewayURL, nil
}

func tryConnect(ctx context.Context, dsn string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// quiet makes a Ctrl-C during the start an ordinary end.
func quiet(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the user's own doing
	}
	return err
}

// reachable turns the address that a server listens on into one that clients can use.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// freePort is the first port from firstPort on that nobody listens on.
func freePort(host string) (int, error) {
	var last error
	for port := firstPort; port < firstPort+50; port++ {
		l, err := net.Listen("tcp", net.JoinHostPort(cmp.Or(host, "127.0.0.1"), strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
		last = err
	}
	return 0, fmt.Errorf("no free port for the API (set PORT): %w", last)
}
