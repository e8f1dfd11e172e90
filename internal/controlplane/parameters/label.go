package parameters

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"sync"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

// maxLabels is how many labels a version may have.
const maxLabels = 10

var labelForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z_.\-][a-zA-Z0-9_.\-]{0,99}$`) })

// validLabel: labels do not begin with a digit, as version numbers do.
func validLabel(label string) bool {
	low := strings.ToLower(label)
	return labelForm().MatchString(label) && !strings.HasPrefix(low, "aws") && !strings.HasPrefix(low, "ssm")
}

// label attaches labels to a version. One that another version has moves here;
// those that cannot be labels are told and left out.
func (s *Service) label(_ context.Context, _ api.Caller, in ssm.LabelParameterVersionInput) (ssm.LabelParameterVersionOutput, error) {
	var out ssm.LabelParameterVersionOutput
	err := s.opt.DB.Update(func(tx *store.Tx) error {
		out = ssm.LabelParameterVersionOutput{InvalidLabels: []string{}}
		p, list, target, err := s.labels(tx, in.Name, in.ParameterVersion)
		if err != nil {
			return err
		}
		out.ParameterVersion = int64(list[target].Number)
		for _, label := range distinct(in.Labels) {
			if !validLabel(label) {
				out.InvalidLabels = append(out.InvalidLabels, label)
				continue
			}
			for i := range list {
				list[i].Labels = slices.DeleteFunc(list[i].Labels, func(have string) bool { return have == label })
			}
			list[target].Labels = append(list[target].Labels, label)
		}
		if n := len(list[target].Labels); n > maxLabels {
			return api.Errorf("ParameterVersionLabelLimitExceeded", "version %d of %s would have %d labels, at most %d are allowed", list[target].Number, p.Name, n, maxLabels)
		}
		for _, v := range list {
			if err := versions.Put(tx, versionKey(p.Name, v.Number), v); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// labels are a parameter's versions, and which of them is the one of number n,
// the latest for 0.
func (s *Service) labels(tx *store.Tx, name string, n int64) (p Parameter, list []Version, target int, err error) {
	if p, err = s.lookUp(tx, name); err != nil {
		return p, nil, 0, err
	}
	if list, err = all(tx, p); err != nil {
		return p, nil, 0, err
	}
	if n == 0 {
		n = int64(p.Latest)
	}
	target = slices.IndexFunc(list, func(v Version) bool { return int64(v.Number) == n })
	if target < 0 {
		err = api.Errorf(codeVersionNotFound, "the parameter %s has no version %d", p.Name, n)
	}
	return p, list, target, err
}

func (s *Service) unlabel(_ context.Context, _ api.Caller, in ssm.UnlabelParameterVersionInput) (ssm.UnlabelParameterVersionOutput, error) {
	var out ssm.UnlabelParameterVersionOutput
	err := s.opt.DB.Update(func(tx *store.Tx) error {
		out = ssm.UnlabelParameterVersionOutput{RemovedLabels: []string{}, InvalidLabels: []string{}}
		p, list, target, err := s.labels(tx, in.Name, in.ParameterVersion)
		if err != nil {
			return err
		}
		v := list[target]
		for _, label := range distinct(in.Labels) {
			i := slices.Index(v.Labels, label)
			if i < 0 {
				out.InvalidLabels = append(out.InvalidLabels, label)
				continue
			}
			v.Labels = slices.Delete(v.Labels, i, i+1)
			out.RemovedLabels = append(out.RemovedLabels, label)
		}
		return versions.Put(tx, versionKey(p.Name, v.Number), v)
	})
	return out, err
}
