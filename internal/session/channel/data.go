package channel

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"ssmagent/internal/wire/mgs"
)

const (
	// directBelow is how many bytes may be under way so that who writes also
	// sends: so few fit into the system's buffers, it will not block.
	directBelow = 16 << 10
	// directFrames bounds what of others' such a caller sends.
	directFrames = 16
)

// Next waits for the client's next payload. What belongs to the handshake does
// not come. The error is ErrGone or ctx's.
func (c *Channel) Next(ctx context.Context) (Payload, error) {
	for {
		p, ok := c.next()
		if ok {
			if p.Type == mgs.PayloadHandshakeResponse {
				continue // a late one
			}
			return p, nil
		}
		select {
		case <-c.readable:
		case <-c.done:
			return Payload{}, ErrGone
		case <-ctx.Done():
			return Payload{}, context.Cause(ctx)
		}
	}
}

// next takes a payload, and deals with a handshake response on the way.
func (c *Channel) next() (Payload, bool) {
	c.mu.Lock()
	t, b, ok := c.link.Next()
	if ok && t == mgs.PayloadHandshakeResponse {
		c.answered(c.opt.Clock.Now(), b)
	}
	if !ok {
		c.unsealed()
	}
	if c.backlog { // what was taken may be acknowledged
		c.owe(c.opt.Clock.Now())
		c.backlog = c.link.Waiting() > 0
	}
	c.mu.Unlock()
	return Payload{t, b}, ok
}

// Write sends b as output. It waits for room, so that a client that takes
// nothing holds up the program. The error is ErrGone or ctx's.
func (c *Channel) Write(ctx context.Context, b []byte) error {
	return c.WriteAs(ctx, mgs.PayloadOutput, b)
}

// WriteAs is Write for mgs.PayloadOutput and mgs.PayloadStdErr.
func (c *Channel) WriteAs(ctx context.Context, payloadType uint32, b []byte) error {
	for {
		n, err := c.push(payloadType, b)
		if err != nil {
			return err
		}
		if b = b[n:]; len(b) == 0 {
			return nil
		}
		select {
		case <-c.room:
		case <-c.done:
			return ErrGone
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// push takes what there is room for and gets it on its way.
func (c *Channel) push(payloadType uint32, b []byte) (n int, err error) {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return 0, ErrGone
	}
	now := c.opt.Clock.Now()
	if c.shake.peer.Ours || c.shake.offer.SessionType == mgs.SessionPort {
		n, err = c.link.Push(now, payloadType, b)
	} else {
		n, err = c.pushText(now, payloadType, b)
	}
	under, _ := c.link.Pending()
	c.mu.Unlock()
	if err != nil {
		return n, fmt.Errorf("send output: %w", err)
	}
	if under <= directBelow {
		c.flush(directFrames)
	} else if n > 0 {
		signal(c.wake)
	}
	return n, nil
}

// pushText is Push with frames that end between characters, which is what
// clients need that decode every payload for itself. The beginning of a
// character at the end of b is held back until more comes. With c.mu.
func (c *Channel) pushText(now time.Time, payloadType uint32, b []byte) (n int, err error) {
	size := c.link.PayloadSize()
	tail := c.tails[payloadType]
	defer func() { c.tails[payloadType] = tail }()
	for n < len(b) {
		rest := b[n:]
		piece := rest
		if len(tail) > 0 {
			piece = append(tail[:len(tail):len(tail)], rest[:min(len(rest), size)]...)
		}
		piece = piece[:min(len(piece), size)]
		whole := len(piece) - partial(piece)
		if whole == 0 { // nothing but a beginning
			tail = append([]byte(nil), piece...)
			return len(b), nil
		}
		ok, err := c.link.PushWhole(now, payloadType, piece[:whole])
		if err != nil || !ok {
			return n, err
		}
		n += whole - len(tail)
		tail = nil
	}
	return n, nil
}

// partial is how many bytes at the end of b begin a character that is not whole.
func partial(b []byte) int {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if last := b[len(b)-i]; utf8.RuneStart(last) {
			if last >= utf8.RuneSelf && !utf8.FullRune(b[len(b)-i:]) {
				return i
			}
			return 0
		}
	}
	return 0
}

// Finish sends what was held back, and how the program ended unless that is
// nil. Nothing may be written after it.
func (c *Channel) Finish(ctx context.Context, exit *mgs.Exit) {
	_ = c.insist(ctx, func(now time.Time) bool { return c.pushLast(now, exit) })
}

// SendFlag sends a flag, whoever else writes.
func (c *Channel) SendFlag(ctx context.Context, f mgs.Flag) error {
	defer signal(c.room) // which may have been meant for who writes
	return c.insist(ctx, func(now time.Time) bool {
		ok, err := c.link.PushWhole(now, mgs.PayloadFlag, f.Encode())
		return ok || err != nil
	})
}

// insist calls push, with c.mu, until there was room for all that it sends.
func (c *Channel) insist(ctx context.Context, push func(now time.Time) bool) error {
	for {
		c.mu.Lock()
		ok := push(c.opt.Clock.Now())
		c.mu.Unlock()
		c.flush(0)
		if ok {
			return nil
		}
		select {
		case <-c.room:
		case <-c.done:
			return ErrGone
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// pushLast is false when there is no room yet. With c.mu.
func (c *Channel) pushLast(now time.Time, exit *mgs.Exit) bool {
	for _, t := range []uint32{mgs.PayloadOutput, mgs.PayloadStdErr} {
		if len(c.tails[t]) > 0 {
			if ok, _ := c.link.PushWhole(now, t, c.tails[t]); !ok {
				return false
			}
			delete(c.tails, t)
		}
	}
	if exit == nil {
		return true
	}
	ok, err := c.link.PushWhole(now, mgs.PayloadExitCode, mgs.FormatExit(*exit))
	return ok || err != nil
}

// Times of Drain.
const (
	drainIdle = 2 * time.Second  // without an acknowledgement, from a client that is there
	drainAway = 15 * time.Second // for a client or a connection to come back
)

// Drain waits until the client has acknowledged everything, makes no progress
// any more, or the session is over.
func (c *Channel) Drain(ctx context.Context) {
	t := c.opt.Clock.NewTimer(drainIdle)
	defer t.Stop()
	least, away := -1, false
	for {
		c.mu.Lock()
		_, pending := c.link.Pending()
		gone := c.conn == nil || c.link.Paused()
		c.mu.Unlock()
		if pending == 0 {
			return
		}
		if least < 0 || pending < least || gone != away {
			least, away = pending, gone
			if away {
				t.Reset(drainAway)
			} else {
				t.Reset(drainIdle)
			}
		}
		select {
		case <-c.progress:
		case <-t.C():
			return
		case <-c.done:
			return
		case <-ctx.Done():
			return
		}
	}
}

// settleWithin bounds Settle.
const settleWithin = time.Second

// Settle waits until what is due now has been handed to the connection, if
// there is one.
func (c *Channel) Settle() {
	late := false
	ctx, done := context.WithTimeout(context.Background(), settleWithin)
	defer done()
	defer context.AfterFunc(ctx, func() {
		c.mu.Lock()
		late = true
		c.idle.Broadcast()
		c.mu.Unlock()
	})()
	c.flush(0)
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.conn != nil && (c.writing || len(c.extra) > 0) && !late {
		c.idle.Wait()
	}
}
