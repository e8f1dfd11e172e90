package commands

import (
	"context"
	"fmt"
	"sort"
	"time"
	"unicode/utf8"

	"ssmagent/internal/wire/doc"
)

// Bounds of what is kept of a reply, in characters: those of the agents.
const (
	maxTrace  = 2500
	maxOutput = 2500
	maxStream = 24000
	maxName   = 256
)

// Reply merges what a node reports on a command. Replies may come in any
// order and more than once; a final state stays. It returns once the reply is
// durable. An error is ErrMessageID, ErrForeign, ErrUnknown, ErrReply (nothing
// was changed), or the store's.
func (s *Service) Reply(_ context.Context, node, message string, r doc.Reply) error {
	id, err := ownID(node, message)
	if err != nil {
		return err
	}
	if _, ok := outcome(r.DocumentStatus); !ok {
		return fmt.Errorf("%w: documentStatus %q is none", ErrReply, cut(string(r.DocumentStatus), 40))
	}
	if len(r.RuntimeStatus) == 0 && r.DocumentStatus == doc.InProgress && r.DocumentTraceOutput == "" && s.queue.delivered(message) {
		return nil // a receipt that says nothing new
	}
	var unknown []string
	var ended State
	sent := s.queue.sent(message)
	err = s.update(func(t *txn) error {
		ended = ""
		inv, c, err := t.invocation(id, node)
		if err != nil {
			return err
		}
		if inv == nil {
			return t.cancelReply(node, id)
		}
		before := inv.State
		unknown, err = t.reply(inv, c, r)
		if inv.State != before && inv.State.Final() {
			ended = inv.State
		}
		return err
	})
	if err == nil && ended != "" {
		s.ended(id, node, ended, sent)
	}
	if len(unknown) > 0 {
		s.log.Warn("commands: reply names steps that the document has not", "command", id, "node", node, "steps", len(unknown), "first", unknown[0])
	}
	return err
}

// ended tells the log what came of a command on a node, and how long that took
// from its delivery.
func (s *Service) ended(id, node string, state State, sent time.Time) {
	attrs := []any{"command", id, "node", node, "status", string(state)}
	if !sent.IsZero() {
		attrs = append(attrs, "since_delivery", s.clock.Now().Sub(sent))
	}
	s.log.Info("command ended", attrs...)
}

// cancelReply takes the receipt of a cancel message.
func (t *txn) cancelReply(node, id string) error { return t.ackCancel(node, id) }

// outcome is the state that a document status leads to ("" when it is not
// final), and whether it is one at all.
func outcome(s doc.Status) (State, bool) {
	switch s {
	case doc.NotStarted, doc.InProgress, doc.SuccessAndReboot, doc.PassedAndReboot:
		return "", true
	case doc.Success, doc.Skipped:
		return Success, true
	case doc.Failed:
		return Failed, true
	case doc.Cancelled:
		return Cancelled, true
	case doc.TimedOut:
		return ExecutionTimedOut, true
	}
	return "", false
}

func (t *txn) reply(inv *Invocation, c *Command, r doc.Reply) (unknown []string, err error) {
	to, _ := outcome(r.DocumentStatus)
	if inv.Imposed {
		if to == "" {
			err = t.received(inv, c)
		}
		return nil, err
	}
	if unknown, err = t.merge(inv, c, r.RuntimeStatus); err != nil {
		return nil, err
	}
	if r.DocumentTraceOutput != "" && (inv.Trace == "" || inv.Refused) {
		inv.Trace, inv.Refused = cut(r.DocumentTraceOutput, maxTrace), false
	}
	if inv.State.Final() {
		return unknown, nil
	}
	if err := t.started(inv, c); err != nil {
		return nil, err
	}
	if r.DocumentStatus == doc.SuccessAndReboot && inv.State == InProgress {
		inv.Deadline = executionDeadline(t.now, c) // its steps run again
	}
	if to != "" {
		t.become(inv, c, to)
		inv.Expect = min(len(c.Steps), total(r.AdditionalInfo.RuntimeStatusCounts))
	}
	return unknown, t.withdraw(inv)
}

// merge keeps the results of steps; a final one is not replaced.
func (t *txn) merge(inv *Invocation, c *Command, reported map[string]doc.StepStatus) (unknown []string, err error) {
	for name, st := range reported {
		i := c.step(name)
		if i < 0 {
			unknown = append(unknown, cut(name, 80))
			continue
		}
		key := stepKey(c.ID, inv.NodeID, i)
		old, ok, err := steps.Get(t.tx, key)
		if err != nil {
			return nil, err
		}
		if ok && finalStep(old.Status) {
			continue
		}
		if err := steps.Put(t.tx, key, stepResult(c.Steps[i], st)); err != nil {
			return nil, err
		}
	}
	sort.Strings(unknown)
	return unknown, nil
}

// step is the index of the step of that name, or -1. Schema 1.x reports under
// the plugin's name, which is the step's name there.
func (c *Command) step(name string) int {
	for i, s := range c.Steps {
		if s.Name == name {
			return i
		}
	}
	return -1
}

func finalStep(s doc.Status) bool {
	to, ok := outcome(s)
	return ok && to != ""
}

func stepResult(s Step, st doc.StepStatus) StepResult {
	r := StepResult{
		Name: s.Name, Action: cut(st.Name, maxName), Status: st.Status, Code: responseCode(st.Code),
		Output:         cut(st.Output, maxOutput),
		StandardOutput: cut(st.StandardOutput, maxStream),
		StandardError:  cut(st.StandardError, maxStream),
		Start:          parseTime(st.StartDateTime), End: parseTime(st.EndDateTime),
		S3Bucket: cut(st.OutputS3BucketName, maxName), S3KeyPrefix: cut(st.OutputS3KeyPrefix, 1024), StepDir: cut(st.StepName, maxName),
	}
	if _, ok := outcome(r.Status); !ok {
		r.Status = doc.InProgress
	}
	return r
}

// parseTime reads a reply's time; the zero time of a step that never started
// and nonsense are the zero time.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}
	}
	return t.UTC()
}

// cut returns the first n characters of s.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

func total(counts map[doc.Status]int) (n int) {
	for _, k := range counts {
		n += min(max(k, 0), 1<<16)
	}
	return n
}

// responseCode is an exit code in the API's 32 bits, with a sign: nodes with
// Windows send codes from 0x80000000 on as positive numbers.
func responseCode(code int64) int { return int(int32(code)) }
