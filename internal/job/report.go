package job

import (
	"context"

	"ssmagent/internal/backoff"
)

// reportNews hands the sink the results that it does not have and, with the
// last of them, the end.
func (q *Queue) reportNews(ctx context.Context, e *entry) error {
	// Step reports have even numbers, reports on the document odd ones.
	var news []Report
	for i := e.reported; i < len(e.p.History); i++ {
		news = append(news, Report{Request: e.req, Result: &e.p.History[i], Results: e.p.upTo(i), Seq: 2 * i})
	}
	final := e.p.Finished && !e.closed
	if final {
		news = append(news, Report{Request: e.req, Results: e.p.Results(), Final: true, Seq: 2*e.p.Records + 1})
	}
	if len(news) == 0 {
		return nil
	}
	if err := q.report(ctx, e, news...); err != nil {
		return err
	}
	e.reported, e.closed = len(e.p.History), final
	if final {
		return nil // the tombstone will say it
	}
	if err := e.dir.saveReported(e.reported); err != nil {
		e.log.Warn("note what was reported; a restart would repeat it", "error", err)
	}
	return nil
}

func (q *Queue) report(ctx context.Context, e *entry, rs ...Report) error {
	return q.retry(ctx, e, func() error { return q.opt.Sink.Report(ctx, rs...) })
}

// settle turns the directory of a reported job into a tombstone and forgets.
func (q *Queue) settle(ctx context.Context, e *entry) error {
	if err := q.reportNews(ctx, e); err != nil {
		return err
	}
	now := q.opt.Clock.Now()
	s := e.epitaph(now)
	if err := q.retry(ctx, e, func() error { return e.dir.bury(s) }); err != nil {
		return err
	}
	q.mu.Lock()
	delete(q.live, e.req.ID)
	q.graves = append(q.graves, grave{e.req.ID, now})
	q.mu.Unlock()
	close(e.over)
	e.log.Info("command finished", "steps", len(e.p.Results()))
	q.cleanUp(ctx, e)
	return nil
}

// retry does what must succeed: the disk may be full, the job must not be
// dropped for it. An error says that ctx ended.
func (q *Queue) retry(ctx context.Context, e *entry, do func() error) error {
	if !backoff.Insist(ctx, q.opt.Clock, e.log, do) {
		return errDetached
	}
	return nil
}
