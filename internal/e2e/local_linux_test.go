package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"ssmagent/platform/proc/proctest"
)

// TestRestartOfTheMachine has a script ask for a restart: the system's own
// program is asked for it, here one below the node's root, and after the
// restart the step runs again and the command ends.
func TestRestartOfTheMachine(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	asked := filepath.Join(n.root, "asked")
	if err := os.MkdirAll(filepath.Join(n.root, "sbin"), 0o700); err != nil {
		t.Fatal(err)
	}
	proctest.Plant(t, filepath.Join(n.root, "sbin", "shutdown"), []byte("#!/bin/sh\necho \"$*\" >>"+asked+"\n"))
	again := filepath.Join(n.root, "again")
	id := p.send(n.id, "[ -e "+again+" ] && echo second && exit 0", "touch "+again, "echo first", "exit 194")
	if got := p.file(asked, 1); got[0] != "-r +1" {
		t.Errorf("the system was asked %q", got)
	}
	queued := p.send(n.id, "echo queued") // not before the restart
	n.kill()
	n.start()
	inv := p.invocation(id, n.id)
	if inv.Status != types.CommandInvocationStatusSuccess || aws.ToString(inv.StandardOutputContent) != "first\nsecond\n" {
		t.Errorf("%s %q %q", inv.Status, aws.ToString(inv.StandardOutputContent), aws.ToString(inv.StandardErrorContent))
	}
	if inv := p.invocation(queued, n.id); inv.Status != types.CommandInvocationStatusSuccess {
		t.Errorf("the one behind it: %s", inv.Status)
	}
	p.file(asked, 1) // once
}

// TestRestartThatCannotBe: below a root without such a program the step fails
// and says so, and nothing else is asked.
func TestRestartThatCannotBe(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	inv := p.invocation(p.send(n.id, "exit 194"), n.id)
	if inv.Status != types.CommandInvocationStatusFailed || !strings.Contains(aws.ToString(inv.StandardErrorContent), "no program for it is installed") {
		t.Errorf("%s %q", inv.Status, aws.ToString(inv.StandardErrorContent))
	}
}

// TestLocalCommands drops documents into the node's folder, with the control
// plane gone.
func TestLocalCommands(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	p.kill()
	local := filepath.Join(n.root, "var", "lib", "amazon", "ssm", "localcommands")
	ran := filepath.Join(t.TempDir(), "ran")
	drop := func(name, text string) {
		t.Helper()
		temp := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(temp, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(temp, filepath.Join(local, name)); err != nil {
			t.Fatal(err)
		}
	}
	drop("good.json", `{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"one","inputs":{"runCommand":["echo $SSM_COMMAND_ID >>`+ran+`; echo told; exit 3"]}}]}`)
	drop("bad.json", `{"schemaVersion":"9.9"}`)
	if err := os.Symlink("/etc/passwd", filepath.Join(local, "link")); err != nil {
		t.Fatal(err)
	}
	id := p.file(ran, 1)[0]
	eventually(t, "the reply", func() bool {
		b, err := os.ReadFile(filepath.Join(local, "completed", id))
		return err == nil && strings.Contains(string(b), `"documentStatus":"Failed"`) && strings.Contains(string(b), `told\n`)
	})
	eventually(t, "the folder to be empty", func() bool {
		left, err := os.ReadDir(filepath.Join(local, "submitted"))
		wrong, werr := os.ReadDir(filepath.Join(local, "invalid"))
		return err == nil && werr == nil && len(left) == 0 && len(wrong) == 2 &&
			strings.HasPrefix(wrong[0].Name(), "bad.json.") && strings.HasPrefix(wrong[1].Name(), "link.")
	})
	p.file(ran, 1) // once
}
