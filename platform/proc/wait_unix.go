//go:build unix

package proc

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// checkEvery is how often a process is looked at that cannot be waited for.
const checkEvery = 250 * time.Millisecond

// await runs once per process, for all who wait.
func (p *process) await() {
	defer close(p.done)
	defer p.hold.close()
	p.awaitEnd()
	if !p.child {
		p.mu.Lock()
		p.reaped = true
		p.state = State{Code: -1, Signal: "unknown"}
		p.mu.Unlock()
	}
}

// awaitThread leaves the child as it is, so that nobody signals a pid that was
// reaped meanwhile: collect does that under the lock.
func (p *process) awaitThread() {
	if _, err := awaitExit(p.id.PID); err != nil {
		p.awaitChecking()
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

// stateOf reads the code and status of a child's siginfo.
func stateOf(code, status int32) State {
	const exited = 1 // CLD_EXITED
	if code == exited {
		return State{Code: int(status)}
	}
	return State{Code: -1, Signal: syscall.Signal(status).String()}
}
