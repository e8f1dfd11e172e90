package socket

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// counted is a connection whose system calls are counted.
type counted struct {
	net.Conn
	writes, reads *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) { c.writes.Add(1); return c.Conn.Write(b) }
func (c counted) Read(b []byte) (int, error)  { c.reads.Add(1); return c.Conn.Read(b) }

// lab is a server that answers every message with itself.
type lab struct {
	*httptest.Server
	writes, reads atomic.Int64
}

func newLab(t *testing.T, secure bool) *lab {
	t.Helper()
	l := &lab{}
	var handlers sync.WaitGroup
	l.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Done()
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(-1)
		for {
			typ, b, err := c.Read(context.Background())
			if err != nil || c.Write(context.Background(), typ, b) != nil {
				return
			}
		}
	}))
	if secure {
		l.EnableHTTP2 = true
		l.StartTLS()
	} else {
		l.Start()
	}
	t.Cleanup(func() { l.CloseClientConnections(); l.Close(); handlers.Wait() })
	return l
}

func (l *lab) options() Options {
	t := &http.Transport{ForceAttemptHTTP2: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return counted{c, &l.writes, &l.reads}, err
	}}
	if cert := l.Certificate(); cert != nil {
		pool := x509.NewCertPool()
		pool.AddCert(cert)
		t.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	return Options{Transport: t}
}

func (l *lab) dial(t *testing.T, o Options) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), "ws"+strings.TrimPrefix(l.URL, "http"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestMessages: what is written comes back whole and in order, in plain and
// through TLS, and many messages cost few system calls.
func TestMessages(t *testing.T) {
	t.Parallel()
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, secure)
			c := l.dial(t, l.options())
			if err := c.WriteText([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if b, err := c.Read(); err != nil || string(b) != "hello" {
				t.Fatalf("%q, %v", b, err)
			}
			rnd := rand.New(rand.NewPCG(1, 2))
			var sent [][]byte
			before := l.writes.Load()
			for range 100 {
				sent = append(sent, bytes.Repeat([]byte{byte(rnd.Uint32())}, rnd.IntN(600)))
			}
			sent = append(sent, bytes.Repeat([]byte("large"), 100000))
			wrote := make(chan error, 1)
			go func() {
				for _, b := range sent {
					if err := c.Write(b); err != nil {
						wrote <- err
						return
					}
				}
				wrote <- c.Flush()
			}()
			for i, want := range sent {
				if b, err := c.Read(); err != nil || !bytes.Equal(b, want) {
					t.Fatalf("message %d: %d bytes, want %d, %v", i, len(b), len(want), err)
				}
			}
			if err := <-wrote; err != nil {
				t.Fatal(err)
			}
			if n := l.writes.Load() - before; n > 20 {
				t.Errorf("%d writes for %d messages", n, len(sent))
			}
			if err := c.Flush(); err != nil { // nothing there
				t.Error(err)
			}
		})
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	l := newLab(t, false)
	c := l.dial(t, l.options())
	read := make(chan error, 1)
	go func() { _, err := c.Read(); read <- err }()
	for range 3 {
		if err := c.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	if err := <-read; err == nil {
		t.Error("Read came back without an error")
	}
	if c.Ping(t.Context()) == nil {
		t.Error("a closed connection answers pings")
	}
	if err := c.Write([]byte("x")); err == nil {
		err = c.Flush()
		if err == nil {
			t.Error("a closed connection takes messages")
		}
	}
}

func TestReadLimit(t *testing.T) {
	t.Parallel()
	l := newLab(t, false)
	o := l.options()
	o.ReadLimit = 20000
	c := l.dial(t, o)
	for _, n := range []int{20000, 20001} {
		if err := c.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		b, err := c.Read()
		if ok := err == nil && len(b) == n; ok != (n == 20000) {
			t.Errorf("%d bytes: got %d, %v", n, len(b), err)
		}
	}
}

// TestRefused: no URL, which may be a credential, stands in any error, and a
// redirect is not followed.
func TestRefused(t *testing.T) {
	t.Parallel()
	asked := atomic.Int64{}
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(other.Close)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/plain":
			w.Write([]byte("no websocket here"))
		default:
			http.Error(w, "go away", http.StatusForbidden)
		}
	}))
	t.Cleanup(srv.Close)
	closed := httptest.NewServer(nil)
	closed.Close()
	for _, tc := range []struct {
		name, url string
		refused   bool
		says      string
	}{
		{"forbidden", srv.URL + "/", true, "status 403"},
		{"redirect", srv.URL + "/redirect", true, "status 302"},
		{"plain", srv.URL + "/plain", true, "no websocket here"},
		{"nobody", closed.URL, false, "refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := Dial(ctx, "ws"+strings.TrimPrefix(tc.url, "http")+"?X-Amz-Signature=secret", Options{})
			if err == nil || errors.Is(err, ErrRefused) != tc.refused || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		if asked.Load() != 0 {
			t.Error("the redirect was followed")
		}
	})
}

// TestCorkError: a write that failed for one message fails for all after it.
func TestCorkError(t *testing.T) {
	t.Parallel()
	here, there := net.Pipe()
	there.Close()
	c := &cork{Conn: here}
	c.hold()
	if n, err := c.Write([]byte("x")); n != 1 || err != nil {
		t.Error(n, err)
	}
	if c.release() == nil {
		t.Error("no error of the write")
	}
	if _, err := c.Write([]byte("y")); err == nil {
		t.Error("the connection goes on")
	}
}

// TestCorkReadsMore: while all that was asked for comes, more is asked for, and
// nothing of what came before is lost.
func TestCorkReadsMore(t *testing.T) {
	t.Parallel()
	want := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	ahead := &source{rest: want}
	c := &cork{Conn: ahead}
	got := make([]byte, len(want))
	for n, step := 0, 1; n < len(want); step = step%5000 + 77 {
		k, err := c.Read(got[n:min(n+step, len(got))])
		if err != nil {
			t.Fatal(err)
		}
		n += k
	}
	if !bytes.Equal(got, want) {
		t.Error("what was read is not what came")
	}
	if ahead.most != readMost || len(c.room) != readMost {
		t.Errorf("%d bytes were asked for at once at most, the space is %d; want %d", ahead.most, len(c.room), readMost)
	}
}

// source gives all that is asked for.
type source struct {
	net.Conn
	rest []byte
	most int
}

func (s *source) Read(p []byte) (int, error) {
	n := copy(p, s.rest)
	s.rest, s.most = s.rest[n:], max(s.most, len(p))
	return n, nil
}
