package commands

import (
	"testing"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/ssm"
)

func TestShares(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text                string
		n, concurrent, errs int
	}{
		{"1", 10, 1, 1}, {"50", 10, 50, 50}, {"10%", 10, 1, 1}, {"10%", 5, 1, 0}, {"25%", 5, 2, 1}, {"100%", 7, 7, 7}, {"0", 3, 1, 0}, {"0%", 3, 1, 0},
		{"33%", 10, 4, 3}, {"1%", 1000, 10, 10}, {"1%", 99, 1, 0}, {"99%", 100, 99, 99}, {"9999999", 3, 9999999, 9999999},
	} {
		if got := share(tc.text, tc.n, 1); got != tc.concurrent {
			t.Errorf("MaxConcurrency %s of %d is %d, want %d", tc.text, tc.n, got, tc.concurrent)
		}
		if got := errorShare(tc.text, tc.n); got != tc.errs {
			t.Errorf("MaxErrors %s of %d is %d, want %d", tc.text, tc.n, got, tc.errs)
		}
	}
}

// ready counts the nodes of n that get the command now.
func (b *bench) ready(n int) (nodes []int) {
	b.t.Helper()
	for i := range n {
		if len(b.due(i)) > 0 {
			nodes = append(nodes, i)
		}
	}
	return nodes
}

func TestMaxConcurrency(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		max  string
		want int
	}{{"1", 1}, {"3", 3}, {"50%", 3}, {"100%", 5}, {"", 5}} {
		t.Run(tc.max, func(t *testing.T) {
			t.Parallel()
			const n = 5
			b := newBench(t, n)
			in := toAll("Two")
			in.MaxConcurrency = tc.max
			id := b.send(in)
			done := 0
			at := b.ready(n)
			if len(at) != tc.want {
				t.Fatalf("%d nodes get the command at first, want %d", len(at), tc.want)
			}
			for len(at) > 0 {
				for k, i := range at {
					b.must(b.Ack(t.Context(), nodeID(i), MessageID(id, nodeID(i))))
					if k == 0 && len(at) == tc.want { // acknowledged is still under way
						if more := b.ready(n); len(more) > 0 {
							t.Fatalf("nodes %v get it beyond MaxConcurrency", more)
						}
					}
				}
				for _, i := range at {
					b.reply(i, id, doc.Reply{DocumentStatus: doc.Success})
					done++
				}
				at = b.ready(n)
			}
			if done != n {
				t.Errorf("%d nodes ran it, want %d", done, n)
			}
			b.wantCommand(id, "Success", Success)
		})
	}
}

// TestDefaultRates: without a word it is 50 nodes at once, and the first error
// stops the rest.
func TestDefaultRates(t *testing.T) {
	t.Parallel()
	const n = 60
	b := newBench(t, n)
	id := b.send(toAll("Two"))
	at := b.ready(n)
	if len(at) != 50 {
		t.Fatalf("%d nodes get the command at first, want 50", len(at))
	}
	for _, i := range at {
		b.must(b.Ack(t.Context(), nodeID(i), MessageID(id, nodeID(i))))
	}
	b.reply(at[0], id, doc.Reply{DocumentStatus: doc.Failed})
	if more := b.ready(n); len(more) > 0 {
		t.Errorf("nodes %v get it after an error", more)
	}
	for _, i := range at[1:] {
		b.reply(i, id, doc.Reply{DocumentStatus: doc.Success})
	}
	b.wantCommand(id, "Failed", Failed)
	c := b.command(id)
	if c.MaxConcurrency != "50" || c.MaxErrors != "0" || c.TargetCount != n || c.CompletedCount != n || c.ErrorCount != 1 || c.DeliveryTimedOutCount != 0 {
		t.Errorf("%+v", c)
	}
}

