package nodes

import (
	"context"
	"crypto/subtle"
	"strings"
	"time"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/sigv4"
	"ssmagent/internal/wire/ssm"
)

const maxFingerprint = 2048

func (s *Service) register(_ context.Context, c api.Caller, in ssm.RegisterManagedInstanceInput) (ssm.RegisterManagedInstanceOutput, error) {
	var out ssm.RegisterManagedInstanceOutput
	if err := checkRegistration(c, in); err != nil {
		return out, err
	}
	now := s.opt.Clock.Now()
	err := s.opt.DB.Update(func(tx *store.Tx) error {
		n := Node{IAMRole: in.IamRole, Tags: in.Tags, Registered: now, PublicKey: in.PublicKey, PublicKeyType: in.PublicKeyType,
			Fingerprint: in.Fingerprint, SourceIP: c.SourceIP}
		if in.ActivationId != "" {
			if err := s.admit(tx, in, &n, now); err != nil {
				return err
			}
		}
		var err error
		if n.ID, err = newNodeID(tx, in); err != nil {
			return err
		}
		out.InstanceId = n.ID
		return Nodes.Put(tx, n.ID, n)
	})
	if err != nil {
		return ssm.RegisterManagedInstanceOutput{}, err
	}
	s.opt.Log.Info("node registered", "node", out.InstanceId, "activation", in.ActivationId, "address", c.SourceIP)
	return out, nil
}

// newNodeID is a new id, or on EC2 the instance's own, which is taken once.
func newNodeID(tx *store.Tx, in ssm.RegisterManagedInstanceInput) (string, error) {
	if !onEC2(in) {
		return freeID(tx)
	}
	_, taken, err := Nodes.Get(tx, in.Fingerprint)
	if err == nil && taken {
		err = api.Errorf("InstanceAlreadyRegistered", "%s is registered already", in.Fingerprint)
	}
	return in.Fingerprint, err
}

// onEC2 says whether a registration is that of an EC2 instance: signed, with
// neither an activation nor a role, its id as fingerprint.
func onEC2(in ssm.RegisterManagedInstanceInput) bool {
	return in.ActivationId == "" && in.IamRole == "" && strings.HasPrefix(in.Fingerprint, "i-") && api.Matches("instanceId", in.Fingerprint)
}

func checkRegistration(c api.Caller, in ssm.RegisterManagedInstanceInput) error {
	if err := checkKey("PublicKey", in.PublicKey, "PublicKeyType", in.PublicKeyType); err != nil {
		return err
	}
	switch {
	case in.Fingerprint == "" || len(in.Fingerprint) > maxFingerprint:
		return api.Errorf(api.CodeValidation, "Fingerprint has %d bytes, needs 1 to %d", len(in.Fingerprint), maxFingerprint)
	case (in.ActivationId == "") != (in.ActivationCode == ""):
		return api.Errorf(api.CodeValidation, "ActivationId and ActivationCode go together: give both")
	case in.ActivationId != "":
		if in.IamRole != "" || len(in.Tags) > 0 {
			return api.Errorf(api.CodeValidation, "IamRole and Tags come from the activation: leave them out, or sign the call and leave out the activation")
		}
		return nil
	case c.Kind != api.Operator:
		return api.Errorf("InvalidActivation", "an unsigned registration needs ActivationId and ActivationCode")
	case onEC2(in):
		return nil
	case in.IamRole == "" || len(in.IamRole) > 64:
		return api.Errorf(api.CodeValidation, "IamRole has %d characters, needs 1 to 64 for a registration without an activation", len(in.IamRole))
	}
	if err := api.CheckTags("Tags", in.Tags); err != nil {
		return err
	}
	return nil
}

func checkKey(member, key, typeMember, keyType string) error {
	if keyType != sigv4.KeyType {
		return api.Errorf(api.CodeValidation, "%s is %q, needs %s", typeMember, api.Clip(keyType, 64), sigv4.KeyType)
	}
	if _, err := sigv4.DecodePublicKey(key); err != nil {
		return api.Errorf(api.CodeValidation, "%s is no base64 of an RSA key of 2048 bits or more: %v", member, err)
	}
	return nil
}

