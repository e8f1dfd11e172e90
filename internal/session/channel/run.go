package channel

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"ssmagent/internal/backoff"
	"ssmagent/internal/stream"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// Run keeps a connection until the session is over or ctx ends.
func (c *Channel) Run(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	c.timer = c.opt.Clock.NewTimer(time.Hour)
	defer c.timer.Stop()
	c.mu.Lock()
	c.stop = stop
	c.mu.Unlock()
	defer c.finish(nil)
	failures, ever := 0, false
	for ctx.Err() == nil {
		conn, err := c.open(ctx)
		if err == nil {
			ever = true
			c.openOnce.Do(func() { close(c.opened) })
			var good bool
			if good, err = c.serve(ctx, conn); good {
				failures = 0
			}
			if ctx.Err() == nil {
				c.opt.Log.Info("the session's data channel is lost", "error", err)
			}
		}
		failures++
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrGone):
			c.finish(ErrGone)
			return
		case !ever && failures >= c.policy.firstTries:
			c.finish(fmt.Errorf("%w: %w", ErrUnreachable, err))
			return
		}
		if ever && failures > 1 {
			c.opt.Log.Warn("the session's data channel does not come back, trying on", "error", err, "attempt", failures-1)
		}
		if backoff.Wait(ctx, c.opt.Clock, c.policy.retry.Delay(failures-1, nil)) != nil {
			return
		}
	}
}

func (c *Channel) open(ctx context.Context) (Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.policy.openWithin)
	defer cancel()
	return c.opt.Open(ctx)
}

// serve works a connection until it breaks, the session is over or ctx. good
// says that the peer was heard on it, or that it lasted.
func (c *Channel) serve(ctx context.Context, conn Conn) (good bool, err error) {
	opened := c.opt.Clock.Now()
	c.mu.Lock()
	c.link.Resume(opened)
	c.conn, c.armed, c.heard, c.spoke = conn, time.Time{}, opened, false
	c.mu.Unlock()
	signal(c.progress)

	gctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	unwatch := context.AfterFunc(gctx, func() { _ = conn.Close() })
	defer unwatch()
	var wg sync.WaitGroup
	for _, f := range []func() error{
		func() error { return c.read(conn) },
		func() error { return c.write(gctx) },
		func() error { return c.ping(gctx, conn) },
	} {
		wg.Go(func() { stop(f()) })
	}
	signal(c.wake)
	<-gctx.Done()
	_ = conn.Close()
	wg.Wait()

	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = nil
	c.idle.Broadcast()
	for c.writing { // on the closed connection: it ends at once
		c.idle.Wait()
	}
	signal(c.progress)
	lasted := c.policy.retry.Lasted(c.opt.Clock.Now().Sub(opened))
	return lasted || c.spoke, context.Cause(gctx)
}

// read takes what comes until the connection breaks.
func (c *Channel) read(conn Conn) error {
	// A digest is looked at to say once in the log that it is wrong; no frame is
	// refused for it, and TCP and TLS look after the bytes. Between our own ends
	// it is not made again.
	decode := frame.Unmarshal
	for {
		b, err := conn.Read()
		if err != nil {
			return err
		}
		m, err := decode(b)
		c.mu.Lock()
		now := c.opt.Clock.Now()
		c.heard, c.spoke = now, true
		ev := stream.Ignored
		if err != nil {
			c.complain("frame", err)
		} else {
			ev = c.take(now, m)
		}
		if c.shake.peer.Ours {
			decode = frame.Trust
		}
		over := c.over
		c.mu.Unlock()
		switch {
		case over:
			return ErrGone
		case ev == stream.Data:
			signal(c.readable)
		case ev == stream.Acknowledged:
			signal(c.room)
			signal(c.progress)
		case ev == stream.PauseChanged:
			signal(c.wake)
			signal(c.progress)
		}
	}
}

