package gateway

import (
	"context"
	"time"
)

// aliveTime is how long the peer of a replaced channel has to answer a ping.
const aliveTime = 3 * time.Second

// pushUntil pushes until ctx ends, which is no error while the channel goes on.
func (c *channel) pushUntil(ctx, channel context.Context) error {
	err := c.push(ctx)
	if ctx.Err() != nil && channel.Err() == nil {
		c.g.opt.Queue.Release(c.node, c) // for the channel that took over
		return nil
	}
	return err
}

// yield waits for another channel to replace this one, and ends it. An agent
// that opens a channel has lost the one before: if somebody answers there
// still, two machines are the same node.
func (c *channel) yield(ctx context.Context, hush func()) error {
	var rival *channel
	select {
	case rival = <-c.next:
	case <-ctx.Done():
		return ctx.Err()
	}
	hush()
	if c.pong(ctx, aliveTime) == nil && c.g.opt.Rivals != nil {
		c.g.opt.Rivals(c.node, c.peer, rival.peer)
	}
	return errReplaced
}
