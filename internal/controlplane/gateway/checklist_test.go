package gateway

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"ssmagent/internal/wire/mds"
	"ssmagent/internal/wire/mgs"
)

// TestChecklist ticks the lines of the stand-in checklists that concern
// commands and the control channel: A is that of the service protocol
// (section 11), G that of the gateway (section 14). Lines about registration,
// tokens, associations, S3 and sessions belong to other packages.
func TestChecklist(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		line string
		run  func(t *testing.T, l *lab)
	}{
		{"A1 one listener, dispatch on the target", func(t *testing.T, l *lab) {
			l.send(nodeA)
			if len(l.agent(nodeA).poll()) != 1 {
				t.Error("no message")
			}
		}},
		{"A1 chunked bodies", chunked},
		{"A2 G1 TLS, HTTP/1.1 on the websocket route", overTLS},
		{"A3 commands without the gateway", func(t *testing.T, l *lab) {
			a := l.agent(nodeA)
			id := l.send(nodeA)
			m := a.poll()[0]
			a.call(mds.OpAcknowledgeMessage, mds.AcknowledgeMessageInput{MessageId: m.MessageId})
			a.call(mds.OpSendReply, mds.SendReplyInput{MessageId: m.MessageId, ReplyId: uuid.NewString(), Payload: result("Success")})
			l.wantDetails(id, nodeA, "Success")
		}},
		{"A6 hold at most 15 s, then an empty list", func(t *testing.T, l *lab) {
			if holdPoll > 15*time.Second {
				t.Errorf("polls are held %s", holdPoll)
			}
			a := l.agent(nodeA)
			out := make(chan string)
			go func() {
				status, body, err := a.mds(t.Context(), mds.OpGetMessages, mds.GetMessagesInput{Destination: nodeA, MessagesRequestId: uuid.NewString()})
				if err != nil || status != http.StatusOK {
					body = "error"
				}
				out <- body
			}()
			l.awaitTimer(holdPoll)
			l.clock.Advance(holdPoll)
			if body := <-out; !strings.Contains(body, `"Messages":[]`) {
				t.Errorf("an empty poll answers %s", body)
			}
		}},
		{"A7 unknown targets", func(t *testing.T, l *lab) {
			status, body, err := l.agent(nodeA).mds(t.Context(), "Foo", struct{}{})
			if err != nil || status != http.StatusBadRequest || !strings.Contains(body, "UnknownOperationException") {
				t.Errorf("%d %s %v", status, body, err)
			}
		}},
		{"A9 G2 201 and XML with a token", func(t *testing.T, l *lab) {
			status, body := l.agent(nodeA).createAt("/v1/control-channel/"+nodeA, worked(t)["createControlChannel"])
			if status != http.StatusCreated || !strings.HasPrefix(body, "<CreateControlChannelResponse><MessageSchemaVersion>1.0</MessageSchemaVersion><TokenValue>") {
				t.Errorf("%d %s", status, body)
			}
		}},
		{"A9 G4 pongs with the ping's payload", pongs},
		{"A9 replies are acknowledged at once", func(t *testing.T, l *lab) {
			a := l.agent(nodeA)
			a.connect()
			l.send(nodeA)
			j, _ := a.job()
			a.reply(j.JobId, receipt) // without an ack before
		}},
		{"A10 pushed again until acknowledged", rePush},
		{"A12 replies in any order, and again", func(t *testing.T, l *lab) {
			a := l.agent(nodeA)
			a.connect()
			id := l.send(nodeA)
			j, _ := a.job()
			for _, r := range []string{result("Success"), receipt, result("Success"), result("Failed")} {
				a.reply(j.JobId, r)
			}
			l.wantDetails(id, nodeA, "Success")
		}},
		{"A12 SuccessAndReboot is not final", func(t *testing.T, l *lab) {
			a := l.agent(nodeA)
			a.connect()
			id := l.send(nodeA)
			j, _ := a.job()
			a.reply(j.JobId, result("SuccessAndReboot"))
			l.wantDetails(id, nodeA, "InProgress")
			a.reply(j.JobId, result("Success"))
			l.wantDetails(id, nodeA, "Success")
		}},
		{"G3 the first message is not answered", func(t *testing.T, l *lab) {
			a := l.agent(nodeA)
			a.connect()
			l.send(nodeA)
			a.job() // is what comes first
		}},
		{"G4 fragments are put together", fragments},
		{"G4 a connection may just end", func(t *testing.T, l *lab) {
			a := l.agent(nodeA)
			a.connect()
			_ = a.conn.CloseNow()
			l.awaitUp(nodeA, false)
		}},
		{"G10 every agent_task_complete is acknowledged", func(t *testing.T, l *lab) {
			a := l.agent(nodeA)
			a.connect()
			id := uuid.New()
			for n := range 3 {
				a.write(mgs.TypeAgentTaskComplete, id, mgs.AgentTaskComplete{SchemaVersion: 1, TaskId: "s-1", Topic: mgs.TypeAgentTaskComplete, FinalTaskStatus: "Success", InstanceId: nodeA, RetryNumber: n + 1})
				got, _ := readAs[mgs.AgentTaskAcknowledge](a, mgs.TypeAgentTaskAcknowledge)
				if got.MessageId != id.String() || got.TaskId != "s-1" || got.SchemaVersion != 1 {
					t.Errorf("acknowledgement: %+v", got)
				}
			}
		}},
	} {
		t.Run(tc.line, func(t *testing.T) {
			t.Parallel()
			tc.run(t, newLab(t))
		})
	}
}

