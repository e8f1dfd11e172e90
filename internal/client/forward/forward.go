// Package forward is the client's end of a port session: it carries the
// connections of a listener through the session, each as a stream of smux, as
// the agent's end expects it. Streams live through lost data channels, for the
// session below loses no byte.
package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xtaci/smux"

	"ssmagent/internal/backoff"
	"ssmagent/internal/client"
	"ssmagent/internal/clock"
	"ssmagent/internal/mux"
	"ssmagent/internal/wire/mgs"
)

const (
	// maxOpen bounds the connections of one forward, when Options do not.
	maxOpen = 1024
	// window is how much may wait for one connection that does not read, where
	// the agent knows windows, and receiveBuffer for all of them.
	window        = 1 << 20
	receiveBuffer = 16 << 20
	// forever is a keep-alive's time-out that never comes: what watches the
	// connection is the session.
	forever = 100 * 365 * 24 * time.Hour
)

// Options of a Forward.
type Options struct {
	// Session is a port session; somebody runs it.
	Session *client.Session
	// Listener gives the connections; Run closes it.
	Listener net.Listener
	// MaxOpen bounds the open connections; 0: 1024. More are reset.
	MaxOpen int
	// Notify is told of what a person wants to know, from goroutines of Run's;
	// nil: nobody is.
	Notify func(Event)
	Clock  clock.Clock  // nil: the machine's
	Log    *slog.Logger // nil: nothing is logged
}

// Event is something that happened.
type Event struct {
	Kind EventKind
	Text string // of Message
}

// EventKind says what.
type EventKind int

// The kinds.
const (
	Opened  EventKind = iota // connections are taken from now on
	Refused                  // the node could not connect to the destination
	Full                     // a connection was reset: too many are open
	Message                  // text of the agent for the person
)

// Counts is what a Forward has carried.
type Counts struct {
	Open, Total, Refused int64 // connections
	Up, Down             int64 // bytes to the node and from it
}

// Forward carries connections.
type Forward struct {
	opt   Options
	mux   *smux.Session
	conns conns // by stream, while the agent can say that one broke off
	half  bool  // the ends of the directions are apart
	// segment is how much of a connection goes into one frame.
	segment int
	fault   chan error

	open, total, refused, up, down atomic.Int64
}

// New returns a Forward that does nothing until Run.
func New(o Options) *Forward {
	if o.MaxOpen <= 0 {
		o.MaxOpen = maxOpen
	}
	if o.Notify == nil {
		o.Notify = func(Event) {}
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Forward{opt: o, fault: make(chan error, 1)}
}

// Counts is what was carried so far. It may be called at any time.
func (f *Forward) Counts() Counts {
	return Counts{f.open.Load(), f.total.Load(), f.refused.Load(), f.up.Load(), f.down.Load()}
}

// Run carries connections until the session ends, which is no error, or ctx
// does. All connections are closed then; the session is left as it is.
func (f *Forward) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	unlisten := sync.OnceFunc(func() { _ = f.opt.Listener.Close() })
	defer unlisten()
	select {
	case <-f.opt.Session.Ready():
	case <-f.opt.Session.Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	peer := f.opt.Session.Peer()
	if err := check(peer); err != nil {
		return err
	}
	f.half = peer.Mux >= mgs.MuxWindows
	c := &carrier{ctx: ctx, stop: stop, session: f.opt.Session, told: f.told}
	f.segment = mux.StockSegment
	if f.half {
		f.segment = mux.Segment
		c.watcher.Aborted = f.conns.abort
	}
	session, err := smux.Client(c, &smux.Config{
		Version: max(peer.Mux, 1), MaxFrameSize: f.segment, MaxReceiveBuffer: receiveBuffer, MaxStreamBuffer: window,
		// Agents above 3.1.1511.0 expect no sign of life.
		KeepAliveDisabled: newer(peer.AgentVersion, 3, 1, 1511, 0), KeepAliveInterval: 10 * time.Second, KeepAliveTimeout: forever,
	})
	if err != nil {
		return fmt.Errorf("multiplex the connections: %w", err)
	}
	f.mux = session
	defer func() { _ = session.Close() }()

	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { f.accept(ctx, &wg) })
	f.opt.Notify(Event{Kind: Opened})
	select {
	case <-f.opt.Session.Done():
		err = nil
	case <-ctx.Done():
		err = ctx.Err()
	case err = <-f.fault:
	}
	unlisten()
	return err
}

