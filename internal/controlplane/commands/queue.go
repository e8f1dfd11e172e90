package commands

import (
	"context"
	"sync"
	"time"

	"ssmagent/internal/clock"
)

// Lease says how what Next hands out is held back from others.
type Lease struct {
	// Owner is what Release gives up; any comparable value.
	Owner any
	// For is how long the attempt-th delivery (from 0) waits for its
	// acknowledgement before it is handed out again.
	For func(attempt int) time.Duration
}

// queue is what is open, in memory: jobs by node and by command, and cancel
// messages. It holds no lock while the store is asked.
type queue struct {
	clock    clock.Clock
	mu       sync.Mutex
	jobs     map[string]*job // by invocation key
	nodes    map[string]*nodeQueue
	commands map[string]*commandQueue
	due      deadlines
	rearm    chan struct{} // there is something for Run
	removed  []string      // nodes that were deregistered
}

// job is an open invocation, or a cancel message.
type job struct {
	key       string
	command   string // of a cancel message: "" (no limits apply)
	node      string
	messageID string
	created   time.Time
	cancelOf  string // message id of the command to cancel
	rev       int
	state     State
	held      int
	fresh     bool // its creation is not committed yet
	leased    any  // the lease's owner, nil when not handed out
	until     time.Time
	attempt   int
	sent      time.Time // first handed out, as far as this process knows
	active    bool      // counts against MaxConcurrency
	queued    bool      // in the node's todo
	gone      bool
	deadline  time.Time
	heap      int // index in due, -1 when not there
}

type nodeQueue struct {
	todo []*job        // not known to be delivered, oldest first
	wake chan struct{} // closed when there may be something new
}

type commandQueue struct {
	limit  int
	active int
	jobs   int
	gated  map[string]bool // nodes that wait for room
}

func newQueue(c clock.Clock) *queue {
	return &queue{clock: c, jobs: map[string]*job{}, nodes: map[string]*nodeQueue{}, commands: map[string]*commandQueue{}, rearm: make(chan struct{}, 1)}
}

func (q *queue) node(id string) *nodeQueue {
	n := q.nodes[id]
	if n == nil {
		n = &nodeQueue{wake: make(chan struct{})}
		q.nodes[id] = n
	}
	return n
}

func (q *queue) wake(node string) {
	n := q.node(node)
	close(n.wake)
	n.wake = make(chan struct{})
}

// next returns up to limit jobs for a node as soon as there is one. It ends
// with ctx's error.
func (q *queue) next(ctx context.Context, node string, limit int, l Lease) ([]job, error) {
	for {
		out, wake, again := q.take(node, limit, l)
		if len(out) > 0 {
			return out, nil
		}
		if err := q.wait(ctx, wake, again); err != nil {
			return nil, err
		}
	}
}

// wait ends when wake is closed or at the time again (zero: never).
func (q *queue) wait(ctx context.Context, wake <-chan struct{}, again time.Time) error {
	var timer <-chan time.Time
	if !again.IsZero() {
		t := q.clock.NewTimer(again.Sub(q.clock.Now()))
		defer t.Stop()
		timer = t.C()
	}
	select {
	case <-wake:
		return nil
	case <-timer:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// take leases what is due, and says what to wait for when nothing is.
func (q *queue) take(node string, limit int, l Lease) (out []job, wake <-chan struct{}, again time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.clock.Now()
	n := q.node(node)
	rest := n.todo[:0]
	for _, j := range n.todo {
		if j.gone || !j.state.undelivered() {
			j.queued = false
			continue
		}
		rest = append(rest, j)
		switch {
		case j.held > 0 || len(out) >= limit:
		case j.until.After(now):
			if again.IsZero() || j.until.Before(again) {
				again = j.until
			}
		case !q.admit(j):
		default:
			j.leased, j.until = l.Owner, now.Add(l.For(j.attempt))
			j.attempt++
			if j.sent.IsZero() {
				j.sent = now
			}
			out = append(out, *j)
		}
	}
	clear(n.todo[len(rest):])
	n.todo = rest
	return out, n.wake, again
}

// admit makes room for j under its command's MaxConcurrency.
func (q *queue) admit(j *job) bool {
	c := q.commands[j.command]
	if c == nil || j.active {
		return true
	}
	if c.active >= c.limit {
		c.gated[j.node] = true
		return false
	}
	c.active++
	j.active = true
	return true
}

// leave gives j's room back.
func (q *queue) leave(j *job) {
	c := q.commands[j.command]
	if c == nil || !j.active {
		return
	}
	j.active = false
	c.active--
	for node := range c.gated {
		q.wake(node)
	}
	clear(c.gated)
}

// release gives back what owner had been handed out and not acknowledged.
func (q *queue) release(node string, owner any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range q.node(node).todo {
		if j.leased == owner && owner != nil && j.state.undelivered() {
			q.unlease(j)
			j.attempt = 0
		}
	}
	q.wake(node)
}

func (q *queue) unlease(j *job) {
	j.leased, j.until = nil, time.Time{}
	q.leave(j)
}

// add puts a job into the queue.
func (q *queue) add(j *job, limit int) {
	j.heap = -1
	q.jobs[j.key] = j
	if j.command != "" {
		c := q.commands[j.command]
		if c == nil {
			c = &commandQueue{limit: limit, gated: map[string]bool{}}
			q.commands[j.command] = c
		}
		c.jobs++
	}
	q.line(j)
	q.setDeadline(j, j.deadline)
	q.wake(j.node)
}

// line puts a job that is to be delivered into its node's line.
func (q *queue) line(j *job) {
	if j.state.undelivered() {
		if !j.queued {
			j.queued = true
			q.node(j.node).todo = append(q.node(j.node).todo, j)
		}
		return
	}
	if c := q.commands[j.command]; c != nil && !j.active {
		j.active = true
		c.active++
	}
}

// drop takes a job out.
func (q *queue) drop(j *job) {
	if j.gone {
		return
	}
	j.gone = true
	q.leave(j)
	q.setDeadline(j, time.Time{})
	delete(q.jobs, j.key)
	if c := q.commands[j.command]; c != nil {
		if c.jobs--; c.jobs == 0 {
			delete(q.commands, j.command)
		}
	}
}
