// Package socket is the dialling end of a websocket, made for many messages a
// second: messages are read into one buffer that is kept, and several that are
// written together leave in one system call.
package socket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"

	"github.com/coder/websocket"
)

// DefaultReadLimit bounds a message in bytes when Options do not.
const DefaultReadLimit = 1 << 20

const firstBuffer = 8 << 10

// Options of Dial; the zero value is ready.
type Options struct {
	Header http.Header // of the upgrade request
	// Transport dials; it is copied. nil: http.DefaultTransport.
	Transport *http.Transport
	// ReadLimit bounds a message in bytes; 0: DefaultReadLimit. What is larger
	// ends the connection.
	ReadLimit int
}

// Conn is an open websocket. One goroutine reads; one at a time writes with
// Write and Flush; the rest is safe for concurrent use.
type Conn struct {
	ws   *websocket.Conn
	cork *cork // nil: every message leaves at once
	buf  []byte
}

// ErrRefused says that the server answered, but not with a websocket.
var ErrRefused = errors.New("the server refused the websocket")

// Dial connects to a ws:// or wss:// URL; ctx bounds this only. Redirects are
// not followed: what is sent next is a secret for this host alone.
func Dial(ctx context.Context, target string, o Options) (*Conn, error) {
	t := transport(o.Transport)
	defer t.CloseIdleConnections()
	c := &Conn{}
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { c.cork = corkOf(i.Conn) }}
	ws, resp, err := websocket.Dial(httptrace.WithClientTrace(ctx, trace), target, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		HTTPHeader: o.Header,
	})
	if err != nil {
		return nil, dialError(resp, err)
	}
	limit := o.ReadLimit
	if limit <= 0 {
		limit = DefaultReadLimit
	}
	ws.SetReadLimit(int64(limit))
	c.ws, c.buf = ws, make([]byte, firstBuffer)
	return c, nil
}

// dialError leaves the URL out: its query may be a credential.
func dialError(resp *http.Response, err error) error {
	if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		return fmt.Errorf("%w: status %d %.200q", ErrRefused, resp.StatusCode, text)
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// Read returns the next message, text and binary alike. It is valid until Read
// is called again. Only Close ends a waiting Read.
func (c *Conn) Read() ([]byte, error) {
	// A context that can end would cost timers and allocations for every read.
	_, r, err := c.ws.Reader(context.Background())
	if err != nil {
		return nil, err
	}
	n := 0
	for {
		if n == len(c.buf) {
			c.buf = append(c.buf, make([]byte, len(c.buf))...)
		}
		k, err := r.Read(c.buf[n:])
		n += k
		if err == io.EOF {
			return c.buf[:n], nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// WriteText writes a text message at once.
func (c *Conn) WriteText(b []byte) error {
	return c.ws.Write(context.Background(), websocket.MessageText, b)
}

// Write takes a binary message, which leaves at the latest with Flush; b may
// be re-used. Only Close ends a Write that the network holds up.
func (c *Conn) Write(b []byte) error {
	c.cork.hold()
	return c.ws.Write(context.Background(), websocket.MessageBinary, b)
}

// Flush sends what Write took.
func (c *Conn) Flush() error { return c.cork.release() }

// Ping waits for the peer's answer to a ping; somebody must be in Read. When
// ctx ends first the connection is closed.
func (c *Conn) Ping(ctx context.Context) error {
	err := c.ws.Ping(ctx)
	if err != nil {
		_ = c.Close()
	}
	return err
}

// Close closes the connection without a close frame, as the stock programs do.
func (c *Conn) Close() error { return c.ws.CloseNow() }
