package commands

import "time"

// holds are the jobs that a transaction under way keeps from being handed
// out, so that a command is never delivered and ended undelivered at once.
type holds struct {
	q    *queue
	keys map[string]bool
}

// take holds the job unless it is on its way to the node already. It may be
// called again when the transaction runs again.
func (h *holds) take(command, node string) bool {
	h.q.mu.Lock()
	defer h.q.mu.Unlock()
	j := h.q.jobs[invocationKey(command, node)]
	if j == nil || h.keys[j.key] {
		return true
	}
	if j.leased != nil {
		return false
	}
	return h.keep(j)
}

// force holds the job even if it is on its way.
func (h *holds) force(command, node string) {
	h.q.mu.Lock()
	defer h.q.mu.Unlock()
	if j := h.q.jobs[invocationKey(command, node)]; j != nil && !h.keys[j.key] {
		h.keep(j)
	}
}

func (h *holds) keep(j *job) bool {
	j.held++
	h.keys[j.key] = true
	return true
}

// create puts a new invocation into the queue, held until it is committed.
func (h *holds) create(inv Invocation, c *Command) {
	h.q.mu.Lock()
	defer h.q.mu.Unlock()
	key := invocationKey(inv.CommandID, inv.NodeID)
	if h.keys[key] {
		return
	}
	j := newJob(inv)
	j.fresh = true
	h.q.add(j, c.Concurrency)
	h.keep(j)
}

// createCancel does the same for a cancel message. It must be in the queue
// before its commit: a later change that withdraws it may get here first.
func (h *holds) createCancel(k Cancel) {
	h.q.mu.Lock()
	defer h.q.mu.Unlock()
	j := newCancelJob(k)
	j.fresh = true
	h.q.add(j, 0)
	h.keep(j)
}

// release ends the holds and brings the queue in line with the committed t,
// or with nothing when it is nil.
func (h *holds) release(t *txn) {
	q := h.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if t != nil {
		for key, inv := range t.invs {
			if j := q.jobs[key]; j != nil {
				q.sync(j, *inv)
			}
		}
		for _, k := range t.cancels {
			j := q.jobs[MessageID(k.ID, k.NodeID)]
			switch {
			case j == nil: // withdrawn meanwhile
			case k.Done:
				q.drop(j)
			default:
				j.fresh = false
			}
		}
	}
	for key := range h.keys {
		j := q.jobs[key]
		if j == nil {
			continue
		}
		if j.held--; j.fresh {
			q.drop(j) // never committed
			continue
		}
		q.wake(j.node)
	}
}

// newJob is the queue's view of an invocation.
func newJob(inv Invocation) *job {
	return &job{
		key: invocationKey(inv.CommandID, inv.NodeID), command: inv.CommandID, node: inv.NodeID,
		messageID: MessageID(inv.CommandID, inv.NodeID), created: inv.Requested,
		rev: inv.Rev, state: inv.State, deadline: inv.Deadline, heap: -1,
	}
}

// sync applies a committed change, unless a later one came first.
func (q *queue) sync(j *job, inv Invocation) {
	j.fresh = false
	if inv.Rev < j.rev {
		return
	}
	j.rev, j.state = inv.Rev, inv.State
	if inv.State.Final() {
		q.drop(j)
		q.nudge(j.node)
		return
	}
	q.setDeadline(j, inv.Deadline)
	q.line(j)
}

// nudge has the node offered one more command that found it busy.
func (q *queue) nudge(node string) {
	now := q.clock.Now()
	for _, j := range q.node(node).todo {
		// Only delay makes a job wait that nobody leases. Its state does not
		// tell yet while that is being committed.
		if j.leased == nil && !j.gone && j.until.After(now) {
			j.until = time.Time{}
			q.wake(node)
			return
		}
	}
}

// newCancelJob is the queue's view of a cancel message.
func newCancelJob(k Cancel) *job {
	id := MessageID(k.ID, k.NodeID)
	return &job{key: id, node: k.NodeID, messageID: id, created: k.Created, cancelOf: MessageID(k.CommandID, k.NodeID), state: Pending, deadline: k.Created.Add(cancelLife)}
}
