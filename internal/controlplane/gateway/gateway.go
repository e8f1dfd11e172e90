// Package gateway is the two ways from the control plane to its nodes:
// ec2messages, which nodes poll, and the control channel of ssmmessages, over
// which jobs are pushed. Both speak to stock agents as AWS does.
package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/commands"
	"ssmagent/internal/wire/doc"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// Queue holds the messages for nodes and takes what nodes say about them;
// commands.Service is one.
type Queue interface {
	Next(ctx context.Context, node string, limit int, l commands.Lease) ([]commands.Delivery, error)
	Release(node string, owner any)
	Ack(ctx context.Context, node, message string) error
	Fail(ctx context.Context, node, message, reason string) error
	Delay(ctx context.Context, node, message string, d time.Duration) error
	Reply(ctx context.Context, node, message string, r doc.Reply) error
}

// Sessions hears what nodes say about sessions; sessions.Service is one.
type Sessions interface {
	TaskComplete(node string, c mgs.AgentTaskComplete) error
	ChannelUp(node string)
}

// Options are what a Gateway needs.
type Options struct {
	Queue    Queue
	Sessions Sessions // nil: there are none
	Clock    clock.Clock
	Log      *slog.Logger
	// Verify tells who makes a request whose body was body.
	Verify func(r *http.Request, body []byte) (api.Caller, *api.Error)
	// Endpoint is the URL that GetEndpoint names; nil: it is not served.
	Endpoint func() string
	// Rivals hears of a node with two live control channels, and from which
	// addresses; nil: nobody wants to know.
	Rivals func(node, first, second string)
}

// Gateway serves nodes. Safe for concurrent use.
type Gateway struct {
	opt    Options
	hub    hub
	tokens tokens

	firstTime, writeTime time.Duration // shorter in tests
}

// New returns a gateway. It has nothing to close: channels end with the
// context of their request.
func New(o Options) *Gateway {
	return &Gateway{opt: o, hub: newHub(), tokens: newTokens(o.Clock), firstTime: firstDeadline, writeTime: writeTime}
}

// Connected says whether the node's control channel is up.
func (g *Gateway) Connected(node string) bool { return g.hub.get(node) != nil }

// Disconnect ends the node's control channel, as after its deregistration.
func (g *Gateway) Disconnect(node string) {
	if c := g.hub.get(node); c != nil {
		c.end(errDisconnected)
	}
}

// Push implements sessions.Pusher.
func (g *Gateway) Push(ctx context.Context, node, messageType string, payload []byte) error {
	c := g.hub.get(node)
	if c == nil {
		return fmt.Errorf("push %s: %s has no control channel", messageType, node)
	}
	if err := c.send(ctx, frame.New(messageType, g.opt.Clock.Now(), payload)); err != nil {
		return fmt.Errorf("push %s to %s: %w", messageType, node, err)
	}
	return nil
}

// Handler serves the control channels of ssmmessages, below /v1/.
func (g *Gateway) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/control-channel/{id}", g.createControlChannel)
	mux.HandleFunc("GET /v1/control-channel/{id}", g.openControlChannel)
	mux.HandleFunc("/v1/control-channel/{id}", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusMethodNotAllowed, "MethodNotAllowedException", "a control channel takes POST to be made and GET to be opened")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "ResourceNotFoundException", "the message gateway has no such path")
	})
	return mux
}

// Refuse is a gateway that takes nobody: nodes turn to ec2messages.
func Refuse(w http.ResponseWriter, _ *http.Request) {
	refuse(w, http.StatusForbidden, mgs.CodeAccessDenied, "this control plane was started without its message gateway")
}

// decodeReply reads the content of a reply.
func decodeReply(text string) (doc.Reply, error) {
	var r doc.Reply
	err := json.Unmarshal([]byte(text), &r)
	return r, err
}
