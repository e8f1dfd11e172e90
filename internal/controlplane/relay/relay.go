// Package relay is the data channels of sessions: it gives agents their
// tokens, admits both sides, and passes their frames on, verbatim, in order
// and with the pace of the slower side. It keeps nothing that a peer could
// make grow: what one side does not take, the other side is not asked for.
package relay

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/sessions"
	"ssmagent/internal/wire/mgs"
)

// Sessions knows sessions and their tokens; sessions.Service is one.
type Sessions interface {
	AgentToken(id, node string) (string, error)
	Admit(id, node, token string) (sessions.Admission, error)
	AgentState(id string, state mgs.AgentSessionState)
}

// Options are what a Relay needs.
type Options struct {
	Sessions Sessions
	Clock    clock.Clock
	Log      *slog.Logger
	// Verify tells who makes a request whose body was body.
	Verify func(r *http.Request, body []byte) (api.Caller, *api.Error)
}

// Relay has the open data channels. Safe for concurrent use.
type Relay struct {
	opt     Options
	buffers sync.Pool
	pending chan struct{} // one for each socket that has not shown a token
	stop    context.Context
	end     context.CancelFunc

	mu       sync.Mutex
	closed   bool
	handlers sync.WaitGroup
	channels map[string]*channel
}

// New returns a relay. Its sockets end with Run's context.
func New(o Options) *Relay {
	r := &Relay{opt: o, pending: make(chan struct{}, maxPending), channels: map[string]*channel{}}
	r.buffers.New = func() any { b := make([]byte, writeBuffer); return &b }
	r.stop, r.end = context.WithCancel(context.Background())
	return r
}

// Handler serves the paths below /v1/data-channel/.
func (r *Relay) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/data-channel/{id}", r.create)
	mux.HandleFunc("GET /v1/data-channel/{id}", r.open)
	mux.HandleFunc("/v1/data-channel/{id}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", "GET, POST")
		refuse(w, http.StatusMethodNotAllowed, "MethodNotAllowedException", "a data channel takes POST to be made and GET to be opened")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "ResourceNotFoundException", "the message gateway has no such path")
	})
	return mux
}

// Run waits for the end of ctx, closes all sockets and waits for them.
func (r *Relay) Run(ctx context.Context) error {
	<-ctx.Done()
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.end()
	r.handlers.Wait()
	return nil
}

// enter counts a handler in; false: the relay is closed.
func (r *Relay) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.handlers.Add(1)
	}
	return !r.closed
}

// use returns the session's channel, which stays until it is released.
func (r *Relay) use(id string) *channel {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.channels[id]
	if c == nil {
		c = newChannel(id)
		r.channels[id] = c
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users++
	return c
}

// release forgets a channel that nobody uses and that has nothing to remember.
func (r *Relay) release(c *channel) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users--; c.users == 0 && (c.end != nil || !c.admitted) {
		delete(r.channels, c.id)
	}
}

func (r *Relay) channel(id string) *channel {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.channels[id]
}

// Sides implements sessions.Channels.
func (r *Relay) Sides(id string) (agent, client bool) {
	c := r.channel(id)
	if c == nil {
		return false, false
	}
	v := c.view()
	return v.agent != nil, v.client != nil
}

// Terminate implements sessions.Channels.
func (r *Relay) Terminate(id, text string) bool {
	agent := r.over(id, ending{text: text, complete: true})
	return agent != nil
}

// Finish implements sessions.Channels.
func (r *Relay) Finish(id, text string) { r.over(id, ending{text: text, byAgent: true}) }

func (r *Relay) over(id string, e ending) (agent *socket) {
	r.mu.Lock()
	c := r.channels[id]
	if c == nil {
		r.mu.Unlock()
		return nil
	}
	c.mu.Lock()
	if c.users == 0 {
		delete(r.channels, id)
	}
	c.mu.Unlock()
	r.mu.Unlock()
	agent, client := c.finish(e)
	if !e.complete {
		return agent
	}
	// Who is being written to may be stuck; it gets its last frame or goes.
	for _, s := range []*socket{agent, client} {
		if s != nil {
			s.link.hasten(farewell)
		}
	}
	return agent
}

var _ sessions.Channels = (*Relay)(nil)

// within ends a socket that has not come further in d, unless the returned
// function is called before.
func (r *Relay) within(d time.Duration, end func()) (stop func()) {
	ctx, cancel := context.WithCancel(r.stop)
	t := r.opt.Clock.NewTimer(d)
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer t.Stop()
		select {
		case <-t.C():
			end()
		case <-r.stop.Done():
			end()
		case <-ctx.Done():
		}
	}()
	return func() { cancel(); <-over }
}
