package edition

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"ssmagent/internal/fsys"
	"ssmagent/internal/fsys/fsystest"
)

func put(t *testing.T, f fsys.FS, path, content string) {
	t.Helper()
	if err := fsys.MkdirAll(f, filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := fsys.WriteFile(f, path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, f fsys.FS, path string) string {
	t.Helper()
	b, err := fsys.ReadFile(f, path, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCopyAndSweep(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	s := Shelf{disk, "/shelf"}
	put(t, disk, "/program", "one")
	one, err := s.Copy("/program", "1.0")
	if err != nil || content(t, disk, one) != "one" || !strings.HasPrefix(one, "/shelf/1.0-") {
		t.Fatalf("%s, %v", one, err)
	}
	put(t, disk, "/program", "two") // an upgrade
	two, err := s.Copy("/program", "1.0")
	if err != nil || content(t, disk, two) != "two" || content(t, disk, one) != "one" {
		t.Fatalf("%s, %v: the old one is %q", two, err, content(t, disk, one))
	}
	put(t, disk, "/shelf/0.9-00/.program.tmp", "a copy that was cut off")
	if left, err := s.Sweep(two); err != nil || left != 0 || content(t, disk, two) != "two" {
		t.Errorf("%d left, %v", left, err)
	}
	if all, err := disk.ReadDir("/shelf"); err != nil || len(all) != 1 {
		t.Errorf("%v are there, %v", all, err)
	}
	if left, err := s.Sweep(""); err != nil || left != 0 {
		t.Errorf("%d left, %v", left, err)
	}
	if _, err := disk.Lstat("/shelf"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the shelf stays: %v", err)
	}
	if left, err := s.Sweep(""); err != nil || left != 0 { // once more
		t.Errorf("%d left, %v", left, err)
	}
}

// TestDamagedCopy: a copy that is not what it should be is made anew.
func TestDamagedCopy(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	s := Shelf{disk, "/shelf"}
	put(t, disk, "/program", "one")
	path, err := s.Copy("/program", "1.0")
	if err != nil {
		t.Fatal(err)
	}
	put(t, disk, path, "eno")
	if again, err := s.Copy("/program", "1.0"); err != nil || again != path || content(t, disk, path) != "one" {
		t.Errorf("%s, %v", again, err)
	}
}

// TestCopyIsWholeOrNot: wherever a copy is cut off, what is found afterwards is no
// half of it, and the next one works.
func TestCopyIsWholeOrNot(t *testing.T) {
	t.Parallel()
	for ops := 1; ; ops++ {
		disk := fsystest.NewDisk()
		s := Shelf{disk, "/shelf"}
		put(t, disk, "/program", "one")
		want, err := Shelf{disk, "/other"}.Copy("/program", "1.0")
		if err != nil {
			t.Fatal(err)
		}
		path := "/shelf" + strings.TrimPrefix(want, "/other")
		disk.StopAt(ops)
		_, err = s.Copy("/program", "1.0")
		if err == nil {
			return
		}
		disk.Crash(fsystest.Nothing())
		if b, err := fsys.ReadFile(disk, path, 1000); err == nil && string(b) != "one" {
			t.Fatalf("after %d operations it is %q", ops, b)
		}
		if _, err := s.Copy("/program", "1.0"); err != nil || content(t, disk, path) != "one" {
			t.Fatalf("after %d operations: %v", ops, err)
		}
	}
}

// TestRunningCopyStays: what the system does not remove is counted, and the rest
// goes.
func TestRunningCopyStays(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	put(t, disk, "/shelf/1/program", "runs")
	put(t, disk, "/shelf/2/program", "does not")
	disk.Fail(func(o fsystest.Op) error {
		if o.Kind == "remove" && o.Name == "/shelf/1/program" {
			return fs.ErrPermission
		}
		return nil
	})
	s := Shelf{disk, "/shelf"}
	if left, err := s.Sweep(""); err != nil || left != 1 || content(t, disk, "/shelf/1/program") != "runs" {
		t.Errorf("%d left, %v", left, err)
	}
	if _, err := disk.Lstat("/shelf/2"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the other stays: %v", err)
	}
}

// TestNoProgram: what cannot be copied says so.
func TestNoProgram(t *testing.T) {
	t.Parallel()
	if _, err := (Shelf{fsystest.NewDisk(), "/shelf"}).Copy("/none", "1"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "copy the program for workers") {
		t.Errorf("error %v", err)
	}
}
