package proc

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// handle: there is nothing to hold a process by but its number, which its
// start time makes sure of.
type handle struct{}

func handles(*syscall.SysProcAttr) (take func(pid int) handle) {
	return func(int) handle { return handle{} }
}

func grasp(pid int) (handle, error) {
	if pid <= 0 {
		return handle{}, ErrGone
	}
	return handle{}, nil
}

func (handle) close() {}

func (handle) send(unix.Signal) (sent bool, err error) { return false, nil }

func fork(s Spec, attr *syscall.ProcAttr) (int, error) {
	if !s.UmaskSet {
		return syscall.ForkExec(s.Path, s.Args, attr)
	}
	return forkMasked(s, attr)
}

// descriptorDir lists our descriptors.
const descriptorDir = "/dev/fd"

func closeOnExec() error { return markDescriptors() }

// becomeSubreaper has nothing to do: see processes.
func becomeSubreaper() error { return nil }

// reapOrphans: launchd collects them.
func reapOrphans() error { return nil }

// imprint does not know what children inherit: the system does not tell all of
// it. A worker gets no second job then.
func imprint() (asThen func() bool) { return func() bool { return false } }
