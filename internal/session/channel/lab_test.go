package channel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/stream"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

const id = "ada-0123456789abcdef0"

// wire is a connection in memory. What is written after Close, or before Flush
// at its time, is lost.
type wire struct {
	toPeer  chan []byte
	toAgent chan []byte
	done    chan struct{}
	once    sync.Once
	mute    bool // pings are not answered
	held    [][]byte
}

func (w *wire) Read() ([]byte, error) {
	select {
	case b := <-w.toAgent:
		return b, nil
	case <-w.done:
		return nil, io.EOF
	}
}

func (w *wire) Write(b []byte) error {
	select {
	case <-w.done:
		return io.ErrClosedPipe
	default:
	}
	w.held = append(w.held, bytes.Clone(b))
	return nil
}

func (w *wire) Flush() error {
	for _, b := range w.held {
		select {
		case w.toPeer <- b:
		case <-w.done:
			return io.ErrClosedPipe
		}
	}
	w.held = nil
	return nil
}

func (w *wire) Ping(ctx context.Context) error {
	if w.mute {
		<-ctx.Done()
		w.Close()
		return ctx.Err()
	}
	return nil
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.done) })
	return nil
}

// client is the other end of a session over as many wires as it takes.
type client struct {
	t        testing.TB
	link     stream.Link
	answer   func(c *client, req mgs.HandshakeRequest) // nil: none
	deaf     bool                                      // acknowledges nothing
	got      []payload
	out      bytes.Buffer
	states   []string
	request  mgs.HandshakeRequest
	complete int
	maxFrame int
	push     chan payload

	encryption *Encryption                  // of the channel
	challenged func(c *client, blob []byte) // answers the encryption challenge
	customer   string                       // what the completion says
	clear      [][]byte                     // payloads as they came over the wire
}

type payload struct {
	kind uint32
	b    []byte
}

func newClient(t testing.TB) *client {
	l, err := stream.NewLink(stream.SenderConfig{Type: mgs.TypeInputStreamData}, stream.ReceiverConfig{Type: mgs.TypeOutputStreamData})
	if err != nil {
		t.Fatal(err)
	}
	return &client{t: t, link: l, push: make(chan payload, 100)}
}

// serve is the client on w until that is closed.
func (c *client) serve(w *wire) {
	c.link.Resume(time.Now())
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		for {
			b, ok := c.link.Write(time.Now())
			if !ok {
				break
			}
			select {
			case w.toAgent <- bytes.Clone(b):
			case <-w.done:
				return
			}
		}
		if due := c.link.NextDue(); !due.IsZero() {
			timer.Reset(max(time.Until(due), 0))
		}
		select {
		case b := <-w.toPeer:
			c.take(b)
		case p := <-c.push:
			c.send(p)
		case <-timer.C:
		case <-w.done:
			return
		}
	}
}

func (c *client) send(p payload) {
	var err error
	if p.kind == mgs.PayloadOutput {
		var n int
		if n, err = c.link.Push(time.Now(), p.kind, p.b); n < len(p.b) {
			c.t.Errorf("the client's window is full")
		}
	} else {
		_, err = c.link.PushWhole(time.Now(), p.kind, p.b)
	}
	if err != nil {
		c.t.Error(err)
	}
}

func (c *client) take(b []byte) {
	m, err := frame.Unmarshal(b)
	if err != nil {
		c.t.Error(err)
		return
	}
	c.maxFrame = max(c.maxFrame, len(m.Payload))
	c.clear = append(c.clear, bytes.Clone(m.Payload))
	if m.Type == mgs.TypeAgentSessionState {
		s, _ := mgs.Decode[mgs.AgentSessionState](m.Payload)
		c.states = append(c.states, s.SessionState)
		return
	}
	if c.deaf && m.Type == mgs.TypeOutputStreamData {
		return
	}
	_, _, _ = c.link.Handle(time.Now(), m)
	for {
		kind, b, ok := c.link.Next()
		if !ok {
			return
		}
		switch kind {
		case mgs.PayloadHandshakeRequest:
			c.request, _ = mgs.Decode[mgs.HandshakeRequest](b)
			if c.answer != nil {
				c.answer(c, c.request)
			}
		case mgs.PayloadHandshakeComplete:
			c.complete++
			done, _ := mgs.Decode[mgs.HandshakeComplete](b)
			c.customer = done.CustomerMessage
		case mgs.PayloadEncChallengeRequest:
			if ch, err := mgs.Decode[mgs.EncChallenge](b); err == nil && c.challenged != nil {
				c.challenged(c, ch.Challenge)
			}
		case mgs.PayloadOutput:
			c.out.Write(b)
		default:
			c.got = append(c.got, payload{kind, bytes.Clone(b)})
		}
	}
}

