package commands

import (
	"context"
	"fmt"
	"time"

	"ssmagent/internal/controlplane/store"
)

// Retention is how long finished commands are kept.
const Retention = 30 * 24 * time.Hour

// sweepEvery is the pause between two looks for commands beyond retention,
// sweepBatch what one transaction removes.
const (
	sweepEvery = time.Hour
	sweepBatch = 16
)

// Run acts on deadlines and retention until ctx ends, and returns nil then.
func (s *Service) Run(ctx context.Context) error {
	sweep := s.clock.NewTimer(0)
	defer sweep.Stop()
	for ctx.Err() == nil {
		lost := s.bury()
		if lost != nil {
			s.log.Error("commands: removed nodes", "error", lost)
		}
		next, err := s.expire()
		if err != nil {
			s.log.Error("commands: deadlines", "error", err)
		}
		if lost != nil {
			next = s.clock.Now().Add(time.Second)
		}
		due := s.clock.NewTimer(s.until(next))
		select {
		case <-s.queue.rearm:
		case <-due.C():
		case <-sweep.C():
			sweep.Reset(s.sweepAll(ctx))
		case <-ctx.Done():
		}
		due.Stop()
	}
	return nil
}

// until is the time to wait for next; with none, long.
func (s *Service) until(next time.Time) time.Duration {
	if next.IsZero() {
		return 24 * time.Hour
	}
	return max(0, next.Sub(s.clock.Now()))
}

// sweepAll removes what is beyond retention and returns when to look again.
func (s *Service) sweepAll(ctx context.Context) time.Duration {
	for ctx.Err() == nil {
		n, err := s.sweep()
		if err != nil {
			s.log.Error("commands: retention", "error", err)
			break
		}
		if n < sweepBatch {
			break
		}
	}
	return sweepEvery
}

// sweep removes one batch and returns how many commands it had.
func (s *Service) sweep() (n int, err error) {
	limit := s.clock.Now().Add(-Retention)
	err = s.db.Update(func(tx *store.Tx) error {
		n = 0
		var keys []string
		err := finished.Scan(tx, "", "", func(key string, at time.Time) (bool, error) {
			if !at.Before(limit) {
				return false, nil
			}
			keys = append(keys, key)
			return len(keys) < sweepBatch, nil
		})
		if err != nil {
			return err
		}
		for _, key := range keys {
			if err := remove(tx, idOf(key)); err != nil {
				return err
			}
			if err := finished.Delete(tx, key); err != nil {
				return err
			}
		}
		n = len(keys)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("remove finished commands: %w", err)
	}
	return n, nil
}

// remove deletes a command and all that belongs to it.
func remove(tx *store.Tx, id string) error {
	c, ok, err := Commands.Get(tx, id)
	if err != nil || !ok {
		return err
	}
	var invs []Invocation
	err = Invocations.Scan(tx, id+"/", "", func(_ string, inv Invocation) (bool, error) {
		invs = append(invs, inv)
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, inv := range invs {
		if err := removeInvocation(tx, c, inv); err != nil {
			return err
		}
	}
	if err := payloads.Delete(tx, id); err != nil {
		return err
	}
	if err := newest.Delete(tx, fallingKey(c.Requested, id)); err != nil {
		return err
	}
	return Commands.Delete(tx, id)
}

func removeInvocation(tx *store.Tx, c Command, inv Invocation) error {
	for i := range c.Steps {
		if err := steps.Delete(tx, stepKey(c.ID, inv.NodeID, i)); err != nil {
			return err
		}
	}
	if inv.CancelID != "" {
		if err := cancels.Delete(tx, cancelKey(inv.NodeID, inv.CancelID)); err != nil {
			return err
		}
	}
	if err := nodeNewest.Delete(tx, nodeKey(inv)); err != nil {
		return err
	}
	return Invocations.Delete(tx, invocationKey(c.ID, inv.NodeID))
}

func nodeKey(inv Invocation) string {
	return inv.NodeID + "/" + fallingKey(inv.Requested, inv.CommandID)
}
