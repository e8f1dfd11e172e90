package secfile

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ssmagent/internal/fsys"
)

func TestFullDiskIsNamed(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	_, err = file{full}.Write([]byte("x"))
	if !errors.Is(err, fsys.ErrNoSpace) || !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "free some space") {
		t.Errorf("error is %v", err)
	}
}

func TestSystemErrorsAreNamed(t *testing.T) {
	t.Parallel()
	for errno, want := range map[error]error{
		unix.EDQUOT: fsys.ErrNoSpace, unix.EROFS: fsys.ErrReadOnly, unix.ELOOP: fsys.ErrLink, unix.EACCES: os.ErrPermission,
	} {
		if err := pathError("open", "/a", errno); !errors.Is(err, want) || !errors.Is(err, errno) {
			t.Errorf("%v became %v", errno, err)
		}
	}
}
