package kms

import (
	"context"
	"fmt"

	"ssmagent/internal/controlplane/api"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/wire/kms"
	"ssmagent/internal/wire/ssm"
)

// open is the policy of keys that were given none.
func (s *Service) open() string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::%s:root"},"Action":"kms:*","Resource":"*"}]}`, s.opt.Account)
}

func named(policy string) error {
	if policy != "" && policy != policyName {
		return api.Errorf(kms.CodeNotFound, "PolicyName is %s: a key has one policy, which is called %s", api.Clip(policy, 128), policyName)
	}
	return nil
}

func (s *Service) putPolicy(_ context.Context, _ api.Caller, in kms.PutKeyPolicyInput) (ssm.Empty, error) {
	if err := named(in.PolicyName); err != nil {
		return ssm.Empty{}, err
	}
	_, err := s.change(in.KeyId, func(k *Key) error {
		if k.State == pendingDeletion {
			return s.pending(*k)
		}
		if _, err := parsePolicy(in.Policy, s.keyARN(k.ID)); err != nil {
			return err
		}
		k.Policy = in.Policy
		return nil
	})
	return ssm.Empty{}, err
}

func (s *Service) getPolicy(_ context.Context, _ api.Caller, in kms.GetKeyPolicyInput) (out kms.GetKeyPolicyOutput, err error) {
	if err := named(in.PolicyName); err != nil {
		return out, err
	}
	err = s.opt.DB.View(func(tx *store.Tx) error {
		k, err := s.findKey(tx, in.KeyId)
		if out.Policy, out.PolicyName = k.Policy, policyName; k.Policy == "" {
			out.Policy = s.open()
		}
		return err
	})
	return out, err
}

func (s *Service) listPolicies(_ context.Context, _ api.Caller, in kms.ListKeyPoliciesInput) (out kms.ListKeyPoliciesOutput, err error) {
	err = s.opt.DB.View(func(tx *store.Tx) error {
		_, err := s.findKey(tx, in.KeyId)
		return err
	})
	out.PolicyNames = []string{policyName}
	return out, err
}
