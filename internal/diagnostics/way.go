package diagnostics

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/ssmclient"
)

// Network is what the ways to the service are tried with. All but Roots is
// needed.
type Network struct {
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Proxy is that for a URL, nil for none: http.ProxyFromEnvironment.
	Proxy func(*http.Request) (*url.URL, error)
	Roots *x509.CertPool // nil: the system's
	Clock clock.Clock
}

// userAgent is what proxies are told, as by the stock agent.
const userAgent = "ssm-cli get diagnostics"

// maxProxyHead bounds what a proxy answers before the tunnel is there.
const maxProxyHead = 16 << 10

// way is an open one, and the hops it took.
type way struct {
	net.Conn

	hops []string
}

// open goes to the endpoint, hop by hop: name, connection and, behind a proxy,
// its TLS and its tunnel. The error names the hop that failed.
func (n Network) open(ctx context.Context, endpoint *url.URL) (*way, error) {
	proxy, err := n.Proxy(&http.Request{URL: endpoint})
	if err != nil {
		return nil, fmt.Errorf("Failed to initialize proxy client: %w", err) //nolint:staticcheck // the stock agent's words
	}
	if proxy == nil {
		w := new(way)
		return w, n.connect(ctx, w, endpoint)
	}
	w := new(way)
	if err := n.connect(ctx, w, proxy); err != nil {
		return nil, fmt.Errorf("the proxy %s: %w", proxy.Redacted(), err)
	}
	if err := n.tunnel(ctx, w, proxy, endpoint); err != nil {
		return nil, errors.Join(fmt.Errorf("the proxy %s: %w", proxy.Redacted(), err), w.Close())
	}
	return w, nil
}

// connect resolves the host of u and connects to it.
func (n Network) connect(ctx context.Context, w *way, u *url.URL) error {
	start := n.Clock.Now()
	addresses, err := n.Lookup(ctx, u.Hostname())
	if err != nil {
		return reason(u, err)
	}
	w.hops = append(w.hops, fmt.Sprintf("%s is %s (%s)", u.Hostname(), join(addresses), n.since(start)))
	start = n.Clock.Now()
	if w.Conn, err = n.Dial(ctx, "tcp", hostPort(u)); err != nil {
		return reason(u, err)
	}
	w.hops = append(w.hops, fmt.Sprintf("port %s connects (%s)", port(u), n.since(start)))
	return nil
}

// tunnel goes through the proxy at the other end of w.
func (n Network) tunnel(ctx context.Context, w *way, proxy, endpoint *url.URL) error {
	stop := context.AfterFunc(ctx, func() { _ = w.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	switch proxy.Scheme {
	case "https":
		c := tls.Client(w.Conn, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: n.Roots, ServerName: proxy.Hostname()})
		if err := c.HandshakeContext(ctx); err != nil {
			return reason(proxy, err)
		}
		w.Conn = c
		w.hops = append(w.hops, "its certificate is good")
	case "http":
	default:
		return fmt.Errorf("it speaks %s: what is behind it is tried by the other checks only", proxy.Scheme)
	}
	start := n.Clock.Now()
	target := hostPort(endpoint)
	r := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: target}, Host: target, Header: http.Header{"User-Agent": {userAgent}}}
	if u := proxy.User; u != nil {
		password, _ := u.Password()
		r.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)))
	}
	if err := r.Write(w); err != nil {
		return reason(proxy, err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(&bounded{w, maxProxyHead}), r)
	if err != nil {
		return fmt.Errorf("CONNECT %s: %w", target, reason(proxy, err))
	}
	_ = resp.Body.Close() // a tunnel has none
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("CONNECT %s is answered with %s; let the proxy allow it", target, ssmclient.Clean(resp.Status))
	}
	w.hops = append(w.hops, fmt.Sprintf("CONNECT %s (%s)", target, n.since(start)))
	return nil
}

// bounded reads byte by byte, so that nothing of the tunnel is lost, and no
// more than left.
type bounded struct {
	net.Conn

	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errors.New("its answer is too long")
	}
	n, err := b.Conn.Read(p[:min(len(p), 1)])
	b.left -= n
	return n, err
}

// greet shakes hands with the endpoint over w and returns its certificates.
func (n Network) greet(ctx context.Context, w *way, endpoint *url.URL) (tls.ConnectionState, error) {
	c := tls.Client(w.Conn, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: n.Roots, ServerName: endpoint.Hostname()})
	if err := c.HandshakeContext(ctx); err != nil {
		return tls.ConnectionState{}, reason(endpoint, err)
	}
	return c.ConnectionState(), nil
}

func (n Network) since(start time.Time) string {
	return n.Clock.Now().Sub(start).Round(time.Millisecond).String()
}

// reason says in a sentence, with its remedy, why nothing answered.
func reason(u *url.URL, err error) error { return ssmclient.Unanswered(u.String(), err) }

func port(u *url.URL) string {
	switch p := u.Port(); {
	case p != "":
		return p
	case u.Scheme == "http":
		return "80"
	case strings.HasPrefix(u.Scheme, "socks"):
		return "1080"
	}
	return "443"
}

func hostPort(u *url.URL) string { return net.JoinHostPort(u.Hostname(), port(u)) }

func join(addresses []netip.Addr) string {
	all := make([]string, len(addresses))
	for i, a := range addresses {
		all[i] = a.Unmap().String()
	}
	return strings.Join(all, ", ")
}
