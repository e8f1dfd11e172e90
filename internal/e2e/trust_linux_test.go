package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"ssmagent/fingerprint"
)

// clone copies the node's state, as of a disk that is cloned while it runs.
func (n *node) clone() *node {
	n.t.Helper()
	c := &node{t: n.t, root: n.t.TempDir(), id: n.id}
	c.endAll()
	if out, err := exec.Command("cp", "-a", n.root+"/.", c.root).CombinedOutput(); err != nil {
		n.t.Fatalf("%v %s", err, out)
	}
	return c
}

func (n *node) vault(name string) string {
	return filepath.Join(n.root, "var", "lib", "amazon", "ssm", "Vault", name)
}

// print is the node's fingerprint record.
func (n *node) print() fingerprint.Record {
	n.t.Helper()
	b, err := os.ReadFile(n.vault("Store/InstanceFingerprint"))
	if err != nil {
		n.t.Fatal(err)
	}
	r, err := fingerprint.Load(b)
	if err != nil {
		n.t.Fatal(err)
	}
	return r
}

// registeredAs rewrites the record, as if the machine had been another when it
// was registered: without a sum, like a stock agent's.
func (n *node) registeredAs(change map[string]string) {
	n.t.Helper()
	r := n.print()
	maps.Copy(r.HardwareHash, change)
	n.write("Store/InstanceFingerprint", r)
}

