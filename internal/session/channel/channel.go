// Package channel is the agent's side of a session's data channel: it opens
// connection after connection until the service says that the session is over,
// shakes hands, and carries typed payloads both ways without losing or doubling
// a byte. It knows nothing of terminals, nor of who signs the calls.
package channel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"ssmagent/internal/backoff"
	"ssmagent/internal/clock"
	"ssmagent/internal/stream"
	"ssmagent/internal/wire/mgs"
)

// Conn is an open connection whose first message was sent; *socket.Conn.
type Conn interface {
	// Read returns a message, valid until the next Read. Close ends it.
	Read() ([]byte, error)
	Write(b []byte) error // leaves at the latest with Flush
	Flush() error
	// Ping waits for the answer; when ctx ends first the connection is closed.
	Ping(ctx context.Context) error
	Close() error
}

// Options of a Channel.
type Options struct {
	SessionID string
	// Open opens a connection. An error that wraps ErrGone says that the
	// session is over; any other is tried again.
	Open func(ctx context.Context) (Conn, error)
	// Encryption is how the session is encrypted; nil when it is not to be.
	Encryption *Encryption
	Clock      clock.Clock
	Log        *slog.Logger
}

var (
	// ErrGone says that the service has ended the session.
	ErrGone = errors.New("the session is over")
	// ErrUnreachable says that no first connection came about.
	ErrUnreachable = errors.New("the data channel cannot be opened")
	// ErrRefused says that the client turned the handshake down.
	ErrRefused = errors.New("the client refused the session")
	// ErrUnanswered says that no client answered the handshake of a session
	// that cannot do without.
	ErrUnanswered = fmt.Errorf("no client answered the handshake within %v", clientWithin)
)

// policy holds the times of a channel.
type policy struct {
	openWithin   time.Duration
	pingEvery    time.Duration
	pongWithin   time.Duration
	suspectAfter time.Duration // silence, with something to be acknowledged
	retry        backoff.Policy
	firstTries   int // connections tried before there ever was one
}

func defaultPolicy() policy {
	return policy{
		openWithin: 30 * time.Second, pingEvery: 25 * time.Second, pongWithin: 15 * time.Second, suspectAfter: 4 * time.Second,
		retry:      backoff.Policy{First: 100 * time.Millisecond, Cap: 2500 * time.Millisecond, Factor: 2, Jitter: 1, ResetAfter: 5 * time.Second},
		firstTries: 6,
	}
}

// Payload is what the client sent. Type is mgs.PayloadOutput, PayloadSize,
// PayloadFlag or any that a client may invent.
type Payload struct {
	Type  uint32
	Bytes []byte // valid until the next call of Next
}

// Channel is the agent's side of one session. Its methods are safe for
// concurrent use, but there is one caller of Next, and one at a time
// of Write and its kin.
type Channel struct {
	opt    Options
	policy policy

	opened   chan struct{} // closed: there has been a connection
	shaken   chan struct{} // closed: the client answered the handshake, or cannot
	done     chan struct{} // closed: over
	readable chan struct{} // of capacity 1, as the next three
	room     chan struct{}
	wake     chan struct{}
	suspect  chan struct{}
	progress chan struct{} // something was acknowledged, or the connection changed
	openOnce sync.Once

	timer clock.Timer

	mu      sync.Mutex
	idle    sync.Cond // on mu: writing has become false
	link    stream.Link
	conn    Conn     // nil while there is none
	extra   [][]byte // whole frames outside the stream, before all else
	writing bool     // somebody is in flush
	armed   time.Time
	ackBy   time.Time // when acknowledgements are to be out; zero: none wait
	heard   time.Time
	spoke   bool // the peer, on this connection
	stop    func()
	err     error // why it is over: ErrGone and the like
	over    bool
	backlog bool
	shake   shake
	tails   map[uint32][]byte // beginnings of characters, towards stock clients, by payload type
	said    map[string]bool
}

// New returns a Channel that does nothing until Run.
func New(o Options) (*Channel, error) {
	link, err := stream.NewLink(
		stream.SenderConfig{Type: mgs.TypeOutputStreamData},
		stream.ReceiverConfig{Type: mgs.TypeInputStreamData})
	if err != nil {
		return nil, err
	}
	// Until the client says that it is ours it may be one that never
	// acknowledges again.
	link.SetForgetful(true)
	if o.Encryption != nil {
		link.RequireCipher()
	}
	c := &Channel{
		opt: o, policy: defaultPolicy(), link: link,
		opened: make(chan struct{}), shaken: make(chan struct{}), done: make(chan struct{}),
		readable: make(chan struct{}, 1), room: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		suspect: make(chan struct{}, 1), progress: make(chan struct{}, 1),
		said: map[string]bool{}, tails: map[uint32][]byte{},
	}
	c.idle.L = &c.mu
	return c, nil
}

// Opened is closed when the first connection is there.
func (c *Channel) Opened() <-chan struct{} { return c.opened }

// Done is closed when nothing is carried any more: see Err.
func (c *Channel) Done() <-chan struct{} { return c.done }

// Err is why the channel is over: ErrGone, ErrUnreachable, ErrRefused,
// ErrInsecure, or nil while it is not and when ctx ended it.
func (c *Channel) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// finishLocked ends the channel, the first time it is called.
func (c *Channel) finishLocked(err error) {
	if c.over {
		return
	}
	c.over, c.err = true, err
	close(c.done)
	if c.stop != nil {
		c.stop()
	}
}

func (c *Channel) finish(err error) {
	c.mu.Lock()
	c.finishLocked(err)
	c.mu.Unlock()
}

// signal wakes who waits on a channel of capacity 1, now or next.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// complain logs a kind of fault once: whoever causes it can do so for ever.
func (c *Channel) complain(kind string, err error) {
	if !c.said[kind] && len(c.said) < 32 {
		c.said[kind] = true
		c.opt.Log.Warn("a message of the session is not as it should be", "kind", kind, "error", err)
	}
}
