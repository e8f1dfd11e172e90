package kms

import (
	"context"
	"slices"
	"strings"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/kms"
	"ssmagent/internal/wire/ssm"
)

// checkAlias refuses what is no name, and names that AWS keeps for itself.
func checkAlias(name string) error {
	rest, ok := strings.CutPrefix(name, aliasPrefix)
	bad := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/_-", r))
	}
	switch {
	case !ok || rest == "" || strings.ContainsFunc(rest, bad):
		return api.Errorf("InvalidAliasNameException", "AliasName is %q, needs alias/ and letters, digits and /_-", api.Clip(name, 128))
	case strings.HasPrefix(name, managedPrefix):
		return api.Errorf("InvalidAliasNameException", "AliasName is %s: names that begin with alias/aws/ are reserved", api.Clip(name, 128))
	}
	return nil
}

func (s *Service) createAlias(_ context.Context, _ api.Caller, in kms.CreateAliasInput) (ssm.Empty, error) {
	return ssm.Empty{}, s.point(in.AliasName, in.TargetKeyId, func(name string, there bool) error {
		if there {
			return api.Errorf("AlreadyExistsException", "An alias with the name %s already exists", s.arn(name))
		}
		return nil
	})
}

func (s *Service) updateAlias(_ context.Context, _ api.Caller, in kms.UpdateAliasInput) (ssm.Empty, error) {
	return ssm.Empty{}, s.point(in.AliasName, in.TargetKeyId, func(name string, there bool) error {
		if !there {
			return s.noAlias(name)
		}
		return nil
	})
}

func (s *Service) noAlias(name string) error {
	return api.Errorf(kms.CodeNotFound, "Alias %s is not found.", s.arn(api.Clip(name, 128)))
}

// point has an alias name a key, if allowed lets it.
func (s *Service) point(name, ref string, allowed func(name string, there bool) error) error {
	if err := checkAlias(name); err != nil {
		return err
	}
	now := s.opt.Clock.Now()
	return s.opt.DB.Update(func(tx *store.Tx) error {
		if _, err := s.sweep(tx); err != nil {
			return err
		}
		k, err := s.findKey(tx, ref)
		if err == nil {
			err = s.customers(k)
		}
		if err != nil {
			return err
		}
		if k.State == pendingDeletion {
			return s.pending(k)
		}
		a, there, err := aliases.Get(tx, name)
		if err == nil {
			err = allowed(name, there)
		}
		if err == nil && a.KeyID != k.ID {
			err = roomForAlias(tx, k.ID)
		}
		if err != nil {
			return err
		}
		if !there {
			a.Created = now
		}
		a.KeyID, a.Updated = k.ID, now
		return aliases.Put(tx, name, a)
	})
}

func roomForAlias(tx *store.Tx, keyID string) error {
	n := 0
	err := aliases.Scan(tx, "", "", func(_ string, a alias) (bool, error) {
		if a.KeyID == keyID {
			n++
		}
		return true, nil
	})
	if err == nil && n >= maxAliases {
		err = api.Errorf("LimitExceededException", "the key has %d aliases, the limit: delete some first", n)
	}
	return err
}

func (s *Service) deleteAlias(_ context.Context, _ api.Caller, in kms.DeleteAliasInput) (ssm.Empty, error) {
	if strings.HasPrefix(in.AliasName, managedPrefix) {
		return ssm.Empty{}, api.Errorf(api.CodeAccessDenied, "%s is managed by a service: it cannot be deleted", api.Clip(in.AliasName, 128))
	}
	return ssm.Empty{}, s.opt.DB.Update(func(tx *store.Tx) error {
		_, there, err := aliases.Get(tx, in.AliasName)
		if err == nil && !there {
			err = s.noAlias(in.AliasName)
		}
		if err != nil {
			return err
		}
		return aliases.Delete(tx, in.AliasName)
	})
}

func (s *Service) listAliases(_ context.Context, _ api.Caller, in kms.ListAliasesInput) (kms.ListAliasesOutput, error) {
	var all []kms.AliasListEntry
	err := s.opt.DB.View(func(tx *store.Tx) error {
		only := ""
		if in.KeyId != "" {
			k, err := s.findKey(tx, in.KeyId)
			if err != nil {
				return err
			}
			only = k.ID
		}
		return aliases.Scan(tx, "", "", func(name string, a alias) (bool, error) {
			if only == "" || a.KeyID == only {
				all = append(all, kms.AliasListEntry{AliasName: name, AliasArn: s.arn(name), TargetKeyId: a.KeyID,
					CreationDate: ssm.Time{Time: a.Created}, LastUpdatedDate: ssm.Time{Time: a.Updated}})
			}
			return true, nil
		})
	})
	if err != nil {
		return kms.ListAliasesOutput{}, err
	}
	page := api.PageRequest{Op: "ListAliases", Filters: in.KeyId, Token: in.Marker, Max: in.Limit, Default: 50}
	out := kms.ListAliasesOutput{}
	out.Aliases, out.NextMarker, err = api.Page(page, all, func(a kms.AliasListEntry) string { return a.AliasName })
	out.Truncated = out.NextMarker != ""
	return out, marked(err)
}

// sorted are tags in the order of their keys.
func sorted(tags []kms.Tag) []kms.Tag {
	tags = slices.Clone(tags)
	slices.SortFunc(tags, func(a, b kms.Tag) int { return strings.Compare(a.TagKey, b.TagKey) })
	return tags
}
