package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/mgs"
)

// Delivery is a message for a node.
type Delivery struct {
	MessageID string // aws.ssm.<id>.<node>: MessageId of MDS, JobId of MGS
	Topic     string
	Payload   string // doc.SendCommand or doc.CancelCommand
	Created   time.Time
}

// Next waits until there is something to deliver to the node and returns up
// to limit messages, the oldest first. Each is leased: it comes again when
// its lease ends without Ack, Fail or a reply. It ends with ctx's error.
func (s *Service) Next(ctx context.Context, node string, limit int, l Lease) ([]Delivery, error) {
	for {
		jobs, err := s.queue.next(ctx, node, limit, l)
		if err != nil {
			return nil, err
		}
		out, err := s.deliveries(jobs)
		if err != nil || len(out) > 0 {
			return out, err
		}
	}
}

func (s *Service) deliveries(jobs []job) (out []Delivery, err error) {
	err = s.db.View(func(tx *store.Tx) error {
		for _, j := range jobs {
			d := Delivery{MessageID: j.messageID, Created: j.created}
			if j.cancelOf != "" {
				b, err := json.Marshal(doc.CancelCommand{CancelMessageId: j.cancelOf})
				if err != nil {
					return err
				}
				d.Topic, d.Payload = s.topic(mgs.TopicCancelCommand), string(b)
				out = append(out, d)
				continue
			}
			p, ok, err := payloads.Get(tx, j.command)
			if err != nil {
				return err
			}
			if !ok { // ended and removed meanwhile
				continue
			}
			d.Topic, d.Payload = s.topic(mgs.TopicSendCommand), p
			out = append(out, d)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	return out, nil
}

// Release ends the leases of owner: its way to the node is gone, what was not
// acknowledged goes to the next one.
func (s *Service) Release(node string, owner any) { s.queue.release(node, owner) }

// Ack records that the node has the message. It may be repeated. An error is
// ErrMessageID, ErrForeign, ErrUnknown, or the store's.
func (s *Service) Ack(_ context.Context, node, message string) error {
	id, err := ownID(node, message)
	if err != nil {
		return err
	}
	if s.queue.delivered(message) {
		return nil
	}
	return s.update(func(t *txn) error {
		inv, c, err := t.invocation(id, node)
		if err != nil {
			return err
		}
		if inv == nil {
			return t.ackCancel(node, id)
		}
		return t.received(inv, c)
	})
}

// received records that the node has the command; one that was ended without
// its knowledge is cancelled there.
func (t *txn) received(inv *Invocation, c *Command) error {
	if inv.State.Final() {
		if inv.Imposed && inv.State != Undeliverable {
			return t.addCancel(inv)
		}
		return nil
	}
	return t.started(inv, c)
}

func (t *txn) ackCancel(node, id string) error {
	k, ok, err := cancels.Get(t.tx, cancelKey(node, id))
	if err != nil {
		return err
	}
	if !ok {
		return errNoInvocation(id, node)
	}
	if k.Done {
		return nil
	}
	if err := t.endCancel(node, id); err != nil {
		return err
	}
	inv, _, err := t.invocation(k.CommandID, node)
	if err != nil || inv == nil {
		return err
	}
	if inv.State == Cancelling {
		inv.Deadline = t.now.Add(CancelGrace)
	}
	return nil
}

// Fail ends the message: the node will not do it, for the reason given.
func (s *Service) Fail(_ context.Context, node, message, reason string) error {
	id, err := ownID(node, message)
	if err != nil {
		return err
	}
	return s.update(func(t *txn) error {
		inv, c, err := t.invocation(id, node)
		if err != nil {
			return err
		}
		if inv == nil {
			return t.ackCancel(node, id)
		}
		if !inv.State.Final() {
			inv.Trace, inv.Refused = cut(reason, maxTrace), true
		}
		t.become(inv, c, Failed)
		return t.withdraw(inv)
	})
}

// withdraw ends the cancel message of an invocation that has ended.
func (t *txn) withdraw(inv *Invocation) error {
	if inv.CancelID == "" || !inv.State.Final() || inv.Imposed {
		return nil
	}
	return t.endCancel(inv.NodeID, inv.CancelID)
}

// Delay records that the node cannot take the message now; it is delivered
// again after d.
func (s *Service) Delay(_ context.Context, node, message string, d time.Duration) error {
	id, err := ownID(node, message)
	if err != nil {
		return err
	}
	s.queue.delay(message, d)
	return s.update(func(t *txn) error {
		inv, c, err := t.invocation(id, node)
		if err != nil || inv == nil {
			return err
		}
		if inv.State == Pending {
			t.become(inv, c, Delayed)
		}
		return nil
	})
}

// ownID is the id in a message id that must be the node's own.
func ownID(node, message string) (string, error) {
	owner, id, err := ParseMessageID(message)
	if err != nil {
		return "", err
	}
	if owner != node {
		return "", fmt.Errorf("%w: %s is for %s, not for %s", ErrForeign, message, owner, node)
	}
	return id, nil
}

// IsRefusal says whether err is the peer's fault, not ours.
func IsRefusal(err error) bool {
	return slices.ContainsFunc([]error{ErrMessageID, ErrForeign, ErrUnknown, ErrReply}, func(e error) bool { return errors.Is(err, e) })
}

// byMessage finds a job by its message id.
func (q *queue) byMessage(message string) *job {
	if j := q.jobs[message]; j != nil {
		return j
	}
	node, id, err := ParseMessageID(message)
	if err != nil {
		return nil
	}
	return q.jobs[invocationKey(id, node)]
}

// delivered says that the message is a command known to be delivered.
func (q *queue) delivered(message string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	j := q.byMessage(message)
	return j != nil && j.state == InProgress
}

// sent is when the message was first handed out, zero when it is not known.
func (q *queue) sent(message string) time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j := q.byMessage(message); j != nil {
		return j.sent
	}
	return time.Time{}
}

func (q *queue) delay(message string, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	j := q.byMessage(message)
	if j == nil || !j.state.undelivered() {
		return
	}
	q.unlease(j)
	j.until = q.clock.Now().Add(d)
	q.wake(j.node)
}
