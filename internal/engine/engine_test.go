package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/engine"
	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
)

// fn is a plugin in a function.
type fn func(ctx context.Context, in step.Input) step.Outcome

func (f fn) Run(ctx context.Context, in step.Input) step.Outcome { return f(ctx, in) }

func ok(_ context.Context, in step.Input) step.Outcome {
	fmt.Fprint(in.Stdout, "<"+in.StepID+">")
	return step.Outcome{Status: doc.Success}
}

const action = "aws:runShellScript"

func v2(names ...string) []doc.Step {
	var steps []doc.Step
	for _, n := range names {
		steps = append(steps, doc.Step{ID: n, Action: action, Dir: strings.ReplaceAll(n, ":", ""), V2: true, PreconditionsEnabled: true, Inputs: map[string]any{}})
	}
	return steps
}

func run(t *testing.T, f fn, steps []doc.Step) (engine.Run, *record) {
	rec := &record{}
	return engine.Run{CommandID: "c", Steps: steps, Dir: t.TempDir(), Platform: doc.Linux, Plugins: step.Set{action: f}, Recorder: rec,
		Clock: clock.NewFake(time.Unix(1700000000, 0))}, rec
}

func TestLostStepIsFailedAndNotRunAgain(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, onFailure string
		status          doc.Status
		code            int
		document        doc.Status
		ran             []string
	}{
		{"goes on", "", doc.Failed, 1, doc.Failed, []string{"after"}},
		{"exits", "exit", doc.Failed, 1, doc.Failed, nil},
		{"succeeds and exits", "successAndExit", doc.Success, 168, doc.Success, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var ran []string
			steps := v2("before", "lost", "after")
			steps[1].Inputs = map[string]any{"onFailure": tc.onFailure}
			r, rec := run(t, func(ctx context.Context, in step.Input) step.Outcome {
				ran = append(ran, in.StepID)
				return ok(ctx, in)
			}, steps)
			r.Done = map[string]doc.Result{"before": {ID: "before", Status: doc.Success}}
			r.Started = map[string]bool{"before": true, "lost": true}
			r.Interrupted = "interrupted by a power cut, not run again"
			dir := filepath.Join(r.Dir, "awsrunShellScript", "lost")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			os.WriteFile(filepath.Join(dir, "stdout"), []byte("half"), 0o600)

			status, results, err := r.Execute(t.Context())
			if err != nil || status != tc.document || !slices.Equal(ran, tc.ran) {
				t.Fatalf("%s, ran %v, %v", status, ran, err)
			}
			lost := results[1]
			if lost.Status != tc.status || lost.Code != tc.code || lost.Error != r.Interrupted || lost.Reason != engine.ReasonInterrupted ||
				!strings.HasPrefix(lost.StandardOutput, "half") {
				t.Errorf("%+v", lost)
			}
			if slices.Contains(rec.started, "lost") || rec.finished[0].ID != "lost" {
				t.Errorf("record %+v", rec)
			}
		})
	}
}

func TestOnlyARequestedRebootRunsAStepAgain(t *testing.T) {
	t.Parallel()
	r, rec := run(t, ok, v2("a"))
	r.Started = map[string]bool{"a": true}
	r.Done = map[string]doc.Result{"a": {ID: "a", Status: doc.SuccessAndReboot, Code: 194}}
	dir := filepath.Join(r.Dir, "awsrunShellScript", "a")
	os.MkdirAll(dir, 0o700)
	os.WriteFile(filepath.Join(dir, "stdout"), []byte("before the reboot "), 0o600)
	status, results, err := r.Execute(t.Context())
	if err != nil || status != doc.Success || results[0].StandardOutput != "before the reboot <a>" || len(rec.started) != 1 {
		t.Errorf("%s %+v %v", status, results, err)
	}
}

