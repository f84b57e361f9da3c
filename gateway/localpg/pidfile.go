package localpg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// RunningError says that another process already runs a server on the same data.
type RunningError struct {
	Dir  string // the cluster's folder
	PID  int    // 0 while the server has yet to start
	Port int
}

// Error names the process and its port.
func (e *RunningError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("a PostgreSQL server is being started on %s", e.Dir)
	}
	return fmt.Sprintf("a PostgreSQL server is already running on %s (process %d, port %d)", e.Dir, e.PID, e.Port)
}

// pidFile is what postmaster.pid says; PostgreSQL writes one fact per line.
type pidFile struct {
	pid    int
	port   int
	status string // starting, stopping, ready, standby
}

func readPIDFile(data string) (pidFile, error) {
	body, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return pidFile{}, err
	}
	var p pidFile
	for i, line := range strings.Split(string(body), "\n") {
		line = strings.TrimSpace(line)
		switch i {
		case 0:
			p.pid, err = strconv.Atoi(line)
		case 3:
			if line != "" {
				p.port, err = strconv.Atoi(line)
			}
		case 7:
			p.status = line
		}
		if err != nil {
			return pidFile{}, fmt.Errorf("postmaster.pid, line %d: %w", i+1, err)
		}
	}
	return p, nil
}

// settle makes the data folder startable. A server that is just going down is waited for, a live one
// is an error. A file left by a crash stays when its process is gone, because PostgreSQL itself then checks
// that no orphaned backend still uses the data; it is removed when the id now belongs to another
// program, which PostgreSQL would take for a running server.
func settle(ctx context.Context, dir, data string) error {
	begin := time.Now()
	for {
		p, err := readPIDFile(data)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			// Half-written by a server that was killed in that moment.
			return os.Remove(filepath.Join(data, "postmaster.pid"))
		}
		if !serves(p.pid, data) {
			if alive(p.pid) {
				return os.Remove(filepath.Join(data, "postmaster.pid"))
			}
			return nil
		}
		// A server whose parent was killed a moment ago may not have noticed yet.
		patience := time.Second
		if p.status == "stopping" {
			patience = stopTimeout
		}
		if time.Since(begin) > patience {
			return &RunningError{Dir: dir, PID: p.pid, Port: p.port}
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

func alive(pid int) bool {
	_, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid)))
	return err == nil
}

// pause is one step of polling.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(20 * time.Millisecond):
		return nil
	}
}
