package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// gate is a script that says that it runs, then waits for a file.
type gate struct{ ran, open string }

func newGate(t *testing.T) gate {
	d := t.TempDir()
	return gate{filepath.Join(d, "ran"), filepath.Join(d, "open")}
}

func (g gate) script() []string {
	return []string{"echo $$ >>" + g.ran, "until [ -e " + g.open + " ]; do sleep 0.05; done", "echo finished"}
}

func (g gate) release(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(g.open, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// once checks that the script was started exactly once.
func (g gate) once(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile(g.ran)
	if err != nil || strings.Count(string(b), "\n") != 1 {
		t.Errorf("the script ran %d times (%v)", strings.Count(string(b), "\n"), err)
	}
}

func TestKilledAgentAdoptsItsCommand(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		t.Run("script ends while the agent is away: "+strconv.FormatBool(late), func(t *testing.T) {
			t.Parallel()
			p := newPlane(t)
			n := p.node(&ssm.CreateActivationInput{})
			g := newGate(t)
			id := p.send(n.id, g.script()...)
			p.file(g.ran, 1)
			n.kill()
			if late {
				g.release(t)
				script := strings.Fields(p.file(g.ran, 1)[0])[0]
				eventually(t, "the script to end", func() bool { return !alive(script) })
			}
			n.start()
			if !late {
				n.line("adopt")
				g.release(t)
			}
			inv := p.invocation(id, n.id)
			if inv.Status != types.CommandInvocationStatusSuccess || aws.ToString(inv.StandardOutputContent) != "finished\n" {
				t.Errorf("%s: %q %q", inv.Status, aws.ToString(inv.StandardOutputContent), aws.ToString(inv.StandardErrorContent))
			}
			g.once(t)
		})
	}
}

func TestKilledWorkerIsReportedOnceAndNotRunAgain(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	g := newGate(t)
	id := p.send(n.id, g.script()...)
	script := strings.Fields(p.file(g.ran, 1)[0])[0]
	workers := workersOf(n.root)
	if len(workers) != 1 {
		t.Fatalf("workers: %v", workers)
	}
	if err := syscall.Kill(workers[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	inv := p.invocation(id, n.id)
	if inv.Status != types.CommandInvocationStatusFailed || !strings.Contains(aws.ToString(inv.StandardErrorContent)+aws.ToString(inv.StandardOutputContent), "not run again") {
		t.Errorf("%s: %q %q", inv.Status, aws.ToString(inv.StandardOutputContent), aws.ToString(inv.StandardErrorContent))
	}
	eventually(t, "the orphaned script to be ended", func() bool { return !alive(script) })
	g.once(t)
	// The node is unharmed.
	if inv := p.invocation(p.send(n.id, "echo next"), n.id); inv.Status != types.CommandInvocationStatusSuccess {
		t.Errorf("the next command: %s", inv.Status)
	}
}

func TestKilledControlPlaneLosesNothing(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	g := newGate(t)
	running := p.send(n.id, g.script()...)
	p.file(g.ran, 1)
	done := p.send(n.id, "echo before")
	p.invocation(done, n.id)
	p.kill()
	g.release(t)
	script := strings.Fields(p.file(g.ran, 1)[0])[0]
	eventually(t, "the script to end", func() bool { return !alive(script) })
	p.restart()
	for id, want := range map[string]string{running: "finished\n", done: "before\n"} {
		inv := p.invocation(id, n.id)
		if inv.Status != types.CommandInvocationStatusSuccess || aws.ToString(inv.StandardOutputContent) != want {
			t.Errorf("%s: %s %q", id, inv.Status, aws.ToString(inv.StandardOutputContent))
		}
	}
	g.once(t)
}

// TestQueuedWhileTheNodeIsAway sends to a stopped agent and restarts the
// control plane before the agent comes back.
func TestQueuedWhileTheNodeIsAway(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	n.term()
	id := p.send(n.id, "echo queued")
	p.kill()
	p.restart()
	n.start()
	if inv := p.invocation(id, n.id); inv.Status != types.CommandInvocationStatusSuccess || aws.ToString(inv.StandardOutputContent) != "queued\n" {
		t.Errorf("%s %q", inv.Status, aws.ToString(inv.StandardOutputContent))
	}
}

// TestDeliveryByPollingWhenTheGatewayRefuses runs a command over ec2messages.
func TestDeliveryByPollingWhenTheGatewayRefuses(t *testing.T) {
	t.Parallel()
	p := newPlane(t, withoutGateway)
	n := p.node(&ssm.CreateActivationInput{})
	if inv := p.invocation(p.send(n.id, "echo polled; exit 4"), n.id); inv.ResponseCode != 4 || aws.ToString(inv.StandardOutputContent) != "polled\n" {
		t.Errorf("%s %d %q", inv.Status, inv.ResponseCode, aws.ToString(inv.StandardOutputContent))
	}
}
