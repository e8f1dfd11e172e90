package network

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// routing is a routing socket, which hears everything (route(4)).
func routing() (int, error) {
	syscall.ForkLock.RLock() // no child may be born between the two calls
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(unix.AF_ROUTE, unix.SOCK_RAW, unix.AF_UNSPEC)
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}