// TestOfflineNodesTakeNoRoom: who is not there does not hold up the others.
func TestOfflineNodesTakeNoRoom(t *testing.T) {
	t.Parallel()
	b := newBench(t, 3)
	in := toAll("Two")
	in.MaxConcurrency = "1"
	id := b.send(in)
	b.finish(2, id, doc.Success)
	b.finish(1, id, doc.Success)
	b.wantCommand(id, "InProgress", InProgress)
	b.restart()
	b.finish(0, id, doc.Success)
	b.wantCommand(id, "Success", Success)
}

// TestRoomAfterRestart: what ran before the restart still counts.
func TestRoomAfterRestart(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2)
	in := toAll("Two")
	in.MaxConcurrency = "1"
	id := b.send(in)
	b.deliver(0)
	b.restart()
	b.idle(1)
	b.reply(0, id, doc.Reply{DocumentStatus: doc.Success})
	b.take(1)
}

func TestMaxErrors(t *testing.T) {
	t.Parallel()
	// Five nodes, one after the other; each of results is what a node says.
	ok, bad, slow := doc.Success, doc.Failed, doc.TimedOut
	for _, tc := range []struct {
		name    string
		max     string
		results []doc.Status
		ran     int
		status  string
		details State
	}{
		{"none allowed", "0", []doc.Status{bad, ok, ok, ok, ok}, 1, "Failed", Failed},
		{"default", "", []doc.Status{ok, bad, ok, ok, ok}, 2, "Failed", Failed},
		{"one allowed, one fails", "1", []doc.Status{bad, ok, ok, ok, ok}, 5, "Failed", Failed},
		{"one allowed, two fail", "1", []doc.Status{bad, ok, bad, ok, ok}, 3, "Failed", Failed},
		{"two allowed, one fails", "2", []doc.Status{bad, ok, ok, ok, ok}, 5, "Failed", Incomplete},
		{"time-outs count", "1", []doc.Status{slow, slow, ok, ok, ok}, 2, "TimedOut", ExecutionTimedOut},
		{"percentage", "40%", []doc.Status{bad, bad, bad, ok, ok}, 3, "Failed", Failed},
		{"all allowed", "100%", []doc.Status{bad, bad, bad, bad, bad}, 5, "Failed", Failed},
		{"all well", "0", []doc.Status{ok, ok, ok, ok, ok}, 5, "Success", Success},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 5)
			in := toAll("Two")
			in.MaxConcurrency, in.MaxErrors = "1", tc.max
			id := b.send(in)
			ran := 0
			for i, s := range tc.results {
				if len(b.due(i)) == 0 {
					continue
				}
				ran++
				b.must(b.Ack(t.Context(), nodeID(i), MessageID(id, nodeID(i))))
				b.reply(i, id, doc.Reply{DocumentStatus: s})
			}
			if ran != tc.ran {
				t.Errorf("%d nodes ran it, want %d", ran, tc.ran)
			}
			b.wantCommand(id, tc.status, tc.details)
			for i := tc.ran; i < 5; i++ {
				b.wantState(id, i, Terminated)
			}
			if c := b.command(id); c.CompletedCount != 5 || c.TargetCount != 5 {
				t.Errorf("CompletedCount %d of %d", c.CompletedCount, c.TargetCount)
			}
		})
	}
}

// TestMaxErrorsSparesTheRunning: what was started goes on.
func TestMaxErrorsSparesTheRunning(t *testing.T) {
	t.Parallel()
	b := newBench(t, 4)
	in := toAll("Two")
	in.MaxConcurrency = "3"
	id := b.send(in)
	b.deliver(0)
	b.deliver(1)
	on := b.take(2) // on its way
	b.reply(0, id, doc.Reply{DocumentStatus: doc.Failed})
	b.wantState(id, 1, InProgress)
	b.wantState(id, 2, Pending)
	b.wantState(id, 3, Terminated)
	b.ack(2, on)
	b.reply(1, id, doc.Reply{DocumentStatus: doc.Success})
	b.reply(2, id, doc.Reply{DocumentStatus: doc.Success})
	b.wantState(id, 2, Success)
	b.wantCommand(id, "Failed", Failed)
}

