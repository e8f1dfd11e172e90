package commands

import (
	"errors"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/ssm"
)

func (b *bench) cancelAll(id string) {
	b.t.Helper()
	if _, err := b.CancelCommand(b.t.Context(), api.Caller{}, ssm.CancelCommandInput{CommandId: id}); err != nil {
		b.t.Fatal(err)
	}
}

// TestTransitions walks every state of an invocation with one node, and what
// it makes of its command.
func TestTransitions(t *testing.T) {
	t.Parallel()
	long := DefaultTimeoutSeconds*time.Second + time.Second
	run := 100*time.Second + Grace + time.Second // document One
	for _, tc := range []struct {
		name    string
		do      func(b *bench, id string)
		want    State
		status  string
		details State
	}{
		{"pending", func(*bench, string) {}, Pending, "Pending", Pending},
		{"taken but not acknowledged", func(b *bench, _ string) { b.take(0) }, Pending, "Pending", Pending},
		{"acknowledged", func(b *bench, _ string) { b.deliver(0) }, InProgress, "InProgress", InProgress},
		{"receipt", func(b *bench, id string) { b.reply(0, id, doc.Reply{DocumentStatus: doc.InProgress}) }, InProgress, "InProgress", InProgress},
		{"success", func(b *bench, id string) { b.finish(0, id, doc.Success) }, Success, "Success", Success},
		{"result before acknowledgement", func(b *bench, id string) { d := b.take(0); b.reply(0, id, final(doc.Success)); b.ack(0, d) }, Success, "Success", Success},
		{"failed", func(b *bench, id string) { b.finish(0, id, doc.Failed) }, Failed, "Failed", Failed},
		{"timed out on the node", func(b *bench, id string) { b.finish(0, id, doc.TimedOut) }, ExecutionTimedOut, "TimedOut", ExecutionTimedOut},
		{"final state stays", func(b *bench, id string) {
			b.finish(0, id, doc.Failed)
			b.reply(0, id, final(doc.Success))
			b.reply(0, id, doc.Reply{DocumentStatus: doc.InProgress})
			b.pass(long + run)
			b.cancelAll(id)
		}, Failed, "Failed", Failed},
		{"reboot is not final", func(b *bench, id string) { b.finish(0, id, doc.SuccessAndReboot) }, InProgress, "InProgress", InProgress},
		{"after a reboot", func(b *bench, id string) {
			b.finish(0, id, doc.SuccessAndReboot)
			b.pass(run - 2*time.Second)
			b.reply(0, id, final(doc.SuccessAndReboot)) // the clock starts again
			b.pass(run - 2*time.Second)
			b.reply(0, id, final(doc.Success))
		}, Success, "Success", Success},
		{"delivery timed out", func(b *bench, _ string) { b.pass(long) }, DeliveryTimedOut, "TimedOut", DeliveryTimedOut},
		{"just before the delivery time-out", func(b *bench, _ string) { b.pass(long - 2*time.Second) }, Pending, "Pending", Pending},
		{"delivered in time", func(b *bench, _ string) { b.pass(long - 2*time.Second); b.deliver(0); b.pass(2 * time.Second) }, InProgress, "InProgress", InProgress},
		{"execution timed out", func(b *bench, _ string) { b.deliver(0); b.pass(run) }, ExecutionTimedOut, "TimedOut", ExecutionTimedOut},
		{"just before the execution time-out", func(b *bench, _ string) { b.deliver(0); b.pass(run - 2*time.Second) }, InProgress, "InProgress", InProgress},
		{"refused by the agent", func(b *bench, id string) {
			b.must(b.Fail(b.t.Context(), nodeID(0), b.take(0).MessageID, "InvalidDocument"))
		}, Failed, "Failed", Failed},
		{"agent is full", func(b *bench, id string) {
			b.must(b.Delay(b.t.Context(), nodeID(0), b.take(0).MessageID, time.Second))
		}, Delayed, "Pending", Delayed},
		{"agent was full", func(b *bench, id string) {
			b.must(b.Delay(b.t.Context(), nodeID(0), b.take(0).MessageID, time.Second))
			b.idle(0)
			b.pass(2 * time.Second)
			b.deliver(0)
		}, InProgress, "InProgress", InProgress},
		{"cancelled while queued", func(b *bench, id string) { b.cancelAll(id); b.idle(0) }, Cancelled, "Cancelled", Cancelled},
		{"cancelling", func(b *bench, id string) { b.deliver(0); b.cancelAll(id) }, Cancelling, "Cancelling", Cancelling},
		{"cancelled by the agent", func(b *bench, id string) {
			b.deliver(0)
			b.cancelAll(id)
			b.deliver(0)
			b.reply(0, id, final(doc.Cancelled))
		}, Cancelled, "Cancelled", Cancelled},
		{"done before the cancellation came", func(b *bench, id string) {
			b.deliver(0)
			b.cancelAll(id)
			b.reply(0, id, final(doc.Success))
			b.idle(0) // the cancel message is withdrawn
		}, Success, "Success", Success},
		{"cancelled without a word", func(b *bench, id string) {
			b.deliver(0)
			b.cancelAll(id)
			b.deliver(0)
			b.pass(CancelGrace + time.Second)
		}, Cancelled, "Cancelled", Cancelled},
		{"cancellation never delivered", func(b *bench, id string) { b.deliver(0); b.cancelAll(id); b.pass(run) }, Cancelled, "Cancelled", Cancelled},
		{"cancelled on its way", func(b *bench, id string) { b.take(0); b.cancelAll(id) }, Cancelling, "Cancelling", Cancelling},
		{"node removed", func(b *bench, id string) { b.unregister(0); b.NodeRemoved(nodeID(0)); b.must(b.bury()) }, Undeliverable, "Failed", Incomplete},
		{"node removed while running", func(b *bench, id string) {
			b.deliver(0)
			b.unregister(0)
			b.NodeRemoved(nodeID(0))
			b.must(b.bury())
			b.reply(0, id, final(doc.Success))
		}, Undeliverable, "Failed", Incomplete},
	} {
		for _, restart := range []bool{false, true} {
			name := tc.name
			if restart {
				name += ", restarted"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t, 1)
				id := b.send(to(0))
				tc.do(b, id)
				if restart {
					b.restart()
				}
				b.wantState(id, 0, tc.want)
				b.wantCommand(id, tc.status, tc.details)
				c := b.command(id)
				if done := tc.want.Final(); (c.CompletedCount == 1) != done {
					t.Errorf("CompletedCount is %d in state %s", c.CompletedCount, tc.want)
				}
				if (c.ErrorCount == 1) != (tc.want == Failed || tc.want == ExecutionTimedOut) {
					t.Errorf("ErrorCount is %d in state %s", c.ErrorCount, tc.want)
				}
				if (c.DeliveryTimedOutCount == 1) != (tc.want == DeliveryTimedOut) {
					t.Errorf("DeliveryTimedOutCount is %d in state %s", c.DeliveryTimedOutCount, tc.want)
				}
				if tc.want.Final() {
					for _, d := range b.due(0) {
						if d.MessageID == MessageID(id, nodeID(0)) {
							t.Error("a finished command is delivered again")
						}
					}
				}
			})
		}
	}
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// TestLateNode: a node that has what was ended without its knowledge is told
// to stop, once, and what it still reports is ignored.
func TestLateNode(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		end  func(b *bench, id string)
		want State
	}{
		{"delivery timed out", func(b *bench, _ string) { b.pass(2 * time.Hour) }, DeliveryTimedOut},
		{"cancelled", func(b *bench, id string) { b.Release(nodeID(0), b); b.cancelAll(id) }, Cancelled},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 1)
			id := b.send(to(0))
			d := b.take(0)
			tc.end(b, id)
			b.idle(0)
			b.ack(0, d)
			b.reply(0, id, doc.Reply{DocumentStatus: doc.InProgress})
			b.wantState(id, 0, tc.want)
			stop := b.deliver(0)
			if got := cancelTarget(t, stop); got != d.MessageID {
				t.Errorf("the node is told to stop %s, want %s", got, d.MessageID)
			}
			b.ack(0, d)
			b.idle(0)
			b.reply(0, id, final(doc.Success))
			b.wantState(id, 0, tc.want)
			if out := b.get(id, 0, ""); out.StandardOutputContent != "" || out.ResponseCode != -1 {
				t.Errorf("a late result is shown: %+v", out)
			}
		})
	}
}

