//go:build unix

package platform

import (
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

func self() (u Usage) {
	if entries, err := os.ReadDir(descriptors); err == nil {
		u.Files = len(entries) - 1 // one is the directory itself
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil && limit.Cur < math.MaxInt32 {
		u.FileLimit = int(limit.Cur)
	}
	u.Resident = resident()
	return u
}

func spaceAt(path string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return Space{}, fmt.Errorf("space at %s: %w", path, err)
	}
	s := Space{Free: size(st.Bavail, st.Bsize), Total: size(st.Blocks, st.Bsize), FreeFiles: int64(st.Ffree)}
	if st.Files == 0 { // btrfs and the like make inodes as they are needed
		s.FreeFiles = -1
	}
	return s, nil
}

// size is that of blocks, whose own size each system has in a type of its own.
func size[T int32 | uint32 | int64](blocks uint64, each T) int64 { return int64(blocks) * int64(each) }
