package terminal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"ssmagent/platform/proc"
	"ssmagent/shell"
)

// screen is the end of a terminal that a person sits at, when the session
// worker has it itself: what is typed and printed then does not pass through
// the process that runs as the session's user, which only starts the shell,
// waits for it and hangs it up. The terminal is the worker's from the
// beginning; its user's process is handed no more than the line.
type screen struct {
	shell.Screen
	buf     []byte
	last    time.Time     // when Read last gave something
	opened  chan struct{} // closed: the shell runs, or there is none
	told    bool          // by Read
	follows sync.WaitGroup
}

// StartOn is Start for a terminal whose screen stays here, where the system has
// such; open is shell.OpenScreen.
func StartOn(open func(shell.Spec) (shell.Screen, *os.File, error), start func(proc.Spec) (proc.Process, error), spec proc.Spec) (*Process, error) {
	s, line, err := open(shell.Spec{Path: spec.Path, Env: spec.Env, Principal: spec.Principal})
	if errors.Is(err, errors.ErrUnsupported) {
		return Start(start, spec)
	}
	if err != nil {
		return nil, err
	}
	defer line.Close()
	spec.ExtraFiles = []*os.File{line}
	t, err := begin(start, spec, &screen{Screen: s, opened: make(chan struct{}), buf: make([]byte, outputSize)})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	t.screen.follows.Go(t.follow)
	return t, nil
}

// follow hears from the process how the shell fares.
func (t *Process) follow() {
	var once sync.Once
	opened := func() { once.Do(func() { close(t.screen.opened) }) }
	defer opened()
	defer t.screen.Ended()
	for {
		if _, _, err := t.readFrames(); err != nil {
			return
		}
		opened()
	}
}

func (s *screen) typeAll(b []byte) error {
	if _, err := s.Write(b); err != nil {
		return ErrEnded
	}
	return nil
}

// readScreen gives at once what a person waits for. What comes flat out is
// gathered, since everybody on the way to the person works by the frame.
func (t *Process) readScreen() ([]byte, error) {
	s := t.screen
	if !s.told {
		<-s.opened
		s.told = true
		return nil, nil
	}
	n, err := s.Read(s.buf)
	if err != nil {
		s.follows.Wait() // the exit is on its way
		return nil, io.EOF
	}
	now := time.Now()
	if bulk := n >= bulkSize/2 && now.Sub(s.last) < bulkWithin; bulk {
		n = s.gather(n, now.Add(linger))
	}
	s.last = time.Now()
	return s.buf[:n], nil
}

// gather reads on behind the first n bytes until the time has come or it is
// worth a frame. An end that it meets comes again.
func (s *screen) gather(n int, until time.Time) int {
	for n < enough {
		left := time.Until(until)
		if left <= 0 {
			break
		}
		k, err := s.ReadWithin(s.buf[n:], left)
		if n += k; err != nil || k == 0 {
			break
		}
	}
	return n
}

func (s *screen) close() error {
	s.Ended()
	err := s.Screen.Close()
	s.follows.Wait()
	if err != nil {
		return fmt.Errorf("close the terminal: %w", err)
	}
	return nil
}

// readerOnly hides all but Read.
type readerOnly struct{ io.Reader }
