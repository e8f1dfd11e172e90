package clock

import (
	"context"
	"sync"
	"time"
)

// Fake is a Clock that moves only when told to. Safe for concurrent use.
type Fake struct {
	mu     sync.Mutex
	now    time.Time
	timers map[*fakeTimer]struct{}
	set    chan struct{} // closed and replaced when a timer is set
}

// NewFake returns a Fake that shows now.
func NewFake(now time.Time) *Fake {
	return &Fake{now: now, timers: map[*fakeTimer]struct{}{}, set: make(chan struct{})}
}

// Now implements Clock.
func (f *Fake) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// Advance moves the clock by d and fires what has become due.
func (f *Fake) Advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
	for t := range f.timers {
		t.fireLocked()
	}
}

// Await waits until at least n timers are pending, or ctx ends, whose cause it
// then returns. With it a test knows that advancing the clock will be noticed.
func (f *Fake) Await(ctx context.Context, n int) error {
	for {
		f.mu.Lock()
		pending, set := len(f.timers), f.set
		f.mu.Unlock()
		if pending >= n {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-set:
		}
	}
}

// NewTimer implements Clock.
func (f *Fake) NewTimer(d time.Duration) Timer {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := &fakeTimer{f: f, c: make(chan time.Time, 1), due: f.now.Add(d)}
	t.setLocked()
	return t
}

type fakeTimer struct {
	f   *Fake
	c   chan time.Time
	due time.Time
}

func (t *fakeTimer) setLocked() {
	t.f.timers[t] = struct{}{}
	close(t.f.set)
	t.f.set = make(chan struct{})
	t.fireLocked()
}

func (t *fakeTimer) fireLocked() {
	if t.due.After(t.f.now) {
		return
	}
	delete(t.f.timers, t)
	select {
	case t.c <- t.f.now:
	default:
	}
}

func (t *fakeTimer) C() <-chan time.Time { return t.c }

func (t *fakeTimer) Stop() bool {
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	_, active := t.f.timers[t]
	delete(t.f.timers, t)
	t.drain()
	return active
}

func (t *fakeTimer) Reset(d time.Duration) bool {
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	_, active := t.f.timers[t]
	t.drain()
	t.due = t.f.now.Add(d)
	t.setLocked()
	return active
}

// drain empties the channel, as time.Timer does since Go 1.23.
func (t *fakeTimer) drain() {
	select {
	case <-t.c:
	default:
	}
}
