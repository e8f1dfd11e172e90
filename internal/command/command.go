// Package command turns deliveries into jobs and jobs' results into replies,
// whichever channel brings the one and carries the other.
package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/job"
	"ssmagent/internal/record/audit"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/mgs"
)

// Delivery is a message that orders a command or a cancellation.
type Delivery struct {
	JobID   string // aws.ssm.<command>.<node>; the MessageId of the poll
	Topic   string
	Content string
	Channel string // job.ChannelMGS or job.ChannelMDS
	Created time.Time
}

// Verdict is what became of a Delivery. Whatever it promises is durable.
type Verdict struct {
	Code mgs.AckCode
	// Receipt is the content of a reply to send once, without waiting for
	// its acknowledgement; empty for none.
	Receipt string
	Topic   string // of the receipt
	// Unhandled says that the message itself is at fault and that no reply
	// about it can be made: the poll answers FailMessage.
	Unhandled bool
}

// Queue is where jobs go; *job.Queue.
type Queue interface {
	Submit(ctx context.Context, r job.Request) error
	Cancel(ctx context.Context, id string) (bool, error)
}

// Options of a Service. All but Store and Audit is needed.
type Options struct {
	Queue   Queue
	Replies *Replies
	Clock   clock.Clock
	Log     *slog.Logger
	Node    job.Node
	// Orchestration is the directory above the commands' own.
	Orchestration string
	Store         doc.ParameterStore
	Audit         *audit.Log
}

// Service accepts deliveries. Safe for concurrent use.
type Service struct{ opt Options }

// New returns a Service.
func New(o Options) *Service { return &Service{o} }

// Accept deals with one delivery and returns when the outcome is durable.
func (s *Service) Accept(ctx context.Context, d Delivery) Verdict {
	switch {
	case strings.HasPrefix(d.Topic, mgs.TopicSendCommand):
		return s.send(ctx, d)
	case strings.HasPrefix(d.Topic, mgs.TopicCancelCommand):
		return s.cancel(ctx, d)
	}
	s.opt.Log.Warn("a message of an unknown topic is refused", "topic", clip(d.Topic), "job", clip(d.JobID))
	return Verdict{Code: mgs.AckParseError, Unhandled: true}
}

func (s *Service) send(ctx context.Context, d Delivery) Verdict {
	id, err := doc.CommandID(d.JobID)
	if err != nil { // without an id there is nobody to reply to
		s.opt.Log.Warn("a command is refused", "error", err)
		return Verdict{Code: mgs.AckParseError, Unhandled: true}
	}
	r, err := s.request(ctx, id, d)
	if errors.Is(err, doc.ErrStore) && ctx.Err() != nil {
		return Verdict{Code: mgs.AckClosed} // the next agent asks
	}
	if err != nil {
		return s.refuse(d, mgs.AckParseError, err)
	}
	log := s.opt.Log.With("command", id)
	err = s.opt.Queue.Submit(ctx, r)
	switch {
	case err == nil:
		log.Info("command accepted", "document", r.DocumentName, "channel", d.Channel)
		s.opt.Audit.Post(audit.Event{Kind: audit.CommandAccepted, Command: id, Document: r.DocumentName, Node: s.opt.Node.InstanceID})
		return s.receipt(d, mgs.AckSuccessful, mgs.TopicSendCommand)
	case errors.Is(err, job.ErrDuplicate):
		log.Info("the command is known already", "channel", d.Channel)
		return s.receipt(d, mgs.AckDuplicate, mgs.TopicSendCommand)
	case errors.Is(err, job.ErrInvalid):
		return s.refuse(d, mgs.AckInvalidDocument, err)
	case errors.Is(err, job.ErrClosed) || ctx.Err() != nil:
		return Verdict{Code: mgs.AckClosed}
	}
	// A disk that takes nothing now may do so later: the one code that asks
	// for another delivery is that of a full buffer.
	log.Error("the command is not accepted now", "error", err)
	return Verdict{Code: mgs.AckBufferFull}
}

