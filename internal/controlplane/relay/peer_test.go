package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"ssmagent/internal/secret"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// side is one end of a websocket, by hand: what it sends and receives is up to
// the test.
type side struct {
	l    *lab
	t    testing.TB
	conn *websocket.Conn
	got  chan frame.Message // closed when the socket breaks
	wait sync.WaitGroup
	ping chan string // payloads of pings received
	pong chan string
}

// dialSide opens a socket without a word.
func dialSide(l *lab, id, caller string) *side {
	l.t.Helper()
	s := &side{l: l, t: l.t, got: make(chan frame.Message, 1<<14), ping: make(chan string, 64), pong: make(chan string, 64)}
	h := http.Header{}
	if caller != "" {
		h.Set("Test-Caller", caller)
	}
	conn, _, err := websocket.Dial(context.Background(), l.ws()+"/v1/data-channel/"+id+"?role=publish_subscribe", &websocket.DialOptions{
		HTTPHeader: h, CompressionMode: websocket.CompressionDisabled,
		OnPingReceived: func(_ context.Context, p []byte) bool { note(s.ping, p); return true },
		OnPongReceived: func(_ context.Context, p []byte) { note(s.pong, p) },
	})
	if err != nil {
		l.t.Fatal(err)
	}
	conn.SetReadLimit(-1)
	s.conn = conn
	l.t.Cleanup(s.cut)
	return s
}

func note(c chan string, p []byte) {
	select {
	case c <- string(p):
	default:
	}
}

// read has what comes put into s.got.
func (s *side) read() *side {
	s.wait.Go(func() {
		defer close(s.got)
		for {
			_, b, err := s.conn.Read(context.Background())
			if err != nil {
				return
			}
			m, err := frame.Unmarshal(append([]byte{}, b...))
			if err != nil {
				s.t.Errorf("received %x: %v", b[:min(len(b), 200)], err)
				continue
			}
			s.got <- m
		}
	})
	return s
}

// cut breaks the connection without a close frame, as stock programs do.
func (s *side) cut() {
	_ = s.conn.CloseNow()
	s.wait.Wait()
}

func (s *side) text(v any) *side {
	s.t.Helper()
	if err := s.conn.Write(context.Background(), websocket.MessageText, marshal(s.t, v)); err != nil {
		s.t.Fatal(err)
	}
	return s
}

func agentHello(node, token string) mgs.OpenDataChannel {
	return mgs.OpenDataChannel{MessageSchemaVersion: "1.0", RequestId: uuid.NewString(), TokenValue: secret.Text(token), ClientInstanceId: node}
}

func clientHello(token string) mgs.OpenDataChannel {
	return mgs.OpenDataChannel{MessageSchemaVersion: "1.0", RequestId: uuid.NewString(), TokenValue: secret.Text(token), ClientId: uuid.NewString(), ClientVersion: "1.2.0.0"}
}

// agent opens the agent's side as stock agents do.
func (l *lab) agent(id string) *side {
	l.t.Helper()
	s := dialSide(l, id, nodeA).text(agentHello(nodeA, l.agentToken(id)))
	s.send(mgs.TypeAgentSessionState, 0, 0, marshal(l.t, mgs.AgentSessionState{SchemaVersion: 1, SessionState: mgs.SessionConnected, SessionId: id}))
	l.sides(id, true, false, false)
	return s
}

// client opens the client's side as stock clients do.
func (l *lab) client(id, token string) *side {
	l.t.Helper()
	s := dialSide(l, id, "").text(clientHello(token))
	s.control(messagePing, "keepalive")
	l.sides(id, false, true, false)
	return s
}

// sides waits until the relay has the named sides (or, exactly, only them).
func (l *lab) sides(id string, agent, client, exactly bool) {
	l.t.Helper()
	for {
		c := l.relay.channel(id)
		var changed <-chan struct{}
		a, k := false, false
		if c != nil {
			v := c.view()
			a, k, changed = v.agent != nil, v.client != nil, v.changed
		}
		if a == agent && k == client || !exactly && (a || !agent) && (k || !client) {
			return
		}
		if changed == nil { // the channel is not made yet, or not forgotten yet
			c := time.After(time.Millisecond)
			<-c
			continue
		}
		<-changed
	}
}

func (s *side) control(kind websocket.MessageType, payload string) {
	s.t.Helper()
	if err := s.conn.Write(context.Background(), kind, []byte(payload)); err != nil {
		s.t.Fatal(err)
	}
}

func newFrame(kind string, sequence int64, payloadType uint32, payload []byte) frame.Message {
	m := frame.New(kind, time.Now(), payload)
	m.Sequence, m.PayloadType = sequence, payloadType
	return m
}

func (s *side) write(m frame.Message) error {
	b, err := m.Marshal()
	if err != nil {
		return err
	}
	return s.conn.Write(context.Background(), websocket.MessageBinary, b)
}

func (s *side) send(kind string, sequence int64, payloadType uint32, payload []byte) frame.Message {
	s.t.Helper()
	m := newFrame(kind, sequence, payloadType, payload)
	if err := s.write(m); err != nil {
		s.t.Fatal(err)
	}
	return m
}

