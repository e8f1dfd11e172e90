// Package identity says who this node is: it registers the machine, keeps the
// registration, finds the identity at start and holds its credentials.
package identity

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"

	"ssmagent/internal/config"
	"ssmagent/internal/vault"
)

// Identity is a node's name for the services.
type Identity struct {
	InstanceID string
	Region     string
	Type       string // config.OnPrem, config.EC2, config.ECS or config.Custom
}

// ErrNone is returned by Resolve on a machine that is nobody yet.
var ErrNone = errors.New("failed to find agent identity")

// Resolve finds the identity, in the order of the configuration: the first
// that is usable. The key is that of an OnPrem identity, else nil. A
// registration that is there but cannot be read is an error, and never a
// reason to become somebody else.
func Resolve(ctx context.Context, cfg config.Config, v *vault.Vault, cloud Cloud) (Identity, *rsa.PrivateKey, error) {
	var reasons []string
	for _, kind := range order(cfg) {
		switch kind {
		case config.OnPrem:
			r, err := loadRegistration(v)
			if err != nil {
				return Identity{}, nil, err
			}
			if r.InstanceID == "" {
				reasons = append(reasons, "OnPrem: this machine is not registered")
				continue
			}
			key, err := r.key()
			if err != nil {
				return Identity{}, nil, err
			}
			return Identity{r.InstanceID, r.Region, config.OnPrem}, key, nil
		case config.Custom:
			for _, c := range cfg.Identity.CustomIdentities {
				if c.InstanceID == "" || c.Region == "" {
					continue
				}
				id := Identity{c.InstanceID, c.Region, config.Custom}
				return id, nil, id.check()
			}
			reasons = append(reasons, "CustomIdentity: Identity.CustomIdentities has no entry with InstanceID and Region")
		case config.EC2, config.ECS:
			id, reason := cloud.ask(ctx, kind)
			if reason == "" {
				return id, nil, nil
			}
			reasons = append(reasons, reason)
		}
	}
	return Identity{}, nil, fmt.Errorf("%w (%s); register the machine with amazon-ssm-agent -register -code CODE -id ID -region REGION",
		ErrNone, strings.Join(reasons, "; "))
}

// order is the configured one; in container mode only ECS, unless an order
// was chosen.
func order(cfg config.Config) []string {
	o := cfg.Identity.ConsumptionOrder
	if cfg.Agent.ContainerMode && strings.Join(o, " ") == strings.Join(config.Default().Identity.ConsumptionOrder, " ") {
		return []string{config.ECS}
	}
	return o
}

// Registered is the registration in the vault, false when there is none.
func Registered(v *vault.Vault) (Identity, bool, error) {
	r, err := loadRegistration(v)
	if err != nil || r.InstanceID == "" {
		return Identity{}, false, err
	}
	return Identity{r.InstanceID, r.Region, config.OnPrem}, true, nil
}
