// Package tool runs a program for a step, as its user and without a terminal,
// and gathers the beginning of what it prints.
package tool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/platform/proc"
)

// MaxOutput bounds what is kept of each stream.
const MaxOutput = 24 << 10

// grace is how long a pipe is still read after its program has ended.
const grace = time.Second

// Spec is a program to run.
type Spec struct {
	Path string   // absolute
	Args []string // with argv[0]
	// CommandLine is that of proc.Spec.
	CommandLine string
	Env         []string
	Dir         string
	// Start is proc.Start.
	Start func(proc.Spec) (proc.Process, error)
}

// Result is how a program ended and what it printed.
type Result struct {
	State          proc.State
	Stdout, Stderr string
}

// Run runs the program. ctx ending ends it and its process group; the error is
// ctx's cause then. Output that a process in the background still holds open
// is not waited for.
func Run(ctx context.Context, s Spec) (Result, error) {
	out, err := newCapture()
	if err != nil {
		return Result{}, err
	}
	errs, err := newCapture()
	if err != nil {
		out.close()
		return Result{}, err
	}
	p, err := s.Start(proc.Spec{Path: s.Path, Args: s.Args, CommandLine: s.CommandLine, Env: s.Env, Dir: s.Dir, Stdout: out.w, Stderr: errs.w, Group: true})
	if err != nil {
		out.close()
		errs.close()
		return Result{}, err
	}
	_ = out.w.Close() // the program has its own
	_ = errs.w.Close()
	var wg sync.WaitGroup
	wg.Go(out.read)
	wg.Go(errs.read)
	stop := context.AfterFunc(ctx, func() { _ = p.KillGroup() })
	state, err := p.Wait(context.WithoutCancel(ctx))
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	// Its own output is in the pipes by now; what comes later is another's.
	_ = out.r.SetReadDeadline(time.Now().Add(grace))
	_ = errs.r.SetReadDeadline(time.Now().Add(grace))
	wg.Wait()
	if err != nil {
		err = fmt.Errorf("%s: %w", s.Args[0], err)
	}
	return Result{State: state, Stdout: string(out.kept), Stderr: string(errs.kept)}, err
}

// ErrLate ends a program that takes longer than it may.
var ErrLate = errors.New("the program did not end in time")

// RunWithin is Run for at most d, after which the error is ErrLate.
func RunWithin(ctx context.Context, c clock.Clock, d time.Duration, s Spec) (Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := c.NewTimer(d)
	defer late.Stop()
	over := make(chan struct{})
	var watcher sync.WaitGroup
	defer watcher.Wait()
	defer close(over)
	watcher.Go(func() {
		select {
		case <-late.C():
			cancel(ErrLate)
		case <-over:
		}
	})
	return Run(ctx, s)
}

// capture keeps the first bytes of a pipe and drops the rest.
type capture struct {
	r, w *os.File
	kept []byte
}

func newCapture() (*capture, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe for the output: %w", err)
	}
	return &capture{r: r, w: w}, nil
}

func (c *capture) close() {
	_ = c.w.Close()
	_ = c.r.Close()
}

func (c *capture) read() {
	defer c.r.Close()
	buf := make([]byte, 4<<10)
	for {
		n, err := c.r.Read(buf)
		c.kept = append(c.kept, buf[:min(n, MaxOutput-len(c.kept))]...)
		if err != nil {
			return
		}
	}
}
