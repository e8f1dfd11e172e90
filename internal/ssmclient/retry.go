package ssmclient

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

// Retry is a policy. Its zero value stands for DefaultRetry.
type Retry struct {
	// Max is the number of attempts after the first.
	Max int
	// Delay is the pause before retry n, counted from 0.
	Delay func(n int) time.Duration
	// Again says whether an error is worth another attempt; nil: Retryable.
	Again func(error) bool
}

// DefaultRetry is the stock agent's: three more, after about 1, 2 and 4 s.
func DefaultRetry() Retry {
	return Retry{Max: 3, Delay: func(n int) time.Duration {
		return time.Duration(1<<min(n, 10)) * (time.Second + rand.N(500*time.Millisecond))
	}}
}

// TokenRetry is that of registration and role tokens: five more within about
// 3.7 s, and only when no answer came.
func TokenRetry() Retry {
	return Retry{Max: 5,
		Delay: func(n int) time.Duration {
			d := 100 * time.Millisecond << min(n, 10)
			return d*4/5 + rand.N(d*2/5)
		},
		Again: func(err error) bool { return Code(err) == "TooManyUpdates" || !isRefusal(err) && Retryable(err) },
	}
}

// NoRetry makes a call once.
func NoRetry() Retry {
	return Retry{Again: func(error) bool { return false }, Delay: func(int) time.Duration { return 0 }}
}

func isRefusal(err error) bool {
	_, ok := errors.AsType[*Error](err)
	return ok
}

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
		"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture", "InvalidSignatureException",
		"SignatureDoesNotMatch", "AuthFailure",
	}, code)
}

// retrying runs try until it succeeds or the policy says enough. A refusal
// that the answer's own Date explains is tried again at once, with the clock
// corrected, and does not count.
func (c *Client) retrying(ctx context.Context, op string, try func() error) error {
	p := c.Retry
	if p.Delay == nil {
		p = DefaultRetry()
	}
	if p.Again == nil {
		p.Again = Retryable
	}
	corrected := false
	for n := 0; ; n++ {
		before := c.Skew.Offset()
		err := try()
		if err == nil || ctx.Err() != nil {
			return err
		}
		code := Code(err)
		if moved := c.Skew.Offset() - before; !corrected && skewed(code) && moved.Abs() >= tolerance {
			c.Log.Warn("this machine's clock is wrong; signing with the service's time, please set the clock",
				"off_by", (-c.Skew.Offset()).Round(time.Second), "host", c.Endpoint)
			corrected = true
			n--
			continue
		}
		if n >= p.Max || !p.Again(err) {
			return err
		}
		if inv, ok := c.Signer.(Invalidator); ok && expired(code) {
			inv.Invalidate()
		}
		delay := p.Delay(n)
		c.Log.Debug("call again", "op", op, "after", delay, "error", err)
		if err := c.pause(ctx, delay); err != nil {
			return err
		}
	}
}

func (c *Client) pause(ctx context.Context, d time.Duration) error {
	t := c.Clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
