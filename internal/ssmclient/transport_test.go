package ssmclient

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/clock"
)

func tlsServer(t *testing.T, h http.HandlerFunc, change func(*httptest.Server)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = nil
	if change != nil {
		change(s)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func bundle(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func httpWith(t *testing.T, ca []byte) *http.Client {
	t.Helper()
	tr, err := Transport(ca)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestTransport(t *testing.T) {
	t.Parallel()
	proto := make(chan string, 1)
	s := tlsServer(t, func(_ http.ResponseWriter, r *http.Request) { proto <- r.Proto }, nil)
	if err := client(s.URL, httpWith(t, bundle(s))).Call(t.Context(), "op", nil, nil); err != nil {
		t.Fatal(err)
	}
	if p := <-proto; p != "HTTP/2.0" {
		t.Errorf("spoke %s", p)
	}
	if _, err := Transport([]byte("nonsense")); err == nil || !strings.Contains(err.Error(), "PEM") {
		t.Errorf("%v", err)
	}
}

// TestUnreachable: one sentence each, naming cause and remedy; trying again is
// worth it where the network may heal, not where a person has to act.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	nothing := func(http.ResponseWriter, *http.Request) {}
	secure := tlsServer(t, nothing, nil)
	plain := serve(t, nothing)
	old := tlsServer(t, nothing, func(s *httptest.Server) {
		s.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(secure.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other := httpWith(t, bundle(secure))
	transport, ok := other.Transport.(*http.Transport)
	if !ok {
		t.Fatal("no transport")
	}
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, secure.Listener.Addr().String())
	}
	nowhere := httpWith(t, nil)
	nowhereTransport, ok := nowhere.Transport.(*http.Transport)
	if !ok {
		t.Fatal("no transport")
	}
	nowhereTransport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "ssm.nowhere.test", IsNotFound: true}}
	}
	late := httpWith(t, bundle(secure))
	if lateTransport, ok := late.Transport.(*http.Transport); ok {
		lateTransport.TLSClientConfig.Time = func() time.Time { return time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC) }
	}
	for name, tc := range map[string]struct {
		endpoint string
		http     *http.Client
		says     string
		final    bool
	}{
		"not trusted":  {secure.URL, httpWith(t, nil), "is not trusted; add its CA", true},
		"wrong clock":  {secure.URL, late, "not valid at this machine's time; set the clock", true},
		"other name":   {"https://ssm.other.test:" + port, other, "is for another name", true},
		"no TLS":       {strings.Replace(plain, "http", "https", 1), httpWith(t, nil), "does not speak TLS; write http://", true},
		"old TLS":      {old.URL, httpWith(t, bundle(old)), "protocol version", false},
		"nobody":       {"http://" + nobody, httpWith(t, nil), "refused", false},
		"no such host": {"https://ssm.nowhere.test", nowhere, "ssm.nowhere.test does not exist", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := client(tc.endpoint, tc.http).Call(t.Context(), "op", nil, nil)
			u, ok := errors.AsType[*Unreachable](err)
			if !ok || !strings.Contains(err.Error(), tc.says) || u.Final != tc.final || Retryable(err) == tc.final {
				t.Errorf("%v (%+v)", err, u)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	plain := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the request went to plain text or elsewhere") })
	hops := 0
	var secure *httptest.Server
	secure = tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("X-Amz-Target") {
		case "AmazonSSM.plain":
			http.Redirect(w, r, plain, http.StatusTemporaryRedirect)
		case "AmazonSSM.elsewhere":
			http.Redirect(w, r, "https://other.test/", http.StatusPermanentRedirect)
		case "AmazonSSM.loop":
			hops++
			http.Redirect(w, r, fmt.Sprintf("%s/%d", secure.URL, hops), http.StatusTemporaryRedirect)
		default:
			if r.URL.Path == "/" {
				http.Redirect(w, r, "/here", http.StatusTemporaryRedirect)
			}
		}
	}, nil)
	h := httpWith(t, bundle(secure))
	for op, says := range map[string]string{"plain": "from https to http", "elsewhere": "another host, other.test", "loop": "10 redirects", "near": ""} {
		err := client(secure.URL, h).Call(t.Context(), op, nil, nil)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", op, err)
		}
	}
}

func FuzzRefusal(f *testing.F) {
	f.Add([]byte(`{"__type":"a#B","message":"c"}`), "")
	f.Add([]byte("<AccessDeniedException><Message>x</Message></AccessDeniedException>"), "Code:x")
	f.Fuzz(func(t *testing.T, body []byte, kind string) {
		resp := &http.Response{StatusCode: 400, Header: http.Header{"X-Amzn-Errortype": {kind}}}
		for _, e := range []*Error{refusal(resp, body), gatewayRefusal(resp, body)} {
			if s := e.Error(); strings.ContainsAny(s, "\n\x1b") || len(s) > 5000 {
				t.Errorf("%q", s)
			}
		}
	})
}

// TestProxyThatFails: a proxy that refuses, wants a password, or says nothing
// is named with what to do.
func TestProxyThatFails(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{
		http.StatusProxyAuthRequired:  "407 Proxy Authentication Required; put user and password into https_proxy",
		http.StatusForbidden:          "403 Forbidden; have it allow this host, or name the host in no_proxy",
		http.StatusServiceUnavailable: "503 Service Unavailable; have it allow",
		0:                             "no answer from far.example in time; check the network, firewall and proxy (https_proxy)",
	} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if status == 0 {
				<-r.Context().Done()
				return
			}
			w.WriteHeader(status)
		}))
		defer proxy.Close()
		u, err := url.Parse(proxy.URL)
		if err != nil {
			t.Fatal(err)
		}
		tr, err := Transport(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.CloseIdleConnections()
		tr.Proxy = http.ProxyURL(u)
		c := Client{HTTP: &http.Client{Transport: tr}, Endpoint: "https://far.example", Clock: clock.Real{}, Log: quiet(), Retry: NoRetry()}
		if status == 0 {
			c.Timeout = 100 * time.Millisecond
		}
		err = c.Call(t.Context(), "Op", nil, nil)
		if !IsUnreachable(err) || !strings.Contains(err.Error(), want) || status != 0 && !strings.Contains(err.Error(), "the proxy "+u.Host) {
			t.Errorf("%d: %v", status, err)
		}
	}
}
