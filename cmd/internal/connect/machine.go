package connect

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/clock"
	"ssmagent/internal/credentials"
	"ssmagent/internal/identity"
	"ssmagent/internal/ssmclient"
)

// A program that gives credentials may ask a person or a service.
const (
	programTimeout = time.Minute
	maxOutput      = 1 << 20
)

// Credentials is the chain of this machine and its user.
func Credentials(o credentials.Options) (*credentials.Chain, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "" // a service may have none; the files are then not read
	}
	c, err := credentials.New(credentials.Machine{
		Getenv: os.Getenv, ReadFile: os.ReadFile, Home: home, Clock: clock.Real{},
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Run: run, Shell: runLine,
		Direct: direct(),
	}, o)
	if err != nil {
		return nil, err
	}
	var ca []byte
	if c.CABundle != "" {
		if ca, err = os.ReadFile(c.CABundle); err != nil {
			return nil, fmt.Errorf("AWS_CA_BUNDLE or ca_bundle: %w", err)
		}
	}
	t, err := ssmclient.Transport(ca)
	if err != nil {
		return nil, fmt.Errorf("AWS_CA_BUNDLE or ca_bundle %s: %w", c.CABundle, err)
	}
	c.HTTP = &http.Client{Transport: t, Timeout: time.Minute}
	return c, nil
}

func run(ctx context.Context, argv ...string) ([]byte, error) {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", argv[0], credentials.ErrNoProgram)
	}
	ctx, cancel := context.WithTimeout(ctx, programTimeout)
	defer cancel()
	return output(ctx, exec.CommandContext(ctx, path, argv[1:]...))
}

func runLine(ctx context.Context, line string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, programTimeout)
	defer cancel()
	return output(ctx, shell(ctx, line))
}

// output runs c and returns what it prints; what it says on standard error
// is for the user.
func output(ctx context.Context, c *exec.Cmd) ([]byte, error) {
	var out limited
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, &out, os.Stderr
	c.WaitDelay = time.Second // for what c started and left behind
	err := c.Run()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s gave nothing: %w", c.Args[0], context.Cause(ctx))
	case err != nil:
		return nil, fmt.Errorf("%s: %w", c.Args[0], err)
	case out.over:
		return nil, fmt.Errorf("%s printed more than %d bytes", c.Args[0], maxOutput)
	}
	return out.kept, nil
}

// limited keeps the first bytes; the rest is read and dropped.
type limited struct {
	kept []byte
	over bool
}

// Write implements io.Writer.
func (l *limited) Write(b []byte) (int, error) {
	if l.over = l.over || len(l.kept)+len(b) > maxOutput; !l.over {
		l.kept = append(l.kept, b...)
	}
	return len(b), nil
}

// Cloud asks EC2 and ECS about this machine. Nothing is read or asked before
// the first question.
func Cloud() identity.Cloud {
	chain := sync.OnceValues(func() (*credentials.Chain, error) { return Credentials(credentials.Options{}) })
	from := func(pick func(*credentials.Chain) aws.CredentialsProvider) aws.CredentialsProvider {
		return aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
			c, err := chain()
			if err != nil {
				return aws.Credentials{}, err
			}
			return pick(c).Retrieve(ctx)
		})
	}
	return identity.Cloud{
		Instance: func(ctx context.Context) (identity.Identity, error) {
			c, err := chain()
			if err != nil {
				return identity.Identity{}, err
			}
			i, err := c.Instance(ctx)
			return identity.Identity{InstanceID: i.ID, Region: i.Region}, err
		},
		Task: func(ctx context.Context) (identity.Identity, error) {
			return identity.Task(ctx, os.Getenv, direct(), clock.Real{})
		},
		Zone: func(ctx context.Context) (name, id string, err error) {
			c, err := chain()
			if err != nil {
				return "", "", err
			}
			return c.IMDS().Zone(ctx)
		},
		InstanceProfile: from(func(c *credentials.Chain) aws.CredentialsProvider { return c.Only(credentials.InstanceProfile) }),
		TaskRole:        from(func(c *credentials.Chain) aws.CredentialsProvider { return c.Only(credentials.Container) }),
		HostRole:        from(func(c *credentials.Chain) aws.CredentialsProvider { return credentials.HostRole(c.IMDS()) }),
	}
}

// direct is a client that uses no proxy, for addresses of this machine.
func direct() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: time.Second}).DialContext, IdleConnTimeout: 30 * time.Second, MaxIdleConns: 2}}
}
