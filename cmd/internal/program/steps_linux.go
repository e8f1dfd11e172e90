package program

import (
	"ssmagent/internal/clock"
	"ssmagent/internal/job"
	"ssmagent/internal/step"
	"ssmagent/internal/step/content"
	"ssmagent/internal/step/domainjoin"
	"ssmagent/internal/step/runscript"
	"ssmagent/platform/proc"
)

// systemSteps are the handlers that are others on each system.
func systemSteps(n job.Node, _ runscript.Plugin, _ content.Plugin, env []string) step.Set {
	return step.Set{
		"aws:domainJoin": domainjoin.Plugin{Region: n.Region, Env: append(withHome(env), n.Variables()...), Shell: "/bin/sh", Start: proc.Start, Clock: clock.Real{}},
	}
}
