// Package upload puts what a node has written where its operators want it:
// objects into S3 buckets, events into CloudWatch Logs, as the stock agent
// does, by calls of our own.
package upload

import (
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/backoff"
	"ssmagent/internal/clock"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/logs"
)

// Options are what an Uploader needs.
type Options struct {
	HTTP        *http.Client
	Credentials aws.CredentialsProvider
	Region      string // the node's
	// S3 is the URL of the object store. {region} in it stands for the region
	// of a bucket, which is the node's until the service names another.
	S3 string
	// Logs is the URL of CloudWatch Logs.
	Logs      string
	UserAgent string
	Clock     clock.Clock
	Log       *slog.Logger
	Timeout   time.Duration // of one attempt; a minute when zero
}

// Uploader uploads. Safe for concurrent use.
type Uploader struct {
	opt  Options
	http *http.Client
	skew *ssmclient.Skew
	logs *ssmclient.Client
}

// logsRetry is that of the stock agent's CloudWatch client: five more.
func logsRetry() ssmclient.Retry {
	return ssmclient.Retry{Delays: backoff.Policy{First: 200 * time.Millisecond, Factor: 2, Jitter: 0.5, Retries: 5}, Again: ssmclient.Retryable}
}

// New returns an Uploader.
func New(o Options) *Uploader {
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	h := *o.HTTP
	// A redirect to another region needs another signature.
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	u := &Uploader{opt: o, http: &h, skew: new(ssmclient.Skew)}
	u.logs = &ssmclient.Client{
		HTTP: o.HTTP, Endpoint: o.Logs, Service: "logs", TargetPrefix: logs.TargetPrefix, UserAgent: o.UserAgent, Clock: o.Clock, Log: o.Log, Skew: u.skew,
		Signer: ssmclient.CredentialsSigner{Credentials: o.Credentials, Region: o.Region, Clock: o.Clock, Skew: u.skew}, Timeout: o.Timeout, Retry: logsRetry(),
	}
	return u
}

// Object is something to put into a bucket.
type Object struct {
	Bucket, Key string
	ContentType string
	Body        io.Reader
	Size        int64
}
