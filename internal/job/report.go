package job

import (
	"context"
	"time"

	"ssmagent/internal/backoff"
)

// reportSteps hands the sink the results it does not have.
func (q *Queue) reportSteps(ctx context.Context, e *entry) error {
	for e.reported < len(e.p.History) {
		r := e.p.History[e.reported]
		// Step reports have even numbers, reports on the document odd ones.
		if err := q.report(ctx, e, Report{Result: &r, Results: e.p.upTo(e.reported), Seq: 2 * e.reported}); err != nil {
			return err
		}
		e.reported++
		if e.p.Finished && e.reported == len(e.p.History) {
			break // the tombstone will say it
		}
		if err := e.dir.saveReported(e.reported); err != nil {
			e.log.Warn("note what was reported; a restart would repeat it", "error", err)
		}
	}
	return nil
}

func (q *Queue) report(ctx context.Context, e *entry, r Report) error {
	r.Request = e.req
	return q.retry(ctx, e, func() error { return q.opt.Sink.Report(ctx, r) })
}

// settle reports the end, turns the directory into a tombstone and forgets.
func (q *Queue) settle(ctx context.Context, e *entry) error {
	if err := q.report(ctx, e, Report{Results: e.p.Results(), Final: true, Seq: 2*e.p.Records + 1}); err != nil {
		return err
	}
	if err := q.retry(ctx, e, e.dir.bury); err != nil {
		return err
	}
	now := q.opt.Clock.Now()
	q.mu.Lock()
	delete(q.live, e.req.ID)
	q.graves = append(q.graves, grave{e.req.ID, now})
	q.mu.Unlock()
	q.cleanUp(ctx, e)
	return nil
}

// retry does what must succeed: the disk may be full, the job must not be
// dropped for it. An error says that ctx ended.
func (q *Queue) retry(ctx context.Context, e *entry, do func() error) error {
	p := backoff.Policy{First: time.Second, Cap: time.Minute, Factor: 2}
	err := backoff.Do(ctx, q.opt.Clock, p, func(context.Context) error {
		err := do()
		if err != nil && ctx.Err() == nil {
			e.log.Warn("will try again", "error", err)
		}
		return err
	})
	if err != nil {
		return errDetached
	}
	return nil
}