// request is the job that a delivery orders.
func (s *Service) request(ctx context.Context, id string, d Delivery) (job.Request, error) {
	c, err := doc.ParseSendCommand([]byte(d.Content))
	if err != nil {
		return job.Request{}, err
	}
	document, err := doc.Decode(c.DocumentContent)
	if err != nil {
		return job.Request{}, err
	}
	steps, err := document.Resolve(ctx, c.Parameters, doc.Options{Store: s.opt.Store})
	if err != nil {
		return job.Request{}, err
	}
	r := job.Request{
		ID: id, JobID: d.JobID, Channel: d.Channel, Created: d.Created.UTC(),
		DocumentName: c.DocumentName, Steps: steps,
		Dir:  filepath.Join(s.opt.Orchestration, id),
		Node: s.opt.Node,
	}
	if c.OutputS3BucketName != "" {
		r.S3Bucket = c.OutputS3BucketName
		r.S3KeyPrefix = c.CommandId + "/" + s.opt.Node.InstanceID
		if p := strings.Trim(c.OutputS3KeyPrefix, "/"); p != "" {
			r.S3KeyPrefix = p + "/" + r.S3KeyPrefix
		}
	}
	if on, err := strconv.ParseBool(c.CloudWatchOutputEnabled); err == nil && on {
		r.LogGroup = logGroup(c.CloudWatchLogGroupName, c.DocumentName)
	}
	return r, nil
}

// logGroup is the group that is asked for, else one for the document.
func logGroup(name, document string) string {
	if name != "" {
		return name
	}
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-/.#", r) {
			return r
		}
		return '.'
	}, "/aws/ssm/"+document)
}

// refuse reports a command that cannot be run as Failed.
func (s *Service) refuse(d Delivery, code mgs.AckCode, cause error) Verdict {
	s.opt.Log.Warn("a command is refused", "job", clip(d.JobID), "error", cause)
	id, _ := doc.CommandID(d.JobID) // one without an id was refused before
	s.opt.Audit.Post(audit.Event{Kind: audit.CommandRefused, Command: id, Node: s.opt.Node.InstanceID, Detail: cause.Error()})
	if err := s.opt.Replies.refusal(d, cause); err != nil {
		s.opt.Log.Error("the refusal cannot be kept; the command should be delivered again", "job", clip(d.JobID), "error", err)
		return Verdict{Code: mgs.AckBufferFull}
	}
	return Verdict{Code: code}
}

func (s *Service) cancel(ctx context.Context, d Delivery) Verdict {
	c, err := doc.ParseCancelCommand([]byte(d.Content))
	if err != nil {
		s.opt.Log.Warn("a cancellation is refused", "job", clip(d.JobID), "error", err)
		return Verdict{Code: mgs.AckParseError, Unhandled: true}
	}
	id, err := doc.CommandID(c.CancelMessageId)
	if err != nil {
		s.opt.Log.Warn("a cancellation is refused", "job", clip(d.JobID), "error", err)
		return Verdict{Code: mgs.AckParseError, Unhandled: true}
	}
	known, err := s.opt.Queue.Cancel(ctx, id)
	if err != nil {
		s.opt.Log.Error("the cancellation cannot be kept; it should be delivered again", "command", id, "error", err)
		return Verdict{Code: mgs.AckBufferFull}
	}
	if !known {
		s.opt.Log.Info("nothing to cancel: the command neither waits nor runs", "command", id)
	}
	return s.receipt(d, mgs.AckSuccessful, mgs.TopicCancelCommand)
}

func (s *Service) receipt(d Delivery, code mgs.AckCode, topic string) Verdict {
	text, err := s.opt.Replies.receipt(d)
	if err != nil { // the command counts, not its receipt
		s.opt.Log.Warn("make a receipt", "error", err)
	}
	return Verdict{Code: code, Receipt: text, Topic: topic}
}

// clip bounds text from outside in a log line.
func clip(s string) string {
	if len(s) > 200 {
		s = fmt.Sprintf("%s… (%d bytes)", s[:200], len(s))
	}
	return s
}
