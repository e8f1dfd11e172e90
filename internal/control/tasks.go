package control

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"ssmagent/internal/outbox"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// serveTasks takes orders about sessions one after the other, so that an end
// never overtakes its beginning. They do not wait for commands.
func (s *session) serveTasks(ctx, sctx context.Context) error {
	for {
		var m frame.Message
		select {
		case <-sctx.Done():
			return sctx.Err()
		case m = <-s.tasks:
		}
		if s.opt.OpenSession == nil || s.opt.CloseSession == nil {
			s.unknown(m.Type)
			continue
		}
		if err := s.task(ctx, m); err != nil {
			s.log.Warn("an order about a session is ignored", "type", m.Type, "error", err)
		}
	}
}

func (s *session) task(ctx context.Context, m frame.Message) error {
	if m.Type == mgs.TypeChannelClosed {
		c, err := mgs.Decode[mgs.ChannelClosed](m.Payload)
		if err != nil {
			return err
		}
		return s.opt.CloseSession(ctx, c.SessionId)
	}
	t, err := mgs.Decode[mgs.AgentTask](m.Payload)
	if err != nil {
		return err
	}
	return s.opt.OpenSession(ctx, t)
}

// maxSent bounds the memory for transmissions on one channel.
const maxSent = 10_000

// completion sends the end of a session, with the number of the transmission in
// it.
func (s *session) completion(ctx context.Context, id uuid.UUID, e outbox.Entry, sent map[string]int) error {
	c, err := mgs.Decode[mgs.AgentTaskComplete]([]byte(e.Content))
	if err != nil {
		s.log.Error("a session's result cannot be sent", "reply", e.ID, "error", err)
		if err := s.opt.Outbox.Done(e.ID); err != nil {
			return fmt.Errorf("drop a result that cannot be sent: %w", err)
		}
		return nil
	}
	if len(sent) >= maxSent {
		clear(sent)
	}
	sent[e.ID]++
	c.RetryNumber = sent[e.ID]
	return s.send(ctx, mgs.TypeAgentTaskComplete, id, c)
}
