package proc

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// awaitEnd returns when the process has ended, and has collected a child.
func (p *process) awaitEnd() {
	if p.child {
		p.awaitThread()
		return
	}
	if err := awaitNote(p.id.PID, func() bool { return running(p.id) }); err != nil {
		p.awaitChecking()
	}
}

func awaitExit(pid int) (State, error) {
	lost := State{Code: -1, Signal: "unknown"}
	// waitid alone would also return for a child that is stopped.
	if err := awaitNote(pid, func() bool { return true }); err != nil {
		return lost, fmt.Errorf("wait for process %d: %w", pid, err)
	}
	info, err := waitid(pid)
	if err != nil {
		return lost, fmt.Errorf("wait for process %d: %w", pid, err)
	}
	return stateOf(info.code, info.status), nil
}

// awaitNote has the kernel tell that a process has ended, which may be a moment
// before it can be waited for. still says, once the kernel has an eye on pid,
// whether it is the process that is meant.
func awaitNote(pid int, still func() bool) error {
	queue, err := unix.Kqueue() // children never inherit it
	if err != nil {
		return err
	}
	defer unix.Close(queue)
	var event [1]unix.Kevent_t
	unix.SetKevent(&event[0], pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	event[0].Fflags = unix.NOTE_EXIT
	_, err = unix.Kevent(queue, event[:], nil, nil)
	switch {
	case errors.Is(err, unix.ESRCH): // it has ended
		return nil
	case err != nil:
		return err
	case !still():
		return nil
	}
	for {
		_, err := unix.Kevent(queue, nil, event[:], nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// siginfo is siginfo_t (sys/signal.h).
type siginfo struct {
	signo, errno, code, pid int32
	uid                     uint32
	status                  int32
	_                       [10]uintptr
}

// waitid reads how a child has ended and leaves it a zombie.
func waitid(pid int) (info siginfo, err error) {
	const processOfID = 1 // P_PID
	for {
		_, _, errno := unix.Syscall6(unix.SYS_WAITID, processOfID, uintptr(pid), uintptr(unsafe.Pointer(&info)), unix.WEXITED|unix.WNOWAIT, 0, 0) //nolint:staticcheck // Go has no other way without cgo
		runtime.KeepAlive(&info)
		switch errno {
		case unix.EINTR:
		case 0:
			return info, nil
		default:
			return info, errno
		}
	}
}
