//go:build unix

package program

import (
	"context"
	"log/slog"

	"ssmagent/platform"
)

// keepPrograms: no step starts what has to be kept running.
func keepPrograms(context.Context, platform.Paths, *slog.Logger) {}
