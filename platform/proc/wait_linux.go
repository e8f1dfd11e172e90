package proc

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// awaitEnd returns when the process has ended, and has collected a child.
func (p *process) awaitEnd() {
	switch {
	case p.child && p.hold.pidfd == nil:
		p.awaitThread()
	case p.child:
		p.awaitReadable(p.reap)
	case p.hold.pidfd == nil: // no child of ours, on a kernel before 5.3
		p.awaitChecking()
	default:
		p.awaitReadable(func() bool { return !running(p.id) })
	}
}

// awaitReadable asks isOver whenever the pidfd turned readable, until it says yes.
func (p *process) awaitReadable(isOver func() bool) {
	raw, err := p.hold.pidfd.SyscallConn()
	if err == nil {
		err = raw.Read(func(uintptr) bool { return isOver() })
	}
	if err == nil {
		return
	}
	// The poller does not take this descriptor: wait as on an old kernel.
	if p.child {
		p.awaitThread()
	} else {
		p.awaitChecking()
	}
}

// reap collects the child if it has ended.
func (p *process) reap() bool { return p.collect(unix.WNOHANG) }

func awaitExit(pid int) (State, error) {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			return exitState(&info), nil
		}
		if !errors.Is(err, unix.EINTR) {
			return State{Code: -1, Signal: "unknown"}, fmt.Errorf("wait for process %d: %w", pid, err)
		}
	}
}

// exitState reads what waitid filled in: the union behind the first words of
// siginfo holds pid, uid and status.
func exitState(info *unix.Siginfo) State {
	type child struct {
		Signo, Errno, Code int32
		_                  [unsafe.Sizeof(uintptr(0)) - 4]byte // to the union's alignment, on 64-bit systems
		Pid                int32
		Uid                uint32
		Status             int32
	}
	c := (*child)(unsafe.Pointer(info))
	return stateOf(c.Code, c.Status)
}
