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
	most   int // bytes that all entries may have
	seq    uint64
	change chan struct{} // closed and replaced when there may be more to give, or nothing is left
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
		change: make(chan struct{}), most: maxBytes,
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
	if len(fresh) > 0 && (len(o.all)+len(fresh) > maxEntries || size > o.most) {
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
		if ctx.Err() != nil {
			return Entry{}, context.Cause(ctx)
		}
		e, wait, change, lost := o.take(channels)
		o.lose(lost)
		if e.ID != "" {
			return e, nil
		}
		if err := o.await(ctx, change, wait); err != nil {
			return Entry{}, err
		}
	}
}

// Drained returns when nothing is left to send, or with the error of ctx.
func (o *Outbox) Drained(ctx context.Context) error {
	for {
		o.mu.Lock()
		left, change := len(o.all), o.change
		o.mu.Unlock()
		if left == 0 {
			return nil
		}
		if err := o.await(ctx, change, -1); err != nil {
			return err
		}
	}
}

// take returns what is due, else how long to wait and for what; and the
// entries that are dropped.
func (o *Outbox) take(channels []string) (e Entry, wait time.Duration, change <-chan struct{}, lost []Entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.clk.Now()
	for {
		first := o.firstLocked(channels)
		switch {
		case first == nil:
			return Entry{}, -1, o.change, lost
		case first.due.After(now):
			return Entry{}, first.due.Sub(now), o.change, lost
		case !first.given.IsZero() && now.Sub(first.Created) > maxAge:
			o.removeLocked(first)
			lost = append(lost, first.Entry)
			continue
		}
		if older := o.olderLocked(first); older != nil {
			first = older
		}
		return o.giveLocked(first, now), 0, nil, lost
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

// firstLocked returns the entry that is due first.
func (o *Outbox) firstLocked(channels []string) *item {
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
	return first
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
	if len(o.all) == 0 {
		o.wakeLocked()
	}
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
