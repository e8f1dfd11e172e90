package ssmclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"time"
)

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
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       t,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		MaxIdleConns:          16,
		MaxIdleConnsPerHost:   4,
		IdleConnTimeout:       90 * time.Second,
	}, nil
}
