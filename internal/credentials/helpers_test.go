package credentials

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/clock"
)

// now is a time at which nothing here has expired.
func now() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// fake is a machine without anything on it; tests put in what they need.
type fake struct {
	env, files, programs map[string]string // programs: output by the command line
	net                  http.HandlerFunc  // nil: nothing answers
	clk                  clock.Clock
	ran                  []string
}

func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.net == nil {
		return nil, errors.New("no route to host")
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	f.net(w, r)
	return w.Result(), nil
}

func (f *fake) run(_ context.Context, argv ...string) ([]byte, error) {
	line := strings.Join(argv, " ")
	f.ran = append(f.ran, line)
	out, ok := f.programs[line]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s: %w", argv[0], ErrNoProgram)
	case out == "":
		return nil, errors.New("exit status 255")
	}
	return []byte(out), nil
}

func (f *fake) machine() Machine {
	if f.clk == nil {
		f.clk = still{}
	}
	return Machine{
		Getenv: func(k string) string { return f.env[k] },
		ReadFile: func(name string) ([]byte, error) {
			switch s, ok := f.files[name]; {
			case !ok:
				return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
			case s == "denied":
				return nil, fmt.Errorf("open %s: %w", name, fs.ErrPermission)
			default:
				return []byte(s), nil
			}
		},
		Home: "/home/u", Clock: f.clk, Log: slog.New(slog.DiscardHandler), Run: f.run,
		Shell:  func(ctx context.Context, line string) ([]byte, error) { return f.run(ctx, "sh", "-c", line) },
		Direct: &http.Client{Transport: f},
	}
}

// still is a clock that stands, and whose timers end at once.
type still struct{}

func (still) Now() time.Time { return now() }
func (still) NewTimer(time.Duration) clock.Timer {
	return clock.Real{}.NewTimer(0)
}

func (f *fake) chain(t *testing.T, o Options) *Chain {
	t.Helper()
	c, err := New(f.machine(), o)
	if err != nil {
		t.Fatal(err)
	}
	c.HTTP = &http.Client{Transport: f}
	return c
}

// expect wants the access key id, or an error that says the other thing.
func expect(t *testing.T, c *Chain, id, says string) Found {
	t.Helper()
	f, err := c.Find(t.Context())
	switch {
	case says == "" && (err != nil || f.Credentials.AccessKeyID != id):
		t.Errorf("%q, %v; want %q", f.Credentials.AccessKeyID, err, id)
	case says != "" && (err == nil || !strings.Contains(err.Error(), says)):
		t.Errorf("%q, error %v; want one that says %q", f.Credentials.AccessKeyID, err, says)
	}
	return f
}

func keys(id string) string {
	return "aws_access_key_id = " + id + "\naws_secret_access_key = secret\n"
}

func answered(id string) string {
	return `{"Code":"Success","AccessKeyId":"` + id + `","SecretAccessKey":"s","Token":"t","Expiration":"2026-01-02T09:00:00Z"}`
}

func printed(id string) string {
	return `{"Version":1,"AccessKeyId":"` + id + `","SecretAccessKey":"s","SessionToken":"t","Expiration":"2026-01-02T09:00:00Z"}`
}

// sites sends a request to the handler of its host.
func sites(h map[string]http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s := h[r.URL.Host]; s != nil {
			s(w, r)
			return
		}
		http.Error(w, "no such site", http.StatusNotFound)
	}
}

// instance is a metadata service whose instance profile has a role.
func instance(id string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut:
			fmt.Fprint(w, "tok")
		case r.Header.Get("X-aws-ec2-metadata-token") != "tok":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == rolePath:
			fmt.Fprint(w, "web-server\n")
		case r.URL.Path == rolePath+"web-server":
			fmt.Fprint(w, answered(id))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}
}
