package gateway

import (
	"context"
	"testing"

	"github.com/coder/websocket"
)

// TestRivals: a replaced channel whose peer still answers is a clone's or the
// original's; one whose peer is silent was lost, and nobody is accused.
func TestRivals(t *testing.T) {
	t.Parallel()
	for name, live := range map[string]bool{"two agents": true, "one agent, cut off": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			accused := make(chan [3]string, 4)
			l.gw.opt.Rivals = func(node, first, second string) { accused <- [3]string{node, first, second} }
			old := l.agent(nodeA)
			old.connectWith(&websocket.DialOptions{OnPingReceived: func(context.Context, []byte) bool { return live }})
			ended := make(chan error, 1)
			go func() {
				for { // the job may still be pushed here
					if _, _, err := old.conn.Read(t.Context()); err != nil {
						ended <- err
						return
					}
				}
			}()
			newer := l.agent(nodeA)
			newer.connect()
			l.send(nodeA)
			newer.job() // it is served meanwhile
			l.awaitTimer(aliveTime)
			if !live {
				l.clock.Advance(aliveTime)
			}
			<-ended
			l.gw.Disconnect(nodeA)
			l.awaitUp(nodeA, false)
			select {
			case a := <-accused:
				if !live || a != [3]string{nodeA, "127.0.0.1", "127.0.0.1"} {
					t.Errorf("told of %v", a)
				}
			default:
				if live {
					t.Error("nobody was told of the clone")
				}
			}
		})
	}
}
