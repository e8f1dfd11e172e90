package engine_test

import (
	"testing"

	"ssmagent/internal/engine"
	"ssmagent/internal/step"
	"ssmagent/internal/step/runscript"
	"ssmagent/internal/wire/doc"
)

func BenchmarkTrue(b *testing.B) {
	steps := v2("a")
	steps[0].Inputs = map[string]any{"runCommand": []any{"true"}}
	set := step.Set{action: runscript.Plugin{Interpreter: runscript.Shell("/bin/sh")}}
	for b.Loop() {
		status, _, err := engine.Run{Steps: steps, Dir: b.TempDir(), Platform: doc.Linux, Plugins: set, Recorder: &record{}}.Execute(b.Context())
		if err != nil || status != doc.Success {
			b.Fatal(status, err)
		}
	}
}
