package commands

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/ssm"
)

// commandIDs lists with the page size, all pages.
func (b *bench) commandIDs(in ssm.ListCommandsInput) (ids []string) {
	b.t.Helper()
	for {
		out, err := b.ListCommands(b.t.Context(), api.Caller{}, in)
		if err != nil {
			b.t.Fatal(err)
		}
		if in.MaxResults > 0 && len(out.Commands) > in.MaxResults {
			b.t.Fatalf("a page has %d commands, asked for %d", len(out.Commands), in.MaxResults)
		}
		for _, c := range out.Commands {
			ids = append(ids, c.CommandId)
		}
		if in.NextToken = out.NextToken; in.NextToken == "" {
			return ids
		}
	}
}

// pairs lists invocations with the page size, all pages, as command/node.
func (b *bench) pairs(in ssm.ListCommandInvocationsInput) (ids []string) {
	b.t.Helper()
	for {
		out, err := b.ListCommandInvocations(b.t.Context(), api.Caller{}, in)
		if err != nil {
			b.t.Fatal(err)
		}
		if in.MaxResults > 0 && len(out.CommandInvocations) > in.MaxResults {
			b.t.Fatalf("a page has %d invocations, asked for %d", len(out.CommandInvocations), in.MaxResults)
		}
		for _, c := range out.CommandInvocations {
			ids = append(ids, invocationKey(c.CommandId, c.InstanceId))
		}
		if in.NextToken = out.NextToken; in.NextToken == "" {
			return ids
		}
	}
}

// history is five commands a minute apart: to node 0 (Success), to nodes 0 and
// 1 (InProgress), document Two to all three (DeliveryTimedOut), to node 2
// (Pending), to node 1 (Cancelled). Newest last.
func history(b *bench) (ids []string) {
	gone := toAll("Two")
	gone.TimeoutSeconds = 30
	running := to(0, 1)
	running.Parameters["executionTimeout"] = []string{"3600"}
	for i, in := range []ssm.SendCommandInput{to(0), running, gone, to(2), to(1)} {
		id := b.send(in)
		ids = append(ids, id)
		switch i {
		case 0:
			b.finish(0, id, doc.Success)
		case 1:
			b.deliver(0)
		case 4:
			b.cancelAll(id)
		}
		b.pass(time.Minute)
	}
	return ids
}

func TestListCommands(t *testing.T) {
	t.Parallel()
	b := newBench(t, 3)
	h := history(b)
	at := func(minutes int) string {
		return start.Add(time.Duration(minutes) * time.Minute).Format(time.RFC3339Nano)
	}
	f := func(key, value string) ssm.CommandFilter { return ssm.CommandFilter{Key: key, Value: value} }
	for _, tc := range []struct {
		name string
		in   ssm.ListCommandsInput
		want []int // indices of history
	}{
		{"all", ssm.ListCommandsInput{}, []int{4, 3, 2, 1, 0}},
		{"one", ssm.ListCommandsInput{CommandId: h[1]}, []int{1}},
		{"of a node", ssm.ListCommandsInput{InstanceId: nodeID(1)}, []int{4, 2, 1}},
		{"one of a node", ssm.ListCommandsInput{InstanceId: nodeID(1), CommandId: h[1]}, []int{1}},
		{"one of another node", ssm.ListCommandsInput{InstanceId: nodeID(1), CommandId: h[0]}, nil},
		{"unknown node", ssm.ListCommandsInput{InstanceId: nodeID(9)}, nil},
		{"after", ssm.ListCommandsInput{Filters: []ssm.CommandFilter{f("InvokedAfter", at(2))}}, []int{4, 3, 2}},
		{"before", ssm.ListCommandsInput{Filters: []ssm.CommandFilter{f("InvokedBefore", at(2))}}, []int{1, 0}},
		{"between", ssm.ListCommandsInput{Filters: []ssm.CommandFilter{f("InvokedAfter", at(1)), f("InvokedBefore", at(3))}}, []int{2, 1}},
		{"status", ssm.ListCommandsInput{Filters: []ssm.CommandFilter{f("Status", "Success")}}, []int{0}},
		{"timed out", ssm.ListCommandsInput{Filters: []ssm.CommandFilter{f("Status", "TimedOut")}}, []int{2}},
		{"timed out in detail", ssm.ListCommandsInput{Filters: []ssm.CommandFilter{f("Status", "DeliveryTimedOut")}}, []int{2}},
		{"timed out otherwise", ssm.ListCommandsInput{Filters: []ssm.CommandFilter{f("Status", "ExecutionTimedOut")}}, nil},
		{"executing", ssm.ListCommandsInput{Filters: []ssm.CommandFilter{f("ExecutionStage", "Executing")}}, []int{3, 1}},
		{"complete", ssm.ListCommandsInput{Filters: []ssm.CommandFilter{f("ExecutionStage", "Complete")}}, []int{4, 2, 0}},
		{"document", ssm.ListCommandsInput{Filters: []ssm.CommandFilter{f("DocumentName", "Two")}}, []int{2}},
		{"two filters", ssm.ListCommandsInput{InstanceId: nodeID(0), Filters: []ssm.CommandFilter{f("DocumentName", "One"), f("Status", "InProgress")}}, []int{1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var want []string
			for _, i := range tc.want {
				want = append(want, h[i])
			}
			for _, size := range []int{0, 1, 2, 50} {
				tc.in.MaxResults = size
				if got := b.commandIDs(tc.in); !slices.Equal(got, want) {
					t.Errorf("page size %d: %v, want %v", size, got, want)
				}
			}
		})
	}
}

