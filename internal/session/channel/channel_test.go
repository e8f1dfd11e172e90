package channel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"ssmagent/internal/stream"
	"ssmagent/internal/wire/mgs"
)

// Bytes come once and in order, whatever happens to the connections.
func TestCuts(t *testing.T) {
	for _, ours := range []bool{true, false} {
		t.Run(fmt.Sprintf("ours=%v", ours), func(t *testing.T) {
			run(t, func(c *client) {
				c.answer = asStock
				if ours {
					c.answer = asOurs(80, 24)
				}
			}, nil, func(l *lab) {
				if _, _, err := l.greet(); err != nil {
					t.Fatal(err)
				}
				testCuts(t, l)
			})
		})
	}
}

func testCuts(t *testing.T, l *lab) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var printed, typed, heard bytes.Buffer
	stop := make(chan struct{})
	cutting := make(chan int)
	go func() { // where in the flow a cut falls is the scheduler's
		n, rnd := 0, rand.New(rand.NewPCG(5, 6))
		for tick := time.NewTimer(0); ; n++ {
			tick.Reset(time.Duration(rnd.IntN(400)) * time.Millisecond)
			select {
			case <-stop:
				cutting <- n
				return
			case <-tick.C:
				l.cut()
			}
		}
	}()
	received := make(chan struct{})
	const keys = 300
	go func() {
		defer close(received)
		for heard.Len() < keys*5 {
			p, err := l.ch.Next(l.ctx)
			if err != nil {
				t.Error(err)
				return
			}
			heard.Write(p.Bytes)
		}
	}()
	for i := range keys {
		key := fmt.Sprintf("%04d\n", i)
		typed.WriteString(key)
		l.client.push <- payload{mgs.PayloadOutput, []byte(key)}
		b := bytes.Repeat([]byte(fmt.Sprintf("line %d é\n", i)), rnd.IntN(200)+1)
		printed.Write(b)
		if err := l.ch.Write(l.ctx, b); err != nil {
			t.Fatal(err)
		}
		wait(time.Duration(rnd.IntN(100)) * time.Millisecond)
	}
	<-received
	close(stop)
	n := <-cutting
	l.ch.Finish(l.ctx, &mgs.Exit{Code: 3})
	l.ch.Drain(l.ctx)
	synctest.Wait()
	if n < 50 || l.opens < 20 {
		t.Errorf("%d cuts, %d connections", n, l.opens)
	}
	if !bytes.Equal(heard.Bytes(), typed.Bytes()) {
		t.Errorf("input: %d bytes for %d", heard.Len(), typed.Len())
	}
	if !bytes.Equal(l.client.out.Bytes(), printed.Bytes()) {
		t.Errorf("output: %d bytes for %d", l.client.out.Len(), printed.Len())
	}
	if len(l.client.states) != 1 {
		t.Errorf("states %q", l.client.states)
	}
}

// TestLostBehindTheRelay: frames that were on their way to a client when its
// connection broke are lost though ours holds. They come again at once, not
// one by one with a time-out each.
func TestLostBehindTheRelay(t *testing.T) {
	run(t, func(c *client) { c.answer = asOurs(80, 24) }, nil, func(l *lab) {
		if _, _, err := l.greet(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		l.client.deaf = true
		want := bytes.Repeat([]byte("0123456789abcdef"), 40<<10)
		if err := l.ch.Write(l.ctx, want); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		l.client.deaf = false
		start := time.Now()
		l.ch.Drain(l.ctx)
		if took := time.Since(start); took > 2*time.Second || !bytes.Equal(l.client.out.Bytes(), want) || l.opens != 1 {
			t.Errorf("%d of %d bytes after %v over %d connections", l.client.out.Len(), len(want), took, l.opens)
		}
	})
}

// TestLastingConnections: one that lasted begins the attempts anew, though
// nothing was heard on it.
func TestLastingConnections(t *testing.T) {
	run(t, func(c *client) { c.answer = asOurs(80, 24) }, nil, func(l *lab) {
		if _, _, err := l.greet(); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			wait(6 * time.Second)
			l.cut()
			wait(250 * time.Millisecond) // First and its jitter
			l.mu.Lock()
			n := l.opens
			l.mu.Unlock()
			if n != i+2 {
				t.Fatalf("%d connections after %d cuts", n, i+1)
			}
		}
	})
}

