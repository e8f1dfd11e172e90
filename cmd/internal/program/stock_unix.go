//go:build unix

package program

import (
	"os"

	"ssmagent/internal/diagnostics"
)

// What the stock agent has otherwise on each system.
const (
	serviceUser = "root"
	notElevated = "binary needs to be executed by root"
	lineEnd     = "\n"
)

// elevated says whether this process may ask the service's agent.
func elevated() bool { return os.Geteuid() == 0 }

// imageState is a check of Windows only.
func imageState() []diagnostics.Check { return nil }

// logName is the file that the process called name logs to: there is one for
// all, as stock agents have it.
func logName(string) string { return mainLog }
