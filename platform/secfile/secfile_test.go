package secfile_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"ssmagent/internal/fsys"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/platform/secfile"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fsys.FS{"system": secfile.OS(), "user": secfile.ForUser()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fsystest.Run(t, fsystest.System{FS: f, Dir: t.TempDir(), Symlink: symlink(t), Perm: os.PathSeparator == '/'})
		})
	}
}

// symlink is nil where the test may not plant links.
func symlink(t *testing.T) func(target, name string) error {
	t.Helper()
	probe := filepath.Join(t.TempDir(), "probe")
	if err := os.Symlink(t.TempDir(), probe); err != nil {
		return nil
	}
	if info, err := os.Lstat(probe); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return nil // wine makes something else of it
	}
	return os.Symlink
}
