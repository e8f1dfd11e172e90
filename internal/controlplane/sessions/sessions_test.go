package sessions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/documents"
	"ssmagent/internal/controlplane/nodes"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/mgs"
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

func TestStart(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	out := l.startWith(ada, `{"Target":"web","Reason":"ticket 7"}`)
	if !strings.HasPrefix(out.SessionId, "ada-") || len(out.SessionId) != 4+17 || strings.Trim(out.SessionId[4:], "0123456789abcdef") != "" {
		t.Errorf("id %s", out.SessionId)
	}
	if want := "ws://plane.example:8080/v1/data-channel/" + out.SessionId + "?role=publish_subscribe"; out.StreamUrl != want {
		t.Errorf("URL %s", out.StreamUrl)
	}
	if len(out.TokenValue) < 40 || len(out.TokenValue) > 300 {
		t.Errorf("token %q", out.TokenValue)
	}
	m := <-l.pushes
	task, err := mgs.Decode[mgs.AgentTask](m.payload)
	if err != nil || m.node != nodeA || m.kind != mgs.TypeInteractiveShell {
		t.Fatalf("%+v %v", m, err)
	}
	order, err := task.Session()
	if err != nil {
		t.Fatal(err)
	}
	var in mgs.SessionInputs
	if err := json.Unmarshal(order.DocumentContent.Inputs, &in); err != nil {
		t.Errorf("an agent refuses the inputs: %v", err)
	}
	if order.SessionId != out.SessionId || order.DocumentName != Preferences || order.DocumentContent.SessionType != mgs.SessionStandardStream || order.SessionOwner != ada.ARN {
		t.Errorf("%+v", order)
	}
	s := l.session(out.SessionId)
	if s.Target != nodeA || s.Owner != ada.ARN || s.Reason != "ticket 7" || s.Status != ssm.SessionConnecting || !s.StartDate.Equal(began) || s.EndDate != nil || s.AccessType != "Standard" {
		t.Errorf("%+v", s)
	}
}

func TestStartRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.set(func() { l.down[nodeB] = true })
	l.document("Choice", `{"schemaVersion":"1.0","sessionType":"Port","parameters":{"portNumber":{"type":"String","default":"80","allowedPattern":"^[0-9]{1,5}$"},
		"host":{"type":"String","allowedValues":["a","b"]},"word":{"type":"String","default":"","maxChars":3}}}`)
	l.document("Idle", `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"idleSessionTimeout":"61"}}`)
	l.document("Max", `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"maxSessionDuration":0}}`)
	l.document("Bool", `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"cloudWatchStreamingEnabled":"true"}}`)
	l.document("Asks", `{"schemaVersion":"1.0","sessionType":"Standard_Stream","parameters":{"m":{"type":"String","default":"x"}},"inputs":{"idleSessionTimeout":"{{ m }}"}}`)
	l.update(func(tx *store.Tx) error {
		return nodes.Nodes.Put(tx, "mi-0123456789abcdef0", nodes.Node{ID: "mi-0123456789abcdef0", Name: "web"})
	})
	target := `"Target":"` + nodeA + `"`
	for _, tc := range []struct{ body, code, says string }{
		{`{}`, api.CodeValidation, "Target"},
		{`{"Target":""}`, api.CodeValidation, "Target"},
		{`{"Target":"` + strings.Repeat("x", 401) + `"}`, api.CodeValidation, "Target"},
		{`{"Target":"mi-00000000000000000"}`, codeNotConnected, "not connected"},
		{`{"Target":"../../x"}`, codeNotConnected, "not connected"},
		{`{"Target":"db-1.EXAMPLE"}`, codeNotConnected, "not connected"},
		{`{"Target":"web"}`, api.CodeValidation, "several nodes"},
		{`{` + target + `,"Reason":""}`, api.CodeValidation, "Reason"},
		{`{` + target + `,"Extra":1}`, api.CodeValidation, "Extra"},
		{`{` + target + `,"DocumentName":"No-Such"}`, codeDocument, "No-Such"},
		{`{` + target + `,"DocumentName":"AWS-RunShellScript"}`, codeDocument, "type Command"},
		{`{` + target + `,"DocumentName":"Idle"}`, codeDocument, "1 to 60"},
		{`{` + target + `,"DocumentName":"Max"}`, codeDocument, "1 to 1440"},
		{`{` + target + `,"DocumentName":"Bool"}`, codeDocument, "inputs"},
		{`{` + target + `,"DocumentName":"Asks"}`, codeDocument, "idleSessionTimeout"},
		{`{` + target + `,"DocumentName":"Asks","Parameters":{"m":["0"]}}`, codeDocument, "1 to 60"},
		{`{` + target + `,"Parameters":{"x":["1"]}}`, api.CodeValidation, "not declared"},
		{`{` + target + `,"DocumentName":"Choice"}`, api.CodeValidation, "required"},
		{`{` + target + `,"DocumentName":"Choice","Parameters":{"host":["c"]}}`, api.CodeValidation, "host"},
		{`{` + target + `,"DocumentName":"Choice","Parameters":{"host":["a","b"]}}`, api.CodeValidation, "one value"},
		{`{` + target + `,"DocumentName":"Choice","Parameters":{"host":["a"],"portNumber":["80x"]}}`, api.CodeValidation, "portNumber"},
		{`{` + target + `,"DocumentName":"Choice","Parameters":{"host":["a"],"word":["long"]}}`, api.CodeValidation, "word"},
		{`{` + target + `,"DocumentName":"Choice","Parameters":{"host":"a"}}`, api.CodeValidation, "Parameters.host"},
	} {
		_, err := invoke[ssm.SessionOutput](l, ada, "StartSession", tc.body)
		if code(err) != tc.code || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.120s: %v", tc.body, err)
		}
	}
	if len(l.pushes) != 0 || len(l.list(ssm.SessionsActive)) != 0 {
		t.Error("a refused session is there")
	}
	for name, op := range l.Ops() {
		if len(op.Allow) != 1 || op.Allow[0] != api.Operator {
			t.Errorf("%s may be called by %v", name, op.Allow)
		}
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.document("Forward", `{"schemaVersion":"1.0","sessionType":"Port","parameters":{"portNumber":{"type":"String","default":"80"},"minutes":{"type":"String","default":"7"}},
		"inputs":{"idleSessionTimeout":"{{ minutes }}","maxSessionDuration":30},"properties":{"portNumber":"{{ portNumber }}"}}`)
	out := l.startWith(ada, `{"Target":"web","DocumentName":"Forward","Parameters":{"portNumber":["2222"]}}`)
	task, err := mgs.Decode[mgs.AgentTask]((<-l.pushes).payload)
	if err != nil {
		t.Fatal(err)
	}
	order, err := task.Session()
	if err != nil || string(order.Parameters["portNumber"]) != `"2222"` || order.DocumentContent.SessionType != mgs.SessionPort || len(order.Parameters) != 1 {
		t.Errorf("%+v %v", order, err)
	}
	if s := l.session(out.SessionId); s.MaxSessionDuration != "30" || s.DocumentName != "Forward" {
		t.Errorf("%+v", s)
	}
	// The account's own preferences take the place of the built-in ones.
	l.document(Preferences, `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"idleSessionTimeout":1}}`)
	id, _ := l.open(`{"Target":"web"}`)
	l.after(30 * time.Second)
	l.after(30 * time.Second)
	<-l.ends
	<-l.ends // the other one was never opened
	if s := l.session(id); s.Details != "session ended: idle for 1 minute" || s.EndDate.Sub(began) != time.Minute {
		t.Errorf("%+v", s)
	}
}

func TestUserOf(t *testing.T) {
	t.Parallel()
	for arn, want := range map[string]string{
		"arn:aws:iam::0:user/ada":                 "ada",
		"arn:aws:iam::0:user/ada@example.com":     "ada@example.com",
		"arn:aws:iam::0:user/a b/../c d":          "c_d",
		"arn:aws:iam::0:user/..":                  "user",
		"arn:aws:iam::0:user/-x":                  "x",
		"arn:aws:iam::0:user/\u00fcber":           "_ber",
		"":                                        "user",
		"arn:aws:iam::0:root":                     "root",
		"a/" + strings.Repeat("x", 300):           strings.Repeat("x", maxUser),
		"arn:aws:iam::0:user/" + "\x00\n..\\..\\": "__.._.._",
	} {
		if got := userOf(arn); got != want {
			t.Errorf("%q: %q, want %q", arn, got, want)
		}
		if id := newID(arn); !mgs.ValidSessionID(id) || len(id) > 96 {
			t.Errorf("%q: id %q", arn, id)
		}
	}
}

func TestGetConnectionStatus(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.set(func() { l.down[nodeB] = true })
	for target, want := range map[string]string{nodeA: "connected", "web": "connected", nodeB: "notconnected", "nobody": "notconnected"} {
		out, err := invoke[ssm.GetConnectionStatusOutput](l, ada, "GetConnectionStatus", `{"Target":"`+target+`"}`)
		if err != nil || out.Status != want || out.Target != target {
			t.Errorf("%s: %+v %v", target, out, err)
		}
	}
}
