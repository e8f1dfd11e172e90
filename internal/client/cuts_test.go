package client

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"testing"
	"time"

	"ssmagent/internal/backoff"
	"ssmagent/internal/client/clienttest"
	"ssmagent/internal/wire/mgs"
)

// hasty makes a session come back fast.
func hasty(s *Session) {
	s.policy.retry = backoff.Policy{First: time.Millisecond, Cap: 20 * time.Millisecond, Factor: 2, Jitter: 0.5}
	s.policy.firstTries = 1000
}

// noise is bytes that tell where they stand, so that any loss shows.
func noise(seed uint64, n int) []byte {
	rnd := rand.New(rand.NewPCG(seed, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// firstDifference is where got leaves want, for the message of a failure.
func firstDifference(got, want []byte) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("they differ from byte %d of %d on", i, len(want))
		}
	}
	return fmt.Sprintf("%d bytes of %d", len(got), len(want))
}

// pieces hands out b in pieces of random size.
func pieces(b []byte, seed uint64, most int, give func([]byte) bool) {
	rnd := rand.New(rand.NewPCG(seed, 3))
	for len(b) > 0 {
		n := min(1+rnd.IntN(most), len(b))
		if !give(b[:n]) {
			return
		}
		b = b[n:]
	}
}

// TestCuts: connections break at random in the midst of frames, both ways, 60
// times; not a byte is lost, doubled or out of order, and the size the agent
// has in the end is the last.
func TestCuts(t *testing.T) {
	t.Parallel()
	const cuts, total = 60, 3 << 20 // twice what sixty cuts took on the machine that was slowest
	for _, style := range []clienttest.Style{clienttest.Ours, clienttest.Stock, clienttest.NoHandshake} {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("style %d seed %d", style, seed), func(t *testing.T) {
				t.Parallel()
				d := clienttest.NewDouble(t, clienttest.Options{Style: style})
				u, err := url.Parse(d.StreamURL())
				if err != nil {
					t.Fatal(err)
				}
				proxy := clienttest.NewProxy(t, u.Host, seed)
				proxy.CutEvery(200, 16000, cuts)
				o := options(d)
				o.StreamURL = proxy.Rewrite(o.StreamURL)
				up, down := noise(seed, total), noise(seed+100, total)
				s := start(t, o, hasty, func(s *Session) { s.Resize(80, 24) })
				var wg sync.WaitGroup
				wg.Go(func() {
					pieces(down, seed, 9000, func(b []byte) bool { return d.Send(mgs.PayloadOutput, b) })
				})
				wg.Go(func() {
					cols := uint32(80)
					pieces(up, seed, 5000, func(b []byte) bool {
						if cols++; cols%50 == 0 {
							s.Resize(cols, 24)
						}
						return s.Write(t.Context(), mgs.PayloadOutput, b) == nil
					})
					s.Resize(1000, 500)
				})
				var gotUp []byte
				var last []byte
				wg.Go(func() {
					for len(gotUp) < total || string(last) != `{"cols":1000,"rows":500}` {
						typ, b, ok := d.Recv()
						if !ok {
							return
						}
						if typ == mgs.PayloadSize {
							last = b
						} else {
							gotUp = append(gotUp, b...)
						}
					}
				})
				gotDown := collect(t, s, total)
				wg.Wait()
				if !bytes.Equal(gotDown, down) {
					t.Error("output:", firstDifference(gotDown, down))
				}
				if !bytes.Equal(gotUp, up) {
					t.Error("input:", firstDifference(gotUp, up))
				}
				if n := proxy.Cuts(); n < 50 {
					t.Errorf("only %d cuts were made", n)
				}
				d.Drained()
				d.Close("")
				<-s.Done()
				if e := s.End(); e.Reason != Closed {
					t.Errorf("end %+v", e)
				}
				client := d.Hellos()[0].ClientId
				for _, h := range d.Hellos() {
					if h.ClientId != client {
						t.Fatal("the ClientId changed")
					}
				}
			})
		}
	}
}

// TestTypingWhileAway: what is typed while there is no connection, and no
// service to ask for one, arrives later.
func TestTypingWhileAway(t *testing.T) {
	t.Parallel()
	d := clienttest.NewDouble(t, clienttest.Options{})
	events := make(chan Event, 100)
	o := options(d)
	o.Notify = func(e Event) { events <- e }
	s := start(t, o, hasty)
	<-s.Ready()
	if e := <-events; e.Kind != Connected {
		t.Fatalf("event %+v", e)
	}
	d.FailResume(5)
	d.Cut()
	if e := <-events; e.Kind != Lost || e.Err == nil {
		t.Fatalf("event %+v", e)
	}
	for range 10 {
		if n, err := s.TryWrite(mgs.PayloadOutput, []byte("key")); n != 3 || err != nil {
			t.Fatal(n, err)
		}
	}
	retries := 0
	e := <-events
	for ; e.Kind == Retrying; e = <-events {
		retries++
	}
	if e.Kind != Connected || retries != 5 {
		t.Errorf("event %+v after %d retries", e, retries)
	}
	var got []byte
	for len(got) < 30 {
		_, b, ok := d.Recv()
		if !ok {
			t.Fatal("over")
		}
		got = append(got, b...)
	}
	if want := bytes.Repeat([]byte("key"), 10); !bytes.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if h := d.Hellos(); len(h) != 2 || h[0].TokenValue == h[1].TokenValue {
		t.Errorf("first messages %+v", h)
	}
}

// TestBackPressure: a program that reads nothing holds up its writer, and a
// person who reads nothing the program.
func TestBackPressure(t *testing.T) {
	t.Parallel()
	const total = 16 << 20
	d := clienttest.NewDouble(t, clienttest.Options{})
	s := start(t, options(d))
	<-s.Ready()
	for taken := 0; ; {
		n, err := s.TryWrite(mgs.PayloadOutput, make([]byte, 64<<10))
		if taken += n; err != nil || taken > 8<<20 {
			t.Fatalf("took %d bytes that nobody reads, %v", taken, err)
		}
		if n == 0 {
			break
		}
	}
	sent := make(chan bool, 1)
	go func() { sent <- d.Send(mgs.PayloadOutput, make([]byte, total)) }()
	s.mu.Lock()
	held := s.link.Waiting()
	s.mu.Unlock()
	if held > 4<<20 {
		t.Errorf("%d bytes wait for their reader", held)
	}
	if len(collect(t, s, total)) != total || !<-sent {
		t.Error("the rest did not come")
	}
}
