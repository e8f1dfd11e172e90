package e2e

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// diagnosed are results of get-diagnostics by check.
type diagnosed map[string]struct{ Status, Note string }

func diagnostics(t *testing.T, root string) diagnosed {
	t.Helper()
	o, e, code := run(t, "ssm-cli", "-root", root, "get-diagnostics")
	var out struct {
		DiagnosticsOutput []struct{ Check, Status, Note string }
	}
	if err := json.Unmarshal([]byte(o), &out); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s%s", code, err, o, e)
	}
	all := diagnosed{}
	for _, r := range out.DiagnosticsOutput {
		all[r.Check] = struct{ Status, Note string }{r.Status, r.Note}
	}
	return all
}

func (d diagnosed) expect(t *testing.T, check, status, note string) {
	t.Helper()
	if r := d[check]; r.Status != status || !strings.Contains(r.Note, note) {
		t.Errorf("%s: %+v, want %s with %q", check, r, status, note)
	}
}

// TestDiagnostics: a sound node, and then what people meet: a service that is
// gone, a stopped agent, a typing error, nobody registered.
func TestDiagnostics(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	eventually(t, "the node to be online", func() bool { return statusOf(t, n.root)["State"] == "online" })
	d := diagnostics(t, n.root)
	for check, want := range map[string][2]string{
		"EC2 IMDS":                             {"Skipped", "Instance has hybrid registration"},
		"Hybrid instance registration":         {"Success", "Instance has hybrid registration with instance id " + n.id + " in region us-east-1"},
		"Connectivity to ssm endpoint":         {"Success", "127.0.0.1 is reachable"},
		"Connectivity to ec2messages endpoint": {"Success", "is reachable"}, "Connectivity to ssmmessages endpoint": {"Success", "is reachable"},
		"Connectivity to s3 endpoint": {"Success", "is reachable"}, "Connectivity to kms endpoint": {"Success", "is reachable"},
		"Connectivity to logs endpoint": {"Success", "is reachable"}, "Connectivity to monitoring endpoint": {"Skipped", "Not used"},
		"AWS Credentials":     {"Success", n.id + " and will expire at "},
		"Agent service":       {"Success", "Agent service is running and is running as expected user"},
		"Proxy configuration": {"Skipped", "No proxy configuration detected"},
		"SSM Agent version":   {"Success", "SSM Agent version is 3.3."},
		"Last heartbeat":      {"Success", "the node is online"},
		"Clock skew":          {"Success", "This machine's clock is within "},
		"DNS":                 {"Success", "127.0.0.1 is an address"}, "Proxy hops": {"Skipped", "No proxy is used"},
		"TLS certificates": {"Skipped", "without TLS"}, "Disk space": {"Success", " MiB left"}, "Configuration file": {"Success", "Nothing is wrong"},
	} {
		d.expect(t, check, want[0], want[1])
	}
	if len(d) != 20 {
		t.Errorf("%d checks: %v", len(d), d)
	}
	o, _, _ := run(t, "ssm-cli", "-root", n.root, "get-diagnostics", "--output", "table")
	if !strings.HasPrefix(o, "┌──") || !strings.Contains(o, "│ Check ") || !strings.Contains(o, "│ Hybrid instance registration ") {
		t.Errorf("the table is\n%s", o)
	}
	p.term()
	n.term()
	if err := os.WriteFile(filepath.Join(n.root, "etc/amazon/ssm/amazon-ssm-agent.json"), []byte(`{"Ssm":{"Endpoint":"`+p.url+`","Endpiont":"x"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	d = diagnostics(t, n.root)
	d.expect(t, "Connectivity to ssm endpoint", "Failed", "127.0.0.1 is not reachable: ")
	d.expect(t, "AWS Credentials", "Skipped", "No credentials available")
	d.expect(t, "Agent service", "Failed", "")
	d.expect(t, "Last heartbeat", "Skipped", "not running")
	d.expect(t, "Configuration file", "Failed", "Endpiont")
	empty := diagnostics(t, t.TempDir())
	empty.expect(t, "Hybrid instance registration", "Skipped", "does not have hybrid registration")
	empty.expect(t, "Connectivity to kms endpoint", "Skipped", "Unable to fetch AWS region details")
	if _, e, code := run(t, "ssm-cli", "-root", n.root, "get-diagnostics", "--output", "xml"); code != 255 || !strings.Contains(e, "use json or table") {
		t.Errorf("exit %d, %s", code, e)
	}
}

// TestDiagnosticsAdoptTheAgentsProxy: what is tried is the agent's way, which
// ssm-cli's own environment does not know.
func TestDiagnosticsAdoptTheAgentsProxy(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	n.term()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // it accepts nobody
	proxy := "http://u:hush@" + l.Addr().String()
	n.program = startAs(t, exec.Command("env", "https_proxy="+proxy, filepath.Join(bin, "amazon-ssm-agent"), "-root", n.root))
	n.line("control channel open") // loopback is direct
	d := diagnostics(t, n.root)
	d.expect(t, "Proxy configuration", "Success", fmt.Sprintf("https_proxy: http://u:xxxxx@%s", l.Addr()))
	d.expect(t, "Last heartbeat", "Success", "")
	for check, r := range d {
		if strings.Contains(r.Note, "hush") {
			t.Errorf("%s tells the proxy's password: %s", check, r.Note)
		}
	}
}

// TestInstanceInformation: one line of JSON as the stock program prints it, with
// an agent and without one, for a registered node and another.
func TestInstanceInformation(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	want := `{"instance-id":"` + n.id + `","region":"us-east-1","release-version":"3.3.9000.0"}` + "\n"
	for _, verb := range []string{"get-instance-information", "Get-Instance-Information"} {
		if o, e, code := run(t, "ssm-cli", "-root", n.root, verb); o != want || code != 0 {
			t.Errorf("%s: exit %d, %s%s", verb, code, o, e)
		}
		n.term()
	}
	want = `{"instance-id":"mi-0123456789abcdef0","region":"eu-west-1","release-version":"3.3.9000.0"}` + "\n"
	if o, e, code := run(t, "ssm-cli", "-root", custom(t), "get-instance-information"); o != want || code != 0 {
		t.Errorf("custom: exit %d, %s%s", code, o, e)
	}
	for _, c := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"get-instance-information"}, 255, "error: failed to find agent identity"},
		{[]string{"get-instance-information", "--x"}, 255, "error: unknown parameter --x"},
		{nil, 2, "error: command is required"},
		{[]string{"get-nothing"}, 2, "Invalid command get-nothing.  The following commands are supported:"},
	} {
		if o, _, code := run(t, "ssm-cli", append([]string{"-root", t.TempDir()}, c.args...)...); code != c.code || !strings.HasPrefix(o, "usage: ") || !strings.Contains(o, c.text) {
			t.Errorf("%v: exit %d, %s", c.args, code, o)
		}
	}
}

// TestSelftest: it works, says so, and leaves nothing.
func TestSelftest(t *testing.T) {
	t.Parallel()
	o, e, code := run(t, "ssm-cli", "selftest", "--output", "json")
	var trials []struct {
		Step         string
		OK           bool
		Milliseconds int64
	}
	if err := json.Unmarshal([]byte(o), &trials); err != nil || code != 0 || len(trials) != 6 {
		t.Fatalf("exit %d, %v: %s%s", code, err, o, e)
	}
	for i, step := range []string{"control plane", "registration", "agent", "command", "shell", "forward"} {
		if !trials[i].OK || trials[i].Step != step {
			t.Errorf("%+v", trials[i])
		}
	}
	keep, e, code := run(t, "ssm-cli", "selftest", "-keep")
	dir := strings.TrimSpace(e[strings.LastIndex(e, " ")+1:])
	if code != 0 || !strings.Contains(keep, "forward") || !strings.Contains(e, "everything is below ") {
		t.Fatalf("exit %d: %s%s", code, keep, e)
	}
	defer os.RemoveAll(dir)
	if left := processes(dir); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

// TestLogFiles: names, modes and lines that log shippers rely on, with ids as
// fields, from the workers too; nothing secret is in any of them.
func TestLogFiles(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := &node{t: t, root: t.TempDir()}
	n.endAll()
	code, activation := p.activation(&ssm.CreateActivationInput{})
	p.configure(n.root, nil)
	_, e, rc := run(t, "amazon-ssm-agent", "-root", n.root, "-register", "-code", code, "-id", activation, "-region", "us-east-1", "-y")
	if rc != 0 {
		t.Fatalf("exit %d, %s", rc, e)
	}
	n.program = startAs(t, exec.Command("env", "SSMAGENT_DEBUG=1", filepath.Join(bin, "amazon-ssm-agent"), "-root", n.root))
	n.id = registeredID(t, n.root)
	p.online(n.id)
	command := p.send(n.id, "echo done")
	p.invocation(command, n.id)
	if o, e, rc := run(t, "ssm-local", "exec", "-root", p.root, n.id, "--", "true"); rc != 0 {
		t.Fatalf("exit %d, %s%s", rc, o, e)
	}
	logs := filepath.Join(n.root, "var/log/amazon/ssm")
	main := filepath.Join(logs, "amazon-ssm-agent.log")
	var text string
	eventually(t, "the end of the session in the log", func() bool {
		b, err := os.ReadFile(main)
		text = string(b)
		return err == nil && strings.Contains(text, "session ended")
	})
	for _, want := range []string{
		" INFO agent started version=", " INFO command accepted command=" + command, " INFO command finished command=" + command,
		" INFO session accepted session=", " INFO session opened session=", " DEBUG step finished command=" + command, " INFO control channel open",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	line := regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{4} (DEBUG|INFO|WARN|ERROR) \S`)
	for l := range strings.Lines(text) {
		if !line.MatchString(l) {
			t.Errorf("not a line of stock logs: %q", l)
		}
	}
	for _, name := range []string{"amazon-ssm-agent.log", "errors.log", "hibernate.log"} {
		if fi, err := os.Stat(filepath.Join(logs, name)); err != nil || fi.Mode().Perm() != 0o644 {
			t.Errorf("%s: %v, %v", name, fi, err)
		}
	}
	if fi, err := os.Stat(logs); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", fi, err)
	}
	secretsIn(t, n, code, text+n.output())
	o, e, rc := run(t, "ssm-cli", "-root", n.root, "logs", "-n", "1000", "-command", command)
	if rc != 0 || strings.Count(o, "\n") < 3 || strings.Count(o, "command="+command) != strings.Count(o, "\n") {
		t.Errorf("exit %d, %s%s", rc, o, e)
	}
	if _, e, rc := run(t, "ssm-cli", "-root", t.TempDir(), "logs"); rc != 255 || !strings.Contains(e, "no such file") && !strings.Contains(e, "there is no log") {
		t.Errorf("exit %d, %s", rc, e)
	}
}

