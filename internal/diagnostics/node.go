package diagnostics

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"ssmagent/internal/admin"
	"ssmagent/platform"
)

// Node is what the checks of the machine itself ask. All is needed.
type Node struct {
	InstanceID, Region string
	OnPrem             bool
	Version            string // of this program
	User               string // that the agent should run as
	// Instance asks the metadata service for the instance's id and region.
	Instance func(ctx context.Context) (id, region string, err error)
	// Agent asks the running agent how it is; an error: none answers.
	Agent func(ctx context.Context) (admin.Status, error)
	// Caller asks STS whose the node's credentials are.
	Caller func(ctx context.Context) (arn string, expires time.Time, err error)
	// Service asks the service manager, where no agent answers.
	Service func() (note string)
	// Config reads the configuration file again.
	Config func() (warnings []string, err error)
	// Proxies are the variables by which a proxy is used; empty: not set.
	Proxies map[string]string
	Space   func(dir string) (platform.Space, error)
	Dirs    []string // that the agent writes to
	Now     func() time.Time
}

// Metadata is the check of the instance metadata service.
func (n Node) Metadata() Check {
	return Check{"EC2 IMDS", 3 * time.Second, func(ctx context.Context) (string, error) {
		if n.OnPrem {
			return "", Skip("Instance has hybrid registration")
		}
		id, region, err := n.Instance(ctx)
		switch {
		case ctx.Err() != nil:
			return "", errors.New("IMDS request timeout")
		case err != nil:
			return "", fmt.Errorf("Failed to query IMDS: %w", err) //nolint:staticcheck // the stock agent's words
		}
		return fmt.Sprintf("IMDS is accessible and has instance id %s in region %s", id, region), nil
	}}
}

// Registration is the check of the hybrid activation.
func (n Node) Registration() Check {
	return Check{"Hybrid instance registration", 0, func(context.Context) (string, error) {
		if !n.OnPrem {
			return "", Skip("Instance does not have hybrid registration")
		}
		return fmt.Sprintf("Instance has hybrid registration with instance id %s in region %s", n.InstanceID, n.Region), nil
	}}
}

// Credentials is the check of the node's AWS credentials.
func (n Node) Credentials() Check {
	return Check{"AWS Credentials", 10 * time.Second, func(ctx context.Context) (string, error) {
		if n.InstanceID == "" {
			return "", Skip("No credentials available")
		}
		arn, expires, err := n.Caller(ctx)
		switch {
		case errors.Is(err, admin.ErrNone):
			return "", Skip("No credentials available: the agent that has them is not running")
		case ctx.Err() != nil:
			return "", errors.New("STS call timed out")
		case err != nil:
			return "", fmt.Errorf("Failed call sts endpoint: %w", err) //nolint:staticcheck // the stock agent's words
		case expires.IsZero():
			return fmt.Sprintf("Credentials are for %s and do not expire", arn), nil
		case expires.Before(n.Now()):
			return "", fmt.Errorf("the credentials for %s have expired at %s", arn, stamp(expires))
		}
		return fmt.Sprintf("Credentials are for %s and will expire at %s", arn, stamp(expires)), nil
	}}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

// Running is the check of the agent's service.
func (n Node) Running() Check {
	return Check{"Agent service", 10 * time.Second, func(ctx context.Context) (string, error) {
		s, err := n.Agent(ctx)
		switch {
		case errors.Is(err, admin.ErrNone):
			return "", errors.New(n.Service())
		case err != nil:
			return "", fmt.Errorf("the agent does not answer: %w", err)
		case s.User != n.User:
			return "", fmt.Errorf("Agent service is running but agent is running as %s instead of expected user %s", s.User, n.User) //nolint:staticcheck // the stock agent's words
		}
		return "Agent service is running and is running as expected user", nil
	}}
}

// ProxyVariables is the check that tells which proxies are set.
func (n Node) ProxyVariables() Check {
	return Check{"Proxy configuration", 0, func(context.Context) (string, error) {
		set := false
		var b strings.Builder
		for _, name := range []string{"http_proxy", "https_proxy", "no_proxy"} {
			value := n.Proxies[name]
			set = set || value != ""
			if value == "" {
				value = "NULL"
			}
			fmt.Fprintf(&b, "%s: %s ", name, value)
		}
		if !set {
			return "", Skip("No proxy configuration detected")
		}
		return "Detected proxy configuration: " + strings.TrimSpace(b.String()), nil
	}}
}

// AgentVersion is the check of the versions of this program and the agent.
func (n Node) AgentVersion() Check {
	return Check{"SSM Agent version", 10 * time.Second, func(ctx context.Context) (string, error) {
		text := "SSM Agent version is " + n.Version
		if s, err := n.Agent(ctx); err == nil && s.Version != n.Version {
			text += ", but the one that runs is " + s.Version + ": restart its service"
		}
		return text, nil
	}}
}

// Heartbeat is the check of what the service has heard of the node.
func (n Node) Heartbeat() Check {
	return Check{"Last heartbeat", 10 * time.Second, func(ctx context.Context) (string, error) {
		s, err := n.Agent(ctx)
		if err != nil {
			return "", Skip("The agent is not running")
		}
		last := "never answered"
		if s.NoPings {
			last = "none in container mode"
		}
		if !s.Heartbeat.Answered.IsZero() {
			last = fmt.Sprintf("answered %v ago", max(0, n.Now().Sub(s.Heartbeat.Answered)).Round(time.Second))
		}
		text := fmt.Sprintf("%s; the node is %s", last, s.State)
		if s.Why != "" {
			text += ": " + s.Why
		}
		if !s.Ready {
			return "", errors.New(text)
		}
		return text, nil
	}}
}

// Least room that a node should have.
const (
	leastFree  = 100 << 20
	leastFiles = 1000
)

// Disk is the check of room for what the agent writes.
func (n Node) Disk() Check {
	return Check{"Disk space", 10 * time.Second, func(context.Context) (string, error) {
		var notes []string
		var errs []error
		for _, dir := range n.Dirs {
			s, err := n.Space(dir)
			switch {
			case err != nil:
				errs = append(errs, err)
			case s.Free < leastFree:
				errs = append(errs, fmt.Errorf("%s has only %d MiB left; make room, or lower what is kept (ssmagent.Commands, ssmagent.Recordings)", dir, s.Free>>20))
			case s.FreeFiles >= 0 && s.FreeFiles < leastFiles:
				errs = append(errs, fmt.Errorf("%s has room for only %d more files; remove some", dir, s.FreeFiles))
			default:
				notes = append(notes, fmt.Sprintf("%s has %d MiB left", dir, s.Free>>20))
			}
		}
		return strings.Join(notes, "; "), errors.Join(errs...)
	}}
}

// Configuration is the check of the configuration file.
func (n Node) Configuration() Check {
	return Check{"Configuration file", 0, func(context.Context) (string, error) {
		warnings, err := n.Config()
		if len(warnings) > 0 && err == nil {
			err = errors.New(strings.Join(warnings, "; "))
		}
		if err != nil {
			return "", err
		}
		return "Nothing is wrong with it", nil
	}}
}
