package ipc

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// passBy opens a directory that will not be locked.
const passBy = unix.O_RDONLY

// maxAddress is what sun_path has room for.
const maxAddress = 103

// fits refuses a path that no address can be: there is no shorter one.
func fits(path string) error {
	if n := len(filepath.Dir(path)) + 1 + max(len(filepath.Base(path)), tempName); n > maxAddress {
		return fmt.Errorf("socket %s: its address has %d bytes, and macOS takes %d: use a directory with a shorter name (-root)", path, n, maxAddress)
	}
	return nil
}

// address of a socket in the directory.
func (p place) address(name string) string { return filepath.Join(p.dir.Name(), name) }

func newSocket() (int, error) {
	syscall.ForkLock.RLock() // no child may be born between the two calls
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func credentials(fd int) (uid uint32, err error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
