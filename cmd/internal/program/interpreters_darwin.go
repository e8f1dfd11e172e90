package program

import (
	"os/exec"
	"syscall"
)

// powerShells are where PowerShell may be.
func powerShells() []string { return []string{"/usr/local/bin/pwsh"} }

// detach keeps the terminal's Ctrl-C from the child: its parent ends it.
func detach(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}
