package job

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ssmagent/internal/link"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/proc"
)

// maxAge is the age from which on a job found at start is not started any more.
const maxAge = 48 * time.Hour

// cancelPatience is how long a worker may take to end after a cancellation.
const cancelPatience = 10 * time.Second

// credentialPatience bounds how long a worker is kept waiting for an answer.
const credentialPatience = 30 * time.Second

// MarkName is the environment variable, set for every script, whose value is
// the command's id; it finds what a lost worker left behind.
const MarkName = "SSM_COMMAND_ID"

var (
	errDetached = errors.New("the agent is stopping")
	errLost     = errors.New("the worker is gone")
)

// attend sees a job through to its end, or until ctx ends.
func (q *Queue) attend(ctx context.Context, e *entry) {
	defer q.dismiss(e) // it was cancelled before it ran, or we stop
	err := q.work(ctx, e)
	if err == nil && e.p.Reboot && !e.p.Finished {
		err = q.reboot(ctx, e)
	}
	if err == nil {
		err = q.settle(ctx, e)
	}
	if err != nil {
		e.log.Debug("left for the next agent", "cause", err)
	}
}

// work runs workers until the document is over or wants a reboot. An error
// says that ctx ended; the job is then as the disk has it.
func (q *Queue) work(ctx context.Context, e *entry) error {
	if e.resumed && e.process == nil && (e.attempt > 0 || e.p.Records > 0) {
		e.attempt = max(e.attempt, 1)
		if err := q.bereave(ctx, e); err != nil {
			return err
		}
	}
	for again := false; ; again = true {
		if err := q.reportNews(ctx, e); err != nil {
			return err
		}
		if e.p.Finished || e.p.Reboot && (again || !e.resumed) {
			return nil
		}
		l, status, text, err := q.obtain(ctx, e)
		switch {
		case errors.Is(err, errLost):
		case err != nil:
			return err
		case l == nil:
			return q.conclude(ctx, e, status, text)
		default:
			err = q.follow(ctx, e, l)
		}
		switch {
		case errors.Is(err, errLost):
			if err := q.bereave(ctx, e); err != nil {
				return err
			}
		case err != nil:
			return err
		case !e.p.Finished && !e.p.Reboot:
			return q.conclude(ctx, e, doc.Failed, e.cause)
		}
	}
}

// obtain connects to the job's running worker or starts one. No link and no
// error: the job must not be run, and status and text say what it becomes.
func (q *Queue) obtain(ctx context.Context, e *entry) (*link.Link[Event], doc.Status, string, error) {
	if e.process != nil {
		e.log.Info("adopting the running worker", "pid", e.process.ID().PID)
		l, err := q.reconnect(ctx, e, e.process)
		e.process = nil
		return l, "", "", err
	}
	switch {
	case e.isCancelled():
		return nil, doc.Cancelled, "cancelled by the operator", nil
	case e.attempt > q.limits().Retries:
		return nil, doc.Failed, fmt.Sprintf("not run: %d workers were started for this command and none came to its end (Mds.CommandRetryLimit)", e.attempt), nil
	case e.resumed && e.p.Records == 0 && q.opt.Clock.Now().Sub(e.req.Accepted) > maxAge:
		return nil, doc.Failed, "not run: the command was accepted more than 48 hours ago and the agent could not run it since", nil
	}
	l, err := q.start(e)
	if err != nil {
		e.log.Error("no worker for the command", "error", err)
		return nil, doc.Failed, err.Error(), nil
	}
	return l, "", "", nil
}

// follow takes a worker's events until the document has ended. errLost: the
// worker went away before that.
func (q *Queue) follow(ctx context.Context, e *entry, l *link.Link[Event]) error {
	defer func() {
		if e.free != l {
			l.Close()
		}
	}()
	cancelled := e.cancelled
	var late <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return errDetached
		case <-cancelled:
			cancelled = nil
			l.Order(Order{Cancel: true})
			t := q.opt.Clock.NewTimer(cancelPatience)
			defer t.Stop()
			late = t.C()
		case <-late:
			late = nil
			e.log.Warn("the worker did not end in time after the cancellation and is killed")
			_ = l.Process.Kill()
		case ev, ok := <-l.Events:
			if !ok {
				return q.lostOrBack(ctx, e, l)
			}
			if ev.Credentials {
				q.wg.Go(func() { q.supply(ctx, l) })
				continue
			}
			if ev.End {
				e.cause = "the command's worker gave up: " + ev.Error
				q.reap(ctx, l.Process)
				return q.catchUp(ctx, e, ev.Seq)
			}
			if err := q.take(ctx, e, ev); err != nil {
				return err
			}
			if e.p.Finished { // its last word follows, and tells nothing new
				q.retain(ctx, e, l)
				return nil
			}
		}
	}
}

