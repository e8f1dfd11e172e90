package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// inNamespace names the test that runs in a network of its own.
const inNamespace = "SSMAGENT_E2E_NAMESPACE"

// inOwnNetwork runs the calling test once more, in a network namespace that
// has the metadata addresses on its loopback, and says whether this is there.
func inOwnNetwork(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inNamespace) == t.Name() {
		return true
	}
	if os.Geteuid() != 0 {
		unable(t, "root, for a network namespace")
	}
	const script = `ip link set lo up && ip addr add 169.254.169.254/32 dev lo && ip addr add 169.254.170.2/32 dev lo &&
		ip -6 addr add fd00:ec2::254/128 dev lo nodad && exec "$0" -test.run "^$1\$" -test.v`
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "-n", "sh", "-c", script, self, t.Name())
	cmd.Env = append(os.Environ(), inNamespace+"="+t.Name(), "SSMAGENT_BIN="+bin)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("in a network of its own: %v\n%s", err, out)
	}
	return false
}

// site serves on an address of the namespace until the test ends.
func site(t *testing.T, address string, h http.HandlerFunc) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(address, "80"))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
}

// metadata is an EC2 metadata service of version 2, or of version 1 only.
func metadata(v2 bool) http.HandlerFunc {
	const role = "/latest/meta-data/iam/security-credentials/"
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut && v2:
			fmt.Fprint(w, "tok")
		case r.Method == http.MethodPut:
			w.WriteHeader(http.StatusForbidden)
		case v2 && r.Header.Get("X-aws-ec2-metadata-token") != "tok":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == role:
			fmt.Fprint(w, "web")
		default:
			fmt.Fprint(w, `{"Code":"Success","AccessKeyId":"I","SecretAccessKey":"s","Token":"t","Expiration":"2099-01-01T00:00:00Z"}`)
		}
	}
}

type told struct {
	Identity string
	Sources  []struct {
		Source, Why string
		Won         bool
	}
}

// explainIn runs ssm-cli credentials explain with an environment of its own.
func explainIn(t *testing.T, root string, env map[string]string) (won, why, stderr string, x told, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "ssm-cli"), "-root", root, "credentials", "explain", "-output", "json")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	_ = cmd.Run()
	if err := json.Unmarshal(o.Bytes(), &x); err != nil {
		t.Fatalf("%v: %s%s", err, &o, &e)
	}
	for _, s := range x.Sources {
		if s.Why == "" {
			t.Errorf("%s does not say why", s.Source)
		}
		if s.Won {
			won, why = won+s.Source, s.Why
		}
	}
	return won, why, e.String(), x, cmd.ProcessState.ExitCode()
}

