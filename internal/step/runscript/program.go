package runscript

import (
	"context"

	"ssmagent/internal/clock"
	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/proc"
)

// Program is a program that a step runs instead of a script.
type Program struct {
	Path             string   // absolute
	Args             []string // with argv[0]; no shell reads them
	WorkingDirectory string   // as the input of scripts
	Timeout          any      // as the input timeoutSeconds of scripts
}

// Exec runs a program as scripts are run: what becomes of its output, its exit
// code, a time-out and a cancellation is the same. Its environment has no
// command id, as with stock agents.
func (p Plugin) Exec(ctx context.Context, in step.Input, program Program) step.Outcome {
	if p.Clock == nil {
		p.Clock = clock.Real{}
	}
	in.CommandID = ""
	return p.run(ctx, proc.Spec{
		Path: program.Path, Args: program.Args, Env: p.environment(in, nil), Dir: p.workingDir(in.CommandDir, program.WorkingDirectory),
		Group: true, Umask: p.Umask, UmaskSet: p.UmaskSet,
	}, in, doc.ExecutionTimeout(program.Timeout))
}
