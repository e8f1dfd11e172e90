package proc

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// reapOrphans collects zombies that became our children as orphans. A child
// that this program started has a pidfd here until its starter has waited for
// it (ours and os/exec alike); it is left to its starter.
func reapOrphans() error {
	all, err := processes()
	if err != nil {
		return err
	}
	var zombies []int
	for _, s := range all {
		if s.ppid == os.Getpid() && s.state == 'Z' {
			zombies = append(zombies, s.pid)
		}
	}
	if len(zombies) == 0 {
		return nil
	}
	own, ok := pidfds()
	if !ok {
		return nil // cannot tell whose they are; init collects them after us
	}
	for _, pid := range zombies {
		if !own[pid] {
			unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
	}
	return nil
}

// pidfds are the processes that we hold a pidfd of.
func pidfds() (map[int]bool, bool) {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return nil, false // kernel without: os/exec has none either
	}
	defer unix.Close(fd)
	dir, err := os.Open("/proc/self/fdinfo")
	if err != nil {
		return nil, false
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, false
	}
	pids := map[int]bool{}
	for _, name := range names {
		b, err := os.ReadFile("/proc/self/fdinfo/" + name)
		if err != nil {
			continue
		}
		for line := range bytes.Lines(b) {
			if rest, ok := bytes.CutPrefix(line, []byte("Pid:")); ok {
				pid, _ := strconv.Atoi(string(bytes.TrimSpace(rest)))
				pids[pid] = true
			}
		}
	}
	// Ours must be among them, else this kernel does not tell.
	return pids, pids[os.Getpid()]
}
