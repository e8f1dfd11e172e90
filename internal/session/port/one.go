package port

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"ssmagent/internal/mux"
	"ssmagent/internal/wire/mgs"
)

// one is a session with one connection at a time.
type one struct {
	Options
	wg sync.WaitGroup

	// Of the goroutine in run.
	conn   net.Conn
	drop   func()        // what conn said and the client has not taken
	pumped chan struct{} // closed when conn gives nothing any more
}

// serveOne serves SSH, whose one connection is the session, and clients of
// before 1.1.70, which forward one connection after the other.
func serveOne(ctx context.Context, o Options) error {
	ctx, end := context.WithCancelCause(ctx)
	s := &one{Options: o}
	defer s.wg.Wait()
	defer s.disconnect()
	defer end(nil)
	err := s.run(ctx, end)
	if errors.Is(err, errTerminated) || errors.Is(err, errOver) {
		return nil
	}
	return err
}

// errOver: the destination has ended the only connection.
var errOver = errors.New("the destination ended the connection")

func (s *one) run(ctx context.Context, end func(error)) error {
	if err := s.connect(ctx, end); err != nil {
		return err
	}
	for {
		kind, b, err := s.Channel.Next(ctx)
		if err != nil {
			return err
		}
		switch f := flag(kind, b); {
		case f == mgs.FlagTerminateSession:
			return errTerminated
		case f == mgs.FlagDisconnectToPort && s.Forwarding:
			s.disconnect()
		case f == mgs.FlagDisconnectToPort:
			return errOver
		case f == mgs.FlagInputEnd && s.Client.Ours:
			s.endInput()
		case kind == mgs.PayloadOutput:
			if err := s.write(ctx, end, b); err != nil {
				return err
			}
		}
	}
}

// connect dials, and has what the destination says carried to the client.
func (s *one) connect(ctx context.Context, end func(error)) error {
	conn, err := s.Dial(ctx)
	if err != nil {
		s.Traffic.Failed.Add(1)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	s.Traffic.Connections.Add(1)
	ctx, drop := context.WithCancel(ctx)
	pumped := make(chan struct{})
	s.conn, s.drop, s.pumped = conn, drop, pumped
	release := context.AfterFunc(ctx, func() { _ = conn.Close() })
	s.wg.Go(func() {
		defer close(pumped)
		defer release()
		err := s.pump(ctx, conn)
		switch {
		case s.Forwarding:
			_ = conn.Close() // the next of the client's words means another one
		case err != nil:
			end(fmt.Errorf("the destination broke off: %w", err))
		default:
			end(errOver)
		}
	})
	return nil
}

// pump carries what the destination says. An error says that it broke off.
func (s *one) pump(ctx context.Context, conn net.Conn) error {
	u := buffer{large: mux.Segment}
	for {
		n, err := conn.Read(u.next())
		if n > 0 {
			s.Traffic.Down.Add(int64(n))
			if s.Channel.Write(ctx, u.b[:n]) != nil {
				return nil // the session's end, which others tell
			}
			u.read(n)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return err
		}
	}
}

// write hands b to the destination, which of a forwarding client may have to be
// dialled again.
func (s *one) write(ctx context.Context, end func(error), b []byte) error {
	if s.Forwarding && s.ended() {
		s.disconnect()
		if err := s.connect(ctx, end); err != nil {
			return err
		}
	}
	n, err := s.conn.Write(b)
	s.Traffic.Up.Add(int64(n))
	switch {
	case err == nil, s.Forwarding: // its end shows in what it says
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	// The destination may have said a last word that explains it.
	<-s.pumped
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("the destination takes nothing any more: %w", err)
}

func (s *one) ended() bool {
	select {
	case <-s.pumped:
		return true
	default:
		return s.conn == nil
	}
}

func (s *one) disconnect() {
	if s.conn != nil {
		s.drop()
		_ = s.conn.Close()
		<-s.pumped
		s.conn = nil
	}
}

func (s *one) endInput() {
	if c, ok := s.conn.(halfCloser); ok {
		_ = c.CloseWrite()
	}
}
