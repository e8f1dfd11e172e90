package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/coder/websocket"
	"github.com/google/uuid"

	"ssmagent/internal/sigv4"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mds"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/wire/ssm"
)

// double is a stock agent's client side, by hand.
type double struct {
	*lab
	node  string
	creds aws.Credentials
	conn  *websocket.Conn
}

func (l *lab) agent(node string) *double {
	l.t.Helper()
	c, err := l.issue(node, 24*time.Hour)
	if err != nil {
		l.t.Fatal(err)
	}
	return &double{lab: l, node: node, creds: aws.Credentials{AccessKeyID: c.AccessKeyId, SecretAccessKey: string(c.SecretAccessKey), SessionToken: string(c.SessionToken)}}
}

// request is a signed request.
func (a *double) request(ctx context.Context, method, path, service string, body []byte, header map[string]string) *http.Request {
	a.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, a.srv.URL+path, bytes.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	if err := sigv4.Sign(ctx, r, body, a.creds, service, region, a.clock.Now()); err != nil {
		a.t.Fatal(err)
	}
	return r
}

// mds makes a call of ec2messages.
func (a *double) mds(ctx context.Context, op string, in any) (int, string, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return 0, "", err
	}
	r := a.request(ctx, http.MethodPost, "/", "ec2messages", body, map[string]string{
		"Content-Type": ssm.ContentType, "X-Amz-Target": mds.TargetPrefix + "." + op,
	})
	return a.do(r)
}

func (a *double) do(r *http.Request) (int, string, error) {
	resp, err := a.srv.Client().Do(r)
	if err != nil {
		return 0, "", err
	}
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), errors.Join(err, resp.Body.Close())
}

// call makes a call that must succeed.
func (a *double) call(op string, in any) string {
	a.t.Helper()
	status, body, err := a.mds(a.t.Context(), op, in)
	if err != nil || status != http.StatusOK {
		a.t.Fatalf("%s: status %d, %v: %s", op, status, err, body)
	}
	return body
}

// poll gets messages that must be there.
func (a *double) poll() []mds.Message {
	a.t.Helper()
	var out mds.GetMessagesOutput
	if err := json.Unmarshal([]byte(a.call(mds.OpGetMessages, mds.GetMessagesInput{Destination: a.node, MessagesRequestId: uuid.NewString(), VisibilityTimeoutInSeconds: 10})), &out); err != nil {
		a.t.Fatal(err)
	}
	return out.Messages
}

// create makes a control channel and returns its token.
func (a *double) create() string {
	a.t.Helper()
	status, body := a.createAt("/v1/control-channel/"+a.node, worked(a.t)["createControlChannel"])
	if status != http.StatusCreated {
		a.t.Fatalf("create: status %d: %s", status, body)
	}
	r, err := mgs.DecodeCreateChannelResponse([]byte(body))
	if err != nil {
		a.t.Fatal(err)
	}
	return string(r.TokenValue)
}

func (a *double) createAt(path string, body []byte) (int, string) {
	a.t.Helper()
	status, text, err := a.do(a.request(a.t.Context(), http.MethodPost, path, "ssmmessages", body, map[string]string{"Content-Type": "application/json"}))
	if err != nil {
		a.t.Fatal(err)
	}
	return status, text
}

const channelQuery = "?role=subscribe&stream=input"

// upgrade opens the websocket, without the first message.
func (a *double) upgrade(o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	path := "/v1/control-channel/" + a.node + channelQuery
	r := a.request(a.t.Context(), http.MethodGet, path, "ssmmessages", nil, nil)
	if o == nil {
		o = &websocket.DialOptions{}
	}
	o.HTTPHeader, o.HTTPClient = r.Header, a.srv.Client()
	return websocket.Dial(a.t.Context(), a.srv.URL+path, o) //nolint:bodyclose // the library says not to
}

// hello is the first message.
func (a *double) hello(token string) []byte {
	a.t.Helper()
	var m map[string]any
	if err := json.Unmarshal(worked(a.t)["openControlChannel"], &m); err != nil {
		a.t.Fatal(err)
	}
	m["TokenValue"] = token
	b, err := json.Marshal(m)
	if err != nil {
		a.t.Fatal(err)
	}
	return b
}

