package program

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"runtime/debug"
	"sync"

	"ssmagent/cmd/internal/connect"
	"ssmagent/fingerprint"
	"ssmagent/internal/agent"
	"ssmagent/internal/clock"
	"ssmagent/internal/config"
	"ssmagent/platform"
	"ssmagent/platform/ipc"
	"ssmagent/platform/network"
	"ssmagent/platform/proc"
	"ssmagent/platform/reboot"
	"ssmagent/platform/secfile"
	"ssmagent/platform/watch"
	"ssmagent/service"
	"ssmagent/users"
)

// agentUserAgent is what the agent calls itself to the services.
func agentUserAgent() string { return "amazon-ssm-agent/" + version }

// serveAgent runs the agent as a service or in the foreground.
func serveAgent(_ context.Context, s streams, f *agentFlags) int {
	p, err := f.paths()
	if err != nil {
		s.failf("amazon-ssm-agent", "%v", err)
		return exitFailed
	}
	cfg, err := loadConfig(s, p.ConfigFile)
	if err != nil {
		return exitFailed
	}
	level := new(slog.LevelVar)
	level.Set(firstLevel())
	log, closeLog := agentLog(s, p.Logs, level)
	defer closeLog()
	useProxies(log)
	m, err := machine(f.root, p, log)
	if err != nil {
		s.failf("amazon-ssm-agent", "%v", err)
		return exitFailed
	}
	l := &lives{
		opt:  agent.Options{Machine: m, Log: log, Clock: clock.Real{}, Version: version, Level: level, Last: proc.First()},
		load: func() (config.Config, error) { return loadConfig(s, p.ConfigFile) },
	}
	if err := l.next(cfg); err != nil {
		s.failf("amazon-ssm-agent", "%v", err)
		return exitFailed
	}
	// An idle agent's heap is a few MB: collecting it a little more often
	// costs less than keeping twice as much.
	debug.SetGCPercent(50)
	o := service.Default()
	o.Log, o.Reload = log, func() { reloadConfig(p.ConfigFile, l.now.Load(), log) }
	keep := func(ctx context.Context) { keepPrograms(ctx, p, log) }
	if err := service.Run(o, perhapsFirst(beside(keep, l.run))); err != nil {
		s.failf("amazon-ssm-agent", "%v", err)
		return exitFailed
	}
	return exitOK
}

// beside is run with keep running at its side.
func beside(keep func(context.Context), run func(context.Context, func()) error) func(context.Context, func()) error {
	return func(ctx context.Context, ready func()) error {
		aside, stop := context.WithCancel(ctx)
		var kept sync.WaitGroup
		kept.Go(func() { keep(aside) })
		defer kept.Wait()
		defer stop()
		return run(ctx, ready)
	}
}

// machine is this one.
func machine(root string, p platform.Paths, log *slog.Logger) (agent.Machine, error) {
	exe, err := os.Executable()
	if err != nil {
		return agent.Machine{}, fmt.Errorf("find this program: %w", err)
	}
	restart := reboot.Machine
	if root != "" { // nothing outside of it is changed, least of all this
		restart = reboot.Below(root)
	}
	var settle func(context.Context) error
	if all := users.New(secfile.OS(), p.Data, log); root == "" && all.Switches() {
		settle = all.Settle
	}
	return agent.Machine{
		Info: platform.Read, Paths: p, FS: fileSystem(root), Lock: secfile.Lock, Hardware: fingerprint.Read, Ambient: ambient, Cloud: connect.Cloud(),
		User: userName(), Executable: exe, Given: os.Getenv("CREDENTIALS_DIRECTORY"), Seal: sealer(), Env: workerEnv(p.Logs), Stderr: os.Stderr,
		Start: proc.Start, Enter: scopes(root, log), Find: proc.Find, KillMarked: proc.KillMarked, Dial: ipc.Dial, Listen: ipc.Listen, CheckPeer: ipc.CheckPeer, Reboot: restart, Watch: watch.Dir,
		Network: network.Changes, SharedCredentials: sharedCredentials(root), Settle: settle,
	}, nil
}

// scopes gives workers scopes of their own, but not below a root: the service
// manager is outside of it.
func scopes(root string, log *slog.Logger) func(proc.ID, string) {
	if root != "" {
		return nil
	}
	return proc.NewScopes(func(err error) {
		log.Warn("a worker has no scope of its own: limits and restarts of the agent's unit reach it; others that get none are not told", "error", err)
	}).Enter
}

// sharedCredentials is the shared credentials file of the agent's user, or one
// below root; empty where no home is known.
func sharedCredentials(root string) string {
	if root != "" {
		return filepath.Join(root, "root", ".aws", "credentials")
	}
	if file := os.Getenv("AWS_SHARED_CREDENTIALS_FILE"); file != "" {
		return file
	}
	home, err := os.UserHomeDir()
	if err != nil { // a service manager may name none
		u, err := user.Current()
		if err != nil || u.HomeDir == "" {
			return ""
		}
		home = u.HomeDir
	}
	return filepath.Join(home, ".aws", "credentials")
}
