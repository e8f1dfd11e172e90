package command_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/command"
	"ssmagent/internal/job"
	"ssmagent/internal/outbox"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/mgs"
)

var now = time.Date(2025, 3, 14, 9, 30, 0, 410e6, time.UTC)

type queue struct {
	err       error
	got       []job.Request
	cancelled []string
	known     bool
}

func (q *queue) Submit(_ context.Context, r job.Request) error {
	q.got = append(q.got, r)
	return q.err
}

func (q *queue) Cancel(_ context.Context, id string) (bool, error) {
	q.cancelled = append(q.cancelled, id)
	return q.known, q.err
}

type box struct {
	err     error
	entries []outbox.Entry
}

func (b *box) Put(e ...outbox.Entry) error {
	if b.err == nil {
		b.entries = append(b.entries, e...)
	}
	return b.err
}

func service(q *queue, b *box) (*command.Service, *command.Replies) {
	r := &command.Replies{Agent: doc.AgentInfo{Lang: "en-US", Name: "amazon-ssm-agent", OS: "linux", OSVer: "1", Version: "3.3.0.0"}, Clock: clock.NewFake(now), Outbox: b}
	return command.New(command.Options{Queue: q, Replies: r, Clock: r.Clock, Log: slog.New(slog.DiscardHandler), Store: store{},
		Node: job.Node{InstanceID: "mi-1", PlatformType: "linux"}, Orchestration: "/data/orchestration"}), r
}

const (
	id      = "9e107d9d-372b-4a5c-8f0a-1b2c3d4e5f60"
	jobID   = "aws.ssm." + id + ".mi-0a1b2c3d4e5f60718"
	content = `{"CommandId":"` + id + `","DocumentName":"AWS-RunShellScript","DocumentContent":{"schemaVersion":"2.2","parameters":{"commands":{"type":"StringList"}},
	"mainSteps":[{"action":"aws:runShellScript","name":"stepOne","inputs":{"runCommand":"{{ commands }}"}}]},"Parameters":{"commands":["echo hello"]},
	"OutputS3BucketName":"results","OutputS3KeyPrefix":"lab/out","CloudWatchLogGroupName":"","CloudWatchOutputEnabled":"false"}`
	receipt = `{"additionalInfo":{"agent":{"lang":"en-US","name":"amazon-ssm-agent","os":"linux","osver":"1","ver":"3.3.0.0"},"dateTime":"2025-03-14T09:30:00.410Z","runId":"","runtimeStatusCounts":null},"documentStatus":"InProgress","documentTraceOutput":"","runtimeStatus":null}`
)

