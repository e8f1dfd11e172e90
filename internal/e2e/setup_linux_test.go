package e2e

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// bucket serves the packages to the machine, and a few that are no good.
func bucket(t *testing.T, packages string) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir(packages)))
	for _, ext := range []string{".deb", ".rpm"} {
		b, err := os.ReadFile(filepath.Join(packages, "new"+ext))
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1 // in the tree of files, which is nearly all of it
		mux.HandleFunc("/tampered"+ext, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) })
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

// strangersKey is the public key of somebody who has signed nothing.
func strangersKey(t *testing.T) string {
	t.Helper()
	e, err := openpgp.NewEntity("stranger", "", "", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	var b bytes.Buffer
	if err == nil {
		err = e.Serialize(&b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// copyIn puts a file of this machine into the other one.
func (l *life) copyIn(from, to string, mode os.FileMode) {
	l.t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		l.t.Fatal(err)
	}
	l.m.write(to, string(b))
	if err := os.Chmod(filepath.Join(l.m.root(), to), mode); err != nil {
		l.t.Fatal(err)
	}
}

// settle boots a machine with ssm-setup-cli and the key that is trusted.
func settle(t *testing.T) (l *life, packages string) {
	t.Helper()
	image, packages := made(t)
	l = &life{format: formats["deb"], t: t, p: newPlane(t), last: time.Now()}
	l.m = boot(t, image, packages)
	l.p.configure(l.m.root(), nil)
	l.copyIn(filepath.Join(bin, "ssm-setup-cli"), "/opt/ssm-setup-cli", 0o755)
	l.copyIn(filepath.Join(packages, "key.pub"), "/opt/ssm-setup-cli.asc", 0o644)
	l.stage("the machine is up")
	return l, packages
}

// TestPackageSetup: ssm-setup-cli installs from a bucket and registers, in one
// line; what does not work is said in one, and leaves nothing.
func TestPackageSetup(t *testing.T) {
	l, packages := settle(t)
	from := bucket(t, packages)
	code, id := l.p.activation(&ssm.CreateActivationInput{})
	line := func(pkg string, more ...string) []string {
		return append([]string{"/opt/ssm-setup-cli", "-register", "-region", "us-east-1", "-activation-code", code, "-activation-id", id, "-package", from + pkg}, more...)
	}
	l.m.write("/opt/none.pub", "no key\n")
	l.m.write("/opt/other.pub", strangersKey(t))
	for what, tc := range map[string]struct {
		line []string
		want string
	}{
		"not root":         {append([]string{"runuser", "-u", "nobody", "--"}, line("/new.deb")...), "Please run as root/admin. Err: binary needs to be executed by root"},
		"tampered with":    {line("/tampered.deb"), "/tampered.deb is not installed: it was changed after it was signed"},
		"an rpm likewise":  {line("/tampered.rpm"), "/tampered.rpm is not installed: it was changed after it was signed"},
		"no rpm":           {append([]string{"env", "PATH=/nowhere"}, line("/new.rpm")...), "is installed by rpm, which is not here"},
		"not signed":       {line("/old.deb"), "/old.deb is not installed: it is not signed"},
		"not there":        {line("/none.deb"), "the server says 404 Not Found"},
		"a key that is no": {line("/new.deb", "-key", "/opt/none.pub"), "/opt/none.pub: read the public key"},
		"another key":      {line("/new.deb", "-key", "/opt/other.pub"), "/new.deb is not installed: it is signed by a key that is not trusted"},
		"no dpkg":          {append([]string{"env", "PATH=/nowhere"}, line("/new.deb")...), "is installed by dpkg, which is not here"},
		"no region":        {line("/new.deb", "-region", "us_east"), `Invalid parameters - "us_east" is no region.`},
		"no activation":    {line("/new.deb", "-activation-code", ""), "Invalid parameters - Activation code required for on-prem registration."},
	} {
		if out, rc := l.m.try(tc.line...); rc != 1 || !strings.Contains(out, tc.want) || strings.Contains(out, code) {
			t.Errorf("%s: exit %d\n%s", what, rc, out)
		}
		if left, _ := l.m.try("sh", "-c", "ls -d /usr/bin/amazon-ssm-agent /tmp/ssm_setup* 2>/dev/null"); left != "" {
			t.Errorf("%s: it left %s", what, left)
		}
	}
	l.stage("what cannot be is said, and leaves nothing")
	out, rc := l.m.try(line("/new.deb", "-activation-code", "wrong-wrong-wrong-20")...)
	if rc != 1 || !strings.Contains(out, "the agent is installed, but the machine is not registered: Registration failed due to") || !strings.Contains(out, "go on with: amazon-ssm-agent -register -region us-east-1 -id "+id) {
		t.Errorf("a wrong code: exit %d\n%s", rc, out)
	}
	l.m.do("dpkg", "--purge", "amazon-ssm-agent")
	l.p.configure(l.m.root(), nil)
	l.stage("a wrong code leaves the package, and says how to go on")
	out = l.m.do(line("/new.deb")...)
	if !strings.Contains(out, "amazon-ssm-agent "+newVersion+" is installed.") || strings.Contains(out, code) {
		t.Errorf("it said:\n%s", out)
	}
	l.id = l.registration()
	l.version(newVersion)
	l.stage("installed, registered, online by one line")
	if out := l.m.do(line("/new.deb")...); !strings.Contains(out, "is installed already") || !strings.Contains(out, "registered as "+l.id) || l.registration() != l.id {
		t.Errorf("once more:\n%s", out)
	}
	if out := l.m.do("cat", "/etc/amazon/ssm/amazon-ssm-agent.json"); !strings.Contains(out, "OnPrem") || !strings.Contains(out, l.p.url) {
		t.Errorf("the configuration is\n%s", out)
	}
	l.m.do("/opt/ssm-setup-cli", "-shutdown")
	if pid := l.m.agent(); pid != 0 {
		t.Errorf("after -shutdown the agent runs as %d", pid)
	}
	l.stage("once more, and shut down")
	l.m.do("dpkg", "--purge", "amazon-ssm-agent")
	out = l.m.do("/opt/ssm-setup-cli", "-install", "-region", "us-east-1", "-package", "file:///packages/new.rpm")
	if got := l.m.do("rpm", "-q", "amazon-ssm-agent"); !strings.HasPrefix(got, "amazon-ssm-agent-"+newVersion) || !strings.Contains(out, newVersion+" is installed.") {
		t.Errorf("an rpm: %s\n%s", got, out)
	}
	l.stage("an rpm in its place")
}

// TestPackageTarball: the tarball's scripts install, change the version and
// take away, and keep what has to be kept.
func TestPackageTarball(t *testing.T) {
	l, _ := settle(t)
	l.m.do("sh", "-c", "cd /root && tar xzf /packages/old.tar.gz")
	install := []string{"sh", "-c", "exec /root/amazon-ssm-agent-" + oldVersion + "-linux-*/install.sh"}
	if out, rc := l.m.try("runuser", "-u", "nobody", "--", "sh", "/root/amazon-ssm-agent-"+oldVersion+"-linux-amd64/install.sh"); rc == 0 {
		t.Errorf("not as root: exit %d\n%s", rc, out)
	}
	l.m.do(install...)
	code, id := l.p.activation(&ssm.CreateActivationInput{})
	l.m.do("amazon-ssm-agent", "-register", "-code", code, "-id", id, "-region", "us-east-1", "-y")
	l.m.do("systemctl", "restart", "amazon-ssm-agent")
	l.id = l.registration()
	l.version(oldVersion)
	if got := l.m.do("systemctl", "is-enabled", "amazon-ssm-agent"); got != "enabled" {
		t.Errorf("after the installation the unit is %s", got)
	}
	l.stage("installed, registered, online")
	l.copyIn(filepath.Join(os.Getenv("SSMAGENT_PACKAGES"), "new.tar.gz.asc"), "/opt/new.tar.gz.asc", 0o644)
	l.m.do("cp", "/packages/new.tar.gz", "/opt/new.tar.gz")
	l.m.do("/opt/ssm-setup-cli", "-install", "-region", "us-east-1", "-package", "/opt/new.tar.gz")
	l.version(newVersion)
	l.m.do("truncate", "-s", "-1", "/opt/new.tar.gz")
	if out, rc := l.m.try("/opt/ssm-setup-cli", "-install", "-region", "us-east-1", "-package", "file:///opt/new.tar.gz"); rc != 1 || !strings.Contains(out, "it was changed after it was signed") {
		t.Errorf("cut off: exit %d\n%s", rc, out)
	}
	l.stage("the next version over it by ssm-setup-cli, the same node")
	l.m.do("systemctl", "stop", "amazon-ssm-agent")
	l.m.do(install...)
	if pid := l.m.agent(); pid != 0 {
		t.Errorf("a stopped agent runs as %d", pid)
	}
	l.m.do("systemctl", "start", "amazon-ssm-agent")
	l.version(oldVersion)
	l.stage("the earlier version over it; what was stopped stays so")
	l.m.do("/usr/share/doc/amazon-ssm-agent/uninstall.sh")
	if l.m.exists("/usr/bin/amazon-ssm-agent") || l.m.exists("/usr/bin/ssm-cli") || l.agentLeft() || l.registration() != l.id {
		t.Error("uninstall.sh left the program, or took the registration")
	}
	if out := l.m.do("unshare", "--mount", "sh", "-c", "mount -t tmpfs none /run && "+install[2]); !strings.Contains(out, "No systemd runs here: have this machine's service manager run /usr/bin/amazon-ssm-agent as root") {
		t.Errorf("without systemd:\n%s", out)
	}
	l.m.do("/usr/share/doc/amazon-ssm-agent/uninstall.sh", "--purge")
	if l.m.exists("/var/lib/amazon") || l.m.exists("/etc/amazon") {
		t.Error("uninstall.sh --purge left something")
	}
	l.put(l.install, "new")
	if out, rc := l.m.try(install...); rc != 1 || !strings.Contains(out, "the Debian package amazon-ssm-agent is installed") {
		t.Errorf("beside a package: exit %d\n%s", rc, out)
	}
	l.stage("taken away, purged, refused beside a package")
}

// agentLeft says whether the unit is still known.
func (l *life) agentLeft() bool {
	_, rc := l.m.try("systemctl", "cat", "amazon-ssm-agent")
	return rc == 0
}
