package shell_test

import (
	"errors"
	"testing"

	"ssmagent/shell"
	"ssmagent/shell/shelltest"

	"golang.org/x/sys/unix"
)

// alive says whether pid runs: not as a zombie that its new parent has not
// taken away yet.
func alive(pid int) bool {
	if errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
		return false
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return err == nil && n == 0
}

func TestReal(t *testing.T) {
	t.Parallel()
	shelltest.Suite{Open: shell.Open, Alive: alive}.Run(t)
}
