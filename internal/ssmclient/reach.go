package ssmclient

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"ssmagent/internal/backoff"
	"ssmagent/internal/clock"
)

// settle is the longest time between news of the network and an attempt that
// goes by them: names and routes come one after the other, and nodes that lost
// the same router are not to call all at once.
const settle = time.Second

// Reach is whether the services can be reached, as all clients of a process
// see it. Who waits because one could not is woken when one answers again and
// when the network changed. The zero Reach is ready; a nil one wakes nobody.
// Safe for concurrent use.
type Reach struct {
	mu      sync.Mutex
	lost    bool          // the last attempt got no answer
	changed chan struct{} // closed and replaced; nil: nobody asked yet
}

// Observe learns from the outcome of an attempt. A refusal is an answer.
func (r *Reach) Observe(err error) {
	if r == nil || errors.Is(err, context.Canceled) {
		return
	}
	lost := IsUnreachable(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost && !lost {
		r.wakeLocked()
	}
	r.lost = lost
}

// NetworkChanged wakes everybody who waits.
func (r *Reach) NetworkChanged() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wakeLocked()
}

func (r *Reach) wakeLocked() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// Changed returns a channel that is closed at the next news. A nil Reach has
// none.
func (r *Reach) Changed() <-chan struct{} {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.changed
}

// After waits d after err, or until ctx ends, whose cause it then returns. When
// err is that nothing answered, news cut the wait short.
func (r *Reach) After(ctx context.Context, clk clock.Clock, d time.Duration, err error) error {
	if r == nil || !IsUnreachable(err) {
		return backoff.Wait(ctx, clk, d)
	}
	return r.Wait(ctx, clk, d)
}

// Wait waits d, or until shortly after the next news, or until ctx ends, whose
// cause it then returns.
func (r *Reach) Wait(ctx context.Context, clk clock.Clock, d time.Duration) error {
	news := r.Changed()
	t := clk.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C():
		return nil
	case <-news:
		return backoff.Wait(ctx, clk, min(d, rand.N(settle)))
	}
}

// IsUnreachable says whether err is that nothing answered.
func IsUnreachable(err error) bool {
	_, ok := errors.AsType[*Unreachable](err)
	return ok
}
