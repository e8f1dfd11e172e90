package sessions

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/nodes"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/secret"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
	"ssmagent/internal/wire/ssm"
)

const codeNotConnected = "TargetNotConnected"

// maxPerNode is how many sessions stock agents run at once. One more would
// stop such an agent's control channel for good.
const maxPerNode = 1000

// maxOrder leaves room for the frame around an order.
const maxOrder = frame.MaxSize - 4<<10

// Ops are the operators' operations.
func (s *Service) Ops() api.Ops {
	allow := []api.Kind{api.Operator}
	return api.Ops{
		"AmazonSSM.StartSession":        {Allow: allow, Handle: api.Strict(s.StartSession)},
		"AmazonSSM.ResumeSession":       {Allow: allow, Handle: api.Strict(s.ResumeSession)},
		"AmazonSSM.TerminateSession":    {Allow: allow, Handle: api.Strict(s.TerminateSession)},
		"AmazonSSM.DescribeSessions":    {Allow: allow, Handle: api.Strict(s.DescribeSessions)},
		"AmazonSSM.GetConnectionStatus": {Allow: allow, Handle: api.Strict(s.GetConnectionStatus)},
	}
}

// StartSession implements the operation: the session is durable, then its
// order goes to the node.
func (s *Service) StartSession(ctx context.Context, c api.Caller, in ssm.StartSessionInput) (ssm.SessionOutput, error) {
	var p plan
	var node string
	err := s.db.View(func(tx *store.Tx) (err error) {
		if node, err = s.target(tx, in.Target); err != nil {
			return err
		}
		p, err = s.plan(tx, in.DocumentName, in.Parameters)
		return err
	})
	if err != nil {
		return ssm.SessionOutput{}, err
	}
	if node == "" || !s.connected(node) {
		return ssm.SessionOutput{}, api.Errorf(codeNotConnected, "%s is not connected: see that the agent runs there and reaches this control plane", clip(in.Target, 128))
	}
	now := s.clock.Now()
	token, kept := newToken(now)
	r := Session{ID: newID(c.ARN), NodeID: node, DocumentName: p.name, Owner: c.ARN, Reason: in.Reason, Start: now, Idle: p.idle, Max: p.max, Client: kept}
	order, err := p.order(r, s.runAs)
	if err != nil {
		return ssm.SessionOutput{}, err
	}
	l := s.newLive(r)
	if !s.add(l) {
		return ssm.SessionOutput{}, api.Errorf("ServiceQuotaExceededException", "%s has %d sessions, the most that an agent runs: terminate some first", node, maxPerNode)
	}
	if err := s.db.Update(func(tx *store.Tx) error { return create(tx, r, order) }); err != nil {
		s.forget(l)
		return ssm.SessionOutput{}, fmt.Errorf("keep the session: %w", err)
	}
	s.log.Info("session started", "session", r.ID, "node", node, "owner", r.Owner, "document", p.name)
	s.push(ctx, node, mgs.TypeInteractiveShell, order)
	return ssm.SessionOutput{SessionId: r.ID, TokenValue: secret.Text(token), StreamUrl: streamURL(ctx, r.ID)}, nil
}

// add takes up a new session, unless its node has too many.
func (s *Service) add(l *live) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, other := range s.live {
		if other.node == l.node {
			n++
		}
	}
	if n >= maxPerNode {
		return false
	}
	s.live[l.id] = l
	s.schedule(l)
	return true
}

func (s *Service) forget(l *live) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(l)
}

func create(tx *store.Tx, r Session, order []byte) error {
	if _, there, err := nodes.Nodes.Get(tx, r.NodeID); err != nil || !there {
		if err == nil {
			err = api.Errorf(codeNotConnected, "%s was deregistered", r.NodeID)
		}
		return err
	}
	if err := Sessions.Put(tx, r.ID, r); err != nil {
		return err
	}
	if err := orders.Put(tx, r.ID, string(order)); err != nil {
		return err
	}
	return active.Put(tx, fallingKey(r.Start, r.ID), mark{})
}

