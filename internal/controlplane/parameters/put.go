package parameters

import (
	"cmp"
	"context"
	"encoding/base64"
	"regexp"
	"strings"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

// Limits as AWS has them.
const (
	maxStandard     = 10_000
	maxAdvanced     = 100_000
	maxVersions     = 100 // of a parameter; older ones go
	standardValue   = 4096
	advancedValue   = 8192
	defaultDataType = "text"
)

func (s *Service) put(_ context.Context, c api.Caller, in ssm.PutParameterInput) (ssm.PutParameterOutput, error) {
	if err := s.checkPut(in); err != nil {
		return ssm.PutParameterOutput{}, err
	}
	var v Version
	now := s.opt.Clock.Now()
	err := s.opt.DB.Update(func(tx *store.Tx) error {
		p, there, err := table.Get(tx, in.Name)
		if err != nil {
			return err
		}
		var old Version
		if there {
			if old, err = s.overwritten(tx, p, in); err != nil {
				return err
			}
		} else {
			p = Parameter{Name: in.Name, Tags: in.Tags, Oldest: 1}
		}
		if v, err = merge(in, old); err != nil {
			return err
		}
		v.Number, v.Modified, v.User = p.Latest+1, now, c.ARN
		p.Latest = v.Number
		if err := s.room(tx, &p, old, v); err != nil {
			return err
		}
		if err := s.seal(tx, c, p.Name, &v); err != nil {
			return err
		}
		if err := versions.Put(tx, versionKey(p.Name, v.Number), v); err != nil {
			return err
		}
		return table.Put(tx, p.Name, p)
	})
	if err != nil {
		return ssm.PutParameterOutput{}, err
	}
	s.opt.Log.Info("parameter written", "parameter", in.Name, "version", v.Number)
	return ssm.PutParameterOutput{Version: int64(v.Number), Tier: v.Tier}, nil
}

// checkPut checks what can be checked without the store.
func (s *Service) checkPut(in ssm.PutParameterInput) error {
	if err := s.checkName(in.Name); err != nil {
		return err
	}
	_, nested, _ := strings.Cut(in.Value, "{{")
	switch {
	case strings.Contains(nested, "}}"):
		return api.Errorf(api.CodeValidation, "Value has {{ }} in it: a parameter cannot refer to another one")
	case in.Policies != "":
		return api.Errorf("InvalidPolicyTypeException", "Policies are not supported here: parameters do not expire")
	case in.DataType != "" && in.DataType != defaultDataType:
		return api.Errorf(api.CodeValidation, "DataType is %s: only %s is supported here", api.Clip(in.DataType, 128), defaultDataType)
	case in.Overwrite && len(in.Tags) > 0:
		return api.Errorf(api.CodeValidation, "Tags and Overwrite exclude each other: use AddTagsToResource")
	}
	if err := api.CheckTags("Tags", in.Tags); err != nil {
		return err
	}
	return nil
}

// overwritten is the version that the new one follows.
func (s *Service) overwritten(tx *store.Tx, p Parameter, in ssm.PutParameterInput) (Version, error) {
	if !in.Overwrite {
		return Version{}, api.Errorf("ParameterAlreadyExists", "there is a parameter %s already: set Overwrite to make a new version of it", p.Name)
	}
	old, err := latest(tx, p)
	if err == nil && in.Type != "" && in.Type != old.Type {
		err = api.Errorf("HierarchyTypeMismatchException", "the parameter %s is of type %s, which cannot be changed: delete it first", p.Name, old.Type)
	}
	return old, err
}

// merge is the version that in makes of old, the zero Version at first. Its
// value is plain.
func merge(in ssm.PutParameterInput, old Version) (Version, error) {
	v := Version{
		Type: cmp.Or(in.Type, old.Type), Value: in.Value, KeyID: cmp.Or(in.KeyId, old.KeyID),
		Description: old.Description, AllowedPattern: old.AllowedPattern, DataType: defaultDataType,
	}
	if in.Description != nil {
		v.Description = *in.Description
	}
	if in.AllowedPattern != nil {
		v.AllowedPattern = *in.AllowedPattern
	}
	switch {
	case v.Type == "":
		return v, api.Errorf(api.CodeValidation, "Type is required for a new parameter: String, StringList or SecureString")
	case v.Type == ssm.TypeSecureString:
		v.KeyID = cmp.Or(v.KeyID, DefaultKey)
	case v.KeyID != "":
		return v, api.Errorf(codeKey, "KeyId is for parameters of type SecureString, this one is of type %s", v.Type)
	}
	var err error
	if v.Tier, err = tier(in.Tier, old.Tier, len(in.Value)); err != nil {
		return v, err
	}
	return v, fitsPattern(v)
}

func fitsPattern(v Version) error {
	if v.AllowedPattern == "" {
		return nil
	}
	re, err := regexp.Compile(v.AllowedPattern)
	if err != nil {
		return api.Errorf("InvalidAllowedPatternException", "AllowedPattern is no regular expression: %v", err)
	}
	if !re.MatchString(v.Value) {
		return api.Errorf("ParameterPatternMismatchException", "Value does not match the AllowedPattern %q", v.AllowedPattern)
	}
	return nil
}

// tier is the tier of a value of size bytes. There is no way back to Standard.
func tier(asked, old string, size int) (string, error) {
	t := cmp.Or(asked, old, standard)
	if t == intelligent {
		t = standard
		if size > standardValue || old == advanced {
			t = advanced
		}
	}
	switch {
	case t == standard && old == advanced:
		return "", api.Errorf(api.CodeValidation, "Tier is Standard, but the parameter is Advanced, which cannot be changed: delete it first")
	case t == standard && size > standardValue:
		return "", api.Errorf(api.CodeValidation, "Value has %d bytes, a Standard parameter has at most %d: choose the Tier Advanced", size, standardValue)
	case size > advancedValue:
		return "", api.Errorf(api.CodeValidation, "Value has %d bytes, a parameter has at most %d", size, advancedValue)
	}
	return t, nil
}

// room counts p under its tier, and lets its oldest version go when there are
// too many.
func (s *Service) room(tx *store.Tx, p *Parameter, old, v Version) error {
	if old.Tier != v.Tier {
		limit := map[string]int{standard: maxStandard, advanced: maxAdvanced}[v.Tier]
		if n, _, err := counts.Get(tx, v.Tier); err != nil {
			return err
		} else if n >= limit {
			return api.Errorf("ParameterLimitExceeded", "there are %d parameters of the tier %s, the limit: delete some first", n, v.Tier)
		}
		if err := count(tx, v.Tier, 1); err != nil {
			return err
		}
		if old.Tier != "" {
			if err := count(tx, old.Tier, -1); err != nil {
				return err
			}
		}
	}
	if p.Latest-p.Oldest < maxVersions {
		return nil
	}
	key := versionKey(p.Name, p.Oldest)
	oldest, _, err := versions.Get(tx, key)
	if err != nil {
		return err
	}
	if len(oldest.Labels) > 0 {
		return api.Errorf("ParameterMaxVersionLimitExceeded", "%s has %d versions, and version %d, the oldest, has the label %s: move it to another version first",
			p.Name, maxVersions, oldest.Number, oldest.Labels[0])
	}
	p.Oldest++
	return versions.Delete(tx, key)
}

// seal replaces the value of a SecureString by its ciphertext.
func (s *Service) seal(tx *store.Tx, c api.Caller, name string, v *Version) error {
	if v.Type != ssm.TypeSecureString {
		return nil
	}
	if v.KeyID == DefaultKey {
		if err := s.opt.Keys.Provide(tx, DefaultKey, "Seals parameters that name no key of their own"); err != nil {
			return err
		}
	}
	blob, _, err := s.opt.Keys.Seal(tx, c, v.KeyID, []byte(v.Value), s.sealed(name))
	if err != nil {
		return keyRefused(v.KeyID, err)
	}
	v.Value = base64.StdEncoding.EncodeToString(blob)
	return nil
}

// keyRefused gives a refusal of the key service the code that there is for it
// here.
func keyRefused(key string, err error) error {
	switch e := api.ErrorOf(err); e.Code {
	case api.CodeInternal:
	case api.CodeAccessDenied: // by the key's policy, as the service answers
		return api.Errorf(api.CodeAccessDenied, "the key %s cannot be used: %s", api.Clip(key, 128), e.Message)
	default:
		return api.Errorf(codeKey, "the key %s cannot be used: %s (%s)", api.Clip(key, 128), e.Message, e.Code)
	}
	return err
}
