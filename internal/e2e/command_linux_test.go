package e2e

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
)

// TestMainJobWithTheStockCLI is the whole way through as an administrator
// walks it, with Debian's AWS CLI.
func TestMainJobWithTheStockCLI(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	var act struct{ ActivationId, ActivationCode string }
	p.awsJSON(&act, "ssm", "create-activation", "--iam-role", "lab", "--default-instance-name", "web", "--tags", "Key=site,Value=lab")

	n := &node{t: t, root: t.TempDir()}
	p.configure(n.root, nil)
	o, e, rc := run(t, "amazon-ssm-agent", "-root", n.root, "-register", "-code", act.ActivationCode, "-id", act.ActivationId, "-region", "us-east-1", "-y")
	if rc != 0 || !strings.Contains(o+e, "Successfully registered the instance with AWS SSM using Managed instance-id: mi-") {
		t.Fatalf("register: exit %d\n%s%s", rc, o, e)
	}
	if strings.Contains(o+e, act.ActivationCode) {
		t.Error("the activation code is on the screen")
	}
	n.start()

	var info struct {
		InstanceInformationList []struct{ InstanceId, PingStatus, PlatformType, AgentVersion, Name, ResourceType, ActivationId string }
	}
	eventually(t, "the node to be online", func() bool {
		p.awsJSON(&info, "ssm", "describe-instance-information", "--filters", "Key=tag:site,Values=lab")
		return len(info.InstanceInformationList) == 1 && info.InstanceInformationList[0].PingStatus == "Online" && info.InstanceInformationList[0].PlatformType == "Linux"
	})
	got := info.InstanceInformationList[0]
	if got.Name != "web" || got.ResourceType != "ManagedInstance" || got.ActivationId != act.ActivationId || len(strings.Split(got.AgentVersion, ".")) != 4 {
		t.Errorf("describe-instance-information: %+v", got)
	}
	n.id = got.InstanceId

	var sent struct {
		Command struct{ CommandId, Status, DocumentName string }
	}
	for _, target := range [][]string{{"--instance-ids", n.id}, {"--targets", "Key=tag:site,Values=lab"}} {
		p.awsJSON(&sent, append([]string{"ssm", "send-command", "--document-name", "AWS-RunShellScript",
			"--parameters", `commands=["printf out","printf err >&2","exit 7"]`}, target...)...)
		p.invocation(sent.Command.CommandId, n.id)
		var inv struct {
			Status, StatusDetails, StandardOutputContent, StandardErrorContent, PluginName string
			ResponseCode                                                                   int
		}
		p.awsJSON(&inv, "ssm", "get-command-invocation", "--command-id", sent.Command.CommandId, "--instance-id", n.id)
		if inv.Status != "Failed" || inv.ResponseCode != 7 || inv.StandardOutputContent != "out" ||
			inv.StandardErrorContent != "errfailed to run commands: exit status 7" || inv.PluginName != "aws:runShellScript" {
			t.Errorf("get-command-invocation of %v: %+v", target, inv)
		}
	}
	p.awsJSON(nil, "ssm", "deregister-managed-instance", "--instance-id", n.id)
	_, e, rc = p.aws("ssm", "send-command", "--document-name", "AWS-RunShellScript", "--instance-ids", n.id, "--parameters", "commands=true")
	if rc != 254 || !strings.Contains(e, "InvalidInstanceId") {
		t.Errorf("send-command to a deregistered node: exit %d, %s", rc, e)
	}
}

func TestStdoutStderrAndExitCodeAreTrue(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	for _, tc := range []struct {
		script, stdout, stderr string
		code                   int32
		status                 types.CommandInvocationStatus
	}{
		{"true", "", "", 0, "Success"},
		{"echo hello; echo oops >&2", "hello\n", "oops\n", 0, "Success"},
		{"printf 'grüße \U0001F600'", "grüße \U0001F600", "", 0, "Success"},
		{"echo $AWS_SSM_INSTANCE_ID; exit 3", n.id + "\n", "failed to run commands: exit status 3", 3, "Failed"},
		{"exit 168", "", "", 168, "Success"},
		{"env | grep -c '^AWS_SECRET' || :", "0\n", "", 0, "Success"},
	} {
		inv := p.invocation(p.send(n.id, tc.script), n.id)
		out := aws.ToString(inv.StandardOutputContent)
		if tc.code == 168 {
			out = "" // a note is appended, whose words are not promised
		}
		if out != tc.stdout || aws.ToString(inv.StandardErrorContent) != tc.stderr || inv.ResponseCode != tc.code || inv.Status != tc.status {
			t.Errorf("%s: %q %q %d %s", tc.script, aws.ToString(inv.StandardOutputContent), aws.ToString(inv.StandardErrorContent), inv.ResponseCode, inv.Status)
		}
	}
}

// TestCancelEndsTheWholeTree cancels a script whose children left its process
// group and its session.
func TestCancelEndsTheWholeTree(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	pids := filepath.Join(t.TempDir(), "pids")
	id := p.send(n.id, "echo $$ >>"+pids,
		"setsid sh -c 'echo $$ >>"+pids+"; exec sleep 1000' &",
		"(setsid sh -c 'sleep 1000 & echo $! >>"+pids+"; wait' &)",
		"sleep 1000")
	tree := p.file(pids, 3)
	p.awsJSON(nil, "ssm", "cancel-command", "--command-id", id)
	inv := p.invocation(id, n.id)
	if inv.Status != types.CommandInvocationStatusCancelled {
		t.Errorf("status %s (%s)", inv.Status, aws.ToString(inv.StatusDetails))
	}
	for _, pid := range tree {
		if alive(pid) {
			t.Errorf("process %s of the cancelled command still runs", pid)
		}
	}
}

