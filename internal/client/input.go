package client

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"ssmagent/internal/socket"
	"ssmagent/internal/stream"
	"ssmagent/internal/wire/mgs"
)

const (
	// directBelow is how many bytes may be under way so that who writes also
	// sends: so few fit into the system's buffers, it will not block.
	directBelow = 16 << 10
	// directFrames bounds what of others' such a caller sends.
	directFrames = 16
	maxSide      = 65535 // of a terminal
)

// sizes is the size of the terminal here and what the agent knows of it.
type sizes struct {
	allowed    bool // the agent would not throw it away
	want, sent mgs.Size
}

// Resize tells the agent the size of the terminal. A size with a 0 in it, or
// equal to the one before, is dropped; one larger than 65,535 is cut to that.
// It never blocks: the newest size goes before all later input.
func (s *Session) Resize(cols, rows uint32) {
	if cols == 0 || rows == 0 {
		return
	}
	s.mu.Lock()
	s.size.want = mgs.Size{Cols: min(cols, maxSide), Rows: min(rows, maxSide)}
	pushed := s.pushSize(s.opt.Clock.Now())
	s.mu.Unlock()
	if pushed {
		s.flush(directFrames)
	}
}

// pushSize pushes the size when it is new and there is room. With s.mu.
func (s *Session) pushSize(now time.Time) bool {
	if !s.size.allowed || s.size.want == s.size.sent {
		return false
	}
	b, err := json.Marshal(s.size.want)
	if err != nil {
		s.complain("size", err)
		return false
	}
	ok, err := s.link.PushWhole(now, mgs.PayloadSize, b)
	if err != nil {
		s.complain("size", err)
	}
	if ok {
		s.size.sent = s.size.want
	}
	return ok
}

// Write sends b as payload of the type: mgs.PayloadOutput is cut as needed, all
// else stays one payload. It waits for Ready and for room, so that a peer that
// takes nothing holds up its caller; what it took will arrive, whatever
// happens to the connection. The error is ErrEnded or ctx's.
func (s *Session) Write(ctx context.Context, payloadType uint32, b []byte) error {
	select {
	case s.writer <- struct{}{}:
		defer func() { <-s.writer }()
	case <-s.done:
		return ErrEnded
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-s.ready:
	case <-s.done:
		return ErrEnded
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		n, err := s.push(payloadType, b)
		if err != nil {
			return err
		}
		if b = b[n:]; len(b) == 0 {
			return nil
		}
		select {
		case <-s.room:
		case <-s.done:
			return ErrEnded
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TryWrite is Write without waiting: it returns how many bytes it took, 0 when
// the session is not ready or another Write waits.
func (s *Session) TryWrite(payloadType uint32, b []byte) (int, error) {
	if s.over() {
		return 0, ErrEnded
	}
	select {
	case <-s.ready:
	default:
		return 0, nil
	}
	select {
	case s.writer <- struct{}{}:
		defer func() { <-s.writer }()
	default:
		return 0, nil
	}
	return s.push(payloadType, b)
}

// push takes what there is room for and gets it on its way.
func (s *Session) push(payloadType uint32, b []byte) (n int, err error) {
	s.mu.Lock()
	if s.over() {
		s.mu.Unlock()
		return 0, ErrEnded
	}
	now := s.opt.Clock.Now()
	s.pushSize(now)
	if payloadType == mgs.PayloadOutput {
		n, err = s.link.Push(now, payloadType, b)
	} else {
		var ok bool
		if ok, err = s.link.PushWhole(now, payloadType, b); ok {
			n = len(b)
		}
	}
	under, _ := s.link.Pending()
	s.mu.Unlock()
	if err != nil {
		return n, fmt.Errorf("client: %w", err)
	}
	if under <= directBelow {
		s.flush(directFrames)
	} else if n > 0 {
		signal(s.wake)
	}
	return n, nil
}

// flush sends what is due, unless another goroutine is at it, which then sends
// that as well. A limit bounds the frames; what is left is for the writer.
func (s *Session) flush(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn := s.conn
	if conn == nil || s.writing {
		return
	}
	s.writing = true
	if left := s.drain(conn, limit); left {
		signal(s.wake)
	}
	s.writing = false
	s.idle.Broadcast()
	s.arm()
}

// drain writes frames until none is due. With s.mu, which it lets go of for
// the time of a write. It says whether it stopped at the limit.
func (s *Session) drain(conn *socket.Conn, limit int) (left bool) {
	gathered := false
	for n := 0; ; {
		var b []byte
		ok := false
		if left = limit > 0 && n >= limit; !left {
			b, ok = s.link.Write(s.opt.Clock.Now())
		}
		if !ok && !gathered {
			return left
		}
		var err error
		s.mu.Unlock()
		if ok {
			err = conn.Write(b)
		} else {
			err = conn.Flush()
		}
		s.mu.Lock()
		if err != nil {
			_ = conn.Close() // its reader knows then
			return false
		}
		if gathered = ok; ok {
			n++
		}
	}
}

// owe gets acknowledgements on their way: with what is written next, which is
// soon or now. With s.mu.
func (s *Session) owe(now time.Time) {
	waits, patient := s.link.AckWaits()
	switch {
	case waits && !patient:
		signal(s.wake)
	case waits && s.ackBy.IsZero():
		s.ackBy = now.Add(stream.AckDelay)
		s.arm()
	}
}

// arm sets the timer to when something is to be written. With s.mu.
func (s *Session) arm() {
	due := s.link.NextDue()
	if waits, _ := s.link.AckWaits(); !waits {
		s.ackBy = time.Time{}
	} else if due.IsZero() || s.ackBy.Before(due) {
		due = s.ackBy
	}
	if due.IsZero() || s.conn == nil || !s.armed.IsZero() && !due.Before(s.armed) {
		return
	}
	s.armed = due
	s.timer.Reset(max(due.Sub(s.opt.Clock.Now()), 0))
}

// write sends what nobody else does: acknowledgements, what is sent again, and
// what a caller left.
func (s *Session) write(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.wake:
		case <-s.timer.C():
			s.mu.Lock()
			now := s.opt.Clock.Now()
			s.armed = time.Time{}
			_, waiting := s.link.Pending()
			silent := waiting > 0 && now.Sub(s.heard) >= s.policy.suspectAfter
			s.mu.Unlock()
			if silent {
				signal(s.suspect)
			}
		}
		s.flush(0)
	}
}
