package credentials

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/backoff"
)

const (
	containerHost    = "http://169.254.170.2"
	containerTimeout = 5 * time.Second
	maxAnswer        = 1 << 20
)

// container asks the endpoint that ECS and EKS announce in the environment.
func (c *Chain) container(ctx context.Context) (aws.Credentials, error) {
	relative, full := c.m.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), c.m.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	endpoint, variable := full, "AWS_CONTAINER_CREDENTIALS_FULL_URI"
	client := c.m.Direct
	switch {
	case relative != "":
		variable = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
		if endpoint = containerHost + relative; !strings.HasPrefix(relative, "/") {
			return aws.Credentials{}, fmt.Errorf("%s must begin with a slash", variable)
		}
	case full == "":
		return aws.Credentials{}, none("neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor AWS_CONTAINER_CREDENTIALS_FULL_URI is set")
	}
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https":
		return aws.Credentials{}, fmt.Errorf("%s is not a URL like http://169.254.170.2/path", variable)
	case u.Scheme == "http" && !ofThisMachine(u.Hostname()):
		return aws.Credentials{}, fmt.Errorf("%s: http:// is only for this machine and the addresses of ECS and EKS; use https://", variable)
	case u.Scheme == "https":
		client = c.HTTP
	}
	header, err := c.authorization()
	if err != nil {
		return aws.Credentials{}, err
	}
	b, err := c.get(ctx, client, endpoint, header)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("container endpoint %s: %w", u.Host, err)
	}
	return credentialsOf(b, "the container endpoint "+u.Host)
}

// authorization is the token for the endpoint; the one in a file, which is
// renewed there, counts more.
func (c *Chain) authorization() (http.Header, error) {
	token := c.m.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")
	if name := c.m.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); name != "" {
		b, err := c.m.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: %w", err)
		}
		token = string(b)
	}
	switch {
	case token == "":
		return http.Header{}, nil
	case len(token) > maxAnswer || strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r > '~' }):
		return nil, errors.New("the container's authorization token must be one line of plain text")
	}
	return http.Header{"Authorization": {token}}, nil
}

// ofThisMachine says whether plain text to host stays on this machine.
func ofThisMachine(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	switch a.Unmap().String() {
	case "169.254.170.2", "169.254.170.23", "fd00:ec2::23":
		return true
	}
	return a.Unmap().IsLoopback()
}

func (c *Chain) get(ctx context.Context, h *http.Client, endpoint string, header http.Header) ([]byte, error) {
	return c.call(ctx, h, containerTimeout, func(ctx context.Context) (*http.Request, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, http.NoBody)
		if err == nil {
			r.Header = header
		}
		return r, err
	}, func(status int, b []byte) error {
		return fmt.Errorf("HTTP %d: %s", status, printable(string(b)))
	})
}

// call sends a request until it is answered; refused makes the error of an
// answer that is not 200. It follows no redirect, which would carry signatures
// and tokens elsewhere.
func (c *Chain) call(ctx context.Context, h *http.Client, timeout time.Duration, request func(context.Context) (*http.Request, error), refused func(int, []byte) error) ([]byte, error) {
	if h == nil {
		h = http.DefaultClient
	}
	client := *h
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	var answer []byte
	once := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		r, err := request(ctx)
		if err != nil {
			return backoff.Stop(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
		switch {
		case err != nil:
			return err
		case len(b) > maxAnswer:
			return backoff.Stop(fmt.Errorf("its answer is larger than %d bytes", maxAnswer))
		case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
			return refused(resp.StatusCode, b)
		case resp.StatusCode != http.StatusOK:
			return backoff.Stop(refused(resp.StatusCode, b))
		}
		answer = b
		return nil
	}
	err := backoff.Do(ctx, c.m.Clock, backoff.Policy{First: 200 * time.Millisecond, Factor: 2, Jitter: 0.5, Retries: 2}, once)
	return answer, err
}
