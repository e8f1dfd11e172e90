package channel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"ssmagent/internal/stream"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// Times of the handshake.
const (
	// answerWithin is for a client that has the request: some never answer.
	answerWithin = time.Second
	// clientWithin is for the client to come.
	clientWithin = 15 * time.Second
	// sizeWithin is for the size behind the answer of a stock client, which
	// starts its terminal first; sizeSoon for that of ours, which is under way.
	sizeWithin = time.Second
	sizeSoon   = 250 * time.Millisecond
)

// Offer is what the handshake tells the client of the session.
type Offer struct {
	AgentVersion string
	SessionType  string // as mgs has them
	// Properties are those of the document; clients are told of port sessions'.
	Properties json.RawMessage
	// StockPayload is the size in bytes of the payloads of a port session
	// towards a client that is not ours; 0 is 1,024, what stock agents send.
	StockPayload int
	// Apart: the document has standard output and standard error told apart.
	Apart bool
}

// Clients up to togetherUntil print both outputs as one. The hint names the
// version that stock agents name, and ends as theirs does.
const (
	togetherUntil = "1.2.295"
	upgradeHint   = "This client cannot tell standard output from standard error: update the session manager plugin to 1.2.312.0 or later.\r\n"
)

// hint is what a client is to be told of itself.
func (s *shake) hint() string {
	if s.offer.Apart && !s.peer.Ours && mgs.CompareVersions(s.peer.Version, togetherUntil) <= 0 {
		return upgradeHint
	}
	return ""
}

// extension is what a client of ours is offered.
func (o Offer) extension() mgs.Extension {
	e := mgs.Extension{MaxPayload: mgs.LargePayload, Streams: o.SessionType == mgs.SessionNonInteractiveCommands}
	if o.SessionType == mgs.SessionPort {
		e.Mux = mgs.MuxWindows
	}
	return e
}

// terminal says whether the session type is one of those whose client has a
// terminal, and may know no handshake.
func (o Offer) terminal() bool {
	return o.SessionType == mgs.SessionStandardStream || o.SessionType == mgs.SessionInteractiveCommands
}

// shake is how far the handshake is.
type shake struct {
	offer    Offer
	asked    time.Time // when the request was pushed
	received bool      // the client has the request
	without  bool      // started without an answer
	peer     Peer
	secure   securing
}

// Peer is what the handshake told of the client.
type Peer struct {
	Answered bool
	Version  string
	Ours     bool // takes large payloads, and an exit code in every session
	Streams  bool // as the Extension's, of both ends
	Mux      int  // as the Extension's, of both ends; at least 1
}

// Greeting is how the session begins: the size is zero when none came, First
// is what the client sent before, valid until the next call of Next.
type Greeting struct {
	Peer  Peer
	Size  mgs.Size
	First *Payload
}

// maxTold bounds in bytes what a client may say of its failure.
const maxTold = 1000

// Ask sends agent_session_state Connected and the handshake request for the
// session. It may be called before there is a connection.
func (c *Channel) Ask(o Offer) error {
	if o.SessionType != mgs.SessionPort {
		o.Properties = nil
	}
	action, err := mgs.NewSessionType(o.SessionType, o.Properties)
	if err != nil {
		return err
	}
	ext, err := mgs.EncodeExtension(o.extension())
	if err != nil {
		return err
	}
	actions := []mgs.ClientAction{action}
	if c.opt.Encryption != nil {
		if action, err = c.askEncryption(); err != nil {
			return err
		}
		actions = append(actions, action)
	}
	b, err := json.Marshal(mgs.HandshakeRequest{AgentVersion: o.AgentVersion, RequestedClientActions: actions, Extensions: ext})
	if err != nil {
		return fmt.Errorf("encode the handshake: %w", err)
	}
	if err := c.State(mgs.SessionConnected); err != nil {
		return err
	}
	c.mu.Lock()
	c.shake.offer, c.shake.asked = o, c.opt.Clock.Now()
	_, err = c.link.PushWhole(c.shake.asked, mgs.PayloadHandshakeRequest, b)
	c.mu.Unlock()
	c.flush(0)
	return err
}

// State sends an agent_session_state once.
func (c *Channel) State(state string) error {
	b, err := json.Marshal(mgs.AgentSessionState{SchemaVersion: 1, SessionState: state, SessionId: c.opt.SessionID})
	if err != nil {
		return fmt.Errorf("encode the session's state: %w", err)
	}
	m := frame.New(mgs.TypeAgentSessionState, c.opt.Clock.Now(), b)
	m.Flags = frame.FlagSYN | frame.FlagFIN
	if b, err = m.Marshal(); err != nil {
		return fmt.Errorf("encode the session's state: %w", err)
	}
	c.mu.Lock()
	c.extra = append(c.extra, b)
	c.mu.Unlock()
	c.flush(0)
	return nil
}

