package watch

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestDir(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	news, err := Dir(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	told := func(want bool) {
		t.Helper()
		select {
		case _, ok := <-news:
			if ok != want {
				t.Errorf("told %v, want %v", ok, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("nothing is told")
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "written"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	told(true)
	if err := os.WriteFile(filepath.Join(other, "moved"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(other, "moved"), filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	told(true)
	cancel()
	told(false)
}

func TestDirThatIsNone(t *testing.T) {
	t.Parallel()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{link, "/nowhere", "/dev/null"} {
		if _, err := Dir(t.Context(), dir); err == nil {
			t.Errorf("%s is watched", dir)
		}
	}
}