// secretsIn looks for secrets of the node in text, and its private key in
// everything but the vault.
func secretsIn(t *testing.T, n *node, code, text string) {
	t.Helper()
	var registration struct{ PrivateKey string }
	b, err := os.ReadFile(filepath.Join(n.root, "var/lib/amazon/ssm/Vault/Store/RegistrationKey"))
	if err == nil {
		err = json.Unmarshal(b[strings.IndexByte(string(b), '{'):], &registration)
	}
	if err != nil || len(registration.PrivateKey) < 100 {
		t.Fatalf("the registration: %v", err)
	}
	key := registration.PrivateKey[40:100]
	for name, secret := range map[string]string{"activation code": code, "private key": key} {
		if strings.Contains(text, secret) {
			t.Errorf("the %s is in the log", name)
		}
	}
	if m := regexp.MustCompile(`(?i)(secretaccesskey|sessiontoken|tokenvalue|x-amz-security-token)\W+[A-Za-z0-9+/=]{16}`).FindString(text); m != "" {
		t.Errorf("a token is in the log: %s", m)
	}
	_ = filepath.WalkDir(n.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.Contains(path, "/Vault/") {
			return nil //nolint:nilerr // a file may go meanwhile
		}
		if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), key) {
			t.Errorf("the private key is in %s", path)
		}
		return nil
	})
}
