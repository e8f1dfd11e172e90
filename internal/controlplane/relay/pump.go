package relay

import (
	"encoding/json"
	"errors"
	"fmt"

	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"

	"github.com/google/uuid"
)

var errClosed = errors.New("the socket was closed")

// pump is the reader of one side: it passes frames on until its socket ends.
type pump struct {
	r     *Relay
	c     *channel
	s     *socket
	to    *socket // has gathered frames that are not flushed
	bad   bool    // a malformed frame was logged
	alien bool    // a frame of another type was logged
}

// run passes frames on until the socket ends, and says why it did.
func (p *pump) run() error {
	p.s.link.idle = p.flush
	for {
		b, err := p.s.read()
		if err != nil {
			select {
			case <-p.s.done:
				return errClosed
			default:
				return err
			}
		}
		p.frame(b)
	}
}

// flush sends what was gathered for the other side.
func (p *pump) flush() {
	to := p.to
	if to == nil {
		return
	}
	p.to = nil
	p.s.held.Store(true)
	defer p.s.held.Store(false)
	if err := to.flush(); err != nil {
		p.c.detach(to)
	}
}

func (p *pump) frame(b []byte) {
	now := p.r.opt.Clock.Now()
	p.s.sign(now)
	k, sequence, err := head(b)
	if err != nil {
		if !p.bad {
			p.bad = true
			p.s.log.Warn("relay: malformed frame ignored; further ones are not logged", "error", err)
		}
		return
	}
	switch {
	case k == ack:
		p.acknowledge(b)
	case k == output && p.s.agent:
		fresh, acked := p.c.out.pass(sequence)
		if fresh {
			p.c.activity.Touch(now)
		} else if acked {
			p.answer(b, sequence)
			return
		}
		if !p.forward(b) {
			// The client is gone for good: the agent need not wait for it.
			p.answer(b, sequence)
		}
	case k == input && !p.s.agent:
		if fresh, _ := p.c.in.pass(sequence); fresh {
			p.c.activity.Touch(now)
		}
		p.forward(b)
	case k == state && p.s.agent:
		if st, err := mgs.Decode[mgs.AgentSessionState](b[frame.HeaderSize:]); err == nil {
			p.r.opt.Sessions.AgentState(p.c.id, st)
		}
	case !p.alien:
		p.alien = true
		p.s.log.Info("relay: frame of a type that this side does not send ignored; further ones are not logged",
			"type", fmt.Sprintf("%.32q", typeOf(b[atType:atType+32])))
	}
}

// acknowledge notes what was acknowledged and passes the frame on.
func (p *pump) acknowledge(b []byte) {
	if n, ok := ackedSequence(b[frame.HeaderSize:]); ok {
		if p.s.agent {
			p.c.in.acked(n)
		} else {
			p.c.out.acked(n)
		}
	}
	p.forward(b)
}

// forward gathers a frame for the other side, which it waits for. It returns
// false when the frame has nowhere to go any more.
func (p *pump) forward(b []byte) bool {
	p.s.held.Store(true)
	defer p.s.held.Store(false)
	for {
		to := p.c.peer(p.s)
		if to == nil {
			return false
		}
		if err := to.gather(b); err != nil {
			p.c.detach(to)
			continue
		}
		p.to = to
		return true
	}
}

// answer acknowledges an agent's message in the client's stead: the client
// did so before and does not repeat itself (stock clients ignore what they
// have), or it is gone. The copy is not passed on. Nothing here may wait for
// the agent, which may wait for its output to be taken before it reads: what
// finds no room is left out, and the agent asks again.
func (p *pump) answer(b []byte, sequence int64) {
	payload, err := json.Marshal(mgs.Acknowledge{AcknowledgedMessageType: mgs.TypeOutputStreamData,
		AcknowledgedMessageId: idOf(b).String(), AcknowledgedMessageSequenceNumber: sequence, IsSequentialMessage: true})
	if err != nil {
		return
	}
	m := frame.Message{Type: mgs.TypeAcknowledge, Created: p.r.opt.Clock.Now(), Flags: frame.FlagSYN | frame.FlagFIN, ID: uuid.New(), Payload: payload}
	raw, err := m.Marshal()
	if err != nil {
		p.s.log.Error("relay: acknowledge in the client's stead", "error", err)
		return
	}
	select {
	case p.s.extra <- raw:
	default:
	}
}
