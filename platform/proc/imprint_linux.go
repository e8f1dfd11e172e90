package proc

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func imprint() (asThen func() bool) {
	before, err := inheritance()
	return func() bool {
		if err != nil || !childless() {
			return false
		}
		now, err := inheritance()
		return err == nil && now.rest == before.rest && sameGroup(before.group, now.group)
	}
}

// scopePrefix begins the names of the scopes that workers get.
const scopePrefix = "ssmagent-"

// sameGroup says whether a process that was in control group before has been
// moved by nobody but systemd, to whom we gave it: see Scopes.
func sameGroup(before, now string) bool {
	return now == before || strings.Contains(now, "/"+scopePrefix)
}

// childless says that no process is a child of ours, also none that has ended.
func childless() bool {
	err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return errors.Is(err, unix.ECHILD)
}

// inherited is what inheritance returns.
type inherited struct{ group, rest string }

// inheritance is what a child would have of us, as far as somebody else, such
// as a child with our rights, can change it.
func inheritance() (in inherited, err error) {
	group, err := readProc(os.Getpid(), "cgroup", 64<<10)
	if err != nil {
		return in, fmt.Errorf("read our control group: %w", err)
	}
	var b strings.Builder
	for _, name := range []string{"limits", "oom_score_adj"} {
		text, err := readProc(os.Getpid(), name, 64<<10)
		if err != nil {
			return in, fmt.Errorf("read our own %s: %w", name, err)
		}
		b.Write(text)
	}
	dir, err := os.Getwd()
	if err != nil {
		return in, err
	}
	nice, err := unix.Getpriority(unix.PRIO_PROCESS, os.Getpid())
	if err != nil {
		return in, fmt.Errorf("ask for our priority: %w", err)
	}
	var cpus unix.CPUSet
	if err := unix.SchedGetaffinity(os.Getpid(), &cpus); err != nil {
		return in, fmt.Errorf("ask for our processors: %w", err)
	}
	fmt.Fprintln(&b, dir, nice, cpus)
	return inherited{string(group), b.String()}, nil
}
