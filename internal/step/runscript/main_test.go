package runscript

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ssmagent/internal/step"
	"ssmagent/internal/wire/doc"
	"ssmagent/platform/proc"
)

// workerVar makes this test program a worker: ending everything that descends
// from a process must not be tried in one that runs other tests.
const workerVar = "RUNSCRIPT_TEST_WORKER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(workerVar); dir != "" {
		os.Exit(worker(dir))
	}
	os.Exit(m.Run())
}

// worker runs an earlier script that leaves a process behind, then one that is
// cancelled as soon as it has written "ready".
func worker(dir string) int {
	if err := proc.BecomeSubreaper(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	p := Plugin{Interpreter: Shell("/bin/sh"), KillTree: proc.KillDescendants, Snapshot: proc.Descendants}
	earlier := p.Run(context.Background(), at(dir, "earlier", "(sleep 1000 >/dev/null 2>&1 & echo $! >"+dir+"/kept)", "sleep 0.1"))
	if earlier.Status != doc.Success {
		fmt.Fprintf(os.Stderr, "%+v\n", earlier)
		return 1
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	in := at(dir, "cancelled",
		"echo $$ >"+dir+"/tree",
		"setsid sh -c 'echo $$ >>"+dir+"/tree; exec sleep 1000' &",
		"(setsid sh -c 'sleep 1000 & echo $! >>"+dir+"/tree; echo $$ >>"+dir+"/tree; until [ $(wc -l <"+dir+"/tree) = 4 ]; do sleep 0.01; done; echo ready; wait' &)",
		"wait; sleep 1000")
	in.Stdout = &onText{text: "ready", then: func() { cancel(step.ErrCancelled) }}
	out := p.Run(ctx, in)
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		return 1
	}
	return 0
}

// onText calls then once the text was written to it.
type onText struct {
	bytes.Buffer
	text string
	then func()
}

func (o *onText) Write(b []byte) (int, error) {
	n, err := o.Buffer.Write(b)
	if strings.Contains(o.String(), o.text) {
		o.then()
	}
	return n, err
}

// at is the input of a step with this script.
func at(dir, name string, lines ...string) step.Input {
	var list []any
	for _, l := range lines {
		list = append(list, l)
	}
	return step.Input{StepID: name, CommandID: "cmd", CommandDir: dir, StepDir: filepath.Join(dir, name),
		Properties: map[string]any{"runCommand": list}, Stdout: new(bytes.Buffer), Stderr: new(bytes.Buffer)}
}
