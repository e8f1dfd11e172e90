package worker_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/job"
	"ssmagent/internal/link"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/proc"
)

// newLine is a bench whose jobs wait in line for one place, and whose queue has
// all the patience that a slow machine needs.
func newLine(t *testing.T) *bench {
	t.Helper()
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("needs /proc: elsewhere a worker runs one document")
	}
	b := newBench(t)
	b.workers, b.clock = 1, clock.NewFake(time.Now())
	return b
}

func TestNextJobInLineGetsTheWorker(t *testing.T) {
	t.Parallel()
	b := newLine(t)
	scopes := make(chan string, 10)
	b.enter = func(id proc.ID, scope string) { scopes <- fmt.Sprint(id.PID, " ", scope) }
	q, _ := b.queue()
	ids := []string{"c3", "c2", "c1", "c4"}
	for _, id := range ids {
		b.submit(q, id, "of-"+id)
	}
	pid, open := 0, 0
	for i, id := range ids {
		c := b.called()
		if c.step != "of-"+id {
			t.Errorf("step %s, want that of %s", c.step, id)
		}
		files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.pid))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			pid, open = c.pid, len(files)
		}
		if len(files) != open {
			t.Errorf("%s: %d open files, the first job had %d", id, len(files), open)
		}
		if c.pid != pid {
			t.Errorf("%s has the worker %d, those before had %d", id, c.pid, pid)
		}
		if got, want := <-scopes, fmt.Sprint(pid, " ssmagent-command-", id); got != want {
			t.Errorf("into a scope went %s, want %s", got, want)
		}
		status := []doc.Status{doc.Success, doc.Failed}[i%2] // a job that failed by itself left nothing either
		c.answer(status)
		r := b.wantTold(fmt.Sprintf("of-%s %s", id, status), "final")
		if want := fmt.Sprintf("of-%s was told %s\n", id, status); r[0].StandardOutput != want {
			t.Errorf("%q, want %q", r[0].StandardOutput, want)
		}
	}
	gone(t, pid) // nothing waits any more
}

// TestIdleWorkerDoesNotWaitForOthers: with nothing left to give it, it ends
// although another job runs.
func TestIdleWorkerDoesNotWaitForOthers(t *testing.T) {
	t.Parallel()
	b := newLine(t)
	b.workers = 2
	q, _ := b.queue()
	b.submit(q, "long", "long")
	long := b.called()
	for _, id := range []string{"c1", "c2"} {
		b.submit(q, id, id)
	}
	one := b.called()
	one.answer(doc.Success)
	b.wantTold("c1 Success", "final")
	two := b.called()
	if one.pid != two.pid || one.pid == long.pid {
		t.Errorf("the long job has the worker %d, the others have %d and %d", long.pid, one.pid, two.pid)
	}
	if w, r := q.Live(); w != 0 || r != 2 {
		t.Errorf("%d wait, %d run", w, r)
	}
	two.answer(doc.Success)
	b.wantTold("c2 Success", "final")
	gone(t, two.pid)
	long.answer(doc.Success)
	b.wantTold("long Success", "final")
}

// TestWhatEndsWithItsJob are workers that the next job must not have.
func TestWhatEndsWithItsJob(t *testing.T) {
	t.Parallel()
	run := func(script string) func(*bench, *job.Queue, call) {
		return func(_ *bench, _ *job.Queue, c call) { c.sh(script) }
	}
	for name, tc := range map[string]struct {
		action string
		do     func(*bench, *job.Queue, call)
		want   doc.Status
	}{
		"child":                              {do: run("sleep 60 >/dev/null 2>&1 &"), want: doc.Success},
		"daemon, by two forks and a session": {do: run("(setsid sleep 60 >/dev/null 2>&1 &) & wait"), want: doc.Success},
		"limit":                              {do: run("exec prlimit --core=0:0 --nofile=64 --pid $PPID"), want: doc.Success},
		"priority":                           {do: run("exec renice -n 7 -p $PPID"), want: doc.Success},
		"time-out":                           {do: func(_ *bench, _ *job.Queue, c call) { c.answer(doc.TimedOut) }, want: doc.TimedOut},
		"a service":                          {do: func(_ *bench, _ *job.Queue, c call) { c.answer("credentials") }, want: doc.Success},
		"an action that is no script":        {action: "aws:configurePackage", do: func(_ *bench, _ *job.Queue, c call) { c.answer(doc.Success) }, want: doc.Success},
		"cancelled": {do: func(b *bench, q *job.Queue, _ call) {
			if known, err := q.Cancel(b.t.Context(), "c1"); !known || err != nil {
				b.t.Error(known, err)
			}
		}, want: doc.Cancelled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newLine(t)
			b.credentials = func(context.Context) (link.Credentials, error) {
				return link.Credentials{AccessKeyID: "AKIAONE"}, nil
			}
			q, _ := b.queue()
			if tc.action == "" {
				tc.action = "aws:runShellScript"
			}
			b.submitAction(q, "c1", tc.action, "one")
			b.submit(q, "c2", "two")
			one := b.called()
			tc.do(b, q, one)
			b.wantTold("one "+string(tc.want), "final")
			two := b.called()
			if two.pid == one.pid {
				t.Errorf("the next job has the same worker, %d", one.pid)
			}
			two.answer(doc.Success)
			b.wantTold("two Success", "final")
			gone(t, one.pid)
		})
	}
}