// admit takes one registration of the activation and gives n what it grants.
// A wrong id and a wrong code get the same answer, so that neither is shown.
func (s *Service) admit(tx *store.Tx, in ssm.RegisterManagedInstanceInput, n *Node, now time.Time) error {
	a, ok, err := Activations.Get(tx, in.ActivationId)
	if err != nil {
		return err
	}
	right := subtle.ConstantTimeCompare([]byte(a.CodeHash), []byte(HashCode(string(in.ActivationCode)))) == 1
	switch {
	case !ok || !right:
		return api.Errorf("InvalidActivation", "no activation has this id and this code: check both, or make a new activation")
	case !now.Before(a.Expires):
		return api.Errorf("ActivationExpired", "the activation expired at %s: make a new one", a.Expires.UTC().Format(time.RFC3339))
	case a.Count >= a.Limit:
		return api.Errorf("ActivationExpired", "the activation is used up: it admits %d and has admitted %d: make a new one", a.Limit, a.Count)
	}
	a.Count++
	n.ActivationID, n.IAMRole, n.Tags, n.Name = a.ID, a.IAMRole, a.Tags, a.DefaultName
	return Activations.Put(tx, a.ID, a)
}

func (s *Service) roleToken(_ context.Context, c api.Caller, in ssm.RequestManagedInstanceRoleTokenInput) (ssm.RequestManagedInstanceRoleTokenOutput, error) {
	var n Node
	err := s.opt.DB.View(func(tx *store.Tx) error {
		var ok bool
		var err error
		if n, ok, err = Nodes.Get(tx, c.InstanceID); err == nil && !ok {
			err = noNode(c.InstanceID)
		}
		return err
	})
	if err != nil {
		return ssm.RequestManagedInstanceRoleTokenOutput{}, err
	}
	if subtle.ConstantTimeCompare([]byte(n.Fingerprint), []byte(in.Fingerprint)) != 1 {
		s.stranger(n.ID, c.SourceIP)
		return ssm.RequestManagedInstanceRoleTokenOutput{}, api.Errorf("MachineFingerprintDoesNotMatch",
			"the fingerprint is not the one that %s was registered with: this looks like a clone of it; register it anew", n.ID)
	}
	t, err := s.opt.IssueToken(n.ID, s.opt.TokenLife)
	t.UpdateKeyPair = n.RotateKey
	return t, err
}

// requestRotation has every role token of a node ask for a new key, until it
// comes.
func (s *Service) requestRotation(_ context.Context, _ api.Caller, in ssm.RequestKeyRotationInput) (ssm.Empty, error) {
	err := s.change(in.InstanceId, func(n *Node) error {
		if resourceType(*n) == "EC2Instance" {
			return api.Errorf("InvalidInstanceId", "%s is an EC2 instance: only nodes of a hybrid activation or a role replace their keys", n.ID)
		}
		n.RotateKey = true
		return nil
	})
	if err == nil {
		s.opt.Log.Info("the node is asked for a new key with its next role token", "node", in.InstanceId)
	}
	return ssm.Empty{}, err
}

// updateKey takes a node's new key. The same one again changes nothing, so it
// does not count as the one that was asked for.
func (s *Service) updateKey(_ context.Context, c api.Caller, in ssm.UpdateManagedInstancePublicKeyInput) (ssm.Empty, error) {
	if err := checkKey("NewPublicKey", in.NewPublicKey, "NewPublicKeyType", in.NewPublicKeyType); err != nil {
		return ssm.Empty{}, err
	}
	fresh := false
	err := s.change(c.InstanceID, func(n *Node) error {
		if fresh = n.PublicKey != in.NewPublicKey; fresh {
			n.PublicKey, n.PublicKeyType, n.RotateKey = in.NewPublicKey, in.NewPublicKeyType, false
		}
		return nil
	})
	if err == nil && fresh {
		s.opt.Log.Info("the node has a new key", "node", c.InstanceID, "address", c.SourceIP)
	}
	return ssm.Empty{}, err
}

