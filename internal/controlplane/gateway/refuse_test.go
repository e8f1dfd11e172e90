package gateway

import (
	"crypto/rand"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mds"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/wire/ssm"
)

func (l *lab) trace(id string) string {
	l.t.Helper()
	out, err := l.svc.ListCommandInvocations(l.t.Context(), api.Caller{}, ssm.ListCommandInvocationsInput{CommandId: id})
	if err != nil {
		l.t.Fatal(err)
	}
	return out.CommandInvocations[0].TraceOutput
}

// awaitDetails is wantDetails for what is not answered.
func (l *lab) awaitDetails(id, node, want string) {
	l.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		out, err := l.svc.ListCommandInvocations(l.t.Context(), api.Caller{}, ssm.ListCommandInvocationsInput{CommandId: id, InstanceId: node})
		if err != nil {
			l.t.Fatal(err)
		}
		if out.CommandInvocations[0].StatusDetails == want {
			return
		}
	}
	l.wantDetails(id, node, want)
}

func TestRefusedChannels(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a := l.agent(nodeA)
	good := worked(t)["createControlChannel"]
	for _, tc := range []struct {
		name, path string
		body       []byte
		status     int
		says       string
	}{
		{"another node's", "/v1/control-channel/" + nodeB, good, 403, "<AccessDeniedException><Message>"},
		{"not JSON", "/v1/control-channel/" + nodeA, []byte("x"), 400, "<SerializationException>"},
		{"other schema", "/v1/control-channel/" + nodeA, []byte(`{"MessageSchemaVersion":"2.0"}`), 400, "MessageSchemaVersion"},
		{"too large", "/v1/control-channel/" + nodeA, make([]byte, maxCreate+1), 400, "<ValidationException>"},
		{"data channel", "/v1/data-channel/s-1", good, 404, "<ResourceNotFoundException>"},
		{"other path", "/v1/other", good, 404, "<ResourceNotFoundException>"},
	} {
		status, body := a.createAt(tc.path, tc.body)
		if status != tc.status || !strings.Contains(body, tc.says) {
			t.Errorf("%s: %d %s, want %d and %s", tc.name, status, body, tc.status, tc.says)
		}
	}
	resp, err := http.Post(l.srv.URL+"/v1/control-channel/"+nodeA, "application/json", strings.NewReader(string(good))) //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != 403 || strings.Contains(string(b), "<AccessDeniedException>") {
		t.Errorf("unsigned: %d %s: an agent must not turn to ec2messages for that", resp.StatusCode, b)
	}
	wrong := *a
	wrong.creds.SecretAccessKey = "other"
	if status, body := wrong.createAt("/v1/control-channel/"+nodeA, good); status != 403 || !strings.Contains(body, "Signature") {
		t.Errorf("wrong signature: %d %s", status, body)
	}
	for _, q := range []string{"", "?role=publish&stream=input", "?role=subscribe"} {
		status, body, err := a.do(a.request(t.Context(), http.MethodGet, "/v1/control-channel/"+nodeA+q, "ssmmessages", nil, nil))
		if err != nil || status != 400 || !strings.Contains(body, "role=subscribe") {
			t.Errorf("query %q: %d %s %v", q, status, body, err)
		}
	}
}

func TestRefusedFirstMessages(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a, b := l.agent(nodeA), l.agent(nodeB)
	used := a.create()
	if !l.gw.tokens.redeem(used, nodeA) {
		t.Fatal("a new token is not good")
	}
	expired := a.create()
	l.clock.Advance(tokenLife)
	foreign := b.create()
	fresh := a.create()
	for _, tc := range []struct {
		name string
		kind websocket.MessageType
		text []byte
	}{
		{"used token", websocket.MessageText, a.hello(used)},
		{"expired token", websocket.MessageText, a.hello(expired)},
		{"another node's token", websocket.MessageText, a.hello(foreign)},
		{"no token", websocket.MessageText, a.hello("")},
		{"not JSON", websocket.MessageText, []byte("hello")},
		{"binary", websocket.MessageBinary, a.hello(fresh)},
		{"other schema", websocket.MessageText, []byte(strings.Replace(string(a.hello(fresh)), "1.0", "9.0", 1))},
		{"too long", websocket.MessageText, make([]byte, maxFirst+1)},
	} {
		t.Run(tc.name, func(t *testing.T) { wantTurnedAway(t, l, tc.kind, tc.text) })
	}
	t.Run("nothing", func(t *testing.T) {
		l := newLab(t)
		l.gw.firstTime = 50 * time.Millisecond
		wantTurnedAway(t, l, 0, nil)
	})
}