// TestOutputIsDiscarded: the files go, the texts are told; a step that asks for
// a restart keeps them for its next run.
func TestOutputIsDiscarded(t *testing.T) {
	t.Parallel()
	r, _ := run(t, ok, v2("a", "b"))
	r.Printed = func(id, _ string) func() bool { return func() bool { return id == "a" } }
	r.Discard = func(taken bool) bool { return taken }
	_, results, err := r.Execute(t.Context())
	if err != nil || results[0].StandardOutput != "<a>" || results[1].StandardOutput != "<b>" {
		t.Fatalf("%+v %v", results, err)
	}
	for id, want := range map[string]bool{"a": false, "b": true} {
		if _, err := os.Stat(filepath.Join(r.Dir, "awsrunShellScript", id, "stdout")); (err == nil) != want {
			t.Errorf("%s: the file: %v", id, err)
		}
	}
	r, _ = run(t, func(_ context.Context, in step.Input) step.Outcome {
		io.WriteString(in.Stdout, "first")
		return step.Outcome{Status: doc.SuccessAndReboot, Code: 194}
	}, v2("a"))
	r.Discard = func(bool) bool { return true }
	if _, _, err := r.Execute(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(r.Dir, "awsrunShellScript", "a", "stdout")); err != nil {
		t.Error("gone before the restart")
	}
}

func TestCancelledStepsAfterTheRunningOne(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	r, rec := run(t, func(context.Context, step.Input) step.Outcome {
		cancel(step.ErrCancelled)
		return step.Outcome{Status: doc.Cancelled, Code: 137}
	}, v2("a", "b", "c"))
	r.Steps[2].Preconditions = map[string][]doc.Argument{"StringEquals": {{Initial: "platformType", Resolved: "platformType"}, {Initial: "Windows", Resolved: "Windows"}}}
	status, results, err := r.Execute(ctx)
	if err != nil || status != doc.Cancelled || len(results) != 3 {
		t.Fatal(status, results, err)
	}
	for i, want := range []struct {
		s doc.Status
		c int
	}{{doc.Cancelled, 137}, {doc.Cancelled, 1}, {doc.Skipped, 0}} {
		if results[i].Status != want.s || results[i].Code != want.c {
			t.Errorf("step %d: %s %d", i, results[i].Status, results[i].Code)
		}
	}
	if len(rec.started) != 1 || len(rec.finished) != 3 {
		t.Errorf("%+v", rec)
	}
}

func TestPanicStaysInsideTheStep(t *testing.T) {
	t.Parallel()
	r, _ := run(t, func(ctx context.Context, in step.Input) step.Outcome {
		if in.StepID == "a" {
			io.WriteString(in.Stdout, "so far")
			panic("no such luck")
		}
		return ok(ctx, in)
	}, v2("a", "b"))
	status, results, err := r.Execute(t.Context())
	if err != nil || status != doc.Failed || results[0].Code != 1 || results[0].Reason != engine.ReasonCrash ||
		!strings.Contains(results[0].Error, "no such luck") || results[0].StandardOutput != "so far" || results[1].Status != doc.Success {
		t.Errorf("%s %+v %v", status, results, err)
	}
}

func TestStepWhoseStartIsNotOnRecordIsNotRun(t *testing.T) {
	t.Parallel()
	r, rec := run(t, func(context.Context, step.Input) step.Outcome { t.Error("ran"); return step.Outcome{} }, v2("a"))
	full := errors.New("disk full")
	rec.refuse = full
	status, results, err := r.Execute(t.Context())
	if !errors.Is(err, full) || len(results) != 0 || status != doc.InProgress {
		t.Errorf("%s %v %v", status, results, err)
	}
}

func TestStreamsLieWhereStockAgentsPutThem(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		step doc.Step
		want string
	}{
		{"2.x", doc.Step{ID: "my: step", Action: action, Dir: "my step", V2: true}, "awsrunShellScript/my step"},
		{"1.x", doc.Step{ID: action, Action: action, Dir: "awsrunShellScript", Inputs: []any{map[string]any{"id": "0.aws:runShellScript"}}}, "awsrunShellScript/0.awsrunShellScript"},
		{"1.x no id", doc.Step{ID: action, Action: action, Dir: "awsrunShellScript"}, "awsrunShellScript"},
		{"1.x hostile id", doc.Step{ID: action, Action: action, Dir: "awsrunShellScript", Inputs: map[string]any{"id": "../../../x"}}, "awsrunShellScript"},
		{"named like its action", doc.Step{ID: action, Action: action, Dir: "awsrunShellScript", V2: true, Inputs: map[string]any{"id": "x"}}, "awsrunShellScript/x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, _ := run(t, ok, []doc.Step{tc.step})
			if _, _, err := r.Execute(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, f := range []string{"stdout", "stderr"} {
				info, err := os.Stat(filepath.Join(r.Dir, tc.want, f))
				if err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s: %v %v", f, info, err)
				}
			}
			if info, err := os.Stat(filepath.Join(r.Dir, "awsrunShellScript")); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%v %v", info, err)
			}
		})
	}
}

