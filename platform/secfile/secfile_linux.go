package secfile

import "golang.org/x/sys/unix"

// largeFile lets 32-bit systems open files of any size.
const largeFile = unix.O_LARGEFILE
