package commands

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/ssm"
)

// TestRun: deadlines, removed nodes and retention come by themselves.
func TestRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(filepath.Join(dir, "store"))
		if err != nil {
			t.Fatal(err)
		}
		b := &bench{t: t, db: db}
		b.register(3)
		b.Service, err = New(Config{DB: db, Documents: newLibrary(), Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- b.Run(ctx) }()
		id := b.send(to(0, 1, 2))
		b.deliver(1)
		b.unregister(2)
		b.NodeRemoved(nodeID(2))
		after := func(d time.Duration) {
			<-time.After(d)
			synctest.Wait()
		}
		after(time.Second)
		b.wantState(id, 2, Undeliverable)
		after(100*time.Second + Grace)
		b.wantState(id, 1, ExecutionTimedOut)
		b.wantState(id, 0, Terminated) // one error is more than MaxErrors allows
		other := b.send(to(0))
		after(DefaultTimeoutSeconds*time.Second - time.Second)
		b.wantState(other, 0, Pending)
		after(2 * time.Second)
		b.wantState(other, 0, DeliveryTimedOut)
		after(Retention + 2*sweepEvery)
		if left := b.commandIDs(ssm.ListCommandsInput{}); len(left) != 0 {
			t.Errorf("commands beyond retention are left: %v", left)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestSweep(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2)
	const old = sweepBatch + 4
	for range old {
		b.finish(0, b.send(to(0)), doc.Success)
		b.clock.Advance(time.Millisecond)
	}
	b.clock.Advance(time.Hour)
	late := b.send(to(1))
	b.deliver(1)
	b.cancelAll(late)
	b.deliver(1)
	b.reply(1, late, doc.Reply{DocumentStatus: doc.Cancelled})
	b.clock.Advance(Retention - time.Minute)
	young := b.send(to(0))
	b.cancelAll(young)
	for _, want := range []int{sweepBatch, old - sweepBatch, 0} {
		if n, err := b.sweep(); err != nil || n != want {
			t.Fatalf("a batch has %d, %v, want %d", n, err, want)
		}
	}
	b.clock.Advance(2 * time.Minute)
	if n, err := b.sweep(); err != nil || n != 1 {
		t.Fatalf("the last: %d, %v", n, err)
	}
	if got := b.commandIDs(ssm.ListCommandsInput{}); len(got) != 1 || got[0] != young {
		t.Errorf("left are %v, want %s", got, young)
	}
	if got := b.commandIDs(ssm.ListCommandsInput{InstanceId: nodeID(1)}); len(got) != 0 {
		t.Errorf("left of node 1: %v", got)
	}
	// Nothing of the removed ones may remain: one record a table at most.
	b.must(b.db.View(func(tx *store.Tx) error {
		return errors.Join(count(tx, Commands, 1), count(tx, Invocations, 1), count(tx, payloads, 1), count(tx, steps, 0),
			count(tx, cancels, 0), count(tx, newest, 1), count(tx, nodeNewest, 1), count(tx, open, 0), count(tx, finished, 1), count(tx, running, 0))
	}))
}

func count[T any](tx *store.Tx, table store.Table[T], want int) error {
	n := 0
	err := table.Scan(tx, "", "", func(string, T) (bool, error) { n++; return true, nil })
	if err == nil && n != want {
		err = errors.New("table " + table.Name + " has records left")
	}
	return err
}

// TestRestart: queued commands are delivered after it, in their order;
// results that arrived are there.
func TestRestart(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	var ids []string
	for range 5 {
		ids = append(ids, b.send(to(0)))
		b.clock.Advance(time.Millisecond)
	}
	taken := b.due(0)
	if len(taken) != 5 {
		t.Fatalf("%d are due, want 5", len(taken))
	}
	b.ack(0, taken[0])
	b.reply(0, ids[0], final(doc.Success))
	b.ack(0, taken[1])
	b.restart()
	again := b.due(0)
	if len(again) != 3 {
		t.Fatalf("%d are due after the restart, want 3", len(again))
	}
	for i, d := range again {
		if want := MessageID(ids[i+2], nodeID(0)); d.MessageID != want || d.Payload != taken[i+2].Payload {
			t.Errorf("delivery %d is %s, want %s", i, d.MessageID, want)
		}
	}
	if out := b.get(ids[0], 0, ""); out.Status != "Success" || out.StandardOutputContent != "hello\n" {
		t.Errorf("result: %+v", out)
	}
	b.reply(0, ids[1], final(doc.Failed))
	b.wantState(ids[1], 0, Failed)
	// Deadlines come from the store too.
	b.pass(2 * time.Hour)
	b.wantState(ids[2], 0, DeliveryTimedOut)
}

// TestNodeGoneWhileDown: a node that was removed while nobody looked.
func TestNodeGoneWhileDown(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2)
	id := b.send(to(0, 1))
	b.unregister(1)
	b.restart()
	b.wantState(id, 1, Undeliverable)
	b.finish(0, id, doc.Success)
	b.wantCommand(id, "Success", Success)
}

