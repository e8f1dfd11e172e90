// Package credentials finds this machine's AWS credentials: in the
// environment, in the shared files, at a container's endpoint, in the
// instance profile, in this order. Every source says whether it won or why not.
package credentials

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/clock"
	"ssmagent/internal/imds"
)

// ErrNoProgram is what Machine.Run returns for a program that is not
// installed.
var ErrNoProgram = errors.New("the program is not installed")

// Machine is what the chain asks.
type Machine struct {
	Getenv   func(name string) string
	ReadFile func(name string) ([]byte, error)
	Home     string // of the user; empty where there is none
	Clock    clock.Clock
	Log      *slog.Logger
	// Run runs a program and returns its standard output.
	Run func(ctx context.Context, argv ...string) ([]byte, error)
	// Shell runs a line of the system's shell and returns its standard output.
	Shell func(ctx context.Context, line string) ([]byte, error)
	// Direct is a client that uses no proxy, for addresses of this machine.
	Direct *http.Client
}

// Options are the command line's; empty members are found.
type Options struct {
	Profile, Region string
	// File is read instead of the shared credentials file, and the shared
	// configuration file is then not read at all.
	File string
}

// Source is a place where credentials may be.
type Source string

// The sources.
const (
	Environment     Source = "environment"
	WebIdentity     Source = "web identity"
	SharedFile      Source = "shared file"
	Container       Source = "container"
	InstanceProfile Source = "instance profile"
)

// Sources are all of them, in the order in which they are asked.
func Sources() []Source {
	return []Source{Environment, WebIdentity, SharedFile, Container, InstanceProfile}
}

// Report says how one source fared.
type Report struct {
	Source Source
	Won    bool
	// Why is where the credentials are from, or why they are not from here.
	Why string
}

// Chain finds credentials. It is an aws.CredentialsProvider that keeps what it
// found until shortly before its end. Safe for concurrent use.
type Chain struct {
	// Region is that of the options, the environment or the profile; it may
	// be empty.
	Region string
	// CABundle is the file of certificates that the environment or the
	// profile names; empty: none.
	CABundle string
	// HTTP is for services that are not of this machine; nil:
	// http.DefaultClient. It must be set before the first call, if at all.
	HTTP *http.Client

	m        Machine
	explicit bool // the profile was asked for on the command line
	profile  string
	files    *profiles
	imds     *imds.Client
	kept     cache
}

// New reads the environment and the shared files. It fails when a file is
// malformed and when the profile asked for is in none of them.
func New(m Machine, o Options) (*Chain, error) {
	c := &Chain{m: m, explicit: o.Profile != "", kept: newCache()}
	c.profile = first(o.Profile, m.Getenv("AWS_PROFILE"), m.Getenv("AWS_DEFAULT_PROFILE"), defaultProfile)
	var err error
	if c.files, err = readProfiles(m, o.File); err != nil {
		return nil, err
	}
	p := c.files.get(c.profile)
	if p == nil && (c.explicit || c.profile != defaultProfile) {
		return nil, c.files.unknown(c.profile)
	}
	c.Region = first(o.Region, m.Getenv("AWS_REGION"), m.Getenv("AWS_DEFAULT_REGION"), p.value("region"))
	c.CABundle = first(m.Getenv("AWS_CA_BUNDLE"), p.value("ca_bundle"))
	c.imds, err = instanceMetadata(m, p)
	return c, err
}

// Found is what Find found: the credentials, and a report of each source, in
// order.
type Found struct {
	Credentials aws.Credentials
	Reports     []Report
}

// absent is the error of a source that has no credentials and is not meant to
// have: the next one is asked.
type absent struct{ why string }

func (a absent) Error() string { return a.why }

func none(format string, args ...any) error { return absent{fmt.Sprintf(format, args...)} }

// Find asks one source after the other until one has credentials. A source
// that should have some and fails ends the search: credentials that nobody
// meant are worse than none. Found.Reports is whole also with an error.
func (c *Chain) Find(ctx context.Context) (Found, error) {
	sources := c.sources()
	var (
		f       Found
		failure error
		over    Source
	)
	for _, s := range Sources() {
		if over != "" {
			f.Reports = append(f.Reports, Report{Source: s, Why: "not asked: the " + string(over) + " comes first"})
			continue
		}
		creds, err := sources[s](ctx)
		if err == nil {
			err = usable(creds, c.m.Clock.Now())
		}
		switch _, isAbsent := errors.AsType[absent](err); {
		case err == nil:
			f.Credentials, over = creds, s
			f.Reports = append(f.Reports, Report{Source: s, Won: true, Why: creds.Source})
			continue
		case !isAbsent:
			failure, over = fmt.Errorf("AWS credentials, %s: %w", s, err), s
		}
		f.Reports = append(f.Reports, Report{Source: s, Why: err.Error()})
	}
	if over == "" {
		failure = nowhere(f.Reports)
	}
	return f, failure
}

func (c *Chain) sources() map[Source]func(context.Context) (aws.Credentials, error) {
	return map[Source]func(context.Context) (aws.Credentials, error){
		Environment: c.environment, WebIdentity: c.webIdentity, SharedFile: c.sharedFile, Container: c.container, InstanceProfile: c.instanceProfile,
	}
}

func nowhere(reports []Report) error {
	why := make([]string, len(reports))
	for i, r := range reports {
		why[i] = string(r.Source) + ": " + r.Why
	}
	return fmt.Errorf("no AWS credentials anywhere (%s)", strings.Join(why, "; "))
}

// usable refuses what could only make a wrong signature.
func usable(c aws.Credentials, now time.Time) error {
	if c.CanExpire && !now.Before(c.Expires) {
		return fmt.Errorf("%s: they expired at %s; renew them, or correct this machine's clock (it says %s)",
			c.Source, c.Expires.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}

// environment is not asked when a profile was asked for.
func (c *Chain) environment(context.Context) (aws.Credentials, error) {
	if c.explicit {
		return aws.Credentials{}, none("not asked: the profile %s was asked for", c.profile)
	}
	return c.variables()
}

// variables reads the access key variables.
func (c *Chain) variables() (aws.Credentials, error) {
	id := first(c.m.Getenv("AWS_ACCESS_KEY_ID"), c.m.Getenv("AWS_ACCESS_KEY"))
	secret := first(c.m.Getenv("AWS_SECRET_ACCESS_KEY"), c.m.Getenv("AWS_SECRET_KEY"))
	switch {
	case id == "" && secret == "":
		return aws.Credentials{}, none("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set")
	case id == "":
		return aws.Credentials{}, none("AWS_SECRET_ACCESS_KEY is set without AWS_ACCESS_KEY_ID")
	case secret == "":
		return aws.Credentials{}, none("AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY")
	}
	return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: c.m.Getenv("AWS_SESSION_TOKEN"),
		Source: "the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"}, nil
}

// first is the first of vs that is not empty.
func first(vs ...string) string {
	for _, v := range vs {
		if v != "" {
			return v
		}
	}
	return ""
}
