package connect

import (
	"context"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/windows"
)

// shell hands the line on as it is written: cmd has its own rules of quoting. It is
// the system's, wherever PATH leads.
func shell(ctx context.Context, line string) *exec.Cmd {
	dir, err := windows.GetSystemDirectory()
	c := exec.CommandContext(ctx, filepath.Join(dir, "cmd.exe"))
	if err != nil { // there is no system without
		c.Err = err
	}
	c.SysProcAttr = &syscall.SysProcAttr{CmdLine: `cmd.exe /S /C "` + line + `"`}
	return c
}
