package relay

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"ssmagent/internal/clock"
)

// talk has two stock programs say things while cut breaks them; then both must
// have heard everything, once and in order.
func talk(t *testing.T, l *lab, forgetful bool, messages int, cut func(round int, both *pair)) {
	t.Helper()
	out := l.start()
	b := &pair{l: l, id: out.SessionId, agent: newProgram(false), plugin: newProgram(true)}
	b.plugin.forgetful = forgetful
	b.openAgent()
	b.open(string(out.TokenValue))
	var typed, printed strings.Builder
	for n := range messages {
		in, text := fmt.Sprintf("key %d;", n), fmt.Sprintf("line %d\r\n", n)
		typed.WriteString(in)
		printed.WriteString(text)
		b.plugin.say([]byte(in))
		b.agent.say([]byte(text))
		cut(n, b)
	}
	b.settle(typed.String(), printed.String())
	b.agentSide.cut()
	b.clientSide.cut()
	b.wait.Wait()
}

// pair is a session's two programs.
type pair struct {
	l                     *lab
	id                    string
	agent, plugin         *program
	agentSide, clientSide *side
	wait                  sync.WaitGroup
}

func (b *pair) openAgent() {
	s := dialSide(b.l, b.id, nodeA).text(agentHello(nodeA, b.l.agentToken(b.id)))
	b.agentSide = s
	s.read()
	b.wait.Go(func() { b.agent.use(s) })
}

func (b *pair) open(token string) {
	s := dialSide(b.l, b.id, "").text(clientHello(token))
	b.clientSide = s
	s.read()
	b.wait.Go(func() { b.plugin.use(s) })
}

// settle retransmits as stock programs do until both have everything.
func (b *pair) settle(typed, printed string) {
	t := b.l.t
	t.Helper()
	end := time.After(20 * time.Second)
	for {
		in, waitA := b.agent.state()
		got, waitB := b.plugin.state()
		if in == typed && got == printed && waitA == 0 && waitB == 0 {
			return
		}
		if !strings.HasPrefix(typed, in) || !strings.HasPrefix(printed, got) {
			t.Fatalf("heard what was not said: %.200q %.200q", in, got)
		}
		select {
		case <-b.agent.full:
		case <-b.plugin.full:
		case <-time.After(20 * time.Millisecond):
			b.agent.again()
			b.plugin.again()
		case <-end:
			t.Fatalf("%d of %d and %d of %d bytes arrived, %d and %d messages are unacknowledged", len(in), len(typed), len(got), len(printed), waitA, waitB)
		}
	}
}

// TestCuts breaks either side again and again. The stock plugin, which does
// not repeat an acknowledgement, is left alone: one that was lost on the way to
// us, nobody could repair.
func TestCuts(t *testing.T) {
	t.Parallel()
	for name, stock := range map[string]bool{"stock plugin, agent's side": true, "our client, both sides": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, clock.Real{})
			rnd := rand.New(rand.NewPCG(1, 2))
			cuts := 0
			talk(t, l, stock, 1000, func(n int, b *pair) {
				if n%20 != 19 {
					return
				}
				cuts++
				if stock || rnd.IntN(2) == 0 {
					b.agentSide.cut()
					b.openAgent()
				} else {
					b.clientSide.cut()
					b.open(l.resume(b.id))
				}
			})
			if cuts != 50 {
				t.Errorf("%d cuts", cuts)
			}
		})
	}
}

// TestRestart ends the control plane in the middle, twice; a new one on the
// same store takes both sides again.
func TestRestart(t *testing.T) {
	t.Parallel()
	l := newLab(t, clock.Real{})
	talk(t, l, false, 300, func(n int, b *pair) {
		if n%100 != 49 || n > 200 {
			return
		}
		if n > 100 { // once with everything acknowledged, once in mid-flight
			b.agentSide.cut()
		}
		l.restart()
		b.openAgent()
		b.open(l.resume(b.id))
	})
}

// TestRestartOrder: an order that the agent did not act upon goes out again
// when the node's channel comes up at the new control plane.
func TestRestartOrder(t *testing.T) {
	t.Parallel()
	l := newLab(t, fake())
	wanted, ended, opened := l.start().SessionId, l.start().SessionId, l.start().SessionId
	l.agent(opened)
	l.terminate(ended)
	first := <-l.pushed // channel_closed, as nothing of it is open
	l.restart()
	l.sessions.ChannelUp(nodeA)
	for _, want := range []string{ended, wanted} { // again what is over, since the agent did not say so
		p := <-l.pushed
		if !strings.Contains(string(p.payload), want) || (want == ended) != (p.kind == first.kind) {
			t.Errorf("pushed %s %.200s", p.kind, p.payload)
		}
	}
	if len(l.pushed) != 0 {
		t.Errorf("%d further messages", len(l.pushed))
	}
	l.agent(opened) // comes back
}
