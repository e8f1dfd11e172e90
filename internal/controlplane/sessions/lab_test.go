package sessions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/documents"
	"ssmagent/internal/controlplane/nodes"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

const (
	nodeA = "mi-0a1b2c3d4e5f60718"
	nodeB = "mi-0ffffffffffffffff"
)

var (
	began = time.Date(2025, 3, 14, 9, 30, 0, 0, time.UTC)
	ada   = api.Caller{Kind: api.Operator, ARN: "arn:aws:iam::000000000000:user/ada"}
	eve   = api.Caller{Kind: api.Operator, ARN: "arn:aws:iam::000000000000:user/eve"}
)

// lab is the service on a store, with a fake clock and fakes of its rims.
type lab struct {
	*Service
	t     *testing.T
	clock *clock.Fake
	path  string
	docs  *documents.Service
	stop  context.CancelFunc
	wait  sync.WaitGroup

	mu     sync.Mutex
	down   map[string]bool // nodes without a control channel
	fails  error           // of every push
	pushes chan message
	ends   chan string // "terminate <id>: <text>" and "finish <id>: <text>"
	sides  [2]bool
}

type message struct {
	node, kind, id string
	payload        []byte
}

func (l *lab) Connected(node string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.down[node]
}

func (l *lab) Push(_ context.Context, node, kind string, payload []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails != nil {
		return l.fails
	}
	m := message{node: node, kind: kind, payload: payload}
	var id struct{ TaskId, SessionId string }
	if err := json.Unmarshal(payload, &id); err != nil {
		l.t.Error(err)
	}
	m.id = id.TaskId + id.SessionId
	l.pushes <- m
	return nil
}

func (l *lab) Sides(string) (agent, client bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sides[0], l.sides[1]
}

func (l *lab) Terminate(id, text string) bool {
	l.ends <- "terminate " + id + ": " + text
	agent, _ := l.Sides(id)
	return agent
}

func (l *lab) Finish(id, text string) { l.ends <- "finish " + id + ": " + text }

func (l *lab) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, clock: clock.NewFake(began), path: filepath.Join(t.TempDir(), "store"), down: map[string]bool{},
		pushes: make(chan message, 4096), ends: make(chan string, 4096)}
	l.up()
	t.Cleanup(l.end)
	l.update(func(tx *store.Tx) error {
		for _, n := range []nodes.Node{{ID: nodeA, Name: "web"}, {ID: nodeB, Name: "db", Info: ssm.UpdateInstanceInformationInput{ComputerName: "DB-1.example"}}} {
			if err := nodes.Nodes.Put(tx, n.ID, n); err != nil {
				return err
			}
		}
		return nil
	})
	return l
}

func (l *lab) update(fn func(*store.Tx) error) {
	l.t.Helper()
	if err := l.db.Update(fn); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) up() {
	l.t.Helper()
	db, err := store.Open(l.path)
	if err != nil {
		l.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if l.docs, err = documents.New(documents.Options{DB: db, Clock: l.clock, Log: log, Account: "000000000000"}); err != nil {
		l.t.Fatal(err)
	}
	if l.Service, err = New(Config{DB: db, Documents: l.docs, Clock: l.clock, Log: log}); err != nil {
		l.t.Fatal(err)
	}
	l.SetPusher(l)
	l.SetChannels(l)
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	svc := l.Service
	l.wait.Go(func() {
		if err := svc.Run(ctx); err != nil {
			l.t.Error(err)
		}
	})
}

func (l *lab) end() {
	l.stop()
	l.wait.Wait()
	if err := l.db.Close(); err != nil {
		l.t.Error(err)
	}
}

func (l *lab) restart() {
	l.end()
	l.up()
}

// document makes a session document.
func (l *lab) document(name, content string) {
	l.t.Helper()
	body, err := json.Marshal(ssm.CreateDocumentInput{Name: name, Content: content, DocumentType: "Session"})
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := l.docs.Ops()["AmazonSSM.CreateDocument"].Handle(context.Background(), ada, body); err != nil {
		l.t.Fatal(err)
	}
}

// invoke makes an operation as it comes over the wire.
func invoke[Out any](l *lab, c api.Caller, op, body string) (out Out, err error) {
	v, err := l.Ops()["AmazonSSM."+op].Handle(WithOrigin(context.Background(), "ws://plane.example:8080"), c, []byte(body))
	if err != nil {
		return out, err
	}
	return v.(Out), nil
}

func (l *lab) startWith(c api.Caller, body string) ssm.SessionOutput {
	l.t.Helper()
	out, err := invoke[ssm.SessionOutput](l, c, "StartSession", body)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

func (l *lab) start() ssm.SessionOutput {
	l.t.Helper()
	return l.startWith(ada, `{"Target":"`+nodeA+`"}`)
}

// open starts a session and has its agent come.
func (l *lab) open(body string) (id string, a Admission) {
	l.t.Helper()
	id = l.startWith(ada, body).SessionId
	token, err := l.AgentToken(id, nodeA)
	if err != nil {
		l.t.Fatal(err)
	}
	if a, err = l.Admit(id, nodeA, token); err != nil {
		l.t.Fatal(err)
	}
	<-l.pushes
	return id, a
}

func (l *lab) list(state string, filters ...string) []ssm.Session {
	l.t.Helper()
	in := ssm.DescribeSessionsInput{State: state}
	for i := 0; i < len(filters); i += 2 {
		in.Filters = append(in.Filters, ssm.SessionFilter{Key: filters[i], Value: filters[i+1]})
	}
	out, err := l.DescribeSessions(context.Background(), ada, in)
	if err != nil {
		l.t.Fatal(err)
	}
	return out.Sessions
}

func (l *lab) session(id string) ssm.Session {
	l.t.Helper()
	for _, s := range append(l.list(ssm.SessionsActive, "SessionId", id), l.list(ssm.SessionsHistory, "SessionId", id)...) {
		return s
	}
	l.t.Fatalf("session %s is in no list", id)
	return ssm.Session{}
}

// after moves the clock when the watch has come to rest.
func (l *lab) after(d time.Duration) {
	l.t.Helper()
	if err := l.clock.Await(l.t.Context(), 2); err != nil {
		l.t.Fatal(err)
	}
	l.clock.Advance(d)
}

func code(err error) string {
	var e *api.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return fmt.Sprint(err)
}
