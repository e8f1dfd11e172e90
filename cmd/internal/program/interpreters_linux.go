package program

import (
	"os/exec"
	"syscall"

	"ssmagent/internal/step/runscript"
)

// interpreters are those of Linux, at the stock agent's paths.
func interpreters() map[string]runscript.Interpreter {
	return map[string]runscript.Interpreter{
		"aws:runShellScript":      runscript.Shell("/bin/sh"),
		"aws:runPowerShellScript": runscript.PowerShellCore("/usr/bin/powershell", "/usr/bin/pwsh"),
	}
}

// powerShell: sessions run sh here.
func powerShell() string { return "" }

// noShell says what exit codes mean of programs that steps run without a
// shell.
func noShell() runscript.Interpreter { return interpreters()["aws:runShellScript"] }

// detach keeps the terminal's Ctrl-C from the child: its parent ends it in
// order, and the kernel does when the parent is killed.
func detach(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
