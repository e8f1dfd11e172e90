package port

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/xtaci/smux"

	"ssmagent/internal/mux"
	"ssmagent/internal/wire/mgs"
)

const (
	// maxOpen bounds the connections of one session. More are refused: each
	// holds a descriptor.
	maxOpen = 1000
	// receiveBuffer bounds what the client may send beyond what destinations
	// take, and window how much of it may be one connection's, with clients
	// that know windows.
	receiveBuffer = 4 << 20
	window        = 1 << 20
	// settle is how long a stock client may take between asking for a
	// connection and being able to take its data: what came before is lost there.
	settle = time.Millisecond
	// keepAlive is the pace of signs of life for clients that expect them. We
	// expect none: their connections may be idle for as long as they like.
	keepAlive = 10 * time.Second
)

// many is a session with many connections.
type many struct {
	Options
	mux  *smux.Session
	half bool // the directions of a connection end for themselves
	// segment is how much of a connection goes into one frame.
	segment int
	wg      sync.WaitGroup
	// One for each connection, and for each that is being refused.
	open, refusals chan struct{}

	mu      sync.Mutex
	conns   map[uint32]func() // by stream, what breaks it off
	refused int
}

func serveMany(ctx context.Context, o Options) error {
	ctx, end := context.WithCancelCause(ctx)
	s := &many{Options: o, half: o.Client.Ours && o.Client.Mux >= mgs.MuxWindows, open: make(chan struct{}, maxOpen), refusals: make(chan struct{}, maxOpen), conns: map[uint32]func(){}, segment: mux.StockSegment}
	c := &carrier{ctx: ctx, end: end, channel: o.Channel}
	if s.half {
		s.segment = mux.Segment
		c.watcher.Aborted = s.abort
	}
	m, err := smux.Server(c, &smux.Config{
		Version: max(o.Client.Mux, 1), MaxFrameSize: s.segment, MaxReceiveBuffer: receiveBuffer, MaxStreamBuffer: window,
		KeepAliveDisabled: true,
	})
	if err != nil {
		end(nil)
		return fmt.Errorf("multiplex the session's connections: %w", err)
	}
	s.mux = m
	if !o.Client.Ours && mgs.CompareVersions(o.Client.Version, quietAbove) <= 0 {
		s.wg.Go(func() { s.keepAlive(ctx, c) })
	}
	err = s.accept(ctx)
	end(err)
	_ = m.Close()
	s.wg.Wait()
	if errors.Is(err, errTerminated) {
		return nil
	}
	return err
}

// keepAlive gives signs of life until the session ends.
func (s *many) keepAlive(ctx context.Context, c *carrier) {
	t := s.Clock.NewTimer(keepAlive)
	defer t.Stop()
	for {
		select {
		case <-t.C():
		case <-ctx.Done():
			return
		}
		if _, err := c.Write(mux.Sign()); err != nil {
			return
		}
		t.Reset(keepAlive)
	}
}

// accept takes connections until the session ends, and says why it did.
func (s *many) accept(ctx context.Context) error {
	for {
		st, err := s.mux.AcceptStream()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, smux.ErrInvalidProtocol):
			return fmt.Errorf("the client's connections cannot be told apart any more: %w", err)
		case err != nil:
			return err
		}
		select {
		case s.open <- struct{}{}:
			s.wg.Go(func() {
				defer func() { <-s.open }()
				s.carry(ctx, st)
			})
		default:
			s.turnDown(ctx, st)
		}
	}
}

var errFull = fmt.Errorf("%d connections are open, which is the limit of a session", maxOpen)

// turnDown refuses a connection that is one too many. Who asks for more than
// refusals can be sent is made to wait.
func (s *many) turnDown(ctx context.Context, st *smux.Stream) {
	select {
	case s.refusals <- struct{}{}:
		s.wg.Go(func() {
			defer func() { <-s.refusals }()
			s.refuse(ctx, st, errFull)
		})
	default:
		s.refuse(ctx, st, errFull)
	}
}

// refuse tells the client that a connection did not come about.
func (s *many) refuse(ctx context.Context, st *smux.Stream, cause error) {
	s.Traffic.Failed.Add(1)
	s.mu.Lock()
	s.refused++
	n := s.refused
	s.mu.Unlock()
	if n&(n-1) == 0 { // whoever connects in a loop is not logged in one
		s.Log.Warn("a connection of the session did not come about", "error", cause, "so far", n)
	}
	_ = s.Channel.SendFlag(ctx, mgs.FlagConnectToPortError)
	mux.Abort(st)
}