func TestListsPage(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}})
	want := map[string]bool{}
	for range 3 {
		id := p.send(n.id, "true")
		want[id] = true
		p.invocation(id, n.id)
	}
	var pages int
	got := map[string]bool{}
	for pg := ssm.NewListCommandsPaginator(p.sdk(), &ssm.ListCommandsInput{MaxResults: aws.Int32(1)}); pg.HasMorePages(); pages++ {
		out, err := pg.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range out.Commands {
			got[*c.CommandId] = true
		}
	}
	if len(got) != 3 || pages < 3 {
		t.Errorf("ListCommands: %d commands in %d pages", len(got), pages)
	}
	var list struct{ CommandInvocations []struct{ CommandId string } }
	p.awsJSON(&list, "ssm", "list-command-invocations", "--details", "--page-size", "1")
	if len(list.CommandInvocations) != 3 {
		t.Errorf("list-command-invocations: %d", len(list.CommandInvocations))
	}
	for _, i := range list.CommandInvocations {
		if !want[i.CommandId] {
			t.Errorf("unknown command %s", i.CommandId)
		}
	}
}

// TestErrorsAreTheAPIs checks code and sentence of what an operator does wrong.
func TestErrorsAreTheAPIs(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	c := p.sdk()
	shell := aws.String("AWS-RunShellScript")
	commands := map[string][]string{"commands": {"true"}}
	for _, tc := range []struct {
		name, code, text string
		in               *ssm.SendCommandInput
	}{
		{"unknown document", "InvalidDocument", "No-Such-Document", &ssm.SendCommandInput{DocumentName: aws.String("No-Such-Document"), InstanceIds: []string{n.id}}},
		{"unknown node", "InvalidInstanceId", "mi-0123456789abcdef0", &ssm.SendCommandInput{DocumentName: shell, InstanceIds: []string{"mi-0123456789abcdef0"}, Parameters: commands}},
		{"missing parameter", "InvalidParameters", "commands", &ssm.SendCommandInput{DocumentName: shell, InstanceIds: []string{n.id}}},
		{"surplus parameter", "InvalidParameters", "surplus", &ssm.SendCommandInput{DocumentName: shell, InstanceIds: []string{n.id}, Parameters: map[string][]string{"commands": {"true"}, "surplus": {"x"}}}},
		{"wrong platform", "UnsupportedPlatformType", "", &ssm.SendCommandInput{DocumentName: aws.String("AWS-RunPowerShellScript"), InstanceIds: []string{n.id}, Parameters: commands, DocumentVersion: aws.String("99")}},
	} {
		_, err := c.SendCommand(t.Context(), tc.in)
		var api smithy.APIError
		if !errors.As(err, &api) {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if tc.name == "wrong platform" { // PowerShell runs on Linux too: the version is what is wrong
			tc.code = "InvalidDocumentVersion"
		}
		if api.ErrorCode() != tc.code || !strings.Contains(api.ErrorMessage(), tc.text) {
			t.Errorf("%s: %s: %s", tc.name, api.ErrorCode(), api.ErrorMessage())
		}
	}
	_, err := c.CreateDocument(t.Context(), &ssm.CreateDocumentInput{Name: aws.String("Big"), Content: aws.String(strings.Repeat("x", 10<<20))})
	var api smithy.APIError
	if !errors.As(err, &api) || !strings.Contains(api.ErrorCode(), "MaxDocumentSizeExceeded") {
		t.Errorf("a document of 10 MB: %v", err)
	}
}

// TestRatesByTheStockCLI: one node at a time, and after the first error none.
func TestRatesByTheStockCLI(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	a, b := p.node(&ssm.CreateActivationInput{}), p.node(&ssm.CreateActivationInput{})
	for rates, want := range map[string]struct {
		status string
		errors int
		of     string
	}{
		"1 0":     {"Failed", 1, "Failed Terminated"},
		"50% 50%": {"Failed", 2, "Failed Failed"},
	} {
		concurrency, most, _ := strings.Cut(rates, " ")
		var sent struct{ Command struct{ CommandId string } }
		p.awsJSON(&sent, "ssm", "send-command", "--document-name", "AWS-RunShellScript", "--instance-ids", a.id, b.id, "--parameters", "commands=exit 3",
			"--max-concurrency", concurrency, "--max-errors", most)
		p.invocation(sent.Command.CommandId, a.id)
		p.invocation(sent.Command.CommandId, b.id)
		var listed struct {
			Commands []struct {
				Status, StatusDetails, MaxConcurrency, MaxErrors string
				TargetCount, CompletedCount, ErrorCount          int
			}
		}
		p.awsJSON(&listed, "ssm", "list-commands", "--command-id", sent.Command.CommandId)
		c := listed.Commands[0]
		if c.Status != want.status || c.StatusDetails != want.status || c.TargetCount != 2 || c.CompletedCount != 2 || c.ErrorCount != want.errors || c.MaxConcurrency+" "+c.MaxErrors != rates {
			t.Errorf("%s: %+v", rates, c)
		}
		var details []string
		for _, n := range []*node{a, b} {
			details = append(details, aws.ToString(p.invocation(sent.Command.CommandId, n.id).StatusDetails))
		}
		slices.Sort(details)
		if got := strings.Join(details, " "); got != want.of {
			t.Errorf("%s: %s, want %s", rates, got, want.of)
		}
	}
}
