package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/proc"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// sink keeps what is reported.
type sink struct {
	mu      sync.Mutex
	reports []Report
	fail    int // so many reports fail first
	news    chan struct{}
}

func newSink() *sink { return &sink{news: make(chan struct{}, 100)} }

func (s *sink) Report(_ context.Context, rs ...Report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail > 0 {
		s.fail--
		return errors.New("the disk is full")
	}
	s.reports = append(s.reports, rs...)
	s.news <- struct{}{}
	return nil
}

// finals waits for n final reports and returns all.
func (s *sink) finals(t *testing.T, n int) []Report {
	t.Helper()
	for {
		s.mu.Lock()
		got := 0
		for _, r := range s.reports {
			if r.Final {
				got++
			}
		}
		all := slices.Clone(s.reports)
		s.mu.Unlock()
		if got >= n {
			return all
		}
		select {
		case <-s.news:
		case <-time.After(20 * time.Second):
			t.Fatalf("%d final reports, want %d: %+v", got, n, all)
		}
	}
}

// refusing is a machine on which no worker starts.
func refusing(fs fsys.FS, s Sink, c clock.Clock) Options {
	return Options{
		Dir: "/data/jobs", FS: fs, Clock: c, Log: slog.New(slog.DiscardHandler), Sink: s,
		Limits: Limits{Workers: 2, Buffer: 3, Retries: 3}, Executable: "/agent",
		Start: func(proc.Spec) (proc.Process, error) { return nil, errors.New("fork: no memory") },
		Find:  func(proc.ID) (proc.Process, error) { return nil, proc.ErrGone },
		Dial:  func(context.Context, string) (net.Conn, error) { return nil, errors.New("nobody listens") },
		KillMarked: func(context.Context, string, string) error {
			return nil
		},
	}
}

func request(id string, steps ...string) Request {
	r := Request{ID: id, JobID: "aws.ssm." + id + ".mi-1", Channel: ChannelMGS, Created: epoch, Dir: "/data/orchestration/" + id}
	for _, s := range steps {
		r.Steps = append(r.Steps, doc.Step{ID: s, Action: "test:script", Dir: s, V2: true})
	}
	return r
}

// run runs a queue until stop.
func run(t *testing.T, o Options) (q *Queue, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	q = New(o)
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Run did not end")
		}
	})
	t.Cleanup(stop)
	return q, stop
}

func TestSubmitThatCannotStartFailsWithTheCause(t *testing.T) {
	t.Parallel()
	s := newSink()
	q, _ := run(t, refusing(fsystest.NewDisk(), s, clock.Real{}))
	if err := q.Submit(t.Context(), request("one", "a", "b")); err != nil {
		t.Fatal(err)
	}
	reports := s.finals(t, 1)
	if len(reports) != 3 || reports[0].Result.ID != "a" || reports[1].Result.ID != "b" || reports[2].Result != nil {
		t.Fatalf("%+v", reports)
	}
	if r := reports[0].Result; r.Status != doc.Failed || r.Error != "start the command's worker: fork: no memory" {
		t.Errorf("%+v", r)
	}
	if reports[0].Seq == reports[1].Seq || reports[1].Seq == reports[2].Seq {
		t.Error("sequence numbers are not unique")
	}
}

