package transcript

import (
	"context"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ssmagent/internal/fsys"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/internal/wire/mgs"
)

// TestReopen: what a lost worker streamed is not streamed again, what it did
// not is, and the rest of the log's places get all of it.
func TestReopen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, disk, in := newServices(), fsystest.NewDisk(), streaming()
		in.S3BucketName = "bucket"
		o := s.options(disk, in)
		l, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); l.Run(ctx) }()
		l.Write([]byte("one\r\ntwo\r\nunfin"))
		<-time.After(2 * time.Second)
		synctest.Wait()
		stop() // and nothing else: the worker was killed
		<-done
		l.Write([]byte("ished\r\nthree"))

		o.User = ""
		again, err := Reopen(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if got := strings.Join(s.lines(t), "|"); got != "one|two|unfinished|three" {
			t.Errorf("streamed %q", got)
		}
		if last := s.puts[len(s.puts)-1][0]; !strings.Contains(last, `"runAsUser":"ssm-user"`) {
			t.Error(last)
		}
		if got := s.objects["/bucket/"+id+".log"]; !strings.Contains(got, "\r\none\r\ntwo\r\nunfinished\r\nthree\r\n") {
			t.Errorf("uploaded %q", got)
		}
		if _, err := Reopen(o); !isNone(err) {
			t.Errorf("a second time: %v", err)
		}
	})
}

func isNone(err error) bool {
	return err != nil && strings.Contains(err.Error(), fs.ErrNotExist.Error())
}

// FuzzReopen: whatever stands in the mark, no more than there is is left out.
func FuzzReopen(f *testing.F) {
	f.Add([]byte(`{"Sent":4,"User":"ssm-user"}`))
	f.Add([]byte(`{"Sent":-1}`))
	f.Add([]byte(`{"Sent":9}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, b []byte) {
		disk := fsystest.NewDisk()
		s := newServices()
		o := s.options(disk, streaming())
		dir := filepath.Join("/logs", id, mgs.SessionStandardStream)
		if err := fsys.MkdirAll(disk, dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string][]byte{rawFile: []byte("one\ntwo\n"), markFile: b} {
			if err := fsys.WriteFile(disk, filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		l, err := Reopen(o)
		if err != nil || l.sent < 0 || l.sent > l.size() {
			t.Errorf("%q: %+v, %v", b, l, err)
		}
	})
}