// wait lets bubble time pass.
func wait(d time.Duration) { <-time.After(d) }

func TestEnds(t *testing.T) {
	t.Run("channel_closed", func(t *testing.T) {
		run(t, func(c *client) { c.answer = asOurs(80, 24) }, nil, func(l *lab) {
			if _, _, err := l.greet(); err != nil {
				t.Fatal(err)
			}
			l.toAgent(mgs.TypeChannelClosed, []byte("not JSON"))
			<-l.ch.Done()
			if !errors.Is(l.ch.Err(), ErrGone) || !errors.Is(l.ch.Write(l.ctx, []byte("x")), ErrGone) {
				t.Fatal(l.ch.Err())
			}
			if _, err := l.ch.Next(l.ctx); !errors.Is(err, ErrGone) {
				t.Fatal(err)
			}
		})
	})
	t.Run("terminated while away", func(t *testing.T) {
		run(t, nil, func(n int, _ *wire) error {
			switch n {
			case 1:
				return nil
			case 20:
				return fmt.Errorf("%w: terminated", ErrGone)
			}
			return errNetwork
		}, func(l *lab) {
			<-l.ch.Opened()
			start := time.Now()
			l.cut()
			<-l.ch.Done()
			if took := time.Since(start); !errors.Is(l.ch.Err(), ErrGone) || took < 20*time.Second || took > 100*time.Second {
				t.Fatal(l.ch.Err(), took)
			}
		})
	})
	t.Run("never there", func(t *testing.T) {
		run(t, nil, func(int, *wire) error { return errNetwork }, func(l *lab) {
			if _, _, err := l.greet(); !errors.Is(err, ErrUnreachable) || !errors.Is(err, errNetwork) || l.opens != 6 {
				t.Fatal(err, l.opens)
			}
		})
	})
	t.Run("a dead network", func(t *testing.T) {
		run(t, func(c *client) { c.answer = asOurs(80, 24) }, func(n int, w *wire) error {
			w.mute = n == 1
			return nil
		}, func(l *lab) {
			if _, _, err := l.greet(); err != nil {
				t.Fatal(err)
			}
			wait(41 * time.Second) // a ping and its deadline
			if l.opens != 2 {
				t.Fatal(l.opens, "connections")
			}
		})
	})
}

func TestFinish(t *testing.T) {
	t.Run("ours", func(t *testing.T) {
		run(t, func(c *client) { c.answer = asOurs(80, 24) }, nil, func(l *lab) {
			_, _, _ = l.greet()
			_ = l.ch.Write(l.ctx, []byte("bye \xe2\x82"))
			l.ch.Finish(l.ctx, &mgs.Exit{Code: 3})
			l.ch.Drain(l.ctx)
			_ = l.ch.State(mgs.SessionTerminating)
			l.ch.Settle()
			synctest.Wait()
			if l.client.out.String() != "bye \xe2\x82" || len(l.client.got) != 1 || string(l.client.got[0].b) != "EXIT_CODE: 3" {
				t.Errorf("%q, %v", l.client.out.String(), l.client.got)
			}
			if !slices.Equal(l.client.states, []string{mgs.SessionConnected, mgs.SessionTerminating}) {
				t.Errorf("states %q", l.client.states)
			}
		})
	})
	t.Run("stock", func(t *testing.T) {
		run(t, func(c *client) { c.answer = asStock }, nil, func(l *lab) {
			_, _, _ = l.greet()
			_ = l.ch.Write(l.ctx, []byte("bye \xe2\x82"))
			l.ch.Finish(l.ctx, nil)
			l.ch.Drain(l.ctx)
			if l.client.out.String() != "bye \xe2\x82" || len(l.client.got) != 0 {
				t.Errorf("%q, %v: a stock client would print an exit code", l.client.out.String(), l.client.got)
			}
		})
	})
	for name, tc := range map[string]struct {
		paused bool
		want   time.Duration
	}{"a client that never acknowledges": {false, drainIdle}, "a client that went": {true, drainAway}} {
		t.Run(name, func(t *testing.T) {
			run(t, func(c *client) { c.answer = asOurs(80, 24) }, nil, func(l *lab) {
				_, _, _ = l.greet()
				synctest.Wait()
				l.client.deaf = true
				if tc.paused {
					l.toAgent(mgs.TypePausePublication, nil)
					synctest.Wait()
				}
				_ = l.ch.Write(l.ctx, []byte("lost"))
				start := time.Now()
				l.ch.Drain(l.ctx)
				if took := time.Since(start); took != tc.want {
					t.Errorf("%v, want %v", took, tc.want)
				}
			})
		})
	}
}

