package port

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/xtaci/smux"

	"ssmagent/internal/clock"
	"ssmagent/internal/wire/mgs"
)

const patience = 20 * time.Second

// message is a payload on its way.
type message struct {
	kind uint32
	b    []byte
}

// wire is a session's channel, and its other end.
type wire struct {
	toAgent, toClient chan message
	done              chan struct{}
	once              sync.Once
}

func newWire() *wire {
	return &wire{toAgent: make(chan message, 4), toClient: make(chan message, 4), done: make(chan struct{})}
}

var errGone = errors.New("the channel is gone")

func (w *wire) close() { w.once.Do(func() { close(w.done) }) }

func (w *wire) Next(ctx context.Context) (uint32, []byte, error) {
	select {
	case m := <-w.toAgent:
		return m.kind, m.b, nil
	case <-w.done:
		return 0, nil, errGone
	case <-ctx.Done():
		return 0, nil, context.Cause(ctx)
	}
}

func (w *wire) send(ctx context.Context, m message) error {
	select {
	case w.toClient <- m:
		return nil
	case <-w.done:
		return errGone
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *wire) Write(ctx context.Context, b []byte) error {
	return w.send(ctx, message{mgs.PayloadOutput, append([]byte(nil), b...)})
}

func (w *wire) SendFlag(ctx context.Context, f mgs.Flag) error {
	return w.send(ctx, message{mgs.PayloadFlag, f.Encode()})
}

// lab is a served session.
type lab struct {
	t       *testing.T
	wire    *wire
	traffic Traffic
	result  chan error
	cancel  context.CancelCauseFunc
	flags   chan mgs.Flag
	rest    []byte // of the client's carrier
	mux     *smux.Session

	nops chan struct{} // signs of life that came
	hdr  []byte
	skip int
}

// serve serves a session whose destination dial reaches.
func serve(t *testing.T, c Client, forwarding bool, dial func(context.Context) (net.Conn, error)) *lab {
	return serveAt(t, clock.Real{}, c, forwarding, dial)
}

func serveAt(t *testing.T, now clock.Clock, c Client, forwarding bool, dial func(context.Context) (net.Conn, error)) *lab {
	l := &lab{t: t, wire: newWire(), result: make(chan error, 1), flags: make(chan mgs.Flag, 1000), nops: make(chan struct{}, 1000)}
	ctx, cancel := context.WithCancelCause(context.Background())
	l.cancel = cancel
	go func() {
		l.result <- Serve(ctx, Options{Channel: l.wire, Dial: dial, Forwarding: forwarding, Client: c, Clock: now,
			Log: slog.New(slog.DiscardHandler), Traffic: &l.traffic})
	}()
	t.Cleanup(func() {
		cancel(errGone)
		l.wire.close()
		if l.mux != nil {
			_ = l.mux.Close()
		}
	})
	return l
}

// ended waits for the session's end.
func (l *lab) ended() error {
	l.t.Helper()
	select {
	case err := <-l.result:
		return err
	case <-time.After(patience):
		l.t.Fatal("the session goes on")
		return nil
	}
}

// client makes the other end a multiplexing client.
func (l *lab) client(version int) *smux.Session {
	l.t.Helper()
	cfg := smux.DefaultConfig()
	cfg.Version, cfg.KeepAliveDisabled = version, true
	m, err := smux.Client((*carried)(l), cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	l.mux = m
	return m
}

func (l *lab) stream() *smux.Stream {
	l.t.Helper()
	st, err := l.mux.OpenStream()
	if err != nil {
		l.t.Fatal(err)
	}
	_ = st.SetDeadline(time.Now().Add(patience))
	return st
}

// carried is the client's end as smux sees it.
type carried lab

func (c *carried) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		select {
		case m := <-c.wire.toClient:
			if f := flag(m.kind, m.b); f != 0 {
				c.flags <- f
				continue
			}
			(*lab)(c).count(m.b)
			c.rest = m.b
		case <-c.wire.done:
			return 0, io.EOF
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// count counts the signs of life among the frames.
func (l *lab) count(b []byte) {
	for len(b) > 0 {
		if l.skip > 0 {
			n := min(l.skip, len(b))
			l.skip, b = l.skip-n, b[n:]
			continue
		}
		n := min(8-len(l.hdr), len(b))
		l.hdr, b = append(l.hdr, b[:n]...), b[n:]
		if len(l.hdr) == 8 {
			if l.hdr[1] == 3 {
				l.nops <- struct{}{}
			}
			l.skip, l.hdr = int(binary.LittleEndian.Uint16(l.hdr[2:])), nil
		}
	}
}

func (c *carried) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), 1024) // as stock clients cut
		select {
		case c.wire.toAgent <- message{mgs.PayloadOutput, append([]byte(nil), rest[:n]...)}:
		case <-c.wire.done:
			return 0, io.EOF
		}
		rest = rest[n:]
	}
	return len(p), nil
}

func (c *carried) Close() error { return nil }

// says sends a payload of a client that does not multiplex.
func (l *lab) says(kind uint32, b []byte) {
	l.t.Helper()
	select {
	case l.wire.toAgent <- message{kind, b}:
	case <-time.After(patience):
		l.t.Fatal("the agent takes nothing")
	}
}

// hears reads n bytes of output.
func (l *lab) hears(n int) string {
	l.t.Helper()
	var got []byte
	for len(got) < n {
		select {
		case m := <-l.wire.toClient:
			got = append(got, m.b...)
		case <-time.After(patience):
			l.t.Fatalf("after %q nothing comes", got)
		}
	}
	return string(got)
}

// destination is a TCP server; each connection goes to handle.
func destination(t *testing.T, handle func(*net.TCPConn)) func(context.Context) (net.Conn, error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				handle(c.(*net.TCPConn))
			})
		}
	})
	return func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
	}
}

func echo(c *net.TCPConn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
}

// mirror is a destination in memory that answers with what it hears.
func mirror(context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		_, _ = io.Copy(far, far)
		far.Close()
	}()
	return near, nil
}

func closed(context.Context) (net.Conn, error) { return nil, errors.New("connection refused") }
