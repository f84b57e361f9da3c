//go:build !linux

package localpg

import (
	"os"
	"os/exec"
	"syscall"
)

// isolate does nothing here: only Linux can tie a child's life to ours. Stop still works.
func isolate(*exec.Cmd, *account) {}

// lock does nothing here; two starts at one moment may spoil each other's initdb, and are run again.
func lock(string) (release func(), err error) { return func() {}, nil }

func (a *account) mayEnter(os.FileInfo) bool { return true }

// serves takes any live process for a server: there is no portable way to ask what it is.
func serves(pid int, _ string) bool {
	process, err := os.FindProcess(pid)
	return err == nil && process.Signal(syscall.Signal(0)) == nil
}
