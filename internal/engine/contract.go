// Package engine runs the steps of one document: order, preconditions, control
// flow, streams on disk, results. It knows no service and no socket.
package engine

import (
	"log/slog"

	"ssmagent/internal/clock"
	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
)

// Run is one document to run.
type Run struct {
	CommandID string
	Steps     []doc.Step
	// Dir is the command's orchestration directory (absolute, exists).
	Dir string
	// Streams is the directory below which the streams of the steps lie, if
	// not Dir; it exists.
	Streams string
	// Platform is "linux", "windows" or "macos": what preconditions compare.
	Platform string
	Plugins  step.Set
	// Done holds results recorded by an earlier run of the same document
	// (reboot, lost worker), by step id; see documents 2.1 for what each
	// status does. A step that was Started but has no result is lost: it
	// becomes Failed with Interrupted as its error and is not run again.
	Done        map[string]doc.Result
	Started     map[string]bool
	Interrupted string // "interrupted by <cause>, not run again"
	S3Bucket    string
	S3KeyPrefix string // command level; the step's plugin directory is appended
	// Printed, when set, is called before a block of a step runs, with the place
	// of its files stdout and stderr below Dir. What it returns is called when
	// the block is over, before its result is told, and says whether all of it
	// was taken to where it should be.
	Printed func(stepID, dir string) (over func() (taken bool))
	// Discard, when set, says whether the files of a block go once they were
	// read. Those of a block that asks for a restart stay: the next run adds to
	// them.
	Discard func(taken bool) bool
	// Recorder makes progress durable before it takes effect.
	Recorder Recorder
	Clock    clock.Clock  // nil: the machine's
	Log      *slog.Logger // nil: silent
}

// Recorder persists progress. An error stops the run: a step whose start
// cannot be recorded is not run.
type Recorder interface {
	// Started returns once it is durable that the step is about to run.
	Started(stepID string) error
	// Finished returns once the result is durable. It is called for every
	// step whose result is to be reported, in order.
	Finished(r doc.Result) error
}
