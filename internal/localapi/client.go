package localapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"

	"ssmagent/internal/link"
)

// Client asks the agent.
type Client struct {
	Path string
	Dial func(ctx context.Context, path string) (net.Conn, error) // ipc.Dial
	// Check refuses to talk to who is not the agent; ipc.CheckPeer.
	Check func(net.Conn) error
}

// ErrGone is wrapped by the error of an answer that broke off: the agent ended.
var ErrGone = errors.New("the agent went away before it had answered")

// ErrNone is wrapped by the error of a socket at which nobody answers.
var ErrNone = errors.New("the agent is not running, or not for this user: start it, or ask as root and with the agent's -root")

// Ask hands each line of the agent's answer to got, but for an error, which it
// returns.
func (c Client) Ask(ctx context.Context, req Request, got func(Answer) error) error {
	conn, err := c.Dial(ctx, c.Path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNone, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := c.Check(conn); err != nil {
		return fmt.Errorf("who listens at %s is not the agent: %w", c.Path, err)
	}
	unsaid := link.WriteLine(conn, req) // who is refused is told before it has said all
	r := bufio.NewReader(conn)
	for {
		line, err := link.ReadLine(r, maxAnswer)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case unsaid != nil && err != nil:
			return fmt.Errorf("ask the agent: %w", unsaid)
		case errors.Is(err, io.EOF):
			return ErrGone
		case err != nil:
			return fmt.Errorf("%w: %w", ErrGone, err)
		}
		var a Answer
		if err := json.Unmarshal(line, &a); err != nil {
			return fmt.Errorf("read the agent's answer: %w", err)
		}
		if a.Error != "" {
			return errors.New(a.Error)
		}
		if err := got(a); err != nil || a.last() {
			return err
		}
	}
}
