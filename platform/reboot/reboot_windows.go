package reboot

import (
	"os"
	"path/filepath"
)

// commands: the one in PATH first, as the stock agent does it.
func commands() [][]string {
	args := []string{"-r", "-t", "60"}
	return [][]string{
		append([]string{"shutdown"}, args...),
		append([]string{filepath.Join(os.Getenv("SystemRoot"), "System32", "shutdown.exe")}, args...),
	}
}
