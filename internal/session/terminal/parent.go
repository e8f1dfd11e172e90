package terminal

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"ssmagent/platform/proc"
	"ssmagent/platform/quickio"
)

// ErrEnded says that the terminal takes nothing any more.
var ErrEnded = errors.New("the terminal has ended")

// hangupWithin bounds how long the process may keep its pipe full.
const hangupWithin = time.Second

// Process is the terminal's process as the session worker sees it. Its methods
// are safe for concurrent use, but there is one caller of Type and one of Read.
type Process struct {
	p      proc.Process
	in     *os.File
	orders io.Writer // in, to write to
	r      *reader

	out io.ReadCloser

	screen *screen // nil when the process has it

	mu     sync.Mutex
	room   sync.Cond // on mu: credit has grown, or the terminal ended
	credit int
	ended  bool
	exit   *Exit

	wmu     sync.Mutex
	scratch []byte
}

// Start starts the process with spec, of which it fills in the standard files.
// The terminal comes with Open: the process may start while its size is not
// known yet.
func Start(start func(proc.Spec) (proc.Process, error), spec proc.Spec) (*Process, error) {
	return begin(start, spec, nil)
}

func begin(start func(proc.Spec) (proc.Process, error), spec proc.Spec, s *screen) (*Process, error) {
	in, theirIn, err := proc.PipeTo()
	if err != nil {
		return nil, fmt.Errorf("start the terminal's process: %w", err)
	}
	out, theirOut, err := proc.PipeFrom()
	if err != nil {
		closeAll([]*os.File{in, theirIn})
		return nil, fmt.Errorf("start the terminal's process: %w", err)
	}
	spec.Stdin, spec.Stdout = theirIn, theirOut
	p, err := start(spec)
	closeAll([]*os.File{theirIn, theirOut})
	if err != nil {
		closeAll([]*os.File{in, out})
		return nil, fmt.Errorf("start the terminal's process: %w", err)
	}
	t := &Process{p: p, in: in, out: out, orders: quickio.File(in), r: newReader(quickio.File(out)), credit: window, screen: s}
	t.room.L = &t.mu
	return t, nil
}

// ID is the process's.
func (t *Process) ID() proc.ID { return t.p.ID() }

// Open opens the terminal; what became of it comes with Read. The error is
// ErrEnded when the process has gone: see Lost.
func (t *Process) Open(s Spec) error {
	if s.Line = t.screen != nil; s.Line && s.Rows > 0 && s.Cols > 0 {
		if err := t.screen.Resize(s.Rows, s.Cols); err != nil {
			return err
		}
	}
	b, err := json.Marshal(s)
	if err == nil && len(b) > maxFrame {
		err = fmt.Errorf("its environment has %d bytes, at most %d are possible", len(b), maxFrame)
	}
	if err != nil {
		return fmt.Errorf("open a terminal: %w", err)
	}
	if err := t.frame(kindOpen, b); err != nil {
		return fmt.Errorf("%w: %w", ErrEnded, err)
	}
	return nil
}

// Type types b. It waits while the shell takes no input. The error is ErrEnded
// when it never will again.
func (t *Process) Type(b []byte) error {
	if t.screen != nil {
		return t.screen.typeAll(b)
	}
	for len(b) > 0 {
		t.mu.Lock()
		for t.credit == 0 && !t.ended {
			t.room.Wait()
		}
		n := min(len(b), t.credit, maxFrame)
		t.credit -= n
		ended := t.ended
		t.mu.Unlock()
		if ended {
			return ErrEnded
		}
		if err := t.frame(kindInput, b[:n]); err != nil {
			return ErrEnded
		}
		b = b[n:]
	}
	return nil
}

// TypeShown is Type, and says whether the terminal showed what was typed: not
// when that was switched off before or meanwhile, nor when it cannot be told.
func (t *Process) TypeShown(b []byte) (shown bool, err error) {
	if t.screen == nil {
		return false, t.Type(b)
	}
	shown = t.screen.Echoes()
	err = t.Type(b)
	return shown && err == nil && t.screen.Echoes(), err
}

// Resize tells the size.
func (t *Process) Resize(rows, cols uint16) error {
	if t.screen != nil {
		return t.screen.Resize(rows, cols)
	}
	b := binary.BigEndian.AppendUint16(nil, rows)
	return t.frame(kindSize, binary.BigEndian.AppendUint16(b, cols))
}

