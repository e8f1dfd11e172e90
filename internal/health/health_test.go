package health

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/wire/ssm"
	"ssmagent/platform"
)

// service notes the pings and when they came; say answers the n-th.
type service struct {
	mu    sync.Mutex
	start time.Time
	at    []time.Duration
	pings []string
	say   func(n int) (status int, body string, err error)
}

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = append(s.at, time.Since(s.start))
	s.pings = append(s.pings, string(body))
	status, text, err := http.StatusOK, "{}", error(nil)
	if s.say != nil {
		status, text, err = s.say(len(s.at) - 1)
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text))}, err
}

// run pings in bubble time for d and returns what the service saw.
func run(t *testing.T, d time.Duration, p Pinger, say func(int) (int, string, error)) *service {
	t.Helper()
	s := &service{start: time.Now(), say: say}
	p.Client = &ssmclient.Client{
		HTTP: &http.Client{Transport: s}, Endpoint: "http://ssm.test", TargetPrefix: ssm.TargetPrefix,
		Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler), Retry: ssmclient.NoRetry(),
	}
	p.InstanceID, p.AgentName, p.AgentVersion = "mi-0a1b2c3d4e5f60718", "amazon-ssm-agent", "3.3.0.0"
	p.Info = func() platform.Info {
		return platform.Info{Type: "Linux", Name: "Debian GNU/Linux", Version: "12", ComputerName: "node7.lab.example", IPAddress: "192.0.2.17"}
	}
	p.Channel = func() string { return "ssmmessages" }
	p.Interval, p.Clock, p.Log = 5*time.Minute, clock.Real{}, slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := p.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(s.start); took != d {
		t.Errorf("ended after %v, told to end after %v", took, d)
	}
	return s
}

func equal(t *testing.T, got []time.Duration, want ...time.Duration) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("pings at %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i]*time.Second {
			t.Errorf("ping %d at %v, want %v", i, got[i], want[i]*time.Second)
		}
	}
}

// TestPings is worked example 10.5 and the order of the pings.
func TestPings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ready := 0
		s := run(t, 1000*time.Second, Pinger{Rand: func() float64 { return 0.5 }, Ready: func() { ready++ }}, nil)
		equal(t, s.at, 0, 0, 150, 450, 750)
		if ready != 1 {
			t.Errorf("ready %d times", ready)
		}
		const empty = `{"AgentName":"amazon-ssm-agent","AgentVersion":"3.3.0.0","InstanceId":"mi-0a1b2c3d4e5f60718","PlatformType":"Linux"}`
		if s.pings[0] != empty {
			t.Errorf("%s", s.pings[0])
		}
		var full map[string]string
		if err := json.Unmarshal([]byte(s.pings[1]), &full); err != nil {
			t.Fatal(err)
		}
		for k, want := range map[string]string{
			"AgentName": "amazon-ssm-agent", "AgentStatus": "Active", "AgentVersion": "3.3.0.0", "AvailabilityZone": "", "AvailabilityZoneId": "",
			"ComputerName": "node7.lab.example", "IPAddress": "192.0.2.17", "InstanceId": "mi-0a1b2c3d4e5f60718",
			"PlatformName": "Debian GNU/Linux", "PlatformType": "Linux", "PlatformVersion": "12", "SSMConnectionChannel": "ssmmessages",
		} {
			if got, there := full[k]; got != want || !there {
				t.Errorf("%s: %q, %v", k, got, there)
			}
		}
		if len(full) != 12 {
			t.Errorf("%d members", len(full))
		}
	})
}

func TestLaterFailuresDoNotStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := run(t, 1000*time.Second, Pinger{Rand: func() float64 { return 0 }}, func(n int) (int, string, error) {
			if n > 0 {
				return 500, "", nil
			}
			return 200, "{}", nil
		})
		equal(t, s.at, 0, 0, 0, 300, 600, 900)
	})
}

// TestHibernation: 300 s, then levels of 600, 1200 and 2400 s of three each,
// then every hour for good; the first success starts the rest.
func TestHibernation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ready := time.Duration(0)
		start := time.Now()
		s := run(t, 20_500*time.Second, Pinger{Rand: func() float64 { return 0 }, Ready: func() { ready = time.Since(start) }},
			func(n int) (int, string, error) {
				if n < 13 {
					return 400, `{"__type":"AccessDeniedException"}`, nil
				}
				return 200, "{}", nil
			})
		want := []time.Duration{0, 300, 900, 1500, 2100, 3300, 4500, 5700, 8100, 10500, 12900, 16500, 20100}
		for i, w := range want {
			if s.at[i] != w*time.Second {
				t.Errorf("ping %d at %v, want %v", i, s.at[i], w*time.Second)
			}
		}
		if ready != 0 {
			t.Errorf("ready at %v", ready)
		}
	})
}

func TestUnreachedIsAskedSooner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := run(t, 2*time.Minute, Pinger{Rand: func() float64 { return 0 }}, func(n int) (int, string, error) {
			if n < 4 {
				return 0, "", errors.New("network is down")
			}
			return 200, "{}", nil
		})
		equal(t, s.at[:6], 0, 2, 6, 14, 30, 30)
	})
}

func TestHibernationEndsWithContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		run(t, 100*time.Second, Pinger{Ready: func() { t.Error("ready") }}, func(int) (int, string, error) {
			return 400, `{"__type":"AccessDeniedException"}`, nil
		})
	})
}
