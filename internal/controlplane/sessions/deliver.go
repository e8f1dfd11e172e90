package sessions

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/mgs"
)

// pushTime bounds one push; a node that takes longer gets it when its channel
// comes up again.
const pushTime = 10 * time.Second

// couriers is how many nodes are served at once.
const couriers = 4

// maxOver bounds the sessions that are over and of which one node is to be
// told: it may ask for any number of them.
const maxOver = 256

// calls are the nodes that something is to be delivered to.
type calls struct {
	mu    *sync.Mutex
	nodes map[string]*call
	queue chan struct{} // has a token while nodes may have work
}

type call struct {
	all    bool            // orders and ends that the node does not know of
	orders map[string]bool // orders to send again
	closes map[string]bool // sessions that are over
	busy   bool
}

func (k *call) idle() bool { return !k.all && len(k.orders) == 0 && len(k.closes) == 0 }

func newCalls() calls {
	return calls{mu: new(sync.Mutex), nodes: map[string]*call{}, queue: make(chan struct{}, 1)}
}

func (c calls) add(node string, change func(*call)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.nodes[node]
	if k == nil {
		k = &call{orders: map[string]bool{}, closes: map[string]bool{}}
		c.nodes[node] = k
	}
	change(k)
	c.wake()
}

func (c calls) wake() {
	select {
	case c.queue <- struct{}{}:
	default:
	}
}

// over has the node told that a session is over.
func (c calls) over(node, id string) {
	c.add(node, func(k *call) {
		if len(k.closes) < maxOver {
			k.closes[id] = true
		}
	})
}

// again has a session's order sent again.
func (c calls) again(node, id string) { c.add(node, func(k *call) { k.orders[id] = true }) }

// take returns a node with work and that work; "" when there is none.
func (c calls) take() (node string, work call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n, k := range c.nodes {
		if k.busy || k.idle() {
			continue
		}
		work = call{all: k.all, orders: k.orders, closes: k.closes}
		c.nodes[n] = &call{orders: map[string]bool{}, closes: map[string]bool{}, busy: true}
		c.wake() // there may be more for another courier
		return n, work
	}
	return "", call{}
}

func (c calls) done(node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.nodes[node]
	if k.busy = false; k.idle() {
		delete(c.nodes, node)
		return
	}
	c.wake()
}

// ChannelUp has Run deliver what the node is still to know: orders that it has
// not acted upon and that are still wanted, and sessions that are over. It
// does not block.
func (s *Service) ChannelUp(node string) { s.calls.add(node, func(k *call) { k.all = true }) }

// courier delivers until ctx ends.
func (s *Service) courier(ctx context.Context) {
	for {
		select {
		case <-s.calls.queue:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil {
			node, work := s.calls.take()
			if node == "" {
				break
			}
			s.deliver(ctx, node, work)
			s.calls.done(node)
		}
	}
}

func (s *Service) deliver(ctx context.Context, node string, work call) {
	if work.all {
		err := s.db.View(func(tx *store.Tx) error {
			return untold.Scan(tx, node+"/", "", func(key string, _ mark) (bool, error) {
				work.closes[idOf(key)] = true
				return true, nil
			})
		})
		if err != nil {
			s.log.Error("sessions: read what a node is to know", "node", node, "error", err)
		}
	}
	for id := range work.closes {
		s.close(ctx, node, id)
	}
	for _, l := range s.unopened(node) {
		if work.all || work.orders[l.id] {
			s.order(ctx, l)
		}
	}
}

// unopened are the node's sessions that wait for the agent, the oldest first.
func (s *Service) unopened(node string) []*live {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*live
	for _, l := range s.live {
		if l.node == node && !l.opened && l.ended.IsZero() {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b *live) int {
		if c := a.start.Compare(b.start); c != 0 {
			return c
		}
		return strings.Compare(a.id, b.id)
	})
	return out
}

// order sends a session's order again.
func (s *Service) order(ctx context.Context, l *live) {
	var payload string
	err := s.db.View(func(tx *store.Tx) (err error) {
		payload, _, err = orders.Get(tx, l.id)
		return err
	})
	if err != nil {
		s.log.Error("sessions: read an order", "session", l.id, "error", err)
	}
	if payload != "" { // else the agent came meanwhile, or the end
		s.push(ctx, l.node, mgs.TypeInteractiveShell, []byte(payload))
	}
}

// push sends a message to the node if it is connected. What did not arrive is
// sent when its channel comes up.
func (s *Service) push(ctx context.Context, node, messageType string, payload []byte) {
	p, _ := s.rims()
	if p == nil || !p.Connected(node) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pushTime)
	defer cancel()
	if err := p.Push(ctx, node, messageType, payload); err != nil {
		s.log.Warn("sessions: push", "node", node, "type", messageType, "error", err)
	}
}
