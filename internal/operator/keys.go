package operator

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"ssmagent/internal/datakey"
	"ssmagent/internal/wire/ssm"
)

// WithKeys has c make its calls to KMS through k, and returns it.
func (c *Client) WithKeys(k Caller) *Client {
	c.keys = k
	return c
}

// DataKey has KMS make the data key of an encrypted session. A node that was
// named by something else than its id is looked up: the key is for the id.
func (c *Client) DataKey(ctx context.Context, s datakey.Session) (key, sealed []byte, err error) {
	if c.keys == nil {
		return nil, nil, errors.New("this client has no access to KMS")
	}
	if !regexp.MustCompile(`^m?i-[0-9a-f]{8,17}$`).MatchString(s.TargetID) {
		if s.TargetID, err = c.sessionTarget(ctx, s.SessionID); err != nil {
			return nil, nil, err
		}
	}
	return datakey.Make(ctx, c.keys, s)
}

// sessionTarget is the id of the node that a session is on.
func (c *Client) sessionTarget(ctx context.Context, id string) (string, error) {
	in := ssm.DescribeSessionsInput{State: ssm.SessionsActive, Filters: []ssm.SessionFilter{{Key: "SessionId", Value: id}}}
	var out ssm.DescribeSessionsOutput
	if err := c.caller.Call(ctx, "DescribeSessions", in, &out); err != nil {
		return "", fmt.Errorf("look up the node's id: %w (start the session with the id instead of a name)", err)
	}
	if len(out.Sessions) != 1 {
		return "", errors.New("the service does not say which node the session is on; start it with the node's id instead of a name")
	}
	return out.Sessions[0].Target, nil
}
