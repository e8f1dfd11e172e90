package kms

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/google/uuid"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/kms"
	"ssmagent/internal/wire/ssm"
)

const (
	usage       = "ENCRYPT_DECRYPT"
	spec        = "SYMMETRIC_DEFAULT"
	origin      = "AWS_KMS"
	unsupported = "UnsupportedOperationException"
	keyBytes    = 32
)

func (s *Service) createKey(_ context.Context, _ api.Caller, in kms.CreateKeyInput) (kms.CreateKeyOutput, error) {
	if err := creatable(in); err != nil {
		return kms.CreateKeyOutput{}, err
	}
	k := Key{ID: uuid.NewString(), Description: in.Description, State: enabled, Created: s.opt.Clock.Now(), Tags: in.Tags, Policy: in.Policy}
	if in.Policy != "" {
		if _, err := parsePolicy(in.Policy, s.keyARN(k.ID)); err != nil {
			return kms.CreateKeyOutput{}, err
		}
	}
	err := s.opt.DB.Update(func(tx *store.Tx) error {
		n, err := s.sweep(tx)
		if err != nil {
			return err
		}
		if n >= maxKeys {
			return api.Errorf("LimitExceededException", "there are %d keys, the limit: delete some first", n)
		}
		return create(tx, k)
	})
	if err != nil {
		return kms.CreateKeyOutput{}, err
	}
	s.opt.Log.Info("key created", "key", k.ID)
	return kms.CreateKeyOutput{KeyMetadata: s.metadata(k)}, nil
}

// create keeps a new key with new material.
func create(tx *store.Tx, k Key) error {
	secret := make([]byte, keyBytes)
	_, _ = rand.Read(secret) // never fails
	if err := material.Put(tx, k.ID, secret); err != nil {
		return err
	}
	return keys.Put(tx, k.ID, k)
}

// Provide makes the key of an alias that begins with alias/aws/ unless it is
// there. Such a key belongs to the service that asks for it: operators can
// neither change nor delete it.
func (s *Service) Provide(tx *store.Tx, name, description string) error {
	_, there, err := aliases.Get(tx, name)
	if err != nil || there {
		return err
	}
	now := s.opt.Clock.Now()
	k := Key{ID: uuid.NewString(), Description: description, State: enabled, Created: now, Managed: true}
	if err := create(tx, k); err != nil {
		return err
	}
	return aliases.Put(tx, name, alias{KeyID: k.ID, Created: now, Updated: now})
}

// customers refuses keys that services of ours manage.
func (s *Service) customers(k Key) error {
	if k.Managed {
		return api.Errorf(api.CodeAccessDenied, "%s is managed by a service: it cannot be changed", s.keyARN(k.ID))
	}
	return nil
}

// creatable refuses keys of kinds that there are none of here.
func creatable(in kms.CreateKeyInput) error {
	tags := make([]ssm.Tag, len(in.Tags))
	for i, t := range in.Tags {
		tags[i] = ssm.Tag{Key: t.TagKey, Value: t.TagValue}
	}
	switch {
	case in.KeyUsage != "" && in.KeyUsage != usage:
		return api.Errorf(unsupported, "KeyUsage is %s: only %s is supported here", api.Clip(in.KeyUsage, 128), usage)
	case in.KeySpec != "" && in.KeySpec != spec, in.CustomerMasterKeySpec != "" && in.CustomerMasterKeySpec != spec:
		return api.Errorf(unsupported, "KeySpec is %s: only %s is supported here", api.Clip(in.KeySpec+in.CustomerMasterKeySpec, 128), spec)
	case in.Origin != "" && in.Origin != origin:
		return api.Errorf(unsupported, "Origin is %s: only %s is supported here", api.Clip(in.Origin, 128), origin)
	case in.MultiRegion:
		return api.Errorf(unsupported, "MultiRegion is not supported here: there is one region")
	}
	if err := api.CheckTags("Tags", tags); err != nil {
		return api.Errorf("TagException", "%s", err.Message)
	}
	return nil
}

// sweep removes the keys whose time has come, and returns how many are left.
func (s *Service) sweep(tx *store.Tx) (int, error) {
	n, gone := 0, map[string]bool{}
	err := keys.Scan(tx, "", "", func(id string, k Key) (bool, error) {
		if k.over(s.opt.Clock.Now()) {
			gone[id] = true
		} else {
			n++
		}
		return true, nil
	})
	var names []string
	if err == nil && len(gone) > 0 {
		err = aliases.Scan(tx, "", "", func(name string, a alias) (bool, error) {
			if gone[a.KeyID] {
				names = append(names, name)
			}
			return true, nil
		})
	}
	for _, name := range names {
		if err == nil {
			err = aliases.Delete(tx, name)
		}
	}
	for id := range gone {
		if err == nil {
			err = keys.Delete(tx, id)
		}
		if err == nil {
			err = material.Delete(tx, id)
		}
	}
	return n, err
}

func (s *Service) metadata(k Key) kms.KeyMetadata {
	m := kms.KeyMetadata{
		AWSAccountId: s.opt.Account, KeyId: k.ID, Arn: s.keyARN(k.ID), CreationDate: ssm.Time{Time: k.Created}, Enabled: k.State == enabled,
		Description: k.Description, KeyUsage: usage, KeyState: k.State, Origin: origin, KeyManager: "CUSTOMER",
		CustomerMasterKeySpec: spec, KeySpec: spec, EncryptionAlgorithms: []string{spec},
	}
	if k.Managed {
		m.KeyManager = "AWS"
	}
	if k.State == pendingDeletion {
		m.DeletionDate = &ssm.Time{Time: k.Deletion}
	}
	return m
}

