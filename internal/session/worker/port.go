package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"ssmagent/internal/session/channel"
	"ssmagent/internal/session/destination"
	"ssmagent/internal/session/port"
	"ssmagent/internal/wire/mgs"
)

// resolveWithin bounds the look-up of a host.
const resolveWithin = 10 * time.Second

// forward is a session that carries connections.
type forward struct {
	*served
	prop    mgs.PortProperties
	target  destination.Target
	traffic port.Traffic
}

// prepare finds out where to connect to, and whether that is allowed.
func (p *forward) prepare(life context.Context) (err error) {
	if p.prop, err = p.req.Port(); err != nil {
		return err
	}
	number, err := strconv.ParseUint(p.prop.PortNumber, 10, 16)
	if err != nil {
		return fmt.Errorf("properties.portNumber of the session document: %w", err)
	}
	if p.prop.Host == "" {
		p.target = destination.Node(uint16(number))
		return nil
	}
	rules, err := destination.New(p.req.Node.Denied)
	if err != nil {
		return err
	}
	ctx, done := context.WithTimeout(life, resolveWithin)
	defer done()
	p.target, err = rules.Resolve(ctx, p.prop.Host, uint16(number), p.Lookup)
	return err
}

func (p *forward) serve(ctx, life context.Context, g channel.Greeting) error {
	p.traces.carried = p.total
	err := port.Serve(life, port.Options{
		Channel:    carried{p.ch},
		Dial:       func(ctx context.Context) (net.Conn, error) { return p.target.Dial(ctx, p.Dial) },
		Forwarding: p.prop.Type == mgs.LocalPortForwarding,
		Client:     port.Client{Version: g.Peer.Version, Ours: g.Peer.Ours, Mux: g.Peer.Mux},
		Clock:      p.Clock, Log: p.log, Traffic: &p.traffic,
	})
	if life.Err() != nil || errors.Is(err, channel.ErrGone) {
		return p.outcome(ctx, cmp.Or(context.Cause(life), err))
	}
	if err == nil {
		p.ch.Drain(life) // the destination's last words
		p.ch.Settle()
	}
	return err
}

// total is what was carried, for the record.
func (p *forward) total() carriedTotal {
	t := &p.traffic
	return carriedTotal{
		target: p.target.String(), connections: t.Connections.Load(), failed: t.Failed.Load(), up: t.Up.Load(), down: t.Down.Load(),
	}
}

func (p *forward) release() {}

// carried is a channel as ports see it.
type carried struct{ *channel.Channel }

// Next implements port.Channel.
func (c carried) Next(ctx context.Context) (uint32, []byte, error) {
	p, err := c.Channel.Next(ctx)
	return p.Type, p.Bytes, err
}
