package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestObjectStore: the stock CLI moves files both ways, in one piece and in
// parts, lists and removes them.
func TestObjectStore(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	ok := func(args ...string) string {
		t.Helper()
		o, e, code := p.aws(args...)
		if code != 0 {
			t.Fatalf("aws %s: exit %d\n%s", strings.Join(args, " "), code, e)
		}
		return o
	}
	ok("s3", "mb", "s3://lab-bucket")
	dir := t.TempDir()
	for name, size := range map[string]int{"small": 17, "empty": 0, "large": 20 << 20} {
		content := make([]byte, size)
		_, _ = rand.Read(content)
		from, to, back := filepath.Join(dir, name), "s3://lab-bucket/dir x/"+name, filepath.Join(dir, name+".back")
		if err := os.WriteFile(from, content, 0o600); err != nil {
			t.Fatal(err)
		}
		ok("s3", "cp", "--no-progress", from, to)
		ok("s3", "cp", "--no-progress", to, back)
		if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes came back, %v", name, len(got), err)
		}
	}
	if o := ok("s3", "ls", "s3://lab-bucket/"); !strings.Contains(o, "PRE dir x/") {
		t.Error(o)
	}
	if o := ok("s3", "ls", "--recursive", "s3://lab-bucket/"); !strings.Contains(o, "20971520 dir x/large") || strings.Count(o, "\n") != 3 {
		t.Error(o)
	}
	ok("s3", "cp", "--no-progress", "s3://lab-bucket/dir x/large", "s3://lab-bucket/copy") // by the server, in parts
	var head struct {
		ContentLength        int
		ServerSideEncryption string
	}
	if err := json.Unmarshal([]byte(ok("s3api", "head-object", "--bucket", "lab-bucket", "--key", "copy")), &head); err != nil || head.ContentLength != 20<<20 || head.ServerSideEncryption != "AES256" {
		t.Errorf("%+v %v", head, err)
	}
	if _, e, code := p.aws("s3", "rb", "s3://lab-bucket"); code == 0 || !strings.Contains(e, "BucketNotEmpty") {
		t.Errorf("exit %d, %s", code, e)
	}
	ok("s3", "rm", "--recursive", "s3://lab-bucket/dir x/")
	ok("s3", "rb", "--force", "s3://lab-bucket")
}

// TestLogStore: the stock CLI makes groups and streams, puts events and reads
// them back.
func TestLogStore(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.awsJSON(nil, "logs", "create-log-group", "--log-group-name", "/lab/one")
	p.awsJSON(nil, "logs", "create-log-stream", "--log-group-name", "/lab/one", "--log-stream-name", "s/1")
	now := time.Now().UnixMilli()
	var put struct{ NextSequenceToken string }
	p.awsJSON(&put, "logs", "put-log-events", "--log-group-name", "/lab/one", "--log-stream-name", "s/1",
		"--log-events", fmt.Sprintf("timestamp=%d,message=first", now), fmt.Sprintf("timestamp=%d,message=second", now+1))
	if put.NextSequenceToken == "" {
		t.Error("there is no token, which stock agents would then ask for before each put")
	}
	if got := strings.Join(p.messages("/lab/one", "s/1"), " "); got != "first second" {
		t.Error(got)
	}
	var filtered struct{ Events []struct{ Message string } }
	p.awsJSON(&filtered, "logs", "filter-log-events", "--log-group-name", "/lab/one", "--filter-pattern", "second")
	if len(filtered.Events) != 1 || filtered.Events[0].Message != "second" {
		t.Errorf("%+v", filtered)
	}
	if _, e, code := p.aws("logs", "get-log-events", "--log-group-name", "/lab/one", "--log-stream-name", "none"); code == 0 || !strings.Contains(e, "ResourceNotFoundException") {
		t.Errorf("exit %d, %s", code, e)
	}
	p.awsJSON(nil, "logs", "delete-log-group", "--log-group-name", "/lab/one")
}

// messages are the events of a log stream, as the stock CLI reads them.
func (p *plane) messages(group, stream string) (all []string) {
	p.t.Helper()
	var out struct{ Events []struct{ Message string } }
	p.awsJSON(&out, "logs", "get-log-events", "--log-group-name", group, "--log-stream-name", stream, "--start-from-head")
	for _, e := range out.Events {
		all = append(all, e.Message)
	}
	return all
}
