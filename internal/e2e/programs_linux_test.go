package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// TestDemo is `make run ONCE=1`.
func TestDemo(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, time := range []string{"first", "second"} {
		o, e, rc := run(t, "ssm-local", "demo", "-root", root, "-once")
		if rc != 0 || !strings.Contains(o, "hello from") || !strings.Contains(o, "Online") || !strings.Contains(o, "Success") {
			t.Fatalf("%s time: exit %d\n%s%s", time, rc, o, e)
		}
	}
	if left := processes(root); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
}

func TestOurClient(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	o, _, rc := run(t, "ssm-local", "nodes", "-root", p.root)
	if rc != 0 || !strings.Contains(o, n.id) || !strings.Contains(o, "Online") {
		t.Errorf("nodes: exit %d\n%s", rc, o)
	}
	o, _, rc = run(t, "ssm-local", "nodes", "-root", p.root, "--output", "json")
	if rc != 0 || !strings.Contains(o, `"InstanceId": "`+n.id+`"`) {
		t.Errorf("nodes --output json: exit %d\n%s", rc, o)
	}
	o, e, rc := run(t, "ssm-local", "run", "-root", p.root, n.id, "--", "echo", "out;", "echo err >&2;", "exit 42")
	if rc != 42 || o != "out\n" || !strings.Contains(e, "err\n") || !strings.Contains(e, "Failed") {
		t.Errorf("run: exit %d, %q, %q", rc, o, e)
	}
	_, e, rc = run(t, "ssm-local", "run", "-root", p.root, "mi-0123456789abcdef0", "--", "true")
	if rc != 255 || !strings.Contains(e, "InvalidInstanceId") {
		t.Errorf("run on an unknown node: exit %d, %q", rc, e)
	}
}

// TestBuildIsReproducible builds the same sources in two places.
func TestBuildIsReproducible(t *testing.T) {
	t.Parallel()
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var built [2]string
	for i := range built {
		dir := filepath.Join(t.TempDir(), strings.Repeat("deep/", i+1))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"go.mod", "go.sum", "Makefile", "VERSION", "cmd", "internal", "platform", "service", "shell", "users", "fingerprint"} {
			if out, err := exec.Command("cp", "-a", filepath.Join(top, part), dir).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		make := exec.Command("make", "--no-print-directory", "-C", dir, "build", "COMMIT=test")
		if out, err := make.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		out, err := exec.Command("sh", "-c", "cat "+filepath.Join(dir, "bin")+"/*/amazon-ssm-agent | sha256sum").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		built[i] = string(out)
	}
	if built[0] != built[1] {
		t.Errorf("two builds differ: %s %s", built[0], built[1])
	}
}
