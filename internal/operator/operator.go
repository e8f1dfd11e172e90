// Package operator is the operators' side of the Systems Manager API as our
// own client uses it: against our control plane and against AWS alike.
package operator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/ssm"
)

// Caller makes signed JSON 1.1 calls; ssmclient.Client is one.
type Caller interface {
	Call(ctx context.Context, op string, in, out any) error
}

// Client speaks for an operator. Safe for concurrent use.
type Client struct {
	caller Caller
	keys   Caller // of KMS; nil: there is none
	clock  clock.Clock
	region string
	pace   Pace
}

// Pace bounds the waits between two looks at something that has not happened
// yet: the API has no call that waits.
type Pace struct{ First, Most time.Duration }

// The paces: our own control plane is asked often, AWS as its waiters do.
var (
	Local  = Pace{First: 2 * time.Millisecond, Most: 100 * time.Millisecond}
	Remote = Pace{First: 300 * time.Millisecond, Most: 5 * time.Second}
)

// New returns a client that makes its calls through c in region.
func New(c Caller, clk clock.Clock, region string, p Pace) *Client {
	return &Client{caller: c, clock: clk, region: region, pace: p}
}

// Region is where the client's calls go.
func (c *Client) Region() string { return c.region }

// CreateActivation makes an activation.
func (c *Client) CreateActivation(ctx context.Context, in ssm.CreateActivationInput) (ssm.CreateActivationOutput, error) {
	var out ssm.CreateActivationOutput
	return out, c.caller.Call(ctx, "CreateActivation", in, &out)
}

// Nodes lists all managed nodes.
func (c *Client) Nodes(ctx context.Context) ([]ssm.InstanceInformation, error) {
	return c.nodes(ctx, ssm.DescribeInstanceInformationInput{MaxResults: 50})
}

func (c *Client) nodes(ctx context.Context, in ssm.DescribeInstanceInformationInput) ([]ssm.InstanceInformation, error) {
	var all []ssm.InstanceInformation
	for {
		var out ssm.DescribeInstanceInformationOutput
		if err := c.caller.Call(ctx, "DescribeInstanceInformation", in, &out); err != nil {
			return nil, err
		}
		all = append(all, out.InstanceInformationList...)
		if in.NextToken = out.NextToken; in.NextToken == "" {
			return all, nil
		}
	}
}

// WaitOnline returns the node once it is online and has told what it is.
func (c *Client) WaitOnline(ctx context.Context, id string) (ssm.InstanceInformation, error) {
	in := ssm.DescribeInstanceInformationInput{Filters: []ssm.InstanceFilter{{Key: "InstanceIds", Values: []string{id}}}}
	var node ssm.InstanceInformation
	err := c.until(ctx, func() (bool, error) {
		list, err := c.nodes(ctx, in)
		if err != nil || len(list) == 0 {
			return false, err
		}
		node = list[0]
		return node.PingStatus == "Online" && node.PlatformName != "", nil
	})
	return node, err
}

// until calls done at the client's pace until it says so, fails or ctx ends.
func (c *Client) until(ctx context.Context, done func() (bool, error)) error {
	start := c.clock.Now()
	t := c.clock.NewTimer(c.pace.First)
	defer t.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		// The wait is a share of the time that has gone by: whatever is
		// waited for is seen at most an eighth of its own time late.
		t.Reset(min(max(c.pace.First, c.clock.Now().Sub(start)/8), c.pace.Most))
		select {
		case <-t.C():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// RotateKey asks a node of our control plane for a new key.
func (c *Client) RotateKey(ctx context.Context, node string) error {
	err := c.caller.Call(ctx, "RequestKeyRotation", ssm.RequestKeyRotationInput{InstanceId: node}, nil)
	if code := ssmclient.Code(err); code == "UnknownOperationException" || code == "UnknownOperation" {
		return fmt.Errorf("this service has no call for it (AWS itself decides when a node replaces its key; a node does it by age with Profile.KeyAutoRotateDays): %w", err)
	}
	return err
}

// SendShell sends a shell script to a node and returns the command's id.
func (c *Client) SendShell(ctx context.Context, node string, script []string) (string, error) {
	in := ssm.SendCommandInput{DocumentName: "AWS-RunShellScript", InstanceIds: []string{node}, Parameters: map[string][]string{"commands": script}}
	var out ssm.SendCommandOutput
	err := c.caller.Call(ctx, "SendCommand", in, &out)
	return out.Command.CommandId, err
}

// Wait returns the invocation once it is over, telling each change of its
// StatusDetails. A command whose invocation is not there yet is waited for.
func (c *Client) Wait(ctx context.Context, command, node string, told func(status string)) (ssm.GetCommandInvocationOutput, error) {
	in := ssm.GetCommandInvocationInput{CommandId: command, InstanceId: node}
	var inv ssm.GetCommandInvocationOutput
	last := ""
	err := c.until(ctx, func() (bool, error) {
		var out ssm.GetCommandInvocationOutput
		err := c.caller.Call(ctx, "GetCommandInvocation", in, &out)
		var api *ssmclient.Error
		if errors.As(err, &api) && api.Code == "InvocationDoesNotExist" {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if inv = out; inv.StatusDetails != last {
			last = inv.StatusDetails
			told(last)
		}
		switch inv.Status {
		case "Pending", "InProgress", "Delayed", "Cancelling":
			return false, nil
		}
		return true, nil
	})
	return inv, err
}

// Cancel cancels a command on a node.
func (c *Client) Cancel(ctx context.Context, command, node string) error {
	return c.caller.Call(ctx, "CancelCommand", ssm.CancelCommandInput{CommandId: command, InstanceIds: []string{node}}, &ssm.Empty{})
}

// RunShell sends a script and waits for its end. When ctx ends first the
// command is cancelled, as ^C ends what a shell runs.
func (c *Client) RunShell(ctx context.Context, node string, script []string, told func(status string)) (ssm.GetCommandInvocationOutput, error) {
	id, err := c.SendShell(ctx, node, script)
	if err != nil {
		return ssm.GetCommandInvocationOutput{}, err
	}
	inv, err := c.Wait(ctx, id, node, told)
	if ctx.Err() != nil {
		// The caller's context is over; the cancellation has its own.
		end, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer stop()
		if cancelErr := c.Cancel(end, id, node); cancelErr != nil {
			return inv, fmt.Errorf("command %s goes on, it could not be cancelled: %w", id, cancelErr)
		}
		return inv, fmt.Errorf("command %s was cancelled: %w", id, err)
	}
	return inv, err
}