func TestAccept(t *testing.T) {
	t.Parallel()
	const send, cancel = "aws.ssm.sendCommand.eu.west.1.1", "aws.ssm.cancelCommand.eu.west.1.1"
	full := errors.New("no space left on device")
	for _, tc := range []struct {
		name, job, topic, content string
		queue                     error
		code                      mgs.AckCode
		receipt, failed, fail     bool
	}{
		{"accepted", jobID, send, content, nil, mgs.AckSuccessful, true, false, false},
		{"duplicate", jobID, send, content, job.ErrDuplicate, mgs.AckDuplicate, true, false, false},
		{"full", jobID, send, content, job.ErrFull, mgs.AckBufferFull, false, false, false},
		{"stopping", jobID, send, content, job.ErrClosed, mgs.AckClosed, false, false, false},
		{"disk full", jobID, send, content, full, mgs.AckBufferFull, false, false, false},
		{"invalid", jobID, send, content, fmt.Errorf("%w: no", job.ErrInvalid), mgs.AckInvalidDocument, false, true, false},
		{"no JSON", jobID, send, "{", nil, mgs.AckParseError, false, true, false},
		{"no document", jobID, send, `{"CommandId":"` + id + `"}`, nil, mgs.AckParseError, false, true, false},
		{"unknown schema", jobID, send, strings.Replace(content, `"2.2"`, `"3.7"`, 1), nil, mgs.AckParseError, false, true, false},
		{"boolean that is none", jobID, send, strings.Replace(content, `"false"`, `false`, 1), nil, mgs.AckParseError, false, true, false},
		{"step name that climbs", jobID, send, strings.Replace(content, "stepOne", "../x", 1), nil, mgs.AckParseError, false, true, false},
		{"step name of 300", jobID, send, strings.Replace(content, "stepOne", strings.Repeat("n", 300), 1), nil, mgs.AckParseError, false, true, false},
		{"step name with NUL", jobID, send, strings.Replace(content, "stepOne", `a\u0000b`, 1), nil, mgs.AckParseError, false, true, false},
		{"step named as a device of Windows", jobID, send, strings.Replace(content, "stepOne", "CON", 1), nil, mgs.AckSuccessful, true, false, false},
		{"nesting of 10,000", jobID, send, strings.Replace(content, `"{{ commands }}"`, strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000), 1), nil, mgs.AckParseError, false, true, false},
		{"5 MB of parameters", jobID, send, strings.Replace(content, "echo hello", strings.Repeat("x", 5<<20), 1), nil, mgs.AckParseError, false, true, false},
		{"job id of 300", "aws.ssm." + strings.Repeat("c", 300) + ".mi-1", send, content, nil, mgs.AckParseError, false, false, true},
		{"job id with NUL", "aws.ssm.a\x00b.mi-1", send, content, nil, mgs.AckParseError, false, false, true},
		{"job id that climbs", "aws.ssm.../../x.mi-1", send, content, nil, mgs.AckParseError, false, false, true},
		{"no job id", "", send, content, nil, mgs.AckParseError, false, false, true},
		{"10 MB", jobID, send, strings.Repeat(" ", 10<<20) + content, nil, mgs.AckParseError, false, true, false},
		{"cancel", "aws.ssm.c.mi-1", cancel, `{"CancelMessageId":"` + jobID + `"}`, nil, mgs.AckSuccessful, true, false, false},
		{"cancel without disk", "aws.ssm.c.mi-1", cancel, `{"CancelMessageId":"` + jobID + `"}`, full, mgs.AckBufferFull, false, false, false},
		{"cancel of nothing", "aws.ssm.c.mi-1", cancel, `{}`, nil, mgs.AckParseError, false, false, true},
		{"unknown topic", jobID, "aws.ssm.other", content, nil, mgs.AckParseError, false, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			q, b := &queue{err: tc.queue}, &box{}
			s, _ := service(q, b)
			v := s.Accept(t.Context(), command.Delivery{JobID: tc.job, Topic: tc.topic, Content: tc.content, Channel: job.ChannelMGS, Created: now})
			if v.Code != tc.code || v.Unhandled != tc.fail || (v.Receipt != "") != tc.receipt {
				t.Errorf("%+v", v)
			}
			if tc.receipt && v.Receipt != receipt {
				t.Errorf("receipt %s", v.Receipt)
			}
			if (len(b.entries) == 1) != tc.failed {
				t.Fatalf("%d replies", len(b.entries))
			}
			if tc.failed && (!strings.Contains(b.entries[0].Content, `"documentStatus":"Failed","documentTraceOutput":"`) ||
				strings.Contains(b.entries[0].Content, `"documentTraceOutput":""`) || len(b.entries[0].Content) > 8000) {
				t.Errorf("%.900s", b.entries[0].Content)
			}
		})
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	q := &queue{}
	s, _ := service(q, &box{})
	s.Accept(t.Context(), command.Delivery{JobID: jobID, Topic: mgs.TopicSendCommand, Content: content, Channel: job.ChannelMDS, Created: now})
	r := q.got[0]
	if r.ID != id || r.JobID != jobID || r.Channel != job.ChannelMDS || r.Dir != "/data/orchestration/"+id ||
		r.S3Bucket != "results" || r.S3KeyPrefix != "lab/out/"+id+"/mi-1" || len(r.Steps) != 1 || r.Steps[0].ID != "stepOne" {
		t.Errorf("%+v", r)
	}
	q.known = true
	s.Accept(t.Context(), command.Delivery{JobID: "aws.ssm.c.mi-1", Topic: mgs.TopicCancelCommand, Content: `{"CancelMessageId":"` + jobID + `"}`})
	if len(q.cancelled) != 1 || q.cancelled[0] != id {
		t.Errorf("cancelled %q", q.cancelled)
	}
}

// store is a Parameter Store that has one parameter, and is silent about another.
type store struct{}

func (store) GetParameters(ctx context.Context, names []string) ([]doc.StoreParameter, error) {
	if names[0] == "silence" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return []doc.StoreParameter{{Name: "motd", Selector: ":prod", Type: "String", Value: "hello"}}, nil
}

// TestReferences: plain parameters are part of the job, secrets stay references.
func TestReferences(t *testing.T) {
	t.Parallel()
	accept := func(ctx context.Context, line string) (command.Verdict, *queue, *box) {
		q, b := &queue{}, &box{}
		s, _ := service(q, b)
		return s.Accept(ctx, command.Delivery{JobID: jobID, Topic: mgs.TopicSendCommand, Content: strings.Replace(content, "echo hello", line, 1), Channel: job.ChannelMGS, Created: now}), q, b
	}
	v, q, _ := accept(t.Context(), "say {{ssm:motd:prod}} {{ssm-secure:key}}")
	if v.Code != mgs.AckSuccessful || fmt.Sprint(q.got[0].Steps[0].Inputs) != "map[runCommand:[say hello {{ssm-secure:key}}]]" {
		t.Errorf("%+v %+v", v, q.got)
	}
	v, q, b := accept(t.Context(), "{{ssm:other}}")
	if v.Code != mgs.AckParseError || len(q.got) > 0 || len(b.entries) != 1 || !strings.Contains(b.entries[0].Content, "other: no such parameter") {
		t.Errorf("%+v %+v %+v", v, q.got, b.entries)
	}
	// An agent that is told to stop leaves the command to the next one.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v, q, b := accept(ctx, "{{ssm:silence}}"); v.Code != mgs.AckClosed || len(q.got)+len(b.entries) > 0 {
		t.Errorf("%+v %+v %+v", v, q.got, b.entries)
	}
}