func TestRunsBeyondItsTime(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	in := to(0)
	in.Parameters["executionTimeout"] = []string{"5"}
	id := b.send(in)
	d := b.deliver(0)
	b.pass(5*time.Second + Grace + time.Second)
	b.wantState(id, 0, ExecutionTimedOut)
	if got := cancelTarget(t, b.deliver(0)); got != d.MessageID {
		t.Errorf("the node is told to stop %s, want %s", got, d.MessageID)
	}
	b.reply(0, id, final(doc.Success))
	b.wantState(id, 0, ExecutionTimedOut)
}

// TestOldCancel: a node that comes after two days is not told any more.
func TestOldCancel(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	id := b.send(to(0))
	b.deliver(0)
	b.cancelAll(id)
	b.pass(cancelLife - time.Second)
	b.take(0)
	b.clock.Advance(time.Minute)
	b.pass(0)
	b.idle(0)
	b.restart()
	b.idle(0)
	b.wantState(id, 0, Cancelled)
}

func TestReplyMerge(t *testing.T) {
	t.Parallel()
	first := doc.Reply{DocumentStatus: doc.InProgress, RuntimeStatus: map[string]doc.StepStatus{"first": step(doc.Success, 0, "1\n", "")}}
	second := doc.Reply{DocumentStatus: doc.InProgress, RuntimeStatus: map[string]doc.StepStatus{"second": step(doc.Failed, 3, "2\n", "bad\n")}}
	last := doc.Reply{DocumentStatus: doc.Failed, RuntimeStatus: map[string]doc.StepStatus{}}
	receipt := doc.Reply{DocumentStatus: doc.InProgress}
	for name, order := range map[string][]doc.Reply{
		"in order":     {receipt, first, second, last},
		"final first":  {last, second, first, receipt},
		"all twice":    {receipt, first, first, second, last, last, second, first},
		"steps swap":   {second, first, last},
		"late receipt": {first, second, last, receipt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 1)
			id := b.send(toAll("Two"))
			b.take(0)
			for _, r := range order {
				b.reply(0, id, r)
			}
			b.restart()
			b.wantState(id, 0, Failed)
			one, two := b.get(id, 0, "first"), b.get(id, 0, "second")
			if one.Status != "Success" || one.StandardOutputContent != "1\n" || one.ResponseCode != 0 {
				t.Errorf("first step: %+v", one)
			}
			if two.Status != "Failed" || two.StandardErrorContent != "bad\n" || two.ResponseCode != 3 {
				t.Errorf("second step: %+v", two)
			}
		})
	}
}

