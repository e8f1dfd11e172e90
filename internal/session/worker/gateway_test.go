package worker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"ssmagent/internal/stream"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// gateway is the service and the client behind it.
type gateway struct {
	t   *testing.T
	srv *httptest.Server

	mu       sync.Mutex
	cond     *sync.Cond
	over     bool   // the session has been terminated
	complete bool   // the handshake
	hint     string // what it had for the person
	conn     *websocket.Conn
	link     stream.Link
	opens    int
	states   []string
	out      bytes.Buffer
	errs     bytes.Buffer
	exits    []string
	answer   mgs.HandshakeResponse
	size     *mgs.Size
	keys     map[string]bool // access keys that calls were signed with
}

func newGateway(t *testing.T) *gateway {
	l, err := stream.NewLink(stream.SenderConfig{Type: mgs.TypeInputStreamData}, stream.ReceiverConfig{Type: mgs.TypeOutputStreamData})
	if err != nil {
		t.Fatal(err)
	}
	ext, _ := mgs.EncodeExtension(mgs.Extension{MaxPayload: mgs.LargePayload})
	g := &gateway{t: t, link: l, size: &mgs.Size{Cols: 111, Rows: 33}, keys: map[string]bool{}, answer: mgs.HandshakeResponse{
		ClientVersion: "3.3.9000.0", Extensions: ext,
		ProcessedClientActions: []mgs.ProcessedClientAction{{ActionType: mgs.ActionSessionType, ActionStatus: mgs.ActionSuccess}},
	}}
	g.cond = sync.NewCond(&g.mu)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/data-channel/{id}", g.create)
	mux.HandleFunc("GET /v1/data-channel/{id}", g.open)
	g.srv = httptest.NewServer(mux)
	t.Cleanup(func() {
		g.cut()
		g.srv.CloseClientConnections()
		g.srv.Close()
	})
	return g
}

func (g *gateway) create(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, key, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	key, _, _ = strings.Cut(key, "/")
	g.keys[key] = true
	if g.over {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte("<InvalidRequest><Message>" + mgs.TextTerminated + "</Message></InvalidRequest>"))
		return
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write([]byte("<R><TokenValue>tok</TokenValue></R>"))
}

func (g *gateway) open(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(frame.MaxSize)
	_, b, err := conn.Read(r.Context())
	var hello mgs.OpenDataChannel
	if err != nil {
		return // a session that failed meanwhile
	}
	if json.Unmarshal(b, &hello) != nil || hello.TokenValue != "tok" || hello.ClientInstanceId != node {
		g.t.Errorf("first message %s", b)
		return
	}
	g.mu.Lock()
	g.conn = conn
	g.opens++
	g.link.Resume(time.Now())
	g.cond.Broadcast()
	g.mu.Unlock()
	for {
		g.flush()
		_, b, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		g.take(b)
	}
}

func (g *gateway) take(b []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.cond.Broadcast()
	m, err := frame.Unmarshal(b)
	if err != nil {
		g.t.Error(err)
		return
	}
	if m.Type == mgs.TypeAgentSessionState {
		s, _ := mgs.Decode[mgs.AgentSessionState](m.Payload)
		g.states = append(g.states, s.SessionState)
		return
	}
	_, _, _ = g.link.Handle(time.Now(), m)
	for {
		kind, p, ok := g.link.Next()
		if !ok {
			return
		}
		switch kind {
		case mgs.PayloadHandshakeRequest:
			g.pushLocked(mgs.PayloadHandshakeResponse, g.answer)
			if g.size != nil {
				g.pushLocked(mgs.PayloadSize, g.size)
			}
		case mgs.PayloadOutput:
			g.out.Write(p)
		case mgs.PayloadHandshakeComplete:
			c, _ := mgs.Decode[mgs.HandshakeComplete](p)
			g.complete, g.hint = true, c.CustomerMessage
		case mgs.PayloadStdErr:
			g.errs.Write(p)
		case mgs.PayloadExitCode:
			g.exits = append(g.exits, string(p))
		}
	}
}

func (g *gateway) pushLocked(kind uint32, v any) {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = g.link.PushWhole(time.Now(), kind, b)
	}
	if err != nil {
		g.t.Error(err)
	}
}

// flush writes what is due.
func (g *gateway) flush() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.conn != nil {
		b, ok := g.link.Write(time.Now())
		if !ok || g.conn.Write(context.Background(), websocket.MessageBinary, b) != nil {
			return
		}
	}
}

func (g *gateway) typed(text string) { g.says(mgs.PayloadOutput, []byte(text)) }

// says sends a payload of the client's.
func (g *gateway) says(kind uint32, b []byte) {
	g.mu.Lock()
	_, err := g.link.Push(time.Now(), kind, b)
	g.mu.Unlock()
	if err != nil {
		g.t.Error(err)
	}
	g.flush()
}

// stock makes the client one that is not ours, of the version.
func (g *gateway) stock(version string) {
	g.answer.ClientVersion, g.answer.Extensions, g.size = version, nil, nil
}

// extends makes the client one of ours with these words.
func (g *gateway) extends(e mgs.Extension) {
	g.answer.Extensions, _ = mgs.EncodeExtension(e)
	g.size = nil
}

// cut ends the connection there is.
func (g *gateway) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conn != nil {
		_ = g.conn.CloseNow()
		g.conn = nil
	}
}

// send sends a frame outside the stream.
func (g *gateway) send(kind, payload string) {
	b, err := frame.New(kind, time.Now(), []byte(payload)).Marshal()
	if err != nil {
		g.t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.conn.Write(context.Background(), websocket.MessageBinary, b); err != nil {
		g.t.Error(err)
	}
}

// await waits for what ready says, with g.mu.
func (g *gateway) await(what string, ready func() bool) {
	g.t.Helper()
	late := false
	stop := time.AfterFunc(patience, func() {
		g.mu.Lock()
		late = true
		g.cond.Broadcast()
		g.mu.Unlock()
	})
	defer stop.Stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	for !ready() {
		if late {
			g.t.Fatalf("%s did not come; printed so far: %.2000q", what, g.out.String())
		}
		g.cond.Wait()
	}
}

func (g *gateway) expect(text string) {
	g.t.Helper()
	g.await(text, func() bool { return strings.Contains(g.out.String(), text) })
}
