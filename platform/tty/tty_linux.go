package tty

import "golang.org/x/sys/unix"

// How the modes of a terminal are read and set at once, and the one that
// others do not have.
const (
	getTermios   = unix.TCGETS
	setTermios   = unix.TCSETS
	upperToLower = unix.IUCLC
)
