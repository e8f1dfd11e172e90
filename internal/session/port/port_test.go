package port

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xtaci/smux"

	"ssmagent/internal/clock"
	"ssmagent/internal/mux"
	"ssmagent/internal/wire/mgs"
)

// kinds are clients that multiplex.
func kinds() map[string]Client {
	return map[string]Client{
		"stock 1.1.70":    {Version: "1.1.70", Mux: 1},
		"stock 1.3.0.0":   {Version: "1.3.0.0", Mux: 1},
		"ours":            {Version: "3.3.9000.0", Ours: true, Mux: 2},
		"ours without it": {Version: "3.3.9000.0", Ours: true, Mux: 1},
	}
}

func each(t *testing.T, dial func(t *testing.T) func(context.Context) (net.Conn, error), test func(t *testing.T, l *lab, c Client)) {
	for name, c := range kinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := serve(t, c, true, dial(t))
			l.client(c.Mux)
			test(t, l, c)
		})
	}
}

func to(handle func(*net.TCPConn)) func(*testing.T) func(context.Context) (net.Conn, error) {
	return func(t *testing.T) func(context.Context) (net.Conn, error) { return destination(t, handle) }
}

// Many connections carry what they are given, all at once and whole.
func TestManyConnections(t *testing.T) {
	t.Parallel()
	each(t, to(echo), func(t *testing.T, l *lab, c Client) {
		const conns, size = 20, 200 << 10
		var wg sync.WaitGroup
		for i := range conns {
			st := l.stream()
			want := bytes.Repeat([]byte(fmt.Sprintf("%04d,", i)), size/5)
			wg.Go(func() {
				if _, err := st.Write(want); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				got := make([]byte, len(want))
				if _, err := io.ReadFull(st, got); err != nil || !bytes.Equal(got, want) {
					t.Errorf("connection %d: %v", i, err)
				}
				_ = st.Close()
			})
		}
		wg.Wait()
		l.says(mgs.PayloadFlag, mgs.FlagDisconnectToPort.Encode()) // which means nothing here
		l.says(mgs.PayloadFlag, mgs.FlagTerminateSession.Encode())
		if err := l.ended(); err != nil {
			t.Error(err)
		}
		if n, up := l.traffic.Connections.Load(), l.traffic.Up.Load(); n != conns || up != conns*(size/5*5) {
			t.Errorf("%d connections, %d bytes", n, up)
		}
	})
}

// A destination that speaks first is heard from its first byte, however soon
// it speaks.
func TestFirstWords(t *testing.T) {
	t.Parallel()
	each(t, to(func(c *net.TCPConn) { _, _ = io.WriteString(c, "220 ready\r\n") }), func(t *testing.T, l *lab, _ Client) {
		for range 50 {
			got, err := io.ReadAll(l.stream())
			if err != nil || string(got) != "220 ready\r\n" {
				t.Fatalf("%q %v", got, err)
			}
		}
	})
}

// TestSettles: a stock client is given its millisecond before the first byte,
// unless it was heard before; ours is not.
func TestSettles(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		client        Client
		speaks, waits bool
	}{
		"stock":             {Client{Version: "1.3.0.0", Mux: 1}, false, true},
		"stock that speaks": {Client{Version: "1.3.0.0", Mux: 1}, true, false},
		"ours":              {Client{Version: "3.3.9000.0", Ours: true, Mux: 2}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			near, far := net.Pipe()
			defer far.Close()
			now := clock.NewFake(time.Unix(1, 0))
			l := serveAt(t, now, tc.client, true, func(context.Context) (net.Conn, error) { return near, nil })
			l.client(tc.client.Mux)
			st := l.stream()
			if tc.speaks {
				if _, err := st.Write([]byte("?")); err != nil {
					t.Fatal(err)
				}
				if _, err := far.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := far.Write([]byte("!")); err != nil { // it was read
				t.Fatal(err)
			}
			heard := make(chan error, 1)
			go func() {
				_, err := io.ReadFull(st, make([]byte, 1))
				heard <- err
			}()
			if tc.waits {
				select {
				case <-heard:
					t.Error("too soon")
				default:
				}
				now.Advance(settle)
			}
			if err := <-heard; err != nil {
				t.Error(err)
			}
		})
	}
}

// Idle clients of every age stay connected; those that expect signs of life
// get them, and need send none.
func TestIdle(t *testing.T) {
	t.Parallel()
	for version, signs := range map[string]bool{"1.1.70": true, "1.2.331.0": true, "1.2.332.0": false, "1.2.339.0": false, "1.3.0.0": false, "ours": false} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			c := Client{Version: version, Mux: 1}
			if version == "ours" {
				c = Client{Version: "3.3.9000.0", Ours: true, Mux: 2}
			}
			now := clock.NewFake(time.Unix(1, 0))
			l := serveAt(t, now, c, true, mirror)
			l.client(c.Mux)
			st := l.stream()
			_ = st.SetDeadline(time.Time{})
			for i, idle := range []time.Duration{10 * time.Second, 10 * time.Second, 20 * time.Minute, 24 * time.Hour} {
				if signs {
					if err := now.Await(t.Context(), 1); err != nil {
						t.Fatal(err)
					}
				}
				now.Advance(idle)
				if signs {
					<-l.nops
				}
				if _, err := st.Write([]byte{byte(i)}); err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 1)
				if _, err := io.ReadFull(st, b); err != nil || b[0] != byte(i) {
					t.Fatalf("after %v: %v %v", idle, b, err)
				}
			}
			if len(l.nops) > 0 {
				t.Error("too many signs of life")
			}
		})
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	each(t, func(*testing.T) func(context.Context) (net.Conn, error) { return closed }, func(t *testing.T, l *lab, _ Client) {
		for range 3 {
			st := l.stream()
			if b, err := io.ReadAll(st); len(b) > 0 || err != nil && !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("%q %v", b, err)
			}
			if f := <-l.flags; f != mgs.FlagConnectToPortError {
				t.Errorf("flag %d", f)
			}
			_ = st.Close()
		}
		l.cancel(errGone)
		if err := l.ended(); !errors.Is(err, errGone) {
			t.Error(err)
		}
		if n := l.traffic.Failed.Load(); n != 3 {
			t.Errorf("%d failed", n)
		}
	})
}