// supply hands the worker credentials, or says why there are none.
func (q *Queue) supply(ctx context.Context, l *link.Link[Event]) {
	if q.opt.Credentials == nil {
		l.Order(Order{Refused: "this agent hands out none"})
		return
	}
	ctx, done := context.WithTimeout(ctx, credentialPatience)
	defer done()
	c, err := q.opt.Credentials(ctx)
	if err != nil {
		l.Order(Order{Refused: err.Error()})
		return
	}
	l.Order(Order{Credentials: &c})
}

// take applies an event that is news and reports it.
func (q *Queue) take(ctx context.Context, e *entry, ev Event) error {
	switch {
	case ev.Hello:
		return q.catchUp(ctx, e, ev.Seq)
	case ev.Seq < e.p.Records:
		return nil // read from the log already
	case ev.Seq > e.p.Records:
		return q.catchUp(ctx, e, ev.Seq+1)
	}
	e.p.Apply(ev.Record)
	return q.reportNews(ctx, e)
}

// catchUp reads the log when there are more records than were told.
func (q *Queue) catchUp(ctx context.Context, e *entry, records int) error {
	if e.p.Records >= records {
		return nil
	}
	if err := q.retry(ctx, e, func() error { return e.reload() }); err != nil {
		return err
	}
	return q.reportNews(ctx, e)
}

func (e *entry) reload() error {
	p, err := e.dir.Progress(len(e.req.Steps))
	if err == nil {
		e.p = p
	}
	return err
}

// inherit is reload after the log's writer has gone.
func (e *entry) inherit() error {
	l, p, err := e.dir.OpenLog(len(e.req.Steps))
	if err != nil {
		return err
	}
	e.p = p
	return l.Close()
}

// lostOrBack is for a link that broke: the worker may be alive all the same.
func (q *Queue) lostOrBack(ctx context.Context, e *entry, l *link.Link[Event]) error {
	again, err := q.reconnect(ctx, e, l.Process)
	if err != nil {
		return err
	}
	return q.follow(ctx, e, again)
}

// bereave draws the consequences of a worker's death: the log is the truth,
// and what its scripts left running ends.
func (q *Queue) bereave(ctx context.Context, e *entry) error {
	if err := q.retry(ctx, e, e.inherit); err != nil {
		return err
	}
	if e.p.Finished || e.p.Reboot {
		return nil
	}
	e.log.Warn("the command's worker is gone", "cause", e.cause, "step", e.p.Open)
	kctx, done := context.WithTimeout(ctx, cancelPatience)
	defer done()
	if err := q.opt.KillMarked(kctx, MarkName, e.req.ID); err != nil {
		e.log.Warn("end what the worker left running", "error", err)
	}
	if ctx.Err() != nil {
		return errDetached
	}
	return nil
}

// conclude ends a job without a worker: every step without a result gets one.
func (q *Queue) conclude(ctx context.Context, e *entry, status doc.Status, text string) error {
	e.log.Warn("the command ends without running to its end", "status", status, "cause", text)
	err := q.retry(ctx, e, func() error {
		l, p, err := e.dir.OpenLog(len(e.req.Steps))
		if err != nil {
			return err
		}
		defer l.Close()
		e.p = p
		done := p.Done()
		for _, s := range e.req.Steps {
			if r, ok := done[s.ID]; ok && r.Status != doc.SuccessAndReboot {
				continue
			}
			now := q.opt.Clock.Now().UTC()
			rec := Record{Result: &doc.Result{ID: s.ID, Action: s.Action, Status: status, Code: 1, Error: text,
				StandardError: text, Start: now, End: now, Reason: "concluded"}}
			if err := l.Append(rec); err != nil {
				return err
			}
			p.Apply(rec)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return q.reportNews(ctx, e)
}

// reboot restarts the machine for a step that asked for it. It returns nil
// when that cannot be done and the job was concluded.
func (q *Queue) reboot(ctx context.Context, e *entry) error {
	err := q.report(ctx, e, Report{Request: e.req, Results: e.p.Results(), Seq: 2*e.p.Records + 1})
	if err != nil {
		return err
	}
	if q.opt.Reboot == nil {
		return q.conclude(ctx, e, doc.Failed, "the step asks for a restart of the machine, which this agent cannot do")
	}
	q.mu.Lock()
	q.rebooting = true
	q.mu.Unlock()
	e.log.Info("restarting the machine: a step asks for it")
	if err := q.opt.Reboot(ctx); err != nil {
		q.mu.Lock()
		q.rebooting = false
		q.mu.Unlock()
		return q.conclude(ctx, e, doc.Failed, "the step asks for a restart of the machine: "+err.Error())
	}
	<-ctx.Done()
	return errDetached
}

// reap collects a worker that has said its last word, and ends it if it stays.
func (q *Queue) reap(ctx context.Context, p proc.Process) {
	q.wg.Go(func() {
		wctx, done := context.WithTimeout(ctx, 5*time.Second)
		defer done()
		if _, err := p.Wait(wctx); err != nil && ctx.Err() == nil {
			_ = p.Kill()
		}
	})
}
