package ipc

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// passBy opens a directory without the right to list it.
const passBy = unix.O_PATH

// fits: no path is too long.
func fits(string) error { return nil }

// address of a socket in the directory: sun_path holds only 108 bytes, and what
// /proc/self/fd/N/name says is short whatever the directory.
func (p place) address(name string) string {
	return "/proc/self/fd/" + strconv.Itoa(int(p.dir.Fd())) + "/" + name
}

func newSocket() (int, error) {
	return unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
}

func credentials(fd int) (uid uint32, err error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
