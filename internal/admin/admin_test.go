package admin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ssmagent/internal/admin"
	"ssmagent/internal/clock"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/internal/ssmclient"
)

// window is a server over pipes.
type window struct {
	admin.Client

	level  slog.LevelVar
	log    bytes.Buffer
	status admin.Status
	refuse atomic.Pointer[error] // nil: nobody is refused

	callerErr error
}

func refusal(p *atomic.Pointer[error]) error {
	if err := p.Load(); err != nil {
		return *err
	}
	return nil
}

func open(t *testing.T) *window {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &window{status: admin.Status{Version: "3.3.9000.0", InstanceID: "mi-1", State: admin.Online, Ready: true, Goroutines: 7}}
	s := admin.NewServer(admin.Options{
		Path: filepath.Join("/ipc", "admin"), FS: fsystest.NewDisk(), Listen: func(string) (net.Listener, error) { return l, nil },
		Check: func(net.Conn) error { return refusal(&w.refuse) }, Status: func() admin.Status { return w.status },
		Caller:  func(context.Context) (admin.Caller, error) { return admin.Caller{Arn: "arn:aws:sts::1:x"}, w.callerErr },
		Proxies: admin.Proxies{HTTPS: "http://p:3128"},
		Level:   &w.level, Clock: clock.Real{}, Log: slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: &w.level})),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	w.Client = admin.Client{Path: l.Addr().String(), Check: func(net.Conn) error { return nil },
		Dial: func(ctx context.Context, path string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", path)
		}}
	return w
}