// With a client of ours each direction ends for itself.
func TestHalfClosed(t *testing.T) {
	t.Parallel()
	l := serve(t, kinds()["ours"], true, destination(t, func(c *net.TCPConn) {
		got, _ := io.ReadAll(c) // to the client's end
		sum := sha256.Sum256(got)
		_, _ = fmt.Fprintf(c, "%x", sum)
	}))
	l.client(2)
	st := l.stream()
	text := bytes.Repeat([]byte("half "), 200_000)
	if _, err := st.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := st.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(st); err != nil || string(got) != fmt.Sprintf("%x", sha256.Sum256(text)) {
		t.Errorf("%q %v", got, err)
	}
}

// A stock client's end is the connection's, as with stock agents.
func TestStockEnds(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	l := serve(t, kinds()["stock 1.3.0.0"], true, destination(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "hello")
		_, err := io.Copy(io.Discard, c)
		ended <- err
	}))
	l.client(1)
	st := l.stream()
	b := make([]byte, 5)
	if _, err := io.ReadFull(st, b); err != nil {
		t.Fatal(err)
	}
	_ = st.Close()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the destination does not learn it")
	}
}

// What a destination said before it reset the connection comes, and the
// session goes on.
func TestReset(t *testing.T) {
	t.Parallel()
	each(t, to(func(c *net.TCPConn) {
		if b, err := io.ReadAll(io.LimitReader(c, 4)); err != nil || string(b) != "echo" {
			_ = c.SetLinger(0)
			return
		}
		_, _ = io.WriteString(c, "echo")
	}), func(t *testing.T, l *lab, _ Client) {
		for range 5 {
			st := l.stream()
			_, _ = st.Write([]byte("rst!"))
			_, _ = io.ReadAll(st) // ends
			_ = st.Close()
			st = l.stream()
			_, _ = st.Write([]byte("echo"))
			if b, err := io.ReadAll(st); err != nil || string(b) != "echo" {
				t.Fatalf("%q %v", b, err)
			}
			_ = st.Close()
		}
	})
}

// A client of ours that broke off a connection leaves nothing behind, whatever
// the destination does.
func TestAborted(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{}, 1)
	l := serve(t, kinds()["ours"], true, destination(t, func(c *net.TCPConn) {
		for {
			if _, err := c.Write(make([]byte, 64<<10)); err != nil {
				ended <- struct{}{}
				return
			}
		}
	}))
	l.client(2)
	for _, half := range []bool{false, true} {
		st := l.stream()
		if _, err := io.ReadFull(st, make([]byte, 300<<10)); err != nil {
			t.Fatal(err)
		}
		if half { // its end was told before
			if err := st.CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		mux.Abort(st)
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatal("the destination speaks on")
		}
	}
}

// One connection that stands still does not stop the others, with clients that
// know windows.
func TestStandsStill(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	l := serve(t, kinds()["ours"], true, destination(t, func(c *net.TCPConn) {
		b := make([]byte, 5)
		if _, err := io.ReadFull(c, b); err == nil && string(b) == "still" {
			<-release
			return
		}
		_, _ = c.Write(b)
		echo(c)
	}))
	t.Cleanup(func() { close(release) }) // before the destination waits
	l.client(2)
	for range 3 {
		st := l.stream()
		_, _ = st.Write([]byte("still"))
		go func() { _, _ = st.Write(make([]byte, 16<<20)) }()
	}
	st := l.stream()
	text := []byte(strings.Repeat("moves", 100_000))
	go func() { _, _ = st.Write(text) }()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(st, got); err != nil || !bytes.Equal(got, text) {
		t.Error(err)
	}
}

func TestGarbage(t *testing.T) {
	t.Parallel()
	for name, bytes := range map[string]string{
		"version": "\x09\x00\x00\x00\x03\x00\x00\x00", "command": "\x01\x77\x00\x00\x03\x00\x00\x00", "text": "GET / HTTP/1.1\r\n\r\n", "length of a beginning": "\x01\x00\x05\x00\x03\x00\x00\x00",
	} {
		l := serve(t, kinds()["stock 1.3.0.0"], true, closed)
		l.says(mgs.PayloadOutput, []byte(bytes))
		if err := l.ended(); err == nil || !errors.Is(err, smux.ErrInvalidProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Connections beyond the limit are refused, and those that are open go on.
func TestTooMany(t *testing.T) {
	t.Parallel()
	l := serve(t, kinds()["ours"], true, mirror)
	l.client(2)
	streams := make([]*smux.Stream, maxOpen+6)
	for i := range streams {
		streams[i] = l.stream()
	}
	for range 6 {
		if f := <-l.flags; f != mgs.FlagConnectToPortError {
			t.Errorf("flag %d", f)
		}
	}
	for _, st := range streams[:maxOpen] { // each came about, which takes its time
		if _, err := st.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(st, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if n := l.traffic.Connections.Load(); n != maxOpen {
		t.Errorf("%d connections", n)
	}
}
