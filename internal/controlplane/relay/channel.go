package relay

import (
	"sync"

	"ssmagent/internal/controlplane/sessions"
)

// channel is a session's data channel: at most one socket a side, and what is
// remembered when they come and go.
type channel struct {
	id       string
	activity *sessions.Activity
	out, in  *flow // from the agent, from the client

	mu            sync.Mutex
	users         int // handlers that may attach or have attached
	admitted      bool
	seen          bool // a client was there
	agent, client *socket
	changed       chan struct{} // closed and replaced when anything here changes
	end           *ending
}

// ending is the end of a session as its sides are told.
type ending struct {
	text     string // for the client's user
	byAgent  bool   // what the agent sent before is still to be passed on
	complete bool   // nothing is passed on any more
}

func newChannel(id string) *channel {
	return &channel{id: id, out: newFlow(), in: newFlow(), changed: make(chan struct{})}
}

// tell wakes who waits for a change. c.mu is held.
func (c *channel) tell() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// attach makes s its side's socket and returns the one that it replaces.
func (c *channel) attach(s *socket, a sessions.Admission) (old *socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	side := &c.client
	if s.agent {
		side = &c.agent
	}
	old, *side = *side, s
	c.admitted = true
	if c.activity == nil { // pumps read it without the lock
		c.activity = a.Activity
	}
	c.seen = c.seen || a.Seen || !s.agent
	c.tell()
	return old
}

// detach takes s out, unless another has replaced it, and closes it.
func (c *channel) detach(s *socket) {
	s.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s {
	case c.agent:
		c.agent = nil
	case c.client:
		c.client = nil
	default:
		return
	}
	c.tell()
}

// view is what a keeper acts upon.
type view struct {
	changed       <-chan struct{}
	agent, client *socket
	away          bool // there was a client, and there is none
	end           *ending
}

func (c *channel) view() view {
	c.mu.Lock()
	defer c.mu.Unlock()
	return view{c.changed, c.agent, c.client, c.seen && c.client == nil, c.end}
}

// peer waits until the other side is there. It returns nil when nothing is to
// be passed on any more, or s was closed.
func (c *channel) peer(s *socket) *socket {
	for {
		v := c.view()
		p := v.agent
		if s.agent {
			p = v.client
		}
		switch {
		case v.end != nil && v.end.complete:
			return nil
		case p != nil:
			return p
		}
		select {
		case <-v.changed:
		case <-s.done:
			return nil
		}
	}
}

// finish ends the channel once; later reasons change nothing.
func (c *channel) finish(e ending) (agent, client *socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end == nil {
		c.end = &e
		c.tell()
	}
	return c.agent, c.client
}

// complete stops passing things on.
func (c *channel) complete() {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := *c.end
	e.complete = true
	c.end = &e
	c.tell()
}
