package program

import (
	"os"
	"path/filepath"

	"ssmagent/platform/proc"
	"ssmagent/shell"
)

// holderStarter starts the process that holds a session's program so that
// nothing of the session is left when its worker has gone, however it went.
func holderStarter() func(proc.Spec) (proc.Process, error) {
	return func(s proc.Spec) (proc.Process, error) {
		s.Tethered = true
		return proc.Start(s)
	}
}

// attendant is this program, as the one that begins others on consoles.
func attendant() []string {
	exe, err := os.Executable()
	if err != nil {
		return nil // consoles are then as the system makes them
	}
	return []string{exe, shell.AttendantName}
}

// olderShell is cmd.exe, wherever PATH leads.
func olderShell() string { return filepath.Join(systemDirectory(), "cmd.exe") }
