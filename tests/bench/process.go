package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience is how long a gateway may take for its first answer.
const patience = 20 * time.Second

// gatewayProcess is a running `postern serve`.
type gatewayProcess struct {
	url    string
	cmd    *exec.Cmd
	exited chan struct{}
	ended  error         // once exited is closed
	took   time.Duration // from its start to its first answer
}

// jwtSecret is that of all gateways here.
const jwtSecret = "not a secret not a secret not a secret not a secret"

// startGateway starts a gateway as postern_gateway and returns when it has answered. More variables win over its own.
func startGateway(ctx context.Context, postern, dsn string, more ...string) (*gatewayProcess, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p := &gatewayProcess{url: "http://127.0.0.1:" + port, exited: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, postern, "serve") //nolint:gosec // the program under test
	p.cmd.Env = []string{
		"DATABASE_URL=" + dsn, "GOTRUE_API_HOST=127.0.0.1", "PORT=" + port, "API_EXTERNAL_URL=" + p.url,
		"GOTRUE_SITE_URL=http://app.example.com", "GOTRUE_JWT_SECRET=" + jwtSecret,
		"GOTRUE_JWT_AUD=authenticated", "GOTRUE_JWT_DEFAULT_GROUP_NAME=authenticated", "GOTRUE_MAILER_AUTOCONFIRM=true",
		"GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true", "GOTRUE_SECURITY_REFRESH_TOKEN_REUSE_INTERVAL=10",
	}
	p.cmd.Env = append(p.cmd.Env, more...)
	var log strings.Builder
	p.cmd.Stderr = &startOnly{keep: &log}
	started := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.ended = p.cmd.Wait()
		close(p.exited)
	}()
	for {
		if answer, err := http.Get(p.url + "/health"); err == nil { //nolint:noctx // loopback, and it is about to answer
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				p.took = time.Since(started)
				return p, nil
			}
		}
		select {
		case <-p.exited:
			return nil, fmt.Errorf("the gateway ended: %w\n%s", p.ended, log.String())
		case <-time.After(500 * time.Microsecond):
		}
		if time.Since(started) > patience {
			p.stop()
			return nil, fmt.Errorf("no answer from the gateway in %s", patience)
		}
	}
}

func (p *gatewayProcess) pid() int { return p.cmd.Process.Pid }

func (p *gatewayProcess) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error means that it is gone already
	<-p.exited
}

// memory is a field of /proc/PID/status in MB, 0 where there is no such file.
func (p *gatewayProcess) memory(field string) float64 {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(p.pid()) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			kilobytes, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				return 0
			}
			return float64(kilobytes) / 1024
		}
	}
	return 0
}

// timeStarts starts a gateway several times and returns how long each took to its first answer, shortest first.
func timeStarts(ctx context.Context, o options, dsn string) ([]time.Duration, error) {
	var took []time.Duration
	for range o.starts {
		p, err := startGateway(ctx, o.postern, dsn)
		if err != nil {
			return nil, err
		}
		p.stop()
		took = append(took, p.took)
	}
	slices.Sort(took)
	return took, nil
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close() //nolint:errcheck // only its number was wanted
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// startOnly keeps the beginning of a log, which says why a start failed, and lets go of the line per request.
type startOnly struct{ keep *strings.Builder }

func (s *startOnly) Write(line []byte) (int, error) {
	if s.keep.Len() < 4096 {
		s.keep.Write(line)
	}
	return len(line), nil
}
