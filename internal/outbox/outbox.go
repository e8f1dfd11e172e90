// Package outbox is the durable queue of what the node has to report: a reply
// is on disk before its worker ends, and it is sent again and again until the
// service has acknowledged it.
package outbox

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"ssmagent/internal/backoff"
	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
)

// Entry is one report.
type Entry struct {
	ID      string // a UUID: ReplyId or id of the frame, the same in every resend
	JobID   string // entries of one job are given in the order they were put
	Topic   string
	Content string
	Channel string // which channel reports it
	Created time.Time
}

// Bounds. A stock gateway takes 120,000 bytes of content.
const (
	MaxContent = 1 << 20
	maxField   = 1024
	maxEntries = 20_000
	maxBytes   = 64 << 20

	// maxAge is how long an entry that nobody acknowledges is sent again.
	maxAge = 48 * time.Hour
)

// ErrFull is returned by Put when so much is unsent that no more is taken.
var ErrFull = errors.New("the outbox is full")

// Outbox is the queue. Safe for concurrent use.
type Outbox struct {
	clk    clock.Clock
	log    *slog.Logger
	delays backoff.Policy

	// wal is held for reading from an append until memory shows it too, and
	// for writing while the log is replaced by what memory shows.
	wal    sync.RWMutex
	store  *store
	closed bool

	mu     sync.Mutex
	all    map[string]*item
	queues map[string]*queue // by channel
	jobs   map[string][]*item
	bytes  int
	seq    uint64
	change chan struct{} // closed and replaced when there may be more to give
}

// item is an entry with its place in the order of giving.
type item struct {
	Entry

	seq   uint64
	due   time.Time
	given time.Time // zero: not since Open
	tries int       // since Open or Reconnected
	index int       // in its queue
}

// Open opens the outbox kept in the directory dir, making it where it is
// missing. What was put and not done comes back.
func Open(f fsys.FS, dir string, clk clock.Clock, log *slog.Logger) (*Outbox, error) {
	o := &Outbox{
		clk: clk, log: log,
		delays: backoff.Policy{First: time.Second, Factor: 2, Cap: 5 * time.Minute},
		all:    map[string]*item{}, queues: map[string]*queue{}, jobs: map[string][]*item{},
		change: make(chan struct{}),
	}
	s, entries, err := openStore(f, dir, log)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	o.store = s
	for _, e := range entries {
		o.addLocked(e)
	}
	return o, nil
}

// Close makes everything durable and ends the use of the files; Put fails
// afterwards.
func (o *Outbox) Close() error {
	o.wal.Lock()
	defer o.wal.Unlock()
	o.closed = true
	return o.store.close()
}

// Len is the number of entries that are not done.
func (o *Outbox) Len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.all)
}

