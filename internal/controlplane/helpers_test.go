package controlplane

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"

	"ssmagent/internal/clock"
	"ssmagent/internal/controlplane/store"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/internal/sigv4"
	wire "ssmagent/internal/wire/ssm"
)

// shifted is the machine's clock, off by what a test sets. The SDK signs with
// the machine's time, so a clock that stands still would refuse it.
type shifted struct {
	clock.Real
	mu  sync.Mutex
	off time.Duration
}

func (c *shifted) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.off)
}

func (c *shifted) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off += d
}

func writeSecret(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close(), os.Rename(f.Name(), path))
}

// plane is a control plane behind an httptest server.
type plane struct {
	*Server
	t     *testing.T
	clock *shifted
	url   string
	opt   Options
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	c := &shifted{}
	p := &plane{t: t, clock: c, opt: Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", Account: "111122223333",
		Clock: c, Log: discard(), WriteSecret: writeSecret, FS: fsystest.NewDisk()}}
	p.start()
	return p
}

func (p *plane) start() {
	p.t.Helper()
	s, err := New(p.opt)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Server = s
	srv := httptest.NewServer(s.Handler())
	p.url = srv.URL
	p.t.Cleanup(func() {
		srv.Close()
		if err := s.Close(); err != nil {
			p.t.Error(err)
		}
	})
}

// restart opens the same data directory anew.
func (p *plane) restart() {
	p.t.Helper()
	if err := p.Close(); err != nil {
		p.t.Fatal(err)
	}
	p.start()
}

func (p *plane) config() aws.Config {
	p.t.Helper()
	cfg, err := config.LoadDefaultConfig(p.t.Context(), config.WithRegion("eu-west-1"),
		config.WithSharedCredentialsFiles([]string{filepath.Join(p.opt.Dir, CredentialsFile)}),
		config.WithSharedConfigFiles([]string{filepath.Join(p.opt.Dir, ConfigFile)}), config.WithRetryMaxAttempts(1))
	if err != nil {
		p.t.Fatal(err)
	}
	cfg.BaseEndpoint = aws.String(p.url)
	return cfg
}

func (p *plane) sdk() *ssm.Client { return ssm.NewFromConfig(p.config()) }

// operator signs with the access key.
func (p *plane) operator() aws.Credentials {
	p.t.Helper()
	c, err := p.config().Credentials.Retrieve(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// code is an error's AWS code.
func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// answer is an HTTP answer, read.
type answer struct {
	status int
	header http.Header
	body   string
	wire.Error
}

func (p *plane) request(target, body string) *http.Request {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.url+"/", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", wire.ContentType)
	r.Header.Set("X-Amz-Target", target)
	return r
}

func (p *plane) send(r *http.Request) answer {
	p.t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(b)}
	_ = json.Unmarshal(b, &a.Error)
	return a
}

// call sends a call signed with c at the plane's time; without an access key,
// unsigned.
func (p *plane) call(c aws.Credentials, target, body string) answer {
	p.t.Helper()
	r := p.request(target, body)
	if c.AccessKeyID != "" {
		if err := sigv4.Sign(context.Background(), r, []byte(body), c, "ssm", "eu-west-1", p.clock.Now()); err != nil {
			p.t.Fatal(err)
		}
	}
	return p.send(r)
}

// node is a registered node.
type node struct {
	id          string
	fingerprint string
	key         *rsa.PrivateKey
	aws.Credentials
}

var testKey = sync.OnceValues(sigv4.NewKey)

// register makes an activation and registers a node with it.
func (p *plane) register(in *ssm.CreateActivationInput) node {
	p.t.Helper()
	if in.IamRole == nil {
		in.IamRole = aws.String("lab")
	}
	out, err := p.sdk().CreateActivation(p.t.Context(), in)
	if err != nil {
		p.t.Fatal(err)
	}
	key, err := testKey()
	if err != nil {
		p.t.Fatal(err)
	}
	n := node{fingerprint: "c0ffee00-1111-4222-8333-444455556666", key: key}
	a := p.call(aws.Credentials{}, "AmazonSSM.RegisterManagedInstance", registration(p.t, n, *out.ActivationId, *out.ActivationCode))
	var reg wire.RegisterManagedInstanceOutput
	if err := json.Unmarshal([]byte(a.body), &reg); err != nil || reg.InstanceId == "" {
		p.t.Fatalf("register: %d %s", a.status, a.body)
	}
	n.id = reg.InstanceId
	n.Credentials = p.token(n)
	return n
}

func registration(t *testing.T, n node, id, code string) string {
	t.Helper()
	pub, err := sigv4.EncodePublicKey(&n.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(map[string]string{"ActivationCode": code, "ActivationId": id, "Fingerprint": n.fingerprint, "PublicKey": pub, "PublicKeyType": "Rsa"})
	return string(b)
}

// keyCall sends a call signed with the node's RSA key: chunked, as agents do.
func (p *plane) keyCall(n node, target, body string, now time.Time) answer {
	p.t.Helper()
	r := p.request(target, body)
	r.Body, r.ContentLength = io.NopCloser(io.MultiReader(bytes.NewReader([]byte(body)))), -1
	if err := sigv4.SignPSS(r, []byte(body), n.key, n.id, "ssm", "eu-west-1", now); err != nil {
		p.t.Fatal(err)
	}
	return p.send(r)
}

func (p *plane) token(n node) aws.Credentials {
	p.t.Helper()
	a := p.keyCall(n, "AmazonSSM.RequestManagedInstanceRoleToken", `{"Fingerprint":"`+n.fingerprint+`"}`, time.Now())
	var t wire.RequestManagedInstanceRoleTokenOutput
	if err := json.Unmarshal([]byte(a.body), &t); err != nil || a.status != http.StatusOK {
		p.t.Fatalf("token: %d %s", a.status, a.body)
	}
	return aws.Credentials{AccessKeyID: t.AccessKeyId, SecretAccessKey: string(t.SecretAccessKey), SessionToken: string(t.SessionToken)}
}

func (p *plane) ping(n node, platform string) {
	p.t.Helper()
	a := p.call(n.Credentials, "AmazonSSM.UpdateInstanceInformation", `{"AgentName":"amazon-ssm-agent","AgentStatus":"Active","AgentVersion":"3.3.9000.0","ComputerName":"node7","IPAddress":"192.0.2.17","InstanceId":"`+
		n.id+`","PlatformName":"Debian GNU/Linux","PlatformType":"`+platform+`","PlatformVersion":"12","SSMConnectionChannel":""}`)
	if a.status != http.StatusOK {
		p.t.Fatalf("ping: %d %s", a.status, a.body)
	}
}

// statusOf says whether the register has the node online.
func (p *plane) statusOf(id string) (online bool) {
	p.t.Helper()
	err := p.db.View(func(tx *store.Tx) error {
		n, ok, err := p.nodes.Get(tx, id)
		online = ok && p.nodes.Online(n)
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return online
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
