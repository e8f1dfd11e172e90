package credentials

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/imds"
)

// instanceMetadata makes the client that the environment and p ask for.
func instanceMetadata(m Machine, p *profile) (*imds.Client, error) {
	endpoint := first(m.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"), p.value("ec2_metadata_service_endpoint"))
	mode := first(m.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"), p.value("ec2_metadata_service_endpoint_mode"))
	switch {
	case endpoint != "":
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
			return nil, errors.New("AWS_EC2_METADATA_SERVICE_ENDPOINT is not a URL like " + imds.EndpointIPv4)
		}
	case strings.EqualFold(mode, "IPv6"):
		endpoint = imds.EndpointIPv6
	case mode == "" || strings.EqualFold(mode, "IPv4"):
		endpoint = imds.EndpointIPv4
	default:
		return nil, fmt.Errorf("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE %q must be IPv4 or IPv6", printable(mode))
	}
	noV1 := first(m.Getenv("AWS_EC2_METADATA_V1_DISABLED"), p.value("ec2_metadata_v1_disabled"))
	return &imds.Client{HTTP: m.Direct, Endpoint: strings.TrimRight(endpoint, "/"), V1Disabled: strings.EqualFold(noV1, "true"), Clock: m.Clock, Log: m.Log}, nil
}

// rolePath lists the instance profile's role, and has its credentials below.
const rolePath = "/latest/meta-data/iam/security-credentials/"

// instanceProfile asks the instance metadata service.
func (c *Chain) instanceProfile(ctx context.Context) (aws.Credentials, error) {
	if strings.EqualFold(c.m.Getenv("AWS_EC2_METADATA_DISABLED"), "true") {
		return aws.Credentials{}, none("AWS_EC2_METADATA_DISABLED is true")
	}
	return ofInstanceProfile(ctx, c.imds)
}

func ofInstanceProfile(ctx context.Context, service *imds.Client) (aws.Credentials, error) {
	b, err := service.Get(ctx, rolePath)
	switch {
	case errors.Is(err, imds.ErrAbsent) && ctx.Err() == nil:
		return aws.Credentials{}, absent{err.Error()}
	case errors.Is(err, imds.ErrNotFound):
		return aws.Credentials{}, none("the instance has no instance profile")
	case err != nil:
		return aws.Credentials{}, err
	}
	role, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	role = strings.TrimSpace(role)
	if role == "" {
		return aws.Credentials{}, none("the instance profile has no role")
	}
	if len(role) > 128 || strings.ContainsFunc(role, notOfRole) {
		return aws.Credentials{}, errors.New("instance metadata: the name of the role is none; does something else answer in its place?")
	}
	if b, err = service.Get(ctx, rolePath+role); err != nil {
		return aws.Credentials{}, err
	}
	source := "role " + role + " of the instance profile"
	if service.UsesV1() {
		source += ", by version 1 of the instance metadata service, which is not secure"
	}
	return credentialsOf(b, source)
}

// hostPath has the credentials of the instance itself, which are for its
// registration only.
const hostPath = "/latest/meta-data/identity-credentials/ec2/security-credentials/ec2-instance"

// HostRole is a provider of the instance's own credentials.
func HostRole(service *imds.Client) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		b, err := service.Get(ctx, hostPath)
		if err != nil {
			return aws.Credentials{}, err
		}
		return credentialsOf(b, "the identity of the instance")
	})
}

// IMDS is the chain's client of the metadata service.
func (c *Chain) IMDS() *imds.Client { return c.imds }

// Instance is who the metadata service says this machine is.
func (c *Chain) Instance(ctx context.Context) (imds.Instance, error) {
	if strings.EqualFold(c.m.Getenv("AWS_EC2_METADATA_DISABLED"), "true") {
		return imds.Instance{}, errors.New("AWS_EC2_METADATA_DISABLED is true")
	}
	return c.imds.Instance(ctx)
}

// Only is a provider that asks one source of the chain and keeps nothing.
func (c *Chain) Only(s Source) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		ask, ok := c.sources()[s]
		if !ok {
			return aws.Credentials{}, fmt.Errorf("there is no source %q of credentials", s)
		}
		got, err := ask(ctx)
		if err == nil {
			err = usable(got, c.m.Clock.Now())
		}
		if err != nil {
			return aws.Credentials{}, fmt.Errorf("AWS credentials, %s: %w", s, err)
		}
		return got, nil
	})
}

// notOfRole is true for a character that no role's name has.
func notOfRole(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("+=,.@_-", r)
}
