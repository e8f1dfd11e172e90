package e2e

import (
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// inside runs ssm-cli in the mount namespace of the node's agent.
func (n *node) inside(args ...string) string {
	n.t.Helper()
	cmd := exec.CommandContext(n.t.Context(), "nsenter", append([]string{"-m", "-t", strconv.Itoa(n.cmd.Process.Pid),
		filepath.Join(bin, "ssm-cli"), "-root", n.root}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		n.t.Errorf("ssm-cli %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// TestRecordingOnFullDisk: a disk that is full in the midst of a recording. The
// person is told, the session goes on or ends as its document says, what was
// recorded until then can be played, and the audit log has it.
func TestRecordingOnFullDisk(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	n.poor("D=" + n.recordings() + "; mkdir -p $D; mount -t tmpfs -o size=64k,mode=700 tmpfs $D")
	n.line("control channel open")
	strict := p.session("Strict", shellWith(`"ssmagent":{"whenRecordingFails":"end"},`))

	pe := sit(t, p.shell(p.url, n.id), 80, 24)
	pe.sees(`[#$] $`)
	first := *p.sessions(types.SessionStateActive, n.id)[0].SessionId
	pe.types("seq 1 20000\n")
	pe.sees(`\[ssmagent: this session is not recorded any more: record the session: .*no space left on device`)
	pe.types("echo go''es on\n")
	pe.sees(`goes on\r`)
	pe.types("exit\n")
	if code := pe.ends(); code != 0 {
		t.Errorf("the client ended with %d", code)
	}
	p.history(n.id, 1)
	if text := n.inside("recordings", "export", "--text", first); !strings.Contains(text, "\n100\n") || strings.Contains(text, "\n20000\n") {
		t.Errorf("recorded %d bytes of text: %.80q", len(text), text)
	}

	pe = sit(t, p.shell(p.url, n.id, "-document", strict), 80, 24)
	_, _ = io.WriteString(pe.in, "seq 1 20000\n") // where the disk has room for a beginning
	pe.sees(`the session (ends|is refused), because it cannot be recorded: .*no space left on device`)
	if code := pe.ends(); code != 255 {
		t.Errorf("the client ended with %d", code)
	}
	n.noShells()
	for id, s := range p.history(n.id, 2) {
		if id != first && (s.Status != types.SessionStatusFailed || !strings.Contains(aws.ToString(s.Details), "cannot be recorded")) {
			t.Errorf("%s: %s", s.Status, aws.ToString(s.Details))
		}
	}
	out := n.inside("audit", "show")
	if got := len(regexp.MustCompile(`(?m)^\S+Z  recording.failed `).FindAllString(out, -1)); got != 2 {
		t.Errorf("%d × recording.failed, want 2:\n%s", got, out)
	}
	n.inside("audit", "verify")
}

// TestSessionNoShell: a node whose shell is gone says so, and keeps the
// sessions it has.
func TestSessionNoShell(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	look := p.well(n)
	n.poor("mount -t tmpfs tmpfs /usr/local/bin; mount -t tmpfs tmpfs /usr/bin")
	n.line("control channel open")
	pe := sit(t, p.shell(p.url, n.id), 80, 24)
	pe.sees(`Unable to start command: there is no sh in PATH`)
	if code := pe.ends(); code != 255 {
		t.Errorf("the client ended with %d", code)
	}
	eventually(t, "the failed session to be told of", func() bool {
		over := p.sessions(types.SessionStateHistory, n.id)
		return len(over) == 1 && over[0].Status == types.SessionStatusFailed && strings.Contains(aws.ToString(over[0].Details), "Unable to start command")
	})
	look()
}
