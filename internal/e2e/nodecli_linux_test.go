package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"ssmagent/platform/proc/proctest"
)

// ssmCLI runs ssm-cli on the node.
func (n *node) ssmCLI(args ...string) (stdout, stderr string, code int) {
	n.t.Helper()
	return run(n.t, "ssm-cli", append([]string{"-root", n.root}, args...)...)
}

// document writes a document for run-document.
func document(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// greet is a document with a parameter, a step for another system, and an exit
// code.
const greet = `schemaVersion: "2.2"
parameters:
  who: {type: String, default: nobody, allowedPattern: "^[a-z]+$"}
  lines: {type: StringList, default: []}
mainSteps:
- {action: aws:runShellScript, name: hello, inputs: {runCommand: ["echo hello {{who}}", "echo warned >&2"]}}
- {action: aws:runPowerShellScript, name: windows, precondition: {StringEquals: [platformType, Windows]}, inputs: {runCommand: [dir]}}
- {action: aws:runShellScript, name: more, inputs: {runCommand: "{{lines}}"}}
`

// listed is the command's status in `commands list`.
func (n *node) listed(id string) string {
	n.t.Helper()
	o, e, rc := n.ssmCLI("commands", "list", "--output", "json")
	var all []struct{ ID, Status string }
	if err := json.Unmarshal([]byte(o), &all); rc != 0 || err != nil {
		n.t.Fatalf("commands list: exit %d, %v\n%s%s", rc, err, o, e)
	}
	for _, c := range all {
		if c.ID == id {
			return c.Status
		}
	}
	return ""
}

// TestRunDocumentFromTheCommandLine runs a document from the node's command line, with the
// control plane gone, and looks at it afterwards.
func TestRunDocumentFromTheCommandLine(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	p.kill()
	file := document(t, "greet.yaml", greet)
	o, e, rc := n.ssmCLI("run-document", file, "--parameters", `{"who":"world","lines":["echo more","exit 7"]}`)
	if rc != 7 {
		t.Fatalf("exit %d\n%s%s", rc, o, e)
	}
	for _, want := range []string{"hello world", "warned", "more", "aws:runPowerShellScript", "Skipped", "Failed. Command "} {
		if !strings.Contains(o, want) {
			t.Errorf("no %q in\n%s", want, o)
		}
	}
	id := strings.TrimSuffix(strings.Fields(o[strings.Index(o, "Command "):])[1], ",")
	if s := n.listed(id); s != "Failed" {
		t.Errorf("listed as %q", s)
	}
	o, e, rc = n.ssmCLI("commands", "show", id)
	if rc != 0 || !strings.Contains(o, "greet.yaml") || !strings.Contains(o, "ssm-cli") || !strings.Contains(o, filepath.Join(n.root, "var")) {
		t.Errorf("show: exit %d\n%s%s", rc, o, e)
	}
	var shown struct {
		Status  string
		Results []struct {
			ID, Status string
			Code       int
		}
	}
	o, _, rc = n.ssmCLI("commands", "show", id, "--output", "json")
	if err := json.Unmarshal([]byte(o), &shown); rc != 0 || err != nil || shown.Status != "Failed" || len(shown.Results) != 3 || shown.Results[2].Code != 7 {
		t.Errorf("show --output json: exit %d, %v\n%s", rc, err, o)
	}
	var ran struct {
		Command, Status string
		Results         []struct{ StandardOutput string }
	}
	o, e, rc = n.ssmCLI("run-document", file, "--output", "json")
	if err := json.Unmarshal([]byte(o), &ran); rc != 0 || err != nil || ran.Status != "Success" || len(ran.Results) != 3 || ran.Results[0].StandardOutput != "hello nobody\n" {
		t.Errorf("run-document --output json: exit %d, %v\n%s%s", rc, err, o, e)
	}
	o, _, rc = n.ssmCLI("commands", "list")
	if rc != 0 || !strings.Contains(o, "COMMAND") || strings.Index(o, ran.Command) > strings.Index(o, id) {
		t.Errorf("the last one does not come first: exit %d\n%s", rc, o)
	}
	if o, _, rc = n.ssmCLI("audit", "show"); rc != 0 || strings.Count(o, id) != 2 || !strings.Contains(o, "status=Failed") {
		t.Errorf("audit: exit %d\n%s", rc, o)
	}
	n.term() // what has ended is known to the next agent too
	n.start()
	n.line("agent started")
	eventually(t, "the next agent to answer", func() bool { _, _, rc := n.ssmCLI("commands", "list"); return rc == 0 })
	if s := n.listed(id); s != "Failed" {
		t.Errorf("after a restart listed as %q", s)
	}
}

// TestDryRun prints what a document would do, with an agent and without one,
// and runs nothing.
func TestDryRun(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	ran := filepath.Join(t.TempDir(), "ran")
	file := document(t, "greet.yaml", greet)
	if _, err := p.sdk().PutParameter(t.Context(), &ssm.PutParameterInput{Name: aws.String("motto"), Type: types.ParameterTypeString, Value: aws.String("be right")}); err != nil {
		t.Fatal(err)
	}
	refers := document(t, "refers.json", `{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"a","inputs":{"runCommand":["echo {{ssm:motto}}"]}}]}`)
	if o, e, rc := n.ssmCLI("run-document", refers, "--dry-run"); rc != 0 || !strings.Contains(o, "echo be right") {
		t.Errorf("a reference: exit %d\n%s%s", rc, o, e)
	}
	for _, agent := range []string{"there", "gone"} {
		if agent == "gone" {
			n.term()
		}
		o, e, rc := n.ssmCLI("run-document", "--dry-run", file, "--parameters", `{"who":"world","lines":["touch `+ran+`"]}`)
		if rc != 0 || !strings.Contains(o, "echo hello world") || !strings.Contains(o, "touch "+ran) || !strings.Contains(o, "Nothing was run") {
			t.Errorf("agent %s: exit %d\n%s%s", agent, rc, o, e)
		}
		var plan []struct{ Step, Would, Why string }
		o, e, rc = n.ssmCLI("run-document", file, "--dry-run", "--output", "json")
		if err := json.Unmarshal([]byte(o), &plan); rc != 0 || err != nil || len(plan) != 3 {
			t.Fatalf("agent %s: exit %d, %v\n%s%s", agent, rc, err, o, e)
		}
		if plan[0].Would != "run" || plan[1].Would != "skip" || !strings.Contains(plan[1].Why, "windows") || plan[2].Would != "run" {
			t.Errorf("agent %s: %+v", agent, plan)
		}
		if _, e, rc = n.ssmCLI("run-document", file, "--dry-run", "--parameters", `{"who":"W;"}`); rc != 255 || !strings.Contains(e, "who") {
			t.Errorf("agent %s: a value that is not allowed: exit %d %s", agent, rc, e)
		}
	}
	if _, e, rc := n.ssmCLI("run-document", refers, "--dry-run"); rc != 255 || !strings.Contains(e, "no Parameter Store is reachable") {
		t.Errorf("a reference without an agent: exit %d %s", rc, e)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("the dry run ran something")
	}
}

// tree is a document that leaves its session, starts children, and stays;
// marker gets the ids of the processes.
func tree(marker string) string {
	return `{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"tree","inputs":{"runCommand":[` +
		`"(trap '' TERM; sleep 1000) & echo $! >>` + marker + `","setsid sh -c 'sleep 1000 & echo $! >>` + marker + `; wait' &","echo $$ >>` + marker + `","echo begun","wait"]}}]}`
}

// TestCommandsCancel cancels a running document from the command line; nothing
// of it stays, and who ran it is told.
func TestCommandsCancel(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	for _, by := range []string{"commands cancel", "Ctrl-C"} {
		marker := filepath.Join(t.TempDir(), "pids")
		runner := start(t, "ssm-cli", "-root", n.root, "run-document", document(t, "tree.json", tree(marker)))
		pids := p.file(marker, 3)
		id := runningOne(n)
		if o, _, rc := n.ssmCLI("commands", "show", id); rc != 0 || !strings.Contains(o, "InProgress") || !strings.Contains(o, "(0 of 1 steps)") {
			t.Errorf("show: exit %d\n%s", rc, o)
		}
		if by == "Ctrl-C" {
			if err := runner.cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		} else if o, e, rc := n.ssmCLI("commands", "cancel", id); rc != 0 || !strings.Contains(o, "Cancelled") {
			t.Errorf("cancel: exit %d\n%s%s", rc, o, e)
		}
		runner.wait()
		if rc := runner.cmd.ProcessState.ExitCode(); rc != 255 {
			t.Errorf("%s: exit %d", by, rc)
		}
		runner.line("Cancelled. Command " + id)
		for _, pid := range pids {
			if alive(pid) {
				t.Errorf("%s: process %s is left", by, pid)
			}
		}
		if s := n.listed(id); s != "Cancelled" {
			t.Errorf("%s: listed as %q", by, s)
		}
		if _, e, rc := n.ssmCLI("commands", "cancel", id); rc != 255 || !strings.Contains(e, "nothing to cancel") {
			t.Errorf("%s: cancelled twice: exit %d, %s", by, rc, e)
		}
	}
}

// runningOne is the id of the one command that runs.
func runningOne(n *node) string {
	n.t.Helper()
	o, _, rc := n.ssmCLI("commands", "list", "--output", "json")
	var all []struct{ ID, Status string }
	if err := json.Unmarshal([]byte(o), &all); rc != 0 || err != nil || len(all) == 0 || all[0].Status != "InProgress" {
		n.t.Fatalf("exit %d, %v\n%s", rc, err, o)
	}
	return all[0].ID
}

// TestCommandsOfTheService shows and cancels what came from the control plane,
// running and waiting.
func TestCommandsOfTheService(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	n.term()
	p.configure(n.root, map[string]any{"Mds": map[string]any{"Endpoint": p.url, "CommandWorkersLimit": 1}})
	n.start()
	p.online(n.id)
	marker := filepath.Join(t.TempDir(), "ran")
	first := p.send(n.id, "echo first; echo $$ >>"+marker+"; sleep 1000")
	p.file(marker, 1)
	second := p.send(n.id, "touch "+marker+".second")
	eventually(t, "the second to wait", func() bool { return n.listed(second) == "Pending" })
	o, _, rc := n.ssmCLI("commands", "list")
	if rc != 0 || !strings.Contains(o, "AWS-RunShellScript") || !strings.Contains(o, "ssmmessages") || n.listed(first) != "InProgress" {
		t.Errorf("list: exit %d\n%s", rc, o)
	}
	for _, id := range []string{second, first} {
		if o, e, rc := n.ssmCLI("commands", "cancel", id); rc != 0 || !strings.Contains(o, "Cancelled") {
			t.Errorf("cancel: exit %d\n%s%s", rc, o, e)
		}
		if inv := p.invocation(id, n.id); inv.Status != "Cancelled" {
			t.Errorf("the service has %s %s", inv.Status, aws.ToString(inv.StatusDetails))
		}
	}
	if _, err := os.Stat(marker + ".second"); err == nil {
		t.Error("a command ran that was cancelled while it waited")
	}
}

// TestCommandLineWithoutAgent: every word that needs the agent says that it is
// missing, and nothing hangs.
func TestCommandLineWithoutAgent(t *testing.T) {
	t.Parallel()
	n := &node{t: t, root: t.TempDir()}
	file := document(t, "greet.yaml", greet)
	for _, args := range [][]string{{"commands", "list"}, {"commands", "show", "x"}, {"commands", "cancel", "x"}, {"run-document", file}} {
		o, e, rc := n.ssmCLI(args...)
		if rc != 255 || !strings.Contains(e, "the agent is not running") || o != "" {
			t.Errorf("%v: exit %d, %q %q", args, rc, o, e)
		}
	}
	o, _, rc := n.ssmCLI("send-offline-command", "--content", `{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"a","inputs":{}}]}`)
	if rc != 255 || !strings.Contains(o, "failed to submit document: timed out") {
		t.Errorf("send-offline-command: exit %d, %s", rc, o)
	}
	if left, err := filepath.Glob(filepath.Join(n.root, "var/lib/amazon/ssm/localcommands/*-*")); err != nil || len(left) != 0 {
		t.Errorf("the document is not withdrawn: %v %v", left, err)
	}
}

// TestCommandLineIsNotTrusted hands the command line what it must not take.
func TestCommandLineIsNotTrusted(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	deep := `{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"a","inputs":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}]}`
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'j'; c++ {
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+",", 9) + "]\n"
	}
	bomb += "schemaVersion: '2.2'\nmainSteps: [{action: 'aws:runShellScript', name: a, inputs: {runCommand: *i}}]\n"
	named := func(name string) string {
		return `{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":` + strconv.Quote(name) + `,"inputs":{"runCommand":["true"]}}]}`
	}
	for _, tc := range []struct{ name, text, says string }{
		{"binary", "\x7fELF\x00\x01\x02", "cannot be decoded"},
		{"empty", "", "schema"},
		{"no document", `{"a":1}`, "schema"},
		{"large", strings.Repeat(" ", 1<<20) + "{}", "more than 1048576 bytes"},
		{"deep", deep, "depth"},
		{"bomb", bomb, "alias"},
		{"traversal", named("../../x"), "name"},
		{"NUL", strings.Replace(named("aXb"), "aXb", `a\u0000b`, 1), "name"},
		{"long", named(strings.Repeat("n", 300)), "name"},
	} {
		o, e, rc := n.ssmCLI("run-document", document(t, "d", tc.text))
		if rc != 255 || !strings.Contains(e, tc.says) {
			t.Errorf("%s: exit %d, %.300q %.300q", tc.name, rc, o, e)
		}
	}
	for _, args := range [][]string{
		{"commands"}, {"commands", "explode"}, {"commands", "show"}, {"commands", "list", "x"}, {"commands", "list", "--output", "xml"},
		{"run-document"}, {"run-document", "a", "b"}, {"run-document", "a", "--parameters", "[1]"},
	} {
		if o, e, rc := n.ssmCLI(args...); rc != 2 {
			t.Errorf("%v: exit %d, %s%s", args, rc, o, e)
		}
	}
	for _, id := range []string{"nobody", "../../../etc", strings.Repeat("x", 300), "a\nb"} {
		for _, word := range []string{"show", "cancel"} {
			if o, e, rc := n.ssmCLI("commands", word, id); rc != 255 || !strings.Contains(e, "no command") {
				t.Errorf("%s %.20q: exit %d, %s%s", word, id, rc, o, e)
			}
		}
	}
	if _, e, rc := n.ssmCLI("run-document", n.root); rc != 255 || !strings.Contains(e, "directory") {
		t.Errorf("a directory: exit %d, %s", rc, e)
	}
	if _, e, rc := n.ssmCLI("run-document", filepath.Join(n.root, "missing")); rc != 255 || !strings.Contains(e, "no such file") {
		t.Errorf("no file: exit %d, %s", rc, e)
	}
	if s := n.listed("x"); s != "" || len(processes(n.root)) != 1 {
		t.Errorf("something is left: %v", processes(n.root))
	}
}

