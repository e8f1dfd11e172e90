// Package clienttest helps to test the client's side of sessions: a double of
// gateway and agent in one, and a proxy that breaks connections.
package clienttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"ssmagent/internal/seal"
	"ssmagent/internal/stream"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// SessionID is that of every Double.
const SessionID = "demo-user-0123456789abcdef0"

// Style is how a Double's agent behaves.
type Style int

// The styles.
const (
	Ours        Style = iota // handshake with Extensions, large payloads
	Stock                    // handshake; input before its completion is thrown away
	NoHandshake              // output at once, as stock shells without KMS
)

// Options of a Double.
type Options struct {
	Style       Style
	SessionType string             // default Standard_Stream
	Properties  json.RawMessage    // of the session type
	Actions     []mgs.ClientAction // instead of the session type alone
	// HoldComplete leaves the completion of the handshake to Complete.
	HoldComplete bool
	Customer     string       // message of the completion
	Listener     net.Listener // nil: one on the loopback
	Window       int          // bytes in flight to the client; 0: the default
	Plain        bool         // an agent of ours that offers nothing but large payloads
	// DataKey has the session encrypted with it; Actions must ask for that.
	DataKey []byte
	// Challenge is sealed and sent instead of a good one, which it leaves to
	// the test to look at.
	Challenge []byte
}

// Double is a gateway with an agent behind it, for one session. The test plays
// the program: it sends and receives payloads.
type Double struct {
	opt    Options
	server *httptest.Server

	mu       sync.Mutex
	change   sync.Cond
	link     stream.Link
	conn     *websocket.Conn
	tokens   map[string]bool // true: not yet used
	issued   int
	gone     bool
	failing  int
	pings    int
	hellos   []mgs.OpenDataChannel
	response *mgs.HandshakeResponse
	cipher   *seal.Cipher
	proof    []byte // what came back of the challenge, opened
	complete bool
	dropped  int // payloads thrown away
	largest  int
	closed   bool
	held     *received

	wake chan struct{}
	wg   sync.WaitGroup
}

type received struct {
	t uint32
	b []byte
}

// NewDouble starts a Double that lives until the test ends.
func NewDouble(tb testing.TB, o Options) *Double {
	tb.Helper()
	if o.SessionType == "" {
		o.SessionType = mgs.SessionStandardStream
	}
	link, err := stream.NewLink(
		stream.SenderConfig{Type: mgs.TypeOutputStreamData, WindowBytes: o.Window},
		stream.ReceiverConfig{Type: mgs.TypeInputStreamData})
	if err != nil {
		tb.Fatal(err)
	}
	d := &Double{opt: o, link: link, tokens: map[string]bool{}, wake: make(chan struct{}, 1)}
	d.change.L = &d.mu
	if err := d.greet(); err != nil {
		tb.Fatal(err)
	}
	d.server = httptest.NewUnstartedServer(http.HandlerFunc(d.serve))
	if o.Listener != nil {
		d.server.Listener.Close()
		d.server.Listener = o.Listener
	}
	d.server.Start()
	tb.Cleanup(d.Stop)
	return d
}

// Stop ends the Double before the test does.
func (d *Double) Stop() {
	d.mu.Lock()
	d.closed = true
	if d.conn != nil {
		_ = d.conn.CloseNow()
	}
	d.change.Broadcast()
	d.mu.Unlock()
	d.wg.Wait()
	d.server.CloseClientConnections()
	d.server.Close()
}

// greet pushes what an agent of the style says first.
func (d *Double) greet() error {
	if d.opt.Style == NoHandshake {
		d.complete = true
		return nil
	}
	r := mgs.HandshakeRequest{AgentVersion: "3.3.9000.0", RequestedClientActions: d.opt.Actions}
	if r.RequestedClientActions == nil {
		a, err := mgs.NewSessionType(d.opt.SessionType, d.opt.Properties)
		if err != nil {
			return err
		}
		r.RequestedClientActions = []mgs.ClientAction{a}
	}
	if d.opt.Style == Ours {
		var err error
		if r.Extensions, err = mgs.EncodeExtension(d.offers()); err != nil {
			return err
		}
	}
	return d.pushJSON(mgs.PayloadHandshakeRequest, r)
}

