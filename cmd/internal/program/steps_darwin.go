package program

import (
	"context"
	"log/slog"

	"ssmagent/internal/job"
	"ssmagent/internal/step"
	"ssmagent/internal/step/content"
	"ssmagent/internal/step/runscript"
	"ssmagent/platform"
)

// systemSteps are the handlers that are others on each system: stock agents have
// none of them here.
func systemSteps(job.Node, runscript.Plugin, content.Plugin, []string) step.Set { return nil }

// keepPrograms: no step of macOS starts what has to be kept running.
func keepPrograms(context.Context, platform.Paths, *slog.Logger) {}
