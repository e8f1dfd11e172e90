package worker_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/job"
	"ssmagent/internal/link"
	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/worker"
	"ssmagent/platform/ipc"
	"ssmagent/platform/proc"
	"ssmagent/platform/secfile"
)

// TestMain makes the test's own program the worker, as the agent's is.
func TestMain(m *testing.M) {
	if os.Args[0] == job.WorkerName {
		os.Exit(worker.Main(context.Background(), os.Args[1:], deps()))
	}
	os.Exit(m.Run())
}

func deps() worker.Deps {
	return worker.Deps{
		FS: secfile.OS(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Listen: ipc.Listen,
		Plugins: func(_ job.Request, c aws.CredentialsProvider) step.Set {
			return step.Set{"aws:runShellScript": ask{c}, "aws:configurePackage": ask{c}}
		},
		Subreaper: proc.BecomeSubreaper, KillDescendants: proc.KillDescendants, Imprint: proc.Imprint,
	}
}

// ask is a plugin that calls the test, says which step of which process it is
// and does what it is told.
type ask struct{ creds aws.CredentialsProvider }

func (a ask) Run(ctx context.Context, in step.Input) step.Outcome {
	c, err := net.Dial("tcp", in.Properties.(string))
	if err != nil {
		return step.Outcome{Status: doc.Failed, Code: 1, Error: err.Error()}
	}
	defer c.Close()
	fmt.Fprintf(c, "%s %d\n", in.StepID, os.Getpid())
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	line, err := bufio.NewReader(c).ReadString('\n')
	switch {
	case errors.Is(context.Cause(ctx), step.ErrCancelled):
		return step.Outcome{Status: doc.Cancelled, Code: 137}
	case err != nil:
		return step.Outcome{Status: doc.Failed, Code: 1, Error: err.Error()}
	}
	fmt.Fprintf(in.Stdout, "%s was told %s", in.StepID, line)
	line = strings.TrimSpace(line)
	switch script, ok := strings.CutPrefix(line, "sh "); {
	case ok:
		if err := exec.Command("/bin/sh", "-c", script).Run(); err != nil {
			return step.Outcome{Status: doc.Failed, Code: 1, Error: err.Error()}
		}
		line = string(doc.Success)
	case line == "credentials":
		c, err := a.creds.Retrieve(ctx)
		if err != nil {
			c.AccessKeyID = err.Error()
		}
		fmt.Fprint(in.Stdout, c.AccessKeyID)
		line = string(doc.Success)
	}
	return step.Outcome{Status: doc.Status(line)}
}

func TestStepsAreRunAndReportedInOrder(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	q, _ := b.queue()
	b.submit(q, "c1", "one", "two")
	one := b.called()
	one.answer(doc.Success)
	b.called().answer(doc.Failed)
	results := b.wantTold("one Success", "two Failed", "final")
	if results[0].StandardOutput != "one was told Success\n" {
		t.Errorf("%+v", results[0])
	}
	if one.pid == os.Getpid() {
		t.Error("the step ran in the agent's process")
	}
	gone(t, one.pid)
}

// gone waits until a process of a pid that was a child has been collected.
func gone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.After(20 * time.Second); ; {
		ids, err := proc.Descendants()
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, id := range ids {
			found = found || id.PID == pid
		}
		if !found {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("worker %d still runs", pid)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func TestAdoption(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprint("ends while the agent is away: ", late), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			q, stop := b.queue()
			b.submit(q, "c1", "one", "two")
			b.called().answer(doc.Success)
			two := b.called()
			if r := <-b.sink; r.Result == nil || r.Result.ID != "one" {
				t.Fatalf("%+v", r)
			}
			stop()
			if late {
				two.answer(doc.Success)
				waitClosed(t, two)
			}
			q, _ = b.queue()
			if !late {
				if w, r := waitRunning(t, q); w != 0 || r != 1 {
					t.Errorf("%d wait, %d run", w, r)
				}
				two.answer(doc.Success)
			}
			// "one" was told before; it is not told again.
			b.wantTold("two Success", "final")
		})
	}
}

// TestCredentialsComeFromTheAgent: when a step needs them, from the agent that
// is there, or from the next one.
func TestCredentialsComeFromTheAgent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var next atomic.Pointer[link.Credentials]
	b.credentials = func(context.Context) (link.Credentials, error) {
		if c := next.Load(); c != nil {
			return *c, nil
		}
		return link.Credentials{}, errors.New("no role yet")
	}
	told := func(want string) {
		t.Helper()
		if r := <-b.sink; r.Result == nil || r.Result.StandardOutput != want {
			t.Fatalf("%+v, want %s", r.Result, want)
		}
	}
	q, stop := b.queue()
	b.submit(q, "c1", "one", "two", "three")
	b.called().answer("credentials")
	told("one was told credentials\nthe agent has no credentials: no role yet")
	two := b.called()
	stop()
	two.answer("credentials") // nobody is there
	next.Store(&link.Credentials{AccessKeyID: "AKIATWO"})
	b.queue()
	told("two was told credentials\nAKIATWO")
	next.Store(nil) // what a worker has it does not ask for again
	b.called().answer("credentials")
	told("three was told credentials\nAKIATWO")
}

