package sessions

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"ssmagent/internal/controlplane/store"
)

// Retention is how long ended sessions are kept.
const Retention = 30 * 24 * time.Hour

// sweepEvery is the pause between two looks for sessions beyond retention,
// sweepBatch what one transaction removes.
const (
	sweepEvery = time.Hour
	sweepBatch = 64
	retryAfter = time.Second
	farAway    = 24 * time.Hour
	jump       = time.Second // between a look at the clock and setting a timer: it has to be set again
)

// Run acts on deadlines, delivers to nodes and forgets old sessions until ctx
// ends, and returns nil then.
func (s *Service) Run(ctx context.Context) error {
	var g errgroup.Group
	for range couriers {
		g.Go(func() error { s.courier(ctx); return nil })
	}
	g.Go(func() error { s.watch(ctx); return nil })
	return g.Wait()
}

func (s *Service) watch(ctx context.Context) {
	sweep := s.clock.NewTimer(0)
	defer sweep.Stop()
	due := s.clock.NewTimer(farAway)
	defer due.Stop()
	for ctx.Err() == nil {
		now := s.clock.Now()
		wait := s.expire(ctx)
		if err := s.bury(); err != nil {
			s.log.Error("sessions", "error", err)
			wait = min(wait, retryAfter)
		}
		due.Reset(wait)
		if s.clock.Now().Sub(now) > jump {
			continue
		}
		select {
		case <-s.rearm:
		case <-due.C():
		case <-sweep.C():
			s.sweepAll(ctx)
			sweep.Reset(sweepEvery)
		case <-ctx.Done():
		}
	}
}

// expire does what is due and returns the time until something is due again.
func (s *Service) expire(ctx context.Context) time.Duration {
	for ctx.Err() == nil {
		l, wait := s.first()
		if l == nil {
			return wait
		}
		if err := s.act(ctx, l); err != nil {
			s.log.Error("sessions: end an overdue session", "session", l.id, "error", err)
			return retryAfter
		}
	}
	return 0
}

// first returns the session whose deadline has come, or how long until one's
// does. Data that passed since a deadline was set moves it.
func (s *Service) first() (*live, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	for len(s.due) > 0 {
		l := s.due[0]
		if wait := l.due.Sub(now); wait > 0 {
			return nil, wait
		}
		if !l.next().After(now) {
			return l, 0
		}
		s.schedule(l)
	}
	return nil, farAway
}

// act does what is due for a session.
func (s *Service) act(ctx context.Context, l *live) error {
	_, channels := s.rims()
	there := false // the agent's side
	if channels != nil {
		there, _ = channels.Sides(l.id)
	}
	do := s.decide(l, there)
	switch {
	case do.over:
		s.calls.over(l.node, l.id)
	case do.again:
		s.calls.again(l.node, l.id)
	case do.forget:
		_, _, err := s.end(l.id, "", ending{state: Terminated})
		return err
	case do.text != "":
		return s.impose(ctx, l.id, do.to, do.text)
	}
	return nil
}

// decision is what a deadline asks for; the zero value is nothing.
type decision struct {
	over   bool   // tell the node again that the session is over
	again  bool   // send the order again
	forget bool   // wait no longer for the agent's word
	text   string // end the session, for this reason
	to     State
}

// decide finds what is due and sets the next deadline.
func (s *Service) decide(l *live, agent bool) decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live[l.id] != l { // it ended meanwhile
		return decision{}
	}
	now := s.clock.Now()
	due := func(at time.Time) bool { return !at.After(now) }
	switch {
	case !l.ended.IsZero() && l.nudged:
		return decision{forget: true}
	case !l.ended.IsZero():
		l.nudged = true
		s.schedule(l)
		return decision{over: true}
	case l.max > 0 && due(l.start.Add(l.max)):
		return decision{text: "session ended: its maximum duration of " + minutesText(l.max) + " is over", to: Terminating}
	case !l.opened && due(l.start.Add(OpenWithin)):
		return decision{text: fmt.Sprintf("session failed: the agent did not open it within %d seconds: see the agent's log on %s", int(OpenWithin/time.Second), l.node), to: Failed}
	case due(l.activity.time().Add(l.idle)):
		return decision{text: "session ended: idle for " + minutesText(l.idle), to: Terminating}
	case !l.closing.IsZero() && due(l.closing.Add(EndWithin)):
		if !agent {
			return decision{text: "session ended: its agent ended it and did not say how", to: Terminating}
		}
		l.closing = now // it has not closed its side: it still uploads a log, perhaps
		s.schedule(l)
		return decision{}
	case !l.opened && due(l.pushed.Add(orderAgain<<min(l.pushes, 8))):
		l.pushes++
		l.pushed = now
		s.schedule(l)
		return decision{again: true}
	}
	s.schedule(l)
	return decision{}
}

func (s *Service) sweepAll(ctx context.Context) {
	for ctx.Err() == nil {
		n, err := s.sweep()
		if err != nil {
			s.log.Error("sessions: retention", "error", err)
		}
		if n < sweepBatch {
			return
		}
	}
}

// sweep removes one batch and returns how many sessions it had.
func (s *Service) sweep() (n int, err error) {
	limit := risingKey(s.clock.Now().Add(-Retention), "")
	err = s.db.Update(func(tx *store.Tx) error {
		var keys []string
		err := finished.Scan(tx, "", "", func(key string, _ mark) (bool, error) {
			if key >= limit {
				return false, nil
			}
			keys = append(keys, key)
			return len(keys) < sweepBatch, nil
		})
		if err != nil {
			return err
		}
		n = len(keys)
		for _, key := range keys {
			if err := remove(tx, key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("remove old sessions: %w", err)
	}
	return n, nil
}

func remove(tx *store.Tx, key string) error {
	if err := finished.Delete(tx, key); err != nil {
		return err
	}
	r, ok, err := Sessions.Get(tx, idOf(key))
	if err != nil || !ok {
		return err
	}
	if err := history.Delete(tx, fallingKey(r.Start, r.ID)); err != nil {
		return err
	}
	if err := untold.Delete(tx, untoldKey(r.NodeID, r.ID)); err != nil {
		return err
	}
	return Sessions.Delete(tx, r.ID)
}
