package reboot

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// commands: the system's own program, and none that PATH may lead to.
func commands() [][]string {
	dir, err := windows.GetSystemDirectory()
	if err != nil {
		return nil // there is no system without
	}
	return [][]string{{filepath.Join(dir, "shutdown.exe"), "-r", "-t", "60"}}
}
