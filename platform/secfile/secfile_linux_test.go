package secfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"ssmagent/internal/fsys"
	"ssmagent/platform/secfile"
)

func TestIrregularFilesAreRefusedWithoutBlocking(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, flag := range []int{os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_CREATE | os.O_TRUNC} {
		if _, err := secfile.OS().OpenFile(pipe, flag, 0o600); !errors.Is(err, fsys.ErrIrregular) {
			t.Errorf("flag %#x: %v", flag, err)
		}
	}
	if _, err := secfile.OS().OpenFile("/dev/null", os.O_RDWR, 0); !errors.Is(err, fsys.ErrIrregular) {
		t.Errorf("device: %v", err)
	}
}

func TestDescriptorsAreClosedOnExec(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "a")
	f, err := secfile.OS().OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd := f.(interface{ Fd() uintptr }).Fd()
	flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("descriptor flags %#x, %v", flags, err)
	}
}
