package outbox

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// lose takes entries that were dropped off the disk.
func (o *Outbox) lose(entries []Entry) {
	for _, e := range entries {
		o.log.Error("a report is lost: the service did not acknowledge it in time", "job", e.JobID, "reply", e.ID,
			"age", o.clk.Now().Sub(e.Created).Round(time.Minute))
		if err := o.forget(e.ID); err != nil {
			o.log.Warn("a lost report stays on disk", "reply", e.ID, "error", err)
		}
	}
}

// putAnew puts after the log failed with cause, by writing it anew: a log
// whose sync failed takes nothing more, and nobody knows what it holds.
func (o *Outbox) putAnew(fresh []Entry, cause error) error {
	o.wal.Lock()
	defer o.wal.Unlock()
	if o.closed {
		return cause
	}
	if err := o.store.reset(append(o.live(), fresh...)); err != nil {
		return errors.Join(cause, err)
	}
	o.log.Warn("the outbox was written anew after an error of the disk", "error", cause)
	o.add(fresh)
	return nil
}

// live returns the entries that are not done, in the order they were put.
func (o *Outbox) live() []Entry {
	o.mu.Lock()
	defer o.mu.Unlock()
	items := slices.SortedFunc(maps.Values(o.all), func(a, b *item) int { return cmp.Compare(a.seq, b.seq) })
	entries := make([]Entry, len(items))
	for i, it := range items {
		entries[i] = it.Entry
	}
	return entries
}

// compact drops dead records from the log.
func (o *Outbox) compact() error {
	o.wal.Lock()
	defer o.wal.Unlock()
	return o.store.replace(o.live())
}

// Done removes an acknowledged entry. It becomes durable with a later write:
// at worst the entry is sent once more after a crash. An ID that is not there
// is no error.
func (o *Outbox) Done(id string) error {
	o.mu.Lock()
	it := o.all[id]
	if it == nil {
		o.mu.Unlock()
		return nil
	}
	o.removeLocked(it)
	o.mu.Unlock()
	return o.forget(id)
}

// forget takes an entry that is out of memory off the disk.
func (o *Outbox) forget(id string) error {
	o.mu.Lock()
	live := o.bytes
	o.mu.Unlock()
	o.wal.RLock()
	err := o.store.done(id)
	wasteful := o.store.wasteful(live)
	o.wal.RUnlock()
	if err == nil && wasteful {
		err = o.compact()
	}
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return nil
}
