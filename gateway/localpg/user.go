package localpg

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// account is the user the server runs as when this process is root, which PostgreSQL refuses.
// A nil account means: as ourselves.
type account struct {
	name     string
	uid, gid int
}

// serverUser returns user postgres for root and nil for everybody else.
func serverUser() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root, and there is no user postgres to run it as "+
			"(useradd --system postgres): %w", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, fmt.Errorf("user postgres: %w", err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, fmt.Errorf("user postgres: %w", err)
	}
	return &account{name: u.Username, uid: uid, gid: gid}, nil
}

// give hands path over to the account.
func (a *account) give(path string) error {
	if a == nil {
		return nil
	}
	return os.Chown(path, a.uid, a.gid)
}

// blockedAt returns the outermost folder on the way to dir that the account may not enter, or "".
// Folders that do not exist yet are left out: they will be made.
func (a *account) blockedAt(dir string) string {
	if a == nil {
		return ""
	}
	blocked := ""
	for {
		if info, err := os.Stat(dir); err == nil && !a.mayEnter(info) {
			blocked = dir
		}
		if dir == filepath.Dir(dir) {
			return blocked
		}
		dir = filepath.Dir(dir)
	}
}

// check fails with an UnreachableError when the account cannot get to dir.
func (a *account) check(dir string) error {
	if blocked := a.blockedAt(filepath.Dir(dir)); blocked != "" {
		return &UnreachableError{Dir: dir, Blocked: blocked, User: a.name}
	}
	return nil
}

// UnreachableError says that a folder is closed to the user the server has to run as.
type UnreachableError struct {
	Dir     string // the folder asked for
	Blocked string // the folder on the way that is closed
	User    string // the user who cannot pass
}

// Error names the closed folder.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("%s cannot hold a PostgreSQL server's data: user %s, which the server runs as when started by root, may not enter %s",
		e.Dir, e.User, e.Blocked)
}
