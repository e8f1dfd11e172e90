package nodes

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/google/uuid"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/secret"
	"ssmagent/internal/wire/ssm"
)

// Ends of activations: without a date, and the farthest that is taken.
const (
	activationLife    = 24 * time.Hour
	maxActivationLife = 30 * 24 * time.Hour
	defaultPage       = 50
)

// newCode returns 20 random letters and digits, 100 bits, that need no quotes
// in any shell.
func newCode() string { return rand.Text()[:20] }

// HashCode is the form in which a store keeps an activation's code.
func HashCode(code string) string {
	sum := sha256.Sum256([]byte(code))
	return hex.EncodeToString(sum[:])
}

func (s *Service) createActivation(_ context.Context, _ api.Caller, in ssm.CreateActivationInput) (ssm.CreateActivationOutput, error) {
	var out ssm.CreateActivationOutput
	now := s.opt.Clock.Now()
	a := Activation{
		ID: uuid.NewString(), IAMRole: in.IamRole, Description: in.Description, DefaultName: in.DefaultInstanceName,
		Limit: max(in.RegistrationLimit, 1), Created: now, Expires: now.Add(activationLife), Tags: in.Tags,
	}
	if err := api.CheckTags("Tags", in.Tags); err != nil {
		return out, err
	}
	if in.ExpirationDate != nil {
		a.Expires = in.ExpirationDate.Time
	}
	if !a.Expires.After(now) || a.Expires.After(now.Add(maxActivationLife+time.Minute)) {
		return out, api.Errorf(api.CodeValidation, "ExpirationDate is %s, needs a time from now to 30 days ahead", a.Expires.UTC().Format(time.RFC3339))
	}
	code := newCode()
	a.CodeHash = HashCode(code)
	err := s.opt.DB.Update(func(tx *store.Tx) error { return Activations.Put(tx, a.ID, a) })
	return ssm.CreateActivationOutput{ActivationId: a.ID, ActivationCode: secret.Text(code)}, err
}

func (s *Service) describeActivations(_ context.Context, _ api.Caller, in ssm.DescribeActivationsInput) (ssm.DescribeActivationsOutput, error) {
	var out ssm.DescribeActivationsOutput
	for _, f := range in.Filters {
		if !slices.Contains([]string{"ActivationIds", "DefaultInstanceName", "IamRole"}, f.FilterKey) {
			return out, api.Errorf("InvalidFilter", "the filter key %q is not known: use ActivationIds, DefaultInstanceName or IamRole", api.Clip(f.FilterKey, 64))
		}
		if len(f.FilterValues) == 0 {
			return out, api.Errorf("InvalidFilter", "the filter %s has no FilterValues", f.FilterKey)
		}
	}
	var all []Activation
	err := s.opt.DB.View(func(tx *store.Tx) error {
		return Activations.Scan(tx, "", "", func(_ string, a Activation) (bool, error) {
			if a.fits(in.Filters) {
				all = append(all, a)
			}
			return true, nil
		})
	})
	if err != nil {
		return out, err
	}
	page, next, err := api.Page(api.PageRequest{Op: "DescribeActivations", Filters: in.Filters, Token: in.NextToken, Max: in.MaxResults, Default: defaultPage},
		all, func(a Activation) string { return a.ID })
	if err != nil {
		return out, err
	}
	out = ssm.DescribeActivationsOutput{ActivationList: []ssm.Activation{}, NextToken: next}
	for _, a := range page {
		out.ActivationList = append(out.ActivationList, s.show(a))
	}
	return out, nil
}

func (a Activation) fits(filters []ssm.ActivationFilter) bool {
	for _, f := range filters {
		v := map[string]string{"ActivationIds": a.ID, "DefaultInstanceName": a.DefaultName, "IamRole": a.IAMRole}[f.FilterKey]
		if !slices.Contains(f.FilterValues, v) {
			return false
		}
	}
	return true
}

func (s *Service) show(a Activation) ssm.Activation {
	return ssm.Activation{
		ActivationId: a.ID, Description: a.Description, DefaultInstanceName: a.DefaultName, IamRole: a.IAMRole,
		RegistrationLimit: a.Limit, RegistrationsCount: a.Count, ExpirationDate: ssm.Time{Time: a.Expires},
		Expired: !s.opt.Clock.Now().Before(a.Expires), CreatedDate: ssm.Time{Time: a.Created}, Tags: append([]ssm.Tag{}, a.Tags...),
	}
}

func (s *Service) deleteActivation(_ context.Context, _ api.Caller, in ssm.DeleteActivationInput) (ssm.Empty, error) {
	return ssm.Empty{}, s.opt.DB.Update(func(tx *store.Tx) error {
		_, ok, err := Activations.Get(tx, in.ActivationId)
		if err != nil {
			return err
		}
		if !ok {
			return api.Errorf("InvalidActivation", "there is no activation %s (any more)", in.ActivationId)
		}
		return Activations.Delete(tx, in.ActivationId)
	})
}
