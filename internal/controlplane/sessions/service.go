// Package sessions is Session Manager: it starts sessions on nodes, gives both
// sides their tokens, ends sessions for every reason there is, and remembers
// them. The bytes of a session pass through package relay.
package sessions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/documents"
	"ssmagent/internal/controlplane/nodes"
	"ssmagent/internal/controlplane/store"
)

// Sentinels for those who speak for a side.
var (
	// ErrUnknown says that there is no such session.
	ErrUnknown = errors.New("the session is not known")
	// ErrTerminated says that the session has ended.
	ErrTerminated = errors.New("the session has ended")
	// ErrForeign says that a node spoke of another node's session.
	ErrForeign = errors.New("the session is another node's")
	// ErrToken says that a token is wrong, expired or used.
	ErrToken = errors.New("the token is not valid, expired or used")
)

// IsRefusal says whether err is the peer's fault, not ours.
func IsRefusal(err error) bool {
	return errors.Is(err, ErrUnknown) || errors.Is(err, ErrTerminated) || errors.Is(err, ErrForeign) || errors.Is(err, ErrToken)
}

// Pusher reaches nodes over their control channels; the gateway is one.
type Pusher interface {
	// Push sends one message, or fails at once when the node is not connected.
	Push(ctx context.Context, instanceID, messageType string, payload []byte) error
	// Connected says whether the node's control channel is up.
	Connected(instanceID string) bool
}

// Channels are the open data channels; the relay has them. None of its
// methods waits for a peer.
type Channels interface {
	// Sides says which sides of a session are there.
	Sides(id string) (agent, client bool)
	// Terminate tells both sides that the session was ended, the client with
	// text for its user. It says whether the agent's side was there.
	Terminate(id, text string) (agent bool)
	// Finish tells the client, after all that the agent sent, that the agent
	// ended the session.
	Finish(id, text string)
}

// Documents finds session documents. An unknown name is an *api.Error with
// the code InvalidDocument.
type Documents interface {
	Resolve(tx *store.Tx, name, version string) (documents.Resolved, error)
}

// Config is what a Service needs.
type Config struct {
	DB        *store.DB
	Documents Documents
	Clock     clock.Clock
	Log       *slog.Logger
	RunAs     string // the operator's tag SSMSessionRunAs
}

// Service is Session Manager. Safe for concurrent use.
type Service struct {
	db        *store.DB
	documents Documents
	clock     clock.Clock
	log       *slog.Logger
	runAs     string

	mu       sync.Mutex
	pusher   Pusher   // nil: no node is connected
	channels Channels // nil: no data channel is open
	live     map[string]*live
	due      deadlines
	removed  []string // deregistered nodes
	calls    calls
	rearm    chan struct{} // has Run look at deadlines again
}

// Activity is when data last passed through a session.
type Activity struct{ at atomic.Int64 }

// Touch notes that data passed at now.
func (a *Activity) Touch(now time.Time) { a.at.Store(now.UnixNano()) }

func (a *Activity) time() time.Time { return time.Unix(0, a.at.Load()) }

// New loads the sessions that have not ended. It starts nothing: deadlines
// and deliveries are Run's.
func New(c Config) (*Service, error) {
	s := &Service{db: c.DB, documents: c.Documents, clock: c.Clock, log: c.Log, runAs: c.RunAs,
		live: map[string]*live{}, calls: newCalls(), rearm: make(chan struct{}, 1)}
	err := s.db.View(func(tx *store.Tx) error {
		for _, index := range []store.Table[mark]{active, untold} {
			err := index.Scan(tx, "", "", func(key string, _ mark) (bool, error) { return true, s.load(tx, idOf(key)) })
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load sessions: %w", err)
	}
	return s, nil
}

// load takes up a session that is open or has not been ended by its agent.
// What was idle before the start of this program is not known any more: the
// time begins anew.
func (s *Service) load(tx *store.Tx, id string) error {
	r, ok, err := Sessions.Get(tx, id)
	if err != nil || !ok || s.live[id] != nil || r.State != Active && r.State != Terminating {
		return err
	}
	l := s.newLive(r)
	l.activity.Touch(s.clock.Now())
	s.live[id] = l
	s.schedule(l)
	if _, there, err := nodes.Nodes.Get(tx, r.NodeID); err != nil {
		return err
	} else if !there {
		s.removed = append(s.removed, r.NodeID)
	}
	return nil
}

// SetPusher names who reaches the nodes: the gateway, which is made after.
func (s *Service) SetPusher(p Pusher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pusher = p
}

// SetChannels names who has the data channels: the relay, which is made after.
func (s *Service) SetChannels(c Channels) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels = c
}

func (s *Service) rims() (Pusher, Channels) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pusher, s.channels
}

func (s *Service) connected(node string) bool {
	p, _ := s.rims()
	return p != nil && p.Connected(node)
}

func clip(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return text
}
