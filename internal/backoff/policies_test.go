package backoff

import (
	"testing"
	"time"
)

func fixed(v float64) func() float64 { return func() float64 { return v } }

func TestControlChannel(t *testing.T) {
	t.Parallel()
	const most = 0.9999999
	low, high := ControlChannel(fixed(0)), ControlChannel(fixed(most))
	for n, want := range []time.Duration{5, 10, 20, 40, 80, 160, 320, 640, 1280, 2400, 2400} {
		if got := low.Delay(n, nil); got != want*time.Second {
			t.Errorf("least delay %d is %v, want %v", n, got, want*time.Second)
		}
	}
	if got := high.Delay(0, nil).Round(time.Millisecond); got != 15*time.Second {
		t.Errorf("longest first delay is %v", got)
	}
	if got := high.Delay(99, nil).Round(time.Millisecond); got != time.Hour {
		t.Errorf("longest delay is %v", got)
	}
	if got := ControlChannelLost(fixed(most)).Round(time.Millisecond); got != 2500*time.Millisecond {
		t.Errorf("longest delay after a loss is %v", got)
	}
	if p := ControlChannel(nil); p.First < 5*time.Second || p.First >= 10*time.Second {
		t.Errorf("first delay %v", p.First)
	}
}

func TestCallPolicies(t *testing.T) {
	t.Parallel()
	if p := RegisterRetry(); p.Delay(4, fixed(0)) != 1600*time.Millisecond || p.Retries != 5 {
		t.Errorf("register: %+v", p)
	}
	if p := APIRetry(); p.Delay(2, fixed(1)) != 5996*time.Millisecond || p.Retries != 3 {
		t.Errorf("API: %+v, %v", p, p.Delay(2, fixed(1)))
	}
}

func TestRoleToken(t *testing.T) {
	t.Parallel()
	const s = time.Second
	tests := []struct {
		cause     TokenFailure
		n         int
		low, high time.Duration // high: rnd just below 1, here 1
	}{
		{TokenUnanswered, 0, s, 1200 * time.Millisecond},
		{TokenUnanswered, 10, 1024 * s, 1228800 * time.Millisecond},
		{TokenUnanswered, 11, 1800 * s, 1501 * s},
		{TokenUnanswered, 99, 1800 * s, 1501 * s},
		{TokenRefused, 0, 11 * s, 20200 * time.Millisecond},
		{TokenRefused, 16, 1800 * s, 1501 * s},
		{TokenForbidden, 0, 1500 * s, 1799 * s},
		{TokenForbidden, 16, 1500 * s, 1799 * s},
		{TokenIncomplete, 3, 300 * s, 300 * s},
		{TokenRefusedEC2, 0, 300 * s, 300 * s},
		{TokenRefusedEC2, 1, 600 * s, 540 * s},
		{TokenRefusedEC2, 3, 600 * s, 540 * s},
		{TokenRefusedEC2, 4, 1200 * s, 1080 * s},
		{TokenRefusedEC2, 16, 3600 * s, 3240 * s},
		{TokenRefusedEC2, -1, 300 * s, 300 * s},
	}
	for _, tt := range tests {
		if got := RoleToken(tt.cause, tt.n, fixed(0)); got != tt.low {
			t.Errorf("cause %d, attempt %d: %v, want %v", tt.cause, tt.n, got, tt.low)
		}
		if got := RoleToken(tt.cause, tt.n, fixed(1)); got != tt.high {
			t.Errorf("cause %d, attempt %d, with all jitter: %v, want %v", tt.cause, tt.n, got, tt.high)
		}
	}
	if d := RoleToken(TokenUnanswered, 0, nil); d < s || d > 1200*time.Millisecond {
		t.Errorf("without rnd: %v", d)
	}
}
