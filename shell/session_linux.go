package shell

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// living lists the processes of session sid that are not zombies.
func living(sid int) ([]int, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("hang up: list processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("hang up: list processes: %w", err)
	}
	var out []int
	buf := make([]byte, 512)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		// getsid is cheaper than a look into /proc, and most are not ours.
		if s, err := unix.Getsid(pid); err != nil || s != sid {
			continue
		}
		if lives(pid, sid, buf) {
			out = append(out, pid)
		}
	}
	return out, nil
}

// lives reads /proc/<pid>/stat. Its second field, in parentheses, may hold
// anything; the third is the state, the sixth the session.
func lives(pid, sid int, buf []byte) bool {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	defer f.Close()
	n, err := f.Read(buf)
	if err != nil {
		return false
	}
	_, rest, ok := cutLast(buf[:n], ')')
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 4 {
		return false
	}
	s, err := strconv.Atoi(string(fields[3]))
	return err == nil && s == sid && fields[0][0] != 'Z' && fields[0][0] != 'X'
}

func cutLast(b []byte, sep byte) (before, after []byte, found bool) {
	i := bytes.LastIndexByte(b, sep)
	if i < 0 {
		return b, nil, false
	}
	return b[:i], b[i+1:], true
}
