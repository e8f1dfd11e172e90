package fsys_test

import (
	"testing"

	"ssmagent/internal/fsys"
	"ssmagent/internal/fsys/fsystest"
)

// TestWriteInPlace: a file written with sync in a directory whose entry is
// durable survives the machine; one without need not.
func TestWriteInPlace(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	if err := disk.Mkdir("/d", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a longer text", "kept"} {
		if err := fsys.WriteInPlace(disk, "/d/synced", []byte(text), true); err != nil {
			t.Fatal(err)
		}
	}
	if err := fsys.WriteInPlace(disk, "/d/mark", nil, false); err != nil {
		t.Fatal(err)
	}
	if err := fsys.SyncEntry(disk, "/d"); err != nil {
		t.Fatal(err)
	}
	if err := fsys.WriteInPlace(disk, "/d/late", []byte("x"), false); err != nil {
		t.Fatal(err)
	}
	disk.Crash(fsystest.Nothing())
	if b, err := fsys.ReadFile(disk, "/d/synced", 100); err != nil || string(b) != "kept" {
		t.Errorf("%q %v", b, err)
	}
	if _, err := disk.Lstat("/d/mark"); err != nil {
		t.Error(err)
	}
	if _, err := disk.Lstat("/d/late"); err == nil {
		t.Error("a file that nobody synced survived")
	}
}
