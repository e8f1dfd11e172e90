package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"ssmagent/platform/proc"
	"ssmagent/platform/quickio"

	"golang.org/x/sys/unix"
)

// terminal is a Terminal on a pseudo terminal.
type terminal struct {
	spec   Spec
	master *os.File
	quick  io.ReadWriter // master, to read and write
	pid    int
	stop   func() bool // of the context's hang-up

	// exited is closed when the program has ended, still as a zombie: until
	// Close reaps it nobody else gets its pid, which names the session.
	exited chan struct{}
	// drained is closed when Read has seen the end, closed by Close.
	drained, closed chan struct{}
	drainOnce       sync.Once
	background      sync.WaitGroup // the waiter, and the context's hang-up

	late late // guarded by its own lock

	mu         sync.Mutex
	state      proc.State
	waitErr    error
	rows, cols uint16
	isClosed   bool

	hangupMu  sync.Mutex // one Hangup at a time
	closeOnce sync.Once
	closeErr  error
}

func open(ctx context.Context, s Spec) (Terminal, error) {
	master, slave, err := openPTY(s)
	if err != nil {
		return nil, err
	}
	pid, err := startOn(slave, s)
	if err != nil {
		master.Close()
		slave.Close()
		return nil, err
	}
	t := &terminal{
		spec: s, master: master, quick: quickio.File(master), pid: pid, rows: s.Rows, cols: s.Cols,
		exited: make(chan struct{}), drained: make(chan struct{}), closed: make(chan struct{}),
	}
	t.background.Go(func() { t.waitExit(slave) })
	t.background.Add(1)
	stop := context.AfterFunc(ctx, func() {
		defer t.background.Done()
		_ = t.Hangup() // its failure shows in Close, which tries again
	})
	t.stop = func() bool {
		stopped := stop()
		if stopped {
			t.background.Done()
		}
		return stopped
	}
	return t, nil
}

// waitExit waits for the program without reaping it. Our copy of the slave end
// is held open until then: a program that closes its terminal for a while does
// not look ended.
func (t *terminal) waitExit(slave *os.File) {
	state, err := waitNoReap(t.pid)
	t.mu.Lock()
	t.state, t.waitErr = state, err
	t.mu.Unlock()
	slave.Close()
	// A writer has nobody to write to any more; a reader looks what is left.
	_ = t.master.SetWriteDeadline(time.Unix(1, 0))
	_ = t.master.SetReadDeadline(time.Unix(1, 0)) // before exited: readLate sets its own
	close(t.exited)
}

func (t *terminal) hasExited() bool {
	select {
	case <-t.exited:
		return true
	default:
		return false
	}
}

// Write implements Terminal.
func (t *terminal) Write(p []byte) (int, error) {
	if t.hasExited() {
		return 0, ErrEnded
	}
	n, err := t.quick.Write(p)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, os.ErrDeadlineExceeded), t.shutDown(), errors.Is(err, unix.EIO):
		return n, ErrEnded
	}
	return n, fmt.Errorf("write to the terminal of %s: %w", t.spec.Path, err)
}

// Resize implements Terminal.
func (t *terminal) Resize(rows, cols uint16) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.isClosed:
		return ErrEnded
	case rows == 0 || cols == 0 || rows == t.rows && cols == t.cols:
		return nil
	}
	if err := setSize(t.master, rows, cols); err != nil {
		return fmt.Errorf("resize the terminal of %s to %d rows and %d columns: %w", t.spec.Path, rows, cols, err)
	}
	t.rows, t.cols = rows, cols
	return nil
}

// Wait implements Terminal.
func (t *terminal) Wait(ctx context.Context) (proc.State, error) {
	for _, c := range []chan struct{}{t.exited, t.drained} {
		select {
		case <-c:
		case <-t.closed:
		case <-ctx.Done():
			return proc.State{}, fmt.Errorf("wait for %s: %w", t.spec.Path, ctx.Err())
		}
	}
	if !t.hasExited() {
		return proc.State{Code: -1, Signal: "unknown"}, fmt.Errorf("wait for %s: it outlived its terminal: %w", t.spec.Path, ErrEnded)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state, t.waitErr
}

// Hangup implements Terminal.
func (t *terminal) Hangup() error {
	t.hangupMu.Lock()
	defer t.hangupMu.Unlock()
	if t.shutDown() {
		return nil
	}
	// Whoever types into it now is to stop at once.
	_ = t.master.SetWriteDeadline(time.Unix(1, 0))
	return endSession(t.pid, t.spec.Grace, t.exited)
}

// Close implements Terminal.
func (t *terminal) Close() error {
	t.closeOnce.Do(func() {
		if !t.hasExited() {
			if t.closeErr = t.Hangup(); t.closeErr == nil {
				t.awaitExit() // it is a zombie, which the waiter is about to see
			}
		}
		t.stop()
		if !t.hasExited() {
			// Not ours to end (another user's, or stuck in the kernel): losing
			// its terminal is what is left. It is reaped when it ends.
			t.shut()
			t.background.Go(func() { <-t.exited; reap(t.pid) })
			return
		}
		t.background.Wait()
		t.shut()
		reap(t.pid)
	})
	return t.closeErr
}

func (t *terminal) awaitExit() {
	timer := time.NewTimer(killWait)
	defer timer.Stop()
	select {
	case <-t.exited:
	case <-timer.C: // a /proc that hides processes had it look gone
	}
}

// shut closes the master end, which hangs up the slave end.
func (t *terminal) shut() {
	t.hangupMu.Lock()
	defer t.hangupMu.Unlock()
	t.mu.Lock()
	t.isClosed = true
	t.mu.Unlock()
	t.master.Close()
	close(t.closed)
	t.endOfOutput()
}

func (t *terminal) shutDown() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.isClosed
}

// waitNoReap waits until the child pid has ended and leaves it a zombie.
func waitNoReap(pid int) (proc.State, error) {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			return exitState(&info), nil
		}
		if !errors.Is(err, unix.EINTR) {
			return proc.State{Code: -1, Signal: "unknown"}, fmt.Errorf("wait for process %d: %w", pid, err)
		}
	}
}

// reap takes the zombie away.
func reap(pid int) {
	for {
		if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func signalName(n int32) string { return syscall.Signal(n).String() }
