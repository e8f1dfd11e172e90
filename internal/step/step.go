// Package step is the contract between the engine and the plugins that run a
// step's action. Implementations live in the packages below it.
package step

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"ssmagent/internal/wire/doc"
)

// Causes of a cancelled context that a plugin tells apart (context.Cause).
var (
	// ErrCancelled: an operator cancelled the command. Status Cancelled.
	ErrCancelled = errors.New("cancelled by the operator")
	// ErrShutdown: the worker itself is told to end. Status Failed.
	ErrShutdown = errors.New("the agent is shutting down")
)

// Input is what one run of a plugin gets: one element of a step's properties.
type Input struct {
	StepID    string
	CommandID string // empty for associations
	// Properties are the substituted inputs (any JSON value).
	Properties any
	// Settings are those of the step, which few plugins have.
	Settings any
	// Env holds variables for a script, before those of the agent's own.
	Env map[string]string
	// CommandDir is the command's orchestration directory (absolute).
	CommandDir string
	// StepDir is where the step writes scripts: CommandDir/<step>.
	StepDir string
	// Stdout and Stderr go to the step's stream files, append mode, unlimited.
	Stdout, Stderr io.Writer
}

// Outcome of one run of a plugin. Streams went to the writers.
type Outcome struct {
	Status doc.Status
	Code   int
	// Error, when set, is shown as the step's output and on standard error.
	Error string
	// Output, when set, replaces the combined output (refreshAssociation).
	Output string
	// Reason is the class of a failure ("inputDecode"), for tests and logs.
	Reason string
}

// ReasonInput is the Reason of inputs of the wrong JSON type.
const ReasonInput = "inputDecode"

// Plugin runs one action. Run returns when the step is over, also when ctx
// ends: then every process it started is gone and the status says why.
type Plugin interface {
	Run(ctx context.Context, in Input) Outcome
}

// Set maps an action to its plugin: the handlers of this build and platform.
type Set map[string]Plugin

// Fail is the outcome of a step that failed. The text goes where a script's
// complaints would; if even that is impossible it becomes the step's output.
func Fail(in Input, err error) Outcome {
	out := Outcome{Status: doc.Failed, Code: 1}
	if _, werr := io.WriteString(in.Stderr, err.Error()); werr != nil {
		out.Error = err.Error()
	}
	return out
}

// Reject is Fail for inputs that cannot be read.
func Reject(in Input, err error) Outcome {
	out := Fail(in, err)
	out.Reason = ReasonInput
	return out
}

// Decode reads properties as inputs. types says for the error of which JSON
// types they must be.
func Decode[T any](properties any, types string) (inputs T, err error) {
	b, err := json.Marshal(properties)
	if err == nil {
		err = json.Unmarshal(b, &inputs)
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return inputs, fmt.Errorf("input %s is a JSON %s: %s", wrong.Field, wrong.Value, types)
	}
	if err != nil {
		return inputs, fmt.Errorf("inputs of the step: %w", err)
	}
	return inputs, nil
}

// Stopped is the outcome of a step that ctx's end has stopped; err is what the
// step had to say about it, if anything.
func Stopped(ctx context.Context, in Input, err error) Outcome {
	if err == nil {
		err = context.Cause(ctx)
	}
	out := Fail(in, err)
	if errors.Is(context.Cause(ctx), ErrCancelled) {
		out.Status = doc.Cancelled
	}
	return out
}
