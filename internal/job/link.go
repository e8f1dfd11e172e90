package job

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

// WorkerName is argv[0] of a document worker; its argument is the job's directory.
const WorkerName = "ssm-document-worker"

// MaxLine bounds a line of the link: a result has some 60 kB before escaping.
const MaxLine = 1 << 20

// link is a conversation with a worker.
type link struct {
	process proc.Process
	events  chan Event // closed when the other side is gone
	w       io.WriteCloser
	r       io.ReadCloser
	done    chan struct{}
	once    sync.Once
	wg      sync.WaitGroup
}

func newLink(p proc.Process, r io.ReadCloser, w io.WriteCloser) *link {
	l := &link{process: p, events: make(chan Event), r: r, w: w, done: make(chan struct{})}
	l.wg.Go(l.read)
	return l
}

func (l *link) read() {
	defer close(l.events)
	s := bufio.NewReaderSize(l.r, 4096)
	for {
		line, err := readLine(s)
		if err != nil {
			return
		}
		var ev Event
		if json.Unmarshal(line, &ev) != nil {
			return // no worker of ours: the log will tell
		}
		select {
		case l.events <- ev:
		case <-l.done:
			return
		}
	}
}

func readLine(r *bufio.Reader) ([]byte, error) {
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

// order tells the worker something. A worker that cannot be told is about to
// be found lost, so the error is not the caller's.
func (l *link) order(o Order) {
	if b, err := encodeLine(o); err == nil {
		_, _ = l.w.Write(b)
	}
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
func (q *Queue) start(e *entry) (*link, error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start the command's worker: %w", err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		inR.Close()
		inW.Close()
		return nil, fmt.Errorf("start the command's worker: %w", err)
	}
	p, err := q.opt.Start(proc.Spec{
		Path: q.opt.Executable, Args: []string{WorkerName, e.dir.Path}, Env: q.opt.Env,
		Stdin: inR, Stdout: outW, Stderr: q.opt.Stderr, Session: true,
	})
	inR.Close()
	outW.Close()
	if err != nil {
		inW.Close()
		outR.Close()
		return nil, fmt.Errorf("start the command's worker: %w", err)
	}
	l := newLink(p, outR, inW)
	e.attempt++
	id := p.ID()
	if err := e.dir.saveWorker(workerRecord{PID: id.PID, Start: id.Start, Attempt: e.attempt}); err != nil {
		_ = p.Kill() // it has not been told to run
		l.close()
		return nil, err
	}
	o := Order{Run: true}
	if e.p.Open != "" {
		o.Interrupted = "interrupted by " + e.cause + ", not run again"
	}
	l.order(o)
	e.log.Debug("worker started", "pid", id.PID, "attempt", e.attempt)
	return l, nil
}

// reconnect dials a worker that runs without a link to us. errLost: it is gone.
func (q *Queue) reconnect(ctx context.Context, e *entry, p proc.Process) (*link, error) {
	// A worker listens before it does anything, so the first dial fails only
	// while it starts or ends: soon it listens or is gone.
	for delay := 10 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		if c, err := q.opt.Dial(ctx, e.dir.Socket()); err == nil {
			l := newLink(p, c, c)
			if err := q.retry(ctx, e, e.reload); err != nil {
				l.close()
				return nil, err
			}
			if err := q.reportNews(ctx, e); err != nil {
				l.close()
				return nil, err
			}
			return l, nil
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
		return "the loss of its worker process"
	case s.Signal != "":
		return fmt.Sprintf("the loss of its worker process (signal: %s)", s.Signal)
	}
	return fmt.Sprintf("the loss of its worker process (exit code %d)", s.Code)
}
