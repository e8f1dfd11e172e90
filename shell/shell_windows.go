package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/windows"

	"ssmagent/platform/job"
	"ssmagent/platform/proc"
)

// quiet is how long a console whose program has ended must print nothing to be
// taken to have printed all: there is no other sign of it.
const quiet = 150 * time.Millisecond

// terminal is a program on a pseudo console. The library's console is written,
// read and closed with raw handles and no lock, and its Close must be called
// once, while somebody reads, and when nothing is left to be read.
type terminal struct {
	spec Spec
	pid  int

	sys     calls
	job     *job.Job // all that runs in the console; closing it ends them
	process windows.Handle

	reader  *io.PipeReader // what was printed
	ended   chan struct{}  // closed when the program has ended
	drained chan struct{}  // closed when Read has given all, or nobody will read
	state   proc.State     // under ended
	waitErr error

	mu      sync.Mutex // guards what follows
	console console    // nil once it is closed

	printing  activity
	stop      func() bool // of the context's hang-up
	work      sync.WaitGroup
	hangup    sync.Once
	closeOnce sync.Once
}

func open(ctx context.Context, s Spec) (Terminal, error) { return openBy(ctx, system(), s) }

func openBy(ctx context.Context, sys calls, s Spec) (Terminal, error) {
	t, err := start(sys, s)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Path, err)
	}
	r, w := io.Pipe()
	t.reader = r
	console := t.console // before anything can close it
	t.work.Go(func() { t.pump(console, w) })
	t.work.Go(t.await)
	t.stop = context.AfterFunc(ctx, func() { _ = t.Hangup() })
	return t, nil
}

func start(sys calls, s Spec) (*terminal, error) {
	if err := check(sys, s); err != nil {
		return nil, err
	}
	j, err := sys.newJob("")
	if err != nil {
		return nil, err
	}
	if err := sys.tether(j); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	c, err := sys.start(commandLine(s), s)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open a pseudo console: %w", err), j.Close())
	}
	t := &terminal{spec: s, sys: sys, pid: c.Pid(), job: j, console: c, ended: make(chan struct{}), drained: make(chan struct{})}
	// The library keeps the process open, so its number is nobody else's. It
	// cannot start a process suspended: what this one starts before it is in
	// the job is ended with the console.
	if t.process, err = sys.open(uint32(t.pid)); err != nil {
		err = fmt.Errorf("hold it: %w", err)
	} else if err = sys.add(j, t.process); err != nil && exited(t.process) {
		err = nil // it was quick
	}
	if err != nil {
		_ = c.Close() // which ends it; nothing was read, and nothing is lost
		return nil, errors.Join(err, t.giveBack())
	}
	return t, nil
}

// check refuses what cannot be, in words.
func check(sys calls, s Spec) error {
	switch {
	case !sys.available():
		return fmt.Errorf("this Windows has no pseudo console; Windows 10 1809 and Server 2019 are the first that have: %w", errors.ErrUnsupported)
	case s.Line != nil:
		return fmt.Errorf("a terminal cannot be apart from its program: %w", errors.ErrUnsupported)
	case s.Principal.Set || s.Principal.Token != 0:
		return fmt.Errorf("a pseudo console is its creator's; run this program as the user: %w", errors.ErrUnsupported)
	case s.Cols > 1<<15-1 || s.Rows > 1<<15-1:
		return fmt.Errorf("%d columns and %d rows are more than a console can have", s.Cols, s.Rows)
	}
	for _, e := range s.Env {
		if strings.IndexByte(e, 0) >= 0 {
			return fmt.Errorf("environment entry %q holds a NUL", e)
		}
	}
	info, err := os.Stat(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("this shell does not exist on the node: %w", err)
	}
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no program")
	}
	return err
}

func exited(process windows.Handle) bool {
	ev, err := windows.WaitForSingleObject(process, 0)
	return err == nil && ev == windows.WAIT_OBJECT_0
}

