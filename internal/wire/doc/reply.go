package doc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// MaxReply is the size beyond which agents drop a reply instead of sending it
// over the gateway, in bytes of its text inside a JSON string.
const MaxReply = 120000

// StepStatus is the result as a reply tells it.
func (r Result) StepStatus() StepStatus {
	s := StepStatus{
		Status:         r.Status,
		Code:           int64(r.ReplyCode()),
		Name:           r.Action,
		Output:         r.Output,
		StartDateTime:  wireTime(r.Start),
		EndDateTime:    wireTime(r.End),
		StandardOutput: r.StandardOutput,
		StandardError:  r.StandardError,
	}
	if r.Error != "" {
		s.Output = TruncateOutput(r.Error, "")
	}
	if r.S3Bucket != "" {
		s.OutputS3BucketName, s.OutputS3KeyPrefix = r.S3Bucket, r.S3KeyPrefix
		s.StepName = withoutColons(r.ID)
	}
	return s
}

// ReplyCode is the exit code as a reply tells it: a failure is never 0.
func (r Result) ReplyCode() int {
	if r.Status == Failed && r.Code == 0 {
		return 1
	}
	return r.Code
}

// NewReply is the last reply of a document: results are those of all its steps
// so far and status is what they add up to. Of several steps it tells the
// counts only: each was told by its own NewStepReply.
func NewReply(info AgentInfo, now time.Time, results []Result, status Status) Reply {
	r := newReply(info, now, status)
	r.AdditionalInfo.RuntimeStatusCounts = counts(results)
	r.RuntimeStatus = map[string]StepStatus{}
	if len(results) == 1 {
		r.RuntimeStatus[results[0].ID] = results[0].StepStatus()
	}
	return r
}

// NewStepReply tells the step just finished, while the document goes on.
// results are those known so far, last's included.
func NewStepReply(info AgentInfo, now time.Time, results []Result, last Result) Reply {
	r := newReply(info, now, InProgress)
	r.AdditionalInfo.RuntimeStatusCounts = counts(results)
	r.RuntimeStatus = map[string]StepStatus{last.ID: last.StepStatus()}
	return r
}

// NewDocumentReply speaks of the document alone: received (InProgress), or
// refused (Failed, with the reason in trace).
func NewDocumentReply(info AgentInfo, now time.Time, status Status, trace string) Reply {
	r := newReply(info, now, status)
	r.DocumentTraceOutput = trace
	return r
}

func newReply(info AgentInfo, now time.Time, status Status) Reply {
	return Reply{AdditionalInfo: AdditionalInfo{Agent: info, DateTime: wireTime(now)}, DocumentStatus: status}
}

func counts(results []Result) map[Status]int {
	byStep := map[string]Status{}
	for _, r := range results {
		byStep[r.ID] = r.Status
	}
	n := map[Status]int{}
	for _, s := range byStep {
		n[s]++
	}
	return n
}

func wireTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// Encode is the reply as JSON text. When that is more than limit bytes inside
// a JSON string (0: no limit), the streams are shortened until it fits, since
// a reply that says less is worth more than none.
func (r Reply) Encode(limit int) (string, error) {
	text, err := plain(r)
	if err != nil {
		return "", fmt.Errorf("encode reply: %w", err)
	}
	for keep := MaxStream / 2; limit > 0 && keep > 0; keep /= 2 {
		again, err := plain(text)
		if err != nil {
			return "", fmt.Errorf("encode reply: %w", err)
		}
		if len(again) <= limit {
			return text, nil
		}
		if text, err = plain(r.shortened(keep)); err != nil {
			return "", fmt.Errorf("encode reply: %w", err)
		}
	}
	return text, nil
}

func (r Reply) shortened(keep int) Reply {
	steps := make(map[string]StepStatus, len(r.RuntimeStatus))
	for id, s := range r.RuntimeStatus {
		for _, stream := range []*string{&s.StandardOutput, &s.StandardError} {
			if len(*stream) > keep {
				*stream = cut(strings.TrimSuffix(*stream, streamMarker), keep) + streamMarker
			}
		}
		steps[id] = s
	}
	r.RuntimeStatus = steps
	r.DocumentTraceOutput = cut(r.DocumentTraceOutput, keep)
	return r
}

// plain encodes without HTML escapes, which mean the same and take more room.
func plain(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}
