package shelltest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"ssmagent/platform/proc"
	"ssmagent/shell"
)

var _ shell.Terminal = (*tty)(nil)

// Read implements shell.Terminal.
func (t *tty) Read(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.out) == 0 && !t.exited && !t.closed {
		t.cond.Wait()
	}
	if len(t.out) == 0 || t.closed {
		t.drained = true
		t.cond.Broadcast()
		return 0, io.EOF
	}
	n := copy(b, t.out)
	t.out = t.out[n:]
	t.cond.Broadcast()
	return n, nil
}

// Write implements shell.Terminal.
func (t *tty) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, c := range b {
		for t.inBytes >= buffer && !t.exited && !t.closed {
			t.cond.Wait()
		}
		if t.exited || t.closed {
			return i, shell.ErrEnded
		}
		t.key(c)
	}
	return len(b), nil
}

// key is the line discipline.
func (t *tty) key(c byte) {
	if t.raw {
		t.typed([]byte{c})
		t.show(c)
		return
	}
	switch c {
	case 0x03:
		t.show('^')
		t.show('C')
		t.line = nil
		t.signal(t.foreground, "interrupt")
		if !t.deaf {
			t.signal(t.leader, "interrupt")
		}
		t.in, t.inBytes = nil, 0
		t.interrupted = t.deaf && t.foreground == nil
		t.cond.Broadcast()
	case 0x04:
		t.typed(t.line)
		t.line = nil
	case 0x7f:
		if n := len(t.line); n > 0 {
			t.line = t.line[:n-1]
			for _, b := range []byte("\b \b") {
				t.show(b)
			}
		}
	case '\r', '\n':
		t.show('\n')
		t.typed(append(t.line, '\n'))
		t.line = nil
	default:
		t.show(c)
		if len(t.line) < 4095 { // what a line holds; the rest is lost
			t.line = append(t.line, c)
		}
	}
}

func (t *tty) typed(b []byte) {
	if last := len(t.in) - 1; t.raw && last >= 0 && len(t.in[last]) > 0 {
		t.in[last] = append(t.in[last], b...)
	} else {
		t.in = append(t.in, bytes.Clone(b))
	}
	t.inBytes += len(b)
	t.cond.Broadcast()
}

// show echoes.
func (t *tty) show(c byte) {
	if !t.echo {
		return
	}
	if c == '\n' {
		t.out = append(t.out, '\r')
	}
	t.out = append(t.out, c)
	t.cond.Broadcast()
}

// take gives p the next input: nil and true for an end of file, false when p
// is to end.
func (t *tty) take(p *process) ([]byte, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.in) == 0 {
		if t.interrupted && p == t.leader {
			t.interrupted = false
			t.show('\n')
			return []byte("\n"), true // the shell gives up its line
		}
		if t.exited || !t.wait(p) {
			return nil, t.exited && p.signal == ""
		}
	}
	b := t.in[0]
	t.in = t.in[1:]
	t.inBytes -= len(b)
	t.cond.Broadcast()
	return b, p.signal == ""
}

// print writes for p, which waits for a reader.
func (t *tty) print(p *process, text []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.out) >= buffer {
		if !t.wait(p) {
			return false
		}
	}
	if !t.raw {
		text = bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
	}
	t.out = append(t.out, text...)
	t.cond.Broadcast()
	return p.signal == ""
}

// sleep waits for d or a signal.
func (t *tty) sleep(p *process, d time.Duration) bool {
	over := false
	timer := time.AfterFunc(d, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		over = true
		t.cond.Broadcast()
	})
	defer timer.Stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	for !over {
		if !t.wait(p) {
			return false
		}
	}
	return true
}

// Resize implements shell.Terminal.
func (t *tty) Resize(rows, cols uint16) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return shell.ErrEnded
	}
	if rows != 0 && cols != 0 {
		t.rows, t.cols = rows, cols
	}
	return nil
}

// until waits for cond until ok says so; then it is true. It has t.mu.
func (t *tty) until(ctx context.Context, ok func() bool) bool {
	stop := context.AfterFunc(ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.cond.Broadcast()
	})
	defer stop()
	for !ok() && ctx.Err() == nil {
		t.cond.Wait()
	}
	return ok()
}

// Wait implements shell.Terminal.
func (t *tty) Wait(ctx context.Context) (proc.State, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.until(ctx, func() bool { return t.exited && (t.drained || t.closed) }) {
		return proc.State{}, fmt.Errorf("wait for %s: %w", Path, ctx.Err())
	}
	return t.state, nil
}

// Hangup implements shell.Terminal.
func (t *tty) Hangup() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	t.signalAll("hangup")
	ctx, cancel := context.WithTimeout(context.Background(), t.grace)
	defer cancel()
	empty := func() bool { return len(t.procs) == 0 }
	if !t.until(ctx, empty) {
		t.signalAll("killed")
		t.until(context.Background(), empty)
	}
	return nil
}

// Close implements shell.Terminal.
func (t *tty) Close() error {
	t.stop()
	t.mu.Lock()
	exited := t.exited
	t.mu.Unlock()
	if !exited {
		_ = t.Hangup()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.cond.Broadcast()
	return nil
}
