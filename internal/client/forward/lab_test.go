package forward

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"ssmagent/internal/client"
	"ssmagent/internal/client/clienttest"
	"ssmagent/internal/wire/mgs"
)

const patience = 20 * time.Second

// lab is a Forward with an agent's end in Go behind it.
type lab struct {
	t       testing.TB
	double  *clienttest.Double
	session *client.Session
	forward *Forward
	events  chan Event
	addr    net.Addr
	ran     chan error // how Run ended
	stop    context.CancelFunc
}

type labOptions struct {
	style   clienttest.Style
	network string                          // default tcp
	dial    func() (net.Conn, error)        // of the agent, to the destination
	through func(testing.TB, string) string // rewrites the StreamURL
	change  func(*Options)                  // of the Forward
	agent   func(*clienttest.Double, *lab)  // instead of the smux server
	setup   func(*clienttest.Options)
}

const properties = `{"localPortNumber":"0","portNumber":"80","type":"LocalPortForwarding"}`

func newLab(t testing.TB, o labOptions) *lab {
	t.Helper()
	do := clienttest.Options{Style: o.style, SessionType: mgs.SessionPort, Properties: []byte(properties)}
	if o.setup != nil {
		o.setup(&do)
	}
	l := &lab{t: t, double: clienttest.NewDouble(t, do), events: make(chan Event, 1000), ran: make(chan error, 1)}
	network, addr := "tcp", "127.0.0.1:0"
	if o.network != "" {
		network, addr = o.network, filepath.Join(t.TempDir(), "s")
	}
	listener, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	l.addr = listener.Addr()
	url := l.double.StreamURL()
	if o.through != nil {
		url = o.through(t, url)
	}
	l.session, err = client.New(client.Options{
		StreamURL: url, SessionID: clienttest.SessionID, Token: l.double.Token(), ClientVersion: "3.3.9000.0", Resume: l.double.Resume,
	})
	if err != nil {
		t.Fatal(err)
	}
	fo := Options{Session: l.session, Listener: listener, Notify: func(e Event) { l.events <- e }}
	if o.change != nil {
		o.change(&fo)
	}
	l.forward = New(fo)
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	var wg sync.WaitGroup
	wg.Go(func() { _ = l.session.Run(ctx) })
	wg.Go(func() { l.ran <- l.forward.Run(ctx) })
	if o.agent == nil {
		o.agent = func(d *clienttest.Double, l *lab) { d.ServePorts(o.dial) }
	}
	wg.Go(func() { o.agent(l.double, l) })
	t.Cleanup(func() {
		stop()
		l.double.Stop() // which ends the agent's end as well
		wg.Wait()
	})
	return l
}

// server is a destination: every connection is given to handle.
func server(t testing.TB, handle func(*net.TCPConn)) (dial func() (net.Conn, error)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				handle(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }
}

// echo sends back what comes, and its end.
func echo(c *net.TCPConn) { _, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) }

// dial connects to the forward.
func (l *lab) dial() net.Conn {
	l.t.Helper()
	c, err := l.tryDial()
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

// tryDial is dial for a connection that may be refused, so early that it is
// reset while it is being made.
func (l *lab) tryDial() (net.Conn, error) {
	c, err := net.Dial(l.addr.Network(), l.addr.String())
	if err != nil {
		return nil, err
	}
	l.t.Cleanup(func() { c.Close() })
	return c, c.SetDeadline(time.Now().Add(patience))
}

// await waits for an event.
func (l *lab) await(kind EventKind) Event {
	l.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case e := <-l.events:
			if e.Kind == kind {
				return e
			}
		case <-deadline:
			l.t.Fatalf("no event %d", kind)
		}
	}
}

// ended waits for the end of Run.
func (l *lab) ended() error {
	l.t.Helper()
	select {
	case err := <-l.ran:
		l.ran <- err
		return err
	case <-time.After(patience):
		l.t.Fatal("the forward does not end")
		return errors.New("unreachable")
	}
}
