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
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"

	"ssmagent/internal/clock"
	agentconfig "ssmagent/internal/config"
	"ssmagent/internal/operator"
	"ssmagent/internal/sigv4"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/ssm"
	"ssmagent/platform"
)

// Target says which service a client goes to; empty members are found.
type Target struct{ Endpoint, Region, Profile string }

// CredentialsFile is where the control plane keeps its access keys.
func CredentialsFile(p platform.Paths) string { return filepath.Join(p.ControlPlane, "credentials") }

// endpointFile is what a running control plane tells clients on its machine.
type endpointFile struct {
	URL    string `json:"url"`
	Region string `json:"region"`
}

// Operator returns a client of the control plane at p, or of the named
// endpoint, or of AWS, in this order, with the caller's credentials.
func Operator(ctx context.Context, p platform.Paths, c Target, userAgent string) (*operator.Client, error) {
	opts := []func(*config.LoadOptions) error{}
	pace, local := operator.Remote, false
	if c.Endpoint == "" {
		e, err := localEndpoint(p)
		switch {
		case err == nil:
			local = true
			c.Endpoint, c.Region = e.URL, e.Region
			opts = append(opts, config.WithSharedCredentialsFiles([]string{CredentialsFile(p)}), config.WithSharedConfigFiles(nil))
		case p.Root != "" || !(errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)):
			return nil, fmt.Errorf("no control plane below %s: %w; start one with `ssm-local serve`", p.ControlPlane, err)
		}
	}
	if local {
		pace = operator.Local
	}
	if c.Region != "" {
		opts = append(opts, config.WithRegion(c.Region))
	}
	if c.Profile != "" {
		opts = append(opts, config.WithSharedConfigProfile(c.Profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return nil, errors.New("no region: give -region or set AWS_REGION; for a control plane of your own give -root or -endpoint-url")
	}
	if c.Endpoint == "" {
		if c.Endpoint, err = agentconfig.Default().Endpoint("ssm", cfg.Region); err != nil {
			return nil, err
		}
	}
	return operator.New(&ssmclient.Client{
		HTTP: httpClient(cfg), Endpoint: c.Endpoint, Service: "ssm", TargetPrefix: ssm.TargetPrefix,
		UserAgent: userAgent, Signer: operatorSigner{cfg.Credentials, cfg.Region}, Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler),
	}, clock.Real{}, cfg.Region, pace), nil
}

// httpClient is one with the transport of the AWS configuration: AWS_CA_BUNDLE
// and the like count.
func httpClient(cfg aws.Config) *http.Client {
	c := &http.Client{Timeout: time.Minute}
	if b, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		c.Transport = b.GetTransport()
	}
	return c
}

// localEndpoint reads what the control plane of this machine left.
func localEndpoint(p platform.Paths) (endpointFile, error) {
	b, err := os.ReadFile(filepath.Join(p.ControlPlane, "endpoint.json"))
	if err != nil {
		return endpointFile{}, err
	}
	var e endpointFile
	if err := json.Unmarshal(b, &e); err != nil || e.URL == "" {
		return endpointFile{}, fmt.Errorf("%s is damaged; restart ssm-local serve", filepath.Join(p.ControlPlane, "endpoint.json"))
	}
	return e, nil
}

// operatorSigner signs with the SDK's credential chain.
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
