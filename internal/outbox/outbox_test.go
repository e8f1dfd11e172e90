package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys/fsystest"
)

const dir = "/outbox"

func open(t *testing.T, disk *fsystest.Disk) *Outbox {
	t.Helper()
	o, err := Open(disk, dir, clock.Real{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func entry(id, job string) Entry {
	return Entry{ID: id, JobID: job, Topic: "aws.ssm.sendCommand", Content: "content of " + id, Channel: "ssmmessages"}
}

// next returns the id of the entry that is due now, "" when none is.
func next(t *testing.T, o *Outbox, channels ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	e, err := o.Next(ctx, channels...)
	if err != nil {
		return ""
	}
	return e.ID
}

func mustPut(t *testing.T, o *Outbox, entries ...Entry) {
	t.Helper()
	if err := o.Put(entries...); err != nil {
		t.Fatal(err)
	}
}

func TestResentUntilDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := open(t, fsystest.NewDisk())
		start := time.Now()
		mustPut(t, o, entry("a", "job"))
		var at []time.Duration
		for range 12 {
			e, err := o.Next(t.Context())
			if err != nil || e.ID != "a" || e.Content != "content of a" || !e.Created.Equal(start) {
				t.Fatalf("%+v, %v", e, err)
			}
			at = append(at, time.Since(start))
		}
		for i, want := range []int{0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811, 1111} {
			if at[i] != time.Duration(want)*time.Second {
				t.Errorf("given %v times at %v, want %d s", i+1, at[i], want)
			}
		}
		if err := o.Done("a"); err != nil || o.Len() != 0 {
			t.Errorf("done: %v, %d left", err, o.Len())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if e, err := o.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("given after done: %+v, %v", e, err)
		}
	})
}

func TestDrained(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := open(t, fsystest.NewDisk())
		if err := o.Drained(t.Context()); err != nil {
			t.Errorf("with nothing in it: %v", err)
		}
		mustPut(t, o, entry("a", "1"), entry("b", "1"))
		drained := make(chan error, 1)
		go func() { drained <- o.Drained(t.Context()) }()
		for _, id := range []string{"a", "b"} {
			synctest.Wait()
			select {
			case err := <-drained:
				t.Fatalf("before %s was done: %v", id, err)
			default:
			}
			if err := o.Done(id); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
		mustPut(t, o, entry("c", "1"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := o.Drained(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with an entry that stays: %v", err)
		}
	})
}

func TestNextWakesOnPut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := open(t, fsystest.NewDisk())
		got := make(chan string)
		for range 2 {
			go func() {
				e, err := o.Next(t.Context())
				if err != nil {
					t.Error(err)
				}
				got <- e.ID
			}()
		}
		synctest.Wait()
		mustPut(t, o, entry("a", "1"), entry("b", "1"))
		ids := []string{<-got, <-got}
		slices.Sort(ids)
		if ids[0] != "a" || ids[1] != "b" {
			t.Errorf("given %v", ids)
		}
	})
}

func TestReconnected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := open(t, fsystest.NewDisk())
		mds := entry("m", "2")
		mds.Channel = "ec2messages"
		mustPut(t, o, entry("a", "1"), mds)
		for range 5 { // the retry of a is 16 s away now
			for id := ""; id != "a"; {
				e, err := o.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				id = e.ID
			}
		}
		for next(t, o) != "" {
		}
		o.Reconnected("ec2messages")
		if got := next(t, o, "ssmmessages"); got != "" {
			t.Errorf("the other channel gives %s", got)
		}
		o.Reconnected()
		if got := next(t, o, "ssmmessages"); got != "a" {
			t.Errorf("after reconnecting: %q", got)
		}
		// The delays begin anew.
		start := time.Now()
		if _, err := o.Next(t.Context(), "ssmmessages"); err != nil || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestOrderPerJob(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := open(t, fsystest.NewDisk())
		mustPut(t, o, entry("a1", "a"), entry("b1", "b"), entry("a2", "a"))
		for _, want := range []string{"a1", "b1", "a2", ""} {
			if got := next(t, o); got != want {
				t.Errorf("given %q, want %q", got, want)
			}
		}
		clock.Real{}.NewTimer(time.Second) // other timers do not matter
		for range 3 {                      // a1, b1 and a2 again, after 1 s
			if _, err := o.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		// a3 is new: it does not wait for what was sent, and when it is sent
		// again the earlier ones of its job go first.
		mustPut(t, o, entry("a3", "a"))
		if got := next(t, o); got != "a3" {
			t.Errorf("given %q, want a3", got)
		}
		if err := o.Done("b1"); err != nil {
			t.Fatal(err)
		}
		var order []string
		for range 3 {
			e, err := o.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			order = append(order, e.ID)
		}
		if got := strings.Join(order, " "); got != "a1 a2 a3" {
			t.Errorf("resent in the order %s", got)
		}
	})
}

func TestDroppedAfterTwoDays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := fsystest.NewDisk()
		o := open(t, disk)
		mustPut(t, o, entry("a", "1"))
		for o.Len() > 0 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			if e, err := o.Next(ctx); err == nil && time.Since(e.Created) > maxAge+10*time.Minute {
				t.Fatal("still given")
			}
			cancel()
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		if n := open(t, disk).Len(); n != 0 {
			t.Errorf("%d entries came back", n)
		}
		// What is old already when the agent starts is tried once.
		o = open(t, disk)
		old := entry("b", "1")
		old.Created = time.Now().Add(-100 * time.Hour)
		mustPut(t, o, old)
		if got := next(t, o); got != "b" {
			t.Errorf("given %q", got)
		}
	})
}

func TestIdempotentAndBounded(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	o := open(t, disk)
	mustPut(t, o, entry("a", "1"), entry("a", "1"))
	before := disk.Ops()
	mustPut(t, o, entry("a", "1"))
	if o.Len() != 1 || disk.Ops() != before {
		t.Errorf("%d entries, %d operations for a known one", o.Len(), disk.Ops()-before)
	}
	for name, e := range map[string]Entry{"no id": {}, "long id": entry(strings.Repeat("x", maxField+1), "1"),
		"content": {ID: "b", Content: strings.Repeat("x", MaxContent+1)}} {
		if err := o.Put(e); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	o.most = 10_000
	var err error
	for i := 0; i < 11 && err == nil; i++ {
		err = o.Put(Entry{ID: fmt.Sprint(i), Content: strings.Repeat("x", 1000)})
	}
	if !errors.Is(err, ErrFull) {
		t.Errorf("no end: %v", err)
	}
	if err := o.Put(entry("a", "1")); err != nil {
		t.Errorf("a known entry in a full outbox: %v", err)
	}
}

func TestConcurrentPutsShareSyncs(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	o := open(t, disk)
	o.store.small = 300 // compaction in between
	const n = 200
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			id := fmt.Sprint(i)
			if err := o.Put(entry(id, id)); err != nil {
				t.Error(err)
			}
			if i%2 == 0 {
				if err := o.Done(id); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if got := open(t, disk).Len(); got != n/2 {
		t.Errorf("%d entries after the restart, want %d", got, n/2)
	}
}
