package command

import (
	"context"
	"fmt"
	"strconv"

	"github.com/google/uuid"

	"ssmagent/internal/clock"
	"ssmagent/internal/job"
	"ssmagent/internal/outbox"
	"ssmagent/internal/record/audit"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/mgs"
)

// Outbox keeps replies until the service has them; *outbox.Outbox.
type Outbox interface {
	// Put returns once the entries are durable; one whose ID is there
	// already changes nothing.
	Put(entries ...outbox.Entry) error
}

// Replies makes replies of reports and puts them where they cannot get lost.
// It is the job.Sink of commands.
type Replies struct {
	Agent  doc.AgentInfo
	Clock  clock.Clock
	Outbox Outbox
	// GatewayOpen is told in replies over ec2messages.
	GatewayOpen func() bool
	// Audit gets the ends of commands; nil: nobody does.
	Audit *audit.Log
}

var _ job.Sink = (*Replies)(nil)

// maxTrace bounds the reason of a refusal in bytes.
const maxTrace = 4000

// Report implements job.Sink.
func (p *Replies) Report(_ context.Context, rs ...job.Report) error {
	entries := make([]outbox.Entry, len(rs))
	for i, r := range rs {
		text, err := p.encode(p.reply(r), r.Request.Channel)
		if err != nil {
			return err
		}
		entries[i] = p.entry(r.Request.JobID, r.Request.Channel, "report "+strconv.Itoa(r.Seq), text)
	}
	if err := p.put(entries...); err != nil {
		return err
	}
	p.audit(rs)
	return nil
}

// audit puts the ends of commands on the audit log. After a crash at the wrong
// moment one may stand there twice, none is missing.
func (p *Replies) audit(rs []job.Report) {
	for _, r := range rs {
		if !r.Final {
			continue
		}
		_ = p.Audit.Append(audit.Event{ // it has told the log
			Kind: audit.CommandFinished, Command: r.Request.ID, Document: r.Request.DocumentName, Node: r.Request.Node.InstanceID,
			Status:  string(doc.Overall(r.Results)),
			Traffic: audit.Traffic{Millis: p.Clock.Now().Sub(r.Request.Accepted).Milliseconds()},
		})
	}
}

func (p *Replies) reply(r job.Report) doc.Reply {
	now := p.Clock.Now()
	switch {
	case r.Result != nil:
		return doc.NewStepReply(p.Agent, now, r.Results, *r.Result)
	case r.Final:
		return doc.NewReply(p.Agent, now, r.Results, doc.Overall(r.Results))
	}
	return doc.NewReply(p.Agent, now, r.Results, doc.SuccessAndReboot)
}

// entry is a reply to keep. Its id is the same whenever the same thing is
// reported again, so that a repetition is known as one.
func (p *Replies) entry(jobID, channel, what, text string) outbox.Entry {
	return outbox.Entry{
		ID:    uuid.NewSHA1(uuid.NameSpaceURL, []byte("ssmagent:"+jobID+":"+what)).String(),
		JobID: jobID, Topic: mgs.TopicSendCommand, Content: text, Channel: channel, Created: p.Clock.Now(),
	}
}

func (p *Replies) put(entries ...outbox.Entry) error {
	if err := p.Outbox.Put(entries...); err != nil {
		return fmt.Errorf("keep the reply of %s: %w", clip(entries[0].JobID), err)
	}
	return nil
}

// refusal reports that a command cannot be run, and why.
func (p *Replies) refusal(d Delivery, cause error) error {
	trace := cause.Error()
	if len(trace) > maxTrace {
		trace = trace[:maxTrace]
	}
	text, err := p.encode(doc.NewDocumentReply(p.Agent, p.Clock.Now(), doc.Failed, trace), d.Channel)
	if err != nil {
		return err
	}
	return p.put(p.entry(d.JobID, d.Channel, "refusal", text))
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
