// Package imds asks the EC2 instance metadata service: version 2 first, with
// a token, and version 1 only where the service definitely has no tokens.
package imds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"time"

	"ssmagent/internal/clock"
)

// Endpoints of the service by address family.
const (
	EndpointIPv4 = "http://169.254.169.254"
	EndpointIPv6 = "http://[fd00:ec2::254]"
)

const (
	headerLife  = "X-aws-ec2-metadata-token-ttl-seconds"
	headerToken = "X-aws-ec2-metadata-token"
	tokenLife   = 6 * time.Hour // the longest there is
	// timeout is that of one request, and tries is how many there are: the
	// service is on the same host, but it can be busy.
	timeout     = time.Second
	tries       = 3
	pause       = 100 * time.Millisecond
	maxToken    = 1 << 10
	maxDocument = 1 << 20
)

// ErrAbsent is that of a machine that has no metadata service: nothing
// answered.
var ErrAbsent = errors.New("no instance metadata service answers")

// ErrNotFound is the service's own word that the path has no content.
var ErrNotFound = errors.New("the instance metadata service has no such document")

// Client asks one service. Safe for concurrent use; the fields must not
// change after the first call.
type Client struct {
	HTTP       *http.Client // must not use a proxy: the address is that of this machine
	Endpoint   string       // URL without a trailing slash; empty: EndpointIPv4
	V1Disabled bool
	Clock      clock.Clock
	Log        *slog.Logger

	mu     sync.Mutex
	token  string
	until  time.Time
	v1     bool // this service has no tokens
	warned bool
}

// Get returns the document at path, which begins with /latest/.
func (c *Client) Get(ctx context.Context, path string) ([]byte, error) {
	for fresh := false; ; fresh = true {
		token, err := c.session(ctx)
		if err != nil {
			return nil, fmt.Errorf("instance metadata: %w", err)
		}
		header := http.Header{}
		if token != "" {
			header.Set(headerToken, token)
		}
		status, b, err := c.ask(ctx, http.MethodGet, path, header, maxDocument)
		switch {
		case err != nil:
		case status == http.StatusUnauthorized && token != "" && !fresh:
			c.forget(token) // the instance was resumed, or its clock went wrong
			continue
		case status == http.StatusUnauthorized && token == "":
			err = errors.New("it asks for a token (version 2) and gave none")
		case status == http.StatusNotFound:
			err = ErrNotFound
		case status != http.StatusOK:
			err = fmt.Errorf("HTTP %d", status)
		default:
			c.warn(token)
			return b, nil
		}
		return nil, fmt.Errorf("instance metadata %s: %w", path, err)
	}
}

// warn says once that version 1 was of use.
func (c *Client) warn(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if token == "" && !c.warned {
		c.warned = true
		c.Log.Warn("the instance metadata service gives no token; version 1 is used, which other programs of this machine can be tricked into asking")
	}
}

// UsesV1 says whether the service has no tokens and was asked without.
func (c *Client) UsesV1() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.v1
}

// session returns the token to ask with, empty for version 1.
func (c *Client) session(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.v1 || c.token != "" && c.Clock.Now().Before(c.until) {
		return c.token, nil
	}
	asked := c.Clock.Now()
	life := strconv.Itoa(int(tokenLife / time.Second))
	status, b, err := c.ask(ctx, http.MethodPut, "/latest/api/token", http.Header{headerLife: {life}}, maxToken)
	switch {
	case err != nil:
		return "", err
	case status == http.StatusForbidden || status == http.StatusNotFound || status == http.StatusMethodNotAllowed:
		if c.V1Disabled {
			return "", fmt.Errorf("it gives no token (HTTP %d), and version 1 is disabled here", status)
		}
		c.v1, c.token = true, ""
		return "", nil
	case status != http.StatusOK:
		return "", fmt.Errorf("its answer to the token request is HTTP %d", status)
	}
	token := string(b)
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("its answer to the token request is no token; does a captive portal or proxy answer in its place?")
	}
	// A minute less, so that no token ends on its way.
	c.token, c.until = token, asked.Add(tokenLife-time.Minute)
	return token, nil
}

// forget drops the token if it is still the one that was refused.
func (c *Client) forget(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == token {
		c.token = ""
	}
}

// ask repeats what failed on the way or on the server's side.
func (c *Client) ask(ctx context.Context, method, path string, h http.Header, limit int64) (int, []byte, error) {
	for try := 1; ; try++ {
		status, b, err := c.once(ctx, method, path, h, limit)
		again := err != nil && !errors.Is(err, errTooLarge) || status >= 500 || status == http.StatusTooManyRequests
		if !again || try == tries || ctx.Err() != nil {
			return status, b, err
		}
		t := c.Clock.NewTimer(pause << (try - 1))
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
			return 0, nil, context.Cause(ctx)
		}
	}
}

var errTooLarge = errors.New("its answer is too large")

func (c *Client) once(ctx context.Context, method, path string, h http.Header, limit int64) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	endpoint := c.Endpoint
	if endpoint == "" {
		endpoint = EndpointIPv4
	}
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(endpoint, "/")+path, http.NoBody)
	if err != nil {
		return 0, nil, fmt.Errorf("endpoint %q: %w", endpoint, err)
	}
	r.Header = h
	// A redirect would carry the token, or the credentials, elsewhere.
	client := *c.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	connected := false
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }}
	resp, err := client.Do(r.WithContext(httptrace.WithClientTrace(ctx, trace)))
	switch {
	case err != nil && connected && errors.Is(err, context.DeadlineExceeded):
		return 0, nil, fmt.Errorf("%s takes the connection and does not answer within %v; in a container, let its answers pass one more hop "+
			"(aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2)", endpoint, timeout)
	case err != nil:
		return 0, nil, fmt.Errorf("%w at %s: %w", ErrAbsent, endpoint, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("read its answer: %w", err)
	case int64(len(b)) > limit:
		return 0, nil, fmt.Errorf("%w (more than %d bytes)", errTooLarge, limit)
	}
	return resp.StatusCode, b, nil
}