func TestListInvocations(t *testing.T) {
	t.Parallel()
	b := newBench(t, 3)
	h := history(b)
	f := func(key, value string) []ssm.CommandFilter { return []ssm.CommandFilter{{Key: key, Value: value}} }
	for _, tc := range []struct {
		name string
		in   ssm.ListCommandInvocationsInput
		want []string // index of history, node
	}{
		{"all", ssm.ListCommandInvocationsInput{}, []string{"4/1", "3/2", "2/0", "2/1", "2/2", "1/0", "1/1", "0/0"}},
		{"of a command", ssm.ListCommandInvocationsInput{CommandId: h[2]}, []string{"2/0", "2/1", "2/2"}},
		{"of a node", ssm.ListCommandInvocationsInput{InstanceId: nodeID(1)}, []string{"4/1", "2/1", "1/1"}},
		{"of both", ssm.ListCommandInvocationsInput{InstanceId: nodeID(1), CommandId: h[2]}, []string{"2/1"}},
		{"of neither", ssm.ListCommandInvocationsInput{InstanceId: nodeID(2), CommandId: h[1]}, nil},
		{"status", ssm.ListCommandInvocationsInput{Filters: f("Status", "Pending")}, []string{"3/2", "1/1"}},
		{"details", ssm.ListCommandInvocationsInput{Filters: f("Status", "DeliveryTimedOut")}, []string{"2/0", "2/1", "2/2"}},
		{"cancelled", ssm.ListCommandInvocationsInput{Filters: f("Status", "Cancelled")}, []string{"4/1"}},
		{"document", ssm.ListCommandInvocationsInput{Filters: f("DocumentName", "Two")}, []string{"2/0", "2/1", "2/2"}},
		{"before", ssm.ListCommandInvocationsInput{Filters: f("InvokedBefore", start.Add(time.Second).Format(time.RFC3339))}, []string{"0/0"}},
		{"after", ssm.ListCommandInvocationsInput{Filters: f("InvokedAfter", start.Add(3*time.Minute).Format(time.RFC3339Nano))}, []string{"4/1", "3/2"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var want []string
			for _, p := range tc.want {
				var c, n int
				if _, err := fmt.Sscanf(p, "%d/%d", &c, &n); err != nil {
					t.Fatal(err)
				}
				want = append(want, invocationKey(h[c], nodeID(n)))
			}
			for _, size := range []int{0, 1, 2, 50} {
				tc.in.MaxResults = size
				if got := b.pairs(tc.in); !slices.Equal(got, want) {
					t.Errorf("page size %d:\n%v, want\n%v", size, got, want)
				}
			}
		})
	}
}

