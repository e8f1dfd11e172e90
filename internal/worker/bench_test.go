package worker_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/job"
	"ssmagent/internal/link"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/ipc"
	"ssmagent/platform/proc"
	"ssmagent/platform/secfile"
)

// bench is a place for jobs, and the other end of the ask plugin.
type bench struct {
	t    *testing.T
	dir  string
	l    net.Listener
	exe  string
	sink sink
	// workers are the queue's places.
	workers int
	clock   clock.Clock
	boot    func(context.Context) error
	// credentials are the agent's; nil: it has none.
	credentials func(context.Context) (link.Credentials, error)
	enter       func(proc.ID, string) // nil: there are no scopes
}

func newBench(t *testing.T) *bench {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, dir: t.TempDir(), l: l, exe: exe, sink: make(sink, 100), workers: 2, clock: clock.Real{}}
}

func (b *bench) jobs() string { return filepath.Join(b.dir, "jobs") }

// queue runs an agent's queue until stop.
func (b *bench) queue() (q *job.Queue, stop func()) {
	b.t.Helper()
	q = job.New(job.Options{
		Dir: b.jobs(), FS: secfile.OS(), Clock: b.clock, Log: slog.New(slog.DiscardHandler), Sink: b.sink,
		Limits: job.Limits{Workers: b.workers, Buffer: 10, Retries: 2}, Executable: b.exe, Env: os.Environ(), Stderr: os.Stderr,
		Start: proc.Start, Enter: b.enter, Find: proc.Find, KillMarked: proc.KillMarked, Dial: ipc.Dial, Reboot: b.boot, Credentials: b.credentials,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				b.t.Errorf("Run: %v", err)
			}
		case <-time.After(20 * time.Second):
			b.t.Error("the queue does not stop")
		}
	}
	b.t.Cleanup(stop)
	return q, stop
}

func (b *bench) submit(q *job.Queue, id string, steps ...string) {
	b.t.Helper()
	b.submitAction(q, id, "aws:runShellScript", steps...)
}

func (b *bench) submitAction(q *job.Queue, id, action string, steps ...string) {
	b.t.Helper()
	r := job.Request{ID: id, JobID: "aws.ssm." + id + ".mi-1", Channel: job.ChannelMGS, Dir: filepath.Join(b.dir, "orchestration", id),
		Node: job.Node{PlatformType: doc.Linux}}
	for _, s := range steps {
		r.Steps = append(r.Steps, doc.Step{ID: s, Action: action, Dir: s, V2: true, Inputs: b.l.Addr().String()})
	}
	if err := q.Submit(b.t.Context(), r); err != nil {
		b.t.Fatal(err)
	}
}

// call is a step that waits for its answer.
type call struct {
	net.Conn
	step string
	pid  int
}

func (b *bench) called() call {
	b.t.Helper()
	_ = b.l.(*net.TCPListener).SetDeadline(time.Now().Add(20 * time.Second))
	c, err := b.l.Accept()
	if err != nil {
		b.t.Fatalf("no step called: %v", err)
	}
	b.t.Cleanup(func() { c.Close() })
	k := call{Conn: c}
	if _, err := fmt.Fscan(c, &k.step, &k.pid); err != nil {
		b.t.Fatal(err)
	}
	return k
}

func (c call) answer(s doc.Status) { fmt.Fprintln(c, s) }

// sh has the step run a script.
func (c call) sh(script string) { fmt.Fprintln(c, "sh", script) }

// kill ends the step's worker as a crash does.
func (c call) kill(t *testing.T) {
	t.Helper()
	p, err := os.FindProcess(c.pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
}

// sink hands reports on.
type sink chan job.Report

func (s sink) Report(_ context.Context, rs ...job.Report) error {
	for _, r := range rs {
		s <- r
	}
	return nil
}

// until collects reports up to a final one.
func (b *bench) until() (told []string, results []doc.Result) {
	b.t.Helper()
	for {
		var r job.Report
		select {
		case r = <-b.sink:
		case <-time.After(20 * time.Second):
			b.t.Fatalf("no final report after %q", told)
		}
		switch {
		case r.Result != nil:
			told = append(told, r.Result.ID+" "+string(r.Result.Status))
		case r.Final:
			return append(told, "final"), r.Results
		default:
			return append(told, "reboot"), r.Results
		}
	}
}

func (b *bench) wantTold(want ...string) []doc.Result {
	b.t.Helper()
	told, results := b.until()
	if strings.Join(told, ", ") != strings.Join(want, ", ") {
		b.t.Errorf("told %q, want %q", told, want)
	}
	return results
}
