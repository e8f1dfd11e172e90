package service_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ssmagent/service"
)

func (c *hosted) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		c := start(t, "good")
		begin := time.Now()
		c.signal(t, sig)
		if code := c.wait(t); code != 0 || c.errText() != "" {
			t.Errorf("%v: code %d, stderr %s", sig, code, c.errText())
		}
		if took := time.Since(begin); took > 2*time.Second { // 50 ms are meant; the test machine may be busy
			t.Errorf("%v: took %v", sig, took)
		}
	}
}

func TestStopWithError(t *testing.T) {
	t.Parallel()
	c := start(t, "badstop")
	c.signal(t, syscall.SIGTERM)
	if code := c.wait(t); code != 5 || !c.said("could not tidy up") {
		t.Errorf("code %d, stderr %s", code, c.errText())
	}
}

func TestStuckShowsItsStacks(t *testing.T) {
	t.Parallel()
	c := start(t, "stuck")
	c.signal(t, syscall.SIGTERM)
	if code := c.wait(t); code != 3 || !c.said("goroutine ") || !c.said("service_test.host") {
		t.Errorf("code %d, stderr %s", code, c.errText())
	}
}

func TestSecondInterruptIsEnough(t *testing.T) {
	t.Parallel()
	c := start(t, "patient") // would wait for 30 s
	c.signal(t, syscall.SIGINT)
	done := make(chan struct{})
	go func() { // both may arrive as one if sent too fast
		t := time.NewTicker(20 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				_ = c.cmd.Process.Signal(syscall.SIGINT)
			case <-done:
				return
			}
		}
	}()
	code := c.wait(t)
	close(done)
	if code != 3 || !c.said("interrupted again") {
		t.Errorf("code %d, stderr %s", code, c.errText())
	}
}

func TestHangupReloads(t *testing.T) {
	t.Parallel()
	c := start(t, "good")
	for range 2 {
		c.signal(t, syscall.SIGHUP)
		c.expect(t, "reload")
	}
	c.signal(t, syscall.SIGTERM)
	if code := c.wait(t); code != 0 {
		t.Errorf("code %d", code)
	}
}

func TestChildrenIgnoreNoSignals(t *testing.T) {
	t.Parallel()
	c := start(t, "children")
	if !c.out.Scan() {
		t.Fatal("no line")
	}
	mask, err := strconv.ParseUint(strings.TrimSpace(strings.TrimPrefix(c.out.Text(), "SigIgn:")), 16, 64)
	if err != nil || mask&(1<<(syscall.SIGHUP-1)|1<<(syscall.SIGTERM-1)) != 0 {
		t.Errorf("%s, %v", c.out.Text(), err)
	}
	c.signal(t, syscall.SIGTERM)
	c.wait(t)
}

// systemd is the socket that systemd would listen on.
func systemd(t *testing.T) (*net.UnixConn, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "notify") // t.TempDir's names can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, "NOTIFY_SOCKET=" + path
}

func message(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1000)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestNotify(t *testing.T) {
	t.Parallel()
	sock, env := systemd(t)
	c := start(t, "good", env)
	if m := message(t, sock); m != "READY=1" {
		t.Errorf("first message %q", m)
	}
	c.signal(t, syscall.SIGTERM)
	if m := message(t, sock); m != "STOPPING=1" {
		t.Errorf("second message %q", m)
	}
	if code := c.wait(t); code != 0 {
		t.Errorf("code %d, stderr %s", code, c.errText())
	}
}

func TestWatchdog(t *testing.T) {
	t.Parallel()
	sock, env := systemd(t)
	c := start(t, "good", env, "WATCHDOG_USEC=20000")
	pets := 0
	for range 4 {
		if message(t, sock) == "WATCHDOG=1" {
			pets++
		}
	}
	if pets < 3 {
		t.Errorf("the watchdog was petted %d times in 4 messages", pets)
	}
	c.signal(t, syscall.SIGTERM)
	if code := c.wait(t); code != 0 {
		t.Errorf("code %d", code)
	}
}

func TestManagingWithoutSystemd(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		t.Skip("systemd runs here; it is left alone")
	}
	if err := service.Start(service.Default()); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "systemd does not run here") {
		t.Errorf("error %v", err)
	}
}