func TestListRefusals(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	id := b.send(to(0))
	b.send(to(0))
	out, err := b.ListCommands(t.Context(), api.Caller{}, ssm.ListCommandsInput{MaxResults: 1})
	if err != nil || out.NextToken == "" {
		t.Fatalf("first page: %v, token %q", err, out.NextToken)
	}
	for _, tc := range []struct{ op, body, code string }{
		{"ListCommands", `{"CommandId":"short"}`, "ValidationException"},
		{"ListCommands", `{"CommandId":"0b9b0f3e-66b1-4a57-9d1a-9d3b4a1b7c01"}`, "InvalidCommandId"},
		{"ListCommandInvocations", `{"CommandId":"0b9b0f3e-66b1-4a57-9d1a-9d3b4a1b7c01"}`, "InvalidCommandId"},
		{"ListCommands", `{"InstanceId":"x"}`, "ValidationException"},
		{"ListCommands", `{"MaxResults":51}`, "ValidationException"},
		{"ListCommands", `{"MaxResults":0}`, "ValidationException"},
		{"ListCommands", `{"NextToken":"nonsense"}`, "InvalidNextToken"},
		{"ListCommandInvocations", `{"NextToken":"` + out.NextToken + `"}`, "InvalidNextToken"},
		{"ListCommands", `{"InstanceId":"` + nodeID(0) + `","NextToken":"` + out.NextToken + `"}`, "InvalidNextToken"},
		{"ListCommands", `{"Filters":[{"key":"Foo","value":"x"}]}`, "InvalidFilterKey"},
		{"ListCommands", `{"Filters":[{"Key":"Status","Value":"Success"}]}`, "ValidationException"}, // they are lower case
		{"ListCommands", `{"Filters":[{"key":"Status","value":"Splendid"}]}`, "ValidationException"},
		{"ListCommands", `{"Filters":[{"key":"Status","value":"Terminated"}]}`, "ValidationException"},
		{"ListCommandInvocations", `{"Filters":[{"key":"Status","value":"Incomplete"}]}`, "ValidationException"},
		{"ListCommands", `{"Filters":[{"key":"InvokedAfter","value":"monday"}]}`, "ValidationException"},
		{"ListCommands", `{"Filters":[{"key":"ExecutionStage","value":"Later"}]}`, "ValidationException"},
		{"ListCommandInvocations", `{"Filters":[{"key":"ExecutionStage","value":"Complete"}]}`, "InvalidFilterKey"},
		{"ListCommands", `{"Filters":[]}`, "ValidationException"},
		{"GetCommandInvocation", `{"CommandId":"0b9b0f3e-66b1-4a57-9d1a-9d3b4a1b7c01","InstanceId":"` + nodeID(0) + `"}`, "InvocationDoesNotExist"},
		{"GetCommandInvocation", `{"CommandId":"` + id + `","InstanceId":"` + nodeID(5) + `"}`, "InvocationDoesNotExist"},
		{"GetCommandInvocation", `{"CommandId":"` + id + `","InstanceId":"` + nodeID(0) + `","PluginName":"aws:runShellScript"}`, "InvalidPluginName"},
		{"GetCommandInvocation", `{"CommandId":"` + id + `"}`, "ValidationException"},
		{"CancelCommand", `{}`, "ValidationException"},
	} {
		if _, err := b.call(tc.op, tc.body); refusal(err) != tc.code {
			t.Errorf("%s %s: %v, want %s", tc.op, tc.body, err, tc.code)
		}
	}
}

func TestGetCommandInvocation(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	in := to(0)
	in.OutputS3BucketName = "results"
	id := b.send(in)
	out := b.get(id, 0, "")
	if out.Status != "Pending" || out.ResponseCode != -1 || out.PluginName != "stepOne" || out.ExecutionStartDateTime != "" || out.ExecutionElapsedTime != "" {
		t.Errorf("before: %+v", out)
	}
	b.deliver(0)
	if out := b.get(id, 0, "stepOne"); out.Status != "InProgress" || out.ResponseCode != -1 || out.StandardOutputContent != "" {
		t.Errorf("meanwhile: %+v", out)
	}
	st := step(doc.Failed, 3, strings.Repeat("o", 30000), strings.Repeat("e", 23000))
	st.OutputS3BucketName, st.OutputS3KeyPrefix, st.StepName = "results", "lab/out/x/awsrunShellScript", "stepOne"
	b.reply(0, id, doc.Reply{DocumentStatus: doc.Failed, RuntimeStatus: map[string]doc.StepStatus{"stepOne": st}})
	b.restart()
	out = b.get(id, 0, "")
	if out.Status != "Failed" || out.StatusDetails != "Failed" || out.ResponseCode != 3 ||
		len(out.StandardOutputContent) != 24000 || len(out.StandardErrorContent) != 8000 {
		t.Errorf("after: %s/%s, code %d, %d and %d characters", out.Status, out.StatusDetails, out.ResponseCode, len(out.StandardOutputContent), len(out.StandardErrorContent))
	}
	if out.ExecutionStartDateTime != "2025-03-14T09:30:00.433Z" || out.ExecutionEndDateTime != "2025-03-14T09:30:00.559Z" || out.ExecutionElapsedTime != "PT0.126S" {
		t.Errorf("times: %q %q %q", out.ExecutionStartDateTime, out.ExecutionEndDateTime, out.ExecutionElapsedTime)
	}
	if want := "https://s3.eu-west-1.amazonaws.com/results/lab/out/x/awsrunShellScript/stepOne/stdout"; out.StandardOutputUrl != want {
		t.Errorf("url %q, want %q", out.StandardOutputUrl, want)
	}
}

