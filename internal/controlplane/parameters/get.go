package parameters

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/secret"
	"ssmagent/internal/wire/ssm"
)

func (s *Service) get(_ context.Context, c api.Caller, in ssm.GetParameterInput) (ssm.GetParameterOutput, error) {
	var out ssm.GetParameterOutput
	err := s.opt.DB.View(func(tx *store.Tx) error {
		p, v, selector, err := s.find(tx, in.Name)
		if err == nil {
			out.Parameter, err = s.parameter(tx, c, p, v, in.WithDecryption)
			out.Parameter.Selector = selector
		}
		return err
	})
	return out, err
}

func (s *Service) getSeveral(_ context.Context, c api.Caller, in ssm.GetParametersInput) (ssm.GetParametersOutput, error) {
	out := ssm.GetParametersOutput{Parameters: []ssm.Parameter{}, InvalidParameters: []string{}}
	err := s.opt.DB.View(func(tx *store.Tx) error {
		for _, name := range distinct(in.Names) {
			p, v, selector, err := s.find(tx, name)
			if code := api.ErrorOf(err).Code; code == codeNotFound || code == codeVersionNotFound {
				out.InvalidParameters = append(out.InvalidParameters, name)
				continue
			}
			if err != nil {
				return err
			}
			found, err := s.parameter(tx, c, p, v, in.WithDecryption)
			if err != nil {
				return err
			}
			found.Selector = selector
			out.Parameters = append(out.Parameters, found)
		}
		return nil
	})
	return out, err
}

// parameter is a version with its value, in plain when decrypt asks for it.
func (s *Service) parameter(tx *store.Tx, c api.Caller, p Parameter, v Version, decrypt bool) (ssm.Parameter, error) {
	value, err := s.value(tx, c, p, v, decrypt)
	return ssm.Parameter{
		Name: p.Name, Type: v.Type, Value: secret.Text(value), Version: int64(v.Number), LastModifiedDate: &ssm.Time{Time: v.Modified},
		ARN: s.arn(p.Name), DataType: v.DataType,
	}, err
}

func (s *Service) value(tx *store.Tx, c api.Caller, p Parameter, v Version, decrypt bool) (string, error) {
	if v.Type != ssm.TypeSecureString || !decrypt {
		return v.Value, nil
	}
	blob, err := base64.StdEncoding.DecodeString(v.Value)
	if err != nil {
		return "", fmt.Errorf("version %d of parameter %s: %w", v.Number, p.Name, err)
	}
	plain, _, err := s.opt.Keys.Open(tx, c, "", blob, s.sealed(p.Name))
	if err != nil {
		return "", keyRefused(v.KeyID, err)
	}
	return string(plain), nil
}

// entry is a version that a list shows.
type entry struct {
	Parameter
	Version
}

func (s *Service) getByPath(_ context.Context, c api.Caller, in ssm.GetParametersByPathInput) (ssm.GetParametersByPathOutput, error) {
	out := ssm.GetParametersByPathOutput{Parameters: []ssm.Parameter{}}
	if err := checkPath("Path", in.Path); err != nil {
		return out, err
	}
	filters, err := pathConditions(in.ParameterFilters)
	if err != nil {
		return out, err
	}
	below := condition{key: keyPath, option: oneLevel, values: []string{in.Path}}
	if in.Recursive {
		below.option = recursive
	}
	page := api.PageRequest{Op: "GetParametersByPath", Filters: []any{in.Path, in.Recursive, in.ParameterFilters}, Token: in.NextToken, Max: in.MaxResults, Default: 10}
	err = s.opt.DB.View(func(tx *store.Tx) error {
		found, err := matching(tx, append(filters, below))
		if err != nil {
			return err
		}
		found, next, err := api.Page(page, found, func(e entry) string { return e.Name })
		if err != nil {
			return err
		}
		out.NextToken = next
		for _, e := range found {
			p, err := s.parameter(tx, c, e.Parameter, e.Version, in.WithDecryption)
			if err != nil {
				return err
			}
			out.Parameters = append(out.Parameters, p)
		}
		return nil
	})
	return out, err
}

