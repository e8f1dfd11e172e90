package ssmclient

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"ssmagent/internal/backoff"
)

// Retry is a policy. Its zero value stands for DefaultRetry.
type Retry struct {
	// Delays between the attempts; its Retries bounds them.
	Delays backoff.Policy
	// Again says whether an error is worth another attempt.
	Again func(error) bool
}

// DefaultRetry is the stock agent's: three more, after about 1, 2 and 4 s.
func DefaultRetry() Retry { return Retry{backoff.APIRetry(), Retryable} }

// TokenRetry is that of registration and role tokens: five more within about
// 3.7 s, and only when no answer came or with TooManyUpdates.
func TokenRetry() Retry {
	return Retry{backoff.RegisterRetry(), func(err error) bool {
		_, refused := errors.AsType[*Error](err)
		return Code(err) == "TooManyUpdates" || !refused && Retryable(err)
	}}
}

// NoRetry makes a call once.
func NoRetry() Retry { return Retry{backoff.Policy{}, func(error) bool { return false }} }

// Retryable says whether the same call may succeed soon: no answer, a fault of
// the server, throttling, or credentials that have just expired.
func Retryable(err error) bool {
	if u, ok := errors.AsType[*Unreachable](err); ok {
		return !u.Final
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return false
	}
	return e.Status >= 500 && e.Status != http.StatusNotImplemented || e.Status == http.StatusTooManyRequests ||
		expired(e.Code) || slices.Contains([]string{
		"RequestTimeout", "RequestTimeoutException", "Throttling", "ThrottlingException", "ThrottledException",
		"RequestLimitExceeded", "RequestThrottled", "RequestThrottledException", "TooManyRequestsException",
		"ProvisionedThroughputExceededException", "PriorRequestNotComplete", "TransactionInProgressException",
		"EC2ThrottledException",
	}, e.Code)
}

func expired(code string) bool {
	return slices.Contains([]string{"ExpiredToken", "ExpiredTokenException", "RequestExpired"}, code)
}

// skewed lists the codes that a wrong clock of ours may be behind.
func skewed(code string) bool {
	return slices.Contains([]string{
		"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture", BadSignature,
		"SignatureDoesNotMatch", "AuthFailure",
	}, code)
}

// retrying runs try until it succeeds or the policy says enough.
func (c *Client) retrying(ctx context.Context, op string, try func() error) error {
	p := c.Retry
	if p.Again == nil {
		p = DefaultRetry()
	}
	return backoff.Do(ctx, c.Clock, p.Delays, func(ctx context.Context) error {
		err := c.correcting(try)
		if err == nil || ctx.Err() != nil || !p.Again(err) {
			return backoff.Stop(err)
		}
		if inv, ok := c.Signer.(Invalidator); ok && expired(Code(err)) {
			inv.Invalidate()
		}
		c.Log.Debug("call again", "op", op, "error", err)
		return err
	})
}

// correcting repeats a refusal that the answer's own Date explains at once,
// now signed with the corrected clock. Such a repetition does not count.
func (c *Client) correcting(try func() error) error {
	before := c.Skew.Offset()
	err := try()
	if moved := c.Skew.Offset() - before; !skewed(Code(err)) || moved.Abs() < tolerance {
		return err
	}
	c.Log.Warn("this machine's clock is wrong; signing with the service's time, please set the clock",
		"behind", c.Skew.Offset().Round(time.Second), "endpoint", c.Endpoint)
	return try()
}
