package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// maxAnswer bounds all answers but profiles.
const maxAnswer = 1 << 20

// maxDump bounds profiles and stacks.
const maxDump = 256 << 20

// ErrNone is wrapped by the error of a socket at which no agent answers.
var ErrNone = errors.New("the agent is not running, or not for this user: start it, or ask as root and with the agent's -root")

// Client asks the agent.
type Client struct {
	Path string
	Dial func(ctx context.Context, path string) (net.Conn, error) // ipc.Dial
	// Check refuses to talk to who is not the agent; ipc.CheckPeer.
	Check func(net.Conn) error
}

// Status asks how the node is.
func (c Client) Status(ctx context.Context) (Status, error) { return get[Status](ctx, c, "/status") }

// Caller asks whose the node's credentials are.
func (c Client) Caller(ctx context.Context) (Caller, error) { return get[Caller](ctx, c, "/caller") }

// Proxies asks which proxies the agent uses.
func (c Client) Proxies(ctx context.Context) (Proxies, error) {
	return get[Proxies](ctx, c, "/proxies")
}

// get reads a page of JSON.
func get[T any](ctx context.Context, c Client, page string) (v T, err error) {
	var b bytes.Buffer
	if err := c.ask(ctx, http.MethodGet, page, "", &b, maxAnswer); err != nil {
		return v, err
	}
	if err := json.Unmarshal(b.Bytes(), &v); err != nil {
		return v, fmt.Errorf("read the agent's answer: %w", err)
	}
	return v, nil
}

// Metrics writes the agent's figures to w.
func (c Client) Metrics(ctx context.Context, w io.Writer) error {
	return c.ask(ctx, http.MethodGet, "/metrics", "", w, maxAnswer)
}

// SetLevel changes the level of the agent's log until it ends.
func (c Client) SetLevel(ctx context.Context, level string) error {
	return c.ask(ctx, http.MethodPut, "/log-level", level, io.Discard, maxAnswer)
}

// Stacks writes what every goroutine does.
func (c Client) Stacks(ctx context.Context, w io.Writer) error {
	return c.ask(ctx, http.MethodGet, "/debug/stacks", "", w, maxDump)
}

// Heap writes a profile of the memory, for go tool pprof.
func (c Client) Heap(ctx context.Context, w io.Writer) error {
	return c.ask(ctx, http.MethodGet, "/debug/heap", "", w, maxDump)
}

// Profile writes a profile of the processor's work, for go tool pprof.
func (c Client) Profile(ctx context.Context, seconds int, w io.Writer) error {
	return c.ask(ctx, http.MethodGet, "/debug/profile?seconds="+strconv.Itoa(seconds), "", w, maxDump)
}

// ask makes one request on a connection of its own.
func (c Client) ask(ctx context.Context, method, path, body string, to io.Writer, most int64) error {
	t := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) }}
	defer t.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := t.RoundTrip(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusMultipleChoices {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) // the code says enough
		return fmt.Errorf("the agent answers: %s", strings.TrimSpace(string(text)))
	}
	n, err := io.Copy(to, io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil:
		return fmt.Errorf("read the agent's answer: %w", err)
	case n > most:
		return fmt.Errorf("the agent's answer has more than %d bytes", most)
	}
	return nil
}

func (c Client) dial(ctx context.Context) (net.Conn, error) {
	conn, err := c.Dial(ctx, c.Path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	if err := c.Check(conn); err != nil {
		return nil, errors.Join(fmt.Errorf("who listens at %s is not the agent: %w", c.Path, err), conn.Close())
	}
	return conn, nil
}
