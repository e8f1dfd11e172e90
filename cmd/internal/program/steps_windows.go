package program

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"ssmagent/internal/clock"
	"ssmagent/internal/environ"
	"ssmagent/internal/job"
	"ssmagent/internal/step"
	"ssmagent/internal/step/applications"
	"ssmagent/internal/step/cloudwatch"
	"ssmagent/internal/step/content"
	"ssmagent/internal/step/domainjoin"
	"ssmagent/internal/step/psmodule"
	"ssmagent/internal/step/runscript"
	"ssmagent/platform"
	"ssmagent/platform/distro"
	"ssmagent/platform/proc"
	"ssmagent/platform/secfile"
	"ssmagent/platform/software"
)

// systemSteps are the handlers that are others on each system.
func systemSteps(n job.Node, scripts runscript.Plugin, download content.Plugin, env []string) step.Set {
	env = append(env[:len(env):len(env)], n.Variables()...)
	scripts.Interpreter = interpreters()["aws:runPowerShellScript"]
	scripts.Interpreter.BOM = false
	shell := filepath.Dir(powerShell())
	set := step.Set{
		"aws:updateAgent": missing{"aws:updateAgent updates EC2Config, which is obsolete; update the agent with aws:updateSsmAgent"},
		"aws:applications": applications.Plugin{
			Program: filepath.Join(systemDirectory(), "msiexec.exe"), Env: env, Start: proc.Start, Fetch: download.Get,
			ProductCode: software.ProductCode, Installed: software.List, Clock: clock.Real{},
		},
		"aws:psModule": psmodule.Plugin{Scripts: scripts, Modules: filepath.Join(shell, "Modules"), Fetch: download.Get},
	}
	// Nano Server cannot join by the program, and has no CloudWatch one.
	if system, err := distro.Read(); err == nil && strings.HasSuffix(system.Version, "nano") {
		return set
	}
	set["aws:cloudWatch"] = cloudwatch.Plugin{Program: cloudWatch(n.Plugins, env), InstanceID: n.InstanceID, Region: n.Region}
	set["aws:domainJoin"] = domainjoin.Helper{Region: n.Region, Dir: filepath.Join(n.Plugins, "awsDomainJoin"), Env: env, Start: proc.Start, Clock: clock.Real{}}
	return set
}

// cloudWatch is AWS's program for CloudWatch.
func cloudWatch(plugins string, env []string) cloudwatch.Program {
	return cloudwatch.Program{Dir: filepath.Join(plugins, "awsCloudWatch"), Env: env, FS: secfile.OS(), Lock: secfile.Lock, Start: proc.Start, Find: proc.Find, Clock: clock.Real{}}
}

// keepPrograms keeps running, until ctx ends, what steps have had started.
func keepPrograms(ctx context.Context, p platform.Paths, log *slog.Logger) {
	cloudWatch(p.Plugins, environ.Inherited(os.Environ())).Keep(ctx, func(err error) { log.Warn("a program of a step", "error", err) })
}
