package stream

import (
	"bytes"
	"testing"
	"time"

	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"

	"pgregory.net/rapid"
)

// end is one end of the model with what it is to send and what it received.
type end struct {
	Link
	pushed, got []byte
	sent        int    // bytes made up so far
	rest        []byte // what the window did not take
	in          [][]byte
	bound       int
}

func newEnd(t *rapid.T, out, in string) *end {
	payload := rapid.IntRange(1, 8).Draw(t, "payload")
	window := rapid.IntRange(payload, 24).Draw(t, "window")
	queue := rapid.IntRange(1, 40).Draw(t, "queue")
	frames := rapid.IntRange(1, 12).Draw(t, "frames")
	l, err := NewLink(
		SenderConfig{Type: out, PayloadSize: payload, WindowBytes: window, WindowFrames: rapid.IntRange(1, 10).Draw(t, "windowFrames")},
		ReceiverConfig{Type: in, QueueBytes: queue, QueueFrames: frames, AckAhead: rapid.IntRange(-1, 30).Draw(t, "ahead")})
	if err != nil {
		t.Fatal(err)
	}
	return &end{Link: l, bound: 3*queue + 3*24}
}

// produce pushes n new bytes, after what is left of the ones before.
func (e *end) produce(t *rapid.T, now time.Time, n int) {
	for range n {
		e.rest = append(e.rest, byte(e.sent), byte(e.sent>>8))
		e.sent++
	}
	e.pushed = append(e.pushed, e.rest[len(e.rest)-2*n:]...)
	e.flush(t, now)
}

func (e *end) flush(t *rapid.T, now time.Time) {
	took, err := e.Push(now, mgs.PayloadOutput, e.rest)
	if err != nil {
		t.Fatal(err)
	}
	e.rest = e.rest[took:]
	c, probes := e.Sender.cfg, 0
	if e.forgetful {
		probes = maxProbes + 1
	}
	if b, f := e.Pending(); b > c.WindowBytes+probes*c.PayloadSize || f > c.WindowFrames+probes {
		t.Fatalf("%d bytes in %d frames are pending", b, f)
	}
}

// write moves up to n due frames to the peer's wire.
func (e *end) write(now time.Time, peer *end, n int) {
	for range n {
		b, ok := e.Write(now)
		if !ok {
			return
		}
		peer.in = append(peer.in, bytes.Clone(b))
	}
}

// arrive handles the i-th frame on the wire.
func (e *end) arrive(t *rapid.T, now time.Time, i int, keep bool) {
	b := e.in[i]
	if !keep {
		e.in = append(e.in[:i:i], e.in[i+1:]...)
	}
	m, err := frame.Unmarshal(b)
	if err != nil {
		t.Fatal(err)
	}
	e.Handle(now, m) // refusals are part of the game
	if w := e.Waiting() + e.Receiver.earlyBytes; w > e.bound {
		t.Fatalf("%d bytes wait in the receiver", w)
	}
}

func (e *end) read(t *rapid.T, peer *end, n int) {
	for range n {
		_, b, ok := e.Next()
		if !ok {
			return
		}
		e.got = append(e.got, b...)
		if !bytes.HasPrefix(peer.pushed, e.got) {
			t.Fatalf("received % x of % x", e.got, peer.pushed)
		}
	}
}

// settle lets a sound network run until everything has arrived.
func settle(t *rapid.T, now time.Time, ends [2]*end) {
	for range 5000 {
		busy := false
		for i, e := range ends {
			peer := ends[1-i]
			e.flush(t, now)
			e.write(now, peer, 1000)
			for len(peer.in) > 0 {
				peer.arrive(t, now, 0, false)
			}
			peer.read(t, e, 1000)
			busy = busy || len(peer.got) < len(e.pushed) || !e.Drained()
		}
		if !busy {
			return
		}
		now = now.Add(50 * ms)
	}
	t.Fatalf("dead-lock: %d of %d and %d of %d bytes", len(ends[0].got), len(ends[1].pushed), len(ends[1].got), len(ends[0].pushed))
}

// TestModelHostileNetwork: frames of both kinds and both ways are lost, doubled,
// reordered, delayed and cut off; readers are slow. No byte is lost or doubled.
func TestModelHostileNetwork(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := t0
		ends := [2]*end{
			newEnd(t, mgs.TypeOutputStreamData, mgs.TypeInputStreamData),
			newEnd(t, mgs.TypeInputStreamData, mgs.TypeOutputStreamData),
		}
		pick := func() (*end, *end) {
			i := rapid.IntRange(0, 1).Draw(t, "end")
			return ends[i], ends[1-i]
		}
		index := func(e *end) int { return rapid.IntRange(0, len(e.in)-1).Draw(t, "frame") }
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				e, _ := pick()
				e.produce(t, now, rapid.IntRange(1, 20).Draw(t, "n"))
			},
			"write": func(t *rapid.T) {
				e, peer := pick()
				e.write(now, peer, rapid.IntRange(1, 9).Draw(t, "n"))
			},
			"arrive": func(t *rapid.T) {
				if e, _ := pick(); len(e.in) > 0 {
					e.arrive(t, now, index(e), rapid.IntRange(0, 4).Draw(t, "doubled") == 0)
				}
			},
			"lose": func(t *rapid.T) {
				if e, _ := pick(); len(e.in) > 0 {
					i := index(e)
					e.in = append(e.in[:i:i], e.in[i+1:]...)
				}
			},
			"read": func(t *rapid.T) {
				e, peer := pick()
				e.read(t, peer, rapid.IntRange(1, 9).Draw(t, "n"))
			},
			"wait":  func(t *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(1, 1500).Draw(t, "ms")) * ms) },
			"pause": func(*rapid.T) { e, _ := pick(); e.Pause() },
			"start": func(*rapid.T) { e, _ := pick(); e.Start(now) },
			"cut": func(*rapid.T) {
				for _, e := range ends {
					e.in = nil
					e.Resume(now)
				}
			},
		})
		for _, e := range ends {
			e.Start(now)
		}
		settle(t, now, ends)
	})
}
