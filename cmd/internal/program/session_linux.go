package program

import (
	"os"
	"syscall"
)

// pollable is f as a file whose reads do not hold a thread. It must be ours
// alone: the mode is that of the pipe.
func pollable(f *os.File) *os.File {
	fd := int(f.Fd())
	if syscall.SetNonblock(fd, true) != nil {
		return f
	}
	return os.NewFile(uintptr(fd), f.Name())
}
