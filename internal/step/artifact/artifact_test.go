package artifact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ssmagent/internal/step"
)

func place(t *testing.T) step.Input {
	dir := t.TempDir()
	return step.Input{CommandDir: dir, StepDir: filepath.Join(dir, "install")}
}

// serving is a server with one file, which breaks off first.
func serving(text string) Fetch {
	return func(_ context.Context, _ string, take func(io.Reader) error) error {
		_ = take(io.MultiReader(strings.NewReader("half"), brokenOff{}))
		return take(strings.NewReader(text))
	}
}

type brokenOff struct{}

func (brokenOff) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestFetched(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte("whole"))
	in := place(t)
	for _, hash := range []string{hex.EncodeToString(sum[:]), strings.ToUpper(hex.EncodeToString(sum[:])), ""} {
		f, err := Get(t.Context(), Source{"https://host/dir/my%20app.msi?X-Amz-Signature=s", hash}, in, serving("whole"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(f.Path)
		if err != nil || string(b) != "whole" || f.Path != filepath.Join(in.StepDir, "source-my_app.msi") {
			t.Errorf("%s: %q %v", f.Path, b, err)
		}
		if err := f.Remove(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(f.Path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("it is left: %v", err)
		}
	}
	f, err := Get(t.Context(), Source{"https://host/a.msi", hex.EncodeToString(sum[:])}, in, serving("other"))
	if err == nil || !strings.Contains(err.Error(), "is another file") || f.Path != "" {
		t.Errorf("%v %+v", err, f)
	}
	if left, err := os.ReadDir(in.StepDir); err != nil || len(left) != 0 {
		t.Errorf("%v left, %v", left, err)
	}
}

func TestLocal(t *testing.T) {
	t.Parallel()
	in := place(t)
	name := filepath.Join(t.TempDir(), "app.msi")
	if err := os.WriteFile(name, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("mine"))
	f, err := Get(t.Context(), Source{name, hex.EncodeToString(sum[:])}, in, nil)
	if err != nil || f.Path != name {
		t.Fatalf("%+v %v", f, err)
	}
	if err := f.Remove(); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(name); err != nil || !bytes.Equal(b, []byte("mine")) {
		t.Errorf("it is gone: %v", err)
	}
	if _, err := Get(t.Context(), Source{name, strings.Repeat("0", 64)}, in, nil); err == nil || !strings.Contains(err.Error(), "another file") {
		t.Errorf("%v", err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"http://host/a.msi":        "give its sourceHash",
		"ftp://host/a.msi":         "neither a URL",
		"app.msi":                  "neither a URL",
		"https://u:p@/x?secret":    "neither a URL",
		"":                         "neither a URL",
		filepath.Join(t.TempDir()): "it is no file",
	} {
		_, err := Get(t.Context(), Source{Address: address}, place(t), serving("x"))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, err := Get(t.Context(), Source{"https://h/a", "md5"}, place(t), serving("x")); err == nil || !strings.Contains(err.Error(), "64 hexadecimal digits") {
		t.Errorf("%v", err)
	}
}

func FuzzFileName(f *testing.F) {
	f.Add("/a/b.msi")
	f.Add("/..")
	f.Add(`/c:\x`)
	f.Fuzz(func(t *testing.T, p string) {
		name := fileName(&url.URL{Path: p})
		if !filepath.IsLocal(name) || strings.ContainsAny(name, `/\: "`) || len(name) > 100 || strings.HasSuffix(name, ".") {
			t.Errorf("%q is called %q", p, name)
		}
	})
}