// EndInput ends the standard input of a program without a terminal, behind
// what was typed.
func (t *Process) EndInput() error { return t.frame(kindEnd, nil) }

// Signal tells a program without a terminal.
func (t *Process) Signal(s proc.Signal) error { return t.frame(kindSignal, []byte{byte(s)}) }

// Hangup makes the process end all that runs in the terminal, SIGHUP first and
// SIGKILL after a while. It does not wait for that. Nothing can be typed after.
func (t *Process) Hangup() {
	// The session's user may have stopped the process: then Close kills it.
	_ = t.in.SetWriteDeadline(time.Now().Add(hangupWithin))
	_ = t.frame(kindHangup, nil)
}

// Read returns what is printed; it is valid until Read is called again. What
// lies ready is joined. Nothing without an error says that the shell has been
// started. io.EOF comes when the terminal has ended: see Exit.
func (t *Process) Read() ([]byte, error) {
	b, _, err := t.ReadEither()
	return b, err
}

// ReadEither is Read that tells what a program without a terminal printed as
// errors.
func (t *Process) ReadEither() (b []byte, isError bool, err error) {
	if t.screen != nil {
		b, err = t.readScreen()
		return b, false, err
	}
	return t.readFrames()
}

func (t *Process) readFrames() (b []byte, isError bool, err error) {
	for {
		k, b, err := t.r.next()
		if err != nil {
			t.end(nil)
			return nil, false, io.EOF
		}
		switch k {
		case kindOutput, kindError:
			if len(b) > 0 {
				return t.join(k, b), k == kindError, nil
			}
		case kindTaken:
			t.taken(b)
		case kindOpened:
			return nil, false, nil
		case kindExit:
			var e Exit
			if json.Unmarshal(b, &e) == nil {
				t.end(&e)
				return nil, false, io.EOF
			}
		}
	}
}

// join moves the frames of a kind that follow b in the buffer up to it.
func (t *Process) join(of kind, b []byte) []byte {
	for {
		from := t.r.from
		k, more, ok, err := t.r.buffered()
		if !ok || err != nil {
			return b
		}
		if k != of {
			t.r.from = from // for the next Read
			return b
		}
		// Both are in the reader's buffer, b first: append moves in place.
		b = append(b, more...)
	}
}

func (t *Process) taken(b []byte) {
	if len(b) != 4 {
		return
	}
	t.mu.Lock()
	t.credit = min(t.credit+int(binary.BigEndian.Uint32(b)), window)
	t.room.Signal()
	t.mu.Unlock()
}

func (t *Process) end(e *Exit) {
	t.mu.Lock()
	if !t.ended {
		t.ended, t.exit = true, e
	}
	t.room.Broadcast()
	t.mu.Unlock()
}

// Exit is how the terminal ended, once Read has said so; false when its process
// was lost without a word.
func (t *Process) Exit() (Exit, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.exit == nil {
		return Exit{}, false
	}
	return *t.exit, true
}

// Lost is why the process ended without a word; it waits for that until ctx ends.
func (t *Process) Lost(ctx context.Context) error {
	s, err := t.p.Wait(ctx)
	if err == nil {
		err = proc.Unborn(s)
	}
	if errors.Is(err, proc.ErrUnborn) {
		return fmt.Errorf("the process of the session's terminal: %w", err)
	}
	return errors.New("the session is lost: the process of its terminal was ended from outside")
}

// Close ends the process, hanging up what still runs in the terminal, and
// waits for it until ctx ends; then it is killed.
func (t *Process) Close(ctx context.Context) error {
	t.end(nil)
	_ = t.in.Close()          // which hangs up
	var drains sync.WaitGroup // a process that cannot write does not end
	drains.Go(func() { _, _ = io.Copy(io.Discard, t.out) })
	if t.screen != nil {
		drains.Go(func() { _, _ = io.Copy(io.Discard, readerOnly{t.screen}) })
	}
	_, err := t.p.Wait(ctx)
	if err != nil {
		err = errors.Join(err, t.p.Kill())
	}
	_ = t.out.Close()
	if t.screen != nil {
		err = errors.Join(err, t.screen.close())
	}
	drains.Wait()
	return err
}

func (t *Process) frame(k kind, b []byte) error {
	t.wmu.Lock()
	defer t.wmu.Unlock()
	t.scratch = append(header(t.scratch[:0], k, len(b)), b...)
	if _, err := t.orders.Write(t.scratch); err != nil {
		return fmt.Errorf("the terminal's process: %w", err)
	}
	return nil
}
