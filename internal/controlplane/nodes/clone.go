package nodes

import (
	"fmt"
	"time"

	"ssmagent/internal/controlplane/api"
)

// How long a sign of a clone is told, and how often it is noted at most.
const (
	cloneMemory = 24 * time.Hour
	clonePause  = time.Minute
)

// Rivals notes that two machines have a live control channel as one node.
func (s *Service) Rivals(id, first, second string) {
	s.cloneSeen(id, fmt.Sprintf("two agents were connected as it at the same time, from %s and from %s: one is a clone; "+
		"register the clone anew (amazon-ssm-agent -register on it)", api.Clip(first, 64), api.Clip(second, 64)))
}

// stranger notes that somebody with the node's key has another fingerprint.
func (s *Service) stranger(id, address string) {
	s.cloneSeen(id, fmt.Sprintf("a machine at %s has its key and another fingerprint: it is a clone of the node, or the node's hardware has changed; "+
		"register the clone anew (amazon-ssm-agent -register on it)", api.Clip(address, 64)))
}

// cloneSeen tells the log, and keeps it with the node for whoever lists it.
func (s *Service) cloneSeen(id, what string) {
	now := s.opt.Clock.Now()
	fresh := false
	err := s.change(id, func(n *Node) error {
		fresh = n.Clone == nil || now.Sub(n.Clone.Seen) >= clonePause
		if fresh {
			n.Clone = &CloneSign{Seen: now, What: what}
		}
		return nil
	})
	switch {
	case err != nil:
		s.opt.Log.Warn("a node looks cloned", "node", id, "why", what, "error", err)
	case fresh:
		s.opt.Log.Warn("a node looks cloned", "node", id, "why", what)
	}
}

// cloneWarning is what to tell of a node that looks cloned, else empty.
func (s *Service) cloneWarning(n Node) string {
	if n.Clone == nil || s.opt.Clock.Now().Sub(n.Clone.Seen) >= cloneMemory {
		return ""
	}
	return "looks cloned, seen " + n.Clone.Seen.UTC().Format(time.RFC3339) + ": " + n.Clone.What
}
