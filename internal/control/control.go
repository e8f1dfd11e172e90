// Package control keeps the node's two ways to hear from the service: the
// control channel of the message gateway, and the poll of ec2messages that
// takes over where the gateway refuses. It carries deliveries in and replies
// out, and knows what neither of them means.
package control

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/coder/websocket"

	"ssmagent/internal/backoff"
	"ssmagent/internal/clock"
	"ssmagent/internal/outbox"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/mgs"
)

// The channels, as health pings and outbox entries name them.
const (
	ChannelMGS = "ssmmessages"
	ChannelMDS = "ec2messages"
)

// Delivery is a message that orders a command or a cancellation.
type Delivery struct {
	JobID   string // the MessageId of the poll
	Topic   string
	Content string
	Channel string
	Created time.Time
}

// Verdict is what became of a Delivery, and durable.
type Verdict struct {
	Code mgs.AckCode
	// Receipt is the content of a reply to send once; empty for none.
	Receipt string
	Topic   string // of the receipt
	// Unhandled: no reply can be made; the poll answers FailMessage.
	Unhandled bool
}

// Accept deals with a delivery and returns when the outcome is durable.
type Accept func(ctx context.Context, d Delivery) Verdict

// Outbox holds the replies; *outbox.Outbox.
type Outbox interface {
	Next(ctx context.Context, channels ...string) (outbox.Entry, error)
	Done(id string) error
	Reconnected(channels ...string)
}

// Conn is an open control channel; *websocket.Conn.
type Conn interface {
	Read(ctx context.Context) (websocket.MessageType, []byte, error)
	Write(ctx context.Context, typ websocket.MessageType, b []byte) error
	Ping(ctx context.Context) error
	CloseNow() error
}

// Options of a Control. All but what concerns sessions is needed.
type Options struct {
	InstanceID string
	// Open opens the channel, its first message sent. An *ssmclient.Error of
	// AccessDenied makes the node poll.
	Open func(ctx context.Context) (Conn, error)
	// Calls makes calls of ec2messages; *ssmclient.Client. nil: the gateway is
	// the only way.
	Calls  Caller
	Outbox Outbox
	Accept Accept
	// OpenSession starts what an interactive_shell orders and returns when the
	// order is durable; CloseSession ends a session. nil: sessions are refused
	// by silence, as orders that nobody can read.
	OpenSession  func(ctx context.Context, t mgs.AgentTask) error
	CloseSession func(ctx context.Context, sessionID string) error
	// Reach cuts waits short that follow an attempt without an answer; nil:
	// nothing does.
	Reach *ssmclient.Reach
	Clock clock.Clock
	Log   *slog.Logger
}

// Timing of the channel.
const (
	pingEvery    = 54 * time.Second // as in stock; every wake-up of an idle process costs
	pongWithin   = 15 * time.Second // stock notices a dead gateway after 114 s
	writeWithin  = 30 * time.Second
	stableAfter  = 10 * time.Second // a channel that lived so long was a good one
	firstRetry   = 250 * time.Millisecond
	retryCap     = time.Minute
	retryDenied  = 5 * time.Minute
	pollingGrace = time.Minute // of the poll after the channel opened
)

// Control runs both channels.
type Control struct {
	opt Options
	log *slog.Logger

	mu      sync.Mutex
	channel string        // in use: "", ChannelMGS or ChannelMDS
	open    bool          // the gateway's channel is open
	changed chan struct{} // closed and replaced when channel changes
	strange map[string]bool
}

// New returns a Control that does nothing until Run.
func New(o Options) *Control {
	return &Control{opt: o, log: o.Log, changed: make(chan struct{}), strange: map[string]bool{}}
}

// Run keeps a channel to the service until ctx ends.
func (c *Control) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	if c.opt.Calls != nil {
		wg.Go(func() { c.poll(ctx) })
		wg.Go(func() { c.sendReplies(ctx) })
	}
	c.keepOpen(ctx)
	return nil
}

// Channel is the channel in use: empty until the first attempt has ended.
func (c *Control) Channel() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.channel
}

// Open says whether the gateway's channel is open now.
func (c *Control) Open() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// Await returns a channel that is closed when Channel changes next.
func (c *Control) Await() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// note records the outcome of an attempt.
func (c *Control) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = err == nil
	next := c.channel
	switch {
	case err == nil:
		next = ChannelMGS
	case c.opt.Calls == nil:
	case c.channel == "" || ssmclient.Code(err) == ssmclient.AccessDenied:
		next = ChannelMDS
	}
	if next != c.channel {
		c.log.Info("channel to the service", "channel", next)
		c.channel = next
		close(c.changed)
		c.changed = make(chan struct{})
	}
}

// keepOpen opens the gateway's channel again whenever it is not open.
func (c *Control) keepOpen(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; failures++ {
		conn, err := c.opt.Open(ctx)
		if ctx.Err() != nil {
			if conn != nil {
				_ = conn.CloseNow()
			}
			return
		}
		c.note(err)
		if err == nil {
			c.log.Info("control channel open")
			start := c.opt.Clock.Now()
			err = c.serve(ctx, conn)
			if ctx.Err() != nil {
				return
			}
			c.mu.Lock()
			c.open = false
			c.mu.Unlock()
			if c.opt.Clock.Now().Sub(start) >= stableAfter {
				failures = 0
			}
		}
		wait := delay(failures, ssmclient.Code(err) == ssmclient.AccessDenied, rand.Float64())
		c.log.Warn("control channel", "error", err, "again_in", wait.Round(time.Millisecond))
		if c.opt.Reach.After(ctx, c.opt.Clock, wait, err) != nil {
			return
		}
	}
}

// delay is the time before another attempt: jittered from zero, so that a
// service that comes back is not met by all nodes at once, and short at first.
func delay(failures int, denied bool, jitter float64) time.Duration {
	p := backoff.Policy{First: firstRetry, Factor: 2, Cap: retryCap}
	if denied {
		p.Cap = retryDenied
	}
	return time.Duration(float64(p.Delay(failures, nil)) * jitter)
}