// ping records a health ping. Members that the ping does not have keep the
// value of an earlier one: the empty ping has four.
func (s *Service) ping(_ context.Context, c api.Caller, in ssm.UpdateInstanceInformationInput) (ssm.Empty, error) {
	if err := c.MayActFor(in.InstanceId); err != nil {
		return ssm.Empty{}, err
	}
	if err := checkPing(in); err != nil {
		return ssm.Empty{}, err
	}
	now := s.opt.Clock.Now()
	return ssm.Empty{}, s.change(in.InstanceId, func(n *Node) error {
		n.LastPing, n.SourceIP = now, c.SourceIP
		n.Info = merge(n.Info, in)
		return nil
	})
}

func checkPing(in ssm.UpdateInstanceInformationInput) error {
	if len(in.AgentVersion) < 5 {
		return api.Errorf(api.CodeValidation, "AgentVersion has %d characters, needs at least 5", len(in.AgentVersion))
	}
	for _, m := range []struct{ name, v string }{
		{"AgentName", in.AgentName}, {"AgentVersion", in.AgentVersion}, {"AgentStatus", in.AgentStatus}, {"ComputerName", in.ComputerName},
		{"IPAddress", in.IPAddress}, {"PlatformName", in.PlatformName}, {"PlatformType", in.PlatformType}, {"PlatformVersion", in.PlatformVersion},
	} {
		if len(m.v) > 512 {
			return api.Errorf(api.CodeValidation, "%s has %d bytes, needs at most 512", m.name, len(m.v))
		}
	}
	return nil
}

func merge(old, in ssm.UpdateInstanceInformationInput) ssm.UpdateInstanceInformationInput {
	for _, f := range []struct{ to, from *string }{
		{&old.AgentName, &in.AgentName}, {&old.AgentVersion, &in.AgentVersion}, {&old.InstanceId, &in.InstanceId},
		{&old.PlatformType, &in.PlatformType}, {&old.AgentStatus, &in.AgentStatus}, {&old.ComputerName, &in.ComputerName},
		{&old.IPAddress, &in.IPAddress}, {&old.PlatformName, &in.PlatformName}, {&old.PlatformVersion, &in.PlatformVersion},
	} {
		if *f.from != "" {
			*f.to = *f.from
		}
	}
	for _, f := range []struct{ to, from **string }{
		{&old.AvailabilityZone, &in.AvailabilityZone}, {&old.AvailabilityZoneId, &in.AvailabilityZoneId}, {&old.SSMConnectionChannel, &in.SSMConnectionChannel},
	} {
		if *f.from != nil {
			*f.to = *f.from
		}
	}
	return old
}

func (s *Service) deregister(_ context.Context, c api.Caller, in ssm.DeregisterManagedInstanceInput) (ssm.Empty, error) {
	if err := c.MayActFor(in.InstanceId); err != nil {
		return ssm.Empty{}, err
	}
	err := s.opt.DB.Update(func(tx *store.Tx) error {
		_, ok, err := Nodes.Get(tx, in.InstanceId)
		if err != nil {
			return err
		}
		if !ok {
			return noNode(in.InstanceId)
		}
		if err := forget(tx, in.InstanceId); err != nil {
			return err
		}
		return Nodes.Delete(tx, in.InstanceId)
	})
	if err == nil {
		s.opt.Log.Info("node deregistered", "node", in.InstanceId)
		s.deregistered(in.InstanceId)
	}
	return ssm.Empty{}, err
}

func (s *Service) updateRole(_ context.Context, _ api.Caller, in ssm.UpdateManagedInstanceRoleInput) (ssm.Empty, error) {
	return ssm.Empty{}, s.change(in.InstanceId, func(n *Node) error {
		n.IAMRole = in.IamRole
		return nil
	})
}