func (d *Double) offers() mgs.Extension {
	e := mgs.Extension{MaxPayload: mgs.LargePayload}
	switch {
	case d.opt.Plain:
	case d.opt.SessionType == mgs.SessionPort:
		e.Mux = mgs.MuxWindows
	case d.opt.SessionType == mgs.SessionNonInteractiveCommands:
		e.Streams = true
	}
	return e
}

func (d *Double) pushJSON(t uint32, v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = d.link.PushWhole(time.Now(), t, b)
	}
	return err
}

// StreamURL is where the session's client connects.
func (d *Double) StreamURL() string {
	return "ws" + strings.TrimPrefix(d.server.URL, "http") + "/v1/data-channel/" + SessionID + "?role=publish_subscribe"
}

// Token issues a token for one connection.
func (d *Double) Token() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.issued++
	token := fmt.Sprintf("token-%d", d.issued)
	d.tokens[token] = true
	return token
}

// Resume is ResumeSession.
func (d *Double) Resume(context.Context) (string, error) {
	d.mu.Lock()
	gone, fail := d.gone || d.closed, d.failing > 0
	if fail {
		d.failing--
	}
	d.mu.Unlock()
	switch {
	case fail:
		return "", errors.New("the service has a bad day")
	case gone:
		return "", nil
	}
	return d.Token(), nil
}

// FailResume makes the next n calls of Resume fail.
func (d *Double) FailResume(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failing = n
}

// Forget makes Resume say that the session is over.
func (d *Double) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone = true
}

// Hellos are the first messages of all connections so far.
func (d *Double) Hellos() []mgs.OpenDataChannel {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]mgs.OpenDataChannel(nil), d.hellos...)
}

// Pings is how many pings have come.
func (d *Double) Pings() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pings
}

// Dropped is how many payloads came before a stock agent takes them; Largest
// the size in bytes of the largest payload.
func (d *Double) Dropped() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dropped
}

// Largest is the size in bytes of the largest payload that came.
func (d *Double) Largest() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.largest
}

// Cut closes the connection, if there is one.
func (d *Double) Cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		_ = d.conn.CloseNow()
	}
}

// Send prints b as payload of the type, waiting for room. It says false when
// the session is over.
func (d *Double) Send(payloadType uint32, b []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.complete && !d.closed {
		d.change.Wait()
	}
	for len(b) > 0 && !d.closed {
		n := 0
		if payloadType == mgs.PayloadOutput {
			n, _ = d.link.Push(time.Now(), payloadType, b)
		} else if ok, _ := d.link.PushWhole(time.Now(), payloadType, b); ok {
			n = len(b)
		}
		if b = b[n:]; n > 0 {
			d.signal()
		}
		if len(b) > 0 {
			d.change.Wait()
		}
	}
	return !d.closed
}

// Recv returns what the client sent next; false when the session is over.
func (d *Double) Recv() (payloadType uint32, b []byte, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.closed {
		if h := d.held; h != nil {
			d.held = nil
			return h.t, h.b, true
		}
		if d.complete {
			if t, p, ok := d.link.Next(); ok {
				d.signal() // it may be to acknowledge
				return t, append([]byte(nil), p...), true
			}
		}
		d.change.Wait()
	}
	return 0, nil, false
}

// Drained waits until the client has acknowledged everything.
func (d *Double) Drained() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for !d.link.Drained() && !d.closed {
		d.change.Wait()
	}
}

// Close closes the channel towards the client, and the session with it.
func (d *Double) Close(output string) {
	b, _ := json.Marshal(mgs.ChannelClosed{MessageType: mgs.TypeChannelClosed, SessionId: SessionID, SchemaVersion: 1, Output: output})
	d.Inject(frame.Message{Type: mgs.TypeChannelClosed, Created: time.Now(), ID: uuid.New(), Payload: b})
	d.Forget()
}

// Inject writes any frame to the client as it is, once a client is there.
func (d *Double) Inject(m frame.Message) {
	b, err := m.Marshal()
	if err == nil {
		d.InjectRaw(b)
	}
}

// InjectRaw writes any bytes as a message to the client.
func (d *Double) InjectRaw(b []byte) {
	d.mu.Lock()
	for d.conn == nil && !d.closed {
		d.change.Wait()
	}
	conn := d.conn
	d.mu.Unlock()
	if conn != nil {
		_ = conn.Write(context.Background(), websocket.MessageBinary, b)
	}
}
