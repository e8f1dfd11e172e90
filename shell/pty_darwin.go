package shell

import "golang.org/x/sys/unix"

// How the modes of a terminal are read and set at once.
const (
	getTermios = unix.TIOCGETA
	setTermios = unix.TIOCSETA
)

// What helps when there are no pseudo terminals left, or none at all.
const (
	moreTerminals = "raise kern.tty.ptmx_max"
	someTerminals = "mount devfs on /dev"
)
