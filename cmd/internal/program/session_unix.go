//go:build unix

package program

import (
	"os"
	"syscall"
)

// sessionProcs is how many processors a session's processes use at once. They
// pass bytes on, one goroutine after the other: on a second processor the
// runtime would look for work, and find little but what the first had next.
const sessionProcs = 1

// pollable is f as a file whose reads do not hold a thread. It must be ours
// alone: the mode is that of the pipe.
func pollable(f *os.File) *os.File {
	fd := int(f.Fd())
	if syscall.SetNonblock(fd, true) != nil {
		return f
	}
	return os.NewFile(uintptr(fd), f.Name())
}
