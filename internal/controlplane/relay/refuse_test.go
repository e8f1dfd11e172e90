package relay

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/sessions"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/wire/ssm"
)

func TestCreateRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, fake())
	open, over := l.start().SessionId, l.start().SessionId
	if err := l.sessions.TaskComplete(nodeA, complete(over, "Success", "")); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, id, caller, body string
		status                 int
		want                   string
	}{
		{"another node", open, nodeB, createBody, http.StatusForbidden, "<AccessDeniedException>"},
		{"an operator", open, "operator", createBody, http.StatusForbidden, "<AccessDeniedException>"},
		{"unsigned", open, "", createBody, http.StatusForbidden, "<AccessDeniedException>"},
		{"a wrong signature", open, "forged", createBody, http.StatusForbidden, "<InvalidSignatureException>"},
		{"a session that is over", over, nodeA, createBody, http.StatusBadRequest, mgs.TextTerminated},
		{"an unknown session", "ada-00000000000000000", nodeA, createBody, http.StatusBadRequest, mgs.TextTerminated},
		{"an id that climbs", "..%2F..%2Fetc%2Fpasswd", nodeA, createBody, http.StatusBadRequest, "SessionId"},
		{"an id with a slash", "a%2Fb", nodeA, createBody, http.StatusBadRequest, "SessionId"},
		{"a hidden name", ".hidden-0", nodeA, createBody, http.StatusBadRequest, "SessionId"},
		{"a control character", "a%00b", nodeA, createBody, http.StatusBadRequest, "SessionId"},
		{"an id too long", strings.Repeat("a", 129), nodeA, createBody, http.StatusBadRequest, "SessionId"},
		{"no JSON", open, nodeA, "{", http.StatusBadRequest, "CreateDataChannel"},
		{"another schema", open, nodeA, `{"MessageSchemaVersion":"2.0"}`, http.StatusBadRequest, "MessageSchemaVersion"},
	} {
		status, text := l.post(tc.id, tc.caller, tc.body)
		if status != tc.status || !strings.Contains(text, tc.want) {
			t.Errorf("%s: %d %s", tc.name, status, text)
		}
		if _, err := mgs.DecodeError([]byte(text)); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	for _, id := range []string{"../../v1/data-channel/" + open, "%2e%2e%2fx"} {
		if status, _ := l.post(id, nodeB, createBody); status == http.StatusCreated {
			t.Errorf("%s: created", id)
		}
	}
	// Agents that ask for what is over are told on the control channel too.
	told := map[string]bool{}
	for range 2 {
		p := <-l.pushed
		c, err := mgs.Decode[mgs.ChannelClosed](p.payload)
		if p.node != nodeA || p.kind != mgs.TypeChannelClosed || err != nil {
			t.Fatalf("pushed %s to %s", p.kind, p.node)
		}
		told[c.SessionId] = true
	}
	if !told[over] || !told["ada-00000000000000000"] {
		t.Errorf("told of %v", told)
	}
}

func TestOpenRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, fake())
	out, other := l.start(), l.start()
	id := out.SessionId
	agentToken := l.agentToken(id)
	for _, tc := range []struct {
		name, id, caller string
		first            any
	}{
		{"a wrong token", id, "", clientHello("x")},
		{"no token", id, "", clientHello("")},
		{"a huge token", id, "", clientHello(strings.Repeat("x", 301))},
		{"another session's token", id, "", clientHello(string(other.TokenValue))},
		{"the agent's token as the client", id, "", clientHello(agentToken)},
		{"the client's token as the agent", id, nodeA, agentHello(nodeA, string(out.TokenValue))},
		{"the agent unsigned", id, "", agentHello(nodeA, agentToken)},
		{"the agent with a wrong signature", id, "forged", agentHello(nodeA, agentToken)},
		{"the agent signed by another node", id, nodeB, agentHello(nodeA, agentToken)},
		{"another node with its token", id, nodeB, agentHello(nodeB, agentToken)},
		{"an operator as the agent", id, "operator", agentHello(nodeA, agentToken)},
		{"another schema", id, "", mgs.OpenDataChannel{MessageSchemaVersion: "2.0", TokenValue: out.TokenValue}},
		{"an unknown session", "ada-00000000000000000", "", clientHello(string(out.TokenValue))},
		{"no object", id, "", 7},
		{"too much", id, "", clientHello(strings.Repeat("x", maxFirst))},
	} {
		s := dialSide(l, tc.id, tc.caller)
		_ = s.conn.Write(t.Context(), websocket.MessageText, marshal(t, tc.first)) // "too much" may break it
		if _, b, err := s.conn.Read(t.Context()); err == nil {
			t.Errorf("%s: received %x", tc.name, b)
		}
	}
	s := dialSide(l, id, "")
	if err := s.conn.Write(t.Context(), websocket.MessageBinary, marshal(t, clientHello(string(out.TokenValue)))); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("binary: %v", err)
	}
	l.sides(id, false, false, true)
	if c := l.relay.channel("ada-00000000000000000"); c != nil {
		t.Error("a channel of an unknown session is remembered")
	}
	// After all that the tokens are still good.
	dialSide(l, id, "").text(clientHello(string(out.TokenValue)))
	dialSide(l, id, nodeA).text(agentHello(nodeA, agentToken))
	l.sides(id, true, true, true)
}

