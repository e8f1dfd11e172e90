package client

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ssmagent/internal/client/clienttest"
	"ssmagent/internal/wire/mgs"
)

// pipes is a network in memory, for bubbles. While it is frozen what is
// written gets nowhere, and nobody is told.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once

	mu     sync.Mutex
	frozen bool
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (p *pipes) freeze(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = on
}

func (p *pipes) transport() *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		here, there := net.Pipe()
		select {
		case p.conns <- &wire{Conn: there, net: p}:
			return &wire{Conn: here, net: p}, nil
		case <-p.done:
			return nil, errors.New("nobody listens")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
}

// wire is one end of a connection.
type wire struct {
	net.Conn
	net *pipes
}

func (w *wire) Write(b []byte) (int, error) {
	w.net.mu.Lock()
	frozen := w.net.frozen
	w.net.mu.Unlock()
	if frozen {
		return len(b), nil
	}
	return w.Conn.Write(b)
}

// lab is a session over pipes.
func lab(t *testing.T, do clienttest.Options, change func(*Options), tune ...func(*Session)) (*Session, *clienttest.Double, *pipes) {
	t.Helper()
	p := newPipes()
	do.Listener = p
	d := clienttest.NewDouble(t, do)
	o := options(d)
	o.Transport = p.transport()
	if change != nil {
		change(&o)
	}
	return start(t, o, tune...), d, p
}

// TestPings: pings go out at most 30 s apart, and keep an idle session.
func TestPings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, d, _ := lab(t, clienttest.Options{}, nil)
		<-s.Ready()
		<-time.After(10 * time.Minute)
		if n := d.Pings(); n < 20 {
			t.Errorf("%d pings in ten minutes", n)
		}
		if n := len(d.Hellos()); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// TestDeadNetwork: a network that carries nothing any more is left within 40
// seconds, and sooner when something was typed.
func TestDeadNetwork(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		typed bool
		least time.Duration
		most  time.Duration
	}{"idle": {false, 15 * time.Second, 41 * time.Second}, "typing": {true, 4 * time.Second, 21 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				events := make(chan Event, 100)
				s, d, p := lab(t, clienttest.Options{}, func(o *Options) { o.Notify = func(e Event) { events <- e } })
				<-s.Ready()
				<-events
				synctest.Wait()
				p.freeze(true)
				since := time.Now()
				if tc.typed {
					if n, err := s.TryWrite(mgs.PayloadOutput, []byte("x")); n != 1 || err != nil {
						t.Fatal(n, err)
					}
				}
				if e := <-events; e.Kind != Lost {
					t.Fatalf("event %+v", e)
				}
				if took := time.Since(since); took < tc.least || took > tc.most {
					t.Errorf("noticed after %v", took)
				}
				p.freeze(false)
				for e := range events {
					if e.Kind == Connected {
						break
					}
				}
				d.Send(mgs.PayloadOutput, []byte("back"))
				if got := collect(t, s, 4); string(got) != "back" {
					t.Errorf("got %q", got)
				}
			})
		})
	}
}

// TestRetriesForEver: neither do attempts end nor do they become a flood.
func TestRetriesForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, d, _ := lab(t, clienttest.Options{}, nil)
		<-s.Ready()
		d.FailResume(1500)
		since := time.Now()
		d.Cut()
		d.Send(mgs.PayloadOutput, []byte("back"))
		if got := collect(t, s, 4); string(got) != "back" {
			t.Fatalf("got %q", got)
		}
		if took := time.Since(since); took < 1450*10*time.Second || took > 1500*15*time.Second {
			t.Errorf("1500 attempts took %v", took)
		}
	})
}

// TestLastingConnections: one that lasted begins the attempts anew, though
// nothing was heard on it.
func TestLastingConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, d, _ := lab(t, clienttest.Options{}, nil)
		<-s.Ready()
		for i := range 10 {
			<-time.After(6 * time.Second)
			d.Cut()
			<-time.After(100 * time.Millisecond)
			if n := len(d.Hellos()); n != i+2 {
				t.Fatalf("%d connections after %d cuts", n, i+1)
			}
		}
	})
}

