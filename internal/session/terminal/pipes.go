package terminal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"ssmagent/platform/proc"
	"ssmagent/shell"
)

// After a program's end its pipes may be held open by what it left in the
// background. What it printed itself lies in them; of the others' output so
// much is still read, and waited for.
const (
	lateMax  = 1 << 20
	lateWait = 5 * time.Second
)

// killWithin bounds how long descendants may take to go after SIGKILL.
const killWithin = 5 * time.Second

// Pipes is how a program runs that gets no terminal.
type Pipes struct {
	// Input: what is typed is its standard input, up to EndInput. Without, it
	// has none.
	Input bool
	// Merged: standard error goes where standard output goes.
	Merged bool
	// Lines: what is typed comes from a terminal, whose lines end with a carriage
	// return. The program reads from a pipe, where they end with a line feed.
	Lines bool `json:",omitempty"`
}

// System is what programs on pipes need of the system.
type System struct {
	Start func(proc.Spec) (proc.Process, error)
	// Subreaper and KillDescendants are proc's.
	Subreaper       func() error
	KillDescendants func(ctx context.Context, keep []proc.ID) error
	// Attendant is what programs are begun by; see shell.Attended.
	Attendant []string
}

// piped is a program on pipes.
type piped struct {
	sys    System
	p      proc.Process
	in     *os.File // nil: no input
	lines  bool     // see Pipes
	notice []byte   // to be read first
	out    *source
	errOut *source // nil: merged

	exited chan struct{}
	state  proc.State
	err    error
	inOnce sync.Once
}

// openPipes starts s.
func openPipes(sys System, s Spec) (_ *piped, err error) {
	var files []*os.File
	defer func() {
		if err != nil {
			closeAll(files)
		}
	}()
	pipe := func(open func() (ours, theirs *os.File, err error)) (ours, theirs *os.File) {
		if err == nil {
			ours, theirs, err = open()
			files = append(files, ours, theirs)
		}
		return ours, theirs
	}
	spec := proc.Spec{Path: s.Path, Args: s.Args, CommandLine: s.CommandLine, Env: s.Env, Dir: s.Dir, Group: true}
	t := &piped{sys: sys, lines: s.Pipes.Lines, exited: make(chan struct{})}
	if s.Pipes.Input {
		t.in, spec.Stdin = pipe(proc.PipeTo)
	}
	var outR, errR *os.File
	outR, spec.Stdout = pipe(proc.PipeFrom)
	if spec.Stderr = spec.Stdout; !s.Pipes.Merged {
		errR, spec.Stderr = pipe(proc.PipeFrom)
	}
	if err == nil {
		err = sys.Subreaper()
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Path, err)
	}
	if t.p, err = sys.Start(shell.Attended(spec, sys.Attendant)); err != nil {
		return nil, err
	}
	closeAll([]*os.File{spec.Stdin, spec.Stdout})
	t.out = &source{f: outR, exited: t.exited, left: lateWait}
	if errR != nil {
		closeAll([]*os.File{spec.Stderr})
		t.errOut = &source{f: errR, exited: t.exited, left: lateWait}
	}
	go t.await()
	return t, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

func (t *piped) await() {
	if t.state, t.err = t.p.Wait(context.Background()); t.err == nil {
		t.err = shell.Unborn(t.state)
	}
	for _, s := range []*source{t.out, t.errOut} {
		if s != nil {
			s.wake()
		}
	}
	t.EndInput() // nobody reads it
	close(t.exited)
}

// Read gives standard output.
func (t *piped) Read(b []byte) (int, error) {
	if len(t.notice) > 0 {
		n := copy(b, t.notice)
		t.notice = t.notice[n:]
		return n, nil
	}
	return t.out.Read(b)
}

// errors gives standard error, nil when it is merged.
func (t *piped) errors() io.Reader {
	if t.errOut == nil {
		return nil
	}
	return t.errOut
}

// Write gives the program input. What it does not want any more is dropped.
func (t *piped) Write(b []byte) (int, error) {
	if t.in != nil {
		typed := b
		if t.lines {
			typed = bytes.ReplaceAll(b, []byte("\r"), []byte("\n"))
		}
		if _, err := t.in.Write(typed); err != nil {
			t.EndInput()
		}
	}
	return len(b), nil
}

// EndInput ends standard input.
func (t *piped) EndInput() {
	t.inOnce.Do(func() {
		if t.in != nil {
			_ = t.in.Close()
		}
	})
}

// Resize does nothing: there is no terminal.
func (t *piped) Resize(uint16, uint16) error { return nil }

func (t *piped) signal(s proc.Signal) { _ = t.p.Signal(s) }

// Wait returns how the program ended.
func (t *piped) Wait(ctx context.Context) (proc.State, error) {
	select {
	case <-t.exited:
		return t.state, t.err
	case <-ctx.Done():
		return proc.State{}, ctx.Err()
	}
}

// Hangup ends the program and all that it started.
func (t *piped) Hangup() error {
	t.EndInput()
	_ = t.p.Signal(proc.Hangup)
	grace := time.NewTimer(hangupGrace)
	defer grace.Stop()
	select {
	case <-t.exited:
	case <-grace.C:
	}
	ctx, done := context.WithTimeout(context.Background(), killWithin)
	defer done()
	err := t.sys.KillDescendants(ctx, nil)
	for _, s := range []*source{t.out, t.errOut} {
		if s != nil {
			s.hurry()
		}
	}
	return err
}

// Close gives back what is held. What the program left in the background goes
// on without its pipes.
func (t *piped) Close() error {
	t.EndInput()
	closeAll([]*os.File{t.out.f})
	if t.errOut != nil {
		closeAll([]*os.File{t.errOut.f})
	}
	return nil
}

// source is a pipe that the program prints into.
type source struct {
	f      *os.File
	exited <-chan struct{}
	bytes  int

	mu   sync.Mutex
	left time.Duration // of waiting after the end
}

// wake lets a Read that waits see that the program has ended.
func (s *source) wake() { _ = s.f.SetReadDeadline(time.Unix(1, 0)) }

// hurry has nothing be waited for any more: everybody was killed.
func (s *source) hurry() {
	s.mu.Lock()
	s.left = 0
	s.mu.Unlock()
	select {
	case <-s.exited:
		_ = s.f.SetReadDeadline(time.Now().Add(nothing))
	default:
	}
}

// nothing is a wait that still gives what lies ready.
const nothing = time.Millisecond

// Read gives what the program prints, to its end.
func (s *source) Read(b []byte) (int, error) {
	for {
		select {
		case <-s.exited:
			return s.readLate(b)
		default:
		}
		n, err := s.f.Read(b)
		switch {
		case n > 0:
			return n, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			<-s.exited // which is about to be closed
		default:
			return 0, io.EOF
		}
	}
}

// readLate reads after the program's end.
func (s *source) readLate(b []byte) (int, error) {
	if s.bytes >= lateMax {
		return 0, io.EOF
	}
	s.mu.Lock()
	left := s.left
	s.mu.Unlock()
	start := time.Now()
	_ = s.f.SetReadDeadline(start.Add(max(left, nothing)))
	n, err := s.f.Read(b)
	s.mu.Lock()
	s.left = max(s.left-time.Since(start), 0)
	s.mu.Unlock()
	if n <= 0 || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return max(n, 0), io.EOF
	}
	s.bytes += n
	return n, nil
}
