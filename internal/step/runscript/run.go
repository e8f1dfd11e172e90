package runscript

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/proc"
)

// run starts the script and waits for its end, its time-out or ctx's end.
//
// The script writes to pipes and not straight to the stream files: to a script
// a regular file is another thing than the pipe stock agents give it. The
// common "echo … >/dev/stderr" would truncate it.
func (p Plugin) run(ctx context.Context, spec proc.Spec, in step.Input, timeout time.Duration) step.Outcome {
	out, err := newPump(in.Stdout)
	if err != nil {
		return failed(in.Stderr, err)
	}
	errs, err := newPump(in.Stderr)
	if err != nil {
		out.abandon()
		return failed(in.Stderr, err)
	}
	spec.Stdout, spec.Stderr = out.w, errs.w
	start := p.Starter
	if start == nil {
		start = proc.Start
	}
	process, err := start(spec)
	if err != nil {
		out.abandon()
		errs.abandon()
		return failed(in.Stderr, fmt.Errorf("%w%s", err, remedy(err)))
	}
	out.start()
	errs.start()

	timer := p.Clock.NewTimer(timeout)
	defer timer.Stop()
	code, text, err := p.await(ctx, process, timer.C())
	lost := p.drain(out, errs)

	o := step.Outcome{Status: p.status(ctx, code), Code: code}
	if err != nil {
		o.Status, o.Error = doc.Failed, err.Error()
	} else if o.Status == doc.Failed {
		text = "failed to run commands: " + text
		if _, err := io.WriteString(in.Stderr, text); err != nil && lost == nil {
			lost = err
		}
	}
	if lost != nil { // whoever reads the output must not take it for the whole
		if o.Status == doc.Success {
			o.Status = doc.Failed
		}
		o.Error = fmt.Sprintf("the step's output is not complete: %v%s", lost, remedy(lost))
	}
	return o
}

// status maps the exit code, by its number alone: also a script that itself
// exits with the code of a stopped one counts as stopped.
func (p Plugin) status(ctx context.Context, code int) doc.Status {
	switch {
	case code == 0:
		return doc.Success
	case code == p.Interpreter.RebootCode:
		return doc.SuccessAndReboot
	case code != p.Interpreter.StoppedCode:
		return doc.Failed
	case ctx.Err() == nil:
		return doc.TimedOut
	case errors.Is(context.Cause(ctx), step.ErrCancelled):
		return doc.Cancelled
	}
	return doc.Failed // shutting down
}

type ending struct {
	state proc.State
	err   error
}

func (e ending) code() (int, string, error) {
	switch {
	case e.err != nil:
		return 1, "", fmt.Errorf("wait for the script: %w", e.err)
	case e.state.Signal != "":
		return e.state.Code, "signal: " + e.state.Signal, nil
	}
	return e.state.Code, exitStatus(e.state.Code), nil
}

// exitStatus is how stock agents write a code: large ones, which only Windows
// has, in hexadecimal.
func exitStatus(code int) string {
	if uint(code) >= 1<<16 {
		return fmt.Sprintf("exit status %#x", uint(code))
	}
	return fmt.Sprintf("exit status %d", code)
}

// await returns the exit code and how stock agents put it.
func (p Plugin) await(ctx context.Context, process proc.Process, timeout <-chan time.Time) (code int, text string, err error) {
	waiting, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan ending, 1)
	go func() {
		state, err := process.Wait(waiting)
		ended <- ending{state, err}
	}()
	select {
	case e := <-ended:
		stop()
		return e.code()
	case <-timeout:
	case <-ctx.Done():
	}
	select {
	case e := <-ended: // in the same moment: what the script did is what counts
		stop()
		return e.code()
	default:
	}
	err = p.kill(context.WithoutCancel(ctx), process)
	if err == nil {
		// It is dead; only its being noticed can still be under way.
		timer := p.Clock.NewTimer(killWithin)
		defer timer.Stop()
		select {
		case <-ended:
			stop()
			return p.Interpreter.StoppedCode, fmt.Sprintf("exit status %d", p.Interpreter.StoppedCode), nil
		case <-timer.C():
			err = errors.New("it does not end")
		}
	}
	stop()
	<-ended
	return p.Interpreter.StoppedCode, "", fmt.Errorf("the script was to be ended, but not all of its processes could be: %w", err)
}

// kill ends the script and everything it started, wherever that went. What an
// earlier step left running in the background stays: it began before.
func (p Plugin) kill(ctx context.Context, process proc.Process) error {
	_ = process.KillGroup() // fast; the tree is what counts
	if p.KillTree == nil {
		return nil
	}
	var keep []proc.ID
	if p.Snapshot != nil {
		all, err := p.Snapshot()
		if err != nil {
			return fmt.Errorf("list processes: %w", err)
		}
		for _, id := range all {
			if id.Start < process.ID().Start {
				keep = append(keep, id)
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, killWithin)
	defer cancel()
	return p.KillTree(ctx, keep)
}

// drain waits for the pumps: at the end of the script's processes their pipes
// end too. Those that a background process keeps are left after the grace; it
// is not ended, but what it writes from then on goes nowhere.
func (p Plugin) drain(pumps ...*pump) error {
	grace := p.OutputGrace
	if grace == 0 {
		grace = defaultGrace
	}
	timer := p.Clock.NewTimer(grace)
	defer timer.Stop()
	for _, u := range pumps {
		select {
		case <-u.done:
		case <-timer.C():
			for _, u := range pumps {
				_ = u.r.Close() // ends the read
			}
		}
	}
	var errs []error
	for _, u := range pumps {
		<-u.done
		_ = u.r.Close()
		errs = append(errs, u.err)
	}
	return errors.Join(errs...)
}

// pump copies a pipe to a stream. It reads on when the stream takes no more,
// so that the script is not stopped by a full disk.
type pump struct {
	r, w *os.File
	to   io.Writer
	done chan struct{}
	err  error // the stream's first; read after done
}

func newPump(to io.Writer) (*pump, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe for the output: %w", err)
	}
	return &pump{r: r, w: w, to: to, done: make(chan struct{})}, nil
}

func (u *pump) abandon() {
	_ = u.r.Close()
	_ = u.w.Close()
}

// start begins to copy; our own writing end is closed, or the pipe never ends.
func (u *pump) start() {
	_ = u.w.Close()
	go func() {
		defer close(u.done)
		buf := make([]byte, 32<<10)
		for {
			n, err := u.r.Read(buf)
			if n > 0 && u.err == nil {
				_, u.err = u.to.Write(buf[:n])
			}
			if err != nil {
				return
			}
		}
	}()
}