func TestGetNeedsTheStep(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	id := b.send(toAll("Two"))
	_, err := b.GetCommandInvocation(t.Context(), api.Caller{}, ssm.GetCommandInvocationInput{CommandId: id, InstanceId: nodeID(0)})
	if refusal(err) != "InvalidPluginName" || !strings.Contains(err.Error(), `"first", "second"`) {
		t.Errorf("error is %v", err)
	}
	b.deliver(0)
	b.reply(0, id, doc.Reply{DocumentStatus: doc.InProgress, RuntimeStatus: map[string]doc.StepStatus{"first": step(doc.Skipped, 0, "", "")}})
	if out := b.get(id, 0, "first"); out.Status != "Success" || out.StatusDetails != "Skipped" {
		t.Errorf("skipped step: %+v", out)
	}
	if out := b.get(id, 0, "second"); out.Status != "Pending" {
		t.Errorf("step to come: %+v", out)
	}
	old := b.send(toAll("Old")) // the plugin is the step
	if out := b.get(old, 0, "aws:runShellScript"); out.Status != "Pending" {
		t.Errorf("step of 1.2: %+v", out)
	}
}

func TestResponseCode(t *testing.T) {
	t.Parallel()
	for code, want := range map[int64]int{0: 0, 194: 194, -1: -1, 0xffffffff: -1, 0xc0000005: -1073741819} {
		if got := responseCode(code); got != want {
			t.Errorf("%d: %d, want %d", code, got, want)
		}
	}
}

func TestDetails(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	id := b.send(to(0))
	b.finish(0, id, doc.Success)
	bare, err := b.ListCommandInvocations(t.Context(), api.Caller{}, ssm.ListCommandInvocationsInput{CommandId: id})
	if err != nil || len(bare.CommandInvocations[0].CommandPlugins) != 0 {
		t.Errorf("plugins without Details: %v %+v", err, bare)
	}
	out, err := b.ListCommandInvocations(t.Context(), api.Caller{}, ssm.ListCommandInvocationsInput{CommandId: id, Details: true})
	if err != nil {
		t.Fatal(err)
	}
	p := out.CommandInvocations[0].CommandPlugins
	if len(p) != 1 || p[0].Name != "stepOne" || p[0].Status != "Success" || p[0].Output != "hello\noops\n" || p[0].ResponseFinishDateTime == nil {
		t.Errorf("plugins: %+v", p)
	}
	if out.CommandInvocations[0].InstanceName != "host0" {
		t.Errorf("InstanceName: %+v", out.CommandInvocations[0])
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "PT0S", 126 * time.Millisecond: "PT0.126S", time.Minute: "PT1M", 3723456 * time.Millisecond: "PT1H2M3.456S", 49 * time.Hour: "PT49H",
	} {
		if got := duration(d); got != want {
			t.Errorf("%s is %s, want %s", d, got, want)
		}
	}
}

func TestFallingKeys(t *testing.T) {
	t.Parallel()
	var keys []string
	for i := range 20 {
		keys = append(keys, fallingKey(start.Add(time.Duration(i)*time.Millisecond), "x"))
	}
	if !slices.IsSortedFunc(keys, func(a, b string) int { return strings.Compare(b, a) }) {
		t.Error("later is not before earlier")
	}
	if idOf(fallingKey(start, "abc")) != "abc" || idOf("node/"+risingKey(start, "abc")) != "abc" || idOf("abc") != "abc" {
		t.Error("idOf")
	}
}
