package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"ssmagent/internal/outbox"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// errEnded ends a session's goroutines when the gateway closed the channel.
var errEnded = errors.New("the gateway ended the channel")

// backlog is how many jobs may wait for the disk before reading stops.
const backlog = 64

// session is one open control channel.
type session struct {
	*Control
	conn  Conn
	jobs  chan frame.Message
	tasks chan frame.Message // orders about sessions
}

// serve works an open channel until it breaks or ctx ends.
func (c *Control) serve(ctx context.Context, conn Conn) error {
	s := &session{Control: c, conn: conn, jobs: make(chan frame.Message, backlog), tasks: make(chan frame.Message, backlog)}
	g, gctx := errgroup.WithContext(ctx)
	// Closing is what ends a Read; no close frame is sent, as in stock.
	stop := context.AfterFunc(gctx, func() { _ = conn.CloseNow() })
	defer stop()
	c.opt.Outbox.Reconnected(ChannelMGS)
	g.Go(func() error { return s.read(gctx) })
	g.Go(func() error { return s.handle(ctx, gctx) })
	g.Go(func() error { return s.serveTasks(ctx, gctx) })
	g.Go(func() error { return s.reply(gctx) })
	g.Go(func() error { return s.ping(gctx) })
	return g.Wait()
}

func (s *session) read(ctx context.Context) error {
	for {
		_, b, err := s.conn.Read(ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", errEnded, err)
		}
		m, err := frame.Unmarshal(b)
		if err != nil {
			s.log.Warn("a message of the gateway is ignored", "error", err)
			continue
		}
		if !m.DigestOK { // the stock agent does not look at it
			s.log.Debug("a message's digest is wrong", "type", m.Type, "id", m.ID)
		}
		switch m.Type {
		case mgs.TypeAgentJob:
			select {
			case s.jobs <- m:
			case <-ctx.Done():
				return ctx.Err()
			}
		case mgs.TypeInteractiveShell, mgs.TypeChannelClosed:
			select {
			case s.tasks <- m:
			case <-ctx.Done():
				return ctx.Err()
			}
		case mgs.TypeAgentJobReplyAck:
			ack, err := mgs.Decode[mgs.AgentJobReplyAck](m.Payload)
			s.acknowledged(ack.AcknowledgedMessageId, err)
		case mgs.TypeAgentTaskAcknowledge:
			ack, err := mgs.Decode[mgs.AgentTaskAcknowledge](m.Payload)
			s.acknowledged(ack.MessageId, err)
		default:
			s.unknown(m.Type)
		}
	}
}

// unknown is said once per type; how many types are remembered is bounded.
func (s *session) unknown(t string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.strange[t] && len(s.strange) < 32 {
		s.strange[t] = true
		s.log.Info("messages of this type are ignored", "type", t)
	}
}

func (s *session) acknowledged(messageID string, err error) {
	if err != nil {
		s.log.Warn("an acknowledgement is ignored", "error", err)
		return
	}
	id, err := uuid.Parse(messageID)
	if err != nil {
		s.log.Warn("an acknowledgement is ignored: it names no message", "error", err)
		return
	}
	if err := s.opt.Outbox.Done(id.String()); err != nil {
		s.log.Warn("an acknowledged reply stays in the outbox", "reply", id, "error", err)
	}
}

// handle takes jobs in order, so that a cancellation never overtakes its
// command. What has begun goes on when only the channel breaks.
func (s *session) handle(ctx, sctx context.Context) error {
	for {
		var m frame.Message
		select {
		case <-sctx.Done():
			return sctx.Err()
		case m = <-s.jobs:
		}
		if err := s.job(ctx, sctx, m); err != nil {
			return err
		}
	}
}

func (s *session) job(ctx, sctx context.Context, m frame.Message) error {
	v := Verdict{Code: mgs.AckParseError}
	j, err := mgs.Decode[mgs.AgentJob](m.Payload)
	if err != nil {
		s.log.Warn("a job is refused", "error", err)
	} else {
		v = s.opt.Accept(ctx, Delivery{JobID: j.JobId, Topic: j.Topic, Content: j.Content, Channel: ChannelMGS, Created: m.Created})
	}
	err = s.send(sctx, mgs.TypeAgentJobAck, uuid.New(), mgs.AgentJobAck{
		JobId: j.JobId, AcknowledgedMessageId: m.ID.String(), CreatedDate: mgs.FormatTime(m.Created),
		StatusCode: v.Code.Code, ErrorMessage: v.Code.Message,
	})
	if err != nil || v.Code != mgs.AckSuccessful || v.Receipt == "" {
		return err
	}
	return s.send(sctx, mgs.TypeAgentJobReply, uuid.New(), jobReply(outbox.Entry{JobID: j.JobId, Topic: v.Topic, Content: v.Receipt}))
}

func jobReply(e outbox.Entry) mgs.AgentJobReply {
	return mgs.AgentJobReply{SchemaVersion: 1, JobId: e.JobID, Content: e.Content, Topic: e.Topic}
}

// reply drains the outbox; the gateway's acknowledgements empty it.
func (s *session) reply(ctx context.Context) error {
	sent := map[string]int{} // transmissions of completions
	for {
		e, err := s.opt.Outbox.Next(ctx, ChannelMGS)
		if err != nil {
			return err
		}
		id, err := uuid.Parse(e.ID)
		if err != nil {
			s.log.Error("a reply cannot be sent: its id is none", "reply", e.ID, "error", err)
			_ = s.opt.Outbox.Done(e.ID)
			continue
		}
		if e.Topic == mgs.TypeAgentTaskComplete {
			err = s.completion(ctx, id, e, sent)
		} else {
			err = s.send(ctx, mgs.TypeAgentJobReply, id, jobReply(e))
		}
		if err != nil {
			return err
		}
	}
}

func (s *session) send(ctx context.Context, typ string, id uuid.UUID, payload any) error {
	p, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("encode %s: %w", typ, err)
	}
	m := frame.New(typ, s.opt.Clock.Now(), p)
	m.ID = id
	b, err := m.Marshal()
	if err != nil {
		s.log.Error("a message cannot be sent", "type", typ, "error", err)
		return nil // the channel is not to blame
	}
	wctx, done := context.WithTimeout(ctx, writeWithin)
	defer done()
	if err := s.conn.Write(wctx, websocket.MessageBinary, b); err != nil {
		return fmt.Errorf("send %s: %w", typ, err)
	}
	return nil
}

// ping finds out whether the gateway still answers, at once when the network
// changed.
func (s *session) ping(ctx context.Context) error {
	for {
		if err := s.opt.Reach.Wait(ctx, s.opt.Clock, pingEvery); err != nil {
			return err
		}
		pctx, done := context.WithTimeout(ctx, pongWithin)
		err := s.conn.Ping(pctx)
		done()
		if err != nil {
			return fmt.Errorf("the gateway did not answer a ping within %v: %w", pongWithin, err)
		}
	}
}
