package stream

import (
	"fmt"
	"time"

	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// Link is one end of a data channel: a Sender for one direction and a Receiver
// for the other, with what they share.
type Link struct {
	*Sender
	*Receiver
}

// NewLink joins the halves of an end.
func NewLink(s SenderConfig, r ReceiverConfig) (Link, error) {
	if s.Type == r.Type {
		return Link{}, fmt.Errorf("stream: both directions are called %q", s.Type)
	}
	snd, err := NewSender(s)
	if err != nil {
		return Link{}, err
	}
	rcv, err := NewReceiver(r)
	return Link{snd, rcv}, err
}

// SetKeep has each half keep buffers of up to n bytes for re-use, for sessions
// that carry much all the time: what is made anew for every frame is collected
// as often. It is for the memory, not for the wire.
func (l Link) SetKeep(n int) { l.Sender.q.spare, l.Receiver.spare = n, n }

// Event is what Handle made of a frame.
type Event int

// The events.
const (
	Ignored      Event = iota // no frame of the stream: its owner may know it
	Data                      // Next may have something
	Acknowledged              // Room and Drained may have changed
	PauseChanged
)

// Handle takes any frame of the channel: stream messages, acknowledgements and
// the pause flag. What else comes is Ignored. An error says why a frame was
// refused; the channel goes on all the same.
func (l Link) Handle(now time.Time, m frame.Message) (Event, Outcome, error) {
	switch m.Type {
	case l.Receiver.cfg.Type:
		l.Start(now)
		o, err := l.Accept(m)
		return Data, o, err
	case mgs.TypeAcknowledge:
		seq, err := ackedSequence(m.Payload)
		if err != nil {
			return Acknowledged, Outcome{BadDigest: !m.DigestOK}, fmt.Errorf("stream: payload of %s: %w", m.Type, err)
		}
		l.Acknowledge(now, seq)
		return Acknowledged, Outcome{BadDigest: !m.DigestOK}, nil
	case mgs.TypePausePublication:
		l.Pause()
		return PauseChanged, Outcome{}, nil
	case mgs.TypeStartPublication:
		l.Start(now)
		return PauseChanged, Outcome{}, nil
	}
	return Ignored, Outcome{}, nil
}

// Write hands out the next frame to write, acknowledgements first. It is valid
// until Write is called again; call until it says false.
func (l Link) Write(now time.Time) ([]byte, bool) {
	if b, ok := l.Ack(now); ok {
		return b, true
	}
	return l.Due(now)
}
