package parameters

import (
	"context"
	"slices"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/ssm"
)

func (s *Service) delete(ctx context.Context, c api.Caller, in ssm.DeleteParameterInput) (ssm.Empty, error) {
	out, err := s.deleteSeveral(ctx, c, ssm.DeleteParametersInput{Names: []string{in.Name}})
	if err == nil && len(out.DeletedParameters) == 0 {
		err = noParameter(in.Name)
	}
	return ssm.Empty{}, err
}

func (s *Service) deleteSeveral(_ context.Context, _ api.Caller, in ssm.DeleteParametersInput) (ssm.DeleteParametersOutput, error) {
	var out ssm.DeleteParametersOutput
	err := s.opt.DB.Update(func(tx *store.Tx) error {
		out = ssm.DeleteParametersOutput{DeletedParameters: []string{}, InvalidParameters: []string{}}
		for _, name := range distinct(in.Names) {
			p, err := s.lookUp(tx, name)
			if api.ErrorOf(err).Code == codeNotFound {
				out.InvalidParameters = append(out.InvalidParameters, name)
				continue
			}
			if err == nil {
				err = remove(tx, p)
			}
			if err != nil {
				return err
			}
			out.DeletedParameters = append(out.DeletedParameters, name)
		}
		return nil
	})
	if err != nil {
		return ssm.DeleteParametersOutput{}, err
	}
	for _, name := range out.DeletedParameters {
		s.opt.Log.Info("parameter deleted", "parameter", name)
	}
	return out, nil
}

func remove(tx *store.Tx, p Parameter) error {
	v, err := latest(tx, p)
	if err == nil {
		err = count(tx, v.Tier, -1)
	}
	for n := p.Oldest; n <= p.Latest && err == nil; n++ {
		err = versions.Delete(tx, versionKey(p.Name, n))
	}
	if err == nil {
		err = table.Delete(tx, p.Name)
	}
	return err
}

// distinct are the names without repetitions, in their order.
func distinct(names []string) []string {
	var out []string
	for _, n := range names {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}