// TestLocalSocketIsForRoot opens the socket to everybody: the agent still
// answers only root and its own user.
func TestLocalSocketIsForRoot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		unable(t, "root, to become another user")
	}
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	socket := filepath.Join(n.root, "var", "lib", "amazon", "ssm", "ipc", "agent")
	if fi, err := os.Stat(filepath.Dir(socket)); err != nil || fi.Mode().Perm() != 0o700 {
		t.Fatalf("the directory of the socket: %v %v", fi, err)
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(socket); dir != filepath.Clean(os.TempDir()) && dir != "/"; dir = filepath.Dir(dir) {
		if fi, err := os.Stat(dir); err == nil && fi.Mode().Perm()&1 == 0 {
			if err := os.Chmod(dir, fi.Mode().Perm()|0o111); err != nil {
				t.Fatal(err)
			}
		}
	}
	program, err := filepath.EvalSymlinks(filepath.Join(bin, "ssm-cli"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.MkdirTemp("", "ssmagent-public-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(public) })
	if err := os.Chmod(public, 0o755); err != nil {
		t.Fatal(err)
	}
	proctest.Plant(t, filepath.Join(public, "ssm-cli"), b)
	cmd := exec.Command(filepath.Join(public, "ssm-cli"), "-root", n.root, "commands", "list")
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "is not the agent") && !strings.Contains(string(out), "may not do this") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestSendOfflineCommand uses the stock words for documents without a service.
func TestSendOfflineCommand(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	p.kill()
	ran := filepath.Join(t.TempDir(), "ran")
	text := `{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"one","inputs":{"runCommand":["echo $SSM_COMMAND_ID >>` + ran + `"]}}]}`
	for i, content := range []string{text, "file://" + document(t, "d.json", text)} {
		o, e, rc := n.ssmCLI("send-offline-command", "--content", content)
		id := strings.TrimSpace(strings.TrimPrefix(o, "successfully submitted with command id: "))
		if rc != 0 || len(id) != 36 {
			t.Fatalf("exit %d\n%s%s", rc, o, e)
		}
		if got := p.file(ran, i+1)[i]; got != id {
			t.Errorf("said %s, ran as %s", id, got)
		}
		eventually(t, "the reply", func() bool {
			o, _, rc := n.ssmCLI("get-offline-command-invocation", "--command-id", id, "--details")
			return rc == 0 && o == "Complete\n"
		})
		if s := n.listed(id); s != "Success" {
			t.Errorf("listed as %q", s)
		}
	}
	for _, content := range []string{"", "no", "{}", `{"schemaVersion":"9"}`, "ftp://x/y", "file:///nowhere", "file://" + n.root} {
		if o, _, rc := n.ssmCLI("send-offline-command", "--content", content); rc != 255 || !strings.Contains(o, "error: ") {
			t.Errorf("%q: exit %d, %s", content, rc, o)
		}
	}
	wrong := `{"schemaVersion":"2.2","mainSteps":[{"action":"aws:runShellScript","name":"../x","inputs":{}}]}`
	if o, _, rc := n.ssmCLI("send-offline-command", "--content", wrong); rc != 255 || !strings.Contains(o, "document was invalid") {
		t.Errorf("exit %d, %s", rc, o)
	}
	unknown := "00000000-0000-4000-8000-000000000000"
	if o, _, rc := n.ssmCLI("get-offline-command-invocation", "--command-id", unknown); rc != 255 || !strings.Contains(o, "No status found for command ID "+unknown) {
		t.Errorf("exit %d, %s", rc, o)
	}
}
