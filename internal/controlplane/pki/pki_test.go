package pki

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/clock"
)

var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func options(t *testing.T, c clock.Clock, names ...string) Options {
	return Options{Dir: t.TempDir(), Names: names, Clock: c, WriteSecret: func(p string, b []byte) error { return os.WriteFile(p, b, 0o600) }}
}

func leaf(t *testing.T, a *Authority) *x509.Certificate {
	t.Helper()
	c, err := a.TLSConfig().GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf
}

func open(t *testing.T, o Options) *Authority {
	t.Helper()
	a, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	c := clock.NewFake(start)
	o := options(t, c, "Plane.Example.", "192.0.2.7", "[2001:db8::1]")
	a := open(t, o)
	first := leaf(t, a)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.CA())
	for _, name := range []string{"plane.example", "192.0.2.7", "2001:db8::1", "localhost", "127.0.0.1", "::1"} {
		if _, err := first.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: c.Now()}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if again := leaf(t, open(t, o)); !again.Equal(first) {
		t.Error("a restart made another certificate")
	}
	c.Advance(59 * 24 * time.Hour)
	if !leaf(t, a).Equal(first) {
		t.Error("renewed 31 days before its end")
	}
	c.Advance(2 * 24 * time.Hour)
	second := leaf(t, a)
	if second.Equal(first) || second.NotAfter.Sub(c.Now()) != serverLife {
		t.Errorf("29 days before its end it is %v", second.NotAfter)
	}
	o.Names = append(o.Names, "other.example")
	third := leaf(t, open(t, o))
	if third.Equal(second) || !slices.Contains(third.DNSNames, "other.example") {
		t.Errorf("new names: %v", third.DNSNames)
	}
	if third.CheckSignatureFrom(a.ca) != nil {
		t.Error("the authority changed with the names")
	}
	// Near the authority's own end a certificate cannot last longer: it is
	// made once, not at every handshake.
	c.Advance(a.ca.NotAfter.Sub(c.Now()) - 24*time.Hour)
	last := leaf(t, a)
	if !last.NotAfter.Equal(a.ca.NotAfter) || !leaf(t, a).Equal(last) {
		t.Errorf("a day before the authority's end: %v", last.NotAfter)
	}
	c.Advance(48 * time.Hour)
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "ended on") {
		t.Errorf("authority at its end: %v", err)
	}
}

func TestDamage(t *testing.T) {
	t.Parallel()
	c := clock.NewFake(start)
	// A start that ended between key and certificate is taken up.
	o := options(t, c)
	write := o.WriteSecret
	o.WriteSecret = func(p string, b []byte) error {
		if filepath.Base(p) == CAFile {
			return errors.New("disk full")
		}
		return write(p, b)
	}
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Fatal(err)
	}
	o.WriteSecret = write
	a := open(t, o)
	// A broken server certificate is replaced, a lost CA key is not.
	if err := os.WriteFile(filepath.Join(o.Dir, serverFile), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, o)
	other := open(t, options(t, c))
	stranger, err := os.ReadFile(filepath.Join(other.opt.Dir, serverFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, serverFile), stranger, 0o600); err != nil {
		t.Fatal(err)
	}
	if leaf(t, open(t, o)).CheckSignatureFrom(a.ca) != nil {
		t.Error("a certificate of another authority was kept")
	}
	if err := os.Remove(filepath.Join(o.Dir, caKeyFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "restore") {
		t.Errorf("without the CA's key: %v", err)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, caKeyFile), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); err == nil {
		t.Error("a broken CA key is taken")
	}
}
