package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ssmagent/internal/setup"
)

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		line string
		code int
		said string
	}{
		{"", 0, "-activation-code"},
		{"-help", 0, "-manifest-url"},
		{"-nothing", 2, "flag provided but not defined: -nothing"},
		{"-register=maybe", 2, "invalid boolean value"},
		{"-env=greengrass -install", 1, "Invalid environment. - greengrass: onprem is known"},
		{"-install -region x -artifacts-dir /a", 1, "-artifacts-dir is of Greengrass"},
		{"-region x", 1, "Invalid parameters - Action required (install|register|shutdown). "},
		{"-register -region x word", 1, `"word" is no flag`},
		{"-register -region x -activation-id y -activation-code-file /nowhere", 1, "-activation-code-file: open /nowhere"},
		{"-register -region x -activation-id y -activation-code z -activation-code-file -", 1, "use one of them"},
		{"-install -region x -ca-bundle /nowhere", 1, "certificates to trust: open /nowhere"},
	} {
		var out, stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(tc.line), strings.NewReader(""), &out, &stderr)
		if code != tc.code || !strings.Contains(stderr.String(), tc.said) {
			t.Errorf("%q: exit %d\n%s", tc.line, code, &stderr)
		}
	}
}

func TestCodeFromAFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "code")
	if err := os.WriteFile(file, []byte("from-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{file: "from-a-file", "-": "from-input"} {
		f := flags{codeFile: name}
		if err := f.readCode(strings.NewReader("from-input\n")); err != nil || string(f.setup.Code) != want {
			t.Errorf("%s: %q %v", name, string(f.setup.Code), err)
		}
	}
}

// TestRedirects: what began encrypted stays so.
func TestRedirects(t *testing.T) {
	t.Parallel()
	request := func(url string) *http.Request {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	safe, plain := request("https://a/x"), request("http://b/x")
	for _, tc := range []struct {
		to   *http.Request
		via  []*http.Request
		good bool
	}{
		{safe, []*http.Request{safe}, true},
		{safe, []*http.Request{plain}, true},
		{plain, []*http.Request{plain}, true},
		{plain, []*http.Request{safe}, false},
		{plain, []*http.Request{safe, safe}, false},
		{safe, make([]*http.Request, maxHops), false},
	} {
		if tc.via[0] == nil {
			tc.via[0] = safe
		}
		if err := secure(tc.to, tc.via); (err == nil) != tc.good {
			t.Errorf("%s after %d: %v", tc.to.URL, len(tc.via), err)
		}
	}
}

// TestExecute: what a program says comes back, with its failure too, and one
// that is waited for no longer ends.
func TestExecute(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := execute(t.Context(), "", exe, "-test.run", "^$")
	if err != nil || !strings.Contains(out, "PASS") {
		t.Errorf("%q %v", out, err)
	}
	if out, err = execute(t.Context(), "", exe, "-test.nothing"); err == nil || !strings.Contains(out, "test.nothing") {
		t.Errorf("%q %v", out, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = execute(ended, "", exe); err == nil || !strings.Contains(err.Error(), "did not end in time") {
		t.Error(err)
	}
}

// TestServiceDeeds: what is asked of a service manager is a deed of services,
// and where none runs that is told.
func TestServiceDeeds(t *testing.T) {
	t.Parallel()
	if err := managed(); err != nil && !errors.Is(err, setup.ErrNoManager) {
		t.Error(err)
	}
	if err := tellService("dance"); err == nil {
		t.Error("a service danced")
	}
}
