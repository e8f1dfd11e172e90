package command

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"ssmagent/internal/clock"
	"ssmagent/internal/job"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/mgs"
)

// Reply is a reply that must reach the service.
type Reply struct {
	// ID is the same whenever the same thing is reported again, so that a
	// repetition is known as one.
	ID      uuid.UUID
	JobID   string
	Topic   string
	Content string // doc.Reply
	Channel string // the one that delivered the command
	Created time.Time
}

// Replies makes replies of reports and puts them where they cannot get lost.
// It is the job.Sink of commands.
type Replies struct {
	Agent doc.AgentInfo
	Clock clock.Clock
	// Put returns once r is durable; a second r of the same ID changes nothing.
	Put func(ctx context.Context, r Reply) error
	// GatewayOpen is told in replies over ec2messages.
	GatewayOpen func() bool
}

var _ job.Sink = (*Replies)(nil)

// maxTrace bounds the reason of a refusal in bytes.
const maxTrace = 4000

// Report implements job.Sink.
func (p *Replies) Report(ctx context.Context, r job.Report) error {
	now := p.Clock.Now()
	var reply doc.Reply
	switch {
	case r.Result != nil:
		reply = doc.NewStepReply(p.Agent, now, r.Results, *r.Result)
	case r.Final:
		reply = doc.NewReply(p.Agent, now, r.Results, aggregate(r.Results))
	default:
		reply = doc.NewReply(p.Agent, now, r.Results, doc.SuccessAndReboot)
	}
	text, err := p.encode(reply, r.Request.Channel)
	if err != nil {
		return err
	}
	return p.put(ctx, r.Request.JobID, r.Request.Channel, "report "+strconv.Itoa(r.Seq), text)
}

func aggregate(results []doc.Result) doc.Status {
	statuses := make([]doc.Status, len(results))
	for i, r := range results {
		statuses[i] = r.Status
	}
	return doc.Aggregate(statuses)
}

func (p *Replies) put(ctx context.Context, jobID, channel, what, text string) error {
	err := p.Put(ctx, Reply{
		ID:    uuid.NewSHA1(uuid.NameSpaceURL, []byte("ssmagent:"+jobID+":"+what)),
		JobID: jobID, Topic: mgs.TopicSendCommand, Content: text, Channel: channel, Created: p.Clock.Now(),
	})
	if err != nil {
		return fmt.Errorf("keep the reply of %s: %w", clip(jobID), err)
	}
	return nil
}

// refusal reports that a command cannot be run, and why.
func (p *Replies) refusal(ctx context.Context, d Delivery, cause error) error {
	trace := cause.Error()
	if len(trace) > maxTrace {
		trace = trace[:maxTrace]
	}
	text, err := p.encode(doc.NewDocumentReply(p.Agent, p.Clock.Now(), doc.Failed, trace), d.Channel)
	if err != nil {
		return err
	}
	return p.put(ctx, d.JobID, d.Channel, "refusal", text)
}

// receipt is the InProgress reply that follows an acceptance.
func (p *Replies) receipt(d Delivery) (string, error) {
	return p.encode(doc.NewDocumentReply(p.Agent, p.Clock.Now(), doc.InProgress, ""), d.Channel)
}

func (p *Replies) encode(r doc.Reply, channel string) (string, error) {
	limit := mgs.MaxReplyContent
	if channel == job.ChannelMDS {
		open := p.GatewayOpen != nil && p.GatewayOpen()
		r.AdditionalInfo.AbleToOpenMGSConnection = &open
		limit = 0
	}
	return r.Encode(limit)
}
