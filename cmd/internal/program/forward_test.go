package program

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/client/clienttest"
	"ssmagent/internal/wire/mgs"
)

// forwarded is a `forward` of one way, with the double as its node.
type forwarded struct {
	*calls
	out, errs lines
	code      chan int
	stop      context.CancelFunc
}

func startForward(t *testing.T, w way, asJSON bool) *forwarded {
	t.Helper()
	d := clienttest.NewDouble(t, clienttest.Options{SessionType: mgs.SessionPort, Properties: []byte(`{"portNumber":"80","type":"LocalPortForwarding"}`)})
	f := &forwarded{calls: &calls{d: d}, code: make(chan int, 1)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	served := make(chan struct{})
	go func() {
		defer close(served)
		d.ServePorts(func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) })
	}()
	var ctx context.Context
	ctx, f.stop = context.WithCancel(t.Context())
	go func() { f.code <- forwardAll(ctx, streams{nil, &f.out, &f.errs}, f.calls, "mi-1", []way{w}, asJSON) }()
	t.Cleanup(func() { f.stop(); l.Close(); d.Stop(); <-served })
	return f
}

func (f *forwarded) ended(t *testing.T) int {
	t.Helper()
	select {
	case code := <-f.code:
		return code
	case <-time.After(20 * time.Second):
		t.Fatalf("forward does not end; it said %s %s", f.out.String(), f.errs.String())
		return 0
	}
}

// local waits for the address that is listened on.
func (f *forwarded) local(t *testing.T) string {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		if n, err := mgs.Decode[news]([]byte(strings.SplitN(f.out.String(), "\n", 2)[0])); err == nil && n.Event == "open" {
			return n.Local
		}
		if addr, _, ok := strings.Cut(f.out.String(), " -> mi-1 port 80: open\n"); ok {
			return addr
		}
		select {
		case <-deadline:
			t.Fatalf("nothing is open: %s", f.out.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestForward: lines for programs, what is said comes back, ^C ends the session
// at the service and is no failure.
func TestForward(t *testing.T) {
	t.Parallel()
	f := startForward(t, way{"tcp", "localhost:0", "", "80", ""}, false)
	c, err := net.Dial("tcp", f.local(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "hello")
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	f.stop()
	if code := f.ended(t); code != exitOK || f.terminated() != 1 {
		t.Errorf("code %d, terminated %d times", code, f.terminated())
	}
	if !strings.HasSuffix(f.out.String(), ": ended; 1 connections, 5 B up, 5 B down\n") {
		t.Error(f.out.String())
	}
}

// TestForwardJSON: the same for programs, and an end that nobody asked for.
func TestForwardJSON(t *testing.T) {
	t.Parallel()
	f := startForward(t, way{"tcp", "localhost:0", "", "80", ""}, true)
	f.local(t)
	f.d.Close("idle for too long")
	if code := f.ended(t); code != exitLost {
		t.Errorf("code %d", code)
	}
	var last news
	for line := range strings.Lines(f.out.String()) {
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	if last.Event != "ended" || last.Text != "idle for too long" || last.Sums == nil || last.Session != clienttest.SessionID || last.Target != "mi-1 port 80" {
		t.Errorf("%s", f.out.String())
	}
}

// TestForwardTaken: a port that is taken is said before the service is asked.
func TestForwardTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f := startForward(t, way{"tcp", l.Addr().String(), "", "80", ""}, false)
	if code := f.ended(t); code != exitLost || !strings.Contains(f.errs.String(), "address already in use") || f.asked.Target != "" {
		t.Errorf("code %d, %s", code, f.errs.String())
	}
}

func TestForwardArgs(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"mi-1"}, {"mi-1", "x"}, {"mi-1", "80", "-nonsense"}, {"-region"}} {
		var errs lines
		if code := forwardMain(t.Context(), streams{nil, &errs, &errs}, args); code != exitUsage {
			t.Errorf("%q: code %d, %s", args, code, errs.String())
		}
	}
}

func TestAmount(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 20: "1.0 MiB", 1<<20 - 1: "1.0 MiB", 5 << 30: "5.0 GiB"} {
		if got := amount(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
