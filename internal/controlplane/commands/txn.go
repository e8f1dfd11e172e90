package commands

import (
	"fmt"
	"slices"
	"time"

	"ssmagent/internal/controlplane/store"
)

// txn is one change of invocations and their commands. The store is written
// first; the queue in memory follows what was committed.
type txn struct {
	s       *Service
	tx      *store.Tx
	now     time.Time
	cmds    map[string]*Command
	invs    map[string]*Invocation
	old     map[string]Invocation // invs before the change
	dirty   map[string]bool       // the commands that changed
	cancels []Cancel
	holds   *holds
}

// update runs fn in a write transaction and then brings the queue in line.
// While it is under way, invocations that fn held are not handed out.
func (s *Service) update(fn func(*txn) error) error {
	h := &holds{q: s.queue, keys: map[string]bool{}}
	var t *txn
	err := s.db.Update(func(tx *store.Tx) error {
		t = &txn{s: s, tx: tx, now: s.clock.Now(), cmds: map[string]*Command{}, invs: map[string]*Invocation{}, old: map[string]Invocation{}, dirty: map[string]bool{}, holds: h}
		if err := fn(t); err != nil {
			return err
		}
		return t.flush()
	})
	if err != nil {
		h.release(nil)
		return err
	}
	h.release(t)
	return nil
}

// command returns the command to change, or nil.
func (t *txn) command(id string) (*Command, error) {
	if c := t.cmds[id]; c != nil {
		return c, nil
	}
	c, ok, err := Commands.Get(t.tx, id)
	if err != nil || !ok {
		return nil, err
	}
	t.cmds[id] = &c
	return &c, nil
}

// invocation returns the invocation to change and its command, or nils.
func (t *txn) invocation(command, node string) (*Invocation, *Command, error) {
	c, err := t.command(command)
	if err != nil || c == nil {
		return nil, nil, err
	}
	key := invocationKey(command, node)
	if inv := t.invs[key]; inv != nil {
		return inv, c, nil
	}
	inv, ok, err := Invocations.Get(t.tx, key)
	if err != nil || !ok {
		return nil, nil, err
	}
	t.invs[key], t.old[key] = &inv, inv
	return &inv, c, nil
}

// each calls fn for every invocation of a command.
func (t *txn) each(command string, fn func(*Invocation, *Command) error) error {
	var nodes []string
	err := Invocations.Scan(t.tx, command+"/", "", func(_ string, inv Invocation) (bool, error) {
		nodes = append(nodes, inv.NodeID)
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, node := range nodes {
		inv, c, err := t.invocation(command, node)
		if err != nil {
			return err
		}
		if err := fn(inv, c); err != nil {
			return err
		}
	}
	return nil
}

// become moves an invocation to a state. A final state stays.
func (t *txn) become(inv *Invocation, c *Command, to State) {
	if inv.State.Final() || inv.State == to {
		return
	}
	c.count(inv.State, to, t.now)
	t.dirty[c.ID] = true
	inv.State = to
	if to.Final() {
		inv.Finished, inv.Deadline = t.now, time.Time{}
	}
}

// impose ends an invocation by the control plane's word.
func (t *txn) impose(inv *Invocation, c *Command, to State) {
	if inv.State.Final() {
		return
	}
	t.become(inv, c, to)
	inv.Imposed = true
}

// started records the node's first sign of having the command.
func (t *txn) started(inv *Invocation, c *Command) error {
	if !inv.Delivered.IsZero() {
		return nil
	}
	begin, err := t.beginsBy(inv.NodeID)
	if err != nil {
		return err
	}
	inv.Delivered = t.now
	inv.Deadline = executionDeadline(begin, c)
	if inv.State.undelivered() {
		t.become(inv, c, InProgress)
	}
	return nil
}

// beginsBy is when a command that the node has just taken begins at the
// latest: an agent runs so many at once and queues the others.
func (t *txn) beginsBy(node string) (time.Time, error) {
	var ends []time.Time
	err := running.Scan(t.tx, node+"/", "", func(_ string, end time.Time) (bool, error) {
		ends = append(ends, end)
		return true, nil
	})
	if err != nil || len(ends) < agentWorkers {
		return t.now, err
	}
	slices.SortFunc(ends, time.Time.Compare)
	if free := ends[len(ends)-agentWorkers]; free.After(t.now) {
		return free, nil
	}
	return t.now, nil
}

// track keeps the index of what runs on nodes.
func (t *txn) track(inv Invocation, old Invocation) error {
	runs := func(v Invocation) bool { return !v.Delivered.IsZero() && !v.State.Final() }
	key := inv.NodeID + "/" + inv.CommandID
	switch {
	case runs(inv) && !inv.Deadline.Equal(old.Deadline):
		return running.Put(t.tx, key, inv.Deadline)
	case !runs(inv) && runs(old):
		return running.Delete(t.tx, key)
	}
	return nil
}

// addCancel queues a cancel message for the invocation, once.
func (t *txn) addCancel(inv *Invocation) error {
	if inv.CancelID != "" {
		return nil
	}
	inv.CancelID = t.s.newID()
	k := Cancel{ID: inv.CancelID, NodeID: inv.NodeID, CommandID: inv.CommandID, Created: t.now}
	t.cancels = append(t.cancels, k)
	t.holds.createCancel(k)
	return cancels.Put(t.tx, cancelKey(k.NodeID, k.ID), k)
}

// endCancel notes that the cancel message need not be sent (again).
func (t *txn) endCancel(node, id string) error {
	k, ok, err := cancels.Get(t.tx, cancelKey(node, id))
	if err != nil || !ok || k.Done {
		return err
	}
	k.Done = true
	t.cancels = append(t.cancels, k)
	return cancels.Put(t.tx, cancelKey(node, id), k)
}

// flush writes what changed. A command that has no room for more errors ends
// its invocations that were not started.
func (t *txn) flush() error {
	for _, c := range t.cmds {
		if c.errorCount() > c.Errors && c.Counts[Pending]+c.Counts[Delayed] > 0 {
			if err := t.terminate(c.ID); err != nil {
				return err
			}
		}
	}
	for key, inv := range t.invs {
		if *inv == t.old[key] {
			continue
		}
		if err := t.track(*inv, t.old[key]); err != nil {
			return err
		}
		inv.Rev++
		if err := Invocations.Put(t.tx, key, *inv); err != nil {
			return err
		}
	}
	for id, c := range t.cmds {
		if !t.dirty[id] {
			continue
		}
		if err := t.putCommand(id, c); err != nil {
			return err
		}
	}
	return nil
}

func (t *txn) terminate(command string) error {
	return t.each(command, func(inv *Invocation, c *Command) error {
		if inv.State.undelivered() && t.holds.take(command, inv.NodeID) {
			t.impose(inv, c, Terminated)
		}
		return nil
	})
}

func (t *txn) putCommand(id string, c *Command) error {
	if err := Commands.Put(t.tx, id, *c); err != nil {
		return err
	}
	if c.Finished.IsZero() {
		return open.Put(t.tx, id, mark{})
	}
	if err := open.Delete(t.tx, id); err != nil {
		return err
	}
	return finished.Put(t.tx, risingKey(c.Finished, id), c.Finished)
}

// errNoInvocation is returned when there is nothing of that name.
func errNoInvocation(command, node string) error {
	return fmt.Errorf("%w: no command %s was sent to node %s", ErrUnknown, command, node)
}
