package stream

import (
	"bytes"
	"testing"
	"time"

	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"

	"pgregory.net/rapid"
)

// stockClient receives as the stock plugin does: it acknowledges every frame
// that is new, in order or not, and ignores duplicates without a word.
type stockClient struct {
	expected int64
	early    map[int64][]byte
	got      []byte
}

func (c *stockClient) arrive(now time.Time, m frame.Message) []byte {
	if _, dup := c.early[m.Sequence]; dup || m.Sequence < c.expected {
		return nil
	}
	c.early[m.Sequence] = bytes.Clone(m.Payload)
	for b, ok := c.early[c.expected]; ok; b, ok = c.early[c.expected] {
		c.got = append(c.got, b...)
		delete(c.early, c.expected)
		c.expected++
	}
	ack, err := AcknowledgeFrame(nil, now, idA, m)
	if err != nil {
		panic(err)
	}
	return ack
}

// stockPath is agent, gateway and stock client. The socket between agent and
// gateway delivers in order but is cut at will, with all that is on it.
type stockPath struct {
	agent  *end
	client stockClient
	acked  map[int64]bool // what the gateway has seen acknowledged; nil: it only relays
	up     [][]byte
	down   [][]byte
	now    time.Time
}

// carry relays up to n frames in each direction.
func (p *stockPath) carry(t *rapid.T, n int) {
	for ; n > 0 && len(p.up) > 0; n-- {
		m, err := frame.Unmarshal(p.up[0])
		if err != nil {
			t.Fatal(err)
		}
		p.up = p.up[1:]
		if p.acked[m.Sequence] {
			ack, err := AcknowledgeFrame(nil, p.now, idA, m)
			if err != nil {
				t.Fatal(err)
			}
			p.down = append(p.down, ack)
			continue
		}
		if ack := p.client.arrive(p.now, m); ack != nil {
			if p.acked != nil {
				p.acked[m.Sequence] = true
			}
			p.down = append(p.down, ack)
		}
	}
}

func (p *stockPath) deliver(t *rapid.T, n int) {
	for ; n > 0 && len(p.down) > 0; n-- {
		m, err := frame.Unmarshal(p.down[0])
		if err != nil {
			t.Fatal(err)
		}
		p.down = p.down[1:]
		p.agent.Handle(p.now, m)
	}
}

func (p *stockPath) write(n int) {
	for range n {
		b, ok := p.agent.Write(p.now)
		if !ok {
			return
		}
		p.up = append(p.up, bytes.Clone(b))
	}
}

func (p *stockPath) check(t *rapid.T) {
	if !bytes.HasPrefix(p.agent.pushed, p.client.got) {
		t.Fatalf("received % x of % x", p.client.got, p.agent.pushed)
	}
}

func (p *stockPath) run(t *rapid.T) {
	n := func() int { return rapid.IntRange(1, 12).Draw(t, "n") }
	t.Repeat(map[string]func(*rapid.T){
		"":        p.check,
		"push":    func(*rapid.T) { p.agent.produce(t, p.now, n()) },
		"write":   func(*rapid.T) { p.write(n()) },
		"carry":   func(*rapid.T) { p.carry(t, n()) },
		"deliver": func(*rapid.T) { p.deliver(t, n()) },
		"wait":    func(*rapid.T) { p.now = p.now.Add(time.Duration(n()) * 100 * ms) },
		"cut": func(*rapid.T) {
			p.up, p.down = nil, nil
			p.agent.Resume(p.now)
		},
	})
	for i := 0; len(p.client.got) < len(p.agent.pushed) || !p.agent.Drained(); i++ {
		if i == 5000 {
			t.Fatalf("dead-lock: %d of %d bytes, %d to push", len(p.client.got), len(p.agent.pushed), len(p.agent.rest))
		}
		if i%100 == 99 {
			p.agent.produce(t, p.now, 1) // the shell goes on printing
		}
		p.agent.flush(t, p.now)
		p.write(1000)
		p.carry(t, 1000)
		p.deliver(t, 1000)
		p.now = p.now.Add(50 * ms)
	}
	p.check(t)
}

func newStockPath(t *rapid.T) *stockPath {
	return &stockPath{
		agent:  newEnd(t, mgs.TypeOutputStreamData, mgs.TypeInputStreamData),
		client: stockClient{early: map[int64][]byte{}},
		now:    t0,
	}
}

// TestModelStockPluginWithRepair: the gateway makes up lost acknowledgements.
func TestModelStockPluginWithRepair(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := newStockPath(t)
		p.acked = map[int64]bool{}
		p.run(t)
	})
}

// TestModelStockPluginAlone: nobody does, but the sender knows its peer.
func TestModelStockPluginAlone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := newStockPath(t)
		p.agent.SetForgetful(true)
		p.run(t)
		if held := len(p.agent.q.bySeq); held > 2*p.agent.Sender.cfg.WindowFrames+maxProbes+2 {
			t.Fatalf("%d frames are held", held)
		}
	})
}
