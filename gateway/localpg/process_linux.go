package localpg

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// isolate makes cmd run as the account, outside our process group (Ctrl-C in a terminal must reach the
// server only through Stop, after its clients), and end with a fast shutdown when we are killed.
func isolate(cmd *exec.Cmd, as *account) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT}
	if as != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(as.uid), Gid: uint32(as.gid)} //nolint:gosec // ids from the user database
	}
}

// lock takes the cluster's folder for this process, until release is called or the process ends; the error is EWOULDBLOCK while
// another one has it.
func lock(path string) (release func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	fd := int(file.Fd()) //nolint:gosec // a file descriptor
	if err := syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, err
	}
	return func() {
		// Closing alone would leave it with a child that was forked at this moment, until it has become another program.
		_ = syscall.Flock(fd, syscall.LOCK_UN)
		_ = file.Close()
	}, nil
}

// mayEnter reads the permission bits the way the kernel does: the first class that fits decides.
func (a *account) mayEnter(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	switch {
	case int(stat.Uid) == a.uid:
		return stat.Mode&syscall.S_IXUSR != 0
	case int(stat.Gid) == a.gid:
		return stat.Mode&syscall.S_IXGRP != 0
	default:
		return stat.Mode&syscall.S_IXOTH != 0
	}
}

// serves reports whether process pid is a server on the data folder: a postmaster's working directory
// is its data folder. A recycled process id is somebody else's.
func serves(pid int, data string) bool {
	cwd, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	if err != nil {
		return false
	}
	real, err := filepath.EvalSymlinks(data)
	return err == nil && cwd == real
}
