package transcript

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssmagent/internal/clock"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/internal/upload"
	"ssmagent/internal/wire/logs"
	"ssmagent/internal/wire/mgs"
)

const id = "ada-0123456789abcdef0"

// services are S3 and CloudWatch Logs without sockets.
type services struct {
	mu      sync.Mutex
	groups  string                               // answer of DescribeLogGroups
	refuse  func(op string, n int) (code string) // nil: nothing is refused
	calls   map[string]int
	objects map[string]string
	puts    [][]string
}

func newServices() *services {
	return &services{groups: `{"logGroups":[{"logGroupName":"/g"}]}`, calls: map[string]int{}, objects: map[string]string{}}
}

// RoundTrip implements http.RoundTripper.
func (s *services) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, _ := io.ReadAll(r.Body)
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if op == "" {
		op = r.Method
	}
	s.calls[op]++
	w := httptest.NewRecorder()
	if s.refuse != nil {
		if code := s.refuse(op, s.calls[op]); code != "" {
			w.WriteHeader(400)
			_, _ = fmt.Fprintf(w, `{"__type":%q,"message":"no"}`, code)
			return w.Result(), nil
		}
	}
	switch op {
	case logs.OpDescribeLogGroups:
		_, _ = io.WriteString(w, s.groups)
	case logs.OpPutLogEvents:
		var in logs.PutLogEventsInput
		if err := json.Unmarshal(b, &in); err != nil {
			return nil, err
		}
		var batch []string
		for _, e := range in.LogEvents {
			batch = append(batch, e.Message)
		}
		s.puts = append(s.puts, batch)
		_, _ = io.WriteString(w, `{}`)
	case http.MethodPut:
		s.objects[r.URL.Path] = string(b)
	case http.MethodGet:
		w.WriteHeader(404)
	default:
		_, _ = io.WriteString(w, `{}`)
	}
	return w.Result(), nil
}

func (s *services) options(disk *fsystest.Disk, in mgs.SessionInputs) Options {
	creds := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "SECRET"}, nil
	})
	return Options{Dir: "/logs", FS: disk, Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler), SessionID: id, Type: mgs.SessionStandardStream, InstanceID: "mi-1", Region: "r", Owner: "arn:x", User: "ssm-user", Inputs: in,
		Upload: upload.New(upload.Options{HTTP: &http.Client{Transport: s}, Credentials: creds, Region: "r", S3: "http://127.0.0.1", Logs: "http://logs", Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler)})}
}

func streaming() mgs.SessionInputs {
	return mgs.SessionInputs{CloudWatchLogGroupName: "/g", CloudWatchStreamingEnabled: true}
}

// lines are the sessionData of all events put.
func (s *services) lines(t testing.TB) (all []string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, batch := range s.puts {
		if len(batch) > perCall {
			t.Errorf("%d events in a call", len(batch))
		}
		for _, m := range batch {
			var e sessionEvent
			if err := json.Unmarshal([]byte(m), &e); err != nil {
				t.Fatal(err)
			}
			all = append(all, e.SessionData...)
		}
	}
	return all
}

// TestStreaming: whole lines go out a second after they came, once each also
// when the service refuses for a while, the rest at the end.
func TestStreaming(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServices()
		s.refuse = func(op string, n int) string {
			if op == logs.OpPutLogEvents && n > 1 && n < 15 {
				return "ThrottlingException"
			}
			return ""
		}
		l, err := Open(t.Context(), s.options(fsystest.NewDisk(), streaming()))
		if err != nil {
			t.Fatal(err)
		}
		pass := func(d time.Duration) {
			<-time.After(d)
			synctest.Wait()
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); l.Run(ctx) }()
		l.Write([]byte("one\r\ntwo\x1b[31m\tred\r\nunfin"))
		pass(900 * time.Millisecond)
		if got := s.lines(t); len(got) != 0 {
			t.Errorf("%q before a second", got)
		}
		pass(200 * time.Millisecond)
		if got := strings.Join(s.lines(t), "|"); got != "one|two red" {
			t.Errorf("%q", got)
		}
		l.Write([]byte("ished\r\n" + strings.Repeat("long line\n", 30_000) + "the end"))
		pass(10 * time.Minute)
		stop()
		<-done
		if err := l.Close(t.Context()); err != nil {
			t.Error(err)
		}
		got := strings.Join(s.lines(t), "|")
		if want := "one|two red|unfinished|" + strings.Repeat("long line|", 30_000) + "the end"; got != want {
			t.Errorf("%d bytes in %d puts, want %d", len(got), len(s.puts), len(want))
		}
	})
}

// TestChoices: what is demanded is checked, a missing group is no hindrance to
// a session that is only streamed.
func TestChoices(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		name, groups, code string
		in                 mgs.SessionInputs
		says               string
		unstreamed         bool
	}{
		{"there", "", "", streaming(), "", false},
		{"missing", `{}`, "", streaming(), "", true},
		{"denied", "", "AccessDeniedException", streaming(), "", true},
		{"no key", "", "", mgs.SessionInputs{CloudWatchLogGroupName: "/g", CloudWatchEncryptionEnabled: true}, "no KMS key", false},
		{"key unknown", "", "AccessDeniedException", mgs.SessionInputs{CloudWatchLogGroupName: "/g", CloudWatchEncryptionEnabled: true}, "cannot be told", false},
		{"key", `{"logGroups":[{"logGroupName":"/g","kmsKeyId":"k"}]}`, "", mgs.SessionInputs{CloudWatchLogGroupName: "/g", CloudWatchEncryptionEnabled: true}, "", false},
		{"bucket", "", "", mgs.SessionInputs{S3BucketName: "bucket", S3EncryptionEnabled: true}, "cannot be told", false},
	} {
		s := newServices()
		if v.groups != "" {
			s.groups = v.groups
		}
		s.refuse = func(string, int) string { return v.code }
		l, err := Open(t.Context(), s.options(fsystest.NewDisk(), v.in))
		if (err == nil) != (v.says == "") || err != nil && !strings.Contains(err.Error(), v.says) {
			t.Errorf("%s: %v", v.name, err)
		}
		if l != nil && (l.Unstreamed() != nil) != v.unstreamed {
			t.Errorf("%s: %v", v.name, l.Unstreamed())
		}
	}
}