func TestNoWebsocket(t *testing.T) {
	t.Parallel()
	l := newLab(t, fake())
	for _, tc := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/v1/data-channel/ada-0", http.StatusUpgradeRequired},
		{http.MethodGet, "/v1/data-channel/..%2F..", http.StatusBadRequest},
		{http.MethodPut, "/v1/data-channel/ada-0", http.StatusMethodNotAllowed},
		{http.MethodGet, "/v1/data-channel/", http.StatusNotFound},
		{http.MethodGet, "/v1/other", http.StatusNotFound},
	} {
		r, err := http.NewRequest(tc.method, l.srv.URL+tc.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := l.srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tc.status {
			t.Errorf("%s %s: %d, want %d", tc.method, tc.path, resp.StatusCode, tc.status)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	l := newLab(t, fake())
	out := l.start()
	id := out.SessionId
	refused := func(name, caller string, first mgs.OpenDataChannel) {
		t.Helper()
		if _, _, err := dialSide(l, id, caller).text(first).conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation ||
			!strings.Contains(err.Error(), sessions.ErrToken.Error()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	client, agent := l.client(id, string(out.TokenValue)), l.agentToken(id)
	refused("a used token", "", clientHello(string(out.TokenValue)))
	newer := l.agentToken(id)
	refused("a token with a newer one", nodeA, agentHello(nodeA, agent))
	dialSide(l, id, nodeA).text(agentHello(nodeA, newer))
	l.sides(id, true, true, true)
	refused("an agent's used token", nodeA, agentHello(nodeA, newer))
	token, agent := l.resume(id), l.agentToken(id)
	l.advance(sessions.TokenLife)
	refused("an expired token", "", clientHello(token))
	refused("an agent's expired token", nodeA, agentHello(nodeA, agent))
	l.sides(id, true, true, true) // nothing of that touched who is there
	client.cut()
	token = l.resume(id)
	l.advance(sessions.TokenLife - time.Second)
	l.client(id, token)
}

// TestLateClient: a client whose session failed before it came reads why, once;
// one that was there before has read it.
func TestLateClient(t *testing.T) {
	t.Parallel()
	l := newLab(t, fake())
	const why = "unable to start the shell: too many open files"
	refused := func(id, token string) {
		t.Helper()
		if _, _, err := dialSide(l, id, "").text(clientHello(token)).conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
			t.Errorf("%v", err)
		}
	}
	fail := func(id string) {
		t.Helper()
		if err := l.sessions.TaskComplete(nodeA, complete(id, "Failed", why)); err != nil {
			t.Fatal(err)
		}
	}
	late := l.start()
	fail(late.SessionId)
	refused(late.SessionId, "a token of nobody")
	dialSide(l, late.SessionId, "").text(clientHello(string(late.TokenValue))).read().closed(why)
	refused(late.SessionId, string(late.TokenValue))

	seen := l.start()
	l.client(seen.SessionId, string(seen.TokenValue)).cut()
	token := l.resume(seen.SessionId)
	fail(seen.SessionId)
	refused(seen.SessionId, token)
}

// TestFirstMessageLate closes sockets that say nothing.
func TestFirstMessageLate(t *testing.T) {
	t.Parallel()
	l := newLab(t, fake())
	s := dialSide(l, l.start().SessionId, "")
	l.awaitTimer(firstWithin)
	l.advance(firstWithin)
	if _, _, err := s.conn.Read(t.Context()); err == nil {
		t.Error("the socket is still there")
	}
}

// TestReplaced: a new socket of a side takes over from its older one.
func TestReplaced(t *testing.T) {
	t.Parallel()
	l := newLab(t, fake())
	out := l.start()
	id := out.SessionId
	a1, c1 := l.agent(id).read(), l.client(id, string(out.TokenValue)).read()
	c2 := dialSide(l, id, "").text(clientHello(l.resume(id))).read()
	c1.broken()
	m := a1.output(0, "to the new one")
	c2.expect(m)
	a2 := dialSide(l, id, nodeA).text(agentHello(nodeA, l.agentToken(id))).read()
	a1.broken()
	a2.expect(c2.input(0, "from the new one"))
	c2.expect(a2.output(1, "both new"))
	l.sides(id, true, true, true)
}

// TestBadFrames: what is not a frame, or not this side's, is dropped and the
// channel goes on.
func TestBadFrames(t *testing.T) {
	t.Parallel()
	l := newLab(t, fake())
	out := l.start()
	a, c := l.agent(out.SessionId).read(), l.client(out.SessionId, string(out.TokenValue)).read()
	good, err := newFrame(mgs.TypeOutputStreamData, 0, mgs.PayloadOutput, []byte("payload")).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	alter := func(at int, b ...byte) []byte {
		m := append([]byte{}, good...)
		copy(m[at:], b)
		return m
	}
	bad := [][]byte{{}, {0}, good[:117], good[:119], good[:len(good)-1], append(append([]byte{}, good...), 0),
		alter(atLength, 0, 0, 0, 0), alter(atLength, 0xff, 0xff, 0xff, 0xff), alter(atLength, 0, 0, 0, 120), alter(atCreated, make([]byte, 8)...),
		alter(atPayload, 0xff, 0xff, 0xff, 0xff), alter(atSequence, 0xff), alter(atType, make([]byte, 32)...)}
	types := []string{mgs.TypeInputStreamData, mgs.TypeChannelClosed, mgs.TypePausePublication, mgs.TypeInteractiveShell, mgs.TypeAgentTaskComplete, "something_else"}
	for _, from := range []*side{a, c} {
		for _, b := range bad {
			if err := from.conn.Write(t.Context(), websocket.MessageBinary, b); err != nil {
				t.Fatal(err)
			}
		}
		for _, kind := range types {
			from.send(kind, 0, 0, []byte("{}"))
		}
		types[0] = mgs.TypeOutputStreamData // is the agent's, not the client's
		from.send(mgs.TypeAcknowledge, 0, 0, []byte("no JSON"))
	}
	if m := a.next(); m.Type != mgs.TypeAcknowledge {
		t.Errorf("the agent received %s %q", m.Type, m.Payload)
	}
	if m := c.next(); m.Type != mgs.TypeAcknowledge {
		t.Errorf("the client received %s %q", m.Type, m.Payload)
	}
	// A wrong digest is the receiver's to judge, and text is as good as binary.
	wrong := alter(80, 1, 2, 3)
	if err := a.conn.Write(t.Context(), websocket.MessageText, wrong); err != nil {
		t.Fatal(err)
	}
	if m := c.next(); m.DigestOK || string(m.Payload) != "payload" {
		t.Errorf("received %+v", m)
	}
	if n := l.log.count("malformed frame"); n != 2 {
		t.Errorf("%d log lines about malformed frames, want one a side", n)
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	l := newLab(t, fake())
	out := l.start()
	a, c := l.agent(out.SessionId), l.client(out.SessionId, string(out.TokenValue)).read()
	m := newFrame(mgs.TypeOutputStreamData, 0, mgs.PayloadOutput, make([]byte, frame.MaxSize-frame.HeaderSize))
	if err := a.write(m); err != nil {
		t.Fatal(err)
	}
	c.expect(m)
	_ = a.conn.Write(t.Context(), websocket.MessageBinary, make([]byte, frame.MaxSize+1))
	if _, _, err := a.conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusMessageTooBig && err == nil {
		t.Errorf("got %v", err)
	}
	l.sides(out.SessionId, false, true, true)
}

// TestSilence drops a peer that gives no sign: soon when it has nothing to do,
// much later when it owes acknowledgements.
func TestSilence(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		output string
		after  time.Duration
	}{"idle": {"", silence}, "busy": {"unread", busySilence}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, fake())
			out := l.start()
			id := out.SessionId
			a := l.agent(id).read()
			c := l.client(id, string(out.TokenValue)) // reads nothing, and so answers no ping
			if tc.output != "" {
				a.output(0, tc.output)
			}
			for range 2 {
				l.awaitTimer(pingEvery) // the keepers of both sides are there
			}
			if d := l.untilGone(id, a); d < tc.after || d > tc.after+3*pingEvery {
				t.Errorf("the client was dropped after %s", d)
			}
			c.cut()
			l.sides(id, true, false, true)
		})
	}
}

