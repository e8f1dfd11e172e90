package commands

import (
	"context"
	"slices"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/wire/ssm"
)

// CancelCommand implements the operation. What was not handed to its node
// never runs; what may be running gets a cancel message.
func (s *Service) CancelCommand(_ context.Context, _ api.Caller, in ssm.CancelCommandInput) (ssm.Empty, error) {
	if e := checkIDs("InstanceIds", in.InstanceIds); e != nil {
		return ssm.Empty{}, e
	}
	err := s.update(func(t *txn) error {
		c, err := t.command(in.CommandId)
		if err != nil {
			return err
		}
		if c == nil {
			return noCommand(in.CommandId)
		}
		found := 0
		err = t.each(c.ID, func(inv *Invocation, c *Command) error {
			if len(in.InstanceIds) > 0 && !slices.Contains(in.InstanceIds, inv.NodeID) {
				return nil
			}
			found++
			return t.cancel(inv, c)
		})
		if err != nil {
			return err
		}
		if found < len(in.InstanceIds) {
			return t.notSent(c.ID, in.InstanceIds)
		}
		if len(in.InstanceIds) == 0 && c.Finished.IsZero() {
			c.CancelRequested = true
		}
		c.settle(t.now)
		t.dirty[c.ID] = true
		return nil
	})
	return ssm.Empty{}, err
}

func noCommand(id string) *api.Error {
	return api.Errorf("InvalidCommandId", "there is no command %q: list-commands shows those of the last 30 days", cut(id, 40))
}

func (t *txn) notSent(command string, ids []string) error {
	for _, id := range ids {
		inv, _, err := t.invocation(command, id)
		if err != nil {
			return err
		}
		if inv == nil {
			return api.Errorf("InvalidInstanceId", "command %s was not sent to node %s", command, id)
		}
	}
	return nil
}

// cancel ends one invocation, at once if its node does not have it.
func (t *txn) cancel(inv *Invocation, c *Command) error {
	switch {
	case inv.State.Final() || inv.State == Cancelling:
		return nil
	case inv.State.undelivered() && t.holds.take(inv.CommandID, inv.NodeID):
		t.impose(inv, c, Cancelled)
		return nil
	}
	t.become(inv, c, Cancelling)
	return t.addCancel(inv)
}