// pump reads what is printed until the console is closed. It never stops: a
// console that nobody reads cannot be closed.
func (t *terminal) pump(console console, w *io.PipeWriter) {
	buf := make([]byte, 8<<10)
	for {
		n, err := console.Read(buf)
		if n > 0 {
			t.printing.begin()
			_, _ = w.Write(buf[:n]) // after Close nobody reads: it is thrown away
			t.printing.end()
		}
		if err != nil { // broken, as there is no end of file
			_ = w.Close()
			return
		}
	}
}

// await waits for the program, then for the last of what it printed.
func (t *terminal) await() {
	code, err := t.sys.wait(t.process)
	t.state = proc.State{Code: int(code)}
	if err == nil {
		err = unborn(t.state)
	}
	if err != nil {
		t.waitErr = fmt.Errorf("run %s: %w", t.spec.Path, err)
	}
	close(t.ended)
	t.printing.awaitQuiet(quiet)
	t.closeConsole()
}

// closeConsole ends what is still attached to the console, and returns when
// what it had to say was read.
func (t *terminal) closeConsole() {
	t.mu.Lock()
	console := t.console
	t.console = nil
	t.mu.Unlock()
	if console != nil {
		_ = console.Close() // its errors are those of handles
	}
}

// Read implements Terminal.
func (t *terminal) Read(p []byte) (int, error) {
	n, err := t.reader.Read(p)
	if err != nil {
		t.hasDrained()
		if errors.Is(err, io.ErrClosedPipe) {
			err = io.EOF
		}
	}
	return n, err
}

func (t *terminal) hasDrained() {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.drained:
	default:
		close(t.drained)
	}
}

// Write implements Terminal.
func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	console := t.console
	t.mu.Unlock()
	select {
	case <-t.ended:
		console = nil
	default:
	}
	if console == nil {
		return 0, ErrEnded
	}
	// Not under the lock: it may wait for the program until the console is
	// closed.
	n, err := console.Write(p)
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrEnded, err)
	}
	return n, err
}

// Resize implements Terminal.
func (t *terminal) Resize(rows, cols uint16) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if rows == 0 || cols == 0 || rows == t.spec.Rows && cols == t.spec.Cols {
		return nil
	}
	if t.console == nil {
		return ErrEnded
	}
	rows, cols = min(rows, 1<<15-1), min(cols, 1<<15-1)
	if err := t.console.Resize(int(cols), int(rows)); err != nil {
		return fmt.Errorf("resize the console: %w", err)
	}
	t.spec.Rows, t.spec.Cols = rows, cols
	return nil
}

// Wait implements Terminal.
func (t *terminal) Wait(ctx context.Context) (proc.State, error) {
	for _, c := range []chan struct{}{t.ended, t.drained} {
		select {
		case <-c:
		case <-ctx.Done():
			return proc.State{}, fmt.Errorf("wait for %s: %w", t.spec.Path, ctx.Err())
		}
	}
	return t.state, t.waitErr
}

// emptyWithin bounds the wait for what a hang-up has ended.
const emptyWithin = 5 * time.Second

// Hangup implements Terminal. Closing the console tells its programs, as
// closing a window does; those that are still there after the grace are ended.
func (t *terminal) Hangup() error {
	t.hangup.Do(func() {
		t.work.Go(t.closeConsole)
		timer := time.NewTimer(t.spec.Grace)
		defer timer.Stop()
		select {
		case <-t.ended:
		case <-timer.C:
		}
	})
	if err := t.sys.empty(t.job, emptyWithin); err != nil {
		return fmt.Errorf("%w: %w", ErrLeftOver, err)
	}
	return nil
}

// Close implements Terminal. On this system what a program left in the
// background ends with its console.
func (t *terminal) Close() error {
	var err error
	t.closeOnce.Do(func() {
		t.stop()
		_ = t.reader.Close() // nobody reads any more, which the pump does on
		t.hasDrained()
		err = t.Hangup()
		t.work.Wait()
		err = errors.Join(err, t.giveBack())
	})
	return err
}

// giveBack closes the handles, which ends what is left in the job.
func (t *terminal) giveBack() error {
	err := t.job.Close()
	if t.process != 0 {
		err = errors.Join(err, t.sys.close(t.process))
	}
	return err
}

func openScreen(Spec) (Screen, *os.File, error) {
	return nil, nil, fmt.Errorf("open a terminal without its program: %w", errors.ErrUnsupported)
}
