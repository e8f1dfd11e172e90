// Package services is Systems Manager as the steps of a document call it, from
// a worker: with the node's credentials, which the agent hands out, and only
// when a step asks for something.
package services

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys"
	"ssmagent/internal/job"
	"ssmagent/internal/paramstore"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/ssm"
)

const maxBundle = 4 << 20 // bytes of a file of certificates

// Options of Services. All is needed.
type Options struct {
	Node        job.Services
	Credentials aws.CredentialsProvider
	FS          fsys.FS
	Clock       clock.Clock
}

// Services makes calls. Safe for concurrent use; nothing is opened before the
// first call.
type Services struct {
	opt  Options
	http func() (*http.Client, error)
	skew ssmclient.Skew
}

// New returns Services.
func New(o Options) *Services {
	s := &Services{opt: o}
	s.http = sync.OnceValues(s.open)
	return s
}

// HTTP is the client for all traffic: the proxies of the environment, TLS 1.2
// or better, the certificates of the configuration.
func (s *Services) HTTP() (*http.Client, error) { return s.http() }

func (s *Services) open() (*http.Client, error) {
	var ca []byte
	if file := s.opt.Node.CABundle; file != "" {
		var err error
		if ca, err = fsys.ReadFile(s.opt.FS, file, maxBundle); err != nil {
			return nil, fmt.Errorf("ssmagent.CABundle of the configuration: %w", err)
		}
	}
	t, err := ssmclient.Transport(ca)
	if err != nil {
		return nil, fmt.Errorf("ssmagent.CABundle %s of the configuration: %w", s.opt.Node.CABundle, err)
	}
	return &http.Client{Transport: t}, nil
}

// Call calls an operation of Systems Manager.
func (s *Services) Call(ctx context.Context, op string, in, out any) error {
	n := s.opt.Node
	if n.SSM == "" {
		return fmt.Errorf("%s: the agent that accepted this command did not say where Systems Manager is; send the command again", op)
	}
	h, err := s.http()
	if err != nil {
		return err
	}
	c := ssmclient.Client{
		HTTP: h, Endpoint: n.SSM, Service: "ssm", TargetPrefix: ssm.TargetPrefix, UserAgent: n.UserAgent,
		Signer: ssmclient.CredentialsSigner{Credentials: s.opt.Credentials, Region: n.SSMRegion, Clock: s.opt.Clock, Skew: &s.skew},
		Clock:  s.opt.Clock, Log: slog.New(slog.DiscardHandler), Skew: &s.skew,
	}
	return c.Call(ctx, op, in, out)
}

// Document fetches the content of a document as JSON. Without a version it is
// the default one.
func (s *Services) Document(ctx context.Context, name, version string) ([]byte, error) {
	var out ssm.GetDocumentOutput
	if err := s.Call(ctx, "GetDocument", ssm.GetDocumentInput{Name: name, DocumentVersion: version}, &out); err != nil {
		return nil, err
	}
	if strings.TrimSpace(out.Content) == "" {
		return nil, fmt.Errorf("GetDocument: the document %q has no content", name)
	}
	return []byte(out.Content), nil
}

// Parameters are those of Parameter Store.
func (s *Services) Parameters() paramstore.Store { return paramstore.Store{Call: s.Call} }
