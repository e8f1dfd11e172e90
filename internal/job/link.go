package job

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"ssmagent/internal/link"
	"ssmagent/platform/proc"
)

// WorkerName is argv[0] of a document worker; its argument is the job's directory.
const WorkerName = "ssm-document-worker"

// MaxLine bounds a line of the link: a result has some 60 kB before escaping.
const MaxLine = 1 << 20

// launched is a worker that waits for the order to run, or why there is none.
type launched struct {
	link *link.Link[Event]
	err  error
}

func (q *Queue) launch(e *entry) (w launched) {
	w.link, w.err = link.Launch[Event](q.opt.Start, proc.Spec{
		Path: q.opt.Executable, Args: []string{WorkerName, e.dir.Path}, Env: q.opt.Env, Stderr: q.opt.Stderr, Session: true,
	}, MaxLine)
	if w.err == nil {
		q.scope(e, w.link)
	}
	return w
}

// scope has the worker leave the scope that it is in for the one of e.
func (q *Queue) scope(e *entry, l *link.Link[Event]) {
	if q.opt.Enter != nil {
		q.opt.Enter(l.Process.ID(), "ssmagent-command-"+filepath.Base(e.dir.Path))
	}
}

// launchEarly starts the worker of a job that nothing stands before, in the
// background: a process takes longer to begin than a request to get to disk.
func (q *Queue) launchEarly(e *entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pending) > 0 || q.running+q.early >= max(q.bounds.Workers, 1) || q.rebooting || q.closed {
		return
	}
	q.early++
	e.place = true
	early := make(chan launched, 1)
	e.early = early
	q.wg.Go(func() { early <- q.launch(e) })
}

// dismiss ends a worker that waits for an order which will not come.
func (q *Queue) dismiss(e *entry) {
	q.mu.Lock()
	if e.place {
		e.place = false
		q.early--
	}
	q.mu.Unlock()
	if e.early == nil {
		return
	}
	w := <-e.early
	if e.early = nil; w.err == nil {
		_ = w.link.Process.Kill()
		_, _ = w.link.Process.Wait(context.Background()) // killed: it ends
		w.link.Close()
	}
}

// start gives e a worker, puts it on record and lets it run.
func (q *Queue) start(e *entry) (*link.Link[Event], error) {
	var w launched
	if e.early != nil {
		w = <-e.early
		e.early = nil
	} else {
		w = q.launch(e)
	}
	if w.err != nil {
		return nil, fmt.Errorf("start the command's worker: %w", w.err)
	}
	l := w.link
	e.attempt++
	id := l.Process.ID()
	if err := e.dir.saveWorker(workerRecord{PID: id.PID, Start: id.Start, Attempt: e.attempt}); err != nil {
		_ = l.Process.Kill() // it has not been told to run
		l.Close()
		return nil, err
	}
	o := Order{Run: true, Dir: e.dir.Path}
	if e.p.Open != "" {
		o.Interrupted = "interrupted by " + e.cause + ", not run again"
	}
	l.Order(o)
	e.log.Info("command runs", "pid", id.PID, "attempt", e.attempt)
	return l, nil
}

// reconnect dials a worker that runs without a link to us. errLost: it is gone.
func (q *Queue) reconnect(ctx context.Context, e *entry, p proc.Process) (*link.Link[Event], error) {
	l, err := link.Reach[Event](ctx, q.opt.Dial, e.dir.Socket(), p, MaxLine)
	var gone *link.Gone
	switch {
	case errors.As(err, &gone):
		e.cause = lossOf(gone.State)
		return nil, errLost
	case err != nil:
		return nil, errDetached
	}
	if err = q.retry(ctx, e, e.reload); err == nil {
		err = q.reportNews(ctx, e)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func lossOf(s proc.State) string {
	if s.Signal == "unknown" {
		return "the loss of its worker process"
	}
	return "the loss of its worker process (" + link.Ended(s) + ")"
}
