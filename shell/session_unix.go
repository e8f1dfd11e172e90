//go:build unix

package shell

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// killWait is how long processes may take to be gone after SIGKILL.
	killWait = 3 * time.Second
	// lookAfter and lookAtMost bound the growing intervals at which Hangup
	// looks whether a session is empty: no event tells of it.
	lookAfter  = 2 * time.Millisecond
	lookAtMost = 50 * time.Millisecond
)

// endSession ends every process of the session that pid leads (or led: pid is
// not reaped yet, so that the number still means this session).
func endSession(pid int, grace time.Duration, exited <-chan struct{}) error {
	left, err := living(pid)
	if err != nil {
		_ = unix.Kill(pid, unix.SIGKILL) // the one that needs no list
		return err
	}
	for _, member := range left {
		_ = unix.Kill(member, unix.SIGHUP)
		_ = unix.Kill(member, unix.SIGCONT) // a stopped process hears nothing
	}
	if left, err = awaitEmpty(pid, grace, exited, nil); err != nil || len(left) == 0 {
		return err
	}
	// Again at every look: what is killed may just have started another.
	left, err = awaitEmpty(pid, killWait, exited, func(member int) { _ = unix.Kill(member, unix.SIGKILL) })
	if err != nil || len(left) == 0 {
		return err
	}
	return fmt.Errorf("hang up: %d of another user or stuck in the kernel, among them process %d: %w", len(left), left[0], ErrLeftOver)
}

// awaitEmpty looks at the session until nothing lives in it or d has passed,
// and does each to what it finds.
func awaitEmpty(pid int, d time.Duration, exited <-chan struct{}, each func(member int)) ([]int, error) {
	end := time.NewTimer(d)
	defer end.Stop()
	pause := lookAfter
	look := time.NewTimer(0)
	defer look.Stop()
	over := false
	for {
		select {
		case <-exited: // look at once when the leader has gone
			exited = nil
		case <-look.C:
		case <-end.C:
			over = true
		}
		left, err := living(pid)
		if err != nil || len(left) == 0 || over {
			return left, err
		}
		if each != nil {
			for _, member := range left {
				each(member)
			}
		}
		look.Reset(pause)
		pause = min(2*pause, lookAtMost)
	}
}
