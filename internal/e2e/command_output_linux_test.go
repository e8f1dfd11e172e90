package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// TestCommandOutput: what a command's step prints is in the bucket and in the
// log group that SendCommand names, as the stock CLI reads it, and a bucket
// that is not there changes no result.
func TestCommandOutput(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	p.awsJSON(nil, "s3", "mb", "s3://lab-out")
	send := func(bucket, group string, script ...string) string {
		out, err := p.sdk().SendCommand(t.Context(), &ssm.SendCommandInput{
			DocumentName: aws.String("AWS-RunShellScript"), InstanceIds: []string{n.id}, Parameters: map[string][]string{"commands": script},
			OutputS3BucketName: &bucket, OutputS3KeyPrefix: aws.String("a/b"),
			CloudWatchOutputConfig: &types.CloudWatchOutputConfig{CloudWatchOutputEnabled: true, CloudWatchLogGroupName: &group},
		})
		if err != nil {
			t.Fatal(err)
		}
		return *out.Command.CommandId
	}
	gate := filepath.Join(t.TempDir(), "gate")
	id := send("lab-out", "/lab/out", "echo first; until [ -e "+gate+" ]; do sleep 0.05; done; echo wrong >&2; head -c 9000000 /dev/zero | tr '\\0' x; printf last")
	stream := id + "/" + n.id + "/aws-runShellScript/"
	eventually(t, "the output to be streamed while the step runs", func() bool {
		o, _, code := p.aws("logs", "get-log-events", "--log-group-name", "/lab/out", "--log-stream-name", stream+"stdout")
		return code == 0 && strings.Contains(o, "first")
	})
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if inv := p.invocation(id, n.id); inv.Status != types.CommandInvocationStatusSuccess || !strings.Contains(aws.ToString(inv.StandardOutputUrl), "/lab-out/a/b/"+id+"/"+n.id+"/awsrunShellScript/") {
		t.Errorf("%s %s", inv.Status, aws.ToString(inv.StandardOutputUrl))
	}
	dir := t.TempDir()
	p.awsJSON(nil, "s3", "cp", "--quiet", "--recursive", "s3://lab-out/a/b/"+id+"/"+n.id+"/awsrunShellScript/", dir)
	for name, want := range map[string]string{"stdout": "first\n" + strings.Repeat("x", 9_000_000) + "last", "stderr": "wrong\n"} {
		found, _ := filepath.Glob(filepath.Join(dir, "*", name))
		if len(found) != 1 {
			t.Fatalf("%s: %q", name, found)
		}
		if b, err := os.ReadFile(found[0]); err != nil || string(b) != want {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
	if got := p.messages("/lab/out", stream+"stderr"); len(got) != 1 || got[0] != "wrong" {
		t.Errorf("%q", got)
	}
	id = send("no-such-bucket", "/lab/out", "echo all the same")
	if inv := p.invocation(id, n.id); inv.Status != types.CommandInvocationStatusSuccess || aws.ToString(inv.StandardOutputContent) != "all the same\n" {
		t.Errorf("%s %q", inv.Status, aws.ToString(inv.StandardOutputContent))
	}
	n.line("stdout is not uploaded: upload s3://no-such-bucket/")
}
