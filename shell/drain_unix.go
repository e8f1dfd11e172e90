//go:build unix

package shell

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// After a program's end its terminal may be held open by what it left in the
// background, so that no end of file comes, and the like may print for ever.
// What was printed by then is in the kernel's buffers: lateMax is more than
// these hold. Kernels hand it out at once; older ones may need a moment, of
// which there is lateQuiet in a row and lateWait in all.
const (
	lateMax   = 256 << 10
	lateQuiet = 20 * time.Millisecond
	lateWait  = 100 * time.Millisecond
)

// late is what was read after the program's end.
type late struct {
	mu     sync.Mutex // one reader at a time
	bytes  int
	waited time.Duration
}

// Read implements Screen.
func (t *screen) Read(p []byte) (int, error) {
	t.late.mu.Lock()
	defer t.late.mu.Unlock()
	select {
	case <-t.drained:
		return 0, io.EOF
	default:
	}
	switch {
	case len(p) == 0:
		return 0, nil
	case t.master == nil:
		<-t.ended
		return 0, io.EOF
	}
	if !t.hasEnded() {
		n, err := t.quick.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return t.readResult(n, err)
		}
	}
	return t.readLate(p)
}

// ReadWithin implements Screen.
func (t *screen) ReadWithin(p []byte, d time.Duration) (int, error) {
	if !t.deadline(time.Now().Add(d)) {
		return t.Read(p) // which does not wait long any more
	}
	defer t.deadline(time.Time{})
	t.late.mu.Lock()
	defer t.late.mu.Unlock()
	n, err := t.quick.Read(p)
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, nil // Read looks whether that was Ended's
	}
	return t.readResult(n, err)
}

// deadline sets that of the next Read, unless the program has ended.
func (t *screen) deadline(at time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isEnded || t.master == nil {
		return false
	}
	_ = t.master.SetReadDeadline(at)
	return true
}

// readLate reads what is left.
func (t *screen) readLate(p []byte) (int, error) {
	if t.late.bytes < lateMax {
		n, err := t.readNow(p)
		over := false
		if errors.Is(err, unix.EAGAIN) {
			if over = t.late.waited >= lateWait; !over {
				start := time.Now()
				_ = t.master.SetReadDeadline(start.Add(lateQuiet))
				n, err = t.quick.Read(p)
				t.late.waited += time.Since(start)
				over = n <= 0 && errors.Is(err, os.ErrDeadlineExceeded)
			}
		}
		if !over {
			t.late.bytes += max(n, 0)
			return t.readResult(n, err)
		}
	}
	t.endOfOutput()
	return 0, io.EOF
}

// readNow reads without waiting, whatever the deadline.
func (t *screen) readNow(p []byte) (n int, err error) {
	_ = t.master.SetReadDeadline(time.Time{})
	c, err := t.master.SyscallConn()
	if err != nil {
		return 0, err
	}
	rerr := c.Read(func(fd uintptr) bool {
		for {
			n, err = unix.Read(int(fd), p)
			if !errors.Is(err, unix.EINTR) {
				return true
			}
		}
	})
	if rerr != nil {
		return 0, rerr
	}
	if n == 0 && err == nil {
		err = io.EOF
	}
	return max(n, 0), err
}

// readResult turns the end of a terminal into io.EOF. EIO is that end: no slave
// end is open any more, ours included, which is only after the exit.
func (t *screen) readResult(n int, err error) (int, error) {
	switch {
	case n > 0:
		return n, nil
	case errors.Is(err, unix.EIO), errors.Is(err, io.EOF):
		t.endOfOutput()
		return 0, io.EOF
	case t.shutDown(): // the raw descriptor's error for that is no os.ErrClosed
		return 0, io.EOF
	}
	return 0, fmt.Errorf("read the terminal of %s: %w", t.name, err)
}

func (t *screen) endOfOutput() { t.drainOnce.Do(func() { close(t.drained) }) }
