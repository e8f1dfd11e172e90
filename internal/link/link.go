// Package link is the conversation of the agent with a worker that outlives it:
// lines of JSON over two pipes when the agent started the worker, over the
// worker's socket when a later agent found it running.
package link

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"ssmagent/platform/proc"
)

// Link is an open conversation: orders go to the worker, events of type E come
// from it.
type Link[E any] struct {
	// Process is the worker.
	Process proc.Process
	// Events is closed when the other side is gone, or said what no worker of
	// ours says: its log on disk will tell.
	Events <-chan E

	events chan E
	r      io.ReadCloser
	w      io.WriteCloser
	max    int
	done   chan struct{}
	once   sync.Once
	wg     sync.WaitGroup
	mu     sync.Mutex // one order at a time
}

// open begins a conversation over r and w, whose lines have at most maxLine bytes.
func open[E any](p proc.Process, r io.ReadCloser, w io.WriteCloser, maxLine int) *Link[E] {
	events := make(chan E)
	l := &Link[E]{Process: p, Events: events, events: events, r: r, w: w, max: maxLine, done: make(chan struct{})}
	l.wg.Go(l.read)
	return l
}

// Launch starts s with pipes as its standard input and output, which s must
// not name, and begins a conversation with it.
func Launch[E any](start func(proc.Spec) (proc.Process, error), s proc.Spec, maxLine int) (*Link[E], error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, inR.Close(), inW.Close())
	}
	s.Stdin, s.Stdout = inR, outW
	p, err := start(s)
	_, _ = inR.Close(), outW.Close() // the worker has its own
	if err != nil {
		return nil, errors.Join(err, inW.Close(), outR.Close())
	}
	return open[E](p, outR, inW, maxLine), nil
}

// Gone is the error of Reach for a worker that has ended, and how.
type Gone struct{ State proc.State }

func (g *Gone) Error() string { return "the worker is gone: " + Ended(g.State) }

// Ended says how a worker's process ended, for people.
func Ended(s proc.State) string {
	switch {
	case s.Signal == "unknown":
		return "nobody saw how"
	case s.Signal != "":
		return "signal: " + s.Signal
	}
	return fmt.Sprintf("exit code %d", s.Code)
}

// Reach begins a conversation with the running worker p, which listens at
// socket. The error is a *Gone, or ctx's.
func Reach[E any](ctx context.Context, dial func(context.Context, string) (net.Conn, error), socket string, p proc.Process, maxLine int) (*Link[E], error) {
	// A worker listens before it does anything, so the first dial fails only
	// while it starts or ends: soon it listens or is gone.
	for delay := 10 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		if c, err := dial(ctx, socket); err == nil {
			return open[E](p, c, c, maxLine), nil
		}
		wctx, done := context.WithTimeout(ctx, delay)
		state, err := p.Wait(wctx)
		done()
		if err == nil {
			return nil, &Gone{state}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

func (l *Link[E]) read() {
	defer close(l.events)
	s := bufio.NewReaderSize(l.r, 4096)
	for {
		line, err := ReadLine(s, l.max)
		if err != nil {
			return
		}
		var ev E
		if json.Unmarshal(line, &ev) != nil {
			return
		}
		select {
		case l.events <- ev:
		case <-l.done:
			return
		}
	}
}

// Order tells the worker something. A worker that cannot be told is about to
// be found lost, so the error is not the caller's.
func (l *Link[E]) Order(o any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = WriteLine(l.w, o)
}

// Close ends the conversation; the worker goes on. It may be called twice.
func (l *Link[E]) Close() {
	l.once.Do(func() {
		close(l.done)
		_, _ = l.w.Close(), l.r.Close()
	})
	l.wg.Wait()
}

// ReadLine reads a line of at most maxLine bytes.
func ReadLine(r *bufio.Reader, maxLine int) ([]byte, error) {
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
		case len(line) > maxLine:
			return nil, fmt.Errorf("a line of more than %d bytes", maxLine)
		}
	}
}

// WriteLine writes v as a line, in one piece.
func WriteLine(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
