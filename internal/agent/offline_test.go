package agent_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"ssmagent/internal/clock"
	"ssmagent/internal/config"
	"ssmagent/internal/control"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/internal/health"
	"ssmagent/internal/identity"
	"ssmagent/internal/outbox"
	"ssmagent/internal/sigv4"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/vault"
	"ssmagent/internal/wire/ssm"
	"ssmagent/platform"
)

// far is a service at the end of a network that can be cut, with a clock that
// can be moved. Its tokens last an hour.
type far struct {
	t *testing.T

	mu      sync.Mutex
	off     time.Duration // of its clock against the node's
	down    bool
	cut     chan struct{}        // closed when the network goes
	expires map[string]time.Time // of tokens, in its own time
	since   time.Time            // when it came back
	first   time.Duration        // from then to the first call that reached it
	online  map[string]time.Duration
	stale   int // calls that were signed with an expired token
}

func newFar(t *testing.T) *far {
	return &far{t: t, cut: make(chan struct{}), expires: map[string]time.Time{}, since: time.Now(), first: -1, online: map[string]time.Duration{}}
}

// RoundTrip implements http.RoundTripper.
func (f *far) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH}
	}
	if f.first < 0 {
		f.first = time.Since(f.since)
	}
	now := time.Now().Add(f.off)
	status, body := f.answer(r, now)
	return &http.Response{StatusCode: status, Header: http.Header{"Date": {now.UTC().Format(http.TimeFormat)}},
		Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func (f *far) answer(r *http.Request, now time.Time) (int, string) {
	s, err := sigv4.Parse(r)
	if err != nil {
		f.t.Error(err)
	}
	if now.Sub(s.Time).Abs() > 5*time.Minute {
		return http.StatusBadRequest, `{"__type":"RequestTimeTooSkewed","message":"the clock"}`
	}
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if op == "RequestManagedInstanceRoleToken" {
		end := now.Add(time.Hour)
		id := fmt.Sprintf("AKIA%d", len(f.expires))
		f.expires[id] = end
		return http.StatusOK, fmt.Sprintf(`{"AccessKeyId":%q,"SecretAccessKey":"s","SessionToken":"t","TokenExpirationDate":%d}`, id, end.Unix())
	}
	if !now.Before(f.expires[s.CredentialID]) {
		f.stale++
		return http.StatusForbidden, `{"__type":"ExpiredTokenException","message":"old"}`
	}
	if op == "" {
		return http.StatusCreated, "<R><MessageSchemaVersion>1.0</MessageSchemaVersion><TokenValue>tok</TokenValue></R>"
	}
	f.reachedLocked("ping")
	return http.StatusOK, "{}"
}

func (f *far) reachedLocked(what string) {
	if _, again := f.online[what]; !again && f.first >= 0 {
		f.online[what] = time.Since(f.since) - f.first
	}
}

// line is an open control channel: nothing comes until it is cut.
type line struct {
	cut    <-chan struct{}
	closed chan struct{}
	once   *sync.Once
}

func (l line) Read(ctx context.Context) (websocket.MessageType, []byte, error) {
	select {
	case <-ctx.Done():
	case <-l.cut:
	case <-l.closed:
	}
	return 0, nil, io.ErrUnexpectedEOF
}

func (l line) Write(context.Context, websocket.MessageType, []byte) error { return nil }

func (l line) Ping(context.Context) error { return nil }

func (l line) CloseNow() error { l.once.Do(func() { close(l.closed) }); return nil }

func (f *far) open(g ssmclient.Gateway) func(context.Context) (control.Conn, error) {
	return func(ctx context.Context) (control.Conn, error) {
		if _, err := g.CreateControlChannel(ctx, instance); err != nil {
			return nil, err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.reachedLocked("channel")
		return line{f.cut, make(chan struct{}), new(sync.Once)}, nil
	}
}

// disconnect cuts the network.
func (f *far) disconnect() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = true
	close(f.cut)
}

// connect brings it back; the service's clock is off by then.
func (f *far) connect(off time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down, f.off, f.cut, f.since, f.first, f.online = false, off, make(chan struct{}), time.Now(), -1, map[string]time.Duration{}
}

// trio are the parts of an agent that call the service, as the agent joins
// them, until the returned function is called.
func trio(t *testing.T, f *far, reach *ssmclient.Reach) (stop func()) {
	t.Helper()
	key, err := sigv4.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	disk, log, real := fsystest.NewDisk(), slog.New(slog.DiscardHandler), clock.Real{}
	skew, h := new(ssmclient.Skew), &http.Client{Transport: f}
	const endpoint = "https://far.example"
	creds := identity.NewProvider(identity.Options{
		Identity: identity.Identity{InstanceID: instance, Region: "us-east-1", Type: config.OnPrem}, Key: key, Vault: vault.New(disk, "/data"),
		Endpoint: endpoint, Region: "us-east-1", HTTP: h, Clock: real, Log: log, Skew: skew, Reach: reach,
		Fingerprint: func(context.Context) (string, error) { return "print", nil },
	})
	client := ssmclient.Client{HTTP: h, Endpoint: endpoint, Service: "ssm", TargetPrefix: ssm.TargetPrefix,
		Signer: identity.Signer(creds, "us-east-1"), Clock: real, Log: log, Skew: skew, Reach: reach}
	box, err := outbox.Open(disk, "/outbox", real, log)
	if err != nil {
		t.Fatal(err)
	}
	c := control.New(control.Options{
		InstanceID: instance, Outbox: box, Calls: &client, Clock: real, Log: log, Reach: reach,
		Open:   f.open(ssmclient.Gateway{HTTP: h, Endpoint: endpoint, Signer: identity.Signer(creds, "us-east-1"), Clock: real, Skew: skew, Reach: reach}),
		Accept: func(context.Context, control.Delivery) control.Verdict { return control.Verdict{} },
	})
	p := health.Pinger{Client: &client, InstanceID: instance, Info: func() platform.Info { return platform.Info{Type: "Linux"} },
		Channel: c.Channel, Interval: 5 * time.Minute, Reach: reach, Clock: real, Log: log}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{creds.Run, c.Run, p.Run} {
		wg.Go(func() { _ = run(ctx) })
	}
	return func() {
		cancel()
		wg.Wait()
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestTwoDaysOffline: the token expires while the network is away for up to
// two days, and the service's clock is moved meanwhile. Within five seconds of the
// first call that reaches the service the node pings and has its channel; a
// link that comes up makes that call at once; nothing is ever signed with a
// token that has expired.
func TestTwoDaysOffline(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		gap  time.Duration
		off  time.Duration // of the service's clock, from then on
		link bool          // this machine sees the network come back
	}{
		"two days, an hour behind":       {48 * time.Hour, -time.Hour, false},
		"a link comes up, an hour ahead": {2 * time.Hour, time.Hour, true}, "a link comes up, an hour behind": {2 * time.Hour, -time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, reach := newFar(t), new(ssmclient.Reach)
				defer trio(t, f, reach)()
				<-time.After(10 * time.Minute)
				f.onlineWithin(5*time.Second, time.Minute)
				f.disconnect()
				<-time.After(tc.gap)
				f.connect(tc.off)
				wait := 6 * time.Minute
				if tc.link {
					reach.NetworkChanged()
					wait = 2 * time.Second
				}
				<-time.After(wait + 5*time.Second)
				f.onlineWithin(5*time.Second, wait)
				<-time.After(3 * time.Hour) // and stays so
				if f.stale > 0 {
					t.Errorf("%d calls were signed with an expired token", f.stale)
				}
			})
		})
	}
}

// onlineWithin checks how long it took from the first call on, and to it.
func (f *far) onlineWithin(most, first time.Duration) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.t.Logf("first call after %v, then %v", f.first, f.online)
	if f.first < 0 || f.first > first {
		f.t.Errorf("the first call came after %v, want %v", f.first, first)
	}
	for _, what := range []string{"ping", "channel"} {
		if took, ok := f.online[what]; !ok || took > most {
			f.t.Errorf("%s after %v (%v), want %v", what, took, ok, most)
		}
	}
}
