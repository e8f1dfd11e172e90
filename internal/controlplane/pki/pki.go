// Package pki is the control plane's own certificate authority: one CA, made
// at first start, and one server certificate, renewed when it nears its end
// or the names change.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"ssmagent/internal/clock"
)

// How long certificates last, and when the server's is replaced.
const (
	caLife     = 10 * 365 * 24 * time.Hour
	serverLife = 90 * 24 * time.Hour
	renewAt    = 30 * 24 * time.Hour
	backdate   = time.Hour // for clients whose clocks are behind
)

// Files in the directory. CAFile is for clients to trust.
const (
	CAFile     = "ca.pem"
	caKeyFile  = "ca.key"
	serverFile = "server.pem" // certificate and key
)

// Options are what an Authority needs.
type Options struct {
	Dir   string
	Names []string // DNS names and addresses that clients use
	Clock clock.Clock
	// WriteSecret writes a file that only the owner may read, as a whole.
	WriteSecret func(path string, data []byte) error
}

// Authority is the CA with its server certificate. Safe for concurrent use.
type Authority struct {
	opt   Options
	names []string
	ca    *x509.Certificate
	key   crypto.Signer

	mu     sync.Mutex
	server *tls.Certificate
}

// Open reads the authority of a directory, or makes it.
func Open(o Options) (*Authority, error) {
	a := &Authority{opt: o, names: withLoopback(o.Names)}
	if err := a.loadCA(); err != nil {
		return nil, err
	}
	if c, err := readPair(filepath.Join(o.Dir, serverFile)); err == nil {
		a.server = c // a broken one is replaced: it proves nothing
	}
	_, err := a.certificate()
	return a, err
}

// Path is the file with the CA's certificate.
func (a *Authority) Path() string { return filepath.Join(a.opt.Dir, CAFile) }

// CA is the CA's certificate in PEM.
func (a *Authority) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.ca.Raw})
}

// TLSConfig is the server's: TLS 1.2 at least, HTTP/1.1 only, since agents
// upgrade to WebSockets on the same listener.
func (a *Authority) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return a.certificate() },
	}
}

func (a *Authority) loadCA() error {
	certPath, keyPath := a.Path(), filepath.Join(a.opt.Dir, caKeyFile)
	certPEM, err := os.ReadFile(certPath)
	keyPEM, keyErr := os.ReadFile(keyPath)
	if errors.Is(err, fs.ErrNotExist) && (keyErr == nil || errors.Is(keyErr, fs.ErrNotExist)) {
		// The certificate is written last: a key alone is an unfinished start.
		return a.makeCA(certPath, keyPath)
	}
	if err := errors.Join(err, keyErr); err != nil {
		return fmt.Errorf("read the certificate authority: %w: restore the file, or remove %s and %s to have a new one made, which nodes must then trust anew", err, certPath, keyPath)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return fmt.Errorf("read the certificate authority %s: %w", certPath, err)
	}
	ca, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return fmt.Errorf("read the certificate authority %s: %w", certPath, err)
	}
	if now := a.opt.Clock.Now(); now.After(ca.NotAfter) {
		return fmt.Errorf("the certificate authority %s ended on %s: remove it and %s, and let nodes trust the new one", certPath, ca.NotAfter.Format(time.DateOnly), keyPath)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !ca.IsCA {
		return fmt.Errorf("%s is no certificate authority", certPath)
	}
	a.ca, a.key = ca, key
	return nil
}

func (a *Authority) makeCA(certPath, keyPath string) error {
	key, keyPEM, err := newKey()
	if err != nil {
		return err
	}
	now := a.opt.Clock.Now()
	tmpl := &x509.Certificate{
		SerialNumber: serial(), NotBefore: now.Add(-backdate), NotAfter: now.Add(caLife),
		Subject:               pkix.Name{CommonName: "ssm-local CA " + now.UTC().Format(time.DateOnly)},
		IsCA:                  true,
		BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return fmt.Errorf("make the certificate authority: %w", err)
	}
	if a.ca, err = x509.ParseCertificate(der); err != nil {
		return fmt.Errorf("make the certificate authority: %w", err)
	}
	a.key = key
	if err := a.opt.WriteSecret(keyPath, keyPEM); err != nil {
		return fmt.Errorf("write the certificate authority: %w", err)
	}
	if err := a.opt.WriteSecret(certPath, a.CA()); err != nil {
		return fmt.Errorf("write the certificate authority: %w", err)
	}
	return nil
}

// certificate returns the server's certificate, a new one when it is due.
func (a *Authority) certificate() (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server != nil && a.good(a.server.Leaf) {
		return a.server, nil
	}
	c, text, err := a.issue()
	if err != nil {
		return nil, fmt.Errorf("make the server certificate: %w", err)
	}
	if err := a.opt.WriteSecret(filepath.Join(a.opt.Dir, serverFile), text); err != nil {
		return nil, fmt.Errorf("write the server certificate: %w", err)
	}
	a.server = c
	return c, nil
}

// good says whether leaf is ours, for all names, and not near its end.
func (a *Authority) good(leaf *x509.Certificate) bool {
	now := a.opt.Clock.Now()
	if leaf == nil || leaf.CheckSignatureFrom(a.ca) != nil || now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return false
	}
	if now.Add(renewAt).After(leaf.NotAfter) && leaf.NotAfter.Before(a.ca.NotAfter) {
		return false // a new one would last longer
	}
	var have []string
	have = append(have, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		have = append(have, ip.String())
	}
	slices.Sort(have)
	return slices.Equal(have, a.names)
}

func (a *Authority) issue() (*tls.Certificate, []byte, error) {
	key, keyPEM, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	now := a.opt.Clock.Now()
	end := now.Add(serverLife)
	if end.After(a.ca.NotAfter) {
		end = a.ca.NotAfter
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial(), NotBefore: now.Add(-backdate), NotAfter: end,
		Subject:     pkix.Name{CommonName: "ssm-local"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range a.names {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.ca, key.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	text := slices.Concat(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), a.CA(), keyPEM)
	c, err := tls.X509KeyPair(text, text)
	return &c, text, err
}

func readPair(path string) (*tls.Certificate, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the server certificate: %w", err)
	}
	c, err := tls.X509KeyPair(b, b)
	if err != nil {
		return nil, fmt.Errorf("read the server certificate: %w", err)
	}
	return &c, nil
}

// withLoopback returns the names in normal form, sorted, with loopback's.
func withLoopback(names []string) []string {
	all := []string{"localhost", "127.0.0.1", "::1"}
	for _, n := range names {
		n = strings.ToLower(strings.TrimSuffix(strings.Trim(strings.TrimSpace(n), "[]"), "."))
		if ip := net.ParseIP(n); ip != nil {
			n = ip.String()
		}
		if n != "" {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func newKey() (crypto.Signer, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func serial() *big.Int {
	b := make([]byte, 20)
	_, _ = rand.Read(b) // never fails
	sum := sha256.Sum256(b)
	return new(big.Int).SetBytes(sum[:15])
}
