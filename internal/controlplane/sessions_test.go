package controlplane

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/coder/websocket"
	"github.com/google/uuid"

	"ssmagent/internal/secret"
	"ssmagent/internal/sigv4"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// gatewayRequest is a request to the message gateway, signed with c if that
// has a key.
func (p *plane) gatewayRequest(method, path, body string, c aws.Credentials) *http.Request {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.AccessKeyID != "" {
		if err := sigv4.Sign(p.t.Context(), r, []byte(body), c, "ssmmessages", "eu-west-1", p.clock.Now()); err != nil {
			p.t.Fatal(err)
		}
	}
	return r
}

// channelToken makes a control or data channel.
func (p *plane) channelToken(path string, c aws.Credentials) string {
	p.t.Helper()
	resp, err := http.DefaultClient.Do(p.gatewayRequest(http.MethodPost, path, `{"MessageSchemaVersion":"1.0","RequestId":"`+uuid.NewString()+`","ClientId":""}`, c))
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	out, derr := mgs.DecodeCreateChannelResponse(b)
	if err != nil || derr != nil || resp.StatusCode != http.StatusCreated {
		p.t.Fatalf("%s: %d %s", path, resp.StatusCode, b)
	}
	return string(out.TokenValue)
}

// socket opens a websocket and says hello.
func (p *plane) socket(path string, c aws.Credentials, hello any) wsConn {
	p.t.Helper()
	r := p.gatewayRequest(http.MethodGet, path, "", c)
	conn, _, err := websocket.Dial(p.t.Context(), strings.Replace(p.url, "http", "ws", 1)+path, &websocket.DialOptions{HTTPHeader: r.Header})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.CloseNow() })
	b, err := json.Marshal(hello)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := conn.Write(p.t.Context(), websocket.MessageText, b); err != nil {
		p.t.Fatal(err)
	}
	conn.SetReadLimit(frame.MaxSize)
	return wsConn{conn, p.t}
}

type wsConn struct {
	*websocket.Conn
	t *testing.T
}

// frame is the next frame of the type; others are skipped.
func (c wsConn) frame(kind string) frame.Message {
	c.t.Helper()
	for {
		_, b, err := c.Read(c.t.Context())
		if err != nil {
			c.t.Fatalf("waiting for %s: %v", kind, err)
		}
		if m, err := frame.Unmarshal(b); err == nil && m.Type == kind {
			return m
		}
	}
}

func (c wsConn) send(kind string, sequence int64, payload any) {
	c.t.Helper()
	b, ok := payload.([]byte)
	if !ok {
		var err error
		if b, err = json.Marshal(payload); err != nil {
			c.t.Fatal(err)
		}
	}
	m := frame.New(kind, time.Now(), b)
	m.Sequence = sequence
	if kind != mgs.TypeAgentTaskComplete {
		m.PayloadType = mgs.PayloadOutput
	}
	raw, err := m.Marshal()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.Write(context.Background(), websocket.MessageBinary, raw); err != nil {
		c.t.Fatal(err)
	}
}

