package job

import (
	"context"
	"time"

	"ssmagent/internal/link"
)

// idlePatience is how long a worker whose document is over may take to say
// that it would run another.
const idlePatience = time.Second

// retain keeps the worker that ended e's document for a job that waits, or has
// it end. One that was cancelled is never kept: the order may still be on its
// way.
func (q *Queue) retain(ctx context.Context, e *entry, l *link.Link[Event]) {
	q.mu.Lock()
	wanted := q.wantedLocked()
	q.mu.Unlock()
	if wanted && !e.isCancelled() {
		e.free = l
		return
	}
	q.reap(ctx, l.Process)
}

// wantedLocked says whether the job that is next has no worker yet.
func (q *Queue) wantedLocked() bool {
	return len(q.pending) > 0 && !q.pending[0].place && !q.closed && !q.rebooting
}

// leave gives up the place of e, which was attended. The job that is next gets
// it at once, with e's worker, when that is free: to begin a process costs more
// than all else of a short command.
func (q *Queue) leave(ctx context.Context, e *entry) (next *entry) {
	if l := e.free; l != nil {
		if q.willing(ctx, l) {
			next = q.handOver(ctx, l)
		}
		if next != nil {
			return next
		}
		l.Close() // it ends
		q.reap(ctx, l.Process)
	}
	q.mu.Lock()
	q.running--
	q.mu.Unlock()
	q.poke()
	return nil
}

// willing waits for the worker's word on whether it would run another document.
func (q *Queue) willing(ctx context.Context, l *link.Link[Event]) bool {
	t := q.opt.Clock.NewTimer(idlePatience)
	defer t.Stop()
	for {
		select {
		case ev, ok := <-l.Events:
			if !ok || ev.End || ev.Idle {
				return ok && ev.Idle
			}
		case <-t.C():
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// handOver takes the job that is next out of the queue and gives it a worker
// that is idle. Nil: none waits for one any more.
func (q *Queue) handOver(ctx context.Context, l *link.Link[Event]) *entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.wantedLocked() || q.running > max(q.bounds.Workers, 1) || ctx.Err() != nil {
		return nil
	}
	early := make(chan launched, 1)
	early <- launched{link: l}
	e := q.takeLocked()
	q.scope(e, l)
	e.early = early
	return e
}

// takeLocked takes the job that is next out of the queue.
func (q *Queue) takeLocked() *entry {
	e := q.pending[0]
	q.pending[0] = nil
	q.pending = q.pending[1:]
	return e
}
