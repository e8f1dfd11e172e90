package program

import (
	"ssmagent/internal/job"
	"ssmagent/internal/step"
	"ssmagent/internal/step/content"
	"ssmagent/internal/step/runscript"
)

// systemSteps: stock agents have no handlers here that others lack.
func systemSteps(job.Node, runscript.Plugin, content.Plugin, []string) step.Set { return step.Set{} }
