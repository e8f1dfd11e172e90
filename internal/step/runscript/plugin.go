// Package runscript is the actions aws:runShellScript and
// aws:runPowerShellScript: the lines of a step become a script file, which an
// interpreter runs. What differs between the two, and between systems, is data
// (Interpreter).
package runscript

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/proc"
)

const (
	defaultGrace = 5 * time.Second  // for output that background processes still write
	killWithin   = 10 * time.Second // for a tree of processes to be gone
)

// Plugin runs scripts. It is safe for concurrent use; ending a script ends
// every process of ours that started at the same time or later.
type Plugin struct {
	Interpreter Interpreter
	// Starter starts a process; nil is proc.Start.
	Starter func(proc.Spec) (proc.Process, error)
	// KillTree ends all our descendants but keep (proc.KillDescendants) and
	// Snapshot lists them (proc.Descendants). Without them only the
	// script's process group is ended.
	KillTree func(ctx context.Context, keep []proc.ID) error
	Snapshot func() ([]proc.ID, error)
	// Env is what scripts inherit; nil is the environment of this process.
	// What is the agent's own is taken out of it.
	Env func() []string
	// Extra are variables ("NAME=value") that win over those of the step.
	Extra []string
	// DefaultDir is the working directory of scripts that name none; empty
	// is that of this process.
	DefaultDir string
	// Umask of scripts, if set.
	Umask    int
	UmaskSet bool
	Clock    clock.Clock // nil: the machine's
	// OutputGrace is how long output is still read after a script's end from
	// pipes that background processes keep open; 0 is 5 s.
	OutputGrace time.Duration
}

var _ step.Plugin = Plugin{}

// inputs are the members of a property block that count.
type inputs struct {
	RunCommand       []string          `json:"runCommand"`
	TimeoutSeconds   any               `json:"timeoutSeconds"`
	WorkingDirectory string            `json:"workingDirectory"`
	Environment      map[string]string `json:"environment"`
	ID               string            `json:"id"`
}

// Run implements step.Plugin.
func (p Plugin) Run(ctx context.Context, in step.Input) step.Outcome {
	if ctx.Err() != nil {
		return step.Outcome{Status: doc.Cancelled, Code: 1}
	}
	if p.Clock == nil {
		p.Clock = clock.Real{}
	}
	i, err := decode(in.Properties)
	if err != nil {
		out := failed(in.Stderr, err)
		out.Reason = step.ReasonInput
		return out
	}
	spec, err := p.spec(in, i)
	if err != nil {
		return failed(in.Stderr, err)
	}
	return p.run(ctx, spec, in, doc.ExecutionTimeout(i.TimeoutSeconds))
}

func decode(properties any) (inputs, error) {
	i, err := step.Decode[inputs](properties, "runCommand must be a list of strings, environment an object of strings, workingDirectory and id strings")
	if err != nil {
		return inputs{}, err
	}
	for name, value := range i.Environment {
		if name == "" || strings.ContainsRune(name+value, 0) {
			return inputs{}, fmt.Errorf("environment variable %q has no name or a NUL character", name)
		}
	}
	return i, nil
}

// spec writes the script and says how to run it.
func (p Plugin) spec(in step.Input, i inputs) (proc.Spec, error) {
	interpreter, err := p.Interpreter.find()
	if err != nil {
		return proc.Spec{}, err
	}
	script, err := writeScript(in, doc.PropertyDir(i.ID), p.Interpreter, i.RunCommand)
	if err != nil {
		return proc.Spec{}, fmt.Errorf("write the script below %s: %w%s", in.CommandDir, err, remedy(err))
	}
	return proc.Spec{
		Path:     interpreter,
		Args:     p.Interpreter.argv(interpreter, script),
		Env:      p.environment(in, i.Environment),
		Dir:      p.workingDir(in.CommandDir, i.WorkingDirectory),
		Group:    true,
		Umask:    p.Umask,
		UmaskSet: p.UmaskSet,
	}, nil
}

// workingDir is an absolute path as given; else below the command's downloads
// if that exists, else the default.
func (p Plugin) workingDir(commandDir, given string) string {
	if filepath.IsAbs(given) {
		return given
	}
	if given == "" || filepath.IsLocal(given) {
		below := filepath.Join(commandDir, "downloads", given)
		if info, err := os.Stat(below); err == nil && info.IsDir() {
			return below
		}
	}
	return p.DefaultDir
}

// failed is the outcome of a step whose script did not come to run. The text
// goes where the script's own complaints would; if even that is impossible it
// becomes the step's output.
func failed(stderr io.Writer, err error) step.Outcome {
	out := step.Outcome{Status: doc.Failed, Code: 1}
	text := "failed to run commands: " + err.Error()
	if _, werr := io.WriteString(stderr, text); werr != nil {
		out.Error = text
	}
	return out
}

// remedy adds what to do about the errors of a file system.
func remedy(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return "; free space on that file system"
	case errors.Is(err, syscall.EROFS):
		return "; the file system is mounted read-only"
	case errors.Is(err, os.ErrPermission):
		return "; the agent may not write there"
	}
	return ""
}
