package client

import (
	"context"
	"io"
	"time"

	"ssmagent/internal/wire/mgs"
)

const (
	joinBelow = 16 << 10 // payloads of at least so many bytes are not copied
	joinMax   = 64 << 10
)

// Message is what the agent sent. Type is mgs.PayloadOutput, PayloadStdErr,
// PayloadExitCode, PayloadFlag or any that the agent may invent; with
// mgs.PayloadHandshakeComplete the payload is text for the person.
type Message struct {
	Type    uint32
	Payload []byte // valid until Next is called again
}

// Next returns what comes next, in the agent's order. Output that lies ready is
// joined: its boundaries mean nothing. After the end of the session, when all
// has been taken, it is io.EOF.
func (s *Session) Next(ctx context.Context) (Message, error) {
	for {
		s.mu.Lock()
		over := s.over()
		now := s.opt.Clock.Now()
		m, ok := s.pop(now)
		if s.backlog { // what was taken may be acknowledged
			s.owe(now)
			s.backlog = s.link.Waiting() > 0
		}
		s.mu.Unlock()
		switch {
		case ok:
			return m, nil
		case over:
			return Message{}, io.EOF
		}
		select {
		case <-s.readable:
		case <-s.done:
		case <-ctx.Done():
			return Message{}, ctx.Err()
		}
	}
}

// pop takes the next message. With s.mu.
func (s *Session) pop(now time.Time) (Message, bool) {
	if !s.shake.over {
		return Message{}, false
	}
	if m, ok := s.message(); ok {
		return m, true
	}
	m, ok := s.one(now)
	if !ok {
		return s.message()
	}
	if !joins(m, m.Type) || s.link.Waiting() == 0 {
		return m, true
	}
	s.joined = append(s.joined[:0], m.Payload...)
	for {
		next, ok := s.one(now)
		if !ok {
			break
		}
		if !joins(next, m.Type) || len(s.joined)+len(next.Payload) > joinMax {
			s.held, s.hasHeld = next, true
			break
		}
		s.joined = append(s.joined, next.Payload...)
	}
	return Message{m.Type, s.joined}, true
}

// message takes what the handshake has for the person.
func (s *Session) message() (Message, bool) {
	if s.customer == "" {
		return Message{}, false
	}
	m := Message{mgs.PayloadHandshakeComplete, []byte(s.customer)}
	s.customer = ""
	return m, true
}

// joins says whether m may be joined with others of type t.
func joins(m Message, t uint32) bool {
	return m.Type == t && (t == mgs.PayloadOutput || t == mgs.PayloadStdErr) && len(m.Payload) < joinBelow
}

// one takes the next payload that is a message.
func (s *Session) one(now time.Time) (Message, bool) {
	if s.hasHeld {
		s.hasHeld = false
		return s.held, true
	}
	for {
		t, p, ok := s.next()
		if !ok {
			return Message{}, false
		}
		if !s.control(now, t, p) {
			return Message{t, p}, true
		}
	}
}