// connect opens the whole channel.
func (a *double) connect() { a.connectWith(nil) }

func (a *double) connectWith(o *websocket.DialOptions) {
	a.t.Helper()
	conn, _, err := a.upgrade(o)
	if err != nil {
		a.t.Fatal(err)
	}
	conn.SetReadLimit(-1)
	if err := conn.Write(a.t.Context(), websocket.MessageText, a.hello(a.create())); err != nil {
		a.t.Fatal(err)
	}
	a.conn = conn
	a.t.Cleanup(func() { _ = conn.CloseNow() })
	a.awaitUp(a.node, true)
}

// read returns the next frame.
func (a *double) read() frame.Message {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 10*time.Second)
	defer cancel()
	kind, b, err := a.conn.Read(ctx)
	if err != nil {
		a.t.Fatal(err)
	}
	m, err := frame.Unmarshal(b)
	if err != nil || kind != websocket.MessageBinary || !m.DigestOK {
		a.t.Fatalf("frame: %v, kind %v, digest %v", err, kind, m.DigestOK)
	}
	return m
}

// readAs reads a frame of type t.
func readAs[T any](a *double, t string) (T, frame.Message) {
	a.t.Helper()
	m := a.read()
	if m.Type != t {
		a.t.Fatalf("a frame of type %s came, want %s: %s", m.Type, t, m.Payload)
	}
	v, err := mgs.Decode[T](m.Payload)
	if err != nil {
		a.t.Fatal(err)
	}
	return v, m
}

func (a *double) job() (mgs.AgentJob, frame.Message) {
	a.t.Helper()
	return readAs[mgs.AgentJob](a, mgs.TypeAgentJob)
}

// write sends a frame with a payload.
func (a *double) write(t string, id uuid.UUID, payload any) {
	a.t.Helper()
	p, err := json.Marshal(payload)
	if err != nil {
		a.t.Fatal(err)
	}
	a.writeRaw(frame.Message{Type: t, Created: a.clock.Now(), ID: id, Payload: p})
}

func (a *double) writeRaw(m frame.Message) {
	a.t.Helper()
	b, err := m.Marshal()
	if err != nil {
		a.t.Fatal(err)
	}
	if err := a.conn.Write(a.t.Context(), websocket.MessageBinary, b); err != nil {
		a.t.Fatal(err)
	}
}

func (a *double) ack(j mgs.AgentJob, m frame.Message, code mgs.AckCode) {
	a.t.Helper()
	a.write(mgs.TypeAgentJobAck, uuid.New(), mgs.AgentJobAck{JobId: j.JobId, AcknowledgedMessageId: m.ID.String(), CreatedDate: mgs.FormatTime(m.Created), StatusCode: code.Code, ErrorMessage: code.Message})
}

// reply sends a reply and waits for its acknowledgement, which comes after
// all that was sent about the job before.
func (a *double) reply(job, content string) {
	a.t.Helper()
	id := uuid.New()
	a.write(mgs.TypeAgentJobReply, id, mgs.AgentJobReply{SchemaVersion: 1, JobId: job, Content: content, Topic: mgs.TopicSendCommand})
	ack, _ := readAs[mgs.AgentJobReplyAck](a, mgs.TypeAgentJobReplyAck)
	if ack.AcknowledgedMessageId != id.String() || ack.JobId != job {
		a.t.Fatalf("acknowledged is %+v, want %s", ack, id)
	}
}

const receipt = `{"documentStatus":"InProgress"}`

// result is a last reply with one step.
func result(status string) string {
	return fmt.Sprintf(`{"documentStatus":%q,"runtimeStatus":{"stepOne":{"status":%q,"code":0,"name":"aws:runShellScript","standardOutput":"hello\n"}}}`, status, status)
}

// same compares two JSON texts.
func same(t *testing.T, got, want []byte) {
	t.Helper()
	var g, w any
	if err := errors.Join(json.Unmarshal(got, &g), json.Unmarshal(want, &w)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
