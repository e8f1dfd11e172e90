package e2e

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"ssmagent/internal/sigv4"
)

// registerWith runs -register in a fresh root and returns what it said.
func registerWith(t *testing.T, p *plane, code, id string, more map[string]any) (said string, rc int, root string) {
	t.Helper()
	root = t.TempDir()
	p.configure(root, more)
	o, e, rc := run(t, "amazon-ssm-agent", "-root", root, "-register", "-code", code, "-id", id, "-region", "us-east-1", "-y")
	return o + e, rc, root
}

// nothingLeft checks that a refused registration left no registration.
func nothingLeft(t *testing.T, root string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, "var", "lib", "amazon", "ssm", "registration")); err == nil {
		t.Error("a refused registration left a registration file")
	}
	if b, err := os.ReadFile(filepath.Join(root, "var", "lib", "amazon", "ssm", "Vault", "Store", "RegistrationKey")); err == nil && bytes.Contains(b, []byte("mi-")) {
		t.Errorf("a refused registration left a key: %s", b)
	}
}

func TestRegistrationRefused(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	code, id := p.activation(&ssm.CreateActivationInput{})
	usedCode, usedID := p.activation(&ssm.CreateActivationInput{})
	if said, rc, _ := registerWith(t, p, usedCode, usedID, nil); rc != 0 {
		t.Fatalf("the first registration: exit %d, %s", rc, said)
	}
	oldCode, oldID := p.activation(&ssm.CreateActivationInput{ExpirationDate: aws.Time(time.Now().Add(1500 * time.Millisecond))})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()
	eventually(t, "the activation to expire", func() bool {
		out, err := p.sdk().DescribeActivations(t.Context(), &ssm.DescribeActivationsInput{})
		if err != nil {
			return false
		}
		for _, a := range out.ActivationList {
			if *a.ActivationId == oldID {
				return a.Expired
			}
		}
		return false
	})
	for _, tc := range []struct {
		name, code, id, says string
		more                 map[string]any
	}{
		{"wrong code", strings.Repeat("x", 20), id, "code", nil},
		{"expired", oldCode, oldID, "expired", nil},
		{"exhausted", usedCode, usedID, "used up", nil},
		{"nobody listens", code, id, "refused", map[string]any{"Ssm": map[string]any{"Endpoint": "http://" + nobody}}},
	} {
		said, rc, root := registerWith(t, p, tc.code, tc.id, tc.more)
		if rc != 1 || !strings.Contains(strings.ToLower(said), tc.says) || !strings.Contains(said, "Registration failed due to") {
			t.Errorf("%s: exit %d: %s", tc.name, rc, said)
		}
		if strings.Contains(said, tc.code) {
			t.Errorf("%s: the code is on the screen", tc.name)
		}
		nothingLeft(t, root)
	}
}

func TestTLSMustBeTrusted(t *testing.T) {
	t.Parallel()
	p := newPlane(t, "-tls-listen", "127.0.0.1:0")
	tls := "https://" + strings.Fields(strings.SplitN(p.line("https://"), "https://", 2)[1])[0]
	code, id := p.activation(&ssm.CreateActivationInput{})
	ca := filepath.Join(filepath.Dir(p.creds), "ca.pem")
	endpoint := map[string]any{"Endpoint": tls}
	said, rc, root := registerWith(t, p, code, id, map[string]any{"Ssm": endpoint, "Mds": endpoint, "Mgs": endpoint})
	if rc != 1 || !strings.Contains(said, "certificate") {
		t.Errorf("untrusted: exit %d: %s", rc, said)
	}
	nothingLeft(t, root)
	// With the CA the same activation serves, and the channel is wss.
	n := &node{t: t}
	said, rc, n.root = registerWith(t, p, code, id, map[string]any{"Ssm": endpoint, "Mds": endpoint, "Mgs": endpoint, "ssmagent": map[string]any{"CABundle": ca}})
	if rc != 0 {
		t.Fatalf("trusted: exit %d: %s", rc, said)
	}
	n.start()
	id = strings.Fields(said[strings.Index(said, "mi-"):])[0]
	p.online(id)
	if inv := p.invocation(p.send(id, "echo over TLS"), id); aws.ToString(inv.StandardOutputContent) != "over TLS\n" {
		t.Errorf("%s %q", inv.Status, aws.ToString(inv.StandardOutputContent))
	}
}

func TestPlaneRefusesToStart(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	_, e, rc := run(t, "ssm-local", "serve", "-root", t.TempDir(), "-listen", strings.TrimPrefix(p.url, "http://"))
	if rc != 1 || !strings.Contains(e, "in use") {
		t.Errorf("taken port: exit %d: %s", rc, e)
	}
	_, e, rc = run(t, "ssm-local", "serve", "-root", p.root, "-listen", "127.0.0.1:0")
	if rc != 1 || !strings.Contains(e, "in use") {
		t.Errorf("taken data directory: exit %d: %s", rc, e)
	}
	_, e, rc = run(t, "ssm-local", "serve", "-root", t.TempDir(), "-listen", "0.0.0.0:0")
	if rc != 1 || !strings.Contains(e, "loopback") {
		t.Errorf("plain HTTP for everybody: exit %d: %s", rc, e)
	}
}

func TestUnreadableConfiguration(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	for name, text := range map[string]string{"not JSON": "{", "wrong type": `{"Mds":{"CommandWorkersLimit":"many"}}`, "unknown key of ours": `{"ssmagent":{"CaBundel":"/x"}}`} {
		root := t.TempDir()
		p.configure(root, nil)
		file := filepath.Join(root, "etc", "amazon", "ssm", "amazon-ssm-agent.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"-root", root}, {"-root", root, "-check-config"}} {
			o, e, rc := run(t, "amazon-ssm-agent", args...)
			if rc == 0 || !strings.Contains(o+e, "amazon-ssm-agent.json") {
				t.Errorf("%s, %v: exit %d: %s%s", name, args, rc, o, e)
			}
		}
	}
	_, e, rc := run(t, "amazon-ssm-agent", "-root", t.TempDir())
	if rc == 0 || !strings.Contains(e, "-register") {
		t.Errorf("not registered: exit %d: %s", rc, e)
	}
}

// TestClockOffByAnHour signs with a clock that is an hour behind.
func TestClockOffByAnHour(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	cred, err := p.sdk().Options().Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	body := []byte("{}")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AmazonSSM.DescribeInstanceInformation")
	if err := sigv4.Sign(t.Context(), r, body, cred, "ssm", "us-east-1", time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode < 400 || resp.StatusCode >= 500 || !strings.Contains(string(b), "clock") || !strings.Contains(string(b), "3600") {
		t.Errorf("%d %s", resp.StatusCode, b)
	}
}
