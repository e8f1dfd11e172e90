package session

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
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
	defer close(e.over)
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
		if l, err = m.start(ctx, e, Order{Run: true}); err != nil {
			e.log.Error("no worker for the session", "error", err)
			return Result{Status: Failed, Output: err.Error()}, nil
		}
	}
	if err == nil {
		err = m.accompany(ctx, e, l)
	}
	if !errors.Is(err, errLost) {
		return Result{}, err
	}
	m.settle(ctx)
	r := e.outcome()
	if r.LogPending {
		return m.handOn(ctx, e, r)
	}
	return r, nil
}

// accompany follows a worker to its end, over links that break.
func (m *Manager) accompany(ctx context.Context, e *entry, l *link.Link[Event]) error {
	for {
		if err := m.follow(ctx, e, l); err != nil {
			return err
		}
		var err error
		if l, err = m.reconnect(ctx, e, l.Process); err != nil { // the worker may be alive all the same
			return err
		}
	}
}

// outcome is the result of a session whose worker has ended: what that left, or
// what its absence means. The log of a lost session is pending.
func (e *entry) outcome() Result {
	r, ok := e.dir.Result()
	switch {
	case ok:
		return r
	case e.isTerminated():
		return Result{Status: Success, LogPending: e.req.logged()}
	}
	e.log.Warn("the session's worker is gone", "cause", e.cause)
	return Result{Status: Failed, Output: "the session is lost: " + e.cause, LogPending: e.req.logged()}
}

// handOn has a worker hand on the log that a lost one left. The session's end
// is on record before: whatever becomes of the log, it is told.
func (m *Manager) handOn(ctx context.Context, e *entry, r Result) (Result, error) {
	m.audit(e, &r)
	if err := m.retry(ctx, e, func() error { return e.dir.Finish(r) }); err != nil {
		return Result{}, err
	}
	l, err := m.start(ctx, e, Order{Run: true, HandOn: true})
	if err == nil {
		err = m.accompany(ctx, e, l)
	}
	switch {
	case errors.Is(err, errDetached):
		return Result{}, err
	case !errors.Is(err, errLost):
		e.log.Error("no worker for the session's log", "error", err)
	}
	if done, ok := e.dir.Result(); ok {
		r = done
	}
	if r.LogPending {
		r.Output = strings.TrimPrefix(r.Output+"\nthe session's log has not reached its place: nothing could hand it on; the local copy is in "+
			filepath.Join(e.req.Node.Logging.Dir, e.req.ID), "\n")
	}
	return r, nil
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