func TestFinalDetails(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		counts map[State]int
		errors int
		asked  bool // to cancel
		want   State
	}{
		{"success", map[State]int{Success: 3}, 0, false, Success},
		{"undeliverable aside", map[State]int{Success: 2, Undeliverable: 1}, 0, false, Success},
		{"nobody there", map[State]int{Undeliverable: 2}, 0, false, Incomplete},
		{"one failed", map[State]int{Success: 2, Failed: 1}, 0, false, Failed},
		{"too few failed", map[State]int{Success: 2, Failed: 1}, 2, false, Incomplete},
		{"enough failed", map[State]int{Success: 2, Failed: 2}, 2, false, Failed},
		{"execution", map[State]int{Success: 2, ExecutionTimedOut: 1}, 1, false, ExecutionTimedOut},
		{"both kinds", map[State]int{Failed: 1, ExecutionTimedOut: 1}, 2, false, Failed},
		{"delivery", map[State]int{DeliveryTimedOut: 1}, 0, false, DeliveryTimedOut},
		{"few deliveries", map[State]int{Success: 2, DeliveryTimedOut: 1}, 2, false, Incomplete},
		{"cancelled", map[State]int{Success: 1, Cancelled: 1}, 0, true, Cancelled},
		{"some cancelled", map[State]int{Success: 1, Cancelled: 1}, 0, false, Incomplete},
		{"too late to cancel", map[State]int{Success: 2}, 0, true, Success},
		{"wrong platform", map[State]int{Success: 1, InvalidPlatform: 1}, 0, false, Incomplete},
	} {
		c := Command{Counts: tc.counts, Errors: tc.errors, CancelRequested: tc.asked}
		for _, n := range tc.counts {
			c.TargetCount += n
		}
		if got := c.details(); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestCancelSome(t *testing.T) {
	t.Parallel()
	b := newBench(t, 3)
	id := b.send(toAll("Two"))
	b.deliver(0)
	in := ssm.CancelCommandInput{CommandId: id, InstanceIds: []string{nodeID(0), nodeID(1)}}
	if _, err := b.CancelCommand(t.Context(), api.Caller{}, in); err != nil {
		t.Fatal(err)
	}
	b.wantState(id, 0, Cancelling)
	b.wantState(id, 1, Cancelled)
	b.wantState(id, 2, Pending)
	b.idle(1)
	b.restart()
	b.idle(1)
	d := b.deliver(0)
	if d.Topic != "aws.ssm.cancelCommand.eu.west.1.1" || cancelTarget(t, d) != MessageID(id, nodeID(0)) {
		t.Errorf("cancel message: %+v", d)
	}
	b.must(b.Reply(t.Context(), nodeID(0), d.MessageID, doc.Reply{DocumentStatus: doc.InProgress}))
	b.restart()
	b.idle(0)
	b.reply(0, id, doc.Reply{DocumentStatus: doc.Cancelled})
	b.finish(2, id, doc.Success)
	b.wantCommand(id, "Failed", Incomplete)
	for _, tc := range []struct {
		in   ssm.CancelCommandInput
		code string
	}{
		{ssm.CancelCommandInput{CommandId: "0b9b0f3e-66b1-4a57-9d1a-9d3b4a1b7c01"}, "InvalidCommandId"},
		{ssm.CancelCommandInput{CommandId: id, InstanceIds: []string{nodeID(7)}}, "InvalidInstanceId"},
		{ssm.CancelCommandInput{CommandId: id, InstanceIds: []string{nodeID(0), nodeID(0)}}, "DuplicateInstanceId"},
		{ssm.CancelCommandInput{CommandId: id}, ""}, // finished: nothing to do
	} {
		_, err := b.CancelCommand(t.Context(), api.Caller{}, tc.in)
		if refusal(err) != tc.code {
			t.Errorf("%+v: %v, want %s", tc.in, err, tc.code)
		}
	}
	b.wantCommand(id, "Failed", Incomplete)
}
