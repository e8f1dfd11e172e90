package proc

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

func readStat(pid int) (stat, error) {
	b, err := readProc(pid, "stat", 4096)
	if err != nil {
		return stat{}, err
	}
	return parseStat(string(b))
}

func readProc(pid int, name string, limit int64) ([]byte, error) {
	// Not os.Open: files in /proc are not worth the poller's attention.
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// processes lists what /proc shows. What ends meanwhile is left out.
func processes() ([]stat, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var all []stat
	for _, name := range names {
		pid, ok := number(name)
		if !ok {
			continue
		}
		if st, err := readStat(pid); err == nil {
			all = append(all, st)
		}
	}
	return all, nil
}

// environment is what a process was started with, 6 MB at most (execve(2)).
func environment(pid int) (string, error) {
	block, err := readProc(pid, "environ", 8<<20)
	return string(block), err
}
