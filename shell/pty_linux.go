package shell

import "golang.org/x/sys/unix"

// How the modes of a terminal are read and set at once.
const (
	getTermios = unix.TCGETS
	setTermios = unix.TCSETS
)

// What helps when there are no pseudo terminals left, or none at all.
const (
	moreTerminals = "raise kernel.pty.max"
	someTerminals = "mount devpts on /dev/pts and provide /dev/ptmx"
)