// TestStragglers: a last reply that overtakes a step's does not show the step
// without its output.
func TestStragglers(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	id := b.send(toAll("Two"))
	last := doc.Reply{DocumentStatus: doc.Success, RuntimeStatus: map[string]doc.StepStatus{}}
	last.AdditionalInfo.RuntimeStatusCounts = map[doc.Status]int{doc.Success: 2}
	b.reply(0, id, doc.Reply{DocumentStatus: doc.InProgress, RuntimeStatus: map[string]doc.StepStatus{"first": step(doc.Success, 0, "1\n", "")}})
	b.reply(0, id, last)
	b.wantState(id, 0, Success)
	if out := b.get(id, 0, "second"); out.Status != "InProgress" {
		t.Errorf("a step still to be told is %s", out.Status)
	}
	if out := b.get(id, 0, "first"); out.Status != "Success" {
		t.Errorf("a step told is %s", out.Status)
	}
	b.clock.Advance(stragglers + time.Second)
	if out := b.get(id, 0, "second"); out.Status != "Success" {
		t.Errorf("a step never told is %s", out.Status)
	}
	b.reply(0, id, doc.Reply{DocumentStatus: doc.InProgress, RuntimeStatus: map[string]doc.StepStatus{"second": step(doc.Success, 0, "2\n", "")}})
	if out := b.get(id, 0, "second"); out.StandardOutputContent != "2\n" {
		t.Errorf("a late result is lost: %+v", out)
	}
}

