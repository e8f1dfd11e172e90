package operator

import (
	"context"

	"ssmagent/internal/wire/ssm"
)

// StartSession opens a session; its token opens one connection.
func (c *Client) StartSession(ctx context.Context, in ssm.StartSessionInput) (ssm.SessionOutput, error) {
	var out ssm.SessionOutput
	return out, c.caller.Call(ctx, "StartSession", in, &out)
}

// ResumeSession asks for a new token; an answer without one says that the
// session is over.
func (c *Client) ResumeSession(ctx context.Context, id string) (ssm.SessionOutput, error) {
	var out ssm.SessionOutput
	return out, c.caller.Call(ctx, "ResumeSession", ssm.ResumeSessionInput{SessionId: id}, &out)
}

// TerminateSession ends a session. It is idempotent.
func (c *Client) TerminateSession(ctx context.Context, id string) error {
	var out ssm.TerminateSessionOutput
	return c.caller.Call(ctx, "TerminateSession", ssm.TerminateSessionInput{SessionId: id}, &out)
}
