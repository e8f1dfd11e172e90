package session

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"ssmagent/internal/link"
	"ssmagent/platform/proc"
)

// MaxLine bounds a line between agent and worker in bytes.
const MaxLine = 64 << 10

// start starts a worker for e, puts it on record and lets it do what the order
// says.
func (m *Manager) start(ctx context.Context, e *entry, o Order) (*link.Link[Event], error) {
	l, err := link.Launch[Event](m.opt.Start, proc.Spec{
		Path: m.opt.Executable, Args: []string{WorkerName, e.dir.Path}, Env: m.opt.Env, Stderr: m.opt.Stderr, Session: true,
	}, MaxLine)
	if err != nil {
		return nil, fmt.Errorf("start the session's worker: %w", err)
	}
	id := l.Process.ID()
	if m.opt.Enter != nil {
		m.opt.Enter(id, "ssmagent-session-"+filepath.Base(e.dir.Path))
	}
	if err := e.dir.saveWorker(id); err != nil {
		_ = l.Process.Kill() // it has not been told to run
		l.Close()
		return nil, err
	}
	l.Order(o)
	m.wg.Go(func() { m.supply(ctx, l) })
	e.log.Debug("session worker started", "pid", id.PID)
	return l, nil
}

// reconnect dials a worker that runs without a link to us. errLost: it is gone.
func (m *Manager) reconnect(ctx context.Context, e *entry, p proc.Process) (*link.Link[Event], error) {
	l, err := link.Reach[Event](ctx, m.opt.Dial, e.dir.Socket(), p, MaxLine)
	var gone *link.Gone
	switch {
	case errors.As(err, &gone):
		e.cause = lossOf(gone.State)
		return nil, errLost
	case err != nil:
		return nil, errDetached
	}
	return l, nil
}

func lossOf(s proc.State) string {
	switch {
	case s.Signal == "unknown":
		return "its worker process is gone"
	case s.Signal != "":
		return "its worker process was ended from outside (" + link.Ended(s) + ")"
	}
	return "its worker process ended (" + link.Ended(s) + "); the agent's log may say why"
}
