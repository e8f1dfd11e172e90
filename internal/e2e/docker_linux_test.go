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

// with has the node's agent start again with programs of the test in PATH
// before all others; each notes how it is called in the file that is returned.
func (n *node) with(programs map[string]string) (calls string) {
	n.t.Helper()
	dir := n.t.TempDir()
	calls = filepath.Join(dir, "calls")
	for name, body := range programs {
		text := fmt.Sprintf("#!/bin/sh\n{ printf %s; printf ' <%%s>' \"$@\"; echo; } >>%s\n%s\n", name, calls, body)
		proctest.Plant(n.t, filepath.Join(dir, name), []byte(text))
	}
	n.term()
	n.program = startAs(n.t, exec.Command("/usr/bin/env", "PATH="+dir+":/usr/sbin:/usr/bin:/sbin:/bin", filepath.Join(bin, "amazon-ssm-agent"), "-root", n.root))
	return calls
}

// TestDockerSteps runs the steps of Docker against programs that only note how
// they are called: no container is made, nothing is installed.
func TestDockerSteps(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	calls := n.with(map[string]string{"docker": `echo "docker says $1"; case $1 in stop) echo "no such container" >&2; exit 1 ;; esac`, "yum": "echo chatter", "service": ""})
	steps := p.command(n, "AWS-RunDockerAction", object("action", []string{"Run"}, "image", []string{"nginx:1.27"}, "container", []string{"web"}, "publish", []string{"8080:80"}, "volume", []string{"/a:/b"}, "cmd", []string{"nginx -g daemon"}))
	if len(steps) != 1 || steps[0].Status != "Success" || steps[0].Output != "pluginInput.Volume:1docker says run\n" {
		t.Errorf("%+v", steps)
	}
	steps = p.command(n, "AWS-RunDockerAction", object("action", []string{"Stop"}, "container", []string{"web"}))
	if len(steps) != 1 || steps[0].Status != "Failed" || steps[0].ResponseCode != 1 || !strings.Contains(steps[0].Output, "no such container\nfailed to run commands: exit status 1") {
		t.Errorf("%+v", steps)
	}
	b, err := os.ReadFile(calls)
	if want := "docker <run> <-d> <--volume> </a:/b> <--name> <web> <--publish> <8080:80> <nginx:1.27> <nginx -g daemon>\ndocker <stop> <web>\n"; err != nil || string(b) != want {
		t.Errorf("%q %v, want %q", b, err, want)
	}
	steps = p.command(n, "AWS-ConfigureDocker", object("action", []string{"Install"}))
	if len(steps) != 1 || steps[0].Status != "Failed" || !strings.Contains(steps[0].Output, "knows Amazon Linux and Red Hat only") {
		t.Errorf("on the machine of the test, which is neither: %+v", steps)
	}
}
