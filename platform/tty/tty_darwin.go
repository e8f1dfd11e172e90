package tty

import "golang.org/x/sys/unix"

// How the modes of a terminal are read and set at once; that of terminals with
// capitals only does not exist here.
const (
	getTermios   = unix.TIOCGETA
	setTermios   = unix.TIOCSETA
	upperToLower = 0
)
