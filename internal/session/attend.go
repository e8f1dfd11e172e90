package session

import (
	"context"
	"errors"
	"time"

	"ssmagent/internal/backoff"
	"ssmagent/internal/clock"
	"ssmagent/internal/link"
	"ssmagent/platform/proc"
)

// endPatience is how long a worker may take to end the session: its terminal
// has a grace of its own in it.
const endPatience = 15 * time.Second

// uploadPatience is how long it may take to hand on its log. The worker itself
// gives up before.
const uploadPatience = 20 * time.Minute

// credentialPatience bounds how long a worker is kept waiting for an answer.
const credentialPatience = 30 * time.Second

// attend sees a session through to its end, or until ctx ends.
func (m *Manager) attend(ctx context.Context, e *entry) {
	r, err := m.serve(ctx, e)
	if err == nil {
		err = m.retry(ctx, e, func() error { return m.conclude(e, r) })
	}
	if err != nil {
		e.log.Debug("left for the next agent", "cause", err)
		return
	}
	e.log.Info("session ended", "status", r.Status, "output", r.Output)
}

// serve follows the session's worker, the one that runs or a new one. An error
// says that ctx ended.
func (m *Manager) serve(ctx context.Context, e *entry) (Result, error) {
	var l *link.Link[Event]
	var err error
	switch {
	case e.process != nil:
		e.log.Info("adopting the running session", "pid", e.process.ID().PID)
		l, err = m.reconnect(ctx, e, e.process)
	case e.resumed && (e.dir.has(workerFile) || m.opt.Clock.Now().Sub(e.req.Accepted) > startWithin):
		err = errLost
	default:
		if l, err = m.start(ctx, e); err != nil {
			e.log.Error("no worker for the session", "error", err)
			return Result{Status: Failed, Output: err.Error()}, nil
		}
	}
	for err == nil {
		err = m.follow(ctx, e, l)
		if err == nil { // the link broke: the worker may be alive all the same
			l, err = m.reconnect(ctx, e, l.Process)
		}
	}
	if !errors.Is(err, errLost) {
		return Result{}, err
	}
	if r, ok := e.dir.result(); ok {
		return r, nil
	}
	if e.isTerminated() {
		return Result{Status: Success}, nil
	}
	e.log.Warn("the session's worker is gone", "cause", e.cause)
	return Result{Status: Failed, Output: "the session is lost: " + e.cause}, nil
}

// follow takes a worker's events. errLost: it has ended, its result is on disk
// or nowhere; nil: the link broke; any other: ctx ended.
func (m *Manager) follow(ctx context.Context, e *entry, l *link.Link[Event]) error {
	defer l.Close()
	end, patience := e.end, endPatience
	var late <-chan time.Time
	var t clock.Timer
	for {
		select {
		case <-ctx.Done():
			return errDetached
		case <-end:
			end = nil
			l.Order(Order{Terminate: true})
			t = m.opt.Clock.NewTimer(patience)
			defer t.Stop()
			late = t.C()
		case <-late:
			late = nil
			e.log.Warn("the session's worker did not end in time and is killed")
			_ = l.Process.Kill()
		case ev, ok := <-l.Events:
			switch {
			case !ok:
				return nil
			case ev.End:
				m.reap(ctx, l.Process)
				return errLost
			case ev.Uploading:
				if patience = uploadPatience; t != nil {
					t.Reset(patience)
				}
			case ev.Credentials:
				m.wg.Go(func() { m.supply(ctx, l) })
			}
		}
	}
}

// supply hands the worker credentials, or says why there are none.
func (m *Manager) supply(ctx context.Context, l *link.Link[Event]) {
	ctx, done := context.WithTimeout(ctx, credentialPatience)
	defer done()
	c, err := m.opt.Credentials(ctx)
	if err != nil {
		l.Order(Order{Refused: err.Error()})
		return
	}
	l.Order(Order{Credentials: &c})
}

// reap collects a worker that has said its last word, and ends it if it stays.
func (m *Manager) reap(ctx context.Context, p proc.Process) {
	m.wg.Go(func() {
		wctx, done := context.WithTimeout(ctx, 5*time.Second)
		defer done()
		if _, err := p.Wait(wctx); err != nil && ctx.Err() == nil {
			_ = p.Kill()
		}
	})
}

// retry does what must succeed: the disk may be full, the result must not be
// dropped for it. An error says that ctx ended.
func (m *Manager) retry(ctx context.Context, e *entry, do func() error) error {
	if !backoff.Insist(ctx, m.opt.Clock, e.log, do) {
		return errDetached
	}
	return nil
}
