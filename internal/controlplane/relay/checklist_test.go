package relay

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"ssmagent/internal/clock"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/wire/ssm"
)

func fake() dial { return dial{clock.NewFake(began), make(chan time.Duration, 1<<16)} }

// TestChecklist goes through what stock peers need of a gateway, as far as data
// channels are concerned.
func TestChecklist(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		line string
		test func(t *testing.T, l *lab)
	}{
		{"2 POST answers 201 and a token, an empty ClientId is taken", func(t *testing.T, l *lab) {
			out := l.start()
			status, text := l.post(out.SessionId, nodeA, createBody)
			if status != http.StatusCreated || !strings.Contains(text, "<TokenValue>") || !strings.HasPrefix(text, "<CreateDataChannelResponse>") {
				t.Errorf("%d %s", status, text)
			}
		}},
		{"3 the first message is not answered", func(t *testing.T, l *lab) {
			out := l.start()
			c := l.client(out.SessionId, string(out.TokenValue)).read()
			a := l.agent(out.SessionId).read()
			c.expect(a.output(0, "$ "))
		}},
		{"4 pings are answered", func(t *testing.T, l *lab) {
			out := l.start()
			a, c := l.agent(out.SessionId).read(), l.client(out.SessionId, string(out.TokenValue)).read()
			a.control(messagePing, "keepalive")
			for _, s := range []*side{a, c} { // the client's first ping came with its first message
				if got := <-s.pong; got != "keepalive" {
					t.Errorf("pong %q", got)
				}
			}
		}},
		{"4 fragments are reassembled", func(t *testing.T, l *lab) {
			out := l.start()
			a, c := l.agent(out.SessionId), l.client(out.SessionId, string(out.TokenValue)).read()
			m := newFrame(mgs.TypeOutputStreamData, 0, mgs.PayloadOutput, bytes.Repeat([]byte("fragment"), 2000))
			b, err := m.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			w, err := a.conn.Writer(t.Context(), websocket.MessageBinary)
			if err != nil {
				t.Fatal(err)
			}
			for part := range slices.Chunk(b, 4096) {
				if _, err := w.Write(part); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			c.expect(m)
		}},
		{"4 a socket may go without a close frame", func(t *testing.T, l *lab) {
			out := l.start()
			a, c := l.agent(out.SessionId), l.client(out.SessionId, string(out.TokenValue))
			a.cut()
			l.sides(out.SessionId, false, true, true)
			c.cut()
			l.sides(out.SessionId, false, false, true)
			if got := l.status(out.SessionId); got != ssm.SessionDisconnected {
				t.Errorf("status %s", got)
			}
		}},
		{"5 the first message tells the sides apart, also when both sign", func(t *testing.T, l *lab) {
			out := l.start()
			if got := l.status(out.SessionId); got != ssm.SessionConnecting {
				t.Errorf("status %s", got)
			}
			l.agent(out.SessionId)
			dialSide(l, out.SessionId, "operator").text(clientHello(string(out.TokenValue)))
			l.sides(out.SessionId, true, true, true)
			if got := l.status(out.SessionId); got != ssm.SessionConnected {
				t.Errorf("status %s", got)
			}
		}},
		{"7 stream data and acknowledgements pass verbatim and in order", relaysVectors},
		{"7 the agent's state is not passed on", func(t *testing.T, l *lab) {
			out := l.start()
			c, a := l.client(out.SessionId, string(out.TokenValue)).read(), l.agent(out.SessionId)
			c.expect(a.output(0, "first"))
			a.send(mgs.TypeAgentSessionState, 0, 0, marshal(t, mgs.AgentSessionState{SchemaVersion: 1, SessionState: mgs.SessionTerminating, SessionId: out.SessionId}))
			c.expect(a.output(1, "second"))
			if got := l.status(out.SessionId); got != ssm.SessionTerminating {
				t.Errorf("status %s", got)
			}
		}},
		{"8 the agent's frames wait for the client", func(t *testing.T, l *lab) {
			out := l.start()
			a := l.agent(out.SessionId).read()
			first, second := a.output(0, "handshake"), a.output(1, "more")
			c := l.client(out.SessionId, string(out.TokenValue)).read()
			c.expect(first)
			c.expect(second)
		}},
		{"9 a lost acknowledgement is repaired", repairsAcks},
		{"10 the end by the agent reaches the client after its output", func(t *testing.T, l *lab) {
			out := l.start()
			a, c := l.agent(out.SessionId), l.client(out.SessionId, string(out.TokenValue)).read()
			last := a.output(0, "logout\r\n")
			a.cut()
			for range 2 { // a failed session says so twice
				if err := l.sessions.TaskComplete(nodeA, complete(out.SessionId, "Failed", "the shell is gone")); err != nil {
					t.Fatal(err)
				}
			}
			c.expect(last)
			c.closed("the shell is gone")
			if got := l.status(out.SessionId); got != ssm.SessionFailed {
				t.Errorf("status %s", got)
			}
		}},
		{"12 termination reaches both sides", func(t *testing.T, l *lab) {
			out := l.start()
			a, c := l.agent(out.SessionId).read(), l.client(out.SessionId, string(out.TokenValue)).read()
			l.terminate(out.SessionId)
			c.closed("session ended: terminated by ada")
			a.closed("")
			if len(l.pushed) != 0 {
				t.Error("the control channel was used too")
			}
			// The agent drains: what it still sends is acknowledged for the client.
			if m := a.output(0, "rest"); !isAckOf(a.next(), m) {
				t.Error("the rest was not acknowledged")
			}
		}},
		{"12 the control channel serves when the data channel is down", func(t *testing.T, l *lab) {
			out := l.start()
			c := l.client(out.SessionId, string(out.TokenValue)).read()
			l.terminate(out.SessionId)
			c.closed("session ended: terminated by ada")
			p := <-l.pushed
			closed, err := mgs.Decode[mgs.ChannelClosed](p.payload)
			if p.kind != mgs.TypeChannelClosed || p.node != nodeA || err != nil || closed.SessionId != out.SessionId {
				t.Errorf("pushed %s %s", p.kind, p.payload)
			}
		}},
		{"13 ResumeSession gives a fresh token, or none when the session is over", func(t *testing.T, l *lab) {
			out := l.start()
			c := l.client(out.SessionId, string(out.TokenValue))
			a := l.agent(out.SessionId)
			c.cut()
			l.sides(out.SessionId, true, false, true) // or the frame goes the old way
			c = l.client(out.SessionId, l.resume(out.SessionId)).read()
			c.expect(a.output(0, "again"))
			l.terminate(out.SessionId)
			if token := l.resume(out.SessionId); token != "" {
				t.Errorf("token %q of a session that is over", token)
			}
		}},
		{"14 the agent is paused while the client is away", func(t *testing.T, l *lab) {
			out := l.start()
			a, c := l.agent(out.SessionId).read(), l.client(out.SessionId, string(out.TokenValue))
			c.cut()
			l.awaitTimer(pauseAfter)
			l.advance(pauseAfter)
			if m := a.next(); m.Type != mgs.TypePausePublication {
				t.Fatalf("got %s", m.Type)
			}
			l.client(out.SessionId, l.resume(out.SessionId))
			if m := a.next(); m.Type != mgs.TypeStartPublication {
				t.Fatalf("got %s", m.Type)
			}
		}},
		{"15 data counts as activity, pings and retransmissions do not", idles},
	} {
		t.Run(tc.line, func(t *testing.T) {
			t.Parallel()
			tc.test(t, newLab(t, fake()))
		})
	}
}

