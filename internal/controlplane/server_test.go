package controlplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys/fsystest"
)

func TestRun(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	opt := p.opt
	opt.Dir, opt.TLSListen, opt.Names, opt.Clock = filepath.Join(t.TempDir(), "a", "b"), "127.0.0.1:0", []string{"plane.example", "192.0.2.7"}, clock.Real{}
	s, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	var e Endpoint
	b, err := os.ReadFile(filepath.Join(opt.Dir, EndpointFile))
	if err != nil || json.Unmarshal(b, &e) != nil || e.URL != "http://"+s.Addr().String() || e.Region != DefaultRegion || !strings.HasPrefix(e.TLSURL, "https://plane.example:") {
		t.Errorf("%s %v", b, err)
	}
	for name, want := range map[string]os.FileMode{"": 0o700 | os.ModeDir, CredentialsFile: 0o600, storeFile: 0o600, "ca.key": 0o600, "server.pem": 0o600, EndpointFile: 0o600} {
		if fi, err := os.Stat(filepath.Join(opt.Dir, name)); err != nil || fi.Mode() != want {
			t.Errorf("%q: %v %v, want mode %v", name, fi, err, want)
		}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(s.CA()) {
		t.Fatal("the CA is no certificate")
	}
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(e.TLSURL, "https://"))
	for _, tc := range []struct {
		name  string
		conf  *tls.Config
		trust bool
	}{
		{"trusted, by name", &tls.Config{RootCAs: pool, ServerName: "plane.example"}, true},
		{"trusted, by address", &tls.Config{RootCAs: pool, ServerName: "192.0.2.7"}, true},
		{"trusted, loopback", &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}, true},
		{"another name", &tls.Config{RootCAs: pool, ServerName: "other.example"}, false},
		{"not trusted", &tls.Config{ServerName: "plane.example"}, false},
		{"old TLS", &tls.Config{RootCAs: pool, ServerName: "plane.example", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
	} {
		d := tls.Dialer{Config: tc.conf}
		c, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", port))
		if (err == nil) != tc.trust {
			t.Errorf("%s: %v", tc.name, err)
		}
		if err == nil {
			c.Close()
		}
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "plane.example"}}}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://127.0.0.1:"+port, strings.NewReader("{}"))
	r.Host = "plane.example"
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 400 || resp.Proto != "HTTP/1.1" {
		t.Errorf("%s %s", resp.Status, resp.Proto)
	}
	client.CloseIdleConnections()
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(opt.Dir, EndpointFile)); err == nil {
		t.Error("a stopped control plane is still announced")
	}
}

func TestListenRefused(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // after the parallel subtests
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, tc := range []struct {
		name   string
		change func(*Options)
		says   string
	}{
		{"taken port", func(o *Options) { o.Listen = l.Addr().String() }, "port " + port},
		{"taken TLS port", func(o *Options) { o.TLSListen = l.Addr().String() }, "-tls-listen"},
		{"all addresses", func(o *Options) { o.Listen = "0.0.0.0:0" }, "loopback"},
		{"no host", func(o *Options) { o.Listen = ":0" }, "loopback"},
		{"a name", func(o *Options) { o.Listen = "plane.example:0" }, "loopback"},
		{"no port", func(o *Options) { o.Listen = "127.0.0.1" }, "host:port"},
		{"nothing", func(o *Options) { o.Listen = "" }, "neither"},
		{"account", func(o *Options) { o.Account = "12" }, "12 digits"},
		{"store in use", func(o *Options) { o.Dir = p.opt.Dir }, "another ssm-local"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := p.opt
			o.Dir = t.TempDir()
			tc.change(&o)
			s, err := New(o)
			if err == nil {
				err = s.Run(t.Context())
				if s.Addr() != nil {
					t.Error("it listens all the same")
				}
				_ = s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v, want %q in it", err, tc.says)
			}
		})
	}
}

func TestDamagedCredentials(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	o := p.opt
	o.Dir = t.TempDir()
	path := filepath.Join(o.Dir, CredentialsFile)
	if err := os.WriteFile(path, []byte("[default]\naws_access_key_id = x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "profile default lacks") {
		t.Errorf("%v", err)
	}
	if b, _ := os.ReadFile(path); !strings.Contains(string(b), "= x") {
		t.Error("the damaged file was replaced")
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		s, err := New(Options{Dir: b.TempDir(), Listen: "127.0.0.1:0", TLSListen: "127.0.0.1:0", Clock: clock.Real{}, Log: discard(), WriteSecret: writeSecret, FS: fsystest.NewDisk()})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Listen(); err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	if per := b.Elapsed() / time.Duration(b.N); per > 100*time.Millisecond {
		b.Logf("a start takes %s", per)
	}
}
