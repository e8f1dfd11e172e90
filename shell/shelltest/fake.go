// Package shelltest has a Terminal without processes, for tests of what uses
// package shell, and the suite that it and the real one pass.
package shelltest

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"ssmagent/platform/proc"
	"ssmagent/shell"
)

// Path is the only program that a Fake has: a shell that knows echo, stty,
// cat, read, sleep, seq, kill, nohup, trap ” HUP, exit, true, false, $$, $! and a command
// in the background, separated by blanks, semicolons and lines. Without
// "-c" it is interactive and shows PS1.
const Path = "/bin/sh"

// Fake opens terminals that live in memory. The zero value is ready. Safe for
// concurrent use.
type Fake struct {
	mu      sync.Mutex
	lastPID int
	alive   map[int]bool
	specs   []shell.Spec
}

// Alive says whether the process of a fake terminal still runs.
func (f *Fake) Alive(pid int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.alive[pid]
}

// Running is how many processes of fake terminals still run.
func (f *Fake) Running() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.alive)
}

// Specs are those of the terminals opened so far.
func (f *Fake) Specs() []shell.Spec {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]shell.Spec(nil), f.specs...)
}

func (f *Fake) fork() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.alive == nil {
		f.alive = map[int]bool{}
		f.lastPID = 1000
	}
	f.lastPID++
	f.alive[f.lastPID] = true
	return f.lastPID
}

func (f *Fake) died(pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.alive, pid)
}

// Open is shell.Open.
func (f *Fake) Open(ctx context.Context, s shell.Spec) (shell.Terminal, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open a terminal: %w", err)
	}
	if s.Path != Path {
		return nil, fmt.Errorf("start %s: this shell does not exist on the node: %w", s.Path, fs.ErrNotExist)
	}
	f.mu.Lock()
	f.specs = append(f.specs, s)
	f.mu.Unlock()
	if s.Rows == 0 || s.Cols == 0 {
		s.Rows, s.Cols = shell.DefaultRows, shell.DefaultCols
	}
	if s.Grace <= 0 {
		s.Grace = shell.DefaultGrace
	}
	t := &tty{fake: f, rows: s.Rows, cols: s.Cols, grace: s.Grace, echo: true, procs: map[*process]bool{}}
	t.cond = sync.NewCond(&t.mu)
	sh := &interpreter{t: t, p: t.start(false)}
	for _, e := range s.Env {
		if v, ok := strings.CutPrefix(e, "PS1="); ok {
			sh.prompt = v
		}
	}
	if len(s.Args) > 2 && s.Args[1] == "-c" {
		sh.script = s.Args[2]
	} else {
		sh.interactive = true
	}
	t.running.Go(sh.main)
	stop := context.AfterFunc(ctx, func() { _ = t.Hangup() })
	t.stop = func() { stop() }
	return t, nil
}

// process is a program of a fake terminal.
type process struct {
	pid    int
	nohup  bool
	signal string // what ended it, empty while it runs or when it exited
	ended  bool
}

// tty is a fake Terminal with its line discipline and its processes.
type tty struct {
	fake  *Fake
	grace time.Duration
	stop  func()

	running sync.WaitGroup // the goroutines of processes

	mu         sync.Mutex
	cond       *sync.Cond // of everything below
	rows, cols uint16
	out        []byte   // printed, not yet read
	in         [][]byte // typed, not yet taken; an empty one is an end of file
	inBytes    int
	line       []byte // being edited
	raw, echo  bool
	foreground *process // beside the shell
	leader     *process
	deaf       bool // the shell ignores ^C
	// interrupted: ^C came between two commands of a shell that ignores it.
	interrupted bool
	procs       map[*process]bool
	exited      bool
	drained     bool
	closed      bool
	state       proc.State
}

// buffer is how much a fake terminal holds either way.
const buffer = 64 << 10

// start makes a process; the first one leads.
func (t *tty) start(nohup bool) *process {
	p := &process{pid: t.fake.fork(), nohup: nohup}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.procs[p] = true
	if t.leader == nil {
		t.leader = p
	}
	return p
}

// end takes a process away. The end of the leader hangs up the rest.
func (t *tty) end(p *process, code int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.ended = true
	delete(t.procs, p)
	t.fake.died(p.pid)
	if p == t.leader {
		t.exited = true
		t.state = proc.State{Code: code}
		if p.signal != "" {
			t.state = proc.State{Code: -1, Signal: p.signal}
		}
		t.signalAll("hangup")
	}
	t.cond.Broadcast()
}

// signalAll has t.mu.
func (t *tty) signalAll(name string) {
	for p := range t.procs {
		t.signal(p, name)
	}
}

func (t *tty) signal(p *process, name string) {
	if p == nil || p.ended || p.signal != "" || p.nohup && name == "hangup" {
		return
	}
	p.signal = name
	t.cond.Broadcast()
}

// wait waits for cond, if p may live on. It has t.mu.
func (t *tty) wait(p *process) bool {
	if p.signal == "" {
		t.cond.Wait()
	}
	return p.signal == ""
}
