package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/coder/websocket"
	"github.com/google/uuid"
	"github.com/xtaci/smux"

	"ssmagent/internal/secret"
	"ssmagent/internal/stream"
	"ssmagent/internal/wire/frame"
	"ssmagent/internal/wire/mgs"
)

// stranger is a client of a version of its own choosing that is not ours. Its
// bytes, in and out, are those of the session.
type stranger struct {
	t    *testing.T
	conn *websocket.Conn
	done chan struct{} // closed: nothing comes any more

	mu    sync.Mutex
	wake  sync.Cond
	link  stream.Link
	rest  []byte
	ready bool // the handshake is complete
	over  bool
}

// stranger opens a port session to the node as such a client.
func (p *plane) stranger(n *node, version, port string) *stranger {
	p.t.Helper()
	out, err := p.sdk().StartSession(p.t.Context(), &ssm.StartSessionInput{Target: &n.id,
		DocumentName: aws.String(idlePort), Parameters: map[string][]string{"portNumber": {port}}})
	if err != nil {
		p.t.Fatal(err)
	}
	conn, _, err := websocket.Dial(p.t.Context(), *out.StreamUrl, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	conn.SetReadLimit(frame.MaxSize)
	hello, err := json.Marshal(mgs.OpenDataChannel{MessageSchemaVersion: "1.0", RequestId: uuid.NewString(), TokenValue: secret.Text(*out.TokenValue), ClientId: uuid.NewString(), ClientVersion: version})
	if err != nil {
		p.t.Fatal(err)
	}
	if err := conn.Write(p.t.Context(), websocket.MessageText, hello); err != nil {
		p.t.Fatal(err)
	}
	link, err := stream.NewLink(stream.SenderConfig{Type: mgs.TypeInputStreamData}, stream.ReceiverConfig{Type: mgs.TypeOutputStreamData})
	if err != nil {
		p.t.Fatal(err)
	}
	s := &stranger{t: p.t, conn: conn, link: link, done: make(chan struct{})}
	s.wake.L = &s.mu
	go s.listen(version)
	p.t.Cleanup(func() {
		_ = conn.CloseNow()
		<-s.done
	})
	return s
}

// listen takes what comes, and answers it.
func (s *stranger) listen(version string) {
	defer close(s.done)
	for {
		_, b, err := s.conn.Read(context.Background())
		var m frame.Message
		if err == nil {
			m, err = frame.Unmarshal(b)
		}
		s.mu.Lock()
		if err != nil || m.Type == mgs.TypeChannelClosed {
			s.over = true
			s.wake.Broadcast()
			s.mu.Unlock()
			return
		}
		_, _, _ = s.link.Handle(time.Now(), m)
		s.take(version)
		s.mu.Unlock()
		s.flush()
	}
}

// take deals with the handshake. With s.mu.
func (s *stranger) take(version string) {
	for !s.ready {
		kind, b, ok := s.link.Next()
		if !ok {
			return
		}
		switch kind {
		case mgs.PayloadHandshakeRequest:
			var r mgs.HandshakeRequest
			if err := json.Unmarshal(b, &r); err != nil {
				s.t.Error(err)
			}
			answer, err := json.Marshal(mgs.HandshakeResponse{ClientVersion: version,
				ProcessedClientActions: []mgs.ProcessedClientAction{{ActionType: mgs.ActionSessionType, ActionStatus: mgs.ActionSuccess}}})
			if err == nil {
				_, err = s.link.PushWhole(time.Now(), mgs.PayloadHandshakeResponse, answer)
			}
			if err != nil {
				s.t.Error(err)
			}
		case mgs.PayloadHandshakeComplete:
			s.ready = true
		}
	}
	s.wake.Broadcast()
}

// flush writes what is due.
func (s *stranger) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		b, ok := s.link.Write(time.Now())
		if !ok || s.conn.Write(context.Background(), websocket.MessageBinary, b) != nil {
			return
		}
	}
}

// await waits until the session has begun.
func (s *stranger) await() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.ready && !s.over {
		s.wake.Wait()
	}
}

// Read implements io.Reader.
func (s *stranger) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.rest) == 0 {
		kind, b, ok := s.link.Next()
		switch {
		case ok && kind == mgs.PayloadOutput:
			s.rest = b
		case ok:
		case s.over:
			return 0, io.EOF
		default:
			s.wake.Wait()
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// Write implements io.Writer, for what is small.
func (s *stranger) Write(p []byte) (int, error) { return len(p), s.says(mgs.PayloadOutput, p) }

func (s *stranger) says(kind uint32, p []byte) error {
	s.mu.Lock()
	n, err := s.link.Push(time.Now(), kind, p)
	s.mu.Unlock()
	s.flush()
	if err == nil && n < len(p) {
		err = errors.New("the window is full")
	}
	return err
}

// Close implements io.Closer.
func (s *stranger) Close() error { return nil }

// multiplex opens a connection among many.
func (s *stranger) multiplex() io.ReadWriter {
	s.t.Helper()
	cfg := smux.DefaultConfig()
	cfg.KeepAliveDisabled = true
	m, err := smux.Client(s, cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = m.Close() })
	st, err := m.OpenStream()
	if err != nil {
		s.t.Fatal(err)
	}
	_ = st.SetDeadline(time.Now().Add(idleTime(s.t) + patience))
	return st
}

// idleTime is how long tunnels are left alone: longer than the half minute after
// which a peer that expects signs of life gives up. `make soak` has longer ones.
func idleTime(t *testing.T) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(cmp.Or(os.Getenv("SSMAGENT_E2E_IDLE"), "45s"))
	if err != nil {
		t.Fatalf("SSMAGENT_E2E_IDLE: %v", err)
	}
	return d
}

// idlePort is a document whose sessions may be idle for an hour: 20 minutes end
// those of the service's.
const idlePort = "IdlePort"

// TestIdleTunnels: clients of every age find their connection as they left it,
// after longer than the time in which a peer that expects signs of life gives
// up.
func TestIdleTunnels(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	p.session(idlePort, `{"schemaVersion":"1.0","description":"x","sessionType":"Port","inputs":{"idleSessionTimeout":"60"},
		"parameters":{"portNumber":{"type":"String"}},"properties":{"portNumber":"{{ portNumber }}","type":"LocalPortForwarding"}}`)
	ends := map[string]io.ReadWriter{}
	clients := map[string]*stranger{}
	for _, version := range []string{"1.1.69", "1.1.70", "1.2.331.0", "1.2.339.0", "1.3.0.0"} {
		c := p.stranger(n, version, portOf(t, ln.Addr().String()))
		c.await()
		clients[version], ends[version] = c, c
		if version != "1.1.69" { // which does not multiplex
			ends[version] = c.multiplex()
		}
	}
	idle := time.NewTimer(0)
	defer idle.Stop()
	for _, wait := range []time.Duration{0, idleTime(t)} {
		idle.Reset(wait)
		<-idle.C
		for version, end := range ends {
			if _, err := io.WriteString(end, "still there?"); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 12)
			if _, err := io.ReadFull(end, b); err != nil || string(b) != "still there?" {
				t.Fatalf("%s after %v: %q %v", version, wait, b, err)
			}
		}
	}
	for _, c := range clients {
		if err := c.says(mgs.PayloadFlag, mgs.FlagTerminateSession.Encode()); err != nil {
			t.Error(err)
		}
		<-c.done
	}
	p.history(n.id, 5)
	n.noShells()
}
