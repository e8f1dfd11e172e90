package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/sessions"
	"ssmagent/internal/secret"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// Bounds of opening a data channel.
const (
	maxFirst    = 16 << 10 // bytes of the first message
	maxToken    = 300      // characters
	firstWithin = 15 * time.Second
	maxPending  = 1024 // sockets that have not shown a token yet
)

// create answers an agent 201 and a token; nothing else is a success.
func (r *Relay) create(w http.ResponseWriter, req *http.Request) {
	id := req.PathValue("id")
	body, err := api.ReadBody(w, req)
	if err != nil {
		refuse(w, http.StatusBadRequest, api.CodeValidation, "the body is too large or ended early")
		return
	}
	caller, refusal := r.opt.Verify(req, body)
	var in mgs.CreateDataChannelRequest
	switch {
	case refusal != nil:
		refuseCaller(w, refusal)
		return
	case caller.Kind != api.Node:
		refuse(w, http.StatusForbidden, mgs.CodeAccessDenied, "the agent's side of a data channel needs the node's credentials")
		return
	case !mgs.ValidSessionID(id):
		refuse(w, http.StatusBadRequest, api.CodeValidation, fmt.Sprintf("SessionId %.100q is not one", id))
		return
	case json.Unmarshal(body, &in) != nil || in.MessageSchemaVersion != mgs.SchemaVersion:
		refuse(w, http.StatusBadRequest, api.CodeValidation, "the body is not the JSON of CreateDataChannel with MessageSchemaVersion "+mgs.SchemaVersion)
		return
	}
	token, err := r.opt.Sessions.AgentToken(id, caller.InstanceID)
	if err != nil {
		r.refuseToken(w, id, caller, err)
		return
	}
	b, err := mgs.CreateChannelResponse{MessageSchemaVersion: mgs.SchemaVersion, TokenValue: secret.Text(token)}.Encode(mgs.RootCreateDataChannel)
	if err != nil {
		r.opt.Log.Error("relay: answer", "session", id, "error", err)
		refuse(w, http.StatusInternalServerError, api.CodeInternal, "the control plane could not make a data channel")
		return
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(b)
}

func (r *Relay) refuseToken(w http.ResponseWriter, id string, caller api.Caller, err error) {
	switch {
	case errors.Is(err, sessions.ErrForeign):
		r.opt.Log.Warn("relay: another node's session", "session", id, "caller", caller.String())
		refuse(w, http.StatusForbidden, mgs.CodeAccessDenied, fmt.Sprintf("%s is not authorized for session %s: a node's credentials are good for its own sessions only", caller, id))
	case sessions.IsRefusal(err):
		// An agent whose session is not known has nothing to come back to.
		refuse(w, http.StatusBadRequest, api.CodeValidation, mgs.TextTerminated+": "+id)
	default:
		r.opt.Log.Error("relay: token", "session", id, "error", err)
		refuse(w, http.StatusInternalServerError, api.CodeInternal, "the control plane could not make a data channel")
	}
}

func refuseCaller(w http.ResponseWriter, e *api.Error) {
	status := e.HTTPStatus()
	if status == http.StatusBadRequest {
		status = http.StatusForbidden
	}
	refuse(w, status, e.Code, e.Message)
}

// refuse answers as the message gateway does, in XML.
func refuse(w http.ResponseWriter, status int, code, message string) {
	b, err := mgs.EncodeError(code, message)
	if err != nil {
		b, _ = mgs.EncodeError(api.CodeInternal, message)
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

// open upgrades a side's connection, takes its first message and serves it
// until it ends. Who it is shows in that message: a client's token is enough,
// an agent must have signed the request too.
func (r *Relay) open(w http.ResponseWriter, req *http.Request) {
	id := req.PathValue("id")
	switch {
	case !mgs.ValidSessionID(id):
		refuse(w, http.StatusBadRequest, api.CodeValidation, fmt.Sprintf("SessionId %.100q is not one", id))
		return
	case req.ProtoMajor != 1 || !strings.EqualFold(req.Header.Get("Upgrade"), "websocket"):
		w.Header().Set("Upgrade", "websocket")
		refuse(w, http.StatusUpgradeRequired, api.CodeValidation, "a data channel is opened as a websocket over HTTP/1.1")
		return
	}
	if !r.enter() {
		refuse(w, http.StatusServiceUnavailable, "ServiceUnavailableException", "the control plane is stopping")
		return
	}
	defer r.handlers.Done()
	select {
	case r.pending <- struct{}{}:
	default:
		refuse(w, http.StatusServiceUnavailable, "ServiceUnavailableException", "too many connections have not shown their token yet: try again")
		return
	}
	c := r.use(id)
	defer r.release(c)
	s, a, err := r.admit(w, req, id)
	<-r.pending
	if err != nil {
		r.opt.Log.Warn("relay: data channel refused", "session", id, "from", api.SourceIP(req), "error", err)
		return
	}
	r.serve(c, s, a)
}

// admit makes a socket of the request and checks its first message.
func (r *Relay) admit(w http.ResponseWriter, req *http.Request, id string) (*socket, sessions.Admission, error) {
	s := &socket{pongs: make(chan []byte, 1), extra: make(chan []byte, maxExtra), done: make(chan struct{}), gone: make(chan struct{})}
	up := &upgrade{ResponseWriter: w, buffers: &r.buffers}
	var err error
	s.conn, err = websocket.Accept(up, req, &websocket.AcceptOptions{
		OnPingReceived: func(_ context.Context, payload []byte) bool {
			s.sign(r.opt.Clock.Now())
			s.pinged(append([]byte{}, payload...))
			return false // the keeper answers
		},
		OnPongReceived: func(context.Context, []byte) { s.sign(r.opt.Clock.Now()) },
	})
	if err != nil {
		return nil, sessions.Admission{}, err
	}
	s.link = up.link
	s.sign(r.opt.Clock.Now())
	stop := r.within(firstWithin, s.close)
	a, err := r.first(s, id, req)
	stop()
	if err != nil {
		r.turnAway(s, id, err)
		return nil, sessions.Admission{}, err
	}
	s.conn.SetReadLimit(frame.MaxSize)
	s.link.cork()
	side := "client"
	if s.agent {
		side = "agent"
	}
	s.log = r.opt.Log.With("session", id, "side", side)
	return s, a, nil
}

// turnAway closes a socket that is not admitted. A client that came too late
// for its session is told of the end as those are that were there.
func (r *Relay) turnAway(s *socket, id string, cause error) {
	over, ok := errors.AsType[*sessions.Over](cause)
	if !ok {
		_ = s.conn.Close(websocket.StatusPolicyViolation, clip(cause.Error()))
		return
	}
	b, err := closed(r.opt.Clock.Now(), id, over.Text)
	if err == nil {
		ctx, done := context.WithTimeout(context.Background(), farewell)
		defer done()
		err = s.conn.Write(ctx, websocket.MessageBinary, b)
	}
	if err != nil {
		r.opt.Log.Debug("relay: tell a late client of the end", "session", id, "error", err)
	}
	_ = s.conn.Close(websocket.StatusNormalClosure, "")
}

// first reads the text message that says who is there; it is not answered.
func (r *Relay) first(s *socket, id string, req *http.Request) (a sessions.Admission, err error) {
	s.conn.SetReadLimit(maxFirst)
	kind, b, err := s.conn.Read(context.Background())
	switch {
	case err != nil:
		return a, fmt.Errorf("read the first message: %w", err)
	case kind != websocket.MessageText:
		return a, errors.New("the first message must be text")
	}
	m, err := firstMessage(b)
	if err != nil {
		return a, err
	}
	if node := m.ClientInstanceId; node != "" {
		s.agent = true
		caller, refusal := r.opt.Verify(req, nil)
		if refusal != nil {
			return a, fmt.Errorf("the agent's side must sign its request: %w", refusal)
		}
		if caller.Kind != api.Node || caller.InstanceID != node {
			return a, fmt.Errorf("%s is not the node in ClientInstanceId", caller)
		}
	}
	return r.opt.Sessions.Admit(id, m.ClientInstanceId, string(m.TokenValue))
}

func firstMessage(b []byte) (mgs.OpenDataChannel, error) {
	m, err := mgs.Decode[mgs.OpenDataChannel](b)
	switch {
	case err != nil:
		return m, errors.New("the first message is not the JSON of OpenDataChannel")
	case m.MessageSchemaVersion != mgs.SchemaVersion:
		return m, fmt.Errorf("MessageSchemaVersion is %.16q, must be %s", m.MessageSchemaVersion, mgs.SchemaVersion)
	case m.TokenValue == "" || len(m.TokenValue) > maxToken:
		return m, fmt.Errorf("TokenValue has %d characters, must have 1 to %d", len(m.TokenValue), maxToken)
	}
	return m, nil
}

// serve works a socket until it ends.
func (r *Relay) serve(c *channel, s *socket, a sessions.Admission) {
	s.log.Debug("relay: side is there")
	old := c.attach(s, a)
	if old != nil {
		old.close()
	}
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		k := keeper{r: r, c: c, s: s}
		k.run(r.stop)
	}()
	if old != nil {
		<-old.gone // its last frame goes before our first
	}
	p := pump{r: r, c: c, s: s}
	err := p.run()
	p.flush()
	close(s.gone)
	c.detach(s)
	<-kept
	_ = s.conn.CloseNow()
	s.log.Debug("relay: side is gone", "cause", err)
}

// clip cuts text to what a close reason may have.
func clip(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}
