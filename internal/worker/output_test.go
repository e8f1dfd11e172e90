package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/job"
	"ssmagent/internal/wire/logs"
	"ssmagent/platform/secfile"
)

// TestOutput: the lines of a step reach their stream once, also when the
// service refuses at first, with the last one that has no end; the files reach
// the bucket, empty ones do not.
func TestOutput(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var lines, groups, objects []string
	refused := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		b, _ := io.ReadAll(r.Body)
		switch _, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "."); op {
		case logs.OpCreateLogGroup:
			groups = append(groups, string(b))
		case logs.OpPutLogEvents:
			if refused++; refused == 1 {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, `{"__type":"ThrottlingException"}`)
				return
			}
			var in logs.PutLogEventsInput
			if err := json.Unmarshal(b, &in); err != nil || in.LogStreamName != "c-1/mi-1/a-step/stdout" {
				t.Errorf("%s %v", b, err)
			}
			for _, e := range in.LogEvents {
				lines = append(lines, e.Message)
			}
		case "":
			if r.Method == http.MethodPut {
				objects = append(objects, r.URL.Path+"="+string(b))
			}
			return
		}
		_, _ = io.WriteString(w, `{}`)
	}))
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "p", "s"), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, "p", "s", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("stdout", "before the reboot\n")
	write("stderr", "")
	creds := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "SECRET"}, nil
	})
	var warned bytes.Buffer
	o, err := newOutput(job.Request{ID: "c-1", Dir: dir, S3Bucket: "bucket", S3KeyPrefix: "x/c-1/mi-1", LogGroup: "/g",
		Node: job.Node{InstanceID: "mi-1", Region: "r", Services: job.Services{Buckets: srv.URL, Logs: srv.URL}}}, creds, Deps{FS: secfile.OS(), Stderr: &warned})
	if err != nil {
		t.Fatal(err)
	}
	over := o.printed("a:step", "p/s")
	write("stdout", "before the reboot\none\r\ntwo\n\nthe end")
	over()
	if got := strings.Join(lines, "|"); got != "one\ntwo\n\nthe end" || len(groups) != 1 {
		t.Errorf("%q, groups %q", got, groups)
	}
	if len(objects) != 1 || !strings.HasPrefix(objects[0], "/bucket/x/c-1/mi-1/p/s/stdout=before the reboot\none") {
		t.Errorf("%q", objects)
	}
	if warned.Len() > 0 {
		t.Error(warned.String())
	}
	if _, err := newOutput(job.Request{}, creds, Deps{}); err == nil {
		t.Error("an order of an older agent, which names no services, is taken")
	}
}