func isAckOf(got, m frame.Message) bool {
	var a mgs.Acknowledge
	return got.Type == mgs.TypeAcknowledge && got.Flags == frame.FlagSYN|frame.FlagFIN && json.Unmarshal(got.Payload, &a) == nil &&
		a == mgs.Acknowledge{AcknowledgedMessageType: m.Type, AcknowledgedMessageId: m.ID.String(), AcknowledgedMessageSequenceNumber: m.Sequence, IsSequentialMessage: true}
}

type vector struct {
	Name      string `json:"name"`
	Direction string `json:"direction"`
	FrameHex  string `json:"frameHex"`
}

// vectors are the reference's recorded frames.
func vectors(t testing.TB) (all []vector) {
	t.Helper()
	b, err := os.ReadFile("testdata/session-frames.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Frames json.RawMessage }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(file.Frames, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// relaysVectors sends every recorded frame from the side that it is of. The
// last one of each direction is a mark of the test's.
func relaysVectors(t *testing.T, l *lab) {
	out := l.start()
	c, a := l.client(out.SessionId, string(out.TokenValue)), l.agent(out.SessionId)
	relayed := 0
	all := vectors(t)
	// Acknowledgements last: messages of the same number would be copies.
	isAck := func(v vector) bool { return strings.HasPrefix(v.Name, "acknowledge") }
	all = append(slices.DeleteFunc(slices.Clone(all), isAck), slices.DeleteFunc(all, func(v vector) bool { return !isAck(v) })...)
	for _, v := range all {
		raw, err := hex.DecodeString(v.FrameHex)
		if err != nil {
			t.Fatal(err)
		}
		from, to := c, a
		switch v.Direction {
		case "client->agent":
		case "agent->client":
			from, to = a, c
		default:
			continue
		}
		relayed++
		if err := from.conn.Write(t.Context(), websocket.MessageBinary, raw); err != nil {
			t.Fatal(err)
		}
		kind, got, err := to.conn.Read(t.Context())
		if err != nil || kind != websocket.MessageBinary {
			t.Fatalf("%s: %v %v", v.Name, kind, err)
		}
		if !bytes.Equal(got, raw) {
			t.Errorf("%s: received\n%x\nwant\n%x", v.Name, got, raw)
		}
	}
	if relayed != 19 {
		t.Errorf("%d frames were relayed", relayed)
	}
}

// repairsAcks has an agent that forgot an acknowledgement.
func repairsAcks(t *testing.T, l *lab) {
	out := l.start()
	a, c := l.agent(out.SessionId).read(), l.client(out.SessionId, string(out.TokenValue)).read()
	m := a.output(0, "one")
	c.expect(m)
	if err := a.write(m); err != nil { // not acknowledged yet: it passes again
		t.Fatal(err)
	}
	c.expect(m)
	c.ack(m)
	if got := a.next(); !isAcked(t, got, m) {
		t.Fatalf("got %s %s", got.Type, got.Payload)
	}
	for range 3 { // acknowledged: answered here
		if err := a.write(m); err != nil {
			t.Fatal(err)
		}
		if got := a.next(); !isAckOf(got, m) {
			t.Fatalf("got %s %s", got.Type, got.Payload)
		}
	}
	c.expect(a.output(1, "two")) // and no copy passed
}

func isAcked(t *testing.T, got, m frame.Message) bool {
	t.Helper()
	a, err := mgs.Decode[mgs.Acknowledge](got.Payload)
	return err == nil && got.Type == mgs.TypeAcknowledge && a.AcknowledgedMessageSequenceNumber == m.Sequence
}

// idles types once after 19 minutes; then there are only copies and
// acknowledgements, and 20 minutes later the session ends.
func idles(t *testing.T, l *lab) {
	out := l.start()
	a, c := l.agent(out.SessionId).read(), l.client(out.SessionId, string(out.TokenValue)).read()
	stay := func(d time.Duration) { // with every peer giving signs
		for range d / time.Minute {
			l.advance(time.Minute)
			for _, s := range []*side{a, c} {
				s.control(messagePing, "sign")
				for <-s.pong != "sign" {
				}
			}
		}
	}
	stay(19 * time.Minute)
	m := c.input(0, "x")
	a.expect(m)
	stay(10 * time.Minute)
	if err := c.write(m); err != nil {
		t.Fatal(err)
	}
	a.expect(m)
	a.ack(m)
	c.next()
	stay(9 * time.Minute)
	if got := l.status(out.SessionId); got != ssm.SessionConnected {
		t.Fatalf("status %s before its time", got)
	}
	l.advance(time.Minute)
	c.closed("session ended: idle for 20 minutes")
	a.closed("")
}

// TestSlowClient has a client that takes nothing: its agent is held back,
// nothing is lost, and nothing grows.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	l := newLab(t, clock.Real{})
	l.narrow.Store(true)
	out := l.start()
	a, c := l.agent(out.SessionId), l.client(out.SessionId, string(out.TokenValue))
	const frames, size = 800, 16 << 10 // 13 MB, far beyond the buffers of the sockets
	sent := make(chan int64, frames)
	go func() {
		payload := make([]byte, size)
		for n := range int64(frames) {
			if a.write(newFrame(mgs.TypeOutputStreamData, n, mgs.PayloadOutput, payload)) != nil {
				break
			}
			sent <- n
		}
		close(sent)
	}()
	last := int64(-1)
	for stuck := false; !stuck; {
		select {
		case n, ok := <-sent:
			if !ok {
				t.Fatal("the agent was not held back")
			}
			last = n
		case <-time.After(300 * time.Millisecond):
			stuck = true
		}
	}
	t.Logf("held back after %d of %d frames", last+1, frames)
	go func() {
		for range sent { // the rest
		}
	}()
	for want := range int64(frames) {
		_, b, err := c.conn.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m, err := frame.Unmarshal(b)
		if err != nil || m.Sequence != want || len(m.Payload) != size || !m.DigestOK {
			t.Fatalf("got %d with %d bytes, want %d: %v", m.Sequence, len(m.Payload), want, err)
		}
	}
}
