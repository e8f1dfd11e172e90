package program

import (
	"os/exec"
	"syscall"
)

// powerShells are where PowerShell may be.
func powerShells() []string { return []string{"/usr/bin/powershell", "/usr/bin/pwsh"} }

// detach keeps the terminal's Ctrl-C from the child: its parent ends it in
// order, and the kernel does when the parent is killed.
func detach(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