// custom makes the configuration of a node that is one by configuration.
func custom(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	dir := filepath.Join(root, "etc/amazon/ssm")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	text := `{"Identity":{"CustomIdentities":[{"InstanceID":"mi-0123456789abcdef0","Region":"eu-west-1","CredentialsProvider":"DEFAULT"}]}}`
	if err := os.WriteFile(filepath.Join(dir, "amazon-ssm-agent.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return root
}

// TestCredentialsInAllCombinations: environment, shared file, ECS and instance
// profile are asked in this order.
func TestCredentialsInAllCombinations(t *testing.T) {
	t.Parallel()
	if !inOwnNetwork(t) {
		return
	}
	home, root := t.TempDir(), custom(t)
	if err := os.MkdirAll(filepath.Join(home, ".aws"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".aws/credentials"), []byte("[default]\naws_access_key_id=F\naws_secret_access_key=s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	site(t, "169.254.169.254", metadata(true))
	site(t, "169.254.170.2", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"AccessKeyId":"C","SecretAccessKey":"s","Token":"t","Expiration":"2099-01-01T00:00:00Z"}`)
	})
	sources := []struct {
		name    string
		on, off map[string]string
	}{
		{"environment", map[string]string{"AWS_ACCESS_KEY_ID": "E", "AWS_SECRET_ACCESS_KEY": "s"}, nil},
		{"shared file", map[string]string{"HOME": home}, map[string]string{"HOME": root}},
		{"container", map[string]string{"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/x"}, nil},
		{"instance profile", nil, map[string]string{"AWS_EC2_METADATA_DISABLED": "true"}},
	}
	for n := range 1 << len(sources) {
		env, want := map[string]string{}, ""
		for i, s := range slices.Backward(sources) {
			if n&(1<<i) == 0 {
				maps.Copy(env, s.off)
				continue
			}
			maps.Copy(env, s.on)
			want = s.name
		}
		won, _, stderr, x, code := explainIn(t, root, env)
		if won != want || len(x.Sources) != 5 || (code == 0) != (want != "") || !strings.HasPrefix(x.Identity, "mi-0123456789abcdef0 in eu-west-1") {
			t.Errorf("%04b: exit %d, won %q, want %q\n%s", n, code, won, want, stderr)
		}
	}
}

// TestMetadataVersions: version 2, version 1 with a warning and only where it
// is allowed, IPv6, none.
func TestMetadataVersions(t *testing.T) {
	t.Parallel()
	if !inOwnNetwork(t) {
		return
	}
	root := custom(t)
	if won, _, stderr, _, code := explainIn(t, root, nil); won != "" || code != 255 || !strings.Contains(stderr, "no instance metadata service answers at http://169.254.169.254") {
		t.Errorf("none: exit %d, %q\n%s", code, won, stderr)
	}
	site(t, "169.254.169.254", metadata(false))
	site(t, "fd00:ec2::254", metadata(true))
	won, why, stderr, _, _ := explainIn(t, root, nil)
	if won != "instance profile" || !strings.Contains(why, "version 1") || !strings.Contains(stderr, "level=WARN") {
		t.Errorf("version 1: %q, %q\n%s", won, why, stderr)
	}
	won, _, stderr, _, code := explainIn(t, root, map[string]string{"AWS_EC2_METADATA_V1_DISABLED": "true"})
	if won != "" || code != 255 || !strings.Contains(stderr, "version 1 is disabled here") {
		t.Errorf("version 1 disabled: exit %d, %q\n%s", code, won, stderr)
	}
	won, why, stderr, _, _ = explainIn(t, root, map[string]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "IPv6"})
	if won != "instance profile" || strings.Contains(why, "version 1") || stderr != "" {
		t.Errorf("IPv6: %q, %q\n%s", won, why, stderr)
	}
}

// TestCredentialsOfNodes: a registered node uses its role token whatever else
// there is, and a machine that is no node is told so.
func TestCredentialsOfNodes(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	keys := map[string]string{"AWS_ACCESS_KEY_ID": "E", "AWS_SECRET_ACCESS_KEY": "s"}
	if won, _, stderr, x, code := explainIn(t, n.root, keys); won != "role token" || code != 0 || len(x.Sources) != 6 || !strings.Contains(x.Identity, n.id) {
		t.Errorf("exit %d, won %q, %+v\n%s", code, won, x, stderr)
	}
	if won, _, stderr, x, code := explainIn(t, t.TempDir(), keys); won != "environment" || code != 0 || !strings.HasPrefix(x.Identity, "none") {
		t.Errorf("exit %d, won %q, %+v\n%s", code, won, x, stderr)
	}
}

// TestSharedCredentials: a registered node's role token is where other programs
// look for it, and a script is told where.
func TestSharedCredentials(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	file := filepath.Join(n.root, "root", ".aws", "credentials")
	eventually(t, "the role token in "+file, func() bool {
		b, err := os.ReadFile(file)
		return err == nil && strings.HasPrefix(string(b), "[default]\naws_access_key_id = ASIA")
	})
	won, why, stderr, _, code := explainIn(t, custom(t), map[string]string{"AWS_SHARED_CREDENTIALS_FILE": file, "AWS_EC2_METADATA_DISABLED": "true"})
	if won != "shared file" || code != 0 {
		t.Errorf("exit %d, %q %q\n%s", code, won, why, stderr)
	}
	out := p.invocation(p.send(n.id, `echo "$AWS_SHARED_CREDENTIALS_FILE"`, `stat -c %a "$AWS_SHARED_CREDENTIALS_FILE"`), n.id)
	if got := *out.StandardOutputContent; got != file+"\n600\n" {
		t.Errorf("a script sees %q", got)
	}
}
