package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"ssmagent/internal/client/clienttest"
	"ssmagent/internal/wire/mgs"
)

func options(d *clienttest.Double) Options {
	return Options{StreamURL: d.StreamURL(), SessionID: clienttest.SessionID, Token: d.Token(), ClientVersion: "3.3.9000.0", Resume: d.Resume}
}

// start runs a session until the test ends.
func start(tb testing.TB, o Options, change ...func(*Session)) *Session {
	tb.Helper()
	s, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range change {
		f(s)
	}
	ctx, cancel := context.WithCancel(tb.Context())
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		_ = s.Run(ctx)
	}()
	tb.Cleanup(func() {
		cancel()
		<-ran
	})
	return s
}

// collect takes output until there are n bytes, or the end.
func collect(tb testing.TB, s *Session, n int) []byte {
	tb.Helper()
	var got []byte
	for len(got) < n {
		m, err := s.Next(tb.Context())
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			tb.Error(err)
			return got
		}
		if m.Type != mgs.PayloadOutput {
			tb.Errorf("payload of type %d: %q", m.Type, m.Payload)
		}
		got = append(got, m.Payload...)
	}
	return got
}

// TestShell: size first, input, output, resize, exit code, the end, with every
// style of agent.
func TestShell(t *testing.T) {
	t.Parallel()
	for name, style := range map[string]clienttest.Style{"ours": clienttest.Ours, "stock": clienttest.Stock, "no handshake": clienttest.NoHandshake} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := clienttest.NewDouble(t, clienttest.Options{Style: style})
			s := start(t, options(d), func(s *Session) { s.Resize(100, 40) })
			if style == clienttest.NoHandshake {
				d.Send(mgs.PayloadOutput, []byte("$ "))
			}
			if typ, b, _ := d.Recv(); typ != mgs.PayloadSize || string(b) != `{"cols":100,"rows":40}` {
				t.Fatalf("first came type %d: %s", typ, b)
			}
			if style != clienttest.NoHandshake {
				d.Send(mgs.PayloadOutput, []byte("$ "))
			}
			if got := collect(t, s, 2); string(got) != "$ " {
				t.Fatalf("output %q", got)
			}
			<-s.Ready()
			if p := s.Peer(); p.SessionType != mgs.SessionStandardStream || p.Ours != (style == clienttest.Ours) {
				t.Errorf("peer %+v", p)
			}
			if err := s.Write(t.Context(), mgs.PayloadOutput, []byte("ls\r")); err != nil {
				t.Fatal(err)
			}
			if typ, b, _ := d.Recv(); typ != mgs.PayloadOutput || string(b) != "ls\r" {
				t.Fatalf("input of type %d: %q", typ, b)
			}
			s.Resize(100, 40) // equal
			s.Resize(0, 0)
			s.Resize(7, 0)
			s.Resize(65536, 1<<31)
			if typ, b, _ := d.Recv(); typ != mgs.PayloadSize || string(b) != `{"cols":65535,"rows":65535}` {
				t.Fatalf("type %d: %s", typ, b)
			}
			d.Send(mgs.PayloadStdErr, []byte("oh"))
			d.Send(mgs.PayloadExitCode, mgs.FormatExitCode(3))
			d.Send(mgs.PayloadFlag, mgs.FlagConnectToPortError.Encode())
			d.Drained()
			d.Close("Bye.")
			<-s.Done()
			if e := s.End(); e.Reason != Closed || e.Text != "Bye." {
				t.Errorf("end %+v", e)
			}
			for _, want := range []Message{{mgs.PayloadStdErr, []byte("oh")}, {mgs.PayloadExitCode, []byte("EXIT_CODE: 3")}, {mgs.PayloadFlag, []byte{0, 0, 0, 3}}} {
				m, err := s.Next(t.Context())
				if err != nil || m.Type != want.Type || !bytes.Equal(m.Payload, want.Payload) {
					t.Errorf("got %d %q, %v", m.Type, m.Payload, err)
				}
			}
			if _, err := s.Next(t.Context()); !errors.Is(err, io.EOF) {
				t.Errorf("after the end: %v", err)
			}
			if err := s.Write(t.Context(), mgs.PayloadOutput, []byte("x")); !errors.Is(err, ErrEnded) {
				t.Errorf("write after the end: %v", err)
			}
			if _, err := s.TryWrite(mgs.PayloadOutput, []byte("x")); !errors.Is(err, ErrEnded) {
				t.Errorf("write after the end: %v", err)
			}
			hello := d.Hellos()[0]
			if hello.ClientVersion != "3.3.9000.0" || hello.ClientId == "" || hello.ClientInstanceId != "" || hello.MessageSchemaVersion != "1.0" {
				t.Errorf("first message %+v", hello)
			}
			if n := d.Dropped(); n != 0 {
				t.Errorf("%d payloads came too early", n)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := Options{StreamURL: "wss://gateway.test/v1/data-channel/a", SessionID: "a", Token: "t", ClientVersion: "1.2.3.4",
		Resume: func(context.Context) (string, error) { return "", nil }}
	for _, tc := range []struct {
		name, want string
		change     func(*Options)
	}{
		{"good", "", func(*Options) {}},
		{"loopback", "", func(o *Options) { o.StreamURL = "ws://127.0.0.1:1/x" }},
		{"loopback 6", "", func(o *Options) { o.StreamURL = "ws://[::1]:1/x" }},
		{"localhost", "", func(o *Options) { o.StreamURL = "ws://LOCALHOST:1/x" }},
		{"plain", "without encryption", func(o *Options) { o.StreamURL = "ws://10.0.0.1/x" }},
		{"no host", "not a ws", func(o *Options) { o.StreamURL = "wss:///x" }},
		{"https", "not a ws", func(o *Options) { o.StreamURL = "https://x/x" }},
		{"path in id", "SessionId", func(o *Options) { o.SessionID = "../a" }},
		{"no token", "TokenValue", func(o *Options) { o.Token = "" }},
		{"three numbers", "four numbers", func(o *Options) { o.ClientVersion = "1.2.3" }},
		{"no resume", "Resume", func(o *Options) { o.Resume = nil }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := good
			tc.change(&o)
			_, err := New(o)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