func TestRefusedReplies(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2)
	id := b.send(to(0))
	b.take(0)
	const other = "0b9b0f3e-66b1-4a57-9d1a-9d3b4a1b7c01"
	for _, tc := range []struct {
		name, node, message string
		status              doc.Status
		want                error
	}{
		{"foreign node", nodeID(1), MessageID(id, nodeID(0)), doc.Success, ErrForeign},
		{"command of another node", nodeID(1), MessageID(id, nodeID(1)), doc.Success, ErrUnknown},
		{"unknown command", nodeID(0), MessageID(other, nodeID(0)), doc.Success, ErrUnknown},
		{"no message id", nodeID(0), "", doc.Success, ErrMessageID},
		{"path in the id", nodeID(0), "aws.ssm.../../x." + nodeID(0), doc.Success, ErrMessageID},
		{"no status", nodeID(0), MessageID(id, nodeID(0)), "", ErrReply},
		{"a status of its own", nodeID(0), MessageID(id, nodeID(0)), "Splendid", ErrReply},
	} {
		err := b.Reply(t.Context(), tc.node, tc.message, doc.Reply{DocumentStatus: tc.status})
		if !errors.Is(err, tc.want) || !IsRefusal(err) {
			t.Errorf("%s: error is %v, want %v", tc.name, err, tc.want)
		}
	}
	for _, err := range []error{
		b.Ack(t.Context(), nodeID(1), MessageID(id, nodeID(0))),
		b.Fail(t.Context(), nodeID(1), MessageID(id, nodeID(0)), "x"),
		b.Delay(t.Context(), nodeID(1), MessageID(id, nodeID(0)), time.Second),
	} {
		if !errors.Is(err, ErrForeign) {
			t.Errorf("error is %v, want %v", err, ErrForeign)
		}
	}
	b.wantState(id, 0, Pending)
}

func TestHostileReply(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	id := b.send(to(0))
	b.deliver(0)
	huge := strings.Repeat("é", 50000)
	r := doc.Reply{DocumentStatus: doc.Failed, DocumentTraceOutput: huge, RuntimeStatus: map[string]doc.StepStatus{
		"stepOne": {Status: "Odd", StandardOutput: huge, StandardError: huge, Output: huge, StartDateTime: "yesterday", EndDateTime: "9999999-01-01"},
		"../../x": step(doc.Success, 0, "", ""),
	}}
	b.reply(0, id, r)
	b.wantState(id, 0, Failed)
	out, err := b.ListCommandInvocations(t.Context(), api.Caller{}, ssm.ListCommandInvocationsInput{CommandId: id, Details: true})
	if err != nil {
		t.Fatal(err)
	}
	inv := out.CommandInvocations[0]
	if n := len([]rune(inv.TraceOutput)); n != maxTrace {
		t.Errorf("TraceOutput has %d characters, want %d", n, maxTrace)
	}
	if len(inv.CommandPlugins) != 1 || inv.CommandPlugins[0].Name != "stepOne" {
		t.Errorf("plugins: %+v", inv.CommandPlugins)
	}
}

// TestReasonOfARefusal: the node's own words count, whether they come before or
// after its verdict on the message.
func TestReasonOfARefusal(t *testing.T) {
	t.Parallel()
	for name, order := range map[string][]string{"verdict first": {"verdict", "reply"}, "reply first": {"reply", "verdict"}, "told again": {"verdict", "reply", "verdict", "other"}, "verdict alone": {"verdict"}} {
		b := newBench(t, 1)
		id := b.send(to(0))
		message := b.take(0).MessageID
		for _, what := range order {
			if what == "verdict" {
				b.must(b.Fail(t.Context(), nodeID(0), message, "parse error"))
				continue
			}
			b.must(b.Reply(t.Context(), nodeID(0), message, doc.Reply{DocumentStatus: doc.Failed, DocumentTraceOutput: what + ": no such parameter"}))
		}
		out, err := b.ListCommandInvocations(t.Context(), api.Caller{}, ssm.ListCommandInvocationsInput{CommandId: id, Details: true})
		if err != nil {
			t.Fatal(err)
		}
		want := "reply: no such parameter"
		if len(order) == 1 {
			want = "parse error"
		}
		if got := out.CommandInvocations[0].TraceOutput; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
