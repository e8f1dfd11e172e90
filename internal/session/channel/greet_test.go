package channel

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ssmagent/internal/wire/mgs"
)

func TestGreetOurs(t *testing.T) {
	run(t, func(c *client) { c.answer = asOurs(111, 33) }, nil, func(l *lab) {
		g, took, err := l.greet()
		if err != nil || !g.Peer.Ours || !g.Peer.Answered || g.Size != (mgs.Size{Cols: 111, Rows: 33}) || took > 10*time.Millisecond {
			t.Fatalf("%+v after %v, %v", g, took, err)
		}
		synctest.Wait()
		if l.client.complete != 1 || l.ch.link.PayloadSize() != mgs.LargePayload {
			t.Errorf("%d completions, payload size %d", l.client.complete, l.ch.link.PayloadSize())
		}
		if got := l.client.states; !slices.Equal(got, []string{mgs.SessionConnected}) {
			t.Errorf("states %q", got)
		}
		if _, ours := mgs.DecodeExtension(l.client.request.Extensions); !ours || l.client.request.AgentVersion != "3.3.9000.0" {
			t.Errorf("request %+v", l.client.request)
		}
	})
}

func TestGreetStock(t *testing.T) {
	run(t, func(c *client) { c.answer = asStock }, nil, func(l *lab) {
		g, took, err := l.greet()
		if err != nil || g.Peer.Ours || !g.Peer.Answered || g.Size != (mgs.Size{Cols: 101, Rows: 31}) || took > 40*time.Millisecond {
			t.Fatalf("%+v after %v, %v", g, took, err)
		}
		if l.client.complete != 1 || l.ch.link.PayloadSize() != 1024 {
			t.Errorf("%d completions, payload size %d", l.client.complete, l.ch.link.PayloadSize())
		}
	})
}

func TestGreetWithoutAnswer(t *testing.T) {
	t.Run("acknowledges only", func(t *testing.T) {
		run(t, nil, nil, func(l *lab) {
			g, took, err := l.greet()
			if err != nil || g.Peer.Answered || g.Size != (mgs.Size{}) || took < time.Second || took > 1100*time.Millisecond {
				t.Fatalf("%+v after %v, %v", g, took, err)
			}
		})
	})
	t.Run("nobody there", func(t *testing.T) {
		run(t, func(c *client) { c.deaf = true }, nil, func(l *lab) {
			if g, took, err := l.greet(); err != nil || took != 15*time.Second {
				t.Fatalf("%+v after %v, %v", g, took, err)
			}
		})
	})
	t.Run("a size without a handshake", func(t *testing.T) {
		run(t, func(c *client) { c.push <- size(90, 20) }, nil, func(l *lab) {
			g, took, err := l.greet()
			if err != nil || g.Size != (mgs.Size{Cols: 90, Rows: 20}) || took > 100*time.Millisecond {
				t.Fatalf("%+v after %v, %v", g, took, err)
			}
		})
	})
	t.Run("input without a handshake", func(t *testing.T) {
		run(t, func(c *client) { c.push <- payload{mgs.PayloadOutput, []byte("ls\n")} }, nil, func(l *lab) {
			g, _, err := l.greet()
			if err != nil || g.First == nil || string(g.First.Bytes) != "ls\n" {
				t.Fatalf("%+v, %v", g, err)
			}
		})
	})
	t.Run("ours without a terminal", func(t *testing.T) {
		run(t, func(c *client) { c.answer = asOurs(0, 0) }, nil, func(l *lab) {
			g, took, err := l.greet()
			if err != nil || !g.Peer.Ours || g.Size != (mgs.Size{}) || took > sizeSoon+10*time.Millisecond {
				t.Fatalf("%+v after %v, %v", g, took, err)
			}
		})
	})
}

