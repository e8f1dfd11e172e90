package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// three are shells with a variable each that a new shell would not have.
type three struct {
	p    *plane
	n    *node
	pe   [3]*person
	ids  [3]string
	pids [3]string
}

func openThree(t *testing.T) *three {
	p := newPlane(t)
	s := &three{p: p, n: p.node(&ssm.CreateActivationInput{})}
	for i := range s.pe {
		pe := sit(t, p.shell(p.url, s.n.id), 80, 24)
		s.ids[i] = pe.sees(`session (\S+) on `)[1]
		pe.sees(`[#$] $`)
		pe.types(fmt.Sprintf("kept=%d; echo $((6*7)) $$\n", i))
		s.pids[i] = pe.sees(`\n42 (\d+)\r*\n`)[1]
		s.pe[i] = pe
	}
	return s
}

// alike checks that the shells are the same ones.
func (s *three) alike(round string) {
	for i, pe := range s.pe {
		pe.types("echo " + round + " $((kept)) $$\n")
		pe.sees(fmt.Sprintf(`(?:\n|[#$] )%s %d %s\r*\n`, round, i, s.pids[i]))
	}
}

// end ends each in another way, and looks at what was reported.
func (s *three) end(t *testing.T) {
	t.Helper()
	s.pe[0].types("exit 5\n")
	s.p.terminate(s.ids[1])
	s.pe[1].sees("terminated by")
	s.pe[2].types("exit\n")
	for i, want := range []int{5, 255, 0} {
		if code := s.pe[i].ends(); code != want {
			t.Errorf("shell %d: the client ended with %d, want %d", i, code, want)
		}
	}
	h := s.p.history(s.n.id, 3)
	for _, id := range s.ids {
		if e, ok := h[id]; !ok || e.Status != types.SessionStatusTerminated || e.EndDate == nil {
			t.Errorf("%s: %+v %s", id, e, aws.ToString(e.Details))
		}
	}
	s.n.noShells(s.pids[:]...)
}

func TestSessionSurvivesKilledAgent(t *testing.T) {
	t.Parallel()
	s := openThree(t)
	s.n.kill()
	s.alike("orphaned")
	s.n.start()
	s.n.line("adopt")
	s.alike("adopted")
	s.end(t)
}

func TestSessionSurvivesKilledPlane(t *testing.T) {
	t.Parallel()
	s := openThree(t)
	s.p.kill()
	s.pe[0].types("echo typed $((kept+6)) while away\n")
	s.p.restart()
	s.pe[0].sees(`(?:\n|[#$] )typed 6 while away\r*\n`)
	s.alike("again")
	s.p.online(s.n.id)
	s.end(t)
}

// TestSessionEndsWhileAgentIsAway: the shell ends while nobody is there to
// report it; the next agent reports it, once.
func TestSessionEndsWhileAgentIsAway(t *testing.T) {
	t.Parallel()
	s := openThree(t)
	s.n.kill()
	for _, pe := range s.pe {
		pe.types("exit\n")
	}
	s.n.start()
	for _, pe := range s.pe {
		pe.ends()
	}
	s.p.history(s.n.id, 3)
	s.n.noShells(s.pids[:]...)
	s.n.kill()
	s.p.connected(s.n, types.ConnectionStatusNotConnected)
	s.n.start()
	s.p.connected(s.n, types.ConnectionStatusConnected)
	s.p.history(s.n.id, 3)
}

// TestSessionHangupWithoutService: a client whose service is gone does not stay
// long when its terminal goes too.
func TestSessionHangupWithoutService(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	pe := sit(t, p.shell(p.url, n.id), 80, 24)
	pe.sees(`[#$] $`)
	p.kill()
	pe.sees(`the connection is lost`)
	since := time.Now()
	if err := pe.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	pe.sees(`could not be terminated`)
	if code := pe.ends(); code != 255 {
		t.Errorf("the client ended with %d", code)
	}
	if took := time.Since(since); took > 8*time.Second {
		t.Errorf("it stayed for %v", took)
	}
}
