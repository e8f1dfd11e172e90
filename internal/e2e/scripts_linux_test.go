package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// TestScriptsThatMisbehave: what a script does to its streams and children
// neither hangs its step nor hides its end.
func TestScriptsThatMisbehave(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	for _, tc := range []struct {
		name   string
		script []string
		status types.CommandInvocationStatus
		code   int32
		says   string
	}{
		{"closes its output", []string{"echo before", "exec >&- 2>&-", "sleep 0.1", "exit 5"}, types.CommandInvocationStatusFailed, 5, "before\n"},
		{"writes binary", []string{`head -c 100000 /dev/urandom`, "echo; echo end"}, types.CommandInvocationStatusSuccess, 0, ""},
		{"leaves a child with the pipe", []string{"sleep 3 &", "echo parent"}, types.CommandInvocationStatusSuccess, 0, "parent\n"},
		{"leaves its session", []string{"setsid sh -c 'echo inner; exit 7'", "exit $?"}, types.CommandInvocationStatusFailed, 7, "inner\n"},
		{"forks 200 deep", []string{`f() { [ $1 = 0 ] && echo deep || sh -c "$body" x $(($1-1)); }`,
			`body='[ $1 = 0 ] && echo deep || sh -c "$body" x $(($1-1))'; export body`, `sh -c "$body" x 200`}, types.CommandInvocationStatusSuccess, 0, "deep\n"},
	} {
		inv := p.invocation(p.send(n.id, tc.script...), n.id)
		if inv.Status != tc.status || inv.ResponseCode != tc.code || !strings.HasPrefix(aws.ToString(inv.StandardOutputContent), tc.says) {
			t.Errorf("%s: %s %d %.80q %.200q", tc.name, inv.Status, inv.ResponseCode, aws.ToString(inv.StandardOutputContent), aws.ToString(inv.StandardErrorContent))
		}
	}
}

// TestCancelOfScriptsThatResist ends what ignores signals, left its session
// and sits 200 processes deep.
func TestCancelOfScriptsThatResist(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	ran := filepath.Join(t.TempDir(), "ran")
	id := p.send(n.id, "trap '' TERM INT HUP", "setsid sh -c 'trap \"\" TERM; echo $$ >>"+ran+"; while :; do sleep 1000; done' &",
		`body='[ $1 = 0 ] && { echo $$ >>`+ran+`; sleep 1000; } || { sh -c "$body" x $(($1-1)); :; }'; export body`,
		`sh -c "$body" x 200`)
	pids := p.file(ran, 2)
	if _, err := p.sdk().CancelCommand(t.Context(), &ssm.CancelCommandInput{CommandId: &id}); err != nil {
		t.Fatal(err)
	}
	if inv := p.invocation(id, n.id); inv.Status != types.CommandInvocationStatusCancelled {
		t.Errorf("%s: %q", inv.Status, aws.ToString(inv.StandardErrorContent))
	}
	for _, pid := range pids {
		eventually(t, pid+" to be gone", func() bool { return !alive(pid) })
	}
}

// poor starts the node's agent anew on a machine that the script made poor.
func (n *node) poor(script string) {
	n.t.Helper()
	n.term()
	n.startWith(script)
}

// startWith starts the node's agent in a mount namespace of its own, after the
// script there. Nothing of that is seen outside.
func (n *node) startWith(script string) {
	n.t.Helper()
	if os.Getuid() != 0 || exec.Command("unshare", "-m", "true").Run() != nil {
		unable(n.t, "root and a mount namespace of its own")
	}
	n.program = startAs(n.t, exec.Command("unshare", "-m", "--propagation", "private", "sh", "-ec", script+`; exec "$@"`, "sh",
		filepath.Join(bin, "amazon-ssm-agent"), "-root", n.root))
}

// TestPoorMachines: a machine that lacks something says what, each in its own
// words, and reports no success.
func TestPoorMachines(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, mount, script, says string }{
		{"full disk", "mkdir -p $O; mount -t tmpfs -o size=1m tmpfs $O", "head -c 3000000 /dev/zero; echo end", "the step's output is not complete"},
		{"read-only output", "mkdir -p $O; mount -t tmpfs -o ro tmpfs $O", "echo hello", "read-only file system"},
		{"noexec", "mkdir -p $O; mount -t tmpfs -o noexec tmpfs $O", "echo hello", "ermission denied"},
		{"no shell", "mount --bind /dev/null /bin/sh", "echo hello", "failed to run commands"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPlane(t)
			n := p.node(&ssm.CreateActivationInput{})
			n.poor("O=" + filepath.Join(n.root, "var/lib/amazon/ssm", n.id, "document/orchestration") + "; " + tc.mount)
			n.line("control channel open")
			inv := p.invocation(p.send(n.id, tc.script), n.id)
			said := aws.ToString(inv.StandardOutputContent) + aws.ToString(inv.StandardErrorContent)
			if inv.Status != types.CommandInvocationStatusFailed || !strings.Contains(said, tc.says) {
				t.Errorf("%s: %.300q lacks %q", inv.Status, strings.Trim(said, "\x00"), tc.says)
			}
		})
	}
}

// TestReadOnlyState: an agent that can keep nothing says so and does not run.
func TestReadOnlyState(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	n.poor("D=" + filepath.Join(n.root, "var") + "; mount --bind $D $D; mount -o remount,ro,bind $D")
	n.line("read-only file system")
	n.wait()
	if n.cmd.ProcessState.ExitCode() == 0 {
		t.Error("it ended as if all were well")
	}
}
