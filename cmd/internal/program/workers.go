package program

import (
	"context"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/job"
	"ssmagent/internal/step"
	"ssmagent/internal/step/runscript"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/worker"
	"ssmagent/platform/ipc"
	"ssmagent/platform/proc"
	"ssmagent/platform/secfile"
)

// documentWorker is the hidden program that runs one document.
func documentWorker(ctx context.Context, s streams, args []string) int {
	return worker.Main(ctx, args, worker.Deps{
		FS: secfile.OS(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: s.err,
		Listen: ipc.Listen, Plugins: plugins, Subreaper: proc.BecomeSubreaper, KillDescendants: proc.KillDescendants,
	})
}

// plugins are the handlers of this build for one document.
func plugins(r job.Request, _ aws.CredentialsProvider) step.Set {
	set := step.Set{}
	for _, action := range later {
		set[action] = missing{action}
	}
	for action, i := range interpreters() {
		set[action] = runscript.Plugin{
			Interpreter: i, Starter: proc.Start, KillTree: proc.KillDescendants, Snapshot: proc.Descendants,
			Extra:      r.Node.Variables(),
			DefaultDir: r.Node.DefaultWorkDir,
		}
	}
	return set
}

// later are the actions of Linux that this version does not run. A step says
// so and fails: skipping it, as for a platform without a handler, would report
// a success that is none.
var later = []string{
	"aws:runDocument", "aws:downloadContent", "aws:configurePackage", "aws:softwareInventory", "aws:refreshAssociation",
	"aws:updateSsmAgent", "aws:domainJoin", "aws:configureDocker", "aws:runDockerAction",
}

// missing is a step that this version cannot run.
type missing struct{ action string }

// Run implements step.Plugin.
func (m missing) Run(context.Context, step.Input) step.Outcome {
	return step.Outcome{Status: doc.Failed, Code: 1, Error: m.action + " is not supported by ssmagent " + version + ": run the step with a script, or on a node with the stock agent"}
}
