package identity

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/backoff"
	"ssmagent/internal/sigv4"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/vault"
	"ssmagent/internal/wire/ssm"
)

// The sources of a node's credentials, as aws.Credentials.Source has them and
// the stock agent names them.
const (
	SourceSSM = "SSM" // a role token
	SourceEC2 = "EC2" // the instance profile
)

// profileTrusted is how long the credentials of an instance profile that was
// tried count, at most.
const profileTrusted = time.Hour

// NewInstanceProvider returns the provider of an EC2 instance: its instance
// profile where that may speak for the node, else default host management,
// which takes a registration of the instance by itself. ping tries
// credentials. Of o, Key and Fingerprint are not used.
func NewInstanceProvider(o Options, c Cloud, ping func(context.Context, aws.CredentialsProvider) error) *Provider {
	i := &instance{o: o, cloud: c, ping: ping}
	return &Provider{o: o, wake: make(chan struct{}, 1), ask: i.fetch, why: i.why}
}

// instance gets credentials for an EC2 instance.
type instance struct {
	o     Options
	cloud Cloud
	ping  func(context.Context, aws.CredentialsProvider) error
}

// why is the kind of a failure: but for a denial, instances have their own.
func (i *instance) why(err error) backoff.TokenFailure {
	if c := cause(err); c == backoff.TokenForbidden {
		return c
	}
	return backoff.TokenRefusedEC2
}

func (i *instance) fetch(ctx context.Context) (token, error) {
	profile, err := i.ofProfile(ctx)
	if err == nil {
		return profile, nil
	}
	refused := errors.Is(err, errNoProfile) || ssmclient.Code(err) == ssmclient.AccessDenied || ssmclient.Code(err) == "AssumeRoleUnauthorizedAccess"
	if !refused || ctx.Err() != nil {
		return token{}, err
	}
	t, hostErr := i.ofHost(ctx)
	if hostErr != nil {
		return token{}, fmt.Errorf("the instance profile: %w; default host management: %w; "+
			"give the instance a profile with AmazonSSMManagedInstanceCore, or turn on default host management", err, hostErr)
	}
	return t, nil
}

// errNoProfile is wrapped when the metadata service has no credentials.
var errNoProfile = errors.New("it has no credentials")

func (i *instance) ofProfile(ctx context.Context) (token, error) {
	c, err := i.cloud.InstanceProfile.Retrieve(ctx)
	if err != nil {
		return token{}, fmt.Errorf("%w: %w", errNoProfile, err)
	}
	tried := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return c, nil })
	if err := i.ping(ctx, tried); err != nil {
		return token{}, err
	}
	now := i.o.Skew.Now(i.o.Clock)
	if end := now.Add(profileTrusted); !c.CanExpire || end.Before(c.Expires) {
		c.CanExpire, c.Expires = true, end
	}
	c.Source = SourceEC2
	return token{Credentials: c, retrieved: now}, nil
}

// ofHost gets a role token as the host that registered itself.
func (i *instance) ofHost(ctx context.Context) (token, error) {
	key, err := i.registered(ctx)
	if err != nil {
		return token{}, err
	}
	client := i.client()
	client.Signer = hostSigner{client.Signer, key}
	t, _, err := i.o.tokenBy(ctx, client, i.o.Identity.InstanceID)
	return t, err
}

func (i *instance) client() *ssmclient.Client {
	c := i.o.client(nil)
	c.Signer = ssmclient.CredentialsSigner{Credentials: i.cloud.HostRole, Region: i.o.Region, Clock: i.o.Clock, Skew: i.o.Skew}
	return c
}

// registered is the key that this instance is registered with. One of another
// instance, whose disk this was, does not count.
func (i *instance) registered(ctx context.Context) (*rsa.PrivateKey, error) {
	r, err := loadEC2(i.o.Vault)
	if err != nil {
		return nil, err
	}
	if r.InstanceID == i.o.Identity.InstanceID {
		return r.key()
	}
	key, err := makeKey(i.o.newKey)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	pub, err := sigv4.EncodePublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	if err := i.o.Vault.CheckWritable(); err != nil {
		return nil, err
	}
	id := i.o.Identity
	in := ssm.RegisterManagedInstanceInput{Fingerprint: id.InstanceID, PublicKey: pub, PublicKeyType: sigv4.KeyType}
	if err := i.client().Call(ctx, "RegisterManagedInstance", in, nil); err != nil {
		if ssmclient.Code(err) == "InstanceAlreadyRegistered" {
			return nil, fmt.Errorf("%w; its key is not on this disk: deregister %s (aws ssm deregister-managed-instance)", err, id.InstanceID)
		}
		return nil, err
	}
	rec, err := registration{InstanceID: id.InstanceID, Region: id.Region, PublicKey: pub}.withKey(key, i.o.Clock.Now())
	if err != nil {
		return nil, err
	}
	i.o.Log.Info("this instance registered itself for default host management", "instance", id.InstanceID)
	return key, rec.store(i.o.Vault, vault.EC2RegistrationKey)
}

// loadEC2 is the record of an instance's own registration; what is damaged is
// made anew, as it only stands for this instance.
func loadEC2(v *vault.Vault) (registration, error) {
	raw, err := v.Get(vault.EC2RegistrationKey)
	if errors.Is(err, vault.ErrNotFound) {
		return registration{}, nil
	}
	if err != nil {
		return registration{}, fmt.Errorf("read the instance's registration: %w", err)
	}
	return parseRegistration(raw)
}

// hostSigner proves besides an ordinary signature that the host has the key it
// was registered with.
type hostSigner struct {
	ssmclient.Signer

	key *rsa.PrivateKey
}

// Sign implements ssmclient.Signer.
func (s hostSigner) Sign(ctx context.Context, r *http.Request, body []byte, service string) error {
	if err := s.Signer.Sign(ctx, r, body, service); err != nil {
		return err
	}
	return sigv4.ProveKey(r, s.key)
}
