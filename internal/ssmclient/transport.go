package ssmclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// proxyError is a proxy's refusal to connect.
type proxyError struct{ reason string }

func (p *proxyError) Error() string { return p.reason }

func refusedByProxy(_ context.Context, proxy *url.URL, _ *http.Request, r *http.Response) error {
	if r.StatusCode == http.StatusOK {
		return nil
	}
	remedy := "have it allow this host, or name the host in no_proxy if it can be reached directly"
	if r.StatusCode == http.StatusProxyAuthRequired {
		remedy = "put user and password into https_proxy (http://USER:PASSWORD@HOST:PORT)"
	}
	return &proxyError{fmt.Sprintf("the proxy %s refuses to connect: %s; %s", proxy.Host, clean(r.Status), remedy)}
}

// unquoted is proxy, whose errors quote the address with its password.
func unquoted(proxy func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	return func(r *http.Request) (*url.URL, error) {
		u, err := proxy(r)
		if err != nil {
			return nil, &proxyError{"the address of the proxy in https_proxy or http_proxy is no URL; write it as http://USER:PASSWORD@HOST:PORT, with %25, %40 and so on for special characters"}
		}
		return u, nil
	}
}

// Transport returns the transport for all traffic of an agent: TLS 1.2 or
// better, proxies from the environment, HTTP/2, few idle connections. ca holds
// PEM certificates to trust besides the system's; empty is none.
func Transport(ca []byte) (*http.Transport, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(ca) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool() // a machine without a store
		}
		if !pool.AppendCertsFromPEM(ca) {
			return nil, errors.New("there is no certificate in it; it must be a PEM file with -----BEGIN CERTIFICATE-----")
		}
		t.RootCAs = pool
	}
	return &http.Transport{
		Proxy:                  unquoted(http.ProxyFromEnvironment),
		OnProxyConnectResponse: refusedByProxy,
		DialContext:            (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        t,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxIdleConns:           16,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        90 * time.Second,
	}, nil
}
