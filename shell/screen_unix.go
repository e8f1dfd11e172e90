//go:build unix

package shell

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"ssmagent/platform/quickio"

	"golang.org/x/sys/unix"
)

// screen is the master end of a pseudo terminal.
type screen struct {
	name   string        // of the program, for errors
	master *os.File      // nil: somebody else's
	quick  io.ReadWriter // master, to read and write

	// ended is closed when the program has ended; drained when Read has seen
	// the end, closed by Close.
	ended, drained, closed chan struct{}
	endOnce, drainOnce     sync.Once
	closeOnce              sync.Once

	late late // guarded by its own lock

	mu         sync.Mutex // also of the read deadline, which is Ended's from then on
	isEnded    bool
	isClosed   bool
	rows, cols uint16
}

func openScreen(s Spec) (Screen, *os.File, error) {
	sc, line, err := newScreen(s)
	if err != nil {
		return nil, nil, err // not a nil *screen in an interface
	}
	return sc, line, nil
}

func newScreen(s Spec) (*screen, *os.File, error) {
	master, slave, err := openPTY(s)
	if err != nil {
		return nil, nil, err
	}
	sc := noScreen()
	sc.name, sc.master, sc.quick, sc.rows, sc.cols = s.Path, master, quickio.File(master), s.Rows, s.Cols
	return sc, slave, nil
}

// noScreen stands for one that somebody else has.
func noScreen() *screen {
	return &screen{ended: make(chan struct{}), drained: make(chan struct{}), closed: make(chan struct{})}
}

// Ended implements Screen.
func (t *screen) Ended() {
	t.endOnce.Do(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.isEnded = true
		if t.master == nil {
			t.endOfOutput()
		} else {
			// A writer has nobody to write to any more; a reader looks what is
			// left.
			t.stopWriting()
			_ = t.master.SetReadDeadline(time.Unix(1, 0)) // before ended: readLate sets its own
		}
		close(t.ended)
	})
}

func (t *screen) hasEnded() bool {
	select {
	case <-t.ended:
		return true
	default:
		return false
	}
}

// stopWriting has whoever types stop at once.
func (t *screen) stopWriting() {
	if t.master != nil {
		_ = t.master.SetWriteDeadline(time.Unix(1, 0))
	}
}

// Write implements Screen.
func (t *screen) Write(p []byte) (int, error) {
	if t.master == nil || t.hasEnded() {
		return 0, ErrEnded
	}
	n, err := t.quick.Write(p)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, os.ErrDeadlineExceeded), t.shutDown(), errors.Is(err, unix.EIO):
		return n, ErrEnded
	}
	return n, fmt.Errorf("write to the terminal of %s: %w", t.name, err)
}

// Echoes implements Screen.
func (t *screen) Echoes() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.master != nil && !t.isClosed && echoes(t.master)
}

// Resize implements Screen.
func (t *screen) Resize(rows, cols uint16) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.isClosed || t.master == nil:
		return ErrEnded
	case rows == 0 || cols == 0 || rows == t.rows && cols == t.cols:
		return nil
	}
	if err := setSize(t.master, rows, cols); err != nil {
		return fmt.Errorf("resize the terminal of %s to %d rows and %d columns: %w", t.name, rows, cols, err)
	}
	t.rows, t.cols = rows, cols
	return nil
}

// Close implements Screen.
func (t *screen) Close() error {
	var err error
	t.closeOnce.Do(func() {
		t.mu.Lock()
		t.isClosed = true
		t.mu.Unlock()
		if t.master != nil {
			err = t.master.Close()
		}
		close(t.closed)
		t.endOfOutput()
	})
	return err
}

func (t *screen) shutDown() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.isClosed
}
