package commands

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/ssm"
)

// stragglers is how long the last reply of a document may overtake those of
// its steps; a step that is counted but not told yet shows as going on.
const stragglers = 5 * time.Second

// maxStderr is how much of standard error GetCommandInvocation shows; all
// that the agent sent is kept.
const maxStderr = 8000

// GetCommandInvocation implements the operation: one step on one node.
func (s *Service) GetCommandInvocation(_ context.Context, _ api.Caller, in ssm.GetCommandInvocationInput) (out ssm.GetCommandInvocationOutput, err error) {
	err = s.db.View(func(tx *store.Tx) error {
		c, ok, err := Commands.Get(tx, in.CommandId)
		if err != nil {
			return err
		}
		inv, sent, err := Invocations.Get(tx, invocationKey(in.CommandId, in.InstanceId))
		if err != nil {
			return err
		}
		if !ok || !sent {
			return api.Errorf("InvocationDoesNotExist", "no command %s was sent to node %s", cut(in.CommandId, 40), in.InstanceId)
		}
		i, refusal := c.pick(in.PluginName)
		if refusal != nil {
			return refusal
		}
		r, err := s.result(tx, c, inv, i)
		if err != nil {
			return err
		}
		out = s.detail(c, inv, r)
		return nil
	})
	return out, err
}

// pick is the index of the step asked for.
func (c Command) pick(name string) (int, *api.Error) {
	names := make([]string, len(c.Steps))
	for i, s := range c.Steps {
		names[i] = strconv.Quote(s.Name)
	}
	i := c.step(name)
	switch {
	case i >= 0:
		return i, nil
	case name == "" && len(c.Steps) == 1:
		return 0, nil
	case name == "":
		return 0, api.Errorf("InvalidPluginName", "the document has %d steps: name one of %s in PluginName", len(c.Steps), strings.Join(names, ", "))
	}
	return 0, api.Errorf("InvalidPluginName", "the document has no step %q: PluginName must be one of %s", cut(name, 64), strings.Join(names, ", "))
}

// shown is a step as operators see it: the node's word when it is final or
// the invocation goes on, else what became of the invocation.
type shown struct {
	StepResult
	status  string
	details string
	done    bool // the step's own result is final
}

func (s *Service) result(tx *store.Tx, c Command, inv Invocation, i int) (shown, error) {
	r, reported, err := steps.Get(tx, stepKey(c.ID, inv.NodeID, i))
	if err != nil {
		return shown{}, err
	}
	if !reported {
		r = StepResult{Code: -1}
	}
	r.Name, r.Action = c.Steps[i].Name, c.Steps[i].Action
	v := shown{StepResult: r, status: inv.State.Status(), details: string(inv.State)}
	to, known := outcome(r.Status)
	switch {
	case reported && known && to != "":
		v.status, v.details, v.done = to.Status(), string(to), true
		if r.Status == doc.Skipped {
			v.details = string(doc.Skipped)
		}
	case !inv.State.Final() && reported && r.Status != doc.NotStarted:
		v.status, v.details = string(InProgress), string(InProgress)
	case inv.State == InProgress && len(c.Steps) > 1:
		v.status, v.details = string(Pending), string(Pending)
	}
	if !v.done {
		v.Code = -1
		late, err := s.late(tx, c, inv)
		if err != nil {
			return shown{}, err
		}
		if late {
			v.status, v.details = string(InProgress), string(InProgress)
		}
	}
	return v, nil
}

// late says that results of steps are still to come though the document's
// last reply is there.
func (s *Service) late(tx *store.Tx, c Command, inv Invocation) (bool, error) {
	if inv.Imposed || !inv.State.Final() || inv.Expect == 0 || s.clock.Now().Sub(inv.Finished) > stragglers {
		return false, nil
	}
	told := 0
	for i := range c.Steps {
		r, ok, err := steps.Get(tx, stepKey(c.ID, inv.NodeID, i))
		if err != nil {
			return false, err
		}
		if ok && finalStep(r.Status) {
			told++
		}
	}
	return told < inv.Expect, nil
}