// TestLostOnTheWay: what got lost though the connection holds comes again at
// once, not one by one with a time-out each.
func TestLostOnTheWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, d, p := lab(t, clienttest.Options{}, nil)
		<-s.Ready()
		synctest.Wait()
		p.freeze(true)
		const keys = 40
		for range keys {
			if n, err := s.TryWrite(mgs.PayloadOutput, []byte("x")); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
		synctest.Wait()
		p.freeze(false)
		since := time.Now()
		for range keys {
			if _, b, ok := d.Recv(); !ok || string(b) != "x" {
				t.Fatalf("got %q", b)
			}
		}
		if took := time.Since(since); took > 2*time.Second || len(d.Hellos()) != 1 {
			t.Errorf("it took %v and %d connections", took, len(d.Hellos()))
		}
	})
}

// TestNeverReached: an address where nobody is is said to be one.
func TestNeverReached(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		_ = p.Close()
		asked := 0
		s := start(t, Options{StreamURL: "ws://127.0.0.1:1/x", SessionID: "a", Token: "t", ClientVersion: "1.2.3.4", Transport: p.transport(),
			Resume: func(context.Context) (string, error) { asked++; return "again", nil }})
		<-s.Done()
		if e := s.End(); e.Reason != Failed || !strings.Contains(e.Text, "nobody listens") || asked != defaultPolicy.firstTries-1 {
			t.Errorf("end %+v after %d tokens", e, asked)
		}
	})
}

// TestGone: the service says that the session is over, in either way.
func TestGone(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{"no token": nil, "error": ErrGone} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, d, _ := lab(t, clienttest.Options{}, func(o *Options) {
					o.Resume = func(context.Context) (string, error) { return "", err }
				})
				<-s.Ready()
				d.Cut()
				<-s.Done()
				if e := s.End(); e.Reason != TimedOut {
					t.Errorf("end %+v", e)
				}
			})
		})
	}
}

// TestLeave: the session is terminated, and over in any case.
func TestLeave(t *testing.T) {
	t.Parallel()
	bad := errors.New("not allowed")
	for _, tc := range []struct {
		name   string
		answer error
		closes bool
		reason Reason
		within time.Duration
	}{
		{"closed", nil, true, Closed, 0},
		{"silent", nil, false, Left, time.Second},
		{"refused", bad, false, Left, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var d *clienttest.Double
				called := 0
				s, d, _ := lab(t, clienttest.Options{}, func(o *Options) {
					o.Terminate = func(context.Context) error {
						called++
						if tc.closes {
							d.Close("")
						}
						return tc.answer
					}
				})
				<-s.Ready()
				since := time.Now()
				if err := s.Leave(t.Context()); !errors.Is(err, tc.answer) {
					t.Errorf("got %v", err)
				}
				<-s.Done()
				if e := s.End(); e.Reason != tc.reason || called != 1 || time.Since(since) != tc.within {
					t.Errorf("end %+v after %v and %d calls", e, time.Since(since), called)
				}
				if err := s.Leave(t.Context()); err != nil || called != 1 {
					t.Error("terminated twice", err)
				}
			})
		})
	}
}

// TestRunEnds: with its context, and only once.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		d := clienttest.NewDouble(t, clienttest.Options{Listener: p})
		o := options(d)
		o.Transport = p.transport()
		s, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("enough")
		ran := make(chan error, 1)
		go func() { ran <- s.Run(ctx) }()
		<-s.Ready()
		cancel(why)
		if err := <-ran; !errors.Is(err, why) {
			t.Errorf("got %v", err)
		}
		if e := s.End(); e.Reason != Failed || e.Text != "enough" {
			t.Errorf("end %+v", e)
		}
		if s.Run(t.Context()) == nil {
			t.Error("it ran twice")
		}
	})
}

// TestPanicComesThrough: whoever called Run can put things in order.
func TestPanicComesThrough(t *testing.T) {
	t.Parallel()
	defer func() {
		if p, _ := recover().(string); !strings.Contains(p, "ouch") {
			t.Errorf("recovered %v", p)
		}
	}()
	g := newGroup(t.Context())
	g.spawn(func() error { <-g.ctx.Done(); return nil })
	g.spawn(func() error { panic("ouch") })
	_ = g.wait()
	t.Error("wait came back")
}
