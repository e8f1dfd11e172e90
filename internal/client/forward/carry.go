package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/xtaci/smux"

	"ssmagent/internal/mux"
)

// closer is a connection of which one direction can end.
type closer interface{ CloseWrite() error }

// carry carries one connection to its end.
func (f *Forward) carry(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	st, err := f.mux.OpenStream()
	if err != nil {
		f.broken(err)
		reset(conn)
		return
	}
	defer st.Close()
	f.conns.enter(st.ID(), conn)
	defer f.conns.leave(st.ID())
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	var up sync.WaitGroup
	up.Go(func() { f.send(conn, st) })
	f.receive(conn, st)
	up.Wait()
}

// send carries what the connection says. Its end is told; what it says is
// thrown away together with what it was to hear when it broke.
func (f *Forward) send(conn net.Conn, st *smux.Stream) {
	_, err := io.CopyBuffer(&counted{st, &f.up}, struct{ io.Reader }{conn}, make([]byte, f.segment))
	if err == nil {
		// Also towards a stock agent, which then closes both directions: what
		// it had sent until then still comes.
		err = st.CloseWrite()
	}
	if err != nil {
		mux.Abort(st)
		reset(conn)
	}
}

// receive carries what comes for the connection.
func (f *Forward) receive(conn net.Conn, st *smux.Stream) {
	_, err := st.WriteTo(&counted{conn, &f.down})
	if err != nil {
		f.broken(err)
		mux.Abort(st) // nobody reads any more
		reset(conn)
		return
	}
	if c, ok := conn.(closer); ok && f.half {
		_ = c.CloseWrite()
		return
	}
	_ = conn.Close() // a stock agent has closed the other direction as well
}

// broken ends all when err says that nothing can be carried any more.
func (f *Forward) broken(err error) {
	if !errors.Is(err, smux.ErrInvalidProtocol) && !errors.Is(err, smux.ErrGoAway) {
		return
	}
	select {
	case f.fault <- fmt.Errorf("the connections of the session cannot be told apart any more: %w; forward again", err):
	default:
	}
}

// conns are the open connections by their streams.
type conns struct {
	mu  sync.Mutex
	all map[uint32]net.Conn
}

func (c *conns) enter(id uint32, conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[uint32]net.Conn{}
	}
	c.all[id] = conn
}

func (c *conns) leave(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, id)
}

// abort resets a connection that broke off at the other end, whatever of it is
// still to be read here.
func (c *conns) abort(id uint32) {
	c.mu.Lock()
	conn := c.all[id]
	c.mu.Unlock()
	if conn != nil {
		reset(conn)
	}
}

// reset closes a connection so that its owner knows that something is missing.
func reset(conn net.Conn) {
	if t, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0)
	}
	_ = conn.Close()
}

// counted counts what is written.
type counted struct {
	io.Writer
	n *atomic.Int64
}

// Write implements io.Writer.
func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.n.Add(int64(n))
	return n, err
}
