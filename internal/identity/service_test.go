package identity

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/internal/config"
	"ssmagent/internal/fsys"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/internal/sigv4"
	"ssmagent/internal/ssmclient"
	"ssmagent/internal/vault"
	"ssmagent/internal/wire/ssm"
)

const (
	data   = "/data"
	nodeID = "mi-0a1b2c3d4e5f60718"
	code   = "Q7c2kVnp9wTz4LsXb1Rd"
	actID  = "5f0c1c2e-7b1d-4f5a-9a0e-3a1b2c3d4e5f"
)

// service is the other end: it checks the signatures of token and key calls.
type service struct {
	t *testing.T

	mu       sync.Mutex
	public   *rsa.PublicKey
	print    string
	calls    []string
	at       []time.Time
	life     time.Duration
	update   bool
	off      time.Duration // of its clock against ours
	refuse   func(op string, n int) (status int, code string)
	register *ssm.RegisterManagedInstanceInput
	signed   bool // the registration was
	keys     int
	lose     string // the operation whose answers get lost
	raw      string // the answer to a token call; empty: a right one
}

func newService(t *testing.T) *service { return &service{t: t, life: time.Hour} }

func (s *service) http() *http.Client { return &http.Client{Transport: s} }

// RoundTrip implements http.RoundTripper, so that bubbles need no sockets.
func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code == 599 || s.lose != "" && strings.HasSuffix(r.Header.Get("X-Amz-Target"), s.lose) {
		return nil, io.ErrUnexpectedEOF
	}
	return w.Result(), nil
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	n := 0
	for _, c := range s.calls {
		if c == op {
			n++
		}
	}
	s.calls, s.at = append(s.calls, op), append(s.at, time.Now())
	w.Header().Set("Date", time.Now().Add(s.off).UTC().Format(http.TimeFormat))
	if s.refuse != nil {
		if status, code := s.refuse(op, n); status != 0 {
			s.fail(w, status, code)
			return
		}
	}
	switch op {
	case "RegisterManagedInstance":
		s.registered(w, r, body)
	case "RequestManagedInstanceRoleToken":
		if s.raw != "" {
			_, _ = io.WriteString(w, s.raw)
			return
		}
		s.token(w, r, body)
	case "UpdateManagedInstancePublicKey":
		s.key(w, r, body)
	default:
		s.t.Errorf("operation %q", op)
	}
}

func (s *service) fail(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	s.reply(w, ssm.Error{Type: code, Message: "the service says " + code})
}

func (s *service) reply(w io.Writer, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.t.Error(err)
	}
}

func (s *service) registered(w http.ResponseWriter, r *http.Request, body []byte) {
	var in ssm.RegisterManagedInstanceInput
	if err := json.Unmarshal(body, &in); err != nil {
		s.t.Error(err)
	}
	pub, err := sigv4.DecodePublicKey(in.PublicKey)
	if err != nil || len(in.PublicKey) != 392 || in.PublicKeyType != "Rsa" {
		s.t.Errorf("public key %q: %v", in.PublicKey, err)
	}
	s.register, s.public, s.print = &in, pub, in.Fingerprint
	s.signed = r.Header.Get("Authorization") != ""
	if !s.signed && r.Header.Get("X-Amz-Date") != "" {
		s.t.Error("an anonymous call has a date")
	}
	s.reply(w, ssm.RegisterManagedInstanceOutput{InstanceId: nodeID})
}

// genuine checks a signature with the node's key.
func (s *service) genuine(w http.ResponseWriter, r *http.Request, body []byte) bool {
	sig, err := sigv4.Parse(r)
	if err != nil || sig.CredentialID != nodeID {
		s.t.Errorf("%+v, %v", sig, err)
	}
	switch {
	case time.Now().Add(s.off).Sub(sig.Time).Abs() > 5*time.Minute:
		s.fail(w, http.StatusForbidden, "InvalidSignatureException")
	case !sig.VerifyPSS(r, body, s.public):
		s.fail(w, http.StatusForbidden, "InvalidSignatureException")
	default:
		return true
	}
	return false
}

