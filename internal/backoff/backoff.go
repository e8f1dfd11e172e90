// Package backoff repeats what may fail, with growing, jittered delays.
package backoff

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"ssmagent/internal/clock"
)

// Policy says how long to wait between attempts. The zero Policy repeats at
// once and for ever.
type Policy struct {
	First  time.Duration // the delay after the first failure
	Cap    time.Duration // the longest delay before jitter; 0: none
	Factor float64       // growth from delay to delay; below 1 counts as 1
	Jitter float64       // 0..1: up to this share of the delay is added to it
	// ResetAfter makes a failure count as the first one when its attempt
	// lasted at least this long; 0: never.
	ResetAfter time.Duration
	// Retries bounds the attempts after the first; 0: unlimited.
	Retries int
	// Rand gives numbers in [0,1); nil: math/rand/v2.
	Rand func() float64
}

// maxDelay keeps a delay without a cap within time.Duration, jitter included.
const maxDelay = time.Duration(1 << 61)

// Delay returns the delay after failure number attempt, the first being 0. A
// nil rnd means p.Rand.
func (p Policy) Delay(attempt int, rnd func() float64) time.Duration {
	limit := float64(maxDelay)
	if p.Cap > 0 {
		limit = min(limit, float64(p.Cap))
	}
	d := min(float64(max(p.First, 0))*math.Pow(max(p.Factor, 1), float64(max(attempt, 0))), limit)
	if math.IsNaN(d) { // 0 times infinity
		d = 0
	}
	if j := min(max(p.Jitter, 0), 1); j > 0 {
		d += d * j * p.random(rnd)
	}
	return time.Duration(d)
}

// Lasted says whether an attempt that took d makes its failure count as the
// first one: see ResetAfter.
func (p Policy) Lasted(d time.Duration) bool { return p.ResetAfter > 0 && d >= p.ResetAfter }

func (p Policy) random(rnd func() float64) float64 {
	switch {
	case rnd != nil:
		return rnd()
	case p.Rand != nil:
		return p.Rand()
	}
	return rand.Float64()
}

// stopped marks an error that no repetition mends.
type stopped struct{ err error }

func (s stopped) Error() string { return s.err.Error() }
func (s stopped) Unwrap() error { return s.err }

// Stop makes Do return err at once. Stop(nil) is nil.
func Stop(err error) error {
	if err == nil {
		return nil
	}
	return stopped{err}
}

// delayed is an error that knows the delay until the next attempt.
type delayed struct {
	err error
	d   time.Duration
}

func (d delayed) Error() string { return d.err.Error() }
func (d delayed) Unwrap() error { return d.err }

// After makes Do wait d, instead of what its policy says, before the next
// attempt. After(d, nil) is nil.
func After(d time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return delayed{err, d}
}

// Do calls op until it returns nil or Stop, p's retries are used up, or ctx
// ends, and waits between the calls as p says. It returns nil, what Stop was
// given, op's last error, or ctx's cause together with op's last error.
func Do(ctx context.Context, clk clock.Clock, p Policy, op func(context.Context) error) error {
	var last error
	retries := 0
	for attempt := 0; ; attempt++ {
		if ctx.Err() != nil {
			return ended(ctx, last)
		}
		start := clk.Now()
		err := op(ctx)
		if err == nil {
			return nil
		}
		if s := (stopped{}); errors.As(err, &s) {
			if own, ok := err.(stopped); ok { //nolint:errorlint // only the outermost wrapper is ours to take off
				return own.err
			}
			return err
		}
		if ctx.Err() == nil {
			last = err
		}
		if p.Lasted(clk.Now().Sub(start)) {
			attempt, retries = 0, 0
		}
		if retries++; p.Retries > 0 && retries > p.Retries {
			return err
		}
		wait := p.Delay(attempt, nil)
		if d := (delayed{}); errors.As(err, &d) {
			wait = d.d
		}
		if Wait(ctx, clk, wait) != nil {
			return ended(ctx, last)
		}
	}
}

func ended(ctx context.Context, last error) error {
	if last == nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w; the last attempt: %w", context.Cause(ctx), last)
}

// Wait waits d or until ctx ends, whose cause it then returns.
func Wait(ctx context.Context, clk clock.Clock, d time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if d <= 0 {
		return nil
	}
	t := clk.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C():
		return nil
	}
}