func TestStatus(t *testing.T) {
	t.Parallel()
	w := open(t)
	got, err := w.Status(t.Context())
	if err != nil || got != w.status {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCallerAndProxies(t *testing.T) {
	t.Parallel()
	w := open(t)
	if c, err := w.Caller(t.Context()); err != nil || c.Arn != "arn:aws:sts::1:x" {
		t.Errorf("%+v, %v", c, err)
	}
	if p, err := w.Proxies(t.Context()); err != nil || p.HTTPS != "http://p:3128" {
		t.Errorf("%+v, %v", p, err)
	}
	w.callerErr = errors.New("no credentials")
	if _, err := w.Caller(t.Context()); err == nil || !strings.Contains(err.Error(), "no credentials") {
		t.Errorf("%v", err)
	}
}

func TestSetLevel(t *testing.T) {
	t.Parallel()
	w := open(t)
	if err := w.SetLevel(t.Context(), "debug"); err != nil || w.level.Level() != slog.LevelDebug {
		t.Errorf("level %v, %v", w.level.Level(), err)
	}
	if err := w.SetLevel(t.Context(), "loud"); err == nil || !strings.Contains(err.Error(), "use debug, info, warn or error") || w.level.Level() != slog.LevelDebug {
		t.Errorf("level %v, %v", w.level.Level(), err)
	}
}

func TestDebug(t *testing.T) {
	t.Parallel()
	w := open(t)
	var stacks, heap, cpu bytes.Buffer
	if err := errors.Join(w.Stacks(t.Context(), &stacks), w.Heap(t.Context(), &heap), w.Profile(t.Context(), 1, &cpu)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stacks.String(), "admin.(*Server).Run") {
		t.Errorf("the stacks are not the server's:\n%.300s", stacks.String())
	}
	for name, b := range map[string][]byte{"heap": heap.Bytes(), "cpu": cpu.Bytes()} {
		if !bytes.HasPrefix(b, []byte{0x1f, 0x8b}) { // gzip, as pprof's files are
			t.Errorf("%s: %d bytes that are no profile", name, len(b))
		}
	}
	for _, seconds := range []int{-1, 0, 121} {
		if err := w.Profile(t.Context(), seconds, &cpu); err == nil || !strings.Contains(err.Error(), "use 1 to 120") {
			t.Errorf("%d seconds: %v", seconds, err)
		}
	}
}

// TestStrangers: who fails the check gets nothing from any page.
func TestStrangers(t *testing.T) {
	t.Parallel()
	w := open(t)
	stranger := errors.New("user 1000 may not do this")
	w.refuse.Store(&stranger)
	var out bytes.Buffer
	_, err := w.Status(t.Context())
	for name, err := range map[string]error{
		"status": err, "metrics": w.Metrics(t.Context(), &out), "stacks": w.Stacks(t.Context(), &out), "heap": w.Heap(t.Context(), &out),
		"profile": w.Profile(t.Context(), 1, &out), "level": w.SetLevel(t.Context(), "debug"),
	} {
		if err == nil || !strings.Contains(err.Error(), "user 1000 may not") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if out.Len() > 0 || w.level.Level() != slog.LevelInfo {
		t.Errorf("level %v, got %q", w.level.Level(), out.String())
	}
}

// TestImpostor: the client tells nothing to who is not the agent.
func TestImpostor(t *testing.T) {
	t.Parallel()
	w := open(t)
	w.Check = func(net.Conn) error { return errors.New("user 1000") }
	if err := w.SetLevel(t.Context(), "debug"); err == nil || !strings.Contains(err.Error(), "is not the agent") || w.level.Level() != slog.LevelInfo {
		t.Errorf("%v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	c := admin.Client{Path: "/none", Dial: func(context.Context, string) (net.Conn, error) { return nil, errors.New("refused") }}
	if _, err := c.Status(t.Context()); !errors.Is(err, admin.ErrNone) {
		t.Error(err)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, c := range []struct {
		name  string
		s     admin.Status
		want  admin.State
		ready bool
	}{
		{"new", admin.Status{}, admin.Starting, false},
		{"refused", admin.Status{Heartbeat: admin.Heartbeat{Asked: now, Error: "no", Refused: true}}, admin.Hibernating, false},
		{"lost", admin.Status{Heartbeat: admin.Heartbeat{Asked: now, Error: "no"}}, admin.Unreachable, false},
		{"channel", admin.Status{ChannelOpen: true, Heartbeat: admin.Heartbeat{Answered: ago(time.Hour)}}, admin.Online, true},
		{"polls", admin.Status{Channel: "ec2messages", Heartbeat: admin.Heartbeat{Answered: ago(time.Minute)}}, admin.Polling, true},
		{"lost the channel", admin.Status{Channel: "ssmmessages", Heartbeat: admin.Heartbeat{Answered: ago(11*time.Minute - 1)}}, admin.Reconnecting, true},
		{"without pings", admin.Status{NoPings: true}, admin.Starting, false},
		{"without pings, the channel", admin.Status{NoPings: true, Channel: "ssmmessages", ChannelOpen: true}, admin.Online, true},
		{"without pings, lost the channel", admin.Status{NoPings: true, Channel: "ssmmessages"}, admin.Offline, false},
		{"long ago", admin.Status{Channel: "ssmmessages", Heartbeat: admin.Heartbeat{Answered: ago(11 * time.Minute)}}, admin.Offline, false},
	} {
		if c.s.Judge(now, 5*time.Minute); c.s.State != c.want || c.s.Ready != c.ready {
			t.Errorf("%s: %s, ready %v", c.name, c.s.State, c.s.Ready)
		}
	}
}

func TestHeart(t *testing.T) {
	t.Parallel()
	clk := clock.NewFake(time.Unix(100, 0))
	h := admin.NewHeart(clk)
	h.Beat(nil)
	clk.Advance(time.Minute)
	h.Beat(fmt.Errorf("ping: %w", &ssmclient.Unreachable{Reason: "no route"}))
	if got := h.Last(); got.Refused || got.Error != "ping: no route" || !got.Answered.Equal(time.Unix(100, 0)) || !got.Asked.Equal(time.Unix(160, 0)) {
		t.Errorf("lost: %+v", got)
	}
	h.Beat(&ssmclient.Error{Code: "AccessDeniedException"})
	if got := h.Last(); !got.Refused || got.AnsweredTotal != 1 || got.LostTotal != 1 || got.RefusedTotal != 1 {
		t.Errorf("refused: %+v", got)
	}
	h.Beat(nil)
	if got := h.Last(); got.Refused || got.Error != "" || got.AnsweredTotal != 2 {
		t.Errorf("well again: %+v", got)
	}
}