func TestSubmitRefuses(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	defer close(hold)
	s := newSink()
	o := refusing(fsystest.NewDisk(), s, clock.Real{})
	o.Limits.Workers = 1
	started := make(chan struct{}, 10)
	o.Start = func(proc.Spec) (proc.Process, error) {
		started <- struct{}{}
		<-hold
		return nil, errors.New("no")
	}
	q, _ := run(t, o)
	ctx := t.Context()
	if err := q.Submit(ctx, request("running", "a")); err != nil {
		t.Fatal(err)
	}
	<-started
	for i := range 3 {
		if err := q.Submit(ctx, request(fmt.Sprint("waiting", i), "a")); err != nil {
			t.Fatal(err)
		}
	}
	twice := request("x", "a", "a")
	for _, tc := range []struct {
		name string
		r    Request
		want error
	}{
		{"full", request("more", "a"), ErrFull},
		{"duplicate of a running one", request("running", "a"), ErrDuplicate},
		{"duplicate of a waiting one", request("waiting2", "a"), ErrDuplicate},
		{"no steps", request("x"), ErrInvalid},
		{"step twice", twice, ErrInvalid},
		{"id leaves the directory", request("../x", "a"), ErrInvalid},
		{"id is hidden", request(".x", "a"), ErrInvalid},
		{"id empty", request("", "a"), ErrInvalid},
	} {
		if err := q.Submit(ctx, tc.r); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
	if waiting, running := q.Live(); waiting != 3 || running != 1 {
		t.Errorf("%d wait, %d run", waiting, running)
	}
}

func TestCancelledWhileWaitingNeverRuns(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	s := newSink()
	o := refusing(fsystest.NewDisk(), s, clock.Real{})
	o.Limits.Workers = 1
	started := make(chan string, 10)
	o.Start = func(p proc.Spec) (proc.Process, error) {
		started <- filepath.Base(p.Args[1])
		<-hold
		return nil, errors.New("no")
	}
	q, _ := run(t, o)
	for _, id := range []string{"first", "second"} {
		if err := q.Submit(t.Context(), request(id, "a", "b")); err != nil {
			t.Fatal(err)
		}
	}
	<-started
	if known, err := q.Cancel(t.Context(), "second"); !known || err != nil {
		t.Fatal(known, err)
	}
	// It is reported while the first still holds the only place.
	for _, r := range s.finals(t, 1) {
		if r.Request.ID != "second" || r.Result != nil && (r.Result.Status != doc.Cancelled || r.Result.Code != 1) {
			t.Errorf("%+v", r)
		}
	}
	close(hold)
	s.finals(t, 2)
	if len(started) != 0 {
		t.Error("the cancelled command was started")
	}
	if known, err := q.Cancel(t.Context(), "nobody"); known || err != nil {
		t.Error(known, err)
	}
}

func TestSinkFailureIsRetried(t *testing.T) {
	t.Parallel()
	c := clock.NewFake(epoch)
	s := newSink()
	s.fail = 2
	q, _ := run(t, refusing(fsystest.NewDisk(), s, c))
	if err := q.Submit(t.Context(), request("one", "a")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Await(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		c.Advance(time.Minute)
	}
	if got := s.finals(t, 1); len(got) != 2 {
		t.Errorf("%+v", got)
	}
}

func TestTombstonesAreKeptForADayAndSwept(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	c := clock.NewFake(epoch)
	s := newSink()
	q, stop := run(t, refusing(disk, s, c))
	if err := q.Submit(t.Context(), request("old", "a")); err != nil {
		t.Fatal(err)
	}
	s.finals(t, 1)
	waitIdle(t, q)
	if err := q.Submit(t.Context(), request("old", "a")); !errors.Is(err, ErrDuplicate) {
		t.Errorf("at once: %v", err)
	}
	stop()
	disk.Crash(fsystest.Nothing())
	q, _ = run(t, refusing(disk, s, c))
	if err := q.Submit(t.Context(), request("old", "a")); !errors.Is(err, ErrDuplicate) {
		t.Errorf("after a crash: %v", err)
	}
	q.sweepGraves(time.Now().Add(graveAge - time.Hour))
	if err := q.Submit(t.Context(), request("old", "a")); !errors.Is(err, ErrDuplicate) {
		t.Errorf("within the day: %v", err)
	}
	q.sweepGraves(time.Now().Add(graveAge + time.Hour))
	if err := q.Submit(t.Context(), request("old", "a")); err != nil {
		t.Errorf("after the day: %v", err)
	}
}

// waitIdle waits until no job runs or waits: submissions of others block
// until a place is free, so ask for one of our own.
func waitIdle(t *testing.T, q *Queue) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		if w, r := q.Live(); w+r == 0 {
			return
		}
		select {
		case <-deadline:
			t.Fatal("the queue does not come to rest")
		case <-time.After(time.Millisecond):
		}
	}
}
