// Package port carries connections between a session's client and a port that
// the node can reach: one at a time for SSH and old clients, or many at once,
// multiplexed. It opens no sockets: where to connect to, and whether that is
// allowed, is for its caller.
package port

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"

	"ssmagent/internal/clock"
	"ssmagent/internal/wire/mgs"
)

// Channel is the session's, *channel.Channel but for a type's name.
type Channel interface {
	// Next returns a payload, valid until it is called again.
	Next(ctx context.Context) (payloadType uint32, payload []byte, err error)
	// Write is called by one at a time.
	Write(ctx context.Context, b []byte) error
	SendFlag(ctx context.Context, f mgs.Flag) error
}

// Client is what the handshake told of the client.
type Client struct {
	Version string
	Ours    bool
	Mux     int // version of the protocol of many connections, at least 1
}

// Traffic counts what a session carries.
type Traffic struct {
	Connections atomic.Int64 // that came about
	Failed      atomic.Int64 // that did not
	Up, Down    atomic.Int64 // bytes to the destination and from it
}

// Options of Serve. All is needed.
type Options struct {
	Channel Channel
	// Dial connects to the destination.
	Dial func(ctx context.Context) (net.Conn, error)
	// Forwarding: connections come and go. Otherwise there is one, as for SSH.
	Forwarding bool
	Client     Client
	Clock      clock.Clock
	Log        *slog.Logger
	Traffic    *Traffic
}

// Serve carries connections until the client or the destination ends the
// session, which is no error, or ctx or the channel does.
func Serve(ctx context.Context, o Options) error {
	if o.Forwarding && mgs.CompareVersions(o.Client.Version, manySince) >= 0 {
		return serveMany(ctx, o)
	}
	return serveOne(ctx, o)
}

// errTerminated: the client wants the session to end.
var errTerminated = errors.New("the client ended the session")

// Versions of clients at which behaviour changes.
const (
	manySince  = "1.1.70"    // can multiplex
	quietAbove = "1.2.331.0" // the last that expects signs of life
)

// flag is the flag that a payload is, or none.
func flag(payloadType uint32, payload []byte) mgs.Flag {
	if payloadType != mgs.PayloadFlag {
		return 0
	}
	f, err := mgs.DecodeFlag(payload)
	if err != nil {
		return 0
	}
	return f
}

// halfCloser is a connection of which one direction can end.
type halfCloser interface{ CloseWrite() error }

// Sizes of what a connection's bytes are read into.
const (
	smallBuffer = 4 << 10
	shrinkAfter = 16 // small reads in a row
)

// buffer is large while there is much to read: idle connections are many.
type buffer struct {
	b      []byte
	large  int
	little int
}

// next is where to read to.
func (u *buffer) next() []byte {
	if u.b == nil {
		u.b = make([]byte, smallBuffer)
	}
	return u.b
}

// read tells how much was read.
func (u *buffer) read(n int) {
	switch {
	case n == len(u.b) && n < u.large:
		u.b, u.little = make([]byte, u.large), 0
	case n > smallBuffer:
		u.little = 0
	case len(u.b) > smallBuffer:
		if u.little++; u.little >= shrinkAfter {
			u.b, u.little = nil, 0
		}
	}
}
