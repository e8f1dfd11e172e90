package program

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"

	"ssmagent/cmd/internal/connect"
	"ssmagent/fingerprint"
	"ssmagent/internal/agent"
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
	a := &serving{s: s, root: f.root, paths: p}
	o := service.Default()
	o.Log, o.Reload, o.Version, o.Code, o.Foreground = a.logger, a.reload, version, stageOf, f.root != ""
	err = service.Run(o, a.run)
	a.close()
	if err != nil {
		s.failf("amazon-ssm-agent", "%v", err)
		return exitFailed
	}
	return exitOK
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
		User: userName(), Executable: exe, Given: os.Getenv("CREDENTIALS_DIRECTORY"), Seal: sealer(), Env: workerEnv(p.Logs), Stderr: standardError(),
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

// standardError is ours if it is one: services of Windows have none.
func standardError() *os.File {
	if _, err := os.Stderr.Stat(); err != nil {
		return nil
	}
	return os.Stderr
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
