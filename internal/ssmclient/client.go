// Package ssmclient makes the agent's calls: JSON 1.1 over HTTPS to Systems
// Manager and message delivery, and the REST and WebSocket opening of the
// message gateway. It signs through an interface, retries as the stock agent
// does, and measures how wrong this machine's clock is.
package ssmclient

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/wire/ssm"
)

// Signer signs a request whose whole body is body.
type Signer interface {
	Sign(ctx context.Context, r *http.Request, body []byte, service string) error
}

// Invalidator is what a Signer may be too: it is told that the service called
// its credentials expired, and should sign with newer ones next time.
type Invalidator interface{ Invalidate() }

// Limits where a Client names none.
const (
	DefaultTimeout     = 60 * time.Second
	DefaultMaxResponse = 8 << 20
)

// Client calls one JSON 1.1 service. Safe for concurrent use; the fields must
// not change after the first call.
type Client struct {
	HTTP         *http.Client // nil: http.DefaultClient
	Endpoint     string       // URL without a trailing slash
	Service      string       // name in signatures
	TargetPrefix string
	UserAgent    string
	Signer       Signer // nil: anonymous
	Clock        clock.Clock
	Log          *slog.Logger
	Skew         *Skew         // shared by all clients of a process; may be nil
	Reach        *Reach        // the same
	MaxResponse  int64         // bytes; 0: DefaultMaxResponse
	Timeout      time.Duration // of one attempt; 0: DefaultTimeout
	Retry        Retry         // zero: DefaultRetry
}

// Call makes the call op with in as JSON (nil is {}) and reads the answer into
// out (nil: ignored). A refusal is an *Error; a call that got no answer is an
// *Unreachable. It returns when ctx ends.
func (c *Client) Call(ctx context.Context, op string, in, out any) error {
	body := []byte("{}")
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("%s: encode the request: %w", op, err)
		}
	}
	var answer []byte
	err := c.retrying(ctx, op, func() (err error) {
		answer, err = c.attempt(ctx, op, body)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if out == nil || len(bytes.TrimSpace(answer)) == 0 {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s: the answer of %s is not the JSON it should be; is the endpoint right? %w", op, c.Endpoint, err)
	}
	return nil
}

func (c *Client) attempt(ctx context.Context, op string, body []byte) ([]byte, error) {
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Endpoint+"/", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("endpoint %q: %w", c.Endpoint, err)
	}
	r.Header.Set("Content-Type", ssm.ContentType)
	r.Header.Set("X-Amz-Target", c.TargetPrefix+"."+op)
	r.Header.Set("User-Agent", c.UserAgent)
	if c.Signer != nil {
		if err := c.Signer.Sign(ctx, r, body, c.Service); err != nil {
			return nil, err
		}
	}
	sent := c.Clock.Now()
	resp, err := guarded(c.HTTP).Do(r)
	if err != nil {
		err = unreachable(c.Endpoint, err)
		c.Reach.Observe(err)
		return nil, err
	}
	defer resp.Body.Close()
	c.Reach.Observe(nil)
	c.Skew.Observe(sent, c.Clock.Now(), resp.Header.Get("Date"))
	return c.read(resp)
}

func (c *Client) read(resp *http.Response) ([]byte, error) {
	limit := c.MaxResponse
	if limit <= 0 {
		limit = DefaultMaxResponse
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, unreachable(c.Endpoint, err)
	}
	if int64(len(answer)) > limit {
		return nil, fmt.Errorf("the answer of %s is larger than %d bytes; is the endpoint right?", c.Endpoint, limit)
	}
	if resp.StatusCode/100 != 2 {
		return nil, refusal(resp, answer)
	}
	return answer, nil
}

// guarded returns h with redirects kept on the host and off plain text.
func guarded(h *http.Client) *http.Client {
	if h == nil {
		h = http.DefaultClient
	}
	if h.CheckRedirect != nil {
		return h
	}
	g := *h
	g.CheckRedirect = checkRedirect
	return &g
}

const maxRedirects = 10

// checkRedirect refuses what would carry signatures, tokens or activation
// codes to plain text or to a host that nobody configured.
func checkRedirect(r *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) >= maxRedirects:
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	case first.Scheme == "https" && r.URL.Scheme != "https":
		return fmt.Errorf("refused a redirect from https to %s", r.URL.Scheme)
	case first.Host != r.URL.Host:
		return fmt.Errorf("refused a redirect to another host, %s; correct the endpoint", clean(r.URL.Host))
	}
	return nil
}
