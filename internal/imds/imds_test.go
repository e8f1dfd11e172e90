package imds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ssmagent/internal/clock"
)

// script answers each request, told as "METHOD path token", by its status and
// body; a status of 0 is no answer at all.
type script func(line string) (status int, body string)

// RoundTrip implements http.RoundTripper.
func (s script) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := s(strings.TrimSpace(r.Method + " " + r.URL.Path + " " + r.Header.Get(headerToken)))
	if status == 0 {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	w := httptest.NewRecorder()
	w.Header().Set("Location", "http://elsewhere/")
	w.WriteHeader(status)
	fmt.Fprint(w, body)
	return w.Result(), nil
}

func client(s script) *Client {
	return &Client{HTTP: &http.Client{Transport: s}, Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler)}
}

func TestGet(t *testing.T) {
	t.Parallel()
	const document = "/latest/dynamic/x"
	for name, tc := range map[string]struct {
		token     int // status of the token request
		body      string
		noV1      bool
		get       int
		asked     string
		want      string
		is        error
		says      string
		versionV1 bool
	}{
		"version 2":           {200, "tok", false, 200, "PUT,GET tok", "text", nil, "", false},
		"version 1, 403":      {403, "", false, 200, "PUT,GET", "text", nil, "", true},
		"version 1, 404":      {404, "", false, 200, "PUT,GET", "text", nil, "", true},
		"version 1, 405":      {405, "", false, 200, "PUT,GET", "text", nil, "", true},
		"version 1 disabled":  {403, "", true, 200, "PUT", "", nil, "version 1 is disabled", false},
		"bad request":         {400, "", false, 200, "PUT", "", nil, "token request is HTTP 400", false},
		"server's fault":      {500, "", false, 200, "PUT,PUT,PUT", "", nil, "token request is HTTP 500", false},
		"redirect":            {302, "", false, 200, "PUT", "", nil, "token request is HTTP 302", false},
		"no token":            {200, "<html> x", false, 200, "PUT", "", nil, "is no token", false},
		"large token":         {200, strings.Repeat("x", maxToken+1), false, 200, "PUT", "", nil, "too large", false},
		"time-out is no 404":  {0, "", false, 200, "PUT,PUT,PUT", "", ErrAbsent, "", false},
		"not found":           {200, "tok", false, 404, "PUT,GET tok", "", ErrNotFound, "", false},
		"busy":                {200, "tok", false, 429, "PUT,GET tok,GET tok,GET tok", "", nil, "HTTP 429", false},
		"no version 1 either": {404, "", false, 401, "PUT,GET", "", nil, "gave none", true},
		"refused for good":    {200, "tok", false, 401, "PUT,GET tok,PUT,GET tok", "", nil, "HTTP 401", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var asked []string
				c := client(func(line string) (int, string) {
					line = strings.Replace(strings.Replace(line, " /latest/api/token", "", 1), " "+document, "", 1)
					asked = append(asked, line)
					if line == "PUT" {
						return tc.token, tc.body
					}
					return tc.get, "text"
				})
				c.V1Disabled = tc.noV1
				b, err := c.Get(t.Context(), document)
				if string(b) != tc.want && tc.want != "" || (err == nil) != (tc.want != "") || tc.is != nil && !errors.Is(err, tc.is) || err != nil && !strings.Contains(err.Error(), tc.says) {
					t.Errorf("%q, %v", b, err)
				}
				if got := strings.Join(asked, ","); got != tc.asked || c.UsesV1() != tc.versionV1 {
					t.Errorf("asked %s, version 1 %v", got, c.UsesV1())
				}
			})
		})
	}
}

// TestToken is kept until shortly before its end, and asked for anew when the
// service does not know it any more.
func TestToken(t *testing.T) {
	t.Parallel()
	clk := clock.NewFake(time.Unix(1e9, 0))
	given, known := 0, ""
	c := client(func(line string) (int, string) {
		if strings.HasPrefix(line, "PUT") {
			given++
			known = fmt.Sprintf("tok%d", given)
			return 200, known
		}
		if !strings.HasSuffix(line, " "+known) {
			return 401, ""
		}
		return 200, known
	})
	c.Clock = clk
	for _, step := range []struct {
		after  time.Duration
		forget bool
		want   string
	}{{0, false, "tok1"}, {tokenLife - 2*time.Minute, false, "tok1"}, {time.Minute, false, "tok2"}, {0, true, "tok3"}} {
		clk.Advance(step.after)
		if step.forget {
			known = "other"
		}
		if b, err := c.Get(t.Context(), "/latest/x"); err != nil || string(b) != step.want {
			t.Errorf("%+v: %s, %v", step, b, err)
		}
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := client(func(string) (int, string) { return 0, "" }).Get(ctx, "/latest/x")
		if err == nil || time.Since(start) != 1500*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// TestInstance: who the machine is, and nobody of what is no answer.
func TestInstance(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		id, document string
		want         Instance
	}{
		"EC2":         {"i-0123456789abcdef0\n", `{"region":"eu-west-1"}`, Instance{"i-0123456789abcdef0", "eu-west-1"}},
		"HTML":        {"<html>x</html>", `{"region":"eu-west-1"}`, Instance{}},
		"no document": {"i-1", "<html>", Instance{}},
		"no region":   {"i-1", "{}", Instance{}},
		"two words":   {"i-1 i-2", `{"region":"eu-west-1"}`, Instance{}},
	} {
		got, err := client(func(line string) (int, string) {
			switch {
			case strings.HasPrefix(line, "PUT"):
				return 200, "tok"
			case strings.HasSuffix(line, "instance-id tok"):
				return 200, tc.id
			}
			return 200, tc.document
		}).Instance(t.Context())
		if (err == nil) != (tc.want != Instance{}) || err == nil && got != tc.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func FuzzRegion(f *testing.F) {
	f.Add([]byte(`{"region":"eu-west-1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := regionOf(b); (err == nil) != (r != "") {
			t.Errorf("%q, %v", r, err)
		}
	})
}
