package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// messy changes all that a script can change of itself, and takes a parameter
// that is nobody else's.
const messy = `{"schemaVersion":"2.2","parameters":{"word":{"type":"String","interpolationType":"ENV_VAR"}},"mainSteps":[
	{"action":"aws:runShellScript","name":"mess","inputs":{"workingDirectory":"/","environment":{"GIVEN":"behind"},"runCommand":[
	"umask 0777; cd /tmp; ulimit -n 77; ulimit -c 0; trap '' HUP INT TERM PIPE; export LEFT=behind",
	"exec 7</dev/zero; echo 600 >/proc/self/oom_score_adj; echo $SSM_word"]}}]}`

// probe says what a script finds of itself and of its worker, which leads its
// session.
func probe() []string {
	return []string{
		"worker=$(cut -d' ' -f6 /proc/$$/stat); echo worker $worker",
		"echo directory $(pwd); umask; ulimit -a; env | sort; cat /proc/self/cgroup /proc/self/oom_score_adj",
		"grep -E '^(Sig(Blk|Ign|Cgt)|Cap|NoNewPrivs|Seccomp|Uid|Gid|Groups|Cpus_allowed)' /proc/self/status",
		// Not into a pipe, which the shell would have open; of the worker not what it only hands to us.
		"ls -l /proc/$$/fd >$0.fds; sed -n 's/:\\[.*//; s/.*->/script has/p' $0.fds | sort",
		"ls -l /proc/$worker/fd >$0.fds; sed -n 's/:\\[.*//; s/.*->/worker has/p' $0.fds | grep -v /dev/null | sort -u",
		"cat /proc/$worker/limits /proc/$worker/oom_score_adj; tr '\\0' '\\n' </proc/$worker/environ | sort; readlink /proc/$worker/cwd",
		"grep -E '^(Sig(Ign|Cgt)|Umask)' /proc/$worker/status",
	}
}

// TestNothingOfAJobReachesTheNext: a script finds the same after another one in
// the same worker as it does alone in a new one.
func TestNothingOfAJobReachesTheNext(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	n.term()
	p.configure(n.root, map[string]any{"Mds": map[string]any{"Endpoint": p.url, "CommandWorkersLimit": 1}})
	n.start()
	p.online(n.id)
	if _, err := p.sdk().CreateDocument(t.Context(), &ssm.CreateDocumentInput{
		Name: aws.String("Messy"), Content: aws.String(messy), DocumentType: types.DocumentTypeCommand}); err != nil {
		t.Fatal(err)
	}
	found := func(id string) (worker, rest string) {
		t.Helper()
		inv := p.invocation(id, n.id)
		out := strings.ReplaceAll(aws.ToString(inv.StandardOutputContent), id, "COMMAND")
		worker, rest, _ = strings.Cut(out, "\n")
		if inv.Status != types.CommandInvocationStatusSuccess || !strings.HasPrefix(worker, "worker ") {
			t.Fatalf("%s: %q %q", inv.Status, out, aws.ToString(inv.StandardErrorContent))
		}
		return worker, rest
	}
	alone, want := found(p.send(n.id, probe()...))
	eventually(t, "the worker to end", func() bool { return len(workersOf(n.root)) == 0 })

	g := newGate(t)
	first := p.send(n.id, append([]string{"echo worker $(cut -d' ' -f6 /proc/$$/stat)"}, g.script()...)...)
	p.file(g.ran, 1)
	sent, err := p.sdk().SendCommand(t.Context(), &ssm.SendCommandInput{DocumentName: aws.String("Messy"),
		InstanceIds: []string{n.id}, Parameters: map[string][]string{"word": {"secret-of-the-first"}}})
	if err != nil {
		t.Fatal(err)
	}
	mess := *sent.Command.CommandId
	probed := p.send(n.id, probe()...)
	eventually(t, "both to wait", func() bool { return n.listed(mess) == "Pending" && n.listed(probed) == "Pending" })
	g.release(t)
	one, _ := found(first)
	if inv := p.invocation(mess, n.id); inv.Status != types.CommandInvocationStatusSuccess || aws.ToString(inv.StandardOutputContent) != "secret-of-the-first\n" {
		t.Errorf("%s: %q %q", inv.Status, aws.ToString(inv.StandardOutputContent), aws.ToString(inv.StandardErrorContent))
	}
	three, got := found(probed)
	if one != three || one == alone {
		t.Errorf("alone %s, the first %s, the third %s", alone, one, three)
	}
	if got != want {
		t.Errorf("after another job:\n%s\nalone:\n%s", got, want)
	}
	eventually(t, "the worker to end", func() bool { return len(workersOf(n.root)) == 0 })
	if left := processes(filepath.Join(n.root, "var/lib/amazon/ssm")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
