package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

// TestWinePackageSetup: ssm-setup-cli has Windows Installer install what was
// signed, and nothing else, and registers the machine.
func TestWinePackageSetup(t *testing.T) {
	m := newSetup(t)
	m.add(t, windowsKey, "CurrentMajorVersionNumber", "REG_DWORD", "10")
	m.put(filepath.Join(packages(t), "0", "windows_amd64", "ssm-setup-cli.exe"), `C:\ssm-setup-cli.exe`)
	m.signs(t, `C:\old.msi`)
	code, id := m.p.activation(&ssm.CreateActivationInput{})
	line := func(words ...string) []string {
		return append([]string{`C:\ssm-setup-cli.exe`, "-region", "us-east-1", "-key", `C:\key.pub`}, words...)
	}
	m.put(m.path(`C:\old.msi.asc`), `C:\new.msi.asc`) // of another package
	if out, err := m.command(t, line("-install", "-package", `C:\new.msi`)...); err == nil || !strings.Contains(out, "it was changed after it was signed") {
		t.Errorf("another package: %v\n%s", err, out)
	}
	if files, state, _ := m.has(t); slices.Contains(files, "amazon-ssm-agent.exe") || state != "" {
		t.Errorf("it left %q, service %q", files, state)
	}
	if out := m.succeeds(t, line("-install", "-package", `C:\old.msi`)...); !strings.Contains(out, "amazon-ssm-agent "+firstVersion+" is installed.") {
		t.Errorf("it said:\n%s", out)
	}
	m.wants(t, firstVersion, "amazon-ssm-agent.json")
	// The service is started again after the registration, which wine may not do:
	// what follows it is not looked at.
	if out, _ := m.command(t, line("-register", "-activation-code", code, "-activation-id", id)...); !strings.Contains(out, "The machine is registered as "+nodeID(t, m.path(dataFolder))+".") || strings.Contains(out, code) {
		t.Errorf("it said:\n%s", out)
	}
	b, err := os.ReadFile(m.path(configFile))
	if err != nil || !strings.Contains(string(b), `"OnPrem"`) || !strings.Contains(string(b), m.p.url) {
		t.Errorf("%s %v", b, err)
	}
}

// signs signs a file of the machine with a new key, C:\key.pub.
func (m *setup) signs(t *testing.T, file string) {
	t.Helper()
	e, err := openpgp.NewEntity("somebody", "", "", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		t.Fatal(err)
	}
	var key, signature bytes.Buffer
	content, err := os.ReadFile(m.path(file))
	if err == nil {
		err = e.Serialize(&key)
	}
	if err == nil {
		err = openpgp.ArmoredDetachSign(&signature, e, bytes.NewReader(content), nil)
	}
	for name, b := range map[string][]byte{`C:\key.pub`: key.Bytes(), file + ".asc": signature.Bytes()} {
		if err == nil {
			err = os.WriteFile(m.path(name), b, 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}
