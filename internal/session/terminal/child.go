package terminal

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"ssmagent/platform/proc"
	"ssmagent/shell"
)

// Name is argv[0] of the terminal's process.
const Name = "ssm-session-terminal"

// Spec is the terminal to open, or the program to run without one.
type Spec struct {
	Path string
	Args []string
	// CommandLine is what the program gets instead of Args, on Windows.
	CommandLine string `json:",omitempty"`
	Env         []string
	Dir         string
	Rows, Cols  uint16
	Pipes       *Pipes `json:",omitempty"` // instead of a terminal
	Line        bool   `json:",omitempty"` // the terminal's line was handed down: see Deps.Line
}

// Exit is how the terminal ended: Error says why there never was one, or that
// something was left behind.
type Exit struct {
	Code    int
	Signal  string
	Number  int    // of the signal, 0 for none
	Name    string // of the signal, as SIGKILL
	Started bool
	Error   string
}

// Deps is what the terminal's process needs of the machine.
type Deps struct {
	In   io.Reader // frames of the session worker; its end hangs up
	Out  io.Writer // frames for it
	Open func(context.Context, shell.Spec) (shell.Terminal, error)
	// Line is the file that the worker handed down beside the standard ones, the
	// line of a terminal whose screen the worker has.
	Line func() *os.File
	// System is for programs without a terminal; its Attendant also for those on
	// one.
	System System
}

// hangupGrace is how long what is hung up may take to end by itself.
const hangupGrace = shell.DefaultGrace

// program is what runs: a shell.Terminal, or a program on pipes.
type program interface {
	io.ReadWriter
	Resize(rows, cols uint16) error
	Wait(ctx context.Context) (proc.State, error)
	Hangup() error
	Close() error
}

// open starts the program of s.
func (d Deps) open(ctx context.Context, s Spec) (program, error) {
	if s.Pipes != nil {
		return d.openPipes(s, "")
	}
	o := shell.Spec{Path: s.Path, Args: s.Args, CommandLine: s.CommandLine, Env: s.Env, Dir: s.Dir, Rows: s.Rows, Cols: s.Cols, Attendant: d.System.Attendant}
	if s.Line {
		if d.Line == nil {
			return nil, errFrame
		}
		o.Line = d.Line()
	}
	t, err := d.Open(ctx, o)
	if s.Line || !errors.Is(err, errors.ErrUnsupported) {
		return t, err
	}
	// A shell without a terminal is better than none, for who is told.
	s.Pipes = &Pipes{Input: true, Merged: true, Lines: true}
	p, perr := d.openPipes(s, fmt.Sprintf("\r\n[ssmagent: there is no terminal, only lines, and what you type is not shown: %v]\r\n", err))
	if perr != nil {
		return nil, errors.Join(err, perr)
	}
	return p, nil
}

func (d Deps) openPipes(s Spec, notice string) (program, error) {
	p, err := openPipes(d.System, s)
	if err != nil {
		return nil, err // not a nil *piped in an interface
	}
	p.notice = []byte(notice)
	return p, nil
}

// Main is the terminal's process. It returns the exit code when nothing runs in
// the terminal any more.
func Main(ctx context.Context, d Deps) int {
	// A handler and not "ignore", which the shell would inherit: a write to a
	// worker that is gone is an error, not our death.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := newReader(d.In)
	k, b, err := r.next()
	var s Spec
	if err == nil && k != kindOpen {
		err = errFrame
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return 1 // the worker went, or is none
	}
	c := &child{out: d.Out}
	t, err := d.open(ctx, s)
	if err != nil {
		c.exit(Exit{Code: -1, Error: err.Error()})
		return 1
	}
	c.t = t
	c.wake.L = &c.mu
	if c.frame(kindOpened, nil) != nil {
		_ = t.Hangup()
	}
	c.run(ctx, r)
	return 0
}

// child is the terminal with its pumps.
type child struct {
	t       program
	outMu   sync.Mutex
	out     io.Writer
	scratch []byte

	mu    sync.Mutex
	wake  sync.Cond // on mu: there is input, or no more
	input []byte
	eof   bool // no more input comes
	over  bool
}

