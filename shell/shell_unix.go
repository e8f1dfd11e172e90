//go:build unix

package shell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"ssmagent/platform/proc"

	"golang.org/x/sys/unix"
)

// terminal is a Terminal on a pseudo terminal: a program, and its screen unless
// somebody else has that.
type terminal struct {
	// The screen is ended with the program, then still a zombie: until Close
	// reaps it nobody else gets its pid, which names the session.
	*screen
	spec Spec
	pid  int
	stop func() bool // of the context's hang-up

	background sync.WaitGroup // the waiter, and the context's hang-up

	stateMu sync.Mutex
	state   proc.State
	waitErr error
	lost    bool // whoever has the screen went before the program ended

	hangupMu  sync.Mutex // one Hangup at a time
	closeOnce sync.Once
	closeErr  error
}

func attended(s proc.Spec, _ []string) proc.Spec { return s }

func unborn(s proc.State) error { return proc.Unborn(s) }

// attend: terminals of Unix need none.
func attend([]string) int {
	fmt.Fprintf(os.Stderr, "%s: only Windows has consoles\n", AttendantName)
	return 2
}

func open(ctx context.Context, s Spec) (Terminal, error) {
	if s.CommandLine != "" {
		return nil, errors.New("command lines exist on Windows only, give arguments")
	}
	sc, line := noScreen(), s.Line
	if line == nil {
		var err error
		if sc, line, err = newScreen(s); err != nil {
			return nil, err
		}
	}
	pid, err := startOn(line, s)
	if err != nil {
		line.Close()
		_ = sc.Close()
		return nil, err
	}
	t := &terminal{screen: sc, spec: s, pid: pid}
	t.background.Go(func() { t.waitExit(line) })
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
func (t *terminal) waitExit(line *os.File) {
	state, err := proc.AwaitExit(t.pid)
	t.stateMu.Lock()
	t.state, t.waitErr, t.lost = state, err, hungUp(line)
	t.stateMu.Unlock()
	line.Close()
	t.Ended()
}

// hungUp says whether the screen of a terminal's line is gone.
func hungUp(line *os.File) bool {
	hup := false
	raw, err := line.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		ps := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(ps, 0)
		hup = n > 0 && err == nil && ps[0].Revents&unix.POLLHUP != 0
	})
	return hup
}

// Wait implements Terminal.
func (t *terminal) Wait(ctx context.Context) (proc.State, error) {
	for _, c := range []chan struct{}{t.ended, t.drained} {
		select {
		case <-c:
		case <-t.closed:
		case <-ctx.Done():
			return proc.State{}, fmt.Errorf("wait for %s: %w", t.spec.Path, ctx.Err())
		}
	}
	if !t.hasEnded() {
		return proc.State{Code: -1, Signal: "unknown"}, fmt.Errorf("wait for %s: it outlived its terminal: %w", t.spec.Path, ErrEnded)
	}
	t.stateMu.Lock()
	defer t.stateMu.Unlock()
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
	t.stopWriting()
	return endSession(t.pid, t.spec.Grace, t.ended)
}

// Close implements Terminal.
func (t *terminal) Close() error {
	t.closeOnce.Do(func() {
		t.stateMu.Lock()
		lost := t.lost
		t.stateMu.Unlock()
		// The system tells the leader and the foreground of a lost screen; what
		// runs behind is ours to end.
		if lost || !t.hasEnded() {
			if t.closeErr = t.Hangup(); t.closeErr == nil {
				t.awaitExit() // it is a zombie, which the waiter is about to see
			}
		}
		t.stop()
		if !t.hasEnded() {
			// Not ours to end (another user's, or stuck in the kernel): losing
			// its terminal is what is left. It is reaped when it ends.
			t.shut()
			t.background.Go(func() { <-t.ended; reap(t.pid) })
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
	case <-t.ended:
	case <-timer.C: // a /proc that hides processes had it look gone
	}
}

// shut closes the screen, which hangs up the program's end.
func (t *terminal) shut() {
	t.hangupMu.Lock()
	defer t.hangupMu.Unlock()
	_ = t.screen.Close()
}

// reap takes the zombie away.
func reap(pid int) {
	for {
		if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
