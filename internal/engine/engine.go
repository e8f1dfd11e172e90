package engine

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path"
	"runtime/debug"
	"slices"
	"strings"

	"ssmagent/internal/clock"
	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
)

// Classes of a skip or a failure, as Result.Reason has them.
const (
	ReasonPriorExit       = "priorStepExit"
	ReasonUnknown         = "unknownPlugin"
	ReasonUnsupported     = "unsupportedPlugin"
	ReasonNoHandler       = "handlerNotFound"
	ReasonBefore22        = "preconditionBefore22"
	ReasonUnsatisfied     = "unsatisfiedPrecondition"
	ReasonUnrecognized    = "unrecognizedPrecondition"
	ReasonInterrupted     = "interrupted"
	ReasonCrash           = "crash"
	ReasonStreams         = "streams"
	defaultInterrupted    = "interrupted, not run again"
	codeCancelledUpfront  = 1
	codeCrash, codeFailed = 1, 1
)

// Execute runs the steps and returns the document's status and the results of
// all steps known, in the document's order: those of this run and those of an
// earlier one. Steps that were not reached have none. The status is what all
// these add up to.
//
// The cause of ctx's end (step.ErrCancelled or step.ErrShutdown) decides how a
// running step ends; steps after it are Cancelled with code 1. An error is the
// recorder's or of the orchestration directory; what was known by then is
// returned with it.
func (r Run) Execute(ctx context.Context) (doc.Status, []doc.Result, error) {
	if r.Clock == nil {
		r.Clock = clock.Real{}
	}
	if r.Log == nil {
		r.Log = slog.New(slog.DiscardHandler)
	}
	root, err := os.OpenRoot(cmp.Or(r.Streams, r.Dir))
	if err != nil {
		return doc.Failed, nil, fmt.Errorf("open orchestration directory: %w", err)
	}
	defer root.Close()
	e := &execution{Run: r, root: root, offsets: map[string]int64{}}
	err = e.all(ctx)
	statuses := make([]doc.Status, len(e.results))
	for i, res := range e.results {
		statuses[i] = res.Status
	}
	if len(e.results) < len(r.Steps) && !slices.Contains(statuses, doc.SuccessAndReboot) {
		statuses = append(statuses, doc.NotStarted)
	}
	return doc.Aggregate(statuses), e.results, err
}

type execution struct {
	Run
	root    *os.Root
	results []doc.Result
	exit    bool // a step demanded that later ones are skipped
	// offsets are where streams that were used in this run are read from:
	// a second step or block in the same file tells its own text only.
	offsets map[string]int64
}

func (e *execution) all(ctx context.Context) error {
	for i, s := range e.Steps {
		done, has := e.Done[s.ID]
		switch {
		case has && done.Status == doc.Failed:
			if err := e.report(s, done); err != nil {
				return err
			}
		case has && settled(done.Status):
			e.keep(s, done)
		case e.Started[s.ID] && done.Status != doc.SuccessAndReboot:
			if err := e.report(s, e.lost(s)); err != nil {
				return err
			}
		default:
			res, err := e.step(ctx, s, i == len(e.Steps)-1)
			if err != nil {
				return err
			}
			if err := e.report(s, res); err != nil {
				return err
			}
			if res.Status == doc.SuccessAndReboot {
				return nil
			}
		}
	}
	return nil
}

// settled statuses of an earlier run are passed over without a word.
func settled(s doc.Status) bool {
	return slices.Contains([]doc.Status{doc.Success, doc.Skipped, doc.TimedOut, doc.Cancelled, doc.PassedAndReboot}, s)
}

func (e *execution) keep(s doc.Step, res doc.Result) {
	e.results = append(e.results, res)
	e.exit = e.exit || exits(s, res)
}

func (e *execution) report(s doc.Step, res doc.Result) error {
	if err := e.Recorder.Finished(res); err != nil {
		return fmt.Errorf("record the result of step %s: %w", s.ID, err)
	}
	e.Log.Debug("step finished", "step", s.ID, "status", res.Status, "code", res.Code, "reason", res.Reason)
	e.keep(s, res)
	return nil
}

// lost is the result of a step that an earlier process started and did not see
// the end of. What it had written by then is told.
func (e *execution) lost(s doc.Step) doc.Result {
	res := e.blank(s)
	res.Status, res.Code, res.Reason = doc.Failed, codeFailed, ReasonInterrupted
	if res.Error = e.Interrupted; res.Error == "" {
		res.Error = defaultInterrupted
	}
	blocks, isList := s.Inputs.([]any)
	if !isList {
		blocks = []any{s.Inputs}
	}
	for i, b := range blocks {
		out, errText := e.readBack(streamDir(s, b))
		if i == 0 {
			res.StandardOutput, res.StandardError = out, errText
			continue
		}
		res.StandardOutput, res.StandardError = join(res.StandardOutput, out), join(res.StandardError, errText)
	}
	// Operators who look at one invocation see the streams only.
	res.StandardError = strings.TrimPrefix(res.StandardError+"\n"+res.Error, "\n")
	return e.finish(s, res)
}

