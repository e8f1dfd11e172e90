package control

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"

	"ssmagent/internal/backoff"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/mds"
	"ssmagent/internal/wire/mgs"
)

// Caller makes calls of ec2messages.
type Caller interface {
	Call(ctx context.Context, op string, in, out any) error
}

// Timing of the poll.
const (
	quickPoll = time.Second      // an answer sooner than that was no long poll
	longPoll  = 10 * time.Second // an error later than that is an empty poll
	fullRetry = 10 * time.Second // between hand-overs to a full queue
	pollCap   = time.Minute
)

// poll asks for messages while ec2messages is the channel, and for a grace
// period after that.
func (c *Control) poll(ctx context.Context) {
	for ctx.Err() == nil {
		c.mu.Lock()
		on, change := c.channel == ChannelMDS, c.changed
		c.mu.Unlock()
		if on {
			c.pollWhileOn(ctx)
			continue
		}
		select {
		case <-ctx.Done():
		case <-change:
		}
	}
}

func (c *Control) pollWhileOn(ctx context.Context) {
	c.log.Info("polling for commands: the gateway's channel is not open")
	var off time.Time // when another channel took over
	for failures := 0; ctx.Err() == nil; {
		start := c.opt.Clock.Now()
		if c.Channel() == ChannelMDS {
			off = time.Time{}
		} else if off.IsZero() {
			off = start
		} else if start.Sub(off) >= pollingGrace {
			c.log.Info("polling for commands ends")
			return
		}
		news, err := c.pollOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		took := c.opt.Clock.Now().Sub(start)
		wait := time.Duration(0)
		if took < quickPoll && !news { // what brought a new command may bring the next
			wait = 2*time.Second + rand.N(500*time.Millisecond)
		}
		if err != nil && took < longPoll {
			c.log.Warn("poll for commands", "error", err)
			wait = max(wait, backoff.Policy{First: 2 * time.Second, Factor: 2, Cap: pollCap, Jitter: 0.2}.Delay(failures, nil))
			failures++
		} else {
			failures = 0
		}
		if c.opt.Reach.After(ctx, c.opt.Clock, wait, err) != nil {
			return
		}
	}
}

// pollOnce makes one long poll and deals with what it brought, in order. news
// says that there was something that had not been there before.
func (c *Control) pollOnce(ctx context.Context) (news bool, err error) {
	var out mds.GetMessagesOutput
	err = c.opt.Calls.Call(ctx, mds.OpGetMessages, mds.GetMessagesInput{
		Destination: c.opt.InstanceID, MessagesRequestId: uuid.NewString(),
		VisibilityTimeoutInSeconds: mds.VisibilityTimeoutSeconds,
	}, &out)
	if err != nil {
		return false, err
	}
	for _, m := range out.Messages {
		if m.Topic == "" || m.Destination == "" || m.MessageId == "" || m.CreatedDate == "" {
			c.log.Warn("a message is dropped: it lacks Topic, Destination, MessageId or CreatedDate")
			continue
		}
		if c.message(ctx, m) == mgs.AckSuccessful {
			news = true
		}
	}
	return news, nil
}

// message deals with one message and answers it.
func (c *Control) message(ctx context.Context, m mds.Message) mgs.AckCode {
	created, err := time.Parse(time.RFC3339, m.CreatedDate)
	if err != nil {
		created = c.opt.Clock.Now()
	}
	d := Delivery{JobID: m.MessageId, Topic: m.Topic, Content: m.Payload, Channel: ChannelMDS, Created: created}
	v := c.opt.Accept(ctx, d)
	for v.Code == mgs.AckBufferFull {
		if backoff.Wait(ctx, c.opt.Clock, fullRetry) != nil {
			return v.Code
		}
		v = c.opt.Accept(ctx, d)
	}
	switch {
	case v.Unhandled:
		c.call(ctx, mds.OpFailMessage, mds.FailMessageInput{FailureType: mds.FailureInternal, MessageId: m.MessageId})
	case v.Code == mgs.AckSuccessful, v.Code == mgs.AckDuplicate:
		if v.Receipt != "" {
			c.call(ctx, mds.OpSendReply, mds.SendReplyInput{MessageId: m.MessageId, Payload: v.Receipt, ReplyId: uuid.NewString()})
		}
		c.call(ctx, mds.OpAcknowledgeMessage, mds.AcknowledgeMessageInput{MessageId: m.MessageId})
	}
	// Otherwise the refusal lies in the outbox, and the message is neither
	// acknowledged nor failed.
	return v.Code
}

// call makes a call whose failure only means that the service will repeat.
func (c *Control) call(ctx context.Context, op string, in any) {
	if err := c.opt.Calls.Call(ctx, op, in, nil); err != nil && ctx.Err() == nil {
		c.log.Warn("answer a message", "error", err)
	}
}

// sendReplies sends what came by ec2messages back that way, whatever channel
// is in use by now.
func (c *Control) sendReplies(ctx context.Context) {
	for {
		e, err := c.opt.Outbox.Next(ctx, ChannelMDS)
		if err != nil {
			return
		}
		err = c.opt.Calls.Call(ctx, mds.OpSendReply, mds.SendReplyInput{MessageId: e.JobID, Payload: e.Content, ReplyId: e.ID}, nil)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
		case final(err):
			c.log.Error("a reply is lost: the service refuses it", "job", e.JobID, "error", err)
		default:
			c.log.Warn("a reply will be sent again", "job", e.JobID, "error", err)
			continue
		}
		if err := c.opt.Outbox.Done(e.ID); err != nil {
			c.log.Warn("a sent reply stays in the outbox", "reply", e.ID, "error", err)
		}
	}
}

// final says that sending the same again will be refused again.
func final(err error) bool {
	return slices.Contains([]string{"InvalidMessageIdException", "InvalidDestinationException",
		"UnsupportedMessageOperationException", "ValidationException"}, ssmclient.Code(err))
}
