package secfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ssmagent/internal/fsys"
	"ssmagent/platform/secfile"
)

// TestLongPaths: directories and files deeper than programs of Windows go.
func TestLongPaths(t *testing.T) {
	t.Parallel()
	disk := secfile.OS()
	dir := t.TempDir()
	for range 4 {
		dir = filepath.Join(dir, strings.Repeat("d", 100))
		if err := disk.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(dir, "file")
	if err := fsys.WriteFile(disk, name, []byte("deep"), 0o600); err != nil { // by a rename
		t.Fatal(err)
	}
	if b, err := fsys.ReadFile(disk, name, 10); err != nil || string(b) != "deep" {
		t.Errorf("%q %v", b, err)
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "deep" {
		t.Errorf("by another way: %q %v", b, err)
	}
	if err := disk.Remove(name); err != nil {
		t.Error(err)
	}
}
