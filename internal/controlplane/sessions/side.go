package sessions

import (
	"errors"
	"fmt"

	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/mgs"
)

// AgentToken gives the node a token with which to open its side of a session.
// The error is ErrUnknown, ErrForeign, ErrTerminated or the store's. A node
// that asks for a session that is over is told so on its control channel too,
// since some agents keep such a session's processes until then.
func (s *Service) AgentToken(id, node string) (token string, err error) {
	err = s.db.Update(func(tx *store.Tx) error {
		r, err := session(tx, id, node)
		if err != nil {
			return err
		}
		token, r.Agent = newToken(s.clock.Now())
		return Sessions.Put(tx, id, r)
	})
	if err == nil {
		return token, nil
	}
	if IsRefusal(err) && !isForeign(err) {
		s.calls.over(node, id)
	}
	return "", err
}

// session is a session of the node that has not ended.
func session(tx *store.Tx, id, node string) (Session, error) {
	r, ok, err := Sessions.Get(tx, id)
	switch {
	case err != nil:
		return r, err
	case !ok:
		return r, fmt.Errorf("%w: %q", ErrUnknown, clip(id, 96))
	case node != "" && r.NodeID != node:
		return r, fmt.Errorf("%w: %s", ErrForeign, id)
	case r.State != Active:
		return r, fmt.Errorf("%w: %s", ErrTerminated, id)
	}
	return r, nil
}

// Admission is a side's right to its data channel.
type Admission struct {
	Node     string
	Activity *Activity // of the session; the relay touches it
	// Seen says that a client was there before this admission.
	Seen bool
}

// Over is the error of Admit for a client whose session ended before it came:
// it wraps ErrTerminated, and Text is for the client's user.
type Over struct{ Text string }

func (o *Over) Error() string { return ErrTerminated.Error() + " before its client came: " + o.Text }

// Unwrap makes it an ErrTerminated.
func (o *Over) Unwrap() error { return ErrTerminated }

// Admit uses up the token of a side: of the agent on node, or of the client
// when node is "". The error is ErrUnknown, ErrForeign, ErrTerminated (an
// *Over perhaps), ErrToken or the store's.
func (s *Service) Admit(id, node, token string) (Admission, error) {
	r, err := s.spend(id, node, token)
	if err != nil {
		return Admission{}, err
	}
	return s.enter(r, node)
}

// spend uses up a token. It returns the session as it was before.
func (s *Service) spend(id, node, token string) (before Session, err error) {
	var over *Over
	use := func(tx *store.Tx) (r Session, err error) {
		r, err = session(tx, id, node)
		if node == "" && errors.Is(err, ErrTerminated) && r.Client.fits(token, s.clock.Now()) {
			over, r.Client = &Over{r.Details}, Token{}
			return r, nil
		}
		if err != nil {
			return r, err
		}
		t := &r.Client
		if node != "" {
			t = &r.Agent
		}
		if before = r; !t.fits(token, s.clock.Now()) {
			return r, fmt.Errorf("%w: %s", ErrToken, id)
		}
		*t = Token{}
		return r, nil
	}
	// Looking first keeps those who guess away from the commits of others.
	if err := s.db.View(func(tx *store.Tx) error { _, err := use(tx); return err }); err != nil {
		return before, err
	}
	err = s.db.Update(func(tx *store.Tx) error {
		r, err := use(tx)
		if err != nil {
			return err
		}
		if node == "" {
			r.Seen = true
		} else if !r.Opened {
			r.Opened = true
			if err := orders.Delete(tx, id); err != nil {
				return err
			}
		}
		return Sessions.Put(tx, id, r)
	})
	if err == nil && over != nil {
		return before, over
	}
	return before, err
}

// enter admits a side whose token is used up. Its session may have ended
// since: a client then reads why, as one that comes later does.
func (s *Service) enter(before Session, node string) (Admission, error) {
	a, ok := s.admitted(before, node != "")
	switch {
	case ok:
		return a, nil
	case node != "":
		return a, fmt.Errorf("%w: %s", ErrTerminated, before.ID)
	}
	err := s.db.View(func(tx *store.Tx) error {
		r, _, err := Sessions.Get(tx, before.ID)
		if err != nil {
			return err
		}
		return &Over{r.Details}
	})
	return a, err
}

// admitted is false for a session that has ended.
func (s *Service) admitted(r Session, agent bool) (a Admission, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.live[r.ID]
	if l == nil || !l.ended.IsZero() {
		return Admission{}, false
	}
	if agent {
		l.opened = true
		s.schedule(l)
	} else {
		l.seen = true
	}
	return Admission{Node: r.NodeID, Activity: &l.activity, Seen: r.Seen}, true
}

// AgentState takes the agent's word about how its session stands.
func (s *Service) AgentState(id string, state mgs.AgentSessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.live[id]; l != nil && l.ended.IsZero() && state.SessionState == mgs.SessionTerminating {
		l.closing = s.clock.Now()
		s.schedule(l)
	}
}
