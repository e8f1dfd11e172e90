package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// logged makes a session document with these inputs.
func (p *plane) logged(name, inputs string) string {
	p.t.Helper()
	content := `{"schemaVersion":"1.0","description":"x","sessionType":"Standard_Stream","inputs":{"shellProfile":{"linux":"PS1='[prompt] '"},` + inputs + `}}`
	if _, err := p.sdk().CreateDocument(p.t.Context(), &ssm.CreateDocumentInput{Name: &name, Content: &content, DocumentType: types.DocumentTypeSession}); err != nil {
		p.t.Fatal(err)
	}
	return name
}

// TestSessionLogs: what a session prints is where its document wants it, as
// the stock CLI reads it: in a bucket, in a log stream at the end, and
// streamed while it runs.
func TestSessionLogs(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	p.awsJSON(nil, "s3", "mb", "s3://lab-logs")
	p.awsJSON(nil, "logs", "create-log-group", "--log-group-name", "/lab")
	atEnd := p.logged("AtEnd", `"s3BucketName":"lab-logs","s3KeyPrefix":"/some//where/","s3EncryptionEnabled":"true","cloudWatchLogGroupName":"/lab"`)
	streamed := p.logged("Streamed", `"cloudWatchLogGroupName":"/lab","cloudWatchStreamingEnabled":true`)

	open := func(doc string) (pe *person, id string) {
		pe = sit(t, p.shell(p.url, n.id, "-document", doc), 132, 43)
		id = pe.sees(`session (\S+) on ` + n.id)[1]
		pe.sees(`[\n ]\[prompt\] `) // not what the profile was typed as
		pe.types("echo $((6*7)) 'grüße'; printf '\\033[31mred\\033[0m\\n'\n")
		pe.sees(`\nred?|red`)
		return pe, id
	}
	first, one := open(atEnd)
	second, two := open(streamed)
	eventually(t, "the session to be streamed while it runs", func() bool {
		o, _, code := p.aws("logs", "get-log-events", "--log-group-name", "/lab", "--log-stream-name", two)
		return code == 0 && strings.Contains(o, "42 grüße")
	})
	first.types("exit\n")
	second.types("echo last; exit\n")
	first.ends()
	second.ends()
	ended := p.history(n.id, 2)

	copied := filepath.Join(t.TempDir(), "log")
	p.awsJSON(nil, "s3", "cp", "--quiet", "s3://lab-logs/some/where/"+one+".log", copied)
	b, err := os.ReadFile(copied)
	if text := string(b); err != nil || !strings.HasPrefix(text, "Script started on ") || !strings.Contains(text, "\r\n42 grüße\r\n") || !strings.Contains(text, "\x1b[31mred") || !strings.Contains(text, "\nScript done on ") {
		t.Errorf("%q %v", b, err)
	}
	if u := ended[one].OutputUrl; u == nil || aws.ToString(u.S3OutputUrl) != "s3://lab-logs/some/where/"+one+".log" || aws.ToString(u.CloudWatchOutputUrl) != "/lab:"+one {
		t.Errorf("%+v", ended[one])
	}
	if text := strings.Join(p.messages("/lab", one), "\n"); !strings.Contains(text, "\n42 grüße\n") || strings.Contains(text, "\r\n") {
		t.Errorf("%q", text)
	}
	var lines []string
	for _, m := range p.messages("/lab", two) {
		var e struct {
			EventVersion, AwsRegion, SessionID string
			Target                             struct{ ID string }
			UserIdentity                       struct{ ARN string }
			SessionData                        []string
		}
		if err := json.Unmarshal([]byte(m), &e); err != nil || e.EventVersion != "1.0" || e.AwsRegion != "us-east-1" || e.SessionID != two || e.Target.ID != n.id || !strings.HasPrefix(e.UserIdentity.ARN, "arn:") {
			t.Errorf("%s %v", m, err)
		}
		lines = append(lines, e.SessionData...)
	}
	if text := "\n" + strings.Join(lines, "\n") + "\n"; !strings.Contains(text, "\n42 grüße\nred\n") || strings.Count(text, "42 grüße") != 1 || !strings.Contains(text, "\nlast\n") {
		t.Errorf("%q", text)
	}
}

// TestSessionLogsRefused: a session whose log cannot be what its document
// demands does not start, one whose log does not get through ends as it would.
func TestSessionLogsRefused(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	n := p.node(&ssm.CreateActivationInput{})
	for i, v := range []struct{ inputs, says string }{
		{`"s3BucketName":"no-such-bucket","s3EncryptionEnabled":true`, "encrypted bucket"},
		{`"cloudWatchLogGroupName":"/none","cloudWatchEncryptionEnabled":true`, "encrypted log group"},
	} {
		pe := sit(t, p.shell(p.url, n.id, "-document", p.logged(fmt.Sprintf("Refused%d", i), v.inputs)), 80, 24)
		pe.sees(v.says)
		if code := pe.ends(); code == 0 {
			t.Error("the client ended with 0")
		}
	}
	pe := sit(t, p.shell(p.url, n.id, "-document", p.logged("Lost", `"s3BucketName":"no-such-bucket","cloudWatchLogGroupName":"/none","cloudWatchStreamingEnabled":true`)), 80, 24)
	id := pe.sees(`session (\S+) on ` + n.id)[1]
	pe.sees("not streamed to CloudWatch Logs: log group /none does not exist")
	pe.types("exit 5\n")
	if code := pe.ends(); code != 5 {
		t.Errorf("the client ended with %d", code)
	}
	p.history(n.id, 3)
	kept, err := filepath.Glob(filepath.Join(n.root, "var/lib/amazon/ssm", n.id, "session/orchestration", id, "Standard_Stream", "ipcTempFile.log"))
	if err != nil || len(kept) != 1 {
		t.Errorf("%q %v", kept, err)
	}
}
