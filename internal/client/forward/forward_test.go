package forward

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"ssmagent/internal/client/clienttest"
	"ssmagent/internal/wire/mgs"
)

// TestCarries: what is said comes back whole, over TCP and a Unix socket, with
// every style of agent, and the end of one direction leaves the other to an
// agent of ours.
func TestCarries(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, network string
		style         clienttest.Style
	}{{"ours", "", clienttest.Ours}, {"unix", "unix", clienttest.Ours}, {"stock", "", clienttest.Stock}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, labOptions{style: tc.style, network: tc.network, dial: server(t, echo)})
			l.await(Opened)
			c := l.dial()
			said := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := c.Write(said); err != nil {
					t.Error(err)
				}
				if err := c.(closer).CloseWrite(); err != nil {
					t.Error(err)
				}
			})
			got, err := io.ReadAll(c)
			wg.Wait()
			if err != nil || !bytes.Equal(got, said) {
				t.Errorf("%d bytes came back of %d: %v", len(got), len(said), err)
			}
			if n := l.forward.Counts(); n.Total != 1 || n.Up != int64(len(said)) || n.Down != int64(len(said)) {
				t.Errorf("%+v", n)
			}
		})
	}
}

// TestHalfClose: a destination that answers after the end of the question,
// and a person's end that goes on after that of the answer.
func TestHalfClose(t *testing.T) {
	t.Parallel()
	heard := make(chan string, 1)
	l := newLab(t, labOptions{dial: server(t, func(c *net.TCPConn) {
		question, _ := io.ReadAll(c)
		fmt.Fprintf(c, "%d", len(question))
		heard <- string(question)
	})})
	c := l.dial()
	fmt.Fprint(c, "how long am I?")
	if err := c.(closer).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || string(b) != "14" {
		t.Errorf("%q, %v", b, err)
	}
	<-heard

	l = newLab(t, labOptions{dial: server(t, func(c *net.TCPConn) {
		_ = c.CloseWrite()
		b, _ := io.ReadAll(c)
		heard <- string(b)
	})})
	c = l.dial()
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		t.Fatalf("%q, %v", b, err)
	}
	fmt.Fprint(c, "afterwards")
	c.Close()
	if got := <-heard; got != "afterwards" {
		t.Errorf("the destination heard %q", got)
	}
}

// TestReset: a connection that breaks on one side breaks on the other.
func TestReset(t *testing.T) {
	t.Parallel()
	broke := make(chan error, 1)
	l := newLab(t, labOptions{dial: server(t, func(c *net.TCPConn) {
		fmt.Fprint(c, "x")
		_, err := io.Copy(io.Discard, c)
		broke <- err
	})})
	c := l.dial()
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	reset(c)
	<-broke // its end came, in whatever way

	other := newLab(t, labOptions{dial: server(t, func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 1)); reset(c) })})
	c = other.dial()
	fmt.Fprint(c, "x")
	if b, _ := io.ReadAll(c); len(b) > 0 {
		t.Errorf("%q", b)
	}
	c = other.dial() // the forward goes on
	fmt.Fprint(c, "x")
	if b, err := io.ReadAll(c); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%q, %v", b, err)
	}
}

// TestRefused: the person is told, the connection ends, the forward goes on.
func TestRefused(t *testing.T) {
	t.Parallel()
	var refuse sync.Once
	dial := server(t, echo)
	l := newLab(t, labOptions{dial: func() (c net.Conn, err error) {
		refuse.Do(func() { err = errors.New("connection refused") })
		if err != nil {
			return nil, err
		}
		return dial()
	}})
	c, err := l.tryDial()
	var b []byte
	if err == nil {
		b, err = io.ReadAll(c)
	}
	if len(b) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("%q, %v", b, err)
	}
	l.await(Refused)
	c = l.dial()
	fmt.Fprint(c, "still")
	if b := make([]byte, 5); true {
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "still" {
			t.Errorf("%q, %v", b, err)
		}
	}
	if n := l.forward.Counts(); n.Refused != 1 || n.Total != 2 {
		t.Errorf("%+v", n)
	}
}

// TestCuts carries fifty connections both ways while the data channel is cut
// again and again; a property of all is that no byte is lost nor doubled.
func TestCuts(t *testing.T) {
	t.Parallel()
	const conns, size, cuts = 50, 256 << 10, 20
	var proxy *clienttest.Proxy
	l := newLab(t, labOptions{dial: server(t, echo), through: func(t testing.TB, raw string) string {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		proxy = clienttest.NewProxy(t, u.Host, 7)
		proxy.CutEvery(200_000, 600_000, cuts)
		return proxy.Rewrite(raw)
	}})
	var wg sync.WaitGroup
	for i := range conns {
		c := l.dial()
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			said := make([]byte, size+rnd.IntN(size))
			for j := range said {
				said[j] = byte(rnd.Uint32())
			}
			var up sync.WaitGroup
			up.Go(func() {
				for rest := said; len(rest) > 0; {
					n := min(len(rest), 1+rnd.IntN(60000))
					if _, err := c.Write(rest[:n]); err != nil {
						t.Error(err)
						return
					}
					rest = rest[n:]
				}
				_ = c.(closer).CloseWrite()
			})
			sum := sha256.New()
			n, err := io.Copy(sum, c)
			up.Wait()
			if want := sha256.Sum256(said); err != nil || !bytes.Equal(sum.Sum(nil), want[:]) {
				t.Errorf("connection %d: %d of %d bytes, %v", i, n, len(said), err)
			}
		})
	}
	wg.Wait()
	if n := proxy.Cuts(); n < cuts {
		t.Errorf("%d cuts, %d are wanted", n, cuts)
	}
}