// take makes of a frame what it is. With c.mu.
func (c *Channel) take(now time.Time, m frame.Message) stream.Event {
	if m.Type == mgs.TypeChannelClosed {
		if _, err := mgs.Decode[mgs.ChannelClosed](m.Payload); err != nil {
			c.complain("channel_closed", err) // it closes all the same
		}
		c.finishLocked(ErrGone)
		return stream.Ignored
	}
	paused := c.link.Paused()
	ev, out, err := c.link.Handle(now, m)
	if out.BadDigest {
		c.complain("digest", errors.New("the digest is not that of the payload"))
	}
	switch {
	case err != nil:
		c.complain("stream", err)
	case ev == stream.Ignored:
		c.complain("type", fmt.Errorf("messages of type %q are ignored", m.Type))
	case ev == stream.Data:
		c.backlog = c.backlog || c.link.Waiting() > stream.DefaultAckAhead
		c.owe(now)
	case ev == stream.Acknowledged && !c.shake.received:
		c.shake.received = true // what was sent first is the request
		signal(c.readable)
	}
	if paused && !c.link.Paused() || ev == stream.Acknowledged && c.link.IsDue(now) {
		signal(c.wake)
	}
	return ev
}

// write sends what nobody else does: acknowledgements, what is sent again, and
// what a caller left.
func (c *Channel) write(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.wake:
		case <-c.timer.C():
			c.mu.Lock()
			now := c.opt.Clock.Now()
			c.armed = time.Time{}
			_, waiting := c.link.Pending()
			silent := waiting > 0 && !c.link.Paused() && now.Sub(c.heard) >= c.policy.suspectAfter
			grown := c.link.Room(now) > 0
			c.mu.Unlock()
			if silent {
				signal(c.suspect)
			}
			if grown {
				signal(c.room)
			}
		}
		c.flush(0)
	}
}

// ping finds out whether the other side still answers: every now and then, and
// soon when nothing comes back though it should.
func (c *Channel) ping(ctx context.Context, conn Conn) error {
	t := c.opt.Clock.NewTimer(c.policy.pingEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C():
		case <-c.suspect:
		}
		pctx, done := context.WithTimeout(ctx, c.policy.pongWithin)
		err := conn.Ping(pctx)
		done()
		if err != nil {
			return fmt.Errorf("no answer to a ping within %v: %w", c.policy.pongWithin, err)
		}
		c.mu.Lock()
		c.heard = c.opt.Clock.Now()
		c.mu.Unlock()
		t.Reset(c.policy.pingEvery)
	}
}

// flush sends what is due, unless another goroutine is at it, which then sends
// that as well. A limit bounds the frames; what is left is for the writer.
func (c *Channel) flush(limit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn := c.conn
	if conn == nil {
		return
	}
	if c.writing {
		return
	}
	c.writing = true
	if c.drain(conn, limit) {
		signal(c.wake)
	}
	c.writing = false
	c.idle.Broadcast()
	c.arm()
}

// drain writes frames until none is due. With c.mu, which it lets go of for
// the time of a write. It says whether it stopped at the limit.
func (c *Channel) drain(conn Conn, limit int) (left bool) {
	gathered := false
	for n := 0; ; {
		var b []byte
		ok := false
		if left = limit > 0 && n >= limit; !left {
			b, ok = c.due()
		}
		if !ok && !gathered {
			return left
		}
		var err error
		c.mu.Unlock()
		if ok {
			err = conn.Write(b)
		} else {
			err = conn.Flush()
		}
		c.mu.Lock()
		if err != nil {
			_ = conn.Close() // its reader knows then
			return false
		}
		if gathered = ok; ok {
			n++
		}
	}
}

// due is the next frame to write. With c.mu.
func (c *Channel) due() ([]byte, bool) {
	if len(c.extra) > 0 {
		b := c.extra[0]
		c.extra = c.extra[1:]
		return b, true
	}
	return c.link.Write(c.opt.Clock.Now())
}

// owe gets acknowledgements on their way: with what is written next, which is
// soon or now. With c.mu.
func (c *Channel) owe(now time.Time) {
	waits, patient := c.link.AckWaits()
	switch {
	case waits && !patient:
		signal(c.wake)
	case waits && c.ackBy.IsZero():
		c.ackBy = now.Add(stream.AckDelay)
		c.arm()
	}
}

// arm sets the timer to when something is to be written. With c.mu.
func (c *Channel) arm() {
	due := c.link.NextDue()
	if waits, _ := c.link.AckWaits(); !waits {
		c.ackBy = time.Time{}
	} else if due.IsZero() || c.ackBy.Before(due) {
		due = c.ackBy
	}
	if due.IsZero() || c.conn == nil || !c.armed.IsZero() && !due.Before(c.armed) {
		return
	}
	c.armed = due
	c.timer.Reset(max(due.Sub(c.opt.Clock.Now()), 0))
}
