package backoff

import (
	"math"
	"math/rand/v2"
	"time"
)

// ControlChannel is the schedule of opening a control channel as
// stock agents have it: 5 to 10 s, drawn once, doubling up to 40 minutes,
// each with up to half of it added, without end. One attempt is
// CreateControlChannel, the dial and the first message. A channel that stood
// for a minute has proved the gateway well. A nil rnd means math/rand/v2.
func ControlChannel(rnd func() float64) Policy {
	return Policy{
		First:      spread(5*time.Second, 5*time.Second, rnd),
		Cap:        40 * time.Minute,
		Factor:     2,
		Jitter:     0.5,
		ResetAfter: time.Minute,
		Rand:       rnd,
	}
}

// ControlChannelLost is the single delay, below 2.5 s, between the loss of an
// open control channel and the first attempt to open it again,
// as stock agents have it.
func ControlChannelLost(rnd func() float64) time.Duration {
	return spread(0, 2500*time.Millisecond, rnd)
}

// RegisterRetry is the schedule within one registration, role-token or key
// call: five retries from 100 ms, doubling,
// with up to a fifth added. Of the services' own errors only TooManyUpdates of
// a registration is repeated; any other is for Stop.
func RegisterRetry() Policy {
	return Policy{First: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Retries: 5}
}

// APIRetry is the schedule of every other call: three
// retries after 1, 2 and 4 s, each with up to half of it added.
func APIRetry() Policy {
	return Policy{First: time.Second, Factor: 2, Jitter: 0.499, Retries: 3}
}

// TokenFailure is why no role token came.
type TokenFailure int

// The causes, as they determine the delay.
const (
	// TokenUnanswered: no answer that is an error of the service.
	TokenUnanswered TokenFailure = iota
	// TokenRefused: an error of the service but those of TokenForbidden.
	TokenRefused
	// TokenForbidden: AccessDeniedException or MachineFingerprintDoesNotMatch.
	TokenForbidden
	// TokenIncomplete: the answer lacks a member that must be there.
	TokenIncomplete
	// TokenRefusedEC2: as the first two, for an instance of EC2.
	TokenRefusedEC2
)

// RoleToken returns the delay after failed attempt n, the first being 0, to
// get a role token. A nil rnd means math/rand/v2. Use
// it with After.
func RoleToken(cause TokenFailure, n int, rnd func() float64) time.Duration {
	n = min(max(n, 0), 16)
	switch cause {
	case TokenForbidden:
		return spread(1500*time.Second, 299*time.Second, rnd)
	case TokenIncomplete:
		return 300 * time.Second
	case TokenRefusedEC2:
		if n == 0 {
			return 300 * time.Second
		}
		d := min(600*math.Pow(2, math.Ceil(float64(n)/3)-1), 3600) * float64(time.Second)
		return time.Duration(d) - spread(0, time.Duration(d/10), rnd)
	case TokenUnanswered, TokenRefused:
	}
	d := Policy{First: time.Second, Factor: 2, Jitter: 0.2}.Delay(n, orDefault(rnd))
	if cause == TokenRefused {
		d += spread(10*time.Second, 9*time.Second, rnd)
	}
	if d > 1800*time.Second {
		d = 1800*time.Second - spread(0, 299*time.Second, rnd)
	}
	return d
}

// spread returns base plus less than width.
func spread(base, width time.Duration, rnd func() float64) time.Duration {
	return base + time.Duration(orDefault(rnd)()*float64(width))
}

func orDefault(rnd func() float64) func() float64 {
	if rnd == nil {
		return rand.Float64
	}
	return rnd
}