// A session without a terminal waits for no size, and cannot do without an
// answer.
func TestGreetWithoutTerminal(t *testing.T) {
	port := Offer{AgentVersion: "3.3.9000.0", SessionType: mgs.SessionPort, Properties: json.RawMessage(`{"portNumber":"80"}`)}
	t.Run("answered", func(t *testing.T) {
		offer(t, port, func(c *client) {
			c.push <- payload{mgs.PayloadOutput, []byte("too early")}
			c.answer = func(c *client, r mgs.HandshakeRequest) {
				if got := string(r.RequestedClientActions[0].ActionParameters); got != `{"SessionType":"Port","Properties":{"portNumber":"80"}}` {
					t.Errorf("asked for %s", got)
				}
				b, _ := json.Marshal(mgs.HandshakeResponse{ClientVersion: "1.3.0.0", ProcessedClientActions: done(mgs.ActionSuccess, "")})
				c.push <- payload{mgs.PayloadHandshakeResponse, b}
			}
		}, nil, func(l *lab) {
			g, took, err := l.greet()
			if err != nil || !g.Peer.Answered || g.Peer.Version != "1.3.0.0" || g.First != nil || took > 100*time.Millisecond {
				t.Fatalf("%+v after %v, %v", g, took, err)
			}
		})
	})
	t.Run("no answer", func(t *testing.T) {
		offer(t, port, nil, nil, func(l *lab) {
			if _, took, err := l.greet(); !errors.Is(err, ErrUnanswered) || took != clientWithin {
				t.Fatalf("%v after %v", err, took)
			}
		})
	})
	t.Run("of a command no properties are told", func(t *testing.T) {
		command := port
		command.SessionType = mgs.SessionNonInteractiveCommands
		offer(t, command, func(c *client) {
			c.answer = func(c *client, r mgs.HandshakeRequest) {
				if got := string(r.RequestedClientActions[0].ActionParameters); got != `{"SessionType":"NonInteractiveCommands","Properties":null}` {
					t.Errorf("asked for %s", got)
				}
				asOurs(0, 0)(c, r)
			}
		}, nil, func(l *lab) {
			if g, _, err := l.greet(); err != nil || !g.Peer.Ours {
				t.Fatalf("%+v, %v", g, err)
			}
		})
	})
}

// A client that answers when the shell runs already is still told apart.
func TestLateAnswer(t *testing.T) {
	run(t, func(c *client) {
		c.answer = func(c *client, r mgs.HandshakeRequest) {
			time.AfterFunc(3*time.Second, func() {
				b, _ := json.Marshal(mgs.HandshakeResponse{ClientVersion: "1.2.0.0", ProcessedClientActions: done(mgs.ActionSuccess, "")})
				c.push <- payload{mgs.PayloadHandshakeResponse, b}
				c.push <- payload{mgs.PayloadOutput, []byte("id\n")}
			})
		}
	}, nil, func(l *lab) {
		if g, _, err := l.greet(); err != nil || g.Peer.Answered {
			t.Fatalf("%+v, %v", g, err)
		}
		if err := l.ch.Write(l.ctx, []byte("$ ")); err != nil {
			t.Fatal(err)
		}
		p, err := l.ch.Next(l.ctx)
		if err != nil || string(p.Bytes) != "id\n" || l.client.complete != 0 {
			t.Fatalf("%q %v, %d completions", p.Bytes, err, l.client.complete)
		}
	})
}

func TestRefused(t *testing.T) {
	for name, answer := range map[string]mgs.HandshakeResponse{
		"failed":      {ProcessedClientActions: done(mgs.ActionFailed, "no such type")},
		"unsupported": {ProcessedClientActions: done(mgs.ActionUnsupported, ""), Errors: []string{"no such type"}},
		"status 0":    {ProcessedClientActions: done(0, "no such type")},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(c *client) { c.answer = func(c *client, _ mgs.HandshakeRequest) { c.respond(answer) } }, nil, func(l *lab) {
				_, _, err := l.greet()
				if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "no such type") {
					t.Fatal(err)
				}
			})
		})
	}
}
