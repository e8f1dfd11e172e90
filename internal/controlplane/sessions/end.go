package sessions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/mgs"
)

// maxDetails and maxOutput bound an agent's text about the end, for operators
// and for the client's user.
const (
	maxDetails = 1024
	maxOutput  = 4096
)

func isForeign(err error) bool { return errors.Is(err, ErrForeign) }

// ending is a reason to end a session.
type ending struct {
	state    State
	details  string
	reported bool // by the agent
	log      Log
}

// apply changes the record and its indexes; false: there is nothing to change.
func (e ending) apply(tx *store.Tx, r *Session, now time.Time) (bool, error) {
	was := *r
	switch {
	case r.State == Active:
		r.State, r.Details, r.End = e.state, clip(e.details, maxDetails), now
	case r.State == Terminating && (e.reported || e.state != Terminating):
		r.State = Terminated
	}
	if e.reported && !r.Reported {
		r.Reported, r.Log = true, e.log
	}
	if *r == was {
		return false, nil
	}
	if r.Agent = (Token{}); r.Seen {
		r.Client = Token{}
	} // else the client is still to come, and learns why there is nothing
	key := untoldKey(r.NodeID, r.ID)
	if r.Reported {
		if err := untold.Delete(tx, key); err != nil {
			return false, err
		}
	}
	if was.State != Active {
		return true, Sessions.Put(tx, r.ID, *r)
	}
	if !r.Reported {
		if err := untold.Put(tx, key, mark{}); err != nil {
			return false, err
		}
	}
	return true, errors.Join(
		active.Delete(tx, fallingKey(r.Start, r.ID)), history.Put(tx, fallingKey(r.Start, r.ID), mark{}),
		finished.Put(tx, risingKey(r.End, r.ID), mark{}), orders.Delete(tx, r.ID), Sessions.Put(tx, r.ID, *r))
}

// end makes the end durable. It returns the record as it is now, and whether
// it was active before. node, when not "", must be the session's.
func (s *Service) end(id, node string, e ending) (r Session, first bool, err error) {
	now := s.clock.Now()
	err = s.db.Update(func(tx *store.Tx) error {
		var ok bool
		if r, ok, err = Sessions.Get(tx, id); err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("%w: %q", ErrUnknown, clip(id, 96))
		}
		if node != "" && r.NodeID != node {
			return fmt.Errorf("%w: %s", ErrForeign, id)
		}
		first = r.State == Active
		_, err = e.apply(tx, &r, now)
		return err
	})
	if err != nil {
		return r, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.live[id]; l != nil {
		if r.State == Terminating {
			l.ended = r.End
			s.schedule(l)
		} else {
			s.drop(l)
		}
	}
	return r, first, nil
}

// TaskComplete takes an agent's word that a session has ended. It may be
// repeated. When it returns nil the end is durable and agent_task_complete
// can be acknowledged. The error is ErrUnknown, ErrForeign or the store's.
func (s *Service) TaskComplete(node string, c mgs.AgentTaskComplete) error {
	state := Terminated
	if c.FinalTaskStatus != "Success" && c.FinalTaskStatus != "Cancelled" {
		state = Failed
	}
	e := ending{state: state, details: c.Output, reported: true, log: Log{
		S3Bucket: clip(c.S3Bucket, 255), S3Key: clip(c.S3UrlSuffix, 1024), Group: clip(c.CwlGroup, 512), Stream: clip(c.CwlStream, 512)}}
	r, first, err := s.end(c.TaskId, node, e)
	if err != nil {
		return err
	}
	if first {
		s.log.Info("session ended", "session", r.ID, "node", node, "status", string(state))
		if _, channels := s.rims(); channels != nil {
			channels.Finish(r.ID, clip(c.Output, maxOutput))
		}
	}
	return nil
}

// impose ends a session by our word, and tells both sides.
func (s *Service) impose(ctx context.Context, id string, to State, text string) error {
	r, first, err := s.end(id, "", ending{state: to, details: text})
	if err != nil || !first {
		return err
	}
	s.log.Info("session ended", "session", id, "node", r.NodeID, "cause", text)
	told := false
	if _, channels := s.rims(); channels != nil {
		told = channels.Terminate(id, text)
	}
	if !told {
		s.close(ctx, r.NodeID, id)
	}
	return nil
}

// close tells the node, on its control channel, that a session is over.
func (s *Service) close(ctx context.Context, node, id string) {
	b, err := json.Marshal(Closed(s.clock.Now(), id, node, ""))
	if err != nil {
		s.log.Error("encode channel_closed", "error", err)
		return
	}
	s.push(ctx, node, mgs.TypeChannelClosed, b)
}

// Closed is the payload that ends a session for a side.
func Closed(now time.Time, id, destination, text string) mgs.ChannelClosed {
	return mgs.ChannelClosed{MessageId: uuid.NewString(), CreatedDate: mgs.FormatTime(now), DestinationId: destination,
		SessionId: id, MessageType: mgs.TypeChannelClosed, SchemaVersion: 1, Output: text}
}

// NodeRemoved has Run end the sessions of a node that was deregistered. It
// does not block; New finds what a crash left open.
func (s *Service) NodeRemoved(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removed = append(s.removed, node)
	s.kick()
}

// bury ends the sessions of removed nodes.
func (s *Service) bury() error {
	s.mu.Lock()
	removed := map[string]bool{}
	for _, n := range s.removed {
		removed[n] = true
	}
	s.removed = nil
	var ids []string
	for id, l := range s.live {
		if removed[l.node] {
			ids = append(ids, id)
		}
	}
	s.mu.Unlock()
	for _, id := range ids {
		const text = "session ended: its node was deregistered"
		_, first, err := s.end(id, "", ending{state: Terminated, details: text, reported: true})
		if err != nil {
			for n := range removed {
				s.NodeRemoved(n)
			}
			return fmt.Errorf("end the sessions of removed nodes: %w", err)
		}
		if _, channels := s.rims(); first && channels != nil {
			channels.Terminate(id, text)
		}
	}
	return nil
}