// write writes a file of the vault as a stock agent does.
func (n *node) write(name string, v any) {
	n.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(n.vault(name), b, 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// works has the node run a command.
func (p *plane) works(n *node) {
	p.t.Helper()
	if inv := p.invocation(p.send(n.id, "echo alive"), n.id); inv.Status != types.CommandInvocationStatusSuccess {
		p.t.Errorf("%s is not served: %s", n.id, inv.Status)
	}
}

// TestClonedMachine: the state of a node on a machine with another machine id.
// Both sides say "clone", and the node itself is not disturbed.
func TestClonedMachine(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	was := n.print().Fingerprint
	c := n.clone()
	etc := filepath.Join(t.TempDir(), "etc")
	c.startWith(`cp -a /etc ` + etc + `; rm -f ` + etc + `/machine-id; echo 0123456789abcdef0123456789abcdef >` + etc + `/machine-id; mount --bind ` + etc + ` /etc`)
	c.line("This machine is a clone of the one that was registered")
	c.line("MachineFingerprintDoesNotMatch")
	p.line("a node looks cloned")
	if c.print().Fingerprint == was {
		t.Error("the clone has kept the fingerprint")
	}
	out, _, rc := run(t, "ssm-local", "nodes", "-root", p.root)
	if rc != 0 || !strings.Contains(out, n.id+" looks cloned") || !strings.Contains(out, "amazon-ssm-agent -register") {
		t.Errorf("exit %d, the operator sees\n%s", rc, out)
	}
	if n.print().Fingerprint != was {
		t.Error("the node's own fingerprint has changed")
	}
	p.works(n)
}

// TestTwoAgentsOfOneNode: a copy that has machine id and address too is found
// by its second channel.
func TestTwoAgentsOfOneNode(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	n.line("control channel open")
	n.clone().start()
	p.line("a node looks cloned")
	out, _, _ := run(t, "ssm-local", "nodes", "-root", p.root)
	if !strings.Contains(out, "two agents were connected as it at the same time") {
		t.Errorf("the operator sees\n%s", out)
	}
}

// TestRestartIsNoClone: an agent that is killed and comes back is not accused.
func TestRestartIsNoClone(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	for range 3 {
		n.line("control channel open")
		n.kill()
		n.start()
	}
	p.works(n)
	if out, _, _ := run(t, "ssm-local", "nodes", "-root", p.root); strings.Contains(out, "cloned") || strings.Contains(p.output(), "cloned") {
		t.Errorf("accused:\n%s", out)
	}
}

// otherHardware is all that can differ but the machine id.
func otherHardware() map[string]string {
	return map[string]string{fingerprint.Hostname: "other", fingerprint.IPAddress: "192.0.2.1", fingerprint.MAC: "02:00:5e:00:53:99",
		fingerprint.Processor: "x", fingerprint.Memory: "x", fingerprint.BIOS: "x", fingerprint.System: "x", fingerprint.Disk: "x"}
}

// TestThresholds: at 1 the machine id is enough, at 100 a new address is too
// much; and the remedy that the agent names brings the node back.
func TestThresholds(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	set := func(percent int) {
		t.Helper()
		if _, e, rc := run(t, "amazon-ssm-agent", "-root", n.root, "-fingerprint", "-similarityThreshold", strconv.Itoa(percent)); rc != 0 {
			t.Fatalf("threshold %d: exit %d %s", percent, rc, e)
		}
	}
	n.term()
	n.registeredAs(otherHardware())
	was := n.print().Fingerprint
	set(1)
	n.start()
	n.line("control channel open")
	p.works(n)
	out, rc := n.cli("fingerprint", "-output", "json")
	var told struct {
		Same                       bool
		Decision, Verdict          string
		Percent                    float64
		Total, SimilarityThreshold int
		Properties                 []struct {
			Name, Now         string
			Changed, Compared bool
		}
	}
	if err := json.Unmarshal([]byte(out), &told); err != nil || rc != 0 || !told.Same || told.Decision != "percentage" || told.SimilarityThreshold != 1 || told.Total != 9 {
		t.Errorf("exit %d, %v\n%s", rc, err, out)
	}
	n.term()
	now := map[string]string{fingerprint.IPAddress: "192.0.2.1"}
	for _, f := range told.Properties {
		if f.Changed && f.Name != fingerprint.IPAddress {
			now[f.Name] = f.Now
		}
	}
	n.registeredAs(now) // all is as it was registered, but the address
	set(100)
	n.start()
	n.line("88.9 % of its properties are the same, the threshold is 100 %")
	n.line("MachineFingerprintDoesNotMatch")
	if n.print().Fingerprint == was {
		t.Error("the fingerprint is still the registered one")
	}
	out, rc = n.cli("fingerprint")
	if rc != 255 || !strings.Contains(out, "ipaddress-info") || !strings.Contains(out, "changed") || !strings.Contains(out, "8 of 9 properties are the same, 88.9 %; the threshold is 100") || !strings.Contains(out, "is a clone of the registered one") {
		t.Errorf("exit %d\n%s", rc, out)
	}
	n.term()
	set(88)
	n.start()
	n.line("control channel open")
	if n.print().Fingerprint != was {
		t.Error("the fingerprint is not the registered one again")
	}
	p.works(n)
}

// TestNewCollectors: properties that are collected in a new way make no other
// machine, and are noted.
func TestNewCollectors(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	n.term()
	was := n.print()
	old := otherHardware()
	old[fingerprint.Collector] = "0"
	n.registeredAs(old)
	n.start()
	n.line("control channel open")
	p.works(n)
	got := n.print()
	if got.Fingerprint != was.Fingerprint || !maps.Equal(got.HardwareHash, was.HardwareHash) {
		t.Errorf("%+v, was %+v", got, was)
	}
}

// TestCodeStaysSecret: an activation code from standard input is in no list of
// processes, on no screen and in no file.
func TestCodeStaysSecret(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := &node{t: t, root: t.TempDir()}
	code, id := p.activation(&ssm.CreateActivationInput{})
	p.configure(n.root, nil)
	cmd := exec.Command(filepath.Join(bin, "amazon-ssm-agent"), "-root", n.root, "-register", "-code-file", "-", "-id", id, "-region", "us-east-1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	n.program = startAs(t, cmd)
	seen := ""
	eventually(t, "its command line", func() bool {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/cmdline")
		seen = string(b)
		return err == nil && strings.Contains(seen, "-code-file")
	})
	if _, err := io.WriteString(in, code+"\n"); err != nil {
		t.Fatal(err)
	}
	n.line("Successfully registered")
	n.wait()
	if strings.Contains(seen, code) || strings.Contains(n.output(), code) {
		t.Errorf("the code is seen in %q or\n%s", seen, n.output())
	}
	err = filepath.WalkDir(n.root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if b, err := os.ReadFile(path); err != nil || bytes.Contains(b, []byte(code)) {
			t.Errorf("%s: the code is in it, or %v", path, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestKeyRotationByTheOperator: a node that was asked has another key with its
// next role token, and is the same node by it, also after a restart.
func TestKeyRotationByTheOperator(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	key := func() string {
		var reg map[string]any
		b, err := os.ReadFile(n.vault("Store/RegistrationKey"))
		if err != nil || json.Unmarshal(b, &reg) != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		k, _ := reg["privateKey"].(string)
		return k
	}
	old := key()
	if old == "" {
		t.Fatal("the vault has no key where this test looks")
	}
	out, e, rc := run(t, "ssm-local", "rotate-key", "-root", p.root, n.id)
	if rc != 0 || !strings.Contains(out, "next role token") {
		t.Fatalf("exit %d\n%s%s", rc, out, e)
	}
	n.kill()
	n.start()
	n.line("the registration has a new key")
	p.line("the node has a new key")
	fresh := key()
	if fresh == old {
		t.Error("the vault has the old key")
	}
	p.works(n)
	n.kill()
	n.start()
	n.line("control channel open")
	p.works(n)
	if key() != fresh || strings.Contains(n.output(), "the registration has a new key") {
		t.Error("the key was replaced although nobody asked again")
	}
	if _, e, rc := run(t, "ssm-local", "rotate-key", "-root", p.root, "mi-00000000000000000"); rc != 1 || !strings.Contains(e, "not registered") {
		t.Errorf("exit %d: %s", rc, e)
	}
}