func (s *service) token(w http.ResponseWriter, r *http.Request, body []byte) {
	var in ssm.RequestManagedInstanceRoleTokenInput
	if err := json.Unmarshal(body, &in); err != nil {
		s.t.Error(err)
	}
	if !s.genuine(w, r, body) {
		return
	}
	if in.Fingerprint != s.print {
		s.fail(w, http.StatusBadRequest, fingerprintMismatch)
		return
	}
	s.reply(w, ssm.RequestManagedInstanceRoleTokenOutput{
		AccessKeyId: "ASIAEXAMPLE", SecretAccessKey: "secret", SessionToken: "token", UpdateKeyPair: s.update,
		TokenExpirationDate: ssm.Time{Time: time.Now().Add(s.off + s.life)},
	})
}

func (s *service) key(w http.ResponseWriter, r *http.Request, body []byte) {
	var in ssm.UpdateManagedInstancePublicKeyInput
	if err := json.Unmarshal(body, &in); err != nil {
		s.t.Error(err)
	}
	if !s.genuine(w, r, body) {
		return
	}
	pub, err := sigv4.DecodePublicKey(in.NewPublicKey)
	if err != nil || in.NewPublicKeyType != "Rsa" {
		s.t.Errorf("%+v, %v", in, err)
	}
	s.public, s.update = pub, false
	s.reply(w, ssm.Empty{})
}

// refusing changes refuse while calls are made.
func (s *service) refusing(f func(string, int) (int, string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = f
}

func (s *service) count(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.calls {
		if c == op {
			n++
		}
	}
	return n
}

// keys makes keys that are made once: no two in a row are equal.
func keys(s *service) func() (*rsa.PrivateKey, error) {
	return func() (*rsa.PrivateKey, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.keys++
		return pool()[s.keys%len(pool())], nil
	}
}

var pool = sync.OnceValue(func() (all []*rsa.PrivateKey) {
	for range 4 {
		k, err := sigv4.NewKey()
		if err != nil {
			panic(err)
		}
		all = append(all, k)
	}
	return all
})

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func facts(more ...string) Hardware {
	return func(context.Context) (map[string]string, error) {
		m := map[string]string{"machine-id": "6f1d\n", "ipaddress-info": "192.0.2.10", "hostname-info": "node-a", "macaddr-info": "02:00", "ssmagent-bios": "x"}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m, nil
	}
}

func newDisk(t *testing.T) *fsystest.Disk {
	t.Helper()
	disk := fsystest.NewDisk()
	if err := fsys.MkdirAll(disk, data, 0o700); err != nil {
		t.Fatal(err)
	}
	return disk
}

func deps(s *service, disk fsys.FS) RegisterDeps {
	cfg := config.Default()
	cfg.Ssm.Endpoint = "http://ssm.test"
	return RegisterDeps{
		Config: cfg, Vault: vault.New(disk, data), FS: disk, Data: data, Hardware: facts(), HTTP: s.http(),
		UserAgent: "amazon-ssm-agent/3.3.9000.0", Clock: clock.Real{}, Log: quiet(), newKey: keys(s),
	}
}

func activation() RegisterOptions { return RegisterOptions{Code: code, ID: actID, Region: "eu-west-1"} }

// registeredNode registers with a service and returns what a start finds.
func registeredNode(t *testing.T, s *service) (Options, *fsystest.Disk) {
	t.Helper()
	disk := newDisk(t)
	d := deps(s, disk)
	if _, err := Register(t.Context(), d, activation()); err != nil {
		t.Fatal(err)
	}
	return node(t, s, disk), disk
}

func node(t *testing.T, s *service, disk fsys.FS) Options {
	t.Helper()
	v := vault.New(disk, data)
	id, key, err := Resolve(t.Context(), config.Default(), v, Cloud{})
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Identity: id, Key: key, Vault: v, Endpoint: "http://ssm.test", Region: id.Region, HTTP: s.http(), Clock: clock.Real{}, Log: quiet(),
		Skew: &ssmclient.Skew{}, newKey: keys(s),
		Fingerprint: func(ctx context.Context) (string, error) { return Fingerprint(ctx, v, facts(), clock.Real{}, quiet()) },
	}
}
