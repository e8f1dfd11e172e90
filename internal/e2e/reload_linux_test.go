package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// hangup is what systemctl reload sends.
func (n *node) hangup() {
	n.t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		n.t.Fatal(err)
	}
}

// TestReload: SIGHUP has the agent take over what may change, name what may
// not, and stay as it is where the file is no good.
func TestReload(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	n.line("control channel open")
	file := filepath.Join(n.root, "etc", "amazon", "ssm", "amazon-ssm-agent.json")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct{ text, says string }{
		{"{\n  \"Mds\": {,}}", "line 2, column 11: not JSON"},
		{`{"ssmagent":{"LogLevel":"debug","CABundle":"/nowhere.pem"}}`, "/nowhere.pem"},
		{"", "restart the agent to have the defaults"},
	} {
		if bad.text == "" {
			err = os.Remove(file)
		} else {
			err = os.WriteFile(file, []byte(bad.text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		n.hangup()
		if l := n.line(bad.says); !strings.Contains(l, "the old one counts") {
			t.Errorf("it says %s", l)
		}
	}
	if level := statusOf(t, n.root)["LogLevel"]; level != "info" {
		t.Errorf("a bad file has made the level %v", level)
	}
	p.works(n)
	text := strings.Replace(string(good), `"ssmagent":{`, `"Agent":{"Name":"other"},"ssmagent":{"LogLevel":"debug",`, 1)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n.hangup()
	if l := n.line("count after a restart"); !strings.Contains(l, "settings=Agent.Name\n") && !strings.HasSuffix(l, "settings=Agent.Name") {
		t.Errorf("it says %s", l)
	}
	if l := n.line("the configuration was reloaded"); !strings.Contains(l, "ssmagent.LogLevel") {
		t.Errorf("it says %s", l)
	}
	if level := statusOf(t, n.root)["LogLevel"]; level != "debug" {
		t.Errorf("the level is %v", level)
	}
	p.works(n)
	pe := sit(t, p.shell(p.url, n.id), 80, 24)
	n.line("session worker started") // of level debug
	pe.sees(`[#$] $`)
	pe.types("exit\n")
	pe.ends()
}
