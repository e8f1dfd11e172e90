package diagnostics

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ssmagent/internal/clock"
)

// lab is a service with TLS, and a proxy before it.
type lab struct {
	Network

	service *httptest.Server
	proxy   *httptest.Server
	answer  int // of the proxy
	tunnels atomic.Int32
	host    string // the name that the service is called by
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{answer: http.StatusOK, host: "example.com"} // a name of httptest's certificate
	l.service = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(l.service.Close)
	l.proxy = httptest.NewServer(http.HandlerFunc(l.connect))
	t.Cleanup(l.proxy.Close)
	roots := x509.NewCertPool()
	roots.AddCert(l.service.Certificate())
	l.Network = Network{
		Roots: roots, Clock: clock.Real{}, Proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			if strings.HasPrefix(host, "nowhere") {
				return nil, &net.DNSError{Name: host, IsNotFound: true}
			}
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
		},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, port, _ := net.SplitHostPort(address)
			switch {
			case host == "closed.example.com":
				return nil, &net.OpError{Op: "dial", Err: io.ErrUnexpectedEOF}
			case port == "443":
				address = l.service.Listener.Addr().String()
			case port == "3128":
				address = l.proxy.Listener.Addr().String()
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	return l
}

// connect is the proxy.
func (l *lab) connect(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect || r.UserAgent() != userAgent || r.Header.Get("Proxy-Authorization") != "Basic dTpw" {
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	if l.answer != http.StatusOK {
		w.WriteHeader(l.answer)
		return
	}
	there, err := net.Dial("tcp", l.service.Listener.Addr().String())
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer there.Close()
	here, rest, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	_, _ = here.Write([]byte("HTTP/1.1 200 fine\r\n\r\n"))
	l.tunnels.Add(1)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(there, rest); _ = there.(*net.TCPConn).CloseWrite() })
	_, _ = io.Copy(here, there)
	_ = here.Close()
	wg.Wait()
}

func (l *lab) through(t *testing.T, proxy string) {
	t.Helper()
	u := parsed(t, proxy)
	l.Proxy = func(*http.Request) (*url.URL, error) { return u, nil }
}

func parsed(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func at(t *testing.T, host string) []Endpoint {
	t.Helper()
	return []Endpoint{{Service: "ssm", URL: parsed(t, "https://"+host)}}
}

func expect(t *testing.T, c Check, status Status, notes ...string) {
	t.Helper()
	r := c.result(t.Context())
	for _, note := range notes {
		if r.Status != status || !strings.Contains(r.Note, note) {
			t.Errorf("%s: %s, want %s with %q: %s", r.Check, r.Status, status, note, r.Note)
		}
	}
}

func TestConnectivity(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	expect(t, l.Connectivity(at(t, l.host))[0], Success, l.host+" is reachable")
	expect(t, l.Connectivity(at(t, "closed.example.com"))[0], Failed, "closed.example.com is not reachable", "no firewall is between")
	expect(t, l.Connectivity(at(t, "nowhere.example.com"))[0], Failed, "the host nowhere.example.com does not exist")
	c := l.Connectivity([]Endpoint{{Service: "kms"}})[0]
	expect(t, c, Skipped, "Unable to fetch AWS region details")
	if c.Name != "Connectivity to kms endpoint" {
		t.Error(c.Name)
	}
	l.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	slow := l.Connectivity(at(t, l.host))[0]
	slow.Limit = 10 * time.Millisecond
	expect(t, slow, Failed, "connection timed out for "+l.host)
}

// TestProxyHops: whichever hop fails is named, and the password is not.
func TestProxyHops(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	expect(t, l.Proxies(at(t, l.host)), Skipped, "No proxy is used")
	l.through(t, "http://u:p@proxy.example.com:3128")
	expect(t, l.Proxies(at(t, l.host)), Success, "proxy.example.com is 192.0.2.1", "port 3128 connects", "CONNECT example.com:443")
	expect(t, l.Connectivity(at(t, l.host))[0], Success, "is reachable")
	expect(t, l.Certificates(at(t, l.host)), Success, "example.com: TLS 1.3")
	if n := l.tunnels.Load(); n != 3 {
		t.Errorf("%d tunnels", n)
	}
	l.answer = http.StatusForbidden
	expect(t, l.Proxies(at(t, l.host)), Failed, "the proxy http://u:xxxxx@proxy.example.com:3128: CONNECT example.com:443 is answered with 403 Forbidden")
	l.through(t, "http://u:p@nowhere.example.com:3128")
	expect(t, l.Proxies(at(t, l.host)), Failed, "the proxy http://u:xxxxx@nowhere.example.com:3128: the host nowhere.example.com does not exist")
	l.through(t, "http://u:p@closed.example.com:3128")
	expect(t, l.Proxies(at(t, l.host)), Failed, "closed.example.com:3128 cannot be reached")
	l.through(t, "socks5://proxy.example.com:3128")
	expect(t, l.Proxies(at(t, l.host)), Failed, "it speaks socks5")
}

// TestStallingProxy: a proxy that takes the connection and says nothing.
func TestStallingProxy(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.through(t, "http://u:p@proxy.example.com:3128")
	var ends []net.Conn
	l.Dial = func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		ends = append(ends, there)
		go func() { _, _ = io.Copy(io.Discard, there) }()
		return here, nil
	}
	c := l.Proxies(at(t, l.host))
	c.Limit = 10 * time.Millisecond
	expect(t, c, Failed, "the proxy http://u:xxxxx@proxy.example.com:3128", "no answer from proxy.example.com:3128 in time")
	for _, e := range ends {
		_ = e.Close()
	}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	expect(t, l.Certificates(at(t, l.host)), Success, "example.com: TLS 1.3", "until 2084-01-29")
	expect(t, l.Certificates(at(t, "other.lab")), Failed, "for another name")
	l.Roots = x509.NewCertPool()
	expect(t, l.Certificates(at(t, l.host)), Failed, "is not trusted", "CABundle")
	expect(t, l.Certificates([]Endpoint{{Service: "ssm", URL: parsed(t, "http://127.0.0.1:1")}}), Skipped, "without TLS")
}

func TestCertificateThatEndsSoon(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	end := l.service.Certificate().NotAfter
	l.Clock = clock.NewFake(end.Add(-3*24*time.Hour - time.Hour))
	state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{l.service.Certificate()}, VerifiedChains: [][]*x509.Certificate{{l.service.Certificate()}}}
	if text := l.chain(parsed(t, "https://x"), state); !strings.Contains(text, "only 3 days left") {
		t.Error(text)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	all := append(at(t, "a.example.com"), at(t, "a.example.com")...)
	r := l.Names(append(all, at(t, "127.0.0.1")...)).result(t.Context())
	if r.Note != "a.example.com is 192.0.2.1; 127.0.0.1 is an address" {
		t.Errorf("%+v", r)
	}
	expect(t, l.Names(append(all, at(t, "nowhere.example.com")...)), Failed, "ssm: the host nowhere.example.com does not exist")
}

func TestClockSkew(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		off    time.Duration
		status Status
		note   string
	}{
		{0, Success, "within "}, {2 * time.Minute, Success, "within "},
		{time.Hour, Failed, "behind the service's; set it"}, {-time.Hour, Failed, "ahead of the service's; set it"},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(c.off).UTC().Format(http.TimeFormat))
		}))
		n := Network{Clock: clock.Real{}}
		expect(t, n.ClockSkew(srv.Client(), parsed(t, srv.URL)), c.status, c.note)
		srv.Close()
	}
}
