package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/coder/websocket"
	"github.com/google/uuid"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/auth"
	"ssmagent/internal/controlplane/commands"
	"ssmagent/internal/controlplane/nodes"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/sigv4"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mds"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/wire/ssm"
)

const (
	nodeA  = "mi-0a1b2c3d4e5f60718"
	nodeB  = "mi-0ffffffffffffffff"
	region = "eu-west-1"
)

var start = time.Date(2025, 3, 14, 9, 30, 0, 125e6, time.UTC)

// worked holds the exchanges of the protocol reference's worked examples.
func worked(t *testing.T) map[string]json.RawMessage {
	t.Helper()
	b, err := os.ReadFile("testdata/worked.json")
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// dial is a clock that tells of the timers it makes.
type dial struct {
	*clock.Fake
	made chan time.Duration
}

func (d dial) NewTimer(after time.Duration) clock.Timer {
	t := d.Fake.NewTimer(after)
	d.tell(after)
	return dialTimer{t, d}
}

func (d dial) tell(after time.Duration) {
	select {
	case d.made <- after:
	default:
	}
}

type dialTimer struct {
	clock.Timer
	d dial
}

func (t dialTimer) Reset(after time.Duration) bool {
	active := t.Timer.Reset(after)
	t.d.tell(after)
	return active
}

// lab is a control plane of commands and gateway behind a real listener.
type lab struct {
	t     *testing.T
	clock dial
	db    *store.DB
	svc   *commands.Service
	gw    *Gateway
	srv   *httptest.Server
	issue func(id string, life time.Duration) (ssm.RequestManagedInstanceRoleTokenOutput, error)
	ids   []string
	path  string
	doc   []byte
	log   *logged
	stop  context.CancelFunc
}

type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), s)
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, clock: dial{clock.NewFake(start), make(chan time.Duration, 4096)}, path: filepath.Join(t.TempDir(), "store"), doc: worked(t)["document"], log: &logged{}}
	l.up()
	t.Cleanup(l.down)
	err := l.db.Update(func(tx *store.Tx) error {
		for _, id := range []string{nodeA, nodeB} {
			if err := nodes.Nodes.Put(tx, id, nodes.Node{ID: id}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Resolve implements commands.Documents.
func (l *lab) Resolve(*store.Tx, string, string) (commands.Document, error) {
	return commands.Document{Name: "AWS-RunShellScript", Version: "1", Type: "Command", Content: l.doc}, nil
}

func (l *lab) newID() string {
	if len(l.ids) == 0 {
		return uuid.NewString()
	}
	id := l.ids[0]
	l.ids = l.ids[1:]
	return id
}

func (l *lab) up() {
	l.t.Helper()
	db, err := store.Open(l.path)
	if err != nil {
		l.t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(l.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	svc, err := commands.New(commands.Config{DB: db, Documents: l, Clock: l.clock, Log: log, Region: region, NewID: l.newID})
	if err != nil {
		l.t.Fatal(err)
	}
	issuer, err := auth.NewIssuer(db, l.clock)
	if err != nil {
		l.t.Fatal(err)
	}
	verifier := auth.New(auth.Options{Issuer: issuer, Account: "000000000000", Clock: l.clock, PublicKey: func(string) (string, bool, error) { return "", true, nil }})
	l.db, l.svc, l.issue = db, svc, issuer.IssueToken
	l.gw = New(Options{Queue: svc, Clock: l.clock, Log: log, Verify: verifier.Caller})
	mux := http.NewServeMux()
	mux.Handle("/v1/", l.gw.Handler())
	mux.Handle("/", &api.Dispatcher{Ops: api.Merge(svc.Ops(), l.gw.Ops()), Verify: verifier.Caller, Log: log})
	ctx, cancel := context.WithCancel(context.Background())
	l.srv = httptest.NewUnstartedServer(mux)
	l.srv.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	l.srv.EnableHTTP2 = true
	l.srv.Start()
	l.stop = cancel
}

// down ends the control plane as a kill would: connections break.
func (l *lab) down() {
	l.stop()
	l.srv.CloseClientConnections()
	l.srv.Close()
	if err := l.db.Close(); err != nil {
		l.t.Error(err)
	}
}

// send queues the worked example's command for a node.
func (l *lab) send(node string) string {
	l.t.Helper()
	out, err := l.svc.SendCommand(l.t.Context(), api.Caller{}, ssm.SendCommandInput{
		DocumentName: "AWS-RunShellScript", InstanceIds: []string{node}, OutputS3BucketName: "results", OutputS3KeyPrefix: "lab/out",
		Parameters: map[string][]string{"commands": {"echo hello", "echo oops 1>&2"}},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return out.Command.CommandId
}

func (l *lab) cancel(id string) {
	l.t.Helper()
	if _, err := l.svc.CancelCommand(l.t.Context(), api.Caller{}, ssm.CancelCommandInput{CommandId: id}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) get(id, node string) ssm.GetCommandInvocationOutput {
	l.t.Helper()
	out, err := l.svc.GetCommandInvocation(l.t.Context(), api.Caller{}, ssm.GetCommandInvocationInput{CommandId: id, InstanceId: node})
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

func (l *lab) wantDetails(id, node, want string) {
	l.t.Helper()
	out, err := l.svc.ListCommandInvocations(l.t.Context(), api.Caller{}, ssm.ListCommandInvocationsInput{CommandId: id, InstanceId: node})
	if err != nil || len(out.CommandInvocations) != 1 {
		l.t.Fatal(err, out)
	}
	if got := out.CommandInvocations[0].StatusDetails; got != want {
		l.t.Errorf("StatusDetails is %s, want %s", got, want)
	}
}

// awaitTimer waits until something has set a timer for d.
func (l *lab) awaitTimer(d time.Duration) {
	l.t.Helper()
	for {
		select {
		case made := <-l.clock.made:
			if made == d {
				return
			}
		case <-time.After(10 * time.Second):
			l.t.Fatalf("nobody waits for %s", d)
		}
	}
}

// awaitUp waits until the node's channel is up, or down.
func (l *lab) awaitUp(node string, want bool) {
	l.t.Helper()
	for {
		up, changed := l.gw.hub.state(node)
		if up == want {
			return
		}
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			l.t.Fatalf("channel of %s: up is %v", node, up)
		}
	}
}

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
	return &double{lab: l, node: node, creds: aws.Credentials{AccessKeyID: c.AccessKeyId, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}}
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
	return r.TokenValue
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