// TestLocalCopy: it goes when all has been uploaded, and stays when it has not
// or is wanted, until it is too old.
func TestLocalCopy(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		name       string
		keep, fail bool
		files      int
	}{{"uploaded", false, false, 0}, {"wanted", true, false, 2}, {"lost", false, true, 2}} {
		s, disk := newServices(), fsystest.NewDisk()
		if v.fail {
			s.refuse = func(op string, _ int) string {
				if op == http.MethodPut {
					return "AccessDenied"
				}
				return ""
			}
		}
		o := s.options(disk, mgs.SessionInputs{S3BucketName: "bucket", S3KeyPrefix: "/a//b/"})
		o.Keep = v.keep
		l, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		l.Write([]byte("hello\r\n"))
		if err := l.Close(t.Context()); (err != nil) != v.fail {
			t.Errorf("%s: %v", v.name, err)
		}
		if text := s.objects["/bucket/a/b/"+id+".log"]; !v.fail && (!strings.HasPrefix(text, "Script started on ") || !strings.Contains(text, "\nhello\r\n")) {
			t.Errorf("%s: %q", v.name, s.objects)
		}
		if names, _ := disk.ReadDir("/logs/" + id + "/" + mgs.SessionStandardStream); len(names) != v.files {
			t.Errorf("%s: %d files", v.name, len(names))
		}
		l.opt.Retention, l.opt.Clock = time.Hour, clock.NewFake(time.Now().Add(2*time.Hour))
		l.sweep()
		if names, _ := disk.ReadDir("/logs"); len(names) != 0 {
			t.Errorf("%s: old copies stay", v.name)
		}
	}
}

// TestFullDisk: the log ends, what there is of it is uploaded, and it is said.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	s, disk := newServices(), fsystest.NewDisk()
	l, err := Open(t.Context(), s.options(disk, mgs.SessionInputs{S3BucketName: "bucket"}))
	if err != nil {
		t.Fatal(err)
	}
	l.Write([]byte("kept\n"))
	disk.SetSpace(2)
	l.Write([]byte("not kept\n"))
	disk.SetSpace(-1)
	l.Write([]byte("nor this\n"))
	err = l.Close(t.Context())
	text := s.objects["/bucket/"+id+".log"]
	if err == nil || !strings.Contains(err.Error(), "not whole") || !strings.Contains(text, "kept\n") || strings.Contains(text, "this") {
		t.Errorf("%v %q", err, text)
	}
}

// TestPlainEvents: without streaming the log is cut at lines.
func TestPlainEvents(t *testing.T) {
	t.Parallel()
	s := newServices()
	l, err := Open(t.Context(), s.options(fsystest.NewDisk(), mgs.SessionInputs{CloudWatchLogGroupName: "/g"}))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("0123456789\r\n", 150_000)
	l.Write([]byte(want))
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, batch := range s.puts {
		for _, m := range batch {
			if len(m) > maxPlain || strings.Contains(m, "\r") || strings.HasSuffix(m, "\n") {
				t.Errorf("an event of %d bytes", len(m))
			}
			all = append(all, m)
		}
	}
	if got := strings.Count(strings.Join(all, "\n"), "0123456789\n"); got != 150_000 {
		t.Errorf("%d lines in %d events", got, len(all))
	}
}

func TestWantedAndKey(t *testing.T) {
	t.Parallel()
	if Wanted(mgs.SessionInputs{}, mgs.SessionStandardStream, false) || Wanted(mgs.SessionInputs{S3BucketName: "b"}, mgs.SessionPort, true) ||
		!Wanted(mgs.SessionInputs{}, mgs.SessionStandardStream, true) || !Wanted(mgs.SessionInputs{CloudWatchLogGroupName: "g"}, mgs.SessionNonInteractiveCommands, false) {
		t.Error("another decision")
	}
	for prefix, want := range map[string]string{"": "s.log", "a": "a/s.log", "/a//b/": "a/b/s.log", "../../x": "x/s.log", "a/../..": "s.log"} {
		if got := Key(mgs.SessionInputs{S3KeyPrefix: prefix}, "s"); got != want {
			t.Errorf("%q: %q", prefix, got)
		}
	}
}

func FuzzPlain(f *testing.F) {
	for _, s := range []string{"\x1b[1;31mred\x1b[0m", "\x1b]0;title\a$ ", "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "\x1b(B\x1b=\x1b>", "\x1b", "\x1b[", "a\x1b\nb", "\x1bP+q\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		out := plain(b)
		if len(out) > len(b) || bytes.ContainsAny(out, "\x1b\x07\x00") || bytes.Count(out, []byte("\n")) > bytes.Count(b, []byte("\n")) {
			t.Fatalf("%q becomes %q", b, out)
		}
		l := Log{opt: Options{Clock: clock.Real{}}}
		if text, err := l.event(b); err != nil || !utf8.ValidString(text) {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

func TestPlain(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"\x1b[1;31mred\x1b[0m": "red", "\x1b]0;title\a$ ": "$ ", "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\": "link", "\x1b(Bx\x1b=y": "xy", "a\x1b\nb": "a\nb", "\x1b[3": "", "\x1b]open\nb": "\nb", "bell\a": "bell",
	} {
		if got := string(plain([]byte(in))); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
