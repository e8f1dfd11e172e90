// Package clock is the one way time enters the program.
package clock

import "time"

// Clock tells and awaits time.
type Clock interface {
	Now() time.Time
	// NewTimer is time.NewTimer in this clock's time.
	NewTimer(d time.Duration) Timer
}

// Timer is a timer of a Clock.
type Timer interface {
	C() <-chan time.Time
	Stop() bool
	Reset(d time.Duration) bool
}

// Real is the machine's clock.
type Real struct{}

// Now implements Clock.
func (Real) Now() time.Time { return time.Now() }

// NewTimer implements Clock.
func (Real) NewTimer(d time.Duration) Timer { return realTimer{time.NewTimer(d)} }

// Off is the machine's clock, wrong by By.
type Off struct {
	Real

	By time.Duration
}

// Now implements Clock.
func (o Off) Now() time.Time { return time.Now().Add(o.By) }

type realTimer struct{ t *time.Timer }

func (r realTimer) C() <-chan time.Time        { return r.t.C }
func (r realTimer) Stop() bool                 { return r.t.Stop() }
func (r realTimer) Reset(d time.Duration) bool { return r.t.Reset(d) }