// TestCancelThatComesLateIsNotTheNextJobs cancels a job whose document is over
// while its result is on its way.
func TestCancelThatComesLateIsNotTheNextJobs(t *testing.T) {
	t.Parallel()
	b := newLine(t)
	b.sink = make(sink) // who reports waits for us
	q, _ := b.queue()
	b.submit(q, "c1", "one")
	b.submit(q, "c2", "two")
	b.called().answer(doc.Success)
	if r := <-b.sink; r.Result == nil || r.Result.Status != doc.Success {
		t.Fatalf("%+v", r)
	}
	if known, err := q.Cancel(t.Context(), "c1"); !known || err != nil { // its end is not reported yet
		t.Error(known, err)
	}
	b.wantTold("final")
	b.called().answer(doc.Success)
	b.wantTold("two Success", "final")
}

// TestCancelIsOfTheJobThatRuns: of the second one of a worker.
func TestCancelIsOfTheJobThatRuns(t *testing.T) {
	t.Parallel()
	b := newLine(t)
	q, _ := b.queue()
	for i, id := range []string{"c1", "c2", "c3"} {
		b.submit(q, id, fmt.Sprint("step", i+1))
	}
	one := b.called()
	one.answer(doc.Success)
	b.wantTold("step1 Success", "final")
	two := b.called()
	if known, err := q.Cancel(t.Context(), "c2"); !known || err != nil {
		t.Error(known, err)
	}
	b.wantTold("step2 Cancelled", "final")
	three := b.called()
	three.answer(doc.Success)
	b.wantTold("step3 Success", "final")
	if one.pid != two.pid || two.pid == three.pid {
		t.Errorf("workers %d, %d, %d", one.pid, two.pid, three.pid)
	}
}

// TestWorkerKilledBetweenTwoJobs: each command has one result, and it is true.
func TestWorkerKilledBetweenTwoJobs(t *testing.T) {
	t.Parallel()
	b := newLine(t)
	b.sink = make(sink) // who reports waits for us
	q, _ := b.queue()
	b.submit(q, "c1", "one")
	b.submit(q, "c2", "two")
	one := b.called()
	one.answer(doc.Success)
	if r := <-b.sink; r.Result == nil || r.Result.Status != doc.Success {
		t.Fatalf("%+v", r)
	}
	// The agent still waits to tell of the end; the worker is through with the
	// first job once nobody can reach it there, and cannot have the second.
	for deadline := time.After(20 * time.Second); ; {
		if _, err := os.Lstat(filepath.Join(b.jobs(), "c1", "ipc")); err != nil {
			break
		}
		select {
		case <-deadline:
			t.Fatal("the worker still listens")
		case <-time.After(time.Millisecond):
		}
	}
	one.kill(t)
	b.wantTold("final")
	two := b.called()
	two.answer(doc.Success)
	b.wantTold("two Success", "final")
	if one.pid == two.pid {
		t.Errorf("%d was killed", one.pid)
	}
}

// TestWorkerKilledInItsSecondJob: that one failed, and the first did not.
func TestWorkerKilledInItsSecondJob(t *testing.T) {
	t.Parallel()
	b := newLine(t)
	q, _ := b.queue()
	b.submit(q, "c1", "one")
	b.submit(q, "c2", "two")
	b.called().answer(doc.Success)
	b.wantTold("one Success", "final")
	b.called().kill(t)
	if r := b.wantTold("two Failed", "final"); !strings.HasPrefix(r[0].Error, "interrupted by ") {
		t.Errorf("%+v", r[0])
	}
}

// TestAdoptionInTheSecondJob: the next agent finds the worker at the job that
// it runs, and the one that this agent gives the third job is another.
func TestAdoptionInTheSecondJob(t *testing.T) {
	t.Parallel()
	b := newLine(t)
	q, stop := b.queue()
	for i, id := range []string{"c1", "c2", "c3"} {
		b.submit(q, id, fmt.Sprint("step", i+1))
	}
	one := b.called()
	one.answer(doc.Success)
	b.wantTold("step1 Success", "final")
	two := b.called()
	if one.pid != two.pid {
		t.Errorf("workers %d and %d", one.pid, two.pid)
	}
	stop()
	q, _ = b.queue()
	waitRunning(t, q)
	two.answer(doc.Success)
	b.wantTold("step2 Success", "final") // and nothing of the first job again
	three := b.called()
	if three.pid == two.pid {
		t.Error("a worker whose agent went has another job")
	}
	gone(t, two.pid)
	three.answer(doc.Success)
	b.wantTold("step3 Success", "final")
}

// TestWorkerWhoseAgentWentEndsAfterItsJob, also when jobs wait.
func TestWorkerWhoseAgentWentEndsAfterItsJob(t *testing.T) {
	t.Parallel()
	b := newLine(t)
	q, stop := b.queue()
	b.submit(q, "c1", "one")
	b.submit(q, "c2", "two")
	one := b.called()
	stop()
	one.answer(doc.Success)
	gone(t, one.pid)
	b.queue()
	b.wantTold("one Success", "final")
	b.called().answer(doc.Success)
	b.wantTold("two Success", "final")
}