func ackOf(m frame.Message) []byte {
	a := mgs.Acknowledge{AcknowledgedMessageType: m.Type, AcknowledgedMessageId: m.ID.String(), AcknowledgedMessageSequenceNumber: m.Sequence, IsSequentialMessage: true}
	b, _ := json.Marshal(a)
	return b
}

func (s *side) output(sequence int64, text string) frame.Message {
	return s.send(mgs.TypeOutputStreamData, sequence, mgs.PayloadOutput, []byte(text))
}

func (s *side) input(sequence int64, text string) frame.Message {
	return s.send(mgs.TypeInputStreamData, sequence, mgs.PayloadOutput, []byte(text))
}

func (s *side) ack(m frame.Message) { s.send(mgs.TypeAcknowledge, 0, 0, ackOf(m)) }

// next is the next frame received.
func (s *side) next() frame.Message {
	s.t.Helper()
	select {
	case m, ok := <-s.got:
		if !ok {
			s.t.Fatal("the socket broke")
		}
		return m
	case <-time.After(20 * time.Second):
		s.t.Fatal("no frame came")
	}
	return frame.Message{}
}

// expect wants exactly this frame next.
func (s *side) expect(want frame.Message) {
	s.t.Helper()
	got := s.next()
	if got.Type != want.Type || got.ID != want.ID || got.Sequence != want.Sequence || got.Flags != want.Flags || got.PayloadType != want.PayloadType ||
		!bytes.Equal(got.Payload, want.Payload) || !got.DigestOK || got.Created.UnixMilli() != want.Created.UnixMilli() {
		s.t.Fatalf("got %s %d %.80q, want %s %d %.80q", got.Type, got.Sequence, got.Payload, want.Type, want.Sequence, want.Payload)
	}
}

// closed wants channel_closed and then the end, or only that of the socket.
func (s *side) closed(text string) {
	s.t.Helper()
	m := s.next()
	c, err := mgs.Decode[mgs.ChannelClosed](m.Payload)
	if m.Type != mgs.TypeChannelClosed || err != nil || c.Output != text {
		s.t.Fatalf("got %s %.200q %v, want channel_closed with %q", m.Type, m.Payload, err, text)
	}
}

func (s *side) broken() {
	s.t.Helper()
	for range s.got { // what else there was
	}
}

// program is a stock program's reliability layer: it retransmits
// the head of what is outstanding, takes messages in order and keeps those
// that come early. A plugin ignores what it has, an agent acknowledges again.
type program struct {
	mu sync.Mutex
	// forgetful: it ignores copies instead of acknowledging them again.
	forgetful bool
	sends     string // type of what it sends
	on        *side
	seq       int64
	out       []frame.Message // unacknowledged
	expect    int64
	early     map[int64]frame.Message
	took      bytes.Buffer
	full      chan struct{} // told of progress
}

func newProgram(plugin bool) *program {
	p := &program{sends: mgs.TypeOutputStreamData, early: map[int64]frame.Message{}, full: make(chan struct{}, 1)}
	if plugin {
		p.sends = mgs.TypeInputStreamData
	}
	return p
}

// use works with a socket until it breaks.
func (p *program) use(s *side) {
	p.mu.Lock()
	p.on = s
	p.mu.Unlock()
	for m := range s.got {
		p.receive(s, m)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.on == s {
		p.on = nil
	}
}

func (p *program) receive(s *side, m frame.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() {
		select {
		case p.full <- struct{}{}:
		default:
		}
	}()
	switch m.Type {
	case mgs.TypeAcknowledge:
		a, err := mgs.Decode[mgs.Acknowledge](m.Payload)
		if err != nil {
			s.t.Error(err)
		}
		for i, o := range p.out {
			if o.Sequence == a.AcknowledgedMessageSequenceNumber {
				p.out = append(p.out[:i], p.out[i+1:]...)
				break
			}
		}
	case mgs.TypeInputStreamData, mgs.TypeOutputStreamData:
		if m.Sequence < p.expect && p.forgetful {
			return
		}
		_ = s.write(newFrame(mgs.TypeAcknowledge, 0, 0, ackOf(m))) // a broken socket loses it
		if m.Sequence < p.expect {
			return
		}
		p.early[m.Sequence] = m
		for {
			next, ok := p.early[p.expect]
			if !ok {
				return
			}
			delete(p.early, p.expect)
			p.took.Write(next.Payload)
			p.expect++
		}
	}
}

// say sends a message and keeps it until it is acknowledged.
func (p *program) say(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := newFrame(p.sends, p.seq, mgs.PayloadOutput, b)
	p.seq++
	p.out = append(p.out, m)
	if p.on != nil {
		_ = p.on.write(m)
	}
}

// again retransmits all that is outstanding (stock programs: the oldest, ten
// times a second).
func (p *program) again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.out {
		if p.on == nil || p.on.write(m) != nil {
			return
		}
	}
}

func (p *program) state() (took string, outstanding int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.took.String(), len(p.out)
}
