package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/commands"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// Times and bounds of an open channel.
const (
	// Agents ping by themselves, the stock one every 54 s. To ping one that
	// does would wake an idle node for nothing.
	pingEvery    = 90 * time.Second // of silence
	pongDeadline = 20 * time.Second
	writeTime    = 10 * time.Second // for one frame
	pushBatch    = 32               // jobs taken from the queue at once
	maxUnacked   = 1024             // jobs whose frames are remembered
	backlog      = 64               // frames received and not yet dealt with
	maxBad       = 16               // malformed frames in a row
)

var (
	errReplaced     = errors.New("a newer channel of the node replaced it")
	errDisconnected = errors.New("the node was deregistered")
)

// socket is what a channel needs of a websocket. All may be called at once.
type socket interface {
	Read(ctx context.Context) (websocket.MessageType, []byte, error)
	Write(ctx context.Context, kind websocket.MessageType, b []byte) error
	Ping(ctx context.Context) error // waits for the pong
	CloseNow() error
}

// channel is one open control channel.
type channel struct {
	g    *Gateway
	node string
	conn socket
	log  *slog.Logger
	stop context.CancelCauseFunc // set by run
	// heard is when the peer last pinged.
	heard *moment
	peer  string        // its address
	next  chan *channel // gets the channel that replaced this one

	room chan struct{} // one for each frame being dealt with

	mu     sync.Mutex
	lines  map[string][]frame.Message // by job: frames behind the one at work
	sent   map[uuid.UUID]string       // unacknowledged agent_job frames: message ids
	oddity map[string]bool            // unknown types that were logged
	over   bool                       // the connection is gone
}

func newChannel(g *Gateway, node string, conn socket, log *slog.Logger) *channel {
	return &channel{heard: g.now(), next: make(chan *channel, 1), g: g, node: node, conn: conn, log: log, room: make(chan struct{}, backlog),
		lines: map[string][]frame.Message{}, sent: map[uuid.UUID]string{}, oddity: map[string]bool{}}
}

// run works the channel until it breaks, is replaced, or ctx ends.
func (c *channel) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c.mu.Lock()
	c.stop = cancel
	c.mu.Unlock()
	pings := c.g.opt.Clock.NewTimer(pingEvery)
	defer pings.Stop()
	if old := c.g.hub.join(c); old != nil {
		old.next <- c
	}
	if c.g.opt.Sessions != nil {
		c.g.opt.Sessions.ChannelUp(c.node)
	}
	group, gctx := errgroup.WithContext(ctx)
	// Closing is what ends a blocked read or write.
	defer context.AfterFunc(gctx, func() { _ = c.conn.CloseNow() })()
	group.Go(func() error { return c.read(gctx) })
	pctx, hush := context.WithCancel(gctx)
	defer hush()
	group.Go(func() error { return c.pushUntil(pctx, gctx) })
	group.Go(func() error { return c.ping(gctx, pings) })
	group.Go(func() error { return c.yield(gctx, hush) })
	err := group.Wait()
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	c.g.hub.leave(c)
	c.g.opt.Queue.Release(c.node, c)
	for range backlog { // what was received is dealt with to its end
		c.room <- struct{}{}
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// end closes the channel for a reason.
func (c *channel) end(why error) {
	c.mu.Lock()
	stop := c.stop
	c.mu.Unlock()
	if stop != nil {
		stop(why)
	}
}

// again is the time after which an unacknowledged job is pushed again: a
// stock agent drops jobs that come before it is ready.
func again(attempt int) time.Duration {
	const first, most = 3 * time.Second, time.Minute
	return min(most, first<<min(attempt, 8))
}

// push sends jobs as they come, without waiting for their acknowledgements.
func (c *channel) push(ctx context.Context) error {
	lease := commands.Lease{Owner: c, For: again}
	for {
		jobs, err := c.g.opt.Queue.Next(ctx, c.node, pushBatch, lease)
		if err != nil {
			return err
		}
		for _, d := range jobs {
			if err := c.job(ctx, d); err != nil {
				return err
			}
		}
	}
}

func (c *channel) job(ctx context.Context, d commands.Delivery) error {
	p, err := json.Marshal(mgs.AgentJob{SchemaVersion: 1, JobId: d.MessageID, Topic: d.Topic, Content: d.Payload})
	if err != nil {
		return fmt.Errorf("encode job %s: %w", d.MessageID, err)
	}
	m := frame.New(mgs.TypeAgentJob, c.g.opt.Clock.Now(), p)
	c.mu.Lock()
	if len(c.sent) < maxUnacked {
		c.sent[m.ID] = d.MessageID
	}
	c.mu.Unlock()
	if err := c.send(ctx, m); err != nil {
		return fmt.Errorf("push job %s: %w", d.MessageID, err)
	}
	return nil
}

// send writes one frame; a peer that does not take it in time is given up.
func (c *channel) send(ctx context.Context, m frame.Message) error {
	b, err := m.Marshal()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.g.writeTime)
	defer cancel()
	return c.conn.Write(ctx, websocket.MessageBinary, b)
}

// answer sends a frame of type t with v as its payload.
func (c *channel) answer(ctx context.Context, t string, v any) error {
	p, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.send(ctx, frame.New(t, c.g.opt.Clock.Now(), p))
}

// moment is a time that one goroutine sets and another reads.
type moment struct{ nanos atomic.Int64 }

func (g *Gateway) now() *moment {
	m := new(moment)
	m.set(g.opt.Clock.Now())
	return m
}

func (m *moment) set(t time.Time) { m.nanos.Store(t.UnixNano()) }
func (m *moment) get() time.Time  { return time.Unix(0, m.nanos.Load()) }

// ping finds a peer that is gone without a word.
func (c *channel) ping(ctx context.Context, t clock.Timer) error {
	for {
		select {
		case <-t.C():
		case <-ctx.Done():
			return ctx.Err()
		}
		if silence := c.g.opt.Clock.Now().Sub(c.heard.get()); silence < pingEvery {
			t.Reset(pingEvery - silence)
			continue
		}
		if err := c.pong(ctx, pongDeadline); err != nil {
			return fmt.Errorf("the node does not answer: %w", err)
		}
		t.Reset(pingEvery)
	}
}

func (c *channel) pong(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := c.g.opt.Clock.NewTimer(within)
	defer t.Stop()
	go func() {
		select {
		case <-t.C():
			cancel()
		case <-ctx.Done():
		}
	}()
	return c.conn.Ping(ctx)
}

// read hands frames on until the channel breaks.
func (c *channel) read(ctx context.Context) error {
	for bad := 0; bad < maxBad; {
		_, b, err := c.conn.Read(ctx)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		m, err := frame.Unmarshal(b)
		if err != nil {
			bad++
			c.log.Warn("gateway: frame ignored", "error", err)
			continue
		}
		bad = 0
		select {
		case c.room <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		c.accept(context.WithoutCancel(ctx), m)
	}
	return fmt.Errorf("%d malformed frames in a row: the peer does not speak this protocol", maxBad)
}