func (s *Service) describeKey(_ context.Context, _ api.Caller, in kms.DescribeKeyInput) (out kms.DescribeKeyOutput, err error) {
	err = s.opt.DB.View(func(tx *store.Tx) error {
		k, err := s.find(tx, in.KeyId)
		if err == nil {
			out.KeyMetadata = s.metadata(k)
		}
		return err
	})
	return out, err
}

func (s *Service) listKeys(_ context.Context, _ api.Caller, in kms.ListKeysInput) (kms.ListKeysOutput, error) {
	var all []kms.KeyListEntry
	now := s.opt.Clock.Now()
	err := s.opt.DB.View(func(tx *store.Tx) error {
		return keys.Scan(tx, "", "", func(id string, k Key) (bool, error) {
			if !k.over(now) {
				all = append(all, kms.KeyListEntry{KeyId: id, KeyArn: s.keyARN(id)})
			}
			return true, nil
		})
	})
	if err != nil {
		return kms.ListKeysOutput{}, err
	}
	page, next, err := api.Page(api.PageRequest{Op: "ListKeys", Token: in.Marker, Max: in.Limit, Default: 100}, all, func(k kms.KeyListEntry) string { return k.KeyId })
	return kms.ListKeysOutput{Keys: page, NextMarker: next, Truncated: next != ""}, marked(err)
}

func (s *Service) listTags(_ context.Context, _ api.Caller, in kms.ListResourceTagsInput) (kms.ListResourceTagsOutput, error) {
	out := kms.ListResourceTagsOutput{Tags: []kms.Tag{}}
	var all []kms.Tag
	err := s.opt.DB.View(func(tx *store.Tx) error {
		k, err := s.findKey(tx, in.KeyId)
		all = k.Tags
		return err
	})
	if err != nil {
		return out, err
	}
	page := api.PageRequest{Op: "ListResourceTags", Filters: in.KeyId, Token: in.Marker, Max: in.Limit, Default: 50}
	out.Tags, out.NextMarker, err = api.Page(page, sorted(all), func(t kms.Tag) string { return t.TagKey })
	out.Truncated = out.NextMarker != ""
	return out, marked(err)
}

func (s *Service) enable(_ context.Context, _ api.Caller, in kms.KeyInput) (ssm.Empty, error) {
	return ssm.Empty{}, s.turn(in.KeyId, enabled)
}

func (s *Service) disable(_ context.Context, _ api.Caller, in kms.KeyInput) (ssm.Empty, error) {
	return ssm.Empty{}, s.turn(in.KeyId, disabled)
}

// turn enables or disables a key. It is idempotent.
func (s *Service) turn(ref, state string) error {
	_, err := s.change(ref, func(k *Key) error {
		if k.State == pendingDeletion {
			return s.pending(*k)
		}
		k.State = state
		return nil
	})
	return err
}

func (s *Service) change(ref string, to func(*Key) error) (Key, error) {
	var k Key
	err := s.opt.DB.Update(func(tx *store.Tx) (err error) {
		if k, err = s.findKey(tx, ref); err != nil {
			return err
		}
		if err := s.customers(k); err != nil {
			return err
		}
		if err := to(&k); err != nil {
			return err
		}
		return keys.Put(tx, k.ID, k)
	})
	if err == nil {
		s.opt.Log.Info("key changed", "key", k.ID, "state", k.State)
	}
	return k, err
}

const defaultWindow = 30 // days

func (s *Service) schedule(_ context.Context, _ api.Caller, in kms.ScheduleKeyDeletionInput) (kms.ScheduleKeyDeletionOutput, error) {
	days := defaultWindow
	if in.PendingWindowInDays != nil {
		days = *in.PendingWindowInDays
	}
	k, err := s.change(in.KeyId, func(k *Key) error {
		if k.State == pendingDeletion {
			return s.pending(*k)
		}
		k.State, k.Deletion = pendingDeletion, s.opt.Clock.Now().Add(time.Duration(days)*24*time.Hour)
		return nil
	})
	if err != nil {
		return kms.ScheduleKeyDeletionOutput{}, err
	}
	return kms.ScheduleKeyDeletionOutput{KeyId: s.keyARN(k.ID), DeletionDate: ssm.Time{Time: k.Deletion}, KeyState: k.State, PendingWindowInDays: days}, nil
}

// cancel keeps a key, which is disabled then.
func (s *Service) cancel(_ context.Context, _ api.Caller, in kms.KeyInput) (kms.CancelKeyDeletionOutput, error) {
	k, err := s.change(in.KeyId, func(k *Key) error {
		if k.State != pendingDeletion {
			return api.Errorf(kms.CodeInvalidState, "%s is not pending deletion.", s.keyARN(k.ID))
		}
		k.State, k.Deletion = disabled, time.Time{}
		return nil
	})
	if err != nil {
		return kms.CancelKeyDeletionOutput{}, err
	}
	return kms.CancelKeyDeletionOutput{KeyId: s.keyARN(k.ID)}, nil
}