// untilGone is how long a silent client stays beside an agent that gives signs.
// Time goes on when the keepers of both have looked.
func (l *lab) untilGone(id string, a *side) (d time.Duration) {
	l.t.Helper()
	for limit := time.After(20 * time.Second); l.status(id) == ssm.SessionConnected; d += pingEvery {
		l.advance(pingEvery)
		for looked := 0; looked < 2 && l.status(id) == ssm.SessionConnected; {
			select {
			case after := <-l.clock.(dial).set:
				if after == pingEvery {
					looked++
				}
			case <-limit:
				l.t.Fatal("the keepers do not look")
			default:
				runtime.Gosched()
			}
		}
		a.control(messagePing, "sign")
		for <-a.pong != "sign" {
		}
	}
	return d
}

// TestStuckAgent: an agent that reads nothing, as with a stopped shell, is
// still relayed from, and its session can be ended.
func TestStuckAgent(t *testing.T) {
	t.Parallel()
	l := newLab(t, clock.Real{})
	l.narrow.Store(true)
	out := l.start()
	a, c := l.agent(out.SessionId), l.client(out.SessionId, string(out.TokenValue)).read()
	go func() { // more input than fits anywhere, until the end of the session
		b := make([]byte, 16<<10)
		for n := range int64(4000) {
			if c.write(newFrame(mgs.TypeInputStreamData, n, mgs.PayloadOutput, b)) != nil {
				return
			}
		}
	}()
	relayed := l.relay.channel(out.SessionId)
	for v := relayed.view(); !v.client.held.Load(); {
		<-time.After(time.Millisecond)
	}
	for n := range int64(100) {
		c.expect(a.output(n, "still here"))
	}
	l.terminate(out.SessionId)
	c.closed("session ended: terminated by ada")
}

// TestTLS: the relay takes over encrypted connections too.
func TestTLS(t *testing.T) {
	t.Parallel()
	l := newLab(t, fake())
	srv := httptest.NewTLSServer(l.relay.Handler())
	t.Cleanup(srv.Close)
	out := l.start()
	a := l.agent(out.SessionId)
	conn, _, err := websocket.Dial(t.Context(), "wss"+strings.TrimPrefix(srv.URL, "https")+"/v1/data-channel/"+out.SessionId, &websocket.DialOptions{HTTPClient: srv.Client()})
	if err != nil {
		t.Fatal(err)
	}
	c := &side{l: l, t: t, conn: conn, got: make(chan frame.Message, 8)}
	t.Cleanup(c.cut)
	conn.SetReadLimit(-1)
	c.text(clientHello(string(out.TokenValue))).read()
	l.sides(out.SessionId, true, true, true)
	c.expect(a.output(0, strings.Repeat("secret", 20000)))
}