// check says whether connections can be carried to the agent.
func check(p client.Peer) error {
	if p.SessionType != mgs.SessionPort {
		return fmt.Errorf("the session is of type %s, not %s", p.SessionType, mgs.SessionPort)
	}
	if !newer(p.AgentVersion, 3, 0, 196, 0) {
		return fmt.Errorf("the node's agent is of version %s; forwarding needs one newer than 3.0.196.0, update it", p.AgentVersion)
	}
	properties, err := mgs.Decode[mgs.PortProperties](p.Properties)
	if err != nil {
		return fmt.Errorf("properties of the port session: %w", err)
	}
	if properties.Type != mgs.LocalPortForwarding {
		return errors.New("the document is for one connection at a time, as SSH wants it; use ssm-local ssh-proxy, or a document with the type LocalPortForwarding")
	}
	return nil
}

// newer says whether a version of four numbers is above limit. What is no
// version is not.
func newer(version string, limit ...int) bool {
	parts := strings.Split(version, ".")
	if len(parts) != len(limit) {
		return false
	}
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil || n < limit[i] {
			return false
		}
		if n > limit[i] {
			return true
		}
	}
	return false
}

// accept takes connections until the listener is closed.
func (f *Forward) accept(ctx context.Context, wg *sync.WaitGroup) {
	policy := backoff.Policy{First: 5 * time.Millisecond, Cap: time.Second, Factor: 2}
	failures := 0
	for {
		conn, err := f.opt.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // of this one connection, or no file is left
			f.opt.Log.Warn("accept a connection", "error", err)
			if backoff.Wait(ctx, f.opt.Clock, policy.Delay(failures, nil)) != nil {
				return
			}
			failures++
			continue
		}
		failures = 0
		if int(f.open.Load()) >= f.opt.MaxOpen {
			reset(conn)
			f.opt.Notify(Event{Kind: Full})
			continue
		}
		f.open.Add(1)
		f.total.Add(1)
		wg.Go(func() {
			defer f.open.Add(-1)
			f.carry(ctx, conn)
		})
	}
}

// told hears of what is not a connection's data.
func (f *Forward) told(m client.Message) {
	switch m.Type {
	case mgs.PayloadFlag:
		if flag, err := mgs.DecodeFlag(m.Payload); err == nil && flag == mgs.FlagConnectToPortError {
			f.refused.Add(1)
			f.opt.Notify(Event{Kind: Refused})
		}
	case mgs.PayloadHandshakeComplete:
		f.opt.Notify(Event{Message, strings.TrimSpace(string(m.Payload))})
	}
}

// carrier makes of the session's payloads the byte stream that smux speaks in.
type carrier struct {
	ctx     context.Context
	stop    func()
	session *client.Session
	told    func(client.Message)
	watcher mux.Watcher
	rest    []byte
}

// Read implements io.Reader; there is one reader.
func (c *carrier) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		m, err := c.session.Next(c.ctx)
		if err != nil {
			return 0, err
		}
		if m.Type == mgs.PayloadOutput {
			c.rest = m.Payload
		} else {
			c.told(m)
		}
	}
	n := copy(p, c.rest)
	if c.watcher.Aborted != nil {
		c.watcher.Saw(c.rest[:n])
	}
	c.rest = c.rest[n:]
	return n, nil
}

// Write implements io.Writer.
func (c *carrier) Write(p []byte) (int, error) {
	if err := c.session.Write(c.ctx, mgs.PayloadOutput, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close implements io.Closer.
func (c *carrier) Close() error {
	c.stop()
	return nil
}