func (e *execution) blank(s doc.Step) doc.Result {
	res := doc.Result{ID: s.ID, Action: s.Action, Start: e.Clock.Now()}
	if e.S3Bucket != "" {
		res.S3Bucket = e.S3Bucket
		res.S3KeyPrefix = path.Join(e.S3KeyPrefix, strings.ReplaceAll(s.Action, ":", ""))
	}
	return res
}

// finish applies control flow and the limits of texts.
func (e *execution) finish(s doc.Step, res doc.Result) doc.Result {
	if res.Status != doc.Skipped {
		control(s, &res)
	}
	if res.Output == "" {
		res.Output = doc.TruncateOutput(res.StandardOutput, res.StandardError)
	}
	res.StandardOutput = doc.TruncateStream(res.StandardOutput)
	res.StandardError = doc.TruncateStream(res.StandardError)
	res.End = e.Clock.Now()
	return res
}

// step decides about one step and runs it.
func (e *execution) step(ctx context.Context, s doc.Step, last bool) (doc.Result, error) {
	res := e.blank(s)
	_, handler := e.Plugins[s.Action]
	v := decide(s, e.Platform, handler, e.exit && !(last && finally(s)))
	switch v.operation {
	case skip:
		res.Status, res.Output, res.Reason = doc.Skipped, v.message, v.reason
		return e.finish(s, res), nil
	case fail:
		res.Status, res.Error, res.Reason = doc.Failed, v.message, v.reason
		return e.finish(s, res), nil
	}
	if ctx.Err() == nil {
		if err := e.Recorder.Started(s.ID); err != nil {
			return res, fmt.Errorf("record the start of step %s: %w", s.ID, err)
		}
	}
	blocks, isList := s.Inputs.([]any)
	if !isList {
		blocks = []any{s.Inputs}
	}
	res.Status = "" // merging yields the first block's
	for i, b := range blocks {
		merge(&res, e.block(ctx, s, b), i == 0)
	}
	if len(blocks) == 0 {
		res.Status = doc.Success
	}
	return e.finish(s, res), nil
}

// piece is the outcome of one run of a plugin with its texts.
type piece struct {
	step.Outcome
	stdout, stderr string
}

// block runs a plugin once.
func (e *execution) block(ctx context.Context, s doc.Step, properties any) piece {
	if ctx.Err() != nil {
		return piece{Outcome: step.Outcome{Status: doc.Cancelled, Code: codeCancelledUpfront}}
	}
	st, err := e.openStreams(streamDir(s, properties))
	if err != nil {
		text := fmt.Sprintf("the step was not run: its output files cannot be made: %v", err)
		return piece{Outcome: step.Outcome{Status: doc.Failed, Code: codeFailed, Error: text, Reason: ReasonStreams}}
	}
	defer st.close()
	over := func() bool { return false }
	if e.Printed != nil {
		over = e.Printed(s.ID, streamDir(s, properties))
	}
	out := e.call(ctx, s, step.Input{
		StepID:     s.ID,
		CommandID:  e.CommandID,
		Properties: properties,
		Settings:   s.Settings,
		Env:        s.Env,
		CommandDir: e.Dir,
		StepDir:    stepDir(e.Dir, s),
		Stdout:     st.stdout,
		Stderr:     st.stderr,
	})
	untold := out.Error
	if untold != "" { // a full disk does not take it; the result tells it all the same
		n, _ := st.stderr.WriteString(untold)
		untold = untold[n:]
	}
	taken := over()
	p := piece{Outcome: out}
	p.stdout, p.stderr = st.texts()
	p.stderr += untold
	if e.Discard != nil && out.Status != doc.SuccessAndReboot && e.Discard(taken) {
		e.discard(streamDir(s, properties))
	}
	return p
}

// call keeps a crash of a plugin inside its step.
func (e *execution) call(ctx context.Context, s doc.Step, in step.Input) (out step.Outcome) {
	defer func() {
		if v := recover(); v != nil {
			e.Log.Error("plugin crashed", "action", s.Action, "step", s.ID, "panic", v, "stack", string(debug.Stack()))
			out = step.Outcome{Status: doc.Failed, Code: codeCrash, Reason: ReasonCrash,
				Error: fmt.Sprintf("the plugin %s crashed in step %s: %v", s.Action, s.ID, v)}
		}
	}()
	return e.Plugins[s.Action].Run(ctx, in)
}

// merge adds the outcome of a property block to a step's result.
func merge(res *doc.Result, p piece, first bool) {
	res.Status = doc.Merge(res.Status, p.Status)
	if res.Code == 0 {
		res.Code = p.Code
	}
	if p.Reason != "" {
		res.Reason = p.Reason
	}
	if p.Output != "" {
		res.Output = p.Output
	}
	if p.Error != "" {
		res.Error = strings.TrimPrefix(res.Error+"\n"+p.Error, "\n")
	}
	if first {
		res.StandardOutput, res.StandardError = p.stdout, p.stderr
		return
	}
	res.StandardOutput, res.StandardError = join(res.StandardOutput, p.stdout), join(res.StandardError, p.stderr)
}

// join puts a line break after text that is there, also before none. What is
// beyond the limit anyway is not gathered.
func join(a, b string) string {
	switch {
	case a == "":
		return b
	case len(a) >= doc.MaxStream:
		return a
	}
	return a + "\n" + b
}