// Frames towards clients of others end between characters.
func TestCharacters(t *testing.T) {
	run(t, func(c *client) { c.answer = asStock }, nil, func(l *lab) {
		_, _, _ = l.greet()
		text := []byte(strings.Repeat("aé漢😀", 2000))
		text = append(text, 0xff, 0xfe, 'z')
		var frames [][]byte
		rnd := rand.New(rand.NewPCG(3, 4))
		rest := text
		for len(rest) > 0 {
			n := min(rnd.IntN(3000)+1, len(rest))
			if err := l.ch.Write(l.ctx, rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
			synctest.Wait()
			frames = append(frames, bytes.Clone(l.client.out.Bytes()))
		}
		l.ch.Finish(l.ctx, &mgs.Exit{Code: 0})
		l.ch.Drain(l.ctx)
		if !bytes.Equal(l.client.out.Bytes(), text) || l.client.maxFrame > 1024 {
			t.Fatalf("%d bytes for %d, frames up to %d", l.client.out.Len(), len(text), l.client.maxFrame)
		}
		for _, f := range frames[:len(frames)-1] {
			if r, n := utf8.DecodeLastRune(f); r == utf8.RuneError && n == 1 && len(f) < len(text)-3 {
				t.Fatalf("cut within a character after %d bytes", len(f))
			}
		}
	})
}

// A client that takes nothing holds the writer up, in bounded memory.
// TestAcknowledgements: a key is acknowledged together with what it brings
// about, else after a moment; eight at once are not kept waiting.
func TestAcknowledgements(t *testing.T) {
	for _, c := range []struct {
		name  string
		keys  int
		after time.Duration // of output; 0: none
		want  time.Duration
	}{
		{"alone", 1, 0, stream.AckDelay},
		{"with its echo", 1, time.Millisecond, time.Millisecond},
		{"many", 8, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, func(c *client) { c.answer = asOurs(80, 24) }, nil, func(l *lab) {
				if _, _, err := l.greet(); err != nil {
					t.Fatal(err)
				}
				time.AfterFunc(time.Second, func() { // all is quiet by then
					for range c.keys {
						l.client.push <- payload{mgs.PayloadOutput, []byte("k")}
					}
				})
				if c.after > 0 {
					time.AfterFunc(time.Second+c.after, func() { _ = l.ch.Write(l.ctx, []byte("k")) })
				}
				start := time.Now()
				for range c.keys {
					if _, err := l.ch.Next(l.ctx); err != nil {
						t.Fatal(err)
					}
				}
				for waits := true; waits; {
					synctest.Wait()
					l.ch.mu.Lock()
					waits, _ = l.ch.link.AckWaits()
					l.ch.mu.Unlock()
					if waits {
						<-time.After(100 * time.Microsecond)
					}
				}
				if took := time.Since(start) - time.Second; took != c.want {
					t.Errorf("after %v, want %v", took, c.want)
				}
			})
		})
	}
}

func TestBackPressure(t *testing.T) {
	run(t, func(c *client) { c.answer = asOurs(80, 24) }, nil, func(l *lab) {
		_, _, _ = l.greet()
		synctest.Wait()
		l.client.deaf = true
		ctx, cancel := context.WithTimeout(l.ctx, 10*time.Second)
		defer cancel()
		wrote := 0
		b := make([]byte, 64<<10)
		for l.ch.Write(ctx, b) == nil {
			wrote += len(b)
		}
		if wrote == 0 || wrote > 2<<20 {
			t.Errorf("%d bytes taken", wrote)
		}
	})
}
