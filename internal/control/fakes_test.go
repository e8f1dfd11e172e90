package control

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"ssmagent/internal/clock"
	"ssmagent/internal/outbox"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mds"
)

// conn is a channel whose other end is the test. It lives in a bubble.
type conn struct {
	in, out chan []byte
	closed  chan struct{}
	once    sync.Once
	pings   atomic.Int32
	mute    atomic.Bool // pings are not answered
}

func newConn() *conn {
	return &conn{in: make(chan []byte), out: make(chan []byte, 100), closed: make(chan struct{})}
}

func (c *conn) Read(ctx context.Context) (websocket.MessageType, []byte, error) {
	select {
	case b := <-c.in:
		return websocket.MessageBinary, b, nil
	case <-c.closed:
		return 0, nil, errors.New("closed")
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
}

func (c *conn) Write(_ context.Context, _ websocket.MessageType, b []byte) error {
	c.out <- b
	return nil
}

func (c *conn) Ping(ctx context.Context) error {
	c.pings.Add(1)
	if !c.mute.Load() {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (c *conn) CloseNow() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *conn) push(t *testing.T, typ string, payload any) uuid.UUID {
	t.Helper()
	b, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	m := frame.New(typ, time.Now(), b)
	if b, err = m.Marshal(); err != nil {
		t.Fatal(err)
	}
	c.in <- b
	return m.ID
}

func (c *conn) take(t *testing.T) frame.Message {
	t.Helper()
	m, err := frame.Unmarshal(<-c.out)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// box is an outbox in memory.
type box struct {
	mu    sync.Mutex
	give  map[string]chan outbox.Entry
	done  []string
	again []string
}

func newBox() *box {
	return &box{give: map[string]chan outbox.Entry{ChannelMGS: make(chan outbox.Entry, 10), ChannelMDS: make(chan outbox.Entry, 10)}}
}

func (b *box) Next(ctx context.Context, channels ...string) (outbox.Entry, error) {
	select {
	case e := <-b.give[channels[0]]:
		return e, nil
	case <-ctx.Done():
		return outbox.Entry{}, ctx.Err()
	}
}

func (b *box) Done(id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = append(b.done, id)
	return nil
}

func (b *box) Reconnected(channels ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.again = append(b.again, channels...)
}

// service answers calls of ec2messages.
type service struct {
	mu   sync.Mutex
	said []string
	at   []time.Time // of GetMessages
	hold time.Duration
	fail map[string]error
	give []mds.Message
}

func (s *service) Call(ctx context.Context, op string, in, out any) error {
	s.mu.Lock()
	hold, err := s.hold, s.fail[op]
	switch v := in.(type) {
	case mds.GetMessagesInput:
		s.at = append(s.at, time.Now())
		if err == nil {
			out.(*mds.GetMessagesOutput).Messages, s.give = s.give, nil
		}
	case mds.SendReplyInput:
		s.said = append(s.said, op+" "+v.Payload)
	default:
		s.said = append(s.said, op)
	}
	s.mu.Unlock()
	if op == mds.OpGetMessages {
		select {
		case <-time.After(hold):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (s *service) polls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.at)
}

func (s *service) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.said, ", ")
}

// bed runs a Control in the bubble until the test ends.
type bed struct {
	*Control
	box *box
	svc *service
}

func run(t *testing.T, open func() (Conn, error), accept Accept, change ...func(*Options)) *bed {
	t.Helper()
	b := &bed{box: newBox(), svc: &service{hold: 15 * time.Second, fail: map[string]error{}}}
	o := Options{
		InstanceID: "mi-0123456789", Open: func(context.Context) (Conn, error) { return open() }, Calls: b.svc, Outbox: b.box,
		Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler), Accept: accept,
	}
	for _, f := range change {
		f(&o)
	}
	b.Control = New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := b.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return b
}
