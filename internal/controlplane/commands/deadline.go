package commands

import (
	"container/heap"
	"fmt"
	"time"
)

// Grace is added to the sum of a document's step time-outs: for the way of
// the command and its replies, and for killing what ran too long.
const Grace = 60 * time.Second

// CancelGrace is how long an acknowledged cancellation may go without its
// result; a stock agent that drops a queued command never sends one.
const CancelGrace = 60 * time.Second

// cancelLife is how long a cancel message is kept for a node that is away.
const cancelLife = 48 * time.Hour

// deadlineBatch bounds what one transaction ends.
const deadlineBatch = 128

// agentWorkers is how many commands an agent runs at once unless configured
// otherwise; it takes more and queues them.
const agentWorkers = 5

// executionDeadline is when a command that begins at begin must have ended.
func executionDeadline(begin time.Time, c *Command) time.Time {
	return begin.Add(c.Execution + Grace)
}

// deadlines is a heap of jobs by deadline.
type deadlines []*job

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, k int) bool { return d[i].deadline.Before(d[k].deadline) }
func (d deadlines) Swap(i, k int) {
	d[i], d[k] = d[k], d[i]
	d[i].heap, d[k].heap = i, k
}

// Push implements heap.Interface.
func (d *deadlines) Push(x any) {
	j := x.(*job)
	j.heap = len(*d)
	*d = append(*d, j)
}

// Pop implements heap.Interface.
func (d *deadlines) Pop() any {
	last := len(*d) - 1
	j := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	j.heap = -1
	return j
}

// setDeadline moves j in the heap; the zero time takes it out.
func (q *queue) setDeadline(j *job, at time.Time) {
	var first time.Time
	if len(q.due) > 0 {
		first = q.due[0].deadline
	}
	j.deadline = at
	switch {
	case at.IsZero() && j.heap >= 0:
		heap.Remove(&q.due, j.heap)
	case at.IsZero():
	case j.heap >= 0:
		heap.Fix(&q.due, j.heap)
	default:
		heap.Push(&q.due, j)
	}
	if len(q.due) > 0 && !q.due[0].deadline.Equal(first) {
		q.kick()
	}
}

// kick has Run look again.
func (q *queue) kick() {
	select {
	case q.rearm <- struct{}{}:
	default:
	}
}

// overdue returns jobs whose deadline has come, and the next deadline.
func (q *queue) overdue(now time.Time) (out []job, next time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.due) > 0 {
		j := q.due[0]
		if j.deadline.After(now) {
			return out, j.deadline
		}
		if len(out) == deadlineBatch {
			return out, now
		}
		q.setDeadline(j, time.Time{}) // set again by sync if it was too early
		out = append(out, *j)
	}
	return out, next
}

// expire ends what is overdue and returns when to come again (zero: when
// woken).
func (s *Service) expire() (time.Time, error) {
	now := s.clock.Now()
	jobs, next := s.queue.overdue(now)
	if len(jobs) == 0 {
		return next, nil
	}
	err := s.update(func(t *txn) error {
		for _, j := range jobs {
			if err := t.expire(j); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.queue.again(jobs, now.Add(time.Second))
		return now.Add(time.Second), fmt.Errorf("end overdue commands: %w", err)
	}
	return next, nil
}

// again restores deadlines that could not be acted upon.
func (q *queue) again(jobs []job, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range jobs {
		if p := q.jobs[j.key]; p != nil && p.deadline.IsZero() {
			q.setDeadline(p, at)
		}
	}
}

func (t *txn) expire(j job) error {
	if j.command == "" {
		node, id, err := ParseMessageID(j.messageID)
		if err != nil {
			return err
		}
		return t.endCancel(node, id)
	}
	inv, c, err := t.invocation(j.command, j.node)
	if err != nil || inv == nil {
		return err
	}
	if inv.State.Final() || inv.Deadline.IsZero() || inv.Deadline.After(t.now) {
		return nil
	}
	t.holds.force(j.command, j.node)
	switch inv.State {
	case Cancelling:
		t.impose(inv, c, Cancelled)
	case Pending, Delayed:
		t.impose(inv, c, DeliveryTimedOut)
	default:
		t.impose(inv, c, ExecutionTimedOut)
		// What runs beyond its time is of no use to anybody any more.
		return t.addCancel(inv)
	}
	return nil
}
