package gateway

import "sync"

// hub knows the control channel of each node that has one.
type hub struct {
	mu      *sync.Mutex
	up      map[string]*channel
	changed map[string]chan struct{} // closed when up changes, for who waits
}

func newHub() hub {
	return hub{mu: new(sync.Mutex), up: map[string]*channel{}, changed: map[string]chan struct{}{}}
}

// join makes c its node's channel and returns the one that it replaces.
func (h hub) join(c *channel) *channel {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.up[c.node]
	h.up[c.node] = c
	h.tell(c.node)
	return old
}

// leave takes c out, unless another has replaced it.
func (h hub) leave(c *channel) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.up[c.node] == c {
		delete(h.up, c.node)
		h.tell(c.node)
	}
}

func (h hub) tell(node string) {
	if ch := h.changed[node]; ch != nil {
		close(ch)
		delete(h.changed, node)
	}
}

func (h hub) get(node string) *channel {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.up[node]
}

// state says whether the node has a channel; changed is closed when that is
// no longer so, or another channel took over.
func (h hub) state(node string) (up bool, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ch := h.changed[node]
	if ch == nil {
		ch = make(chan struct{})
		h.changed[node] = ch
	}
	return h.up[node] != nil, ch
}
