package nodes

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

// Presence tells which nodes have their control channel open.
type Presence interface{ Connected(instanceID string) bool }

// Options are what a Service needs.
type Options struct {
	DB    *store.DB
	Clock clock.Clock
	Log   *slog.Logger
	// IssueToken makes a node's credentials.
	IssueToken func(instanceID string, lifetime time.Duration) (ssm.RequestManagedInstanceRoleTokenOutput, error)
	// TokenLife is how long they last; an hour when zero.
	TokenLife time.Duration
	// PingInterval is how often nodes report; 5 minutes, the agents' default,
	// when zero.
	PingInterval time.Duration
}

// Service is the register of nodes. Safe for concurrent use.
type Service struct {
	opt Options

	mu       sync.Mutex
	presence Presence // nil: nobody is connected
	gone     []func(id string)
}

// New returns the service.
func New(o Options) *Service {
	if o.TokenLife == 0 {
		o.TokenLife = time.Hour
	}
	if o.PingInterval == 0 {
		o.PingInterval = 5 * time.Minute
	}
	return &Service{opt: o}
}

// Ops are the operations of this package.
func (s *Service) Ops() api.Ops {
	operator, node := []api.Kind{api.Operator}, []api.Kind{api.Operator, api.Node}
	return api.Ops{
		"AmazonSSM.CreateActivation":                {Allow: operator, Handle: api.Strict(s.createActivation)},
		"AmazonSSM.DescribeActivations":             {Allow: operator, Handle: api.Strict(s.describeActivations)},
		"AmazonSSM.DeleteActivation":                {Allow: operator, Handle: api.Strict(s.deleteActivation)},
		"AmazonSSM.DescribeInstanceInformation":     {Allow: operator, Handle: api.Strict(s.describe)},
		"AmazonSSM.DeregisterManagedInstance":       {Allow: node, Handle: api.Strict(s.deregister)},
		"AmazonSSM.UpdateManagedInstanceRole":       {Allow: operator, Handle: api.Strict(s.updateRole)},
		"AmazonSSM.RequestKeyRotation":              {Allow: operator, Handle: api.Strict(s.requestRotation)},
		"AmazonSSM.RegisterManagedInstance":         {Allow: []api.Kind{api.Anonymous, api.Operator}, Handle: api.Lenient(s.register)},
		"AmazonSSM.RequestManagedInstanceRoleToken": {Allow: []api.Kind{api.NodeKey}, Handle: api.Lenient(s.roleToken)},
		"AmazonSSM.UpdateManagedInstancePublicKey":  {Allow: []api.Kind{api.NodeKey}, Handle: api.Lenient(s.updateKey)},
		"AmazonSSM.UpdateInstanceInformation":       {Allow: node, Handle: api.Lenient(s.ping)},
		"AmazonSSM.ListInstanceAssociations":        {Allow: node, Handle: api.Lenient(s.listInstanceAssociations)},
		"AmazonSSM.ListAssociations":                {Allow: node, Handle: api.Shared(s.listAssociations)},
		"AmazonSSM.DescribeAssociation":             {Allow: node, Handle: api.Shared(s.describeAssociation)},
		"AmazonSSM.UpdateInstanceAssociationStatus": {Allow: node, Handle: api.Lenient(s.associationStatus)},
		"AmazonSSM.UpdateAssociationStatus":         {Allow: node, Handle: api.Shared(s.legacyAssociationStatus)},
		"AmazonSSM.PutInventory":                    {Allow: node, Handle: api.Shared(s.putInventory)},
		"AmazonSSM.PutComplianceItems":              {Allow: node, Handle: api.Shared(s.putCompliance)},
		"AmazonSSM.PutConfigurePackageResult":       {Allow: node, Handle: api.Lenient(s.packageResult)},
	}
}

// Get returns a registered node.
func (s *Service) Get(tx *store.Tx, id string) (Node, bool, error) { return Nodes.Get(tx, id) }

// All returns the registered nodes in the order of their ids.
func (s *Service) All(tx *store.Tx) ([]Node, error) {
	var all []Node
	err := Nodes.Scan(tx, "", "", func(_ string, n Node) (bool, error) {
		all = append(all, n)
		return true, nil
	})
	return all, err
}

// Online says whether a node's control channel is up, or its last ping is
// younger than twice the interval and a minute.
func (s *Service) Online(n Node) bool {
	s.mu.Lock()
	p := s.presence
	s.mu.Unlock()
	if p != nil && p.Connected(n.ID) {
		return true
	}
	return !n.LastPing.IsZero() && s.opt.Clock.Now().Sub(n.LastPing) < 2*s.opt.PingInterval+time.Minute
}

// PublicKey returns a node's key, and false when it is not registered.
func (s *Service) PublicKey(id string) (key string, ok bool, err error) {
	err = s.opt.DB.View(func(tx *store.Tx) error {
		var n Node
		n, ok, err = Nodes.Get(tx, id)
		key = n.PublicKey
		return err
	})
	return key, ok, err
}

// SetPresence names who knows which nodes are connected: the gateway, which is
// made after the register.
func (s *Service) SetPresence(p Presence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.presence = p
}

// OnDeregister has fn called, after the fact is durable, with the id of each
// node that is deregistered. fn must not block.
func (s *Service) OnDeregister(fn func(id string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = append(s.gone, fn)
}

func (s *Service) deregistered(id string) {
	s.mu.Lock()
	fns := slices.Clone(s.gone)
	s.mu.Unlock()
	for _, fn := range fns {
		fn(id)
	}
}

// change applies fn to a node that must exist.
func (s *Service) change(id string, fn func(*Node) error) error {
	return s.opt.DB.Update(func(tx *store.Tx) error {
		n, ok, err := Nodes.Get(tx, id)
		if err != nil {
			return err
		}
		if !ok {
			return noNode(id)
		}
		if err := fn(&n); err != nil {
			return err
		}
		return Nodes.Put(tx, id, n)
	})
}

func noNode(id string) *api.Error {
	return api.Errorf("InvalidInstanceId", "the node %q is not registered here", api.Clip(id, 64))
}

// newID returns mi- and 17 hex digits.
func newID() string { return "mi-" + randomHex(9)[:17] }

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// freeID returns a new id that no node has.
func freeID(tx *store.Tx) (string, error) {
	for range 8 {
		id := newID()
		if _, taken, err := Nodes.Get(tx, id); err != nil || !taken {
			return id, err
		}
	}
	return "", fmt.Errorf("no free node id found")
}
