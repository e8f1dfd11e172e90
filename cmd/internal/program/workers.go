package program

import (
	"context"
	"errors"
	"os"
	"runtime"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/clock"
	"ssmagent/internal/depot"
	"ssmagent/internal/environ"
	"ssmagent/internal/job"
	"ssmagent/internal/services"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/step"
	"ssmagent/internal/step/content"
	"ssmagent/internal/step/docker"
	"ssmagent/internal/step/packages"
	"ssmagent/internal/step/rundocument"
	"ssmagent/internal/step/runscript"
	"ssmagent/internal/worker"
	"ssmagent/platform/distro"
	"ssmagent/platform/ipc"
	"ssmagent/platform/proc"
	"ssmagent/platform/secfile"
)

// documentProcs is how many processors a document's worker uses at once: it
// does one thing after the other, and a second one would look for work in vain.
const documentProcs = 1

// documentWorker is the hidden program that runs one document.
func documentWorker(ctx context.Context, s streams, args []string) int {
	runtime.GOMAXPROCS(documentProcs)
	return worker.Main(ctx, args, worker.Deps{
		FS: secfile.OS(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: s.err,
		Listen: ipc.Listen, Plugins: plugins, Subreaper: proc.BecomeSubreaper, KillDescendants: proc.KillDescendants, Imprint: proc.Imprint,
		Log: workerLog(s, job.WorkerName),
	})
}

// plugins are the handlers of this build for one document.
func plugins(r job.Request, creds aws.CredentialsProvider) step.Set {
	set := step.Set{}
	for action, why := range later() {
		set[action] = missing{action + " " + why}
	}
	scripts := runscript.Plugin{
		Starter: proc.Start, KillTree: proc.KillDescendants, Snapshot: proc.Descendants,
		Extra:      r.Node.Variables(),
		DefaultDir: r.Node.DefaultWorkDir,
	}
	for action, i := range interpreters() {
		scripts.Interpreter = i
		set[action] = scripts
	}
	calls := services.New(services.Options{Node: r.Node.Services, Credentials: creds, FS: secfile.OS(), Clock: clock.Real{}})
	env := environ.Inherited(os.Environ())
	find := func(name string) (string, error) { return findProgram(name, env) }
	scripts.Interpreter = noShell()
	set["aws:runDockerAction"] = docker.Action{Exec: scripts.Exec, FindProgram: find}
	set["aws:configureDocker"] = docker.Configure{Exec: scripts.Exec, FindProgram: find, Platform: r.Node.PlatformName}
	download := content.Plugin{
		HTTP: calls.HTTP, Credentials: creds, Region: r.Node.Region, S3: r.Node.Services.S3, UserAgent: r.Node.Services.UserAgent,
		Secret: calls.Parameters().Secret, Document: calls.Document, Start: proc.Start, Env: withHome(env), Clock: clock.Real{},
		FindProgram: find,
	}
	set["aws:downloadContent"] = download
	set["aws:configurePackage"] = packages.Plugin{
		Depot: depot.Depot{FS: secfile.OS(), Clock: clock.Real{}, Dir: r.Node.Packages.Dir, Locks: r.Node.Packages.Locks, Manifests: r.Node.Packages.Manifests,
			TryLock: secfile.TryLock, Locked: secfile.ErrLocked},
		Call: calls.Call, Refused: ssmclient.Code, Fetch: download.Fetch, Scripts: set, System: distro.Read, Architecture: runtime.GOARCH,
		InstanceID: r.Node.InstanceID, Region: r.Node.Region, Env: env, Clock: clock.Real{},
	}
	for action, plugin := range systemSteps(r.Node, scripts, download, env) {
		set[action] = plugin
	}
	set["aws:runDocument"] = rundocument.Plugin{Plugins: set, Platform: r.Node.PlatformType, Document: calls.Document, Store: calls.Parameters(), Clock: clock.Real{}}
	return set
}

// withHome gives programs of the service the home of root, which a service
// manager does not set.
func withHome(env []string) []string {
	if os.Geteuid() != 0 || environ.Get(env, "HOME") != "" {
		return env
	}
	return environ.Set(env, "HOME", rootHome)
}

// later are the actions of Linux that this version does not run, and why. A
// step says so and fails: skipping it, as for a platform without a handler,
// would report a success that is none.
func later() map[string]string {
	flow := ", which ssmagent " + version + " does not have yet: run the document on a node with the stock agent until then"
	return map[string]string{
		"aws:softwareInventory":  "needs the agent's inventory" + flow,
		"aws:refreshAssociation": "needs the agent's associations" + flow,
		"aws:updateSsmAgent":     "needs the agent's updater" + flow,
	}
}

// missing is a step that this version cannot run, and why.
type missing struct{ why string }

// Run implements step.Plugin.
func (m missing) Run(_ context.Context, in step.Input) step.Outcome {
	return step.Fail(in, errors.New(m.why))
}
