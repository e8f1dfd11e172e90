package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/secret"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// Bounds of opening a channel.
const (
	maxCreate     = 64 << 10 // bytes of a create request
	maxFirst      = 16 << 10 // bytes of the first message
	firstDeadline = 15 * time.Second
)

// createControlChannel answers 201 and a token, and nothing else than 201 is
// a success for an agent.
func (g *Gateway) createControlChannel(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxCreate+1))
	if err != nil || len(body) > maxCreate {
		refuse(w, http.StatusBadRequest, "ValidationException", fmt.Sprintf("the body must have at most %d bytes", maxCreate))
		return
	}
	node, ok := g.node(w, r, body)
	if !ok {
		return
	}
	var in mgs.CreateControlChannelRequest
	if err := json.Unmarshal(body, &in); err != nil {
		refuse(w, http.StatusBadRequest, "SerializationException", "the body is not the JSON of CreateControlChannel")
		return
	}
	if in.MessageSchemaVersion != mgs.SchemaVersion {
		refuse(w, http.StatusBadRequest, "ValidationException", fmt.Sprintf("MessageSchemaVersion is %q, must be %s", clip(in.MessageSchemaVersion), mgs.SchemaVersion))
		return
	}
	out := mgs.CreateChannelResponse{MessageSchemaVersion: mgs.SchemaVersion, TokenValue: secret.Text(g.tokens.issue(node))}
	b, err := out.Encode(mgs.RootCreateControlChannel)
	if err != nil {
		g.opt.Log.Error("gateway: control channel", "node", node, "error", err)
		refuse(w, http.StatusInternalServerError, "InternalServerError", "the control plane could not make a channel")
		return
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(b)
}

// node is the node in the path, if the caller is that node; else it answers.
func (g *Gateway) node(w http.ResponseWriter, r *http.Request, body []byte) (string, bool) {
	c, refusal := g.opt.Verify(r, body)
	id := r.PathValue("id")
	switch {
	case refusal != nil:
		status := refusal.HTTPStatus()
		if status == http.StatusBadRequest {
			status = http.StatusForbidden
		}
		refuse(w, status, refusal.Code, refusal.Message)
	case c.Kind == api.Anonymous:
		refuse(w, http.StatusForbidden, "MissingAuthenticationTokenException", "the request is not signed: a control channel needs the node's credentials")
	case c.Kind != api.Node || c.InstanceID != id:
		refuse(w, http.StatusForbidden, mgs.CodeAccessDenied, fmt.Sprintf("%s may not open the control channel of %s: a node's credentials are good for that node only", c, clip(id)))
	default:
		return id, true
	}
	return "", false
}

// openControlChannel upgrades, takes the first message and works the channel
// until it ends.
func (g *Gateway) openControlChannel(w http.ResponseWriter, r *http.Request) {
	node, ok := g.node(w, r, nil)
	if !ok {
		return
	}
	q := r.URL.Query()
	switch {
	case q.Get("role") != "subscribe" || q.Get("stream") != "input":
		refuse(w, http.StatusBadRequest, "ValidationException", "a control channel is opened with ?role=subscribe&stream=input")
		return
	case !strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		w.Header().Set("Upgrade", "websocket")
		refuse(w, http.StatusUpgradeRequired, "ValidationException", "a control channel is opened as a websocket")
		return
	}
	heard := g.now()
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{OnPingReceived: func(context.Context, []byte) bool {
		heard.set(g.opt.Clock.Now())
		return true
	}})
	if err != nil {
		g.opt.Log.Warn("gateway: control channel refused", "node", node, "error", err)
		return
	}
	defer func() { _ = conn.CloseNow() }()
	log := g.opt.Log.With("node", node)
	hello, err := g.first(r.Context(), conn, node)
	if err != nil {
		log.Warn("gateway: control channel refused", "error", err)
		_ = conn.Close(websocket.StatusPolicyViolation, clip(err.Error()))
		return
	}
	log.Info("gateway: control channel open", "agent", clip(hello.AgentVersion), "platform", clip(hello.PlatformType))
	c := newChannel(g, node, conn, log)
	c.heard, c.peer = heard, peer(r)
	err = c.run(r.Context())
	log.Info("gateway: control channel closed", "cause", err)
}

// peer is the address that the request came from.
func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// first reads the text message that everything hangs on; it is not answered.
func (g *Gateway) first(ctx context.Context, conn *websocket.Conn, node string) (m mgs.OpenControlChannel, err error) {
	conn.SetReadLimit(maxFirst)
	ctx, cancel := context.WithTimeout(ctx, g.firstTime)
	defer cancel()
	kind, b, err := conn.Read(ctx)
	switch {
	case ctx.Err() != nil:
		return m, fmt.Errorf("the first message did not come within %s", g.firstTime)
	case err != nil:
		return m, fmt.Errorf("read the first message: %w", err)
	case kind != websocket.MessageText:
		return m, errors.New("the first message must be text")
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, errors.New("the first message is not the JSON of OpenControlChannel")
	}
	if m.MessageSchemaVersion != mgs.SchemaVersion {
		return m, fmt.Errorf("MessageSchemaVersion is %q, must be %s", clip(m.MessageSchemaVersion), mgs.SchemaVersion)
	}
	if !g.tokens.redeem(string(m.TokenValue), node) {
		return m, errors.New("TokenValue is not valid, expired or used: make a new channel")
	}
	conn.SetReadLimit(frame.MaxSize)
	return m, nil
}

// refuse answers as the message gateway does, in XML.
func refuse(w http.ResponseWriter, status int, code, message string) {
	b, err := mgs.EncodeError(code, message)
	if err != nil {
		b, _ = mgs.EncodeError("InternalServerError", message)
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

// clip cuts text from outside to what fits a message (and a close reason,
// which may have 123 bytes).
func clip(s string) string {
	const most = 100
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}
