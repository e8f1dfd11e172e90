package connect

import (
	"context"
	"os/exec"
	"syscall"
)

// shell hands the line on as it is written: cmd has its own rules of quoting.
func shell(ctx context.Context, line string) *exec.Cmd {
	c := exec.CommandContext(ctx, "cmd.exe")
	c.SysProcAttr = &syscall.SysProcAttr{CmdLine: `cmd.exe /S /C "` + line + `"`}
	return c
}
