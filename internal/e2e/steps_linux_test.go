package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"ssmagent/platform/proc/proctest"
)

// TestStepsByTheStockCLI runs the steps that have no test of their own: with a
// PowerShell and a realm that only note what they are told, which lie over
// /usr/bin for the agent alone, and those that this version cannot do, which
// say so and are never reported as done.
func TestStepsByTheStockCLI(t *testing.T) {
	t.Parallel()
	over := t.TempDir()
	for name, body := range map[string]string{
		"pwsh":  `echo "pwsh $1 $(basename "$2")"; cat "$2"; exit 7`,
		"realm": `printf 'corp.example\n  type: kerberos\n  domain-name: corp.example\n'`,
	} {
		proctest.Plant(t, filepath.Join(over, name), []byte("#!/bin/sh\n"+body+"\n"))
	}
	if err := os.Chmod(over, 0o755); err != nil {
		t.Fatal(err)
	}
	lay := "mount -t overlay -o lowerdir=" + over + `:/usr/bin overlay /usr/bin && exec "$0" "$@"`
	if out, err := exec.Command("unshare", "-m", "sh", "-c", lay, "true").CombinedOutput(); err != nil {
		unable(t, fmt.Sprintf("the right to make a mount namespace: %v %s", err, out))
	}
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	n.term()
	n.program = startAs(t, exec.Command("unshare", "-m", "sh", "-c", lay, filepath.Join(bin, "amazon-ssm-agent"), "-root", n.root))
	n.line("control channel open")
	var all []any
	want := []struct {
		action, status, says string
		code                 int
		inputs               map[string]any
	}{
		{"aws:runPowerShellScript", "Failed", "pwsh -f _script.ps1\n", 7, object("runCommand", []string{"Write-Output hello"})},
		{"aws:domainJoin", "Success", "The machine is in corp.example already.", 0, object("directoryId", "d-1234567890", "directoryName", "corp.example")},
		{"aws:softwareInventory", "Failed", "inventory", 1, map[string]any{}},
		{"aws:refreshAssociation", "Failed", "associations", 1, map[string]any{}},
		{"aws:updateSsmAgent", "Failed", "updater", 1, map[string]any{}},
	}
	for i, w := range want {
		all = append(all, object("action", w.action, "name", fmt.Sprintf("s%d", i), "inputs", w.inputs))
	}
	p.document("Steps", object("schemaVersion", "2.2", "mainSteps", all))
	steps := p.command(n, "Steps", nil)
	if len(steps) != len(want) {
		t.Fatalf("%+v", steps)
	}
	for i, w := range want {
		if s := steps[i]; s.Status != w.status || s.ResponseCode != w.code || !strings.Contains(s.Output, w.says) {
			t.Errorf("%s: %+v", w.action, s)
		}
	}
}