func (c *child) run(ctx context.Context, r *reader) {
	var hangups sync.WaitGroup
	var once sync.Once
	hangup := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.over {
			once.Do(func() { hangups.Go(func() { _ = c.t.Hangup() }) })
		}
	}
	go c.listen(r, hangup) // ends with the worker, or with us
	var typing sync.WaitGroup
	typing.Go(c.typeInput)
	var printing sync.WaitGroup
	if p, ok := c.t.(*piped); ok {
		defer context.AfterFunc(ctx, hangup)()
		if p.errors() != nil {
			printing.Go(func() { newPrinter(c, kindError, hangup).run(p.errors()) })
		}
	}
	newPrinter(c, kindOutput, hangup).run(c.t)
	printing.Wait()
	state, err := c.t.Wait(context.WithoutCancel(ctx))
	c.mu.Lock()
	c.over = true
	c.wake.Signal()
	c.mu.Unlock()
	hangups.Wait()
	e := Exit{Code: state.Code, Signal: state.Signal, Started: !errors.Is(err, proc.ErrUnborn)}
	if cerr := c.t.Close(); err != nil || cerr != nil {
		e.Error = errors.Join(err, cerr).Error()
	}
	typing.Wait()
	c.exit(e)
}

// listen takes what the worker sends. It never waits for the terminal.
func (c *child) listen(r *reader, hangup func()) {
	defer hangup()
	for {
		k, b, err := r.next()
		if err != nil {
			return
		}
		switch k {
		case kindInput:
			c.mu.Lock()
			full := len(c.input)+len(b) > window
			if !full {
				c.input = append(c.input, b...)
			}
			c.wake.Signal()
			c.mu.Unlock()
			if full {
				return // a worker that does not keep to the window
			}
		case kindSize:
			if len(b) == 4 {
				_ = c.t.Resize(binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]))
			}
		case kindHangup:
			hangup()
		case kindEnd:
			c.mu.Lock()
			c.eof = true
			c.wake.Signal()
			c.mu.Unlock()
		case kindSignal:
			c.told(b)
		default:
			return
		}
	}
}

// told passes a signal on to a program without a terminal.
func (c *child) told(b []byte) {
	if p, ok := c.t.(*piped); ok && len(b) == 1 {
		p.signal(proc.Signal(b[0]))
	}
}

// typeSize is what a terminal takes at once. Pipes take more, but are not kept
// from what comes meanwhile either.
const typeSize = 16 << 10

// typeInput types what came, at the pace at which the terminal takes it.
func (c *child) typeInput() {
	var spare []byte
	taken := 0
	for {
		c.mu.Lock()
		for len(c.input) == 0 && !c.over && !c.eof {
			c.wake.Wait()
		}
		if c.over || len(c.input) == 0 {
			c.mu.Unlock()
			c.endInput()
			return
		}
		b := c.input
		c.input, spare = spare[:0], b
		c.mu.Unlock()
		for len(b) > 0 {
			n, err := c.t.Write(b[:min(len(b), typeSize)])
			if err != nil {
				return
			}
			b = b[n:]
			// Single keys are not worth a message each.
			if taken += n; taken >= window/4 {
				_ = c.frame(kindTaken, binary.BigEndian.AppendUint32(nil, uint32(taken)))
				taken = 0
			}
		}
		if cap(spare) > 8<<10 {
			spare = nil // of a paste that is over
		}
	}
}

func (c *child) endInput() {
	if p, ok := c.t.(*piped); ok {
		p.EndInput()
	}
}

func (c *child) frame(k kind, b []byte) error {
	c.outMu.Lock()
	defer c.outMu.Unlock()
	c.scratch = append(header(c.scratch[:0], k, len(b)), b...)
	_, err := c.out.Write(c.scratch)
	return err
}

func (c *child) exit(e Exit) {
	e.Number, e.Name = proc.SignalOf(proc.State{Code: e.Code, Signal: e.Signal})
	if len(e.Error) > maxFrame/8 {
		e.Error = e.Error[:maxFrame/8]
	}
	b, err := json.Marshal(e)
	if err == nil {
		_ = c.frame(kindExit, b)
	}
}

// State is how the shell ended, as processes do.
func (e Exit) State() proc.State { return proc.State{Code: e.Code, Signal: e.Signal} }

// Err is nil when there was a terminal.
func (e Exit) Err() error {
	if e.Started || e.Error == "" {
		return nil
	}
	return fmt.Errorf("%s", e.Error)
}