// TestSession takes a session through the whole control plane, with the SDK's
// client, real signatures and two plugins: one that signs, one that does not.
func TestSession(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.register(&ssm.CreateActivationInput{DefaultInstanceName: aws.String("web")})
	sdk := p.sdk()
	if _, err := sdk.StartSession(t.Context(), &ssm.StartSessionInput{Target: &n.id}); code(err) != "TargetNotConnected" {
		t.Fatal(err)
	}
	path := "/v1/control-channel/" + n.id
	control := p.socket(path+"?role=subscribe&stream=input", n.Credentials, mgs.OpenControlChannel{MessageSchemaVersion: "1.0", RequestId: uuid.NewString(), TokenValue: secret.Text(p.channelToken(path, n.Credentials)), AgentVersion: "3.3.0.0", PlatformType: "linux"})
	for range 500 { // the channel's token is looked at when its first message is read
		if s, err := sdk.GetConnectionStatus(t.Context(), &ssm.GetConnectionStatusInput{Target: &n.id}); err != nil || s.Status == types.ConnectionStatusConnected {
			break
		}
	}
	for _, signs := range []bool{true, false} {
		out, err := sdk.StartSession(t.Context(), &ssm.StartSessionInput{Target: aws.String("web"), Reason: aws.String("look")})
		if err != nil {
			t.Fatal(err)
		}
		task, err := mgs.Decode[mgs.AgentTask](control.frame(mgs.TypeInteractiveShell).Payload)
		if err != nil {
			t.Fatal(err)
		}
		order, err := task.Session()
		if err != nil || order.SessionId != *out.SessionId || !strings.HasPrefix(order.SessionId, "default-") {
			t.Fatalf("%+v %v", order, err)
		}
		data := "/v1/data-channel/" + order.SessionId
		agent := p.socket(data+"?role=publish_subscribe", n.Credentials, mgs.OpenDataChannel{MessageSchemaVersion: "1.0", RequestId: uuid.NewString(), TokenValue: secret.Text(p.channelToken(data, n.Credentials)), ClientInstanceId: n.id})
		at, ok := strings.CutPrefix(*out.StreamUrl, strings.Replace(p.url, "http", "ws", 1))
		if !ok || at != data+"?role=publish_subscribe" {
			t.Fatalf("StreamUrl %s, the plane is at %s", *out.StreamUrl, p.url)
		}
		var by aws.Credentials
		if signs {
			by = p.operator()
		}
		hello := mgs.OpenDataChannel{MessageSchemaVersion: "1.0", RequestId: uuid.NewString(), TokenValue: secret.Text(*out.TokenValue), ClientId: uuid.NewString(), ClientVersion: "1.3.0.0"}
		client := p.socket(at, by, hello)
		agent.send(mgs.TypeOutputStreamData, 0, []byte("$ "))
		if m := client.frame(mgs.TypeOutputStreamData); string(m.Payload) != "$ " {
			t.Errorf("%+v", m)
		}
		client.send(mgs.TypeInputStreamData, 0, []byte("exit\r"))
		if m := agent.frame(mgs.TypeInputStreamData); string(m.Payload) != "exit\r" {
			t.Errorf("%+v", m)
		}
		_ = client.CloseNow()
		again, err := sdk.ResumeSession(t.Context(), &ssm.ResumeSessionInput{SessionId: out.SessionId})
		if err != nil {
			t.Fatal(err)
		}
		hello.TokenValue = secret.Text(*again.TokenValue)
		client = p.socket(at, by, hello)
		agent.send(mgs.TypeOutputStreamData, 1, []byte("logout"))
		_ = agent.Close(websocket.StatusNormalClosure, "")
		control.send(mgs.TypeAgentTaskComplete, 0, mgs.AgentTaskComplete{SchemaVersion: 1, TaskId: order.SessionId, Topic: mgs.TypeAgentTaskComplete, FinalTaskStatus: "Success", InstanceId: n.id, Output: "bye"})
		control.frame(mgs.TypeAgentTaskAcknowledge)
		if m := client.frame(mgs.TypeOutputStreamData); string(m.Payload) != "logout" {
			t.Errorf("%+v", m)
		}
		if c, err := mgs.Decode[mgs.ChannelClosed](client.frame(mgs.TypeChannelClosed).Payload); err != nil || c.Output != "bye" {
			t.Errorf("%+v %v", c, err)
		}
		past, err := sdk.DescribeSessions(t.Context(), &ssm.DescribeSessionsInput{State: types.SessionStateHistory, MaxResults: aws.Int32(1)})
		if err != nil || len(past.Sessions) != 1 || *past.Sessions[0].SessionId != order.SessionId || past.Sessions[0].Status != types.SessionStatusTerminated || past.Sessions[0].EndDate == nil {
			t.Errorf("%+v %v", past, err)
		}
	}
}
