package agent

import (
	"context"
	"crypto/rsa"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/config"
	"ssmagent/internal/identity"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/vault"
	"ssmagent/internal/wire/ssm"
)

// purse is what getting a node's credentials needs.
type purse struct {
	id    identity.Identity
	key   *rsa.PrivateKey // of a registered node
	vault *vault.Vault
	http  *http.Client
	skew  *ssmclient.Skew
	reach *ssmclient.Reach
}

// credentials are the node's, and what keeps them fresh where something must:
// the role token of a registered node, the instance profile or default host
// management of an EC2 instance, the role of an ECS task, or what a custom
// identity finds.
func (a *Agent) credentials(ctx context.Context, p purse) (aws.CredentialsProvider, func(context.Context) error, error) {
	cloud := a.opt.Machine.Cloud
	switch p.id.Type {
	case config.OnPrem, config.EC2:
		o, err := a.options(p)
		if err != nil {
			return nil, nil, err
		}
		provider := identity.NewProvider
		if p.id.Type == config.EC2 {
			provider = func(o identity.Options) *identity.Provider {
				return identity.NewInstanceProvider(o, cloud, a.tryPing(o))
			}
		}
		held := provider(o)
		return held, held.Run, nil
	case config.ECS:
		return aws.NewCredentialsCache(cloud.TaskRole), nil, nil
	}
	if a.opt.Machine.Ambient == nil {
		return nil, nil, fmt.Errorf("an identity of type %s needs credentials from the environment, which this agent was not given", p.id.Type)
	}
	c, err := a.opt.Machine.Ambient(ctx, p.id.Region)
	if err != nil {
		return nil, nil, fmt.Errorf("credentials of %s: %w", p.id.InstanceID, err)
	}
	return c, nil, nil
}

func (a *Agent) options(p purse) (identity.Options, error) {
	endpoint, err := a.cfg.Endpoint(config.ServiceSSM, p.id.Region)
	if err != nil {
		return identity.Options{}, err
	}
	o := identity.Options{
		Identity: p.id, Key: p.key, Vault: p.vault, Endpoint: endpoint, Region: a.cfg.SigningRegion(config.ServiceSSM, p.id.Region),
		UserAgent: a.userAgent(), HTTP: p.http, Clock: a.opt.Clock, Log: a.log, Skew: p.skew, Reach: p.reach,
		Fingerprint: func(ctx context.Context) (string, error) {
			return identity.Fingerprint(ctx, p.vault, a.opt.Machine.Hardware, a.opt.Clock, a.log)
		},
		Share: a.share(p.id),
	}
	if p.id.Type == config.OnPrem {
		o.AutoRotateDays = a.cfg.Profile.KeyAutoRotateDays
	}
	return o, nil
}

// tryPing finds out by an empty ping whether credentials may speak for the
// node.
func (a *Agent) tryPing(o identity.Options) func(context.Context, aws.CredentialsProvider) error {
	return func(ctx context.Context, c aws.CredentialsProvider) error {
		client := ssmclient.Client{
			HTTP: o.HTTP, Endpoint: o.Endpoint, Service: config.ServiceSSM, TargetPrefix: ssm.TargetPrefix, UserAgent: o.UserAgent,
			Signer: ssmclient.CredentialsSigner{Credentials: c, Region: o.Region, Clock: o.Clock, Skew: o.Skew},
			Clock:  o.Clock, Log: o.Log, Skew: o.Skew, Reach: o.Reach,
		}
		return client.Call(ctx, "UpdateInstanceInformation", ssm.UpdateInstanceInformationInput{
			AgentName: a.cfg.Agent.Name, AgentVersion: a.cfg.Agent.Version, InstanceId: o.Identity.InstanceID, PlatformType: a.opt.Machine.Info().Type,
		}, nil)
	}
}