// wantTurnedAway opens a channel whose first message is text, or none.
func wantTurnedAway(t *testing.T, l *lab, kind websocket.MessageType, text []byte) {
	t.Helper()
	conn, _, err := l.agent(nodeA).upgrade(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	if text != nil {
		if err := conn.Write(t.Context(), kind, text); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := conn.Read(t.Context()); err == nil {
		t.Error("it is answered")
	}
	if l.gw.Connected(nodeA) {
		t.Error("the channel is open")
	}
}

// TestHostileFrames: what is malformed is ignored up to a measure; what is too
// large ends the channel before it is held in memory.
func TestHostileFrames(t *testing.T) {
	t.Parallel()
	bad := func(n int) []byte { return make([]byte, n) }
	for _, tc := range []struct {
		name string
		send [][]byte
		ends bool
	}{
		{"truncated", [][]byte{bad(0), bad(3), bad(119), bad(120)}, false},
		{"nothing but truncated", func() (f [][]byte) {
			for range maxBad {
				f = append(f, bad(5))
			}
			return f
		}(), true},
		{"too large", [][]byte{bad(frame.MaxSize + 1)}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			a := l.agent(nodeA)
			a.connect()
			for _, b := range tc.send {
				_ = a.conn.Write(t.Context(), websocket.MessageBinary, b)
			}
			if tc.ends {
				l.awaitUp(nodeA, false)
				return
			}
			a.write("agent_novelty", uuid.New(), map[string]string{"JobId": "x"})
			a.write(mgs.TypeAgentTelemetry, uuid.New(), mgs.AgentTelemetry{SchemaVersion: 1})
			a.write(mgs.TypeAgentJobAck, uuid.New(), "text")
			a.write(mgs.TypeAgentJobReply, uuid.New(), []int{1})
			id := l.send(nodeA)
			j, _ := a.job()
			a.reply(j.JobId, result("Success"))
			l.wantDetails(id, nodeA, "Success")
			if !l.log.comes("frame ignored") || !l.log.comes("agent_novelty") {
				t.Error("the log does not tell of it")
			}
		})
	}
}

// TestFourGiB: a websocket frame that claims 4 GiB ends the channel once more
// than a frame's size has come; nothing is allocated for the claim.
func TestFourGiB(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a := l.agent(nodeA)
	r := a.request(t.Context(), http.MethodGet, "/v1/control-channel/"+nodeA+channelQuery, "ssmmessages", nil, nil)
	key := make([]byte, 16)
	_, _ = rand.Read(key)
	for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": base64.StdEncoding.EncodeToString(key)} {
		r.Header.Set(k, v)
	}
	conn, err := net.Dial("tcp", l.srv.Listener.Addr().String()) //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := r.Write(conn); err != nil {
		t.Fatal(err)
	}
	hello := a.hello(a.create())
	head := []byte{0x81, 0xfe, byte(len(hello) >> 8), byte(len(hello)), 0, 0, 0, 0} // text, masked with zeros
	if _, err := conn.Write(append(head, hello...)); err != nil {
		t.Fatal(err)
	}
	l.awaitUp(nodeA, true)
	if _, err := conn.Write([]byte{0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Write(make([]byte, frame.MaxSize+1)) // the end may come in the middle
	l.awaitUp(nodeA, false)
}

// TestForeignReply: a reply for another node's command is neither kept nor
// acknowledged; one for a command that is not known is not kept.
func TestForeignReply(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	id := l.send(nodeB)
	a := l.agent(nodeA)
	a.connect()
	foreign := "aws.ssm." + id + "." + nodeB
	a.write(mgs.TypeAgentJobReply, uuid.New(), mgs.AgentJobReply{JobId: foreign, Content: result("Success"), Topic: mgs.TopicSendCommand})
	a.write(mgs.TypeAgentJobAck, uuid.New(), mgs.AgentJobAck{JobId: foreign, StatusCode: "200"})
	a.reply("aws.ssm."+id+"."+nodeA, result("Success")) // unknown here: acknowledged, so that it is not sent for ever
	a.reply("nonsense", result("Success"))
	own := l.send(nodeA)
	j, _ := a.job()
	a.reply(j.JobId, "not JSON")
	a.reply(j.JobId, `{"documentStatus":"Splendid"}`)
	l.wantDetails(own, nodeA, "Pending")
	l.wantDetails(id, nodeB, "Pending")
	if !l.log.comes("is for "+nodeB) || !l.log.comes("no command") {
		t.Error("the log does not tell of it")
	}
	for _, tc := range []struct {
		op   string
		in   any
		code string
	}{
		{mds.OpSendReply, mds.SendReplyInput{MessageId: foreign, Payload: result("Success")}, "AuthorizationFailureException"},
		{mds.OpAcknowledgeMessage, mds.AcknowledgeMessageInput{MessageId: foreign}, "AuthorizationFailureException"},
		{mds.OpDeleteMessage, mds.DeleteMessageInput{MessageId: foreign}, "AuthorizationFailureException"},
		{mds.OpFailMessage, mds.FailMessageInput{MessageId: foreign}, "AuthorizationFailureException"},
		{mds.OpSendReply, mds.SendReplyInput{MessageId: "aws.ssm." + id + "." + nodeA, Payload: result("Success")}, "InvalidMessageIdException"},
		{mds.OpAcknowledgeMessage, mds.AcknowledgeMessageInput{MessageId: "x"}, "InvalidMessageIdException"},
		{mds.OpSendReply, mds.SendReplyInput{MessageId: j.JobId, Payload: "x"}, "ValidationException"},
		{mds.OpSendReply, mds.SendReplyInput{MessageId: j.JobId, Payload: "{}"}, "ValidationException"},
		{mds.OpGetMessages, mds.GetMessagesInput{Destination: nodeB, MessagesRequestId: "x"}, "AuthorizationFailureException"},
		{mds.OpGetMessages, mds.GetMessagesInput{Destination: "../x"}, "InvalidDestinationException"},
		{mds.OpGetEndpoint, mds.GetEndpointInput{Destination: nodeB}, "AuthorizationFailureException"},
		{mds.OpGetEndpoint, mds.GetEndpointInput{Destination: nodeA}, "UnsupportedMessageOperationException"},
	} {
		status, body, err := a.mds(t.Context(), tc.op, tc.in)
		if err != nil || status != http.StatusBadRequest || !strings.Contains(body, tc.code) {
			t.Errorf("%s %+v: %d %s %v, want %s", tc.op, tc.in, status, body, err, tc.code)
		}
	}
	l.wantDetails(id, nodeB, "Pending")
}

func TestNodesOnly(t *testing.T) {
	t.Parallel()
	for name, op := range newLab(t).gw.Ops() {
		if len(op.Allow) != 1 || op.Allow[0] != api.Node {
			t.Errorf("%s is open to %v", name, op.Allow)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	first := l.gw.tokens.issue(nodeA)
	for range maxTokens {
		l.gw.tokens.issue(nodeA)
	}
	if n := l.gw.tokens.order.Len(); n != maxTokens || len(l.gw.tokens.byKey) != n {
		t.Errorf("%d and %d tokens are kept, want %d", n, len(l.gw.tokens.byKey), maxTokens)
	}
	if l.gw.tokens.redeem(first, nodeA) {
		t.Error("the oldest token is still good")
	}
	l.clock.Advance(tokenLife)
	last := l.gw.tokens.issue(nodeA)
	if n := l.gw.tokens.order.Len(); n != 1 {
		t.Errorf("%d tokens are kept, want the last", n)
	}
	if !l.gw.tokens.redeem(last, nodeA) || l.gw.tokens.redeem(last, nodeA) {
		t.Error("a token is good once")
	}
}
