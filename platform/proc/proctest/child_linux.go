package proctest

import (
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

func openDescriptors() []string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil {
			continue // that of the directory itself
		}
		out = append(out, e.Name()+" "+target)
	}
	return out
}

func umask() string { return fmt.Sprintf("%04o", unix.Umask(0)) }

func groups() (pgid, sid int) {
	sid, _ = unix.Getsid(0)
	return unix.Getpgrp(), sid
}

func sameEnvironment(got, want []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want)))
}
