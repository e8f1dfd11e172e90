package watch

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
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
	told := func() {
		t.Helper()
		select {
		case _, ok := <-news:
			if !ok {
				t.Fatal("it ended by itself")
			}
		case <-time.After(20 * time.Second):
			t.Fatal("nothing is told")
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "written"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	told()
	if err := os.WriteFile(filepath.Join(other, "moved"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(other, "moved"), filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	told()
	cancel()
	for range news { // what was told of before, and then the end
	}
}

func TestDirThatIsNone(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wrong := []string{filepath.Join(t.TempDir(), "nowhere"), file}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err == nil {
		wrong = append(wrong, link)
	} else if runtime.GOOS != "windows" { // there it takes a privilege, and wine has none
		t.Fatal(err)
	}
	for _, dir := range wrong {
		if _, err := Dir(t.Context(), dir); err == nil {
			t.Errorf("%s is watched", dir)
		}
	}
}