// order is the payload of interactive_shell. Agents use runAs when the document
// has runAsEnabled.
func (p plan) order(r Session, runAs string) ([]byte, error) {
	task, err := mgs.NewAgentTask(mgs.AgentTaskContent{
		DocumentName: p.name, DocumentContent: p.document, SessionId: r.ID, Parameters: p.parameters, RunAsUser: runAs, SessionOwner: r.Owner,
	})
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(task)
	if err != nil {
		return nil, fmt.Errorf("encode the order: %w", err)
	}
	if len(b) > maxOrder {
		return nil, api.Errorf(api.CodeValidation, "Parameters and document make an order of %d bytes, at most %d can be sent: shorten the values", len(b), maxOrder)
	}
	return b, nil
}

// target finds the node that a text means: its id, or the name that its
// activation gave it or its system has. No node is "".
func (s *Service) target(tx *store.Tx, text string) (string, error) {
	if n, ok, err := nodes.Nodes.Get(tx, text); err != nil || ok {
		return n.ID, err
	}
	var found []string
	err := nodes.Nodes.Scan(tx, "", "", func(_ string, n nodes.Node) (bool, error) {
		if n.Name == text || strings.EqualFold(n.Info.ComputerName, text) {
			found = append(found, n.ID)
		}
		return len(found) < 4, nil
	})
	switch {
	case err != nil || len(found) == 0:
		return "", err
	case len(found) > 1:
		return "", api.Errorf(api.CodeValidation, "Target %q is the name of several nodes (%s): use an id", clip(text, 128), strings.Join(found, ", "))
	}
	return found[0], nil
}

// ResumeSession implements the operation. Of a session that has ended it
// names no token, which ends stock clients with words of their own.
func (s *Service) ResumeSession(ctx context.Context, _ api.Caller, in ssm.ResumeSessionInput) (ssm.SessionOutput, error) {
	var token string
	err := s.db.Update(func(tx *store.Tx) error {
		r, ok, err := Sessions.Get(tx, in.SessionId)
		if err != nil {
			return err
		}
		if !ok {
			return noSession(in.SessionId)
		}
		token = ""
		if r.State != Active {
			return nil
		}
		token, r.Client = newToken(s.clock.Now())
		return Sessions.Put(tx, r.ID, r)
	})
	if err != nil || token == "" {
		return ssm.SessionOutput{SessionId: in.SessionId}, err
	}
	return ssm.SessionOutput{SessionId: in.SessionId, TokenValue: secret.Text(token), StreamUrl: streamURL(ctx, in.SessionId)}, nil
}

// TerminateSession implements the operation. A session that has ended already
// is no error.
func (s *Service) TerminateSession(ctx context.Context, c api.Caller, in ssm.TerminateSessionInput) (ssm.TerminateSessionOutput, error) {
	err := s.impose(ctx, in.SessionId, Terminating, "session ended: terminated by "+userOf(c.ARN))
	if err != nil && IsRefusal(err) {
		err = noSession(in.SessionId)
	}
	return ssm.TerminateSessionOutput(in), err
}

// GetConnectionStatus implements the operation.
func (s *Service) GetConnectionStatus(_ context.Context, _ api.Caller, in ssm.GetConnectionStatusInput) (ssm.GetConnectionStatusOutput, error) {
	out := ssm.GetConnectionStatusOutput{Target: in.Target, Status: ssm.TargetNotConnected}
	err := s.db.View(func(tx *store.Tx) error {
		node, err := s.target(tx, in.Target)
		if node != "" && s.connected(node) {
			out.Status = ssm.TargetConnected
		}
		return err
	})
	return out, err
}

func noSession(id string) *api.Error {
	return api.Errorf("DoesNotExistException", "there is no session %q here", clip(id, 96))
}

// minutesText is a duration for a user.
func minutesText(d time.Duration) string {
	if d == time.Minute {
		return "1 minute"
	}
	return fmt.Sprintf("%d minutes", int(d/time.Minute))
}