// TestBackPressure has a person's end that reads nothing: the destination is
// held up, nothing grows, and all of it comes in the end.
func TestBackPressure(t *testing.T) {
	t.Parallel()
	const size = 32 << 20
	written := make(chan int, 1<<16)
	l := newLab(t, labOptions{dial: server(t, func(c *net.TCPConn) {
		defer close(written)
		b := make([]byte, 64<<10)
		for n := 0; n < size; n += len(b) {
			if _, err := c.Write(b); err != nil {
				return
			}
			written <- n + len(b)
		}
	})})
	c := l.dial()
	held := 0
	for stuck := false; !stuck; {
		select {
		case held = <-written:
		case <-timeout():
			stuck = true
		}
	}
	if held >= size {
		t.Error("the destination was not held up")
	}
	if n, err := io.Copy(io.Discard, c); err != nil || n != size {
		t.Errorf("%d bytes of %d, %v", n, size, err)
	}
}

// TestStandsStill: towards an agent that knows windows, connections that are
// not read do not stop the others.
func TestStandsStill(t *testing.T) {
	t.Parallel()
	l := newLab(t, labOptions{dial: server(t, func(c *net.TCPConn) { // floods, unless it is spoken to first
		hello := make([]byte, 1)
		if _, err := c.Read(hello); err != nil || hello[0] == 'e' {
			echo(c)
			return
		}
		for b := make([]byte, 64<<10); ; {
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	})})
	for range 5 {
		fmt.Fprint(l.dial(), "flood")
	}
	c := l.dial()
	fmt.Fprint(c, "e")
	said := bytes.Repeat([]byte("x"), 4<<20)
	go func() { _, _ = c.Write(said) }()
	if n, err := io.CopyN(io.Discard, c, int64(len(said))); err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestEnds: by the service, by us, and by an agent that talks nonsense.
func TestEnds(t *testing.T) {
	t.Parallel()
	t.Run("session", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, labOptions{dial: server(t, echo)})
		c := l.dial()
		l.await(Opened)
		l.double.Close("it is late")
		if err := l.ended(); err != nil {
			t.Error(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("the connection is open")
		}
		if _, err := net.Dial("tcp", l.addr.String()); err == nil {
			t.Error("the listener is open")
		}
	})
	t.Run("context", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, labOptions{dial: server(t, echo)})
		c := l.dial()
		fmt.Fprint(c, "x")
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		l.stop()
		if err := l.ended(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("the connection is open")
		}
	})
	t.Run("garbage", func(t *testing.T) {
		t.Parallel()
		l := newLab(t, labOptions{agent: func(d *clienttest.Double, _ *lab) {
			if _, _, ok := d.Recv(); ok { // the first stream
				d.Send(mgs.PayloadOutput, []byte("SSH-2.0-nobody\r\n"))
			}
		}})
		_, _ = io.ReadAll(l.dial())
		if err := l.ended(); err == nil || !strings.Contains(err.Error(), "forward again") {
			t.Error(err)
		}
	})
}

// TestRefuses: sessions that connections cannot be carried through.
func TestRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ sessionType, properties, says string }{
		"shell": {mgs.SessionStandardStream, "null", "not Port"},
		"SSH":   {mgs.SessionPort, `{"portNumber":"22"}`, "ssh-proxy"},
		"wrong": {mgs.SessionPort, `{"portNumber":22}`, "properties"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, labOptions{agent: func(*clienttest.Double, *lab) {}, setup: func(o *clienttest.Options) {
				o.SessionType, o.Properties = tc.sessionType, []byte(tc.properties)
			}})
			if err := l.ended(); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Error(err)
			}
		})
	}
}

// TestFull: more connections than may be are reset, the others go on.
func TestFull(t *testing.T) {
	t.Parallel()
	l := newLab(t, labOptions{dial: server(t, echo), change: func(o *Options) { o.MaxOpen = 1 }})
	first := l.dial()
	fmt.Fprint(first, "x")
	if _, err := first.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	// The reset may come before the dial is done.
	more, err := net.Dial(l.addr.Network(), l.addr.String())
	if err == nil {
		defer more.Close()
		_, err = more.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("one too many: %v, want a reset", err)
	}
	l.await(Full)
	fmt.Fprint(first, "y")
	if _, err := first.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

func TestNewer(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"3.1.1511.0": false, "3.1.1575.0": true, "3.3.9000.0": true, "4.0.0.0": true, "2.9.9999.9": false,
		"3.1.1512": false, "": false, "3.x.1.1": false, "3.1.1511.1": true,
	} {
		if newer(version, 3, 1, 1511, 0) != want {
			t.Errorf("%q", version)
		}
	}
}
