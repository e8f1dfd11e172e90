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

// Read implements Terminal.
func (t *terminal) Read(p []byte) (int, error) {
	t.late.mu.Lock()
	defer t.late.mu.Unlock()
	select {
	case <-t.drained:
		return 0, io.EOF
	default:
	}
	if len(p) == 0 {
		return 0, nil
	}
	if !t.hasExited() {
		n, err := t.quick.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return t.readResult(n, err)
		}
	}
	return t.readLate(p)
}

// readLate reads what is left.
func (t *terminal) readLate(p []byte) (int, error) {
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
func (t *terminal) readNow(p []byte) (n int, err error) {
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
func (t *terminal) readResult(n int, err error) (int, error) {
	switch {
	case n > 0:
		return n, nil
	case errors.Is(err, unix.EIO), errors.Is(err, io.EOF):
		t.endOfOutput()
		return 0, io.EOF
	case t.shutDown(): // the raw descriptor's error for that is no os.ErrClosed
		return 0, io.EOF
	}
	return 0, fmt.Errorf("read the terminal of %s: %w", t.spec.Path, err)
}

func (t *terminal) endOfOutput() { t.drainOnce.Do(func() { close(t.drained) }) }
