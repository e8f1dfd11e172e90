package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/documents"
	"ssmagent/internal/controlplane/nodes"
	"ssmagent/internal/controlplane/sessions"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/wire/ssm"
)

const (
	nodeA = "mi-0a1b2c3d4e5f60718"
	nodeB = "mi-0ffffffffffffffff"
)

var (
	began    = time.Date(2025, 3, 14, 9, 30, 0, 0, time.UTC)
	operator = api.Caller{Kind: api.Operator, ARN: "arn:aws:iam::000000000000:user/ada"}
)

// dial is a clock that tells of the timers that are set.
type dial struct {
	*clock.Fake
	set chan time.Duration
}

func (d dial) NewTimer(after time.Duration) clock.Timer {
	d.tell(after)
	return dialTimer{d.Fake.NewTimer(after), d}
}

func (d dial) tell(after time.Duration) {
	select {
	case d.set <- after:
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

// lab is a control plane of sessions and relay behind a real listener. Nodes
// are told by a header.
type lab struct {
	t        testing.TB
	clock    clock.Clock
	path     string
	db       *store.DB
	sessions *sessions.Service
	relay    *Relay
	srv      *httptest.Server
	stop     context.CancelFunc
	wait     sync.WaitGroup
	pushed   chan push
	log      *logged
	narrow   atomic.Bool // new connections get small buffers
}

type push struct {
	node, kind string
	payload    []byte
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

func (l *logged) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

// Push implements sessions.Pusher.
func (l *lab) Push(_ context.Context, node, kind string, payload []byte) error {
	l.pushed <- push{node, kind, payload}
	return nil
}

// Connected implements sessions.Pusher.
func (l *lab) Connected(string) bool { return true }

func newLab(t testing.TB, c clock.Clock) *lab {
	t.Helper()
	l := &lab{t: t, clock: c, path: filepath.Join(t.TempDir(), "store"), pushed: make(chan push, 1024), log: &logged{}}
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

// verify tells callers by headers.
func verify(r *http.Request, _ []byte) (api.Caller, *api.Error) {
	switch who := r.Header.Get("Test-Caller"); {
	case strings.HasPrefix(who, "mi-"):
		return api.Caller{Kind: api.Node, InstanceID: who, ARN: who}, nil
	case who == "operator":
		return operator, nil
	case who == "forged":
		return api.Caller{}, api.Errorf("InvalidSignatureException", "the signature does not fit")
	}
	return api.Caller{Kind: api.Anonymous}, nil
}

func (l *lab) up() {
	l.t.Helper()
	db, err := store.Open(l.path)
	if err != nil {
		l.t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(l.log, nil))
	docs, err := documents.New(documents.Options{DB: db, Clock: l.clock, Log: log, Account: "000000000000"})
	if err != nil {
		l.t.Fatal(err)
	}
	svc, err := sessions.New(sessions.Config{DB: db, Documents: docs, Clock: l.clock, Log: log})
	if err != nil {
		l.t.Fatal(err)
	}
	l.db, l.sessions = db, svc
	l.relay = New(Options{Sessions: svc, Clock: l.clock, Log: log, Verify: verify})
	svc.SetChannels(l.relay)
	svc.SetPusher(l)
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	for _, run := range []func(context.Context) error{svc.Run, l.relay.Run} {
		l.wait.Go(func() {
			if err := run(ctx); err != nil {
				l.t.Error(err)
			}
		})
	}
	l.srv = httptest.NewUnstartedServer(l.relay.Handler())
	l.srv.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if tcp, ok := c.(*net.TCPConn); ok && l.narrow.Load() {
			_ = tcp.SetWriteBuffer(64 << 10)
		}
		return ctx
	}
	l.srv.Start()
}

// down ends the control plane; its peers see connections break.
func (l *lab) down() {
	l.stop()
	l.wait.Wait()
	l.srv.CloseClientConnections()
	l.srv.Close()
	if err := l.db.Close(); err != nil {
		l.t.Error(err)
	}
}

func (l *lab) restart() {
	l.down()
	l.up()
}

// advance moves a fake clock.
func (l *lab) advance(d time.Duration) { l.clock.(dial).Advance(d) }

// awaitTimer waits until somebody waits for d.
func (l *lab) awaitTimer(d time.Duration) {
	l.t.Helper()
	for {
		select {
		case got := <-l.clock.(dial).set:
			if got == d {
				return
			}
		case <-l.t.Context().Done():
			l.t.Fatalf("nobody waits for %s", d)
		}
	}
}

// start opens a session on nodeA; its order must have been pushed.
func (l *lab) start() ssm.SessionOutput {
	l.t.Helper()
	out, err := l.sessions.StartSession(sessions.WithOrigin(context.Background(), l.ws()), operator, ssm.StartSessionInput{Target: nodeA})
	if err != nil {
		l.t.Fatal(err)
	}
	p := <-l.pushed
	task, err := mgs.Decode[mgs.AgentTask](p.payload)
	if err != nil || p.kind != mgs.TypeInteractiveShell || p.node != nodeA {
		l.t.Fatalf("pushed %s to %s: %v", p.kind, p.node, err)
	}
	order, err := task.Session()
	if err != nil || order.SessionId != out.SessionId {
		l.t.Fatalf("order %+v: %v", order, err)
	}
	return out
}

func (l *lab) ws() string { return "ws" + strings.TrimPrefix(l.srv.URL, "http") }

func (l *lab) resume(id string) string {
	l.t.Helper()
	out, err := l.sessions.ResumeSession(context.Background(), operator, ssm.ResumeSessionInput{SessionId: id})
	if err != nil {
		l.t.Fatal(err)
	}
	return string(out.TokenValue)
}

func (l *lab) terminate(id string) {
	l.t.Helper()
	if _, err := l.sessions.TerminateSession(context.Background(), operator, ssm.TerminateSessionInput{SessionId: id}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) status(id string) string {
	l.t.Helper()
	for _, state := range []string{ssm.SessionsActive, ssm.SessionsHistory} {
		out, err := l.sessions.DescribeSessions(context.Background(), operator, ssm.DescribeSessionsInput{State: state,
			Filters: []ssm.SessionFilter{{Key: "SessionId", Value: id}}})
		if err != nil {
			l.t.Fatal(err)
		}
		if len(out.Sessions) == 1 {
			return out.Sessions[0].Status
		}
	}
	l.t.Fatalf("session %s is in no list", id)
	return ""
}

// post makes an agent's data channel.
func (l *lab) post(id, caller, body string) (status int, text string) {
	l.t.Helper()
	r, err := http.NewRequest(http.MethodPost, l.srv.URL+"/v1/data-channel/"+id, strings.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	r.Header.Set("Test-Caller", caller)
	r.Header.Set("Content-Type", "application/json")
	resp, err := l.srv.Client().Do(r)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// createBody is what stock agents post.
const createBody = `{"MessageSchemaVersion":"1.0","RequestId":"dd01e56b-ff48-483e-a508-b5f073f31b16","ClientId":""}`

func (l *lab) agentToken(id string) string {
	l.t.Helper()
	status, text := l.post(id, nodeA, createBody)
	out, err := mgs.DecodeCreateChannelResponse([]byte(text))
	if status != http.StatusCreated || err != nil {
		l.t.Fatalf("%d %s: %v", status, text, err)
	}
	return string(out.TokenValue)
}

func complete(id, status, output string) mgs.AgentTaskComplete {
	return mgs.AgentTaskComplete{SchemaVersion: 1, TaskId: id, Topic: mgs.TypeAgentTaskComplete, FinalTaskStatus: status, InstanceId: nodeA, Output: output, RetryNumber: 1}
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
