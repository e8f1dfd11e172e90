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
	block := int64(st.Bsize) //nolint:unconvert // 32 bits on 32-bit machines
	s := Space{Free: int64(st.Bavail) * block, Total: int64(st.Blocks) * block, FreeFiles: int64(st.Ffree)}
	if st.Files == 0 { // btrfs and the like make inodes as they are needed
		s.FreeFiles = -1
	}
	return s, nil
}
