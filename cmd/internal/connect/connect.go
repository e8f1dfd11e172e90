// Package connect finds the service that an operator means and makes a client
// with their credentials.
package connect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/clock"
	"ssmagent/internal/config"
	"ssmagent/internal/credentials"
	"ssmagent/internal/operator"
	"ssmagent/internal/sigv4"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/kms"
	"ssmagent/internal/wire/ssm"
	"ssmagent/platform"
)

// Target says which service a client goes to; empty members are found.
type Target struct {
	Endpoint, Region, Profile string

	keys string // endpoint of KMS, once it is known
}

// CredentialsFile is where the control plane keeps its access keys.
func CredentialsFile(p platform.Paths) string { return filepath.Join(p.ControlPlane, "credentials") }

// Plane is what a running control plane tells clients on its machine.
type Plane struct {
	URL    string `json:"url"`     // plain HTTP on a loopback address
	TLSURL string `json:"tls_url"` // for other machines; empty: it has none
	CA     string `json:"ca"`      // file of the certificate to trust
	Region string `json:"region"`
}

// Operator returns a client of the control plane at p, or of the named
// endpoint, or of AWS, in this order, with the caller's credentials.
func Operator(p platform.Paths, c Target, userAgent string) (*operator.Client, error) {
	o, named := credentials.Options{Profile: c.Profile}, c.Endpoint
	pace := operator.Remote
	if c.Endpoint == "" {
		e, err := localEndpoint(p)
		switch {
		case err == nil:
			pace, o.File = operator.Local, CredentialsFile(p)
			c.Endpoint, c.Region, c.keys = e.URL, e.Region, e.URL
		case p.Root != "" || !(errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)):
			return nil, noPlane(p, err)
		}
	}
	o.Region = c.Region
	chain, err := Credentials(o)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %w", err)
	}
	if chain.Region == "" {
		return nil, errors.New("no region: give -region or set AWS_REGION; for a control plane of your own give -root or -endpoint-url")
	}
	if c.Endpoint == "" {
		if c.Endpoint, err = config.Default().Endpoint("ssm", chain.Region); err != nil {
			return nil, err
		}
	}
	if c.keys == "" {
		if c.keys, err = keysEndpoint(named, chain.Region, os.Getenv); err != nil {
			return nil, err
		}
	}
	calls := ssmclient.Client{
		HTTP: chain.HTTP, Endpoint: c.Endpoint, Service: "ssm", TargetPrefix: ssm.TargetPrefix,
		UserAgent: userAgent, Signer: operatorSigner{chain, chain.Region}, Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler),
	}
	keys := calls
	keys.Endpoint, keys.Service, keys.TargetPrefix = c.keys, kms.Service, kms.TargetPrefix
	return operator.New(&calls, clock.Real{}, chain.Region, pace).WithKeys(&keys), nil
}

func noPlane(p platform.Paths, err error) error {
	return fmt.Errorf("no control plane below %s: %w; start one with `ssm-local serve`", p.ControlPlane, err)
}

// ControlPlane finds the control plane of this machine.
func ControlPlane(p platform.Paths) (Plane, error) {
	e, err := localEndpoint(p)
	if err != nil {
		return Plane{}, noPlane(p, err)
	}
	return e, nil
}

// localEndpoint reads what the control plane of this machine left.
func localEndpoint(p platform.Paths) (Plane, error) {
	b, err := os.ReadFile(filepath.Join(p.ControlPlane, "endpoint.json"))
	if err != nil {
		return Plane{}, err
	}
	var e Plane
	if err := json.Unmarshal(b, &e); err != nil || e.URL == "" {
		return Plane{}, fmt.Errorf("%s is damaged; restart ssm-local serve", filepath.Join(p.ControlPlane, "endpoint.json"))
	}
	return e, nil
}

// operatorSigner signs with the caller's credentials.
type operatorSigner struct {
	credentials aws.CredentialsProvider
	region      string
}

// Sign implements ssmclient.Signer.
func (s operatorSigner) Sign(ctx context.Context, r *http.Request, body []byte, service string) error {
	c, err := s.credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("no AWS credentials (of a control plane of your own: export AWS_SHARED_CREDENTIALS_FILE): %w", err)
	}
	return sigv4.Sign(ctx, r, body, c, service, s.region, time.Now())
}
