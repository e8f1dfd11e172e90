package program

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/windows"

	"ssmagent/internal/step/runscript"
)

// interpreters are those of Windows, at the stock agent's path.
func interpreters() map[string]runscript.Interpreter {
	return map[string]runscript.Interpreter{"aws:runPowerShellScript": runscript.WindowsPowerShell(powerShell())}
}

// powerShell is the one of the system, wherever PATH leads.
func powerShell() string {
	return filepath.Join(systemDirectory(), "WindowsPowerShell", "v1.0", "powershell.exe")
}

func systemDirectory() string {
	dir, err := windows.GetSystemDirectory()
	if err != nil {
		dir = filepath.Join(os.Getenv("SystemRoot"), "System32") // there is no system without either
	}
	return dir
}

// noShell says what exit codes mean of programs that steps run without a
// shell.
func noShell() runscript.Interpreter { return interpreters()["aws:runPowerShellScript"] }

// detach keeps the console's Ctrl-C from the child: its parent ends it.
func detach(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
}
