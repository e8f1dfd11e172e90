package proctest

import (
	"context"
	"slices"
	"testing"
	"time"

	"ssmagent/platform/proc"
)

// RunTrees is the part of the contract that is about everything below this
// process. It must not run beside other tests that have children. escapes says
// that processes whose parent has ended are found too (Linux).
func RunTrees(t *testing.T, escapes bool) {
	must(t, proc.BecomeSubreaper())
	kinds := []string{"plain", "group,plain"}
	if escapes {
		kinds = append(kinds, "session,plain", "session,session,group,plain")
	}
	for _, kind := range kinds {
		t.Run("kill "+kind, func(t *testing.T) { killTree(t, kind, "stay") })
		if escapes {
			t.Run("kill orphans "+kind, func(t *testing.T) { killTree(t, kind, "quit") })
		}
	}
	t.Run("keep", keep)
	t.Run("os/exec keeps its children", leavesOthersChildren)
	t.Run("nothing to do", func(t *testing.T) { kill(t, nil) })
}

func kill(t *testing.T, keep []proc.ID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	must(t, proc.KillDescendants(ctx, keep))
}

func killTree(t *testing.T, kinds, parents string) {
	n := 1 // those that hang: the last, and its parents unless they quit
	if parents == "stay" {
		for _, r := range kinds + "," {
			if r == ',' {
				n++
			}
		}
	}
	p, ids := hanging(t, n, nil, "tree", kinds, parents)
	if parents == "quit" {
		wait(t, p)
	}
	kill(t, nil)
	for name, id := range ids {
		if _, err := proc.Find(id); err == nil {
			t.Errorf("%s (process %d) still runs", name, id.PID)
		}
	}
	left, err := proc.Descendants()
	must(t, err)
	if len(left) > 0 {
		t.Errorf("descendants left: %v", left)
	}
	wait(t, p) // its state was not taken away
}

func keep(t *testing.T) {
	kept, below := hanging(t, 2, nil, "tree", "plain")
	_, doomed := hanging(t, 1, nil, "hang", "x")
	kill(t, []proc.ID{kept.ID()})
	gone(t, doomed)
	left, err := proc.Descendants()
	must(t, err)
	for name, id := range below {
		if !slices.Contains(left, id) {
			t.Errorf("%s was to be kept", name)
		}
	}
	kill(t, nil)
}

func leavesOthersChildren(t *testing.T) {
	for range 20 {
		cmd, err := osExec("exit", "7")
		must(t, err)
		must(t, cmd.Start())
		own := start(t, childSpec(t, "exit", "8"))
		for range 5 {
			must(t, proc.ReapOrphans())
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 7 {
			t.Errorf("os/exec got code %d", code)
		}
		if s := wait(t, own); s.Code != 8 {
			t.Errorf("we got %+v", s)
		}
	}
}
