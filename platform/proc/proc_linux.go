package proc

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// handle is a pidfd, or nil on kernels without.
type handle struct{ pidfd *os.File }

// handles has a child that is going to be started come with its handle.
func handles(attr *syscall.SysProcAttr) (take func(pid int) handle) {
	pidfd := -1
	attr.PidFD = &pidfd
	return func(pid int) handle { return handle{pollable(pidfd, pid)} }
}

// grasp is the handle of a process that may not be ours.
func grasp(pid int) (handle, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case errors.Is(err, unix.ESRCH), errors.Is(err, unix.EINVAL):
		return handle{}, ErrGone
	case err != nil:
		return handle{}, nil
	}
	return handle{pollable(fd, pid)}, nil
}

// pollable makes a pidfd one that the runtime's poller waits for, so that a
// waiting goroutine costs no thread. Kernels before 5.3 have none: nil.
func pollable(fd, pid int) *os.File {
	if fd < 0 {
		var err error
		if fd, err = unix.PidfdOpen(pid, 0); err != nil {
			return nil
		}
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil
	}
	return os.NewFile(uintptr(fd), "pidfd")
}

func (h handle) close() {
	if h.pidfd != nil {
		h.pidfd.Close()
	}
}

// send is false without a handle that could.
func (h handle) send(sig unix.Signal) (sent bool, err error) {
	if h.pidfd == nil {
		return false, nil
	}
	raw, err := h.pidfd.SyscallConn()
	if err != nil {
		return true, err
	}
	if cerr := raw.Control(func(fd uintptr) { err = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); cerr != nil {
		return true, cerr
	}
	return true, err
}

// fork starts the child. A umask belongs to the whole process, but a thread
// can have one of its own: it is used for this one child and then thrown away.
func fork(s Spec, attr *syscall.ProcAttr) (int, error) {
	if !s.UmaskSet {
		return forkExec(s, attr)
	}
	var pid int
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()                  // never unlocked: the thread ends with the goroutine
		if unix.Unshare(unix.CLONE_FS) != nil { // containers forbid it
			pid, err = forkMasked(s, attr)
			return
		}
		unix.Umask(s.Umask & 0o777)
		pid, err = forkExec(s, attr)
	}()
	<-done
	return pid, err
}

// forkExec does without a pidfd where none comes with the child: under an
// emulator such as qemu's, which images of other architectures run in.
func forkExec(s Spec, attr *syscall.ProcAttr) (int, error) {
	pid, err := syscall.ForkExec(s.Path, s.Args, attr)
	if errors.Is(err, unix.EINVAL) && attr.Sys.PidFD != nil {
		attr.Sys.PidFD = nil
		return syscall.ForkExec(s.Path, s.Args, attr)
	}
	return pid, err
}

// descriptorDir lists our descriptors.
const descriptorDir = "/proc/self/fd"

func closeOnExec() error {
	err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	if err != nil { // kernels before 5.11
		err = markDescriptors()
	}
	return err
}

func becomeSubreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	return nil
}