// chunked: the gateway's POST does not sign the length, so its body may come
// in chunks. (The JSON calls of stock agents sign it.)
func chunked(t *testing.T, l *lab) {
	a := l.agent(nodeA)
	r := a.request(t.Context(), http.MethodPost, "/v1/control-channel/"+nodeA, "ssmmessages", worked(t)["createControlChannel"], map[string]string{"Content-Type": "application/json"})
	if strings.Contains(r.Header.Get("Authorization"), "content-length") {
		t.Fatal("the length is signed")
	}
	r.ContentLength, r.GetBody, r.Body = -1, nil, io.NopCloser(r.Body)
	status, text, err := a.do(r)
	if err != nil || status != http.StatusCreated || !strings.Contains(text, "<TokenValue>") {
		t.Errorf("%d %s %v", status, text, err)
	}
}

func overTLS(t *testing.T, l *lab) {
	srv := httptest.NewUnstartedServer(l.srv.Config.Handler)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	plain := l.srv
	defer func() { l.srv = plain }()
	l.srv = srv
	a := l.agent(nodeA)
	token := a.create() // over HTTP/2
	h1 := srv.Client().Transport.(*http.Transport).Clone()
	h1.ForceAttemptHTTP2, h1.TLSNextProto = false, map[string]func(string, *tls.Conn) http.RoundTripper{}
	h1.TLSClientConfig.NextProtos = []string{"http/1.1"}
	path := "/v1/control-channel/" + nodeA + channelQuery
	r := a.request(t.Context(), http.MethodGet, path, "ssmmessages", nil, nil)
	conn, _, err := websocket.Dial(t.Context(), srv.URL+path, &websocket.DialOptions{HTTPClient: &http.Client{Transport: h1}, HTTPHeader: r.Header}) //nolint:bodyclose // the library says not to
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Write(t.Context(), websocket.MessageText, a.hello(token)); err != nil {
		t.Fatal(err)
	}
	l.awaitUp(nodeA, true)
	_ = conn.CloseNow()
}

func pongs(t *testing.T, l *lab) {
	got := make(chan string, 1)
	a := l.agent(nodeA)
	a.connectWith(&websocket.DialOptions{OnPongReceived: func(_ context.Context, p []byte) { got <- string(p) }})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _, _, _ = a.conn.Read(ctx) }()
	if err := a.conn.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	if p := <-got; p != "1" { // the library counts its pings
		t.Errorf("pong with %q", p)
	}
}

func rePush(t *testing.T, l *lab) {
	a := l.agent(nodeA)
	a.connect()
	id := l.send(nodeA)
	first, m1 := a.job()
	for _, after := range []time.Duration{3 * time.Second, 6 * time.Second, 12 * time.Second} {
		l.awaitTimer(after)
		l.clock.Advance(after)
		again, m2 := a.job()
		if again != first || m2.ID == m1.ID {
			t.Errorf("after %s comes %+v, frame %s; first was frame %s", after, again, m2.ID, m1.ID)
		}
	}
	a.ack(first, m1, mgs.AckSuccessful)
	a.reply(first.JobId, receipt)
	l.wantDetails(id, nodeA, "InProgress")
	l.clock.Advance(time.Minute)
	other := l.send(nodeA)
	if j, _ := a.job(); j.JobId != "aws.ssm."+other+"."+nodeA {
		t.Errorf("an acknowledged job is pushed again: %s", j.JobId)
	}
}

func fragments(t *testing.T, l *lab) {
	a := l.agent(nodeA)
	a.connect()
	id := l.send(nodeA)
	j, _ := a.job()
	p, err := json.Marshal(mgs.AgentJobReply{SchemaVersion: 1, JobId: j.JobId, Content: result("Success"), Topic: mgs.TopicSendCommand})
	if err != nil {
		t.Fatal(err)
	}
	m := frameBytes(t, mgs.TypeAgentJobReply, l.clock.Now(), p)
	w, err := a.conn.Writer(t.Context(), websocket.MessageBinary)
	if err != nil {
		t.Fatal(err)
	}
	for len(m) > 0 {
		n := min(50, len(m))
		if _, err := w.Write(m[:n]); err != nil {
			t.Fatal(err)
		}
		m = m[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	readAs[mgs.AgentJobReplyAck](a, mgs.TypeAgentJobReplyAck)
	l.wantDetails(id, nodeA, "Success")
}