// carry carries one connection from its beginning to its end.
func (s *many) carry(ctx context.Context, st *smux.Stream) {
	ctx, done := context.WithCancel(ctx)
	defer done()
	c := &connection{many: s, st: st, ready: make(chan struct{}), broken: done}
	if !s.enter(st.ID(), done) {
		_ = st.Close()
		return
	}
	defer s.leave(st.ID())
	if s.Client.Ours {
		c.settled()
	} else {
		t := s.Clock.NewTimer(settle)
		defer t.Stop()
		c.timer = t.C()
	}
	conn, err := s.Dial(ctx)
	if err != nil {
		c.await(ctx)
		s.refuse(ctx, st, err)
		return
	}
	s.Traffic.Connections.Add(1)
	c.conn = conn
	stop := context.AfterFunc(ctx, c.breakOff)
	var up sync.WaitGroup
	up.Go(c.up)
	c.down(ctx)
	up.Wait()
	stop()
	_ = conn.Close()
	_ = st.Close()
}

// enter notes a connection; false: its number is taken.
func (s *many) enter(id uint32, breakOff func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns[id] != nil {
		return false
	}
	s.conns[id] = breakOff
	return true
}

func (s *many) leave(id uint32) {
	s.mu.Lock()
	delete(s.conns, id)
	s.mu.Unlock()
}

// abort breaks a connection off that the client does not have any more.
func (s *many) abort(id uint32) {
	s.mu.Lock()
	breakOff := s.conns[id]
	s.mu.Unlock()
	if breakOff != nil {
		breakOff()
	}
}

// connection is one of the session's.
type connection struct {
	*many
	st     *smux.Stream
	conn   net.Conn
	broken func() // ends both directions at once
	timer  <-chan time.Time

	once  sync.Once
	ready chan struct{} // closed: the client can take data
}

func (c *connection) settled() { c.once.Do(func() { close(c.ready) }) }

// await waits until the client can take data.
func (c *connection) await(ctx context.Context) {
	select {
	case <-c.ready:
	case <-c.timer:
		c.settled()
	case <-ctx.Done():
	}
}

// breakOff closes both ends at once.
func (c *connection) breakOff() {
	if t, ok := c.conn.(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0) // the destination is to know that something is missing
	}
	_ = c.conn.Close()
	mux.Abort(c.st)
}

// up carries what the client says. With clients that know no halves its end is
// the connection's.
func (c *connection) up() {
	if _, err := c.st.WriteTo(upward{c}); err != nil {
		// What the destination has still to say may explain it; it ends the
		// connection. The client's words must not pile up meanwhile.
		_, err = c.st.WriteTo(io.Discard)
		if err != nil {
			return
		}
	}
	if half, ok := c.conn.(halfCloser); ok && c.half {
		_ = half.CloseWrite()
		return
	}
	_ = c.conn.Close()
}

// upward is the destination, for what the client says.
type upward struct{ *connection }

// Write implements io.Writer.
func (u upward) Write(b []byte) (int, error) {
	u.settled() // who sends has what it takes to receive
	n, err := u.conn.Write(b)
	u.Traffic.Up.Add(int64(n))
	return n, err
}

// down carries what the destination says.
func (c *connection) down(ctx context.Context) {
	u := buffer{large: c.segment}
	for {
		n, err := c.conn.Read(u.next())
		if n > 0 {
			c.await(ctx)
			c.Traffic.Down.Add(int64(n))
			if _, werr := c.st.Write(u.b[:n]); werr != nil {
				c.broken()
				return
			}
			u.read(n)
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) && c.half:
			_ = c.st.CloseWrite()
			return
		case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
			c.await(ctx)
			_ = c.st.Close() // both directions, as stock clients know it
			return
		default:
			c.await(ctx)
			mux.Abort(c.st)
			c.broken()
			return
		}
	}
}

// carrier makes of the session's payloads the byte stream of its connections.
type carrier struct {
	ctx     context.Context
	end     func(error)
	channel Channel
	watcher mux.Watcher
	rest    []byte
	writing sync.Mutex
}

// Read implements io.Reader; there is one reader.
func (c *carrier) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		kind, b, err := c.channel.Next(c.ctx)
		if err != nil {
			return 0, err
		}
		switch {
		case kind == mgs.PayloadOutput:
			c.rest = b
		case flag(kind, b) == mgs.FlagTerminateSession:
			c.end(errTerminated)
			return 0, errTerminated
		}
	}
	n := copy(p, c.rest)
	if c.watcher.Aborted != nil {
		c.watcher.Saw(c.rest[:n])
	}
	c.rest = c.rest[n:]
	return n, nil
}

// Write implements io.Writer. It is given whole frames.
func (c *carrier) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.channel.Write(c.ctx, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close implements io.Closer.
func (c *carrier) Close() error {
	c.end(net.ErrClosed)
	return nil
}
