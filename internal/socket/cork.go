package socket

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"

	"ssmagent/platform/quickio"
)

const (
	corkSize = 256 << 10 // bytes gathered at most
	readSize = 32 << 10  // bytes asked for at once, as long as so many do not come
	readMost = 256 << 10
)

// cork is a connection that gathers what is written while it is held, and
// reads ahead. The websocket above it does both in pieces of 4 KiB, and flushes
// every message.
type cork struct {
	net.Conn
	ahead, room []byte // what was read ahead, and the space for it

	mu   sync.Mutex
	held bool
	buf  []byte
	err  error // of a write whose caller had gone on
}

// Read implements net.Conn.
func (c *cork) Read(p []byte) (int, error) {
	if len(c.ahead) == 0 {
		if c.room == nil {
			c.room = make([]byte, readSize)
		}
		n, err := c.Conn.Read(c.room)
		if n == 0 { // an error that came with bytes will come again
			return 0, err
		}
		c.ahead = c.room[:n]
		if n == len(c.room) && n < readMost {
			c.room = make([]byte, 2*n) // ahead keeps the old one until it is taken
		}
	}
	n := copy(p, c.ahead)
	c.ahead = c.ahead[n:]
	return n, nil
}

// Write implements net.Conn.
func (c *cork) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	if !c.held {
		return c.Conn.Write(b)
	}
	if len(c.buf)+len(b) > corkSize {
		if err := c.empty(); err != nil {
			return 0, err
		}
	}
	c.buf = append(c.buf, b...)
	return len(b), nil
}

func (c *cork) empty() error {
	if len(c.buf) > 0 && c.err == nil {
		_, c.err = c.Conn.Write(c.buf)
		c.buf = c.buf[:0]
	}
	return c.err
}

func (c *cork) hold() {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.held = true
	c.mu.Unlock()
}

func (c *cork) release() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	return c.empty()
}

// corkOf finds the cork below TLS, of a proxy perhaps twice.
func corkOf(conn net.Conn) *cork {
	for {
		switch c := conn.(type) {
		case *cork:
			return c
		case *tls.Conn:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// transport copies t for one connection of HTTP/1.1 with a cork in it.
func transport(t *http.Transport) *http.Transport {
	if t == nil {
		t, _ = http.DefaultTransport.(*http.Transport)
	}
	if t == nil {
		t = &http.Transport{Proxy: http.ProxyFromEnvironment}
	}
	t = t.Clone()
	dial := t.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &cork{Conn: quickio.Conn(conn)}, nil
	}
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	t.TLSClientConfig.NextProtos = nil
	return t
}
