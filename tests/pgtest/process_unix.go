//go:build unix

package pgtest

import (
	"os/exec"
	"syscall"
)

// outOfGroup keeps Ctrl-C in a terminal away from cmd.
func outOfGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