func (s *Service) history(_ context.Context, c api.Caller, in ssm.GetParameterHistoryInput) (ssm.GetParameterHistoryOutput, error) {
	out := ssm.GetParameterHistoryOutput{Parameters: []ssm.ParameterHistory{}}
	page := api.PageRequest{Op: "GetParameterHistory", Filters: in.Name, Token: in.NextToken, Max: in.MaxResults, Default: defaultPage}
	err := s.opt.DB.View(func(tx *store.Tx) error {
		p, err := s.lookUp(tx, in.Name)
		if err != nil {
			return err
		}
		list, err := all(tx, p)
		if err != nil {
			return err
		}
		list, next, err := api.Page(page, list, func(v Version) string { return versionKey(p.Name, v.Number) })
		if err != nil {
			return err
		}
		out.NextToken = next
		for _, v := range list {
			value, err := s.value(tx, c, p, v, in.WithDecryption)
			if err != nil {
				return err
			}
			out.Parameters = append(out.Parameters, ssm.ParameterHistory{
				ParameterMetadata: s.metadata(p, v), Value: value, Labels: append([]string{}, v.Labels...),
			})
		}
		return nil
	})
	return out, err
}

func (s *Service) describe(_ context.Context, _ api.Caller, in ssm.DescribeParametersInput) (ssm.DescribeParametersOutput, error) {
	out := ssm.DescribeParametersOutput{Parameters: []ssm.ParameterMetadata{}}
	filters, err := describeConditions(in)
	if err != nil || in.Shared { // by other accounts, of which there are none
		return out, err
	}
	page := api.PageRequest{Op: "DescribeParameters", Filters: []any{in.Filters, in.ParameterFilters}, Token: in.NextToken, Max: in.MaxResults, Default: defaultPage}
	err = s.opt.DB.View(func(tx *store.Tx) error {
		found, err := matching(tx, filters)
		if err != nil {
			return err
		}
		found, out.NextToken, err = api.Page(page, found, func(e entry) string { return e.Name })
		for _, e := range found {
			out.Parameters = append(out.Parameters, s.metadata(e.Parameter, e.Version))
		}
		return err
	})
	return out, err
}

func (s *Service) metadata(p Parameter, v Version) ssm.ParameterMetadata {
	return ssm.ParameterMetadata{
		Name: p.Name, ARN: s.arn(p.Name), Type: v.Type, KeyId: v.KeyID, LastModifiedDate: ssm.Time{Time: v.Modified}, LastModifiedUser: v.User,
		Description: v.Description, AllowedPattern: v.AllowedPattern, Version: int64(v.Number), Tier: v.Tier, Policies: []ssm.Empty{}, DataType: v.DataType,
	}
}

// matching are the parameters that every condition takes, by name: the latest
// version, or the one that has the label that is asked for.
func matching(tx *store.Tx, filters []condition) (found []entry, err error) {
	err = table.Scan(tx, "", "", func(_ string, p Parameter) (bool, error) {
		// What the name and the tags decide needs no version.
		for _, f := range filters {
			if !f.takesName(p) {
				return true, nil
			}
		}
		v, ok, err := shown(tx, p, labelOf(filters))
		if err != nil || !ok {
			return true, err
		}
		for _, f := range filters {
			if !f.takesVersion(v) {
				return true, nil
			}
		}
		found = append(found, entry{p, v})
		return true, nil
	})
	return found, err
}

// shown is the latest version, or the newest with one of the labels.
func shown(tx *store.Tx, p Parameter, labels []string) (v Version, ok bool, err error) {
	if labels == nil {
		v, err = latest(tx, p)
		return v, err == nil, err
	}
	list, err := all(tx, p)
	for _, candidate := range list {
		for _, label := range labels {
			if candidate.has(label) {
				v, ok = candidate, true
			}
		}
	}
	return v, ok, err
}

// checkPath refuses what is no path of a hierarchy.
func checkPath(member, path string) *api.Error {
	if !strings.HasPrefix(path, "/") || !nameForm().MatchString(path) || strings.Contains(path, "//") {
		return api.Errorf(api.CodeValidation, "%s is %s, needs / and the levels of a hierarchy", member, api.Clip(path, 128))
	}
	return nil
}

func noParameter(name string) error {
	return api.Errorf(codeNotFound, "there is no parameter %s here", api.Clip(name, 128))
}
