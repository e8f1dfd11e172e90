package ssmclient

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"ssmagent/internal/clock"
)

// certificate is the server's, in PEM.
func certificate(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// tunnel is a proxy for CONNECT that wants user and password; asked has what it
// was asked for.
func tunnel(t *testing.T, asked chan<- string) http.Handler {
	t.Helper()
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != "Basic YWRhOnMzY3JldA==" { // ada:s3cret
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		asked <- r.Method + " " + r.Host
		far, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		near, _, err := w.(http.Hijacker).Hijack() // before the answer: what follows it is not the server's to read
		if err == nil {
			_, err = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
		}
		if err != nil {
			_ = far.Close()
			return
		}
		for a, b := range map[net.Conn]net.Conn{near: far, far: near} {
			running.Go(func() {
				_, _ = io.Copy(a, b)
				_ = a.Close()
			})
		}
	})
}

// TestProxyWithPassword: user and password get to proxies of both schemes, and
// into no error.
func TestProxyWithPassword(t *testing.T) {
	t.Parallel()
	service := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }))
	defer service.Close()
	asked := make(chan string, 4)
	for _, proxy := range []*httptest.Server{httptest.NewServer(tunnel(t, asked)), httptest.NewTLSServer(tunnel(t, asked))} {
		defer proxy.Close()
		for password, works := range map[string]bool{"s3cret": true, "wr0ng": false} {
			u, err := url.Parse(proxy.URL)
			if err != nil {
				t.Fatal(err)
			}
			u.User = url.UserPassword("ada", password)
			tr, err := Transport(certificate(service)) // all of httptest have the same
			if err != nil {
				t.Fatal(err)
			}
			tr.Proxy = http.ProxyURL(u)
			c := Client{HTTP: &http.Client{Transport: tr}, Endpoint: service.URL, Clock: clock.Real{}, Log: quiet(), Retry: NoRetry()}
			err = c.Call(t.Context(), "Op", nil, nil)
			tr.CloseIdleConnections()
			switch {
			case works && err != nil:
				t.Errorf("%s: %v", u.Scheme, err)
			case works:
				if got := <-asked; got != "CONNECT "+strings.TrimPrefix(service.URL, "https://") {
					t.Errorf("%s: it was asked to %s", u.Scheme, got)
				}
			case err == nil || strings.Contains(err.Error(), password) || !strings.Contains(err.Error(), "put user and password into https_proxy"):
				t.Errorf("%s: %v", u.Scheme, err)
			}
		}
	}
}

// TestProxyThatIsNoURL: what net/http says of it has the password in it.
func TestProxyThatIsNoURL(t *testing.T) {
	t.Parallel()
	tr, err := Transport(nil)
	if err != nil {
		t.Fatal(err)
	}
	tr.Proxy = unquoted(func(*http.Request) (*url.URL, error) {
		_, err := url.Parse(fmt.Sprintf("http://ada:%s@proxy:3128", "s3%cret"))
		return nil, errors.Join(errors.New("invalid proxy address"), err)
	})
	c := Client{HTTP: &http.Client{Transport: tr}, Endpoint: "https://far.example", Clock: clock.Real{}, Log: quiet(), Retry: NoRetry()}
	if err := c.Call(t.Context(), "Op", nil, nil); err == nil || strings.Contains(err.Error(), "cret") || !strings.Contains(err.Error(), "write it as http://USER:PASSWORD@HOST:PORT") {
		t.Errorf("%v", err)
	}
}
