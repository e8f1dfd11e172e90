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

	"github.com/UserExistsError/conpty"
	"golang.org/x/sys/windows"

	"ssmagent/platform/proc"
)

// quiet is how long a console whose program has ended must print nothing to be
// taken to have printed all: there is no other sign of it.
const quiet = 150 * time.Millisecond

// killedCode is the exit code of what Hangup ends.
const killedCode = 1

// terminal is a program on a pseudo console. The library's console is written,
// read and closed with raw handles and no lock, and its Close must be called
// once, while somebody reads, and when nothing is left to be read.
type terminal struct {
	spec Spec
	pid  int

	job     windows.Handle // all that runs in the console; closing it ends them; 0 then
	process windows.Handle

	reader  *io.PipeReader // what was printed
	ended   chan struct{}  // closed when the program has ended
	drained chan struct{}  // closed when Read has given all, or nobody will read
	state   proc.State     // under ended
	waitErr error

	mu      sync.Mutex     // guards job and what follows
	console *conpty.ConPty // nil once it is closed

	printing  activity
	stop      func() bool // of the context's hang-up
	work      sync.WaitGroup
	hangup    sync.Once
	closeOnce sync.Once
}

func open(ctx context.Context, s Spec) (Terminal, error) {
	t, err := start(s)
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

func start(s Spec) (*terminal, error) {
	if err := check(s); err != nil {
		return nil, err
	}
	job, err := newJob()
	if err != nil {
		return nil, err
	}
	// The library passes no program apart from the line.
	line := windows.ComposeCommandLine(append([]string{s.Path}, s.Args[1:]...))
	console, err := conpty.Start(line, conpty.ConPtyDimensions(int(s.Cols), int(s.Rows)), conpty.ConPtyWorkDir(s.Dir), conpty.ConPtyEnv(append([]string{}, s.Env...)))
	if err != nil {
		return nil, errors.Join(err, windows.CloseHandle(job))
	}
	t := &terminal{spec: s, pid: console.Pid(), job: job, console: console, ended: make(chan struct{}), drained: make(chan struct{})}
	// The library keeps the process open, so its number is nobody else's. It
	// cannot start a process suspended: what this one starts before it is in
	// the job is ended with the console.
	const all = windows.PROCESS_SET_QUOTA | windows.PROCESS_TERMINATE | windows.PROCESS_QUERY_LIMITED_INFORMATION | windows.SYNCHRONIZE
	if t.process, err = windows.OpenProcess(all, false, uint32(t.pid)); err == nil {
		err = windows.AssignProcessToJobObject(job, t.process)
	}
	if err != nil && t.process != 0 && exited(t.process) {
		err = nil // it was quick
	}
	if err != nil {
		_ = console.Close() // which ends it; nothing was read, and nothing is lost
		return nil, errors.Join(fmt.Errorf("put it into a job: %w", err), t.giveBack())
	}
	return t, nil
}

// check refuses what cannot be, in words.
func check(s Spec) error {
	switch {
	case !conpty.IsConPtyAvailable():
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

// newJob is a job whose members end when we do, however that is.
func newJob() (windows.Handle, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0, fmt.Errorf("make a job object: %w", err)
	}
	if err := killOnClose(job); err != nil {
		return 0, errors.Join(fmt.Errorf("have a job end its members: %w", err), windows.CloseHandle(job))
	}
	return job, nil
}

func exited(process windows.Handle) bool {
	ev, err := windows.WaitForSingleObject(process, 0)
	return err == nil && ev == windows.WAIT_OBJECT_0
}

// pump reads what is printed until the console is closed. It never stops: a
// console that nobody reads cannot be closed.
func (t *terminal) pump(console *conpty.ConPty, w *io.PipeWriter) {
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
	_, t.waitErr = windows.WaitForSingleObject(t.process, windows.INFINITE)
	var code uint32
	if t.waitErr == nil {
		t.waitErr = windows.GetExitCodeProcess(t.process, &code)
	}
	t.state = proc.State{Code: int(code)}
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
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.job == 0 {
		return nil // Close was quicker
	}
	if err := windows.TerminateJobObject(t.job, killedCode); err != nil {
		return fmt.Errorf("%w: end the job of process %d: %w", ErrLeftOver, t.pid, err)
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
	t.mu.Lock()
	defer t.mu.Unlock()
	err := windows.CloseHandle(t.job)
	t.job = 0
	if t.process != 0 {
		err = errors.Join(err, windows.CloseHandle(t.process))
	}
	return err
}

func openScreen(Spec) (Screen, *os.File, error) {
	return nil, nil, fmt.Errorf("open a terminal without its program: %w", errors.ErrUnsupported)
}
