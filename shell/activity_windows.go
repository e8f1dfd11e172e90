package shell

import (
	"sync"
	"time"
)

// activity is whether something is going on, or was a moment ago. The zero
// value is ready.
type activity struct {
	mu   sync.Mutex
	busy bool
	last time.Time
}

func (a *activity) begin() { a.set(true) }
func (a *activity) end()   { a.set(false) }

func (a *activity) set(busy bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy, a.last = busy, time.Now()
}

// rest is how long nothing must go on from now on for it to have been d; d while
// something does.
func (a *activity) rest(d time.Duration) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.busy {
		return d
	}
	return d - time.Since(a.last)
}

// awaitQuiet returns when nothing has gone on for d.
func (a *activity) awaitQuiet(d time.Duration) {
	a.mu.Lock()
	if !a.busy {
		a.last = time.Now() // from here on
	}
	a.mu.Unlock()
	for wait := d; wait > 0; wait = a.rest(d) {
		<-time.After(wait)
	}
}
