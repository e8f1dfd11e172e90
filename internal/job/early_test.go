package job

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/platform/proc"
)

// idler is a process that does nothing until it is killed.
type idler struct {
	once   sync.Once
	killed chan struct{}
}

func (i *idler) ID() proc.ID { return proc.ID{PID: 7, Start: 1} }
func (i *idler) Kill() error {
	i.once.Do(func() { close(i.killed) })
	return nil
}
func (i *idler) KillGroup() error         { return i.Kill() }
func (i *idler) Signal(proc.Signal) error { return nil }
func (i *idler) Usage() time.Duration     { return 0 }
func (i *idler) Wait(ctx context.Context) (proc.State, error) {
	select {
	case <-i.killed:
		return proc.State{Signal: "killed"}, nil
	case <-ctx.Done():
		return proc.State{}, ctx.Err()
	}
}

func TestEarlyWorkerOfAJobThatCannotBeSavedEnds(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	worker := &idler{killed: make(chan struct{})}
	started := make(chan struct{})
	o := refusing(disk, newSink(), clock.Real{})
	o.Start = func(proc.Spec) (proc.Process, error) {
		close(started)
		return worker, nil
	}
	q, _ := run(t, o)
	full := errors.New("no space")
	disk.Fail(func(op fsystest.Op) error {
		if op.Kind == "write" {
			<-started // the process is there before the disk says no
			return full
		}
		return nil
	})
	if err := q.Submit(t.Context(), request("one", "a")); !errors.Is(err, full) {
		t.Fatalf("Submit: %v", err)
	}
	select {
	case <-worker.killed:
	default:
		t.Error("the worker still waits")
	}
	if waiting, running := q.Live(); waiting != 0 || running != 0 || q.early != 0 {
		t.Errorf("%d wait, %d run, %d places are held", waiting, running, q.early)
	}
	if left, err := disk.ReadDir(o.Dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestAtMostSoManyRunInTheOrderOfDelivery: Mds.CommandWorkersLimit holds also
// for workers that are started early, and nothing overtakes.
func TestAtMostSoManyRunInTheOrderOfDelivery(t *testing.T) {
	t.Parallel()
	o := refusing(fsystest.NewDisk(), newSink(), clock.Real{})
	o.Limits.Buffer, o.Limits.Workers, o.Limits.Retries = 10, 2, 0
	type started struct {
		id     string
		worker *idler
	}
	starts := make(chan started, 10)
	o.Start = func(s proc.Spec) (proc.Process, error) {
		w := &idler{killed: make(chan struct{})}
		starts <- started{filepath.Base(s.Args[1]), w}
		return w, nil
	}
	q, _ := run(t, o)
	for _, id := range []string{"e", "d", "c", "b", "a"} {
		if err := q.Submit(t.Context(), request(id, "one")); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	running := []started{<-starts, <-starts}
	for len(running) > 0 {
		slices.SortFunc(running, func(a, b started) int { return strings.Compare(b.id, a.id) }) // two may begin together
		for _, s := range running {
			got = append(got, s.id)
		}
		if len(starts) != 0 {
			t.Errorf("%d more began beside %v", len(starts), got)
		}
		for _, s := range running {
			_ = s.worker.Kill()
		}
		next := min(2, 5-len(got))
		running = running[:0]
		for range next {
			running = append(running, <-starts)
		}
	}
	if want := "e d c b a"; strings.Join(got, " ") != want {
		t.Errorf("they ran in the order %v, want %s", got, want)
	}
}
