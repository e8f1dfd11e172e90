package proc

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// scopeWithin bounds what the service manager may take for one process.
const scopeWithin = 10 * time.Second

// Scopes puts processes into scopes of the service manager (systemd), which
// limits and restarts of our own unit do not reach. That is done in the
// background, one process after the other, and changes nothing of what they
// do. Where no such manager runs nothing is done.
type Scopes struct {
	failed func(error)
	there  func() bool // a manager runs
	dial   func(ctx context.Context) (scoper, error)

	mu      sync.Mutex
	waiting []entrant
	busy    bool // a goroutine works off waiting
	told    bool // of a failure
}

// entrant is a process that is to be in a scope.
type entrant struct {
	id    ID
	scope string
}

// scoper is a connection to the service manager.
type scoper interface {
	// enter puts a process and what it has started by now into a new scope.
	// One that has ended is no error.
	enter(ctx context.Context, id ID, unit string) error
	Close()
}

// NewScopes returns Scopes. failed is told why a process stays where it is, at
// the first that does.
func NewScopes(failed func(error)) *Scopes {
	return &Scopes{failed: failed, there: hasScopes, dial: dialScopes}
}

// Enter has the process, with what it has started by then, leave the scope that
// it is in for another, whose name should begin with "ssmagent-".
func (s *Scopes) Enter(id ID, scope string) {
	if !s.there() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Where it went next is all that counts of one that did not wait for us.
	s.waiting = slices.DeleteFunc(s.waiting, func(e entrant) bool { return e.id == id })
	s.waiting = append(s.waiting, entrant{id, scope})
	if !s.busy {
		s.busy = true
		go s.work()
	}
}

// work asks for what waits until nothing does.
func (s *Scopes) work() {
	ctx, done := context.WithCancel(context.Background())
	defer done()
	manager, err := s.dial(ctx)
	if err == nil {
		defer manager.Close()
	}
	for e, ok := s.next(); ok; e, ok = s.next() {
		failure := err
		if failure == nil {
			failure = enterWithin(ctx, manager, e)
		}
		if failure != nil {
			s.tell(failure)
		}
	}
}

func enterWithin(ctx context.Context, manager scoper, e entrant) error {
	ctx, done := context.WithTimeout(ctx, scopeWithin)
	defer done()
	return manager.enter(ctx, e.id, unitName(e.scope))
}

func (s *Scopes) next() (e entrant, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		s.busy = false
		return e, false
	}
	e = s.waiting[0]
	s.waiting = s.waiting[1:]
	return e, true
}

func (s *Scopes) tell(err error) {
	s.mu.Lock()
	told := s.told
	s.told = true
	s.mu.Unlock()
	if !told {
		s.failed(err)
	}
}

// unitName is a unit's name of the characters that it may have (systemd.unit(5)).
func unitName(scope string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.:", r)) {
			return r
		}
		return '_'
	}, scope[:min(len(scope), 200)]) + ".scope"
}