// TestRefusalThatCannotBeKept must ask for another delivery.
func TestRefusalThatCannotBeKept(t *testing.T) {
	t.Parallel()
	s, _ := service(&queue{}, &box{err: errors.New("disk full")})
	if v := s.Accept(t.Context(), command.Delivery{JobID: jobID, Topic: mgs.TopicSendCommand, Content: "{"}); v.Code != mgs.AckBufferFull {
		t.Errorf("%+v", v)
	}
}

func TestReports(t *testing.T) {
	t.Parallel()
	b := &box{}
	_, p := service(&queue{}, b)
	p.GatewayOpen = func() bool { return true }
	one := doc.Result{ID: "one", Action: "aws:runShellScript", Status: doc.Success, StandardOutput: strings.Repeat("\x01", 24000), StandardError: strings.Repeat("\x02", 24000), Start: now, End: now}
	two := doc.Result{ID: "two", Status: doc.Failed, Start: now, End: now}
	both := []doc.Result{one, two}
	mgsJob, mdsJob := job.Request{JobID: jobID, Channel: job.ChannelMGS}, job.Request{JobID: jobID, Channel: job.ChannelMDS}
	for _, tc := range []struct {
		name   string
		r      job.Report
		status doc.Status
		steps  int
		counts int
	}{
		{"step", job.Report{Request: mgsJob, Result: &one, Results: both[:1], Seq: 0}, doc.InProgress, 1, 1},
		{"same step again", job.Report{Request: mgsJob, Result: &one, Results: both[:1], Seq: 0}, doc.InProgress, 1, 1},
		{"end of two", job.Report{Request: mgsJob, Results: both, Final: true, Seq: 9}, doc.Failed, 0, 2},
		{"end of one", job.Report{Request: mgsJob, Results: both[:1], Final: true, Seq: 11}, doc.Success, 1, 1},
		{"reboot", job.Report{Request: mgsJob, Results: both[:1], Seq: 13}, doc.SuccessAndReboot, 1, 1},
		{"over ec2messages", job.Report{Request: mdsJob, Results: both, Final: true, Seq: 15}, doc.Failed, 0, 2},
	} {
		if err := p.Report(t.Context(), tc.r); err != nil {
			t.Fatal(err)
		}
		e := b.entries[len(b.entries)-1]
		var got doc.Reply
		if err := json.Unmarshal([]byte(e.Content), &got); err != nil {
			t.Fatal(err)
		}
		if got.DocumentStatus != tc.status || len(got.RuntimeStatus) != tc.steps || len(got.AdditionalInfo.RuntimeStatusCounts) != tc.counts {
			t.Errorf("%s: %+v", tc.name, got.AdditionalInfo)
		}
		if able := got.AdditionalInfo.AbleToOpenMGSConnection; (able != nil) != (tc.r.Request.Channel == job.ChannelMDS) || able != nil && !*able {
			t.Errorf("%s: able %v", tc.name, able)
		}
		if len(e.Content) > mgs.MaxReplyContent || e.Channel != tc.r.Request.Channel || e.JobID != jobID || e.Topic != mgs.TopicSendCommand {
			t.Errorf("%s: %d bytes, %q %q %q", tc.name, len(e.Content), e.Channel, e.JobID, e.Topic)
		}
	}
	ids := map[string]int{}
	for _, e := range b.entries {
		ids[e.ID]++
	}
	if len(ids) != 5 || b.entries[0].ID != b.entries[1].ID {
		t.Errorf("ids %v: a repeated report has the same, others have not", ids)
	}
}

func FuzzAccept(f *testing.F) {
	f.Add(jobID, mgs.TopicSendCommand, content)
	f.Add(jobID, mgs.TopicCancelCommand, `{"CancelMessageId":"`+jobID+`"}`)
	f.Fuzz(func(t *testing.T, j, topic, content string) {
		q := &queue{}
		s, _ := service(q, &box{})
		v := s.Accept(t.Context(), command.Delivery{JobID: j, Topic: topic, Content: content})
		if v.Code == (mgs.AckCode{}) {
			t.Fatal("no code")
		}
		for _, r := range q.got {
			if !strings.HasPrefix(r.Dir, "/data/orchestration/") || strings.Contains(r.Dir, "..") {
				t.Fatalf("directory %q", r.Dir)
			}
		}
	})
}
