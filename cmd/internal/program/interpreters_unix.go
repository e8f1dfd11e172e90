//go:build unix

package program

import "ssmagent/internal/step/runscript"

// interpreters are at the stock agent's paths.
func interpreters() map[string]runscript.Interpreter {
	return map[string]runscript.Interpreter{
		"aws:runShellScript":      runscript.Shell("/bin/sh"),
		"aws:runPowerShellScript": runscript.PowerShellCore(powerShells()...),
	}
}

// powerShell: sessions run sh here.
func powerShell() string { return "" }

// noShell says what exit codes mean of programs that steps run without a
// shell.
func noShell() runscript.Interpreter { return interpreters()["aws:runShellScript"] }