func (s *Service) detail(c Command, inv Invocation, r shown) ssm.GetCommandInvocationOutput {
	out := ssm.GetCommandInvocationOutput{
		CommandId: c.ID, InstanceId: inv.NodeID, Comment: c.Comment, DocumentName: c.DocumentName, DocumentVersion: c.DocumentVersion,
		PluginName: r.Name, ResponseCode: r.Code, Status: r.status, StatusDetails: r.details,
		ExecutionStartDateTime: stamp(r.Start), CloudWatchOutputConfig: c.cloudWatch(),
	}
	out.StandardOutputUrl, out.StandardErrorUrl = s.urls(r.StepResult)
	if !r.done {
		return out
	}
	out.ExecutionEndDateTime = stamp(r.End)
	if !r.Start.IsZero() && !r.End.Before(r.Start) {
		out.ExecutionElapsedTime = duration(r.End.Sub(r.Start))
	}
	out.StandardOutputContent = cut(r.StandardOutput, maxStream)
	out.StandardErrorContent = cut(r.StandardError, maxStderr)
	return out
}

func (c Command) cloudWatch() *ssm.CloudWatchOutputConfig {
	if c.CloudWatch == nil {
		return &ssm.CloudWatchOutputConfig{}
	}
	return c.CloudWatch
}

// invocation is an invocation as lists show it.
func (s *Service) invocation(tx *store.Tx, c Command, inv Invocation, details bool) (ssm.CommandInvocation, error) {
	w := ssm.CommandInvocation{
		CommandId: c.ID, InstanceId: inv.NodeID, InstanceName: inv.NodeName, Comment: c.Comment,
		DocumentName: c.DocumentName, DocumentVersion: c.DocumentVersion, RequestedDateTime: ssm.Time{Time: inv.Requested},
		Status: inv.State.Status(), StatusDetails: string(inv.State), TraceOutput: inv.Trace,
		CommandPlugins: []ssm.CommandPlugin{}, CloudWatchOutputConfig: c.cloudWatch(),
	}
	if !details && len(c.Steps) != 1 {
		return w, nil
	}
	for i := range c.Steps {
		r, err := s.result(tx, c, inv, i)
		if err != nil {
			return w, err
		}
		if len(c.Steps) == 1 {
			w.StandardOutputUrl, w.StandardErrorUrl = s.urls(r.StepResult)
		}
		if details {
			w.CommandPlugins = append(w.CommandPlugins, s.plugin(c, r))
		}
	}
	return w, nil
}

func (s *Service) plugin(c Command, r shown) ssm.CommandPlugin {
	p := ssm.CommandPlugin{Name: r.Name, Status: pluginStatus(r.status), StatusDetails: r.details, ResponseCode: r.Code}
	if r.done {
		p.Output = r.Output
	}
	if !r.Start.IsZero() {
		p.ResponseStartDateTime = &ssm.Time{Time: r.Start}
	}
	if r.done && !r.End.IsZero() {
		p.ResponseFinishDateTime = &ssm.Time{Time: r.End}
	}
	p.OutputS3BucketName, p.OutputS3KeyPrefix = c.S3Bucket, c.S3KeyPrefix
	if r.S3Bucket != "" {
		p.OutputS3BucketName, p.OutputS3KeyPrefix, p.OutputS3Region = r.S3Bucket, r.S3KeyPrefix, s.region
	}
	p.StandardOutputUrl, p.StandardErrorUrl = s.urls(r.StepResult)
	return p
}

// pluginStatus maps to the enumeration of steps, which is the shortest.
func pluginStatus(status string) string {
	switch status {
	case string(Delayed):
		return string(Pending)
	case string(Cancelling):
		return string(InProgress)
	}
	return status
}

// urls are where the whole output lies, "" without a bucket.
func (s *Service) urls(r StepResult) (stdout, stderr string) {
	if r.S3Bucket == "" {
		return "", ""
	}
	base := "https://s3." + s.region + ".amazonaws.com/" + r.S3Bucket
	for _, part := range []string{r.S3KeyPrefix, r.StepDir} {
		if part = strings.Trim(part, "/"); part != "" {
			base += "/" + part
		}
	}
	return base + "/stdout", base + "/stderr"
}

// stamp is a time in ISO 8601, "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// duration is d in ISO 8601: PT1H2M3.456S.
func duration(d time.Duration) string {
	d = d.Round(time.Millisecond)
	out := "PT"
	if h := d / time.Hour; h > 0 {
		out += fmt.Sprintf("%dH", h)
	}
	if m := d % time.Hour / time.Minute; m > 0 {
		out += fmt.Sprintf("%dM", m)
	}
	s := d % time.Minute
	if s > 0 || out == "PT" {
		out += strconv.FormatFloat(s.Seconds(), 'f', -1, 64) + "S"
	}
	return out
}