// Greet waits until it is clear how the session begins: the client answered and,
// if it has a terminal, told its size, or it is one that does not shake hands,
// which an encrypted session cannot do without. An error wraps ErrRefused,
// ErrUnanswered or ErrInsecure, or is Err or ctx's.
func (c *Channel) Greet(ctx context.Context) (Greeting, error) {
	c.mu.Lock()
	terminal := c.shake.offer.terminal()
	wait := max(c.shake.asked.Add(clientWithin).Sub(c.opt.Clock.Now()), 0)
	c.mu.Unlock()
	short := false
	if c.opt.Encryption != nil {
		g, err := c.secure(ctx)
		if err != nil || !terminal || g.Size != (mgs.Size{}) {
			return g, err
		}
		wait, short = sizeAfter(g.Peer), true
	}
	limit := c.opt.Clock.NewTimer(wait)
	defer limit.Stop()
	for {
		p, ok := c.next()
		if ok {
			g, over, err := c.greeting(p)
			if over || err != nil {
				return g, err
			}
			if g.Peer.Answered && !terminal {
				return g, nil
			}
			if g.Peer.Answered {
				limit.Reset(sizeAfter(g.Peer))
				short = true
			}
			continue
		}
		c.mu.Lock()
		received := c.shake.received
		c.mu.Unlock()
		if received && !short && terminal {
			limit.Reset(answerWithin)
			short = true
		}
		select {
		case <-c.readable:
		case <-limit.C():
			if !terminal {
				return Greeting{}, ErrUnanswered
			}
			return c.ungreeted(), nil
		case <-c.done:
			if err := c.Err(); err != nil {
				return Greeting{}, err
			}
			return Greeting{}, ErrGone
		case <-ctx.Done():
			return Greeting{}, context.Cause(ctx)
		}
	}
}

// sizeAfter is how long the size of the client's terminal is waited for.
func sizeAfter(p Peer) time.Duration {
	if p.Ours {
		return sizeSoon
	}
	return sizeWithin
}

// ungreeted is the beginning with what is known by now.
func (c *Channel) ungreeted() Greeting {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shake.without = !c.shake.peer.Answered
	return Greeting{Peer: c.shake.peer}
}

// greeting deals with the first payloads. over: the session can begin.
func (c *Channel) greeting(p Payload) (g Greeting, over bool, err error) {
	switch {
	case p.Type == mgs.PayloadHandshakeResponse:
		return Greeting{Peer: c.peer()}, false, c.Err() // next has dealt with it
	case !c.offers().terminal():
		return Greeting{}, false, nil // too early: stock agents discard it too
	case p.Type == mgs.PayloadSize:
		g = c.ungreeted()
		g.Size, err = mgs.Decode[mgs.Size](p.Bytes)
		if err != nil || g.Size.Cols == 0 || g.Size.Rows == 0 {
			return Greeting{}, false, nil // as if it had not come
		}
		return g, true, nil
	}
	// Input before an answer: a client that does not shake hands.
	g = c.ungreeted()
	g.First = &p
	return g, true, nil
}

func (c *Channel) offers() Offer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shake.offer
}

func (c *Channel) peer() Peer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shake.peer
}

// answered takes the handshake response, once. With c.mu.
func (c *Channel) answered(now time.Time, p []byte) {
	if c.shake.peer.Answered {
		c.complain("handshake", errors.New("the client answered twice"))
		return
	}
	r, err := mgs.Decode[mgs.HandshakeResponse](p)
	if err != nil {
		c.complain("handshake", err)
		return
	}
	for _, a := range r.ProcessedClientActions {
		if a.ActionStatus != mgs.ActionSuccess {
			c.finishLocked(fmt.Errorf("%w: %s", ErrRefused, told(a.Error, r.Errors)))
			return
		}
	}
	c.shake.peer.Answered, c.shake.peer.Version = true, clip(r.ClientVersion, 32)
	size := c.shake.offer.StockPayload
	theirs, ours := mgs.DecodeExtension(r.Extensions)
	if offered := c.shake.offer.extension(); ours {
		c.link.SetForgetful(false)
		if !c.shake.offer.terminal() {
			c.link.SetKeep(stream.DefaultWindowBytes)
		}
		size = min(theirs.MaxPayload, mgs.LargePayload)
		c.shake.peer.Streams = theirs.Streams && offered.Streams
		c.shake.peer.Mux = min(theirs.Mux, offered.Mux)
	}
	c.shake.peer.Ours, c.shake.peer.Mux = ours, max(c.shake.peer.Mux, 1)
	if size > 0 {
		if err := c.link.SetPayloadSize(size); err != nil {
			c.complain("handshake", err)
		}
	}
	switch {
	case c.opt.Encryption != nil: // complete when it is encrypted
		if err := c.agreed(r); err != nil {
			c.finishLocked(err)
		}
		return
	case c.shake.without && !c.shake.peer.Ours:
		return // it took the output for the beginning
	}
	c.complete(now, "")
}

// complete ends the handshake, with what the person is to read. With c.mu.
func (c *Channel) complete(now time.Time, message string) {
	b, err := json.Marshal(mgs.HandshakeComplete{HandshakeTimeToComplete: now.Sub(c.shake.asked), CustomerMessage: c.shake.hint() + message})
	if err == nil {
		_, err = c.link.PushWhole(now, mgs.PayloadHandshakeComplete, b)
	}
	if err != nil {
		c.complain("handshake", err)
	}
	signal(c.wake)
}

// told is the client's reason for a person to read.
func told(reason string, errs []string) string {
	if reason == "" {
		reason = strings.Join(errs, "; ")
	}
	if reason == "" {
		reason = "it does not say why"
	}
	return clip(strings.ToValidUTF8(reason, "?"), maxTold)
}

func clip(s string, n int) string { return s[:min(len(s), n)] }
