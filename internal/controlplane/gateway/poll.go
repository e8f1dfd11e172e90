package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/commands"
	"ssmagent/internal/wire/mds"
	"ssmagent/internal/wire/mgs"
)

// Bounds of a poll.
const (
	holdPoll      = 15 * time.Second // an agent gives up after 20 s
	pollBatch     = 50               // a stock agent pauses 2 s after a quick poll
	maxVisibility = 12 * time.Hour
)

// Ops are the operations of ec2messages, for nodes.
func (g *Gateway) Ops() api.Ops {
	node := []api.Kind{api.Node}
	op := func(h api.Handler) api.Op { return api.Op{Allow: node, Handle: h} }
	return api.Ops{
		mds.TargetPrefix + "." + mds.OpGetMessages:        op(api.Lenient(g.getMessages)),
		mds.TargetPrefix + "." + mds.OpAcknowledgeMessage: op(api.Lenient(g.acknowledgeMessage)),
		mds.TargetPrefix + "." + mds.OpDeleteMessage:      op(api.Lenient(g.deleteMessage)),
		mds.TargetPrefix + "." + mds.OpFailMessage:        op(api.Lenient(g.failMessage)),
		mds.TargetPrefix + "." + mds.OpSendReply:          op(api.Lenient(g.sendReply)),
		mds.TargetPrefix + "." + mds.OpGetEndpoint:        op(api.Lenient(g.getEndpoint)),
	}
}

// getMessages holds the poll until there is something, at most holdPoll. A
// node whose control channel is up gets its jobs there.
func (g *Gateway) getMessages(ctx context.Context, c api.Caller, in mds.GetMessagesInput) (mds.GetMessagesOutput, error) {
	out := mds.GetMessagesOutput{Destination: in.Destination, MessagesRequestId: in.MessagesRequestId, Messages: []mds.Message{}}
	if e := destination(c, in.Destination); e != nil {
		return out, e
	}
	visible := time.Duration(in.VisibilityTimeoutInSeconds) * time.Second
	if visible <= 0 {
		visible = mds.VisibilityTimeoutSeconds * time.Second
	}
	lease := commands.Lease{Owner: new(byte), For: func(int) time.Duration { return min(visible, maxVisibility) }}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	hold := g.opt.Clock.NewTimer(holdPoll)
	defer hold.Stop()
	go cancelOn(ctx, cancel, hold.C())
	for ctx.Err() == nil {
		jobs, err := g.poll(ctx, in.Destination, lease)
		if err != nil {
			return out, err
		}
		for _, d := range jobs {
			out.Messages = append(out.Messages, mds.Message{
				Topic: d.Topic, Destination: in.Destination, MessageId: d.MessageID, CreatedDate: mgs.FormatTime(d.Created), Payload: d.Payload,
			})
		}
		if len(jobs) > 0 {
			break
		}
	}
	return out, nil
}

// poll waits for jobs while the node has no control channel, and for the end
// of the channel while it has one. It returns nothing when that changes or
// ctx ends.
func (g *Gateway) poll(ctx context.Context, node string, l commands.Lease) ([]commands.Delivery, error) {
	up, changed := g.hub.state(node)
	if up {
		select {
		case <-changed:
		case <-ctx.Done():
		}
		return nil, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go cancelOn(ctx, cancel, changed)
	jobs, err := g.opt.Queue.Next(ctx, node, pollBatch, l)
	if err != nil && errors.Is(err, ctx.Err()) {
		return nil, nil
	}
	return jobs, err
}

// cancelOn cancels when ch has or is closed, until ctx ends.
func cancelOn[T any](ctx context.Context, cancel context.CancelFunc, ch <-chan T) {
	select {
	case <-ch:
		cancel()
	case <-ctx.Done():
	}
}

func (g *Gateway) acknowledgeMessage(ctx context.Context, c api.Caller, in mds.AcknowledgeMessageInput) (mds.Empty, error) {
	return mds.Empty{}, answer(g.opt.Queue.Ack(ctx, c.InstanceID, in.MessageId))
}

// deleteMessage ends a message that has been dealt with; the updater does it
// after its last reply.
func (g *Gateway) deleteMessage(ctx context.Context, c api.Caller, in mds.DeleteMessageInput) (mds.Empty, error) {
	return mds.Empty{}, answer(g.opt.Queue.Ack(ctx, c.InstanceID, in.MessageId))
}

func (g *Gateway) failMessage(ctx context.Context, c api.Caller, in mds.FailMessageInput) (mds.Empty, error) {
	reason := fmt.Sprintf("the agent refused the message: %s", clip(in.FailureType))
	return mds.Empty{}, answer(g.opt.Queue.Fail(ctx, c.InstanceID, in.MessageId, reason))
}

func (g *Gateway) sendReply(ctx context.Context, c api.Caller, in mds.SendReplyInput) (mds.SendReplyOutput, error) {
	out := mds.SendReplyOutput{MessageId: in.MessageId, ReplyId: in.ReplyId, ReplyStatus: "Acknowledged"}
	r, err := decodeReply(in.Payload)
	if err != nil {
		return out, api.Errorf(api.CodeValidation, "Payload is not the JSON of a reply: %v", err)
	}
	return out, answer(g.opt.Queue.Reply(ctx, c.InstanceID, in.MessageId, r))
}

func (g *Gateway) getEndpoint(_ context.Context, c api.Caller, in mds.GetEndpointInput) (mds.GetEndpointOutput, error) {
	if e := destination(c, in.Destination); e != nil {
		return mds.GetEndpointOutput{}, e
	}
	if g.opt.Endpoint == nil {
		return mds.GetEndpointOutput{}, api.Errorf("UnsupportedMessageOperationException", "this control plane names no other endpoint: use the one this call went to")
	}
	return mds.GetEndpointOutput{Endpoint: g.opt.Endpoint()}, nil
}

// destination checks that a node speaks for itself.
func destination(c api.Caller, id string) *api.Error {
	switch {
	case !api.Matches("instanceId", id):
		return api.Errorf("InvalidDestinationException", "Destination is %q, needs the node's instance id", clip(id))
	case id != c.InstanceID:
		return api.Errorf("AuthorizationFailureException", "%s may not receive the messages of %s: a node's credentials are good for that node only", c, id)
	}
	return nil
}

// answer words an error of the queue as ec2messages does.
func answer(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, commands.ErrForeign):
		return api.Errorf("AuthorizationFailureException", "%v", err)
	case errors.Is(err, commands.ErrMessageID), errors.Is(err, commands.ErrUnknown):
		return api.Errorf("InvalidMessageIdException", "%v", err)
	case errors.Is(err, commands.ErrReply):
		return api.Errorf(api.CodeValidation, "%v", err)
	}
	return err
}
