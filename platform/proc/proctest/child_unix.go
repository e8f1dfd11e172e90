//go:build unix

package proctest

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

func umask() string { return fmt.Sprintf("%04o", unix.Umask(0)) }

func groups() (pgid, sid int) {
	sid, _ = unix.Getsid(0)
	return unix.Getpgrp(), sid
}

func sameEnvironment(got, want []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want)))
}
