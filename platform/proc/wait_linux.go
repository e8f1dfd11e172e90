package proc

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// checkEvery is how often a process is looked at that cannot be waited for:
// no child of ours, on a kernel before 5.3.
const checkEvery = 250 * time.Millisecond

// await runs once per process, for all who wait.
func (p *process) await() {
	defer close(p.done)
	defer p.close()
	switch {
	case p.child && p.pidfd == nil:
		p.awaitThread()
	case p.child:
		p.awaitReadable(p.reap)
	case p.pidfd == nil:
		p.awaitChecking()
	default:
		p.awaitReadable(func() bool { return ended(p) })
	}
	if !p.child {
		p.mu.Lock()
		p.reaped = true
		p.state = State{Code: -1, Signal: "unknown"}
		p.mu.Unlock()
	}
}

// awaitReadable asks isOver whenever the pidfd turned readable, until it says yes.
func (p *process) awaitReadable(isOver func() bool) {
	raw, err := p.pidfd.SyscallConn()
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

func ended(p *process) bool { return !running(p.id) }

// reap collects the child if it has ended.
func (p *process) reap() bool { return p.collect(unix.WNOHANG) }

func (p *process) awaitThread() {
	// WNOWAIT leaves the child as it is, so that nobody signals a pid that
	// was reaped meanwhile: collect does that under the lock.
	for {
		err := unix.Waitid(unix.P_PID, p.id.PID, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.collect(0)
}

func (p *process) awaitChecking() {
	t := time.NewTicker(checkEvery)
	defer t.Stop()
	for running(p.id) {
		<-t.C
	}
}

func (p *process) collect(flags int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ws unix.WaitStatus
	var ru unix.Rusage
	for {
		pid, err := unix.Wait4(p.id.PID, &ws, flags, &ru)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			p.reaped, p.err = true, err
			p.state = State{Code: -1, Signal: "unknown"}
			return true
		case pid == 0:
			return false
		}
		p.reaped = true
		p.usage = time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
		p.state = State{Code: ws.ExitStatus()}
		if ws.Signaled() {
			p.state = State{Code: -1, Signal: ws.Signal().String()}
		}
		return true
	}
}