func waitRunning(t *testing.T, q *job.Queue) (int, int) {
	t.Helper()
	for deadline := time.After(20 * time.Second); ; {
		if w, r := q.Live(); r > 0 {
			return w, r
		}
		select {
		case <-deadline:
			t.Fatal("no job was taken up")
		case <-time.After(time.Millisecond):
		}
	}
}

// waitClosed waits until the other end has closed the call.
func waitClosed(t *testing.T, c call) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	var one [1]byte
	if _, err := c.Read(one[:]); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the step did not end")
	}
}

func TestLostWorkerIsReportedOnceAndItsStepNotRunAgain(t *testing.T) {
	t.Parallel()
	for _, away := range []bool{false, true} {
		t.Run(fmt.Sprint("the agent is away: ", away), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			q, stop := b.queue()
			b.submit(q, "c1", "one", "two")
			one := b.called()
			if away {
				stop()
			}
			one.kill(t)
			if away {
				b.queue()
			}
			two := b.called()
			if two.step != "two" || two.pid == one.pid {
				t.Fatalf("%+v after %+v", two, one)
			}
			two.answer(doc.Success)
			results := b.wantTold("one Failed", "two Success", "final")
			if e := results[0].Error; !strings.HasPrefix(e, "interrupted by ") || !strings.HasSuffix(e, ", not run again") {
				t.Errorf("%q", e)
			}
		})
	}
}

func TestCancelOfARunningCommand(t *testing.T) {
	t.Parallel()
	for _, adopted := range []bool{false, true} {
		t.Run(fmt.Sprint("adopted: ", adopted), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			q, stop := b.queue()
			b.submit(q, "c1", "one", "two")
			one := b.called()
			if adopted {
				stop()
				q, _ = b.queue()
			}
			if known, err := q.Cancel(t.Context(), "c1"); !known || err != nil {
				t.Fatal(known, err)
			}
			results := b.wantTold("one Cancelled", "two Cancelled", "final")
			if results[0].Code != 137 || results[1].Code != 1 {
				t.Errorf("%+v", results)
			}
			waitClosed(t, one)
		})
	}
}

func TestRebootRunsTheStepAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rebooted := make(chan struct{}, 1)
	b.boot = func(context.Context) error { rebooted <- struct{}{}; return nil }
	q, stop := b.queue()
	b.submit(q, "c1", "one", "two")
	one := b.called()
	one.answer(doc.SuccessAndReboot)
	b.wantTold("one SuccessAndReboot", "reboot")
	<-rebooted
	gone(t, one.pid) // as no process outlives a restart of the machine
	stop()
	b.queue()
	again := b.called()
	if again.step != "one" {
		t.Fatalf("%+v", again)
	}
	again.answer(doc.Success)
	b.called().answer(doc.Success)
	b.wantTold("one Success", "two Success", "final")
}

func TestRebootThatCannotBe(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	q, _ := b.queue()
	b.submit(q, "c1", "one")
	b.called().answer(doc.SuccessAndReboot)
	b.wantTold("one SuccessAndReboot", "reboot")
	if r := b.wantTold("one Failed", "final"); !strings.Contains(r[0].Error, "restart") {
		t.Errorf("%+v", r)
	}
}

func TestWorkersThatNeverBeginEndAtTheLimit(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.exe = "/bin/false"
	if _, err := os.Stat(b.exe); err != nil {
		t.Skip("no program that only fails here")
	}
	q, _ := b.queue()
	b.submit(q, "c1", "one")
	if r := b.wantTold("one Failed", "final"); !strings.Contains(r[0].Error, "3 workers were started") {
		t.Errorf("%+v", r)
	}
}

func TestWorkerAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := job.Request{ID: "c1", JobID: "aws.ssm.c1.mi-1", Dir: filepath.Join(b.dir, "o"), Steps: []doc.Step{{ID: "one", Action: "aws:runShellScript", Dir: "one", V2: true}}}
	dir := filepath.Join(b.jobs(), "c1")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r.Version = job.Version
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "request.json"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, stdin string
		args        []string
		code        int
		says        string
	}{
		{"never told to run", "", []string{dir}, 1, "went away"},
		{"an order that is none", "run!\n", []string{dir}, 1, "went away"},
		{"no directory", "", nil, 2, "absolute path"},
		{"relative", "", []string{"c1"}, 2, "absolute path"},
		{"nothing there", "", []string{filepath.Join(b.jobs(), "c2")}, 1, "no such file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			d := deps()
			d.Stdin, d.Stdout, d.Stderr = strings.NewReader(tc.stdin), &out, &errs
			d.Subreaper = func() error { return nil }
			if code := worker.Main(t.Context(), tc.args, d); code != tc.code || !strings.Contains(errs.String(), tc.says) {
				t.Errorf("code %d, says %q", code, errs.String())
			}
			if out.Len() != 0 {
				t.Errorf("told %q", out.String())
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "events")); err == nil {
		t.Error("a worker that was not told to run left a record")
	}
}