func (c *client) respond(r mgs.HandshakeResponse) {
	b, err := json.Marshal(r)
	if err != nil {
		c.t.Fatal(err)
	}
	c.send(payload{mgs.PayloadHandshakeResponse, b})
}

func done(status mgs.ActionStatus, text string) []mgs.ProcessedClientAction {
	return []mgs.ProcessedClientAction{{ActionType: mgs.ActionSessionType, ActionStatus: status, Error: text}}
}

func size(cols, rows uint32) payload {
	b, _ := json.Marshal(mgs.Size{Cols: cols, Rows: rows})
	return payload{mgs.PayloadSize, b}
}

// asOurs answers as our client does.
func asOurs(cols, rows uint32) func(*client, mgs.HandshakeRequest) {
	return func(c *client, _ mgs.HandshakeRequest) {
		ext, _ := mgs.EncodeExtension(mgs.Extension{MaxPayload: mgs.LargePayload})
		c.respond(mgs.HandshakeResponse{ClientVersion: "3.3.9000.0", ProcessedClientActions: done(mgs.ActionSuccess, ""), Extensions: ext})
		if cols > 0 {
			c.send(size(cols, rows))
		}
	}
}

// asStock answers as the stock plugin does; its size comes a moment later.
func asStock(c *client, _ mgs.HandshakeRequest) {
	c.respond(mgs.HandshakeResponse{ClientVersion: "1.2.694.0", ProcessedClientActions: done(mgs.ActionSuccess, "")})
	time.AfterFunc(30*time.Millisecond, func() { c.push <- size(101, 31) })
}

// lab is a channel and who is at its other end.
type lab struct {
	ctx    context.Context
	t      *testing.T
	ch     *Channel
	client *client
	opens  int
	open   func(n int, w *wire) error // before a connection, the first being 1

	mu   sync.Mutex
	wire *wire
	left chan struct{} // closed when the client has left wire
}

// run makes a channel, with c at its other end, in a bubble and ends it after
// body.
func run(t *testing.T, c func(*client), open func(n int, w *wire) error, body func(*lab)) {
	offer(t, Offer{AgentVersion: "3.3.9000.0", SessionType: mgs.SessionStandardStream}, c, open, body)
}

// offer is run for a session of any type.
func offer(t *testing.T, o Offer, c func(*client), open func(n int, w *wire) error, body func(*lab)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t, ctx: t.Context(), client: newClient(t), open: open}
		if c != nil {
			c(l.client)
		}
		ch, err := New(Options{SessionID: id, Open: l.dial, Encryption: l.client.encryption, Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		l.ch = ch
		if err := ch.Ask(o); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan struct{})
		go func() {
			defer close(ran)
			ch.Run(ctx)
		}()
		body(l)
		cancel()
		<-ran
		synctest.Wait()
	})
}

var errNetwork = errors.New("no route")

func (l *lab) dial(context.Context) (Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opens++
	w := &wire{toPeer: make(chan []byte), toAgent: make(chan []byte), done: make(chan struct{})}
	if l.open != nil {
		if err := l.open(l.opens, w); err != nil {
			return nil, err
		}
	}
	if l.left != nil {
		<-l.left
	}
	left := make(chan struct{})
	l.wire, l.left = w, left
	go func() {
		defer close(left)
		l.client.serve(w)
	}()
	return w, nil
}

func (l *lab) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wire != nil {
		l.wire.Close()
	}
}

// greet waits for the beginning and says how long it took.
func (l *lab) greet() (Greeting, time.Duration, error) {
	start := time.Now()
	g, err := l.ch.Greet(l.ctx)
	return g, time.Since(start), err
}

// toAgent sends a frame outside the stream.
func (l *lab) toAgent(kind string, p []byte) {
	l.t.Helper()
	b, err := frame.New(kind, time.Now(), p).Marshal()
	if err != nil {
		l.t.Fatal(err)
	}
	l.mu.Lock()
	w := l.wire
	l.mu.Unlock()
	w.toAgent <- b
}