func TestLeases(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	id := b.send(to(0))
	b.take(0)
	b.idle(0)
	b.clock.Advance(9 * time.Second)
	b.idle(0)
	b.clock.Advance(2 * time.Second)
	b.take(0) // the visibility has passed
	b.Release(nodeID(0), "somebody else")
	b.idle(0)
	b.Release(nodeID(0), b)
	d := b.take(0) // its owner gave it up
	b.ack(0, d)
	b.clock.Advance(time.Minute)
	b.idle(0)
	b.wantState(id, 0, InProgress)
}

func TestNextWakes(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	got := make(chan string)
	go func() {
		ds, err := b.Next(t.Context(), nodeID(0), 10, Lease{Owner: b, For: func(int) time.Duration { return time.Minute }})
		if err != nil || len(ds) != 1 {
			got <- "nothing"
			return
		}
		got <- ds[0].MessageID
	}()
	id := b.send(to(0))
	if m := <-got; m != MessageID(id, nodeID(0)) {
		t.Errorf("Next returned %s", m)
	}
}

// TestCrowd has many nodes take, acknowledge, answer and be cancelled at once;
// every invocation must end in one of the states that may be.
func TestCrowd(t *testing.T) {
	t.Parallel()
	const n, rounds = 8, 6
	b := newBench(t, n)
	ctx, cancel := context.WithCancel(t.Context())
	var agents sync.WaitGroup
	for i := range n {
		agents.Go(func() { b.agent(ctx, i) })
	}
	var ids []string
	var mu sync.Mutex
	var senders sync.WaitGroup
	for range rounds {
		senders.Go(func() {
			in := toAll("Two")
			in.MaxConcurrency = "3"
			id := b.send(in)
			mu.Lock()
			ids = append(ids, id)
			mu.Unlock()
		})
		senders.Go(func() {
			id := b.send(toAll("Two"))
			b.cancelAll(id)
			mu.Lock()
			ids = append(ids, id)
			mu.Unlock()
		})
	}
	senders.Wait()
	for _, id := range ids {
		b.awaitFinished(id)
	}
	b.awaitEmpty() // the agents still take the cancel messages that came late
	cancel()
	agents.Wait()
	if len(b.queue.jobs) != 0 || len(b.queue.commands) != 0 || len(b.queue.due) != 0 {
		t.Errorf("left in the queue: %d jobs, %d commands, %d deadlines", len(b.queue.jobs), len(b.queue.commands), len(b.queue.due))
	}
	for _, id := range ids {
		if c := b.command(id); c.CompletedCount != n || c.Status != "Success" && c.Status != "Cancelled" {
			t.Errorf("%s ended %s with %d of %d", id, c.Status, c.CompletedCount, n)
		}
	}
}

// awaitFinished looks until the command has ended; each look reads the store.
func (b *bench) awaitFinished(id string) {
	b.t.Helper()
	for b.t.Context().Err() == nil {
		if c := b.command(id); c.CompletedCount == c.TargetCount {
			return
		}
	}
}

// awaitEmpty waits until nothing is to be delivered, or for a time in which
// that should have come: then the caller sees what is left.
func (b *bench) awaitEmpty() {
	for limit := time.After(20 * time.Second); ; runtime.Gosched() {
		b.queue.mu.Lock()
		n := len(b.queue.jobs)
		b.queue.mu.Unlock()
		select {
		case <-limit:
			return
		default:
			if n == 0 {
				return
			}
		}
	}
}

// agent answers everything until ctx ends.
func (b *bench) agent(ctx context.Context, i int) {
	for {
		ds, err := b.Next(ctx, nodeID(i), 4, Lease{Owner: i, For: func(int) time.Duration { return time.Minute }})
		if err != nil {
			return
		}
		for _, d := range ds {
			b.answer(ctx, i, d)
		}
	}
}

func (b *bench) answer(ctx context.Context, i int, d Delivery) {
	err := b.Ack(ctx, nodeID(i), d.MessageID)
	if err == nil && !isCancel(d.Topic) {
		err = b.Reply(ctx, nodeID(i), d.MessageID, doc.Reply{DocumentStatus: doc.Success})
	}
	if err != nil {
		b.t.Error(err)
	}
}

func TestOperatorsOnly(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	for name, op := range b.Ops() {
		if len(op.Allow) != 1 || op.Allow[0] != api.Operator {
			t.Errorf("%s is open to %v", name, op.Allow)
		}
	}
}

// TestBusyAgent: what waits behind five others in the agent is not timed out
// while it waits.
func TestBusyAgent(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1)
	var ids []string
	for range agentWorkers + 1 {
		ids = append(ids, b.send(to(0)))
	}
	for _, d := range b.due(0) {
		b.ack(0, d)
	}
	run := 100*time.Second + Grace
	b.pass(run + time.Second)
	in := map[State]int{}
	for _, id := range ids {
		in[b.state(id, 0)]++
	}
	if in[ExecutionTimedOut] != agentWorkers || in[InProgress] != 1 {
		t.Fatalf("after one time-out: %v", in)
	}
	b.pass(run)
	for _, id := range ids {
		b.wantState(id, 0, ExecutionTimedOut)
	}
}
