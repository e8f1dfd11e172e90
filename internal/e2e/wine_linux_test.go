package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// wine is a Windows machine, as far as wine is one.
type wine struct {
	t      *testing.T
	prefix string
	env    []string // of programs, besides
	bin    string   // folder of our programs
}

// newWine finds the one that scripts/wine.sh has made, in which the tests run.
func newWine(t *testing.T) wine {
	t.Helper()
	if os.Getenv("SSMAGENT_WINE") == "" {
		unable(t, "wine around the tests: run `make test-windows`")
	}
	return wine{t: t, prefix: os.Getenv("WINEPREFIX"), bin: os.Getenv("SSMAGENT_WINDOWS")}
}

// windows is our program name in the machine.
func (m wine) windows(name string, args ...string) *program {
	m.t.Helper()
	line := slices.Concat(m.env, []string{"WINEDEBUG=-all", "WINEPREFIX=" + m.prefix, "wine", filepath.Join(m.bin, name)}, args)
	return startAs(m.t, exec.Command("env", line...))
}

// node registers the machine with p and starts its agent, below root.
func (m wine) node(p *plane) (id, root string, agent *program) {
	m.t.Helper()
	id, root = m.registered(p, nil)
	agent = m.windows("amazon-ssm-agent.exe", "-root", m.inside(root))
	p.online(id)
	return id, root, agent
}

// inside is how the machine calls a directory in its C:.
func (m wine) inside(root string) string { return `C:\` + filepath.Base(root) }

// registered registers the machine, below a root of its own, with p.
func (m wine) registered(p *plane, settings map[string]any) (id, root string) {
	m.t.Helper()
	root, err := os.MkdirTemp(filepath.Join(m.prefix, "drive_c"), "node")
	if err != nil {
		m.t.Fatal(err)
	}
	return m.register(p, root, settings, "-root", m.inside(root)), root
}

// register registers the machine, whose Windows folders are in root.
func (m wine) register(p *plane, root string, settings map[string]any, flags ...string) (id string) {
	m.t.Helper()
	p.configureAt(filepath.Join(root, "Program Files", "Amazon", "SSM"), settings)
	code, activation := p.activation(&ssm.CreateActivationInput{})
	reg := m.windows("amazon-ssm-agent.exe", append(flags, "-register", "-code", code, "-id", activation, "-region", "us-east-1", "-y")...)
	reg.line("Successfully registered")
	reg.wait()
	return nodeID(m.t, filepath.Join(root, "ProgramData", "Amazon", "SSM"))
}

// nodeID is who the machine with the data is.
func nodeID(t *testing.T, data string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(data, "InstanceData", "registration"))
	if err != nil {
		t.Fatal(err)
	}
	var r struct{ ManagedInstanceID string }
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r.ManagedInstanceID
}

// TestWineMainJob: a Windows agent registers with ssm-local on Linux, runs
// commands by PowerShell as stock agents call it, and holds shells on consoles.
func TestWineMainJob(t *testing.T) { //nolint:paralleltest // it looks for what is left of all sessions of the machine
	w := newWine(t)
	p := newPlane(t)
	id, _, agent := w.node(p)
	p.runsPowerShell(id, "exit 0", types.CommandInvocationStatusSuccess, 0)
	p.runsPowerShell(id, "exit 17", types.CommandInvocationStatusFailed, 17)
	p.sessionDocument("Profile", `{"schemaVersion":"1.0","description":"x","sessionType":"Standard_Stream","inputs":{"shellProfile":{"windows":"first\nsize","linux":"no"}}}`)
	for name, client := range map[string]*exec.Cmd{"ours": p.shell(p.url, id, "-document", "Profile"), "the official plugin": p.stock(id, "--document-name", "Profile")} {
		pe := sit(t, client, 132, 43)
		pe.sees(`PS>`)
		pe.sees(`read=first\.`)
		pe.sees(`size=132x43,<nil>`)
		pe.types("grüße-日本\n")
		pe.sees(`read=grüße-日本\.`)
		pe.types("exit 5\n")
		if code := pe.ends(); name == "ours" && code != 5 {
			t.Errorf("%s: exit 5 is %d", name, code)
		}
	}
	words := map[string]string{"command": `one 'two three'`, "separateOutputStream": "true"}
	pe := script(t, p.stock(id, with(t, "AWS-StartNonInteractiveCommand", words)...))
	pe.sees(`called with \["one" "two three"\]`)
	pe.sees(`EXIT_CODE: 0`)
	pe.ends()
	delete(words, "separateOutputStream")
	words["command"] = "one-'two'"
	pe = sit(t, p.stock(id, with(t, "AWS-StartInteractiveCommand", words)...), 132, 43)
	pe.sees(`\["one-'two'"\]`)
	pe.ends()
	nothingOfSessions(t)
	agent.kill()
}

// runsPowerShell runs a script whose last line is last, which the recording
// PowerShell obeys.
func (p *plane) runsPowerShell(id, last string, status types.CommandInvocationStatus, code int32) {
	p.t.Helper()
	out, err := p.sdk().SendCommand(p.t.Context(), &ssm.SendCommandInput{DocumentName: aws.String("AWS-RunPowerShellScript"),
		InstanceIds: []string{id}, Parameters: map[string][]string{"commands": {"Write-Host 'grüße 日本'", last}}})
	if err != nil {
		p.t.Fatal(err)
	}
	inv := p.invocation(*out.Command.CommandId, id)
	if inv.Status != status || inv.ResponseCode != code {
		p.t.Errorf("%s: %s, code %d: %s", last, inv.Status, inv.ResponseCode, *inv.StandardErrorContent)
	}
	for _, want := range []string{`["-InputFormat" "None" "-Noninteractive" "-NoProfile" "-ExecutionPolicy" "unrestricted"]`, "UTF-8: true", "grüße 日本"} {
		if !strings.Contains(*inv.StandardOutputContent, want) {
			p.t.Errorf("%q is not in %q", want, *inv.StandardOutputContent)
		}
	}
	if !strings.Contains(*inv.StandardErrorContent, "this is standard error") {
		p.t.Errorf("standard error %q", *inv.StandardErrorContent)
	}
}
