package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/auth"
	"ssmagent/internal/controlplane/commands"
	"ssmagent/internal/controlplane/nodes"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

const (
	nodeA  = "mi-0a1b2c3d4e5f60718"
	nodeB  = "mi-0ffffffffffffffff"
	region = "eu-west-1"
)

var start = time.Date(2025, 3, 14, 9, 30, 0, 125e6, time.UTC)

// worked holds the exchanges of worked examples.
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
	// narrow gives new connections small buffers.
	narrow atomic.Bool
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

// comes waits for a line with s: what is refused without an answer shows in
// the log alone.
func (l *logged) comes(s string) bool {
	for limit := time.After(10 * time.Second); !l.has(s); runtime.Gosched() {
		select {
		case <-limit:
			return false
		default:
		}
	}
	return true
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
	l.srv.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if tcp, ok := c.(*net.TCPConn); ok && l.narrow.Load() {
			_ = tcp.SetWriteBuffer(4096)
		}
		return ctx
	}
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