// Put takes entries, all or none: they are durable when it returns nil. One
// whose ID is in the outbox already is taken as the same and left alone.
func (o *Outbox) Put(entries ...Entry) error {
	fresh, err := o.fresh(entries)
	if err != nil || len(fresh) == 0 {
		return err
	}
	o.wal.RLock()
	// Others may put meanwhile and share one sync.
	if err = o.store.put(fresh); err == nil {
		o.add(fresh)
	}
	o.wal.RUnlock()
	if err != nil {
		err = o.putAnew(fresh, err)
	}
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return nil
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

func (o *Outbox) add(entries []Entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range entries {
		if o.all[e.ID] == nil {
			o.addLocked(e)
		}
	}
	o.wakeLocked()
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

func (o *Outbox) fresh(entries []Entry) ([]Entry, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var fresh []Entry
	size := o.bytes
	for _, e := range entries {
		if err := e.check(); err != nil {
			return nil, err
		}
		if o.all[e.ID] != nil {
			continue
		}
		if e.Created.IsZero() {
			e.Created = o.clk.Now()
		}
		size += e.size()
		fresh = append(fresh, e)
	}
	if len(fresh) > 0 && (len(o.all)+len(fresh) > maxEntries || size > maxBytes) {
		return nil, fmt.Errorf("%w (%d entries, %d bytes): the service has taken none of them; check the connection", ErrFull, len(o.all), o.bytes)
	}
	return fresh, nil
}

func (e Entry) check() error {
	if e.ID == "" || len(e.ID) > maxField || len(e.JobID) > maxField || len(e.Topic) > maxField || len(e.Channel) > maxField {
		return fmt.Errorf("outbox: an entry needs an id, and names of at most %d bytes", maxField)
	}
	if len(e.Content) > MaxContent {
		return fmt.Errorf("outbox: the content of %s has %d bytes, at most %d are taken; shorten the output", e.ID, len(e.Content), MaxContent)
	}
	return nil
}

func (e Entry) size() int {
	return len(e.ID) + len(e.JobID) + len(e.Topic) + len(e.Content) + len(e.Channel)
}

// Next waits for an entry to send and returns it. Without channels it may be
// of any. Each entry is given once, and again after 1, 2, 4 … seconds, at most
// 5 minutes apart, until it is done. An entry older than 48 hours that has
// been sent in vain is dropped. Errors are those of ctx.
func (o *Outbox) Next(ctx context.Context, channels ...string) (Entry, error) {
	for {
		o.mu.Lock()
		now := o.clk.Now()
		it, wait := o.firstLocked(now, channels)
		if it != nil {
			defer o.mu.Unlock()
			return o.giveLocked(it, now), nil
		}
		change := o.change
		o.mu.Unlock()
		if err := o.await(ctx, change, wait); err != nil {
			return Entry{}, err
		}
	}
}

// await waits for a change, for d (negative: for ever), or for the end of ctx.
func (o *Outbox) await(ctx context.Context, change <-chan struct{}, d time.Duration) error {
	var expired <-chan time.Time
	if d >= 0 {
		t := o.clk.NewTimer(d)
		defer t.Stop()
		expired = t.C()
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-change:
	case <-expired:
	}
	return nil
}

// firstLocked returns the first entry that is due, else the time until one is,
// negative when there is none.
func (o *Outbox) firstLocked(now time.Time, channels []string) (*item, time.Duration) {
	for {
		var first *item
		if len(channels) == 0 {
			for _, q := range o.queues {
				first = earlier(first, q.first())
			}
		}
		for _, c := range channels {
			if q := o.queues[c]; q != nil {
				first = earlier(first, q.first())
			}
		}
		switch {
		case first == nil:
			return nil, -1
		case first.due.After(now):
			return nil, first.due.Sub(now)
		case !first.given.IsZero() && now.Sub(first.Created) > maxAge:
			o.dropLocked(first)
			continue
		}
		if older := o.olderLocked(first); older != nil {
			return older, 0
		}
		return first, 0
	}
}

// olderLocked is the entry that has to be sent again before it: an earlier one
// of its job that was last sent before it was.
func (o *Outbox) olderLocked(it *item) *item {
	if it.given.IsZero() {
		return nil // never sent: it must not wait for what the service ignores
	}
	for _, other := range o.jobs[it.JobID] {
		if other.seq >= it.seq {
			return nil
		}
		if other.Channel == it.Channel && !other.given.After(it.given) {
			return other
		}
	}
	return nil
}

func (o *Outbox) giveLocked(it *item, now time.Time) Entry {
	it.given = now
	it.due = now.Add(o.delays.Delay(it.tries, nil))
	it.tries++
	heap.Fix(o.queues[it.Channel], it.index)
	return it.Entry
}

func (o *Outbox) dropLocked(it *item) {
	o.log.Error("a report is lost: the service did not acknowledge it in time", "job", it.JobID, "reply", it.ID,
		"age", o.clk.Now().Sub(it.Created).Round(time.Minute))
	o.removeLocked(it)
	if err := o.store.done(it.ID); err != nil {
		o.log.Warn("a lost report stays on disk", "reply", it.ID, "error", err)
	}
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

// Reconnected makes everything (of these channels, if some are named) due now:
// what was sent through the old connection may be lost.
func (o *Outbox) Reconnected(channels ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.clk.Now()
	for _, it := range o.all {
		if len(channels) > 0 && !contains(channels, it.Channel) {
			continue
		}
		it.due, it.tries = now, 0
		heap.Fix(o.queues[it.Channel], it.index)
	}
	o.wakeLocked()
}

func (o *Outbox) wakeLocked() {
	close(o.change)
	o.change = make(chan struct{})
}

func (o *Outbox) addLocked(e Entry) {
	o.seq++
	it := &item{Entry: e, seq: o.seq, due: o.clk.Now()}
	o.all[e.ID] = it
	o.bytes += e.size()
	o.jobs[e.JobID] = append(o.jobs[e.JobID], it)
	q := o.queues[e.Channel]
	if q == nil {
		q = &queue{}
		o.queues[e.Channel] = q
	}
	heap.Push(q, it)
}

func (o *Outbox) removeLocked(it *item) {
	delete(o.all, it.ID)
	o.bytes -= it.size()
	q := o.queues[it.Channel]
	heap.Remove(q, it.index)
	if q.Len() == 0 {
		delete(o.queues, it.Channel)
	}
	left := without(o.jobs[it.JobID], it)
	if len(left) == 0 {
		delete(o.jobs, it.JobID)
		return
	}
	o.jobs[it.JobID] = left
}

// order is by the time due, then as put.
func order(a, b *item) int {
	return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.seq, b.seq))
}
