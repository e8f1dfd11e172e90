package worker_test

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"ssmagent/internal/record/audit"
)

// bucket is an S3 that keeps what is put.
type bucket struct {
	mu      sync.Mutex
	objects []string
	refuse  bool
}

// ServeHTTP implements http.Handler.
func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case r.Method != http.MethodPut || err != nil:
	case b.refuse:
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
	default:
		b.objects = append(b.objects, r.URL.Path+" "+string(body))
	}
}

// A worker that is killed takes its session with it, but not the log: the agent
// that is there, or the next one, has it handed on, once.
func TestLogOfKilledWorker(t *testing.T) {
	for _, tc := range []struct{ away, refused bool }{{false, false}, {true, false}, {true, true}} {
		t.Run(fmt.Sprintf("agent away=%v refused=%v", tc.away, tc.refused), func(t *testing.T) {
			b := &bucket{refuse: tc.refused}
			srv := httptest.NewServer(b)
			defer srv.Close()
			l := newTraced(t)
			l.s3 = srv.URL
			m, stop := l.agent()
			l.order(m, inputs(`{"s3BucketName":"lab-logs","s3KeyPrefix":"x"}`))
			l.gw.expect("ready> ")
			l.gw.typed("echo las''t words\n")
			l.gw.expect("last words\r\nready> ")
			if tc.away {
				stop()
			}
			worker := l.workers()[0]
			if err := worker.Kill(); err != nil {
				t.Fatal(err)
			}
			if tc.away {
				if _, err := worker.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				l.agent()
			}
			says := "worker"
			if tc.refused {
				says = "the session's log has not reached its place: "
			}
			l.ended("Failed", says)
			kept := filepath.Join(filepath.Dir(l.dir), "orchestration", id)
			if _, err := os.Stat(kept); tc.refused != (err == nil) {
				t.Errorf("the local copy: %v", err)
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			if want := map[bool]int{true: 0, false: 1}[tc.refused]; len(b.objects) != want {
				t.Fatalf("uploaded %q", b.objects)
			}
			if !tc.refused && (!strings.HasPrefix(b.objects[0], "/lab-logs/x/"+id+".log Script started on ") || !strings.Contains(b.objects[0], "\r\nlast words\r\nready> ")) {
				t.Errorf("uploaded %q", b.objects[0])
			}
			if lines := l.lines(); !slices.Equal(kinds(lines), []audit.Kind{audit.SessionStart, audit.SessionEnd}) || lines[1].Status != "Failed" {
				t.Errorf("%+v", lines)
			}
		})
	}
}

// A log that reached its place is not handed on again by an agent that was away
// when its worker ended.
func TestLogIsHandedOnOnce(t *testing.T) {
	b := &bucket{}
	srv := httptest.NewServer(b)
	defer srv.Close()
	l := newLab(t)
	l.s3 = srv.URL
	m, stop := l.agent()
	l.order(m, inputs(`{"s3BucketName":"lab-logs"}`))
	l.gw.expect("ready> ")
	worker := l.workers()[0]
	l.gw.typed("exit\n")
	eventually(t, "the log is not uploaded", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.objects) == 1
	})
	stop()
	if _, err := worker.Wait(t.Context()); err != nil && !strings.Contains(err.Error(), fs.ErrNotExist.Error()) {
		t.Log(err)
	}
	l.agent()
	l.ended("Success", "")
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.objects) != 1 {
		t.Errorf("uploaded %q", b.objects)
	}
}
