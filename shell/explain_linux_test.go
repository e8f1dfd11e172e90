package shell

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestExhaustionIsExplained(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err       syscall.Errno
		exhausted bool
		want      string
	}{
		{unix.ENOSPC, true, "kernel.pty.max"},
		{unix.ENXIO, true, "kernel.pty.max"},
		{unix.EAGAIN, true, "kernel.pty.max"},
		{unix.EMFILE, true, "limit of open files"},
		{unix.ENFILE, true, "limit of open files"},
		{unix.ENOMEM, true, "memory"},
		{unix.ENOENT, false, "mount devpts"},
		{unix.EIO, false, "open a terminal"},
	} {
		err := explainPTY(&fs.PathError{Op: "open", Path: "/dev/ptmx", Err: c.err})
		if errors.Is(err, ErrExhausted) != c.exhausted || !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c.err, err)
		}
	}
	for errno, want := range map[syscall.Errno]string{
		unix.EAGAIN: "limit of processes", unix.ENOMEM: "memory", unix.EMFILE: "open files",
	} {
		err := explainStart(Spec{Path: "/bin/sh"}, errno)
		if !errors.Is(err, ErrExhausted) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", errno, err)
		}
	}
	for errno, want := range map[syscall.Errno]string{
		unix.EPERM: "only root", unix.ENOEXEC: "no program of this system", unix.EIO: "start /bin/sh",
	} {
		err := explainStart(Spec{Path: "/bin/sh"}, errno)
		if errors.Is(err, ErrExhausted) || !errors.Is(err, errno) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", errno, err)
		}
	}
}
