package packages

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/wire/ssm"
)

// trace notes what was done, for the report.
type trace struct {
	clock clock.Clock
	start time.Time
	steps []ssm.PackageStep
}

// record is a trace as it is kept over a restart.
type record struct {
	Start time.Time
	Steps []ssm.PackageStep
}

const maxSteps = 500

func newTrace(c clock.Clock) *trace { return &trace{clock: c, start: c.Now()} }

func (t *trace) add(action string, result int64) {
	if len(t.steps) < maxSteps {
		t.steps = append(t.steps, ssm.PackageStep{Action: action, Result: result, Timing: t.clock.Now().Sub(t.start).Milliseconds()})
	}
}

// section notes the beginning of a deed; what it returns notes the end.
func (t *trace) section(name string) func(error) {
	t.add("> "+name, 0)
	return func(err error) {
		result := int64(0)
		if err != nil {
			result = 1
		}
		t.add("< "+name, result)
	}
}

// resume puts what was noted before a restart in front, and says whether there
// was one.
func (t *trace) resume(kept []byte) bool {
	var r record
	if kept == nil {
		return false
	}
	if json.Unmarshal(kept, &r) == nil && len(r.Steps) <= maxSteps {
		t.start, t.steps = r.Start, append(r.Steps, t.steps...)
	}
	return true
}

func (t *trace) encode() []byte {
	b, err := json.Marshal(record{t.start, t.steps})
	if err != nil {
		return []byte("{}") // nothing in it can fail
	}
	return b
}

// report tells the service what became of it. A report that cannot be made
// changes nothing; it is told where stock agents tell it.
func (w *work) report(ctx context.Context, previous string, ok bool) {
	result := int64(1)
	if ok {
		result = 0
	}
	w.trace.add("= "+w.i.Action, result)
	in := ssm.PutConfigurePackageResultInput{
		PackageName: w.source.id, PackageVersion: w.source.version, PreviousPackageVersion: previous, Operation: w.i.Action,
		OverallTiming: w.Clock.Now().Sub(w.trace.start).Milliseconds(), Result: result, Steps: w.trace.steps,
		Attributes: map[string]string{
			"platformName": w.system.Name, "platformVersion": w.system.Version, "architecture": architecture(w.Architecture),
			"instanceID": w.InstanceID, "instanceType": "", "region": w.Region, "availabilityZone": "",
		},
	}
	if err := w.Call(ctx, "PutConfigurePackageResult", in, nil); err != nil && !w.source.document {
		w.complain("the result could not be reported: %v", err)
	}
}

// say and complain write a line to the step's output.
func (w *work) say(format string, args ...any)      { w.line(w.in.Stdout, format, args) }
func (w *work) complain(format string, args ...any) { w.line(w.in.Stderr, format, args) }

func (w *work) line(to io.Writer, format string, args []any) {
	if _, err := fmt.Fprintf(to, format+"\n", args...); err != nil && w.lost == nil {
		w.lost = fmt.Errorf("the step's output is not complete: %w", err)
	}
}
