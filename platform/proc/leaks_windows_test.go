package proc_test

import (
	"os"
	"testing"

	"ssmagent/platform/proc"
	"ssmagent/platform/proc/proctest"
)

// TestHandles: processes and their pipes leave no handle. It runs alone.
func TestHandles(t *testing.T) { //nolint:paralleltest // it counts what the whole process has
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	proctest.Leaks(t, 5, func() {
		ours, theirs, err := proc.PipeFrom()
		if err != nil {
			t.Error(err)
			return
		}
		defer ours.Close()
		defer theirs.Close()
		p, err := proc.Start(proc.Spec{Path: self, Args: []string{"proctest", "exit", "7"}, Stdout: theirs, Tethered: true,
			Env: []string{"SSMAGENT_PROCTEST=1", "SYSTEMROOT=" + os.Getenv("SYSTEMROOT")}})
		if err != nil {
			t.Error(err)
			return
		}
		if s, err := p.Wait(t.Context()); err != nil || s.Code != 7 {
			t.Errorf("%+v %v", s, err)
		}
	})
}
