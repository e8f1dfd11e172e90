package session

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"ssmagent/platform/proc"
)

// MaxLine bounds a line between agent and worker in bytes.
const MaxLine = 64 << 10

// link is a conversation with a worker.
type link struct {
	process proc.Process
	events  chan Event // closed when the other side is gone
	r       io.ReadCloser
	w       io.WriteCloser
	done    chan struct{}
	once    sync.Once
	wg      sync.WaitGroup
	mu      sync.Mutex // one order at a time
}

func newLink(p proc.Process, r io.ReadCloser, w io.WriteCloser) *link {
	l := &link{process: p, events: make(chan Event), r: r, w: w, done: make(chan struct{})}
	l.wg.Go(l.read)
	return l
}

func (l *link) read() {
	defer close(l.events)
	s := bufio.NewReaderSize(l.r, 512)
	for {
		line, err := ReadLine(s)
		if err != nil {
			return
		}
		var ev Event
		if json.Unmarshal(line, &ev) != nil {
			return // no worker of ours
		}
		select {
		case l.events <- ev:
		case <-l.done:
			return
		}
	}
}

// ReadLine reads a line of at most MaxLine bytes.
func ReadLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if err == nil && line == nil {
			return bytes.Clone(part), nil
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(line) > MaxLine:
			return nil, fmt.Errorf("a line of more than %d bytes", MaxLine)
		}
	}
}

// WriteLine writes v as a line.
func WriteLine(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// order tells the worker something. A worker that cannot be told is about to
// be found lost, so the error is not the caller's.
func (l *link) order(o Order) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = WriteLine(l.w, o)
}

// close ends the conversation; the worker goes on.
func (l *link) close() {
	l.once.Do(func() {
		close(l.done)
		_ = l.w.Close()
		_ = l.r.Close()
	})
	l.wg.Wait()
}

// start starts a worker for e, puts it on record and lets it run.
func (m *Manager) start(ctx context.Context, e *entry) (*link, error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start the session's worker: %w", err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		inR.Close()
		inW.Close()
		return nil, fmt.Errorf("start the session's worker: %w", err)
	}
	p, err := m.opt.Start(proc.Spec{
		Path: m.opt.Executable, Args: []string{WorkerName, e.dir.Path}, Env: m.opt.Env,
		Stdin: inR, Stdout: outW, Stderr: m.opt.Stderr, Session: true,
	})
	inR.Close()
	outW.Close()
	if err != nil {
		inW.Close()
		outR.Close()
		return nil, fmt.Errorf("start the session's worker: %w", err)
	}
	l := newLink(p, outR, inW)
	if err := e.dir.saveWorker(p.ID()); err != nil {
		_ = p.Kill() // it has not been told to run
		l.close()
		return nil, err
	}
	l.order(Order{Run: true})
	m.wg.Go(func() { m.supply(ctx, l) })
	e.log.Debug("session worker started", "pid", p.ID().PID)
	return l, nil
}

// reconnect dials a worker that runs without a link to us. errLost: it is gone.
func (m *Manager) reconnect(ctx context.Context, e *entry, p proc.Process) (*link, error) {
	// A worker listens before it does anything, so the first dial fails only
	// while it starts or ends: soon it listens or is gone.
	for delay := 10 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		if c, err := m.opt.Dial(ctx, e.dir.Socket()); err == nil {
			return newLink(p, c, c), nil
		}
		wctx, done := context.WithTimeout(ctx, delay)
		state, err := p.Wait(wctx)
		done()
		if err == nil {
			e.cause = lossOf(state)
			return nil, errLost
		}
		if ctx.Err() != nil {
			return nil, errDetached
		}
	}
}

func lossOf(s proc.State) string {
	switch {
	case s.Signal == "unknown":
		return "its worker process is gone"
	case s.Signal != "":
		return fmt.Sprintf("its worker process was ended from outside (signal: %s)", s.Signal)
	}
	return fmt.Sprintf("its worker process ended (exit code %d); the agent's log may say why", s.Code)
}
