package job

import (
	"context"
	"errors"
	"fmt"

	"ssmagent/internal/link"
	"ssmagent/platform/proc"
)

// WorkerName is argv[0] of a document worker; its argument is the job's directory.
const WorkerName = "ssm-document-worker"

// MaxLine bounds a line of the link: a result has some 60 kB before escaping.
const MaxLine = 1 << 20

// start starts a worker for e, puts it on record and lets it run.
func (q *Queue) start(e *entry) (*link.Link[Event], error) {
	l, err := link.Launch[Event](q.opt.Start, proc.Spec{
		Path: q.opt.Executable, Args: []string{WorkerName, e.dir.Path}, Env: q.opt.Env, Stderr: q.opt.Stderr, Session: true,
	}, MaxLine)
	if err != nil {
		return nil, fmt.Errorf("start the command's worker: %w", err)
	}
	e.attempt++
	id := l.Process.ID()
	if err := e.dir.saveWorker(workerRecord{PID: id.PID, Start: id.Start, Attempt: e.attempt}); err != nil {
		_ = l.Process.Kill() // it has not been told to run
		l.Close()
		return nil, err
	}
	o := Order{Run: true}
	if e.p.Open != "" {
		o.Interrupted = "interrupted by " + e.cause + ", not run again"
	}
	l.Order(o)
	e.log.Debug("worker started", "pid", id.PID, "attempt", e.attempt)
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
