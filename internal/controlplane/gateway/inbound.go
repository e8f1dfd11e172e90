package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"ssmagent/internal/controlplane/commands"
	"ssmagent/internal/controlplane/sessions"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// bufferFullRetry is when a job that found the agent's queue full is pushed
// again, unless one of the agent's other commands ends before.
const bufferFullRetry = 5 * time.Second

// accept deals with m beside the reader, so that many frames share a commit of
// the store; frames of one job one after the other, in their order.
func (c *channel) accept(ctx context.Context, m frame.Message) {
	key := lineOf(m)
	c.mu.Lock()
	defer c.mu.Unlock()
	if rest, busy := c.lines[key]; busy {
		c.lines[key] = append(rest, m)
		return
	}
	c.lines[key] = nil
	go c.work(ctx, key, m)
}

func (c *channel) work(ctx context.Context, key string, m frame.Message) {
	for {
		if err := c.handle(ctx, m); err != nil {
			c.log.Log(ctx, c.level(err), "gateway: message", "type", m.Type, "id", m.ID, "error", err)
		}
		<-c.room
		c.mu.Lock()
		rest := c.lines[key]
		if len(rest) == 0 {
			delete(c.lines, key)
			c.mu.Unlock()
			return
		}
		m, c.lines[key] = rest[0], rest[1:]
		c.mu.Unlock()
	}
}

// level is that of an error: an answer that cannot be given because the
// channel has ended is asked for again on the next.
func (c *channel) level(err error) slog.Level {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over && !commands.IsRefusal(err) {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// lineOf is the job or session that a frame is about, or its type.
func lineOf(m frame.Message) string {
	var p struct{ JobId, TaskId string }
	if json.Unmarshal(m.Payload, &p) != nil || p.JobId+p.TaskId == "" {
		return m.Type
	}
	return p.JobId + p.TaskId
}

func (c *channel) handle(ctx context.Context, m frame.Message) error {
	if !m.DigestOK { // no receiver checks it, and some senders err
		c.log.Debug("gateway: digest of another payload", "type", m.Type, "id", m.ID)
	}
	switch m.Type {
	case mgs.TypeAgentJobAck:
		return c.jobAck(ctx, m)
	case mgs.TypeAgentJobReply:
		return c.jobReply(ctx, m)
	case mgs.TypeAgentTaskComplete:
		return c.taskComplete(ctx, m)
	case mgs.TypeAgentTelemetry, mgs.TypeAgentUpdateResult, mgs.TypeAgentTaskAcknowledge:
		c.log.Debug("gateway: message taken", "type", m.Type)
		return nil
	}
	c.unknown(m.Type)
	return nil
}

// unknown is said once per type; how many are remembered is bounded.
func (c *channel) unknown(t string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.oddity) < 32 && !c.oddity[t] {
		c.oddity[t] = true
		c.log.Info("gateway: messages of this type are ignored", "type", t)
	}
}

// jobAck takes the verdict on a job.
func (c *channel) jobAck(ctx context.Context, m frame.Message) error {
	a, err := mgs.Decode[mgs.AgentJobAck](m.Payload)
	if err != nil {
		return fmt.Errorf("not the JSON of agent_job_ack: %w", err)
	}
	pushed := c.acknowledged(a.AcknowledgedMessageId)
	job := a.JobId
	if job == "" { // an agent that could not read the job may not know its id
		job = pushed
	}
	q := c.g.opt.Queue
	switch a.StatusCode {
	case mgs.AckSuccessful.Code, mgs.AckDuplicate.Code:
		return q.Ack(ctx, c.node, job)
	case mgs.AckBufferFull.Code, mgs.AckClosed.Code:
		// A processor that closes does so because its agent ends: the next
		// one takes the job.
		return q.Delay(ctx, c.node, job, bufferFullRetry)
	}
	return q.Fail(ctx, c.node, job, fmt.Sprintf("the agent refused the command: %s (%s)", clip(a.ErrorMessage), clip(a.StatusCode)))
}

// acknowledged forgets a frame and returns the message that it carried.
func (c *channel) acknowledged(id string) string {
	u, err := uuid.Parse(id)
	if err != nil {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	message := c.sent[u]
	delete(c.sent, u)
	return message
}

// jobReply keeps a result and then acknowledges it, at once: an agent that
// waits longer than a second sends it again. A reply that can never be taken
// is acknowledged too, or it would be sent for hours; one that is another
// node's is not, nor one that could not be stored.
func (c *channel) jobReply(ctx context.Context, m frame.Message) error {
	r, err := mgs.Decode[mgs.AgentJobReply](m.Payload)
	if err != nil {
		return fmt.Errorf("not the JSON of agent_job_reply: %w", err)
	}
	err = c.keep(ctx, r)
	if err != nil && (!commands.IsRefusal(err) || errors.Is(err, commands.ErrForeign)) {
		return err
	}
	ack := mgs.AgentJobReplyAck{JobId: r.JobId, AcknowledgedMessageId: m.ID.String()}
	return errors.Join(err, c.answer(ctx, mgs.TypeAgentJobReplyAck, ack))
}

func (c *channel) keep(ctx context.Context, r mgs.AgentJobReply) error {
	content, err := decodeReply(r.Content)
	if err != nil {
		return fmt.Errorf("%w: content of %s is not a reply's JSON: %w", commands.ErrReply, clip(r.JobId), err)
	}
	return c.g.opt.Queue.Reply(ctx, c.node, r.JobId, content)
}

// taskComplete keeps the end of a session and then acknowledges it, every copy
// of it. One of a session that is not known here is acknowledged too; one that
// is another node's is not, nor one that could not be stored.
func (c *channel) taskComplete(ctx context.Context, m frame.Message) error {
	t, err := mgs.Decode[mgs.AgentTaskComplete](m.Payload)
	if err != nil {
		return fmt.Errorf("not the JSON of agent_task_complete: %w", err)
	}
	c.log.Debug("gateway: session ended", "session", clip(t.TaskId), "status", clip(t.FinalTaskStatus))
	if c.g.opt.Sessions != nil {
		if err = c.g.opt.Sessions.TaskComplete(c.node, t); err != nil && !errors.Is(err, sessions.ErrUnknown) {
			return err
		}
	}
	return errors.Join(err, c.answer(ctx, mgs.TypeAgentTaskAcknowledge, mgs.AgentTaskAcknowledge{
		SchemaVersion: 1, MessageId: m.ID.String(), TaskId: t.TaskId, Topic: mgs.TypeAgentTaskComplete,
	}))
}
