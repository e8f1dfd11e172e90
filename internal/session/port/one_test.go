package port

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"ssmagent/internal/wire/mgs"
)

func ssh() Client { return Client{Version: "1.3.0.0", Mux: 1} }
func old() Client { return Client{Version: "1.1.69", Mux: 1} }

// One connection is the whole session of SSH.
func TestSSH(t *testing.T) {
	t.Parallel()
	l := serve(t, ssh(), false, destination(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "SSH-2.0-x\r\n")
		b := make([]byte, 5)
		_, _ = io.ReadFull(c, b)
		_, _ = c.Write(bytes.ToUpper(b))
	}))
	l.hears(len("SSH-2.0-x\r\n"))
	l.says(mgs.PayloadSize, []byte("{}")) // nothing for ports
	l.says(mgs.PayloadOutput, []byte("hello"))
	if got := l.hears(5); got != "HELLO" {
		t.Errorf("%q", got)
	}
	if err := l.ended(); err != nil { // the server's end
		t.Error(err)
	}
	if up, down := l.traffic.Up.Load(), l.traffic.Down.Load(); up != 5 || down != 16 {
		t.Errorf("%d and %d bytes", up, down)
	}
}

func TestSSHEnds(t *testing.T) {
	t.Parallel()
	broken := func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 1))
		_ = c.SetLinger(0)
	}
	for name, tc := range map[string]struct {
		client Client
		dial   func(context.Context) (net.Conn, error)
		end    func(*lab)
		want   string // in the error; empty for none
	}{
		"terminated":   {ssh(), mirror, func(l *lab) { l.says(mgs.PayloadFlag, mgs.FlagTerminateSession.Encode()) }, ""},
		"disconnected": {ssh(), mirror, func(l *lab) { l.says(mgs.PayloadFlag, mgs.FlagDisconnectToPort.Encode()) }, ""},
		"cancelled":    {ssh(), mirror, func(l *lab) { l.cancel(errGone) }, "gone"},
		"channel lost": {ssh(), mirror, func(l *lab) { l.wire.close() }, "gone"},
		"refused":      {ssh(), closed, func(*lab) {}, "connection refused"},
		"reset":        {ssh(), destination(t, broken), func(l *lab) { l.says(mgs.PayloadOutput, []byte("x")) }, "reset"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := serve(t, tc.client, false, tc.dial)
			tc.end(l)
			if err := l.ended(); (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Error(err)
			}
		})
	}
}

// The end of a client's input is told to the destination, if the client is
// ours.
func TestSSHInputEnd(t *testing.T) {
	t.Parallel()
	l := serve(t, Client{Version: "3.3.9000.0", Ours: true, Mux: 1}, false, destination(t, func(c *net.TCPConn) {
		b, _ := io.ReadAll(c)
		_, _ = c.Write(bytes.ToUpper(b))
	}))
	l.says(mgs.PayloadOutput, []byte("hel"))
	l.says(mgs.PayloadOutput, []byte("lo"))
	l.says(mgs.PayloadFlag, mgs.FlagInputEnd.Encode())
	if got := l.hears(5); got != "HELLO" {
		t.Errorf("%q", got)
	}
	if err := l.ended(); err != nil {
		t.Error(err)
	}
}

// A client of before 1.1.70 forwards one connection after the other.
func TestBasic(t *testing.T) {
	t.Parallel()
	var n atomic.Int32
	l := serve(t, old(), true, destination(t, func(c *net.TCPConn) {
		n.Add(1)
		b := make([]byte, 4)
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		_, _ = c.Write(bytes.ToUpper(b))
		if string(b) == "stay" {
			_, _ = io.Copy(io.Discard, c)
		}
	}))
	for _, word := range []string{"ends", "more", "stay"} { // the first two end by the server, dialled again
		l.says(mgs.PayloadOutput, []byte(word))
		if got := l.hears(4); got != strings.ToUpper(word) {
			t.Fatalf("%q", got)
		}
		if word == "ends" || word == "more" {
			l.says(mgs.PayloadFlag, mgs.FlagDisconnectToPort.Encode())
		}
	}
	l.says(mgs.PayloadFlag, mgs.FlagDisconnectToPort.Encode())
	l.says(mgs.PayloadOutput, []byte("last"))
	if got := l.hears(4); got != "LAST" {
		t.Errorf("%q", got)
	}
	l.says(mgs.PayloadFlag, mgs.FlagTerminateSession.Encode())
	if err := l.ended(); err != nil {
		t.Error(err)
	}
	if got := n.Load(); got != 4 {
		t.Errorf("%d connections", got)
	}
}

// The end of the destination's connection is not the session's.
func TestBasicDialsAgain(t *testing.T) {
	t.Parallel()
	dials := 0
	l := serve(t, old(), true, func(ctx context.Context) (net.Conn, error) {
		if dials++; dials == 3 {
			return nil, errors.New("connection refused")
		}
		near, far := net.Pipe()
		go func() {
			b := make([]byte, 4)
			_, _ = io.ReadFull(far, b)
			_, _ = far.Write(b)
			far.Close()
		}()
		return near, nil
	})
	for _, word := range []string{"one.", "two."} {
		l.says(mgs.PayloadOutput, []byte(word))
		if got := l.hears(4); got != word {
			t.Fatalf("%q", got)
		}
		l.says(mgs.PayloadFlag, mgs.FlagDisconnectToPort.Encode())
	}
	l.says(mgs.PayloadOutput, []byte("then"))
	if err := l.ended(); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
	if n := l.traffic.Failed.Load(); n != 1 {
		t.Errorf("%d failed", n)
	}
}

// A client that takes nothing does not keep the session from its end.
func TestBlocked(t *testing.T) {
	t.Parallel()
	flood := func(c *net.TCPConn) {
		for {
			if _, err := c.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}
	for name, tc := range map[string]struct {
		client     Client
		forwarding bool
	}{"ssh": {ssh(), false}, "basic": {old(), true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := serve(t, tc.client, tc.forwarding, destination(t, flood))
			l.hears(1)
			if tc.forwarding {
				l.says(mgs.PayloadFlag, mgs.FlagDisconnectToPort.Encode())
			}
			l.says(mgs.PayloadFlag, mgs.FlagTerminateSession.Encode())
			if err := l.ended(); err != nil {
				t.Error(err)
			}
		})
	}
}