func TestNoLinkLeadsOut(t *testing.T) {
	t.Parallel()
	r, _ := run(t, ok, v2("a"))
	out := t.TempDir()
	if err := os.Symlink(out, filepath.Join(r.Dir, "awsrunShellScript")); err != nil {
		t.Fatal(err)
	}
	status, results, err := r.Execute(t.Context())
	if err != nil || status != doc.Failed || results[0].Reason != engine.ReasonStreams {
		t.Errorf("%s %+v %v", status, results, err)
	}
	if left, _ := os.ReadDir(out); len(left) > 0 {
		t.Errorf("wrote outside: %v", left)
	}
}

func TestEndlessOutputIsReadInPart(t *testing.T) {
	t.Parallel()
	r, _ := run(t, func(_ context.Context, in step.Input) step.Outcome {
		for range 64 {
			in.Stdout.Write(make([]byte, 1<<20))
		}
		return step.Outcome{Status: doc.Success}
	}, v2("a"))
	_, results, err := r.Execute(t.Context())
	if err != nil || len(results[0].StandardOutput) != doc.MaxStream || len(results[0].Output) != doc.MaxOutput {
		t.Errorf("%d %d %v", len(results[0].StandardOutput), len(results[0].Output), err)
	}
	if info, err := os.Stat(filepath.Join(r.Dir, "awsrunShellScript", "a", "stdout")); err != nil || info.Size() != 64<<20 {
		t.Errorf("%v %v", info, err)
	}
}

func TestErrorOfAPluginIsShown(t *testing.T) {
	t.Parallel()
	r, _ := run(t, func(_ context.Context, in step.Input) step.Outcome {
		io.WriteString(in.Stderr, "e;")
		return step.Outcome{Status: doc.Failed, Error: "no such thing"}
	}, v2("a"))
	r.S3Bucket, r.S3KeyPrefix = "b", "p/c/mi-1"
	_, results, _ := r.Execute(t.Context())
	s := results[0].StepStatus()
	if s.Output != "no such thing" || s.StandardError != "e;no such thing" || s.Code != 1 || s.OutputS3KeyPrefix != "p/c/mi-1/awsrunShellScript" || s.StepName != "a" {
		t.Errorf("%+v", s)
	}
	if s.StartDateTime != "2023-11-14T22:13:20.000Z" || s.EndDateTime != s.StartDateTime {
		t.Errorf("%s %s", s.StartDateTime, s.EndDateTime)
	}
}

func TestBlocksMerge(t *testing.T) {
	t.Parallel()
	r, _ := run(t, func(_ context.Context, in step.Input) step.Outcome {
		n := in.Properties.(float64)
		fmt.Fprintf(in.Stdout, "%v", n)
		return step.Outcome{Status: doc.Success, Code: int(n), Output: "ids"}
	}, v2("a"))
	r.Steps[0].Inputs = []any{0.0, 5.0, 7.0}
	_, results, _ := r.Execute(t.Context())
	if results[0].StandardOutput != "0\n5\n7" || results[0].Code != 5 || results[0].Output != "ids" {
		t.Errorf("%+v", results[0])
	}
	r.Steps[0].Inputs = []any{}
	if _, results, _ := r.Execute(t.Context()); results[0].Status != doc.Success {
		t.Errorf("no blocks: %+v", results[0])
	}
}

func TestMissingDirectory(t *testing.T) {
	t.Parallel()
	r, _ := run(t, ok, v2("a"))
	r.Dir = filepath.Join(r.Dir, "missing")
	if status, _, err := r.Execute(t.Context()); !errors.Is(err, os.ErrNotExist) || status != doc.Failed {
		t.Errorf("%s %v", status, err)
	}
}
