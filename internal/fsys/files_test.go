package fsys_test

import (
	"errors"
	"strings"
	"testing"

	"ssmagent/internal/fsys"
	"ssmagent/internal/fsys/fsystest"
)

// everyStop runs do on a fresh disk, stopping it at each of its operations in
// turn, crashes the disk in several ways, and lets check look at what is left.
// done tells check whether do had returned nil.
func everyStop(t *testing.T, prepare, do func(*fsystest.Disk) error, check func(t *testing.T, d *fsystest.Disk, done bool)) {
	t.Helper()
	keeps := []func() fsystest.Keep{fsystest.Nothing, fsystest.All}
	for seed := range uint64(12) {
		keeps = append(keeps, func() fsystest.Keep { return fsystest.Some(seed) })
	}
	for k, keep := range keeps {
		for stop := 1; ; stop++ {
			d := fsystest.NewDisk()
			if err := prepare(d); err != nil {
				t.Fatal(err)
			}
			d.StopAt(d.Ops() + stop)
			err := do(d)
			if err != nil && !errors.Is(err, fsystest.ErrStopped) {
				t.Fatal(err)
			}
			d.Crash(keep())
			check(t, d, err == nil)
			if t.Failed() {
				t.Fatalf("keep %d, stopped at operation %d\n%v", k, stop, d)
			}
			if err == nil {
				break
			}
		}
	}
}

func TestWriteFileIsAtomicAndDurable(t *testing.T) {
	t.Parallel()
	old, fresh := strings.Repeat("old ", 40), strings.Repeat("new content ", 30)
	everyStop(t,
		func(d *fsystest.Disk) error { return fsys.WriteFile(d, "/a", []byte(old), 0o600) },
		func(d *fsystest.Disk) error { return fsys.WriteFile(d, "/a", []byte(fresh), 0o600) },
		func(t *testing.T, d *fsystest.Disk, done bool) {
			b, err := fsys.ReadFile(d, "/a", 1000)
			if err != nil {
				t.Error(err)
			}
			if got := string(b); got != fresh && (done || got != old) {
				t.Errorf("done %v, and the file holds %q", done, got)
			}
			entries, err := d.ReadDir("/")
			if err != nil {
				t.Error(err)
			}
			for _, e := range entries {
				if e.Name() != "a" && !fsys.IsTemp(e.Name()) {
					t.Errorf("left behind: %s", e.Name())
				}
			}
		})
}

func TestMkdirAllIsDurable(t *testing.T) {
	t.Parallel()
	everyStop(t,
		func(*fsystest.Disk) error { return nil },
		func(d *fsystest.Disk) error { return fsys.MkdirAll(d, "/a/b/c", 0o700) },
		func(t *testing.T, d *fsystest.Disk, done bool) {
			if _, err := d.Lstat("/a/b/c"); done && err != nil {
				t.Error(err)
			}
			if err := fsys.MkdirAll(d, "/a/b/c", 0o700); err != nil {
				t.Error(err)
			}
		})
}

func TestWriteFileCleansUp(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for _, c := range []struct {
		name  string
		spoil func(*fsystest.Disk)
		want  error
		text  string
	}{
		{"full disk", func(d *fsystest.Disk) { d.SetSpace(3) }, fsys.ErrNoSpace, "disk is full"},
		{"read-only", func(d *fsystest.Disk) { d.SetReadOnly(true) }, fsys.ErrReadOnly, "read-only"},
		{"sync fails", failOn("sync", boom), boom, "/a: sync"},
		{"rename fails", failOn("rename", boom), boom, "/a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := fsystest.NewDisk()
			if err := fsys.WriteFile(d, "/a", []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			c.spoil(d)
			err := fsys.WriteFile(d, "/a", []byte("fresh"), 0o600)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error is %v", err)
			}
			if entries, err := d.ReadDir("/"); err != nil || len(entries) != 1 {
				t.Errorf("entries %v, error %v", entries, err)
			}
			if b, err := fsys.ReadFile(d, "/a", 10); err != nil || string(b) != "old" {
				t.Errorf("the file holds %q, %v", b, err)
			}
		})
	}
}

func failOn(kind string, err error) func(*fsystest.Disk) {
	return func(d *fsystest.Disk) {
		d.Fail(func(op fsystest.Op) error {
			if op.Kind == kind {
				return err
			}
			return nil
		})
	}
}

func TestWriteFileWantsAName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "/", "/a/..", "/a/."} {
		if err := fsys.WriteFile(fsystest.NewDisk(), name, nil, 0o600); err == nil {
			t.Errorf("%q passed for a file name", name)
		}
	}
}

func TestDepthIsBounded(t *testing.T) {
	t.Parallel()
	d := fsystest.NewDisk()
	deep := strings.Repeat("/d", 200)
	if err := fsys.MkdirAll(d, deep, 0o700); !errors.Is(err, fsys.ErrTooDeep) {
		t.Errorf("MkdirAll: %v", err)
	}
	for i := 2; i <= len(deep); i += 2 {
		if err := d.Mkdir(deep[:i], 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := fsys.RemoveAll(d, "/d"); !errors.Is(err, fsys.ErrTooDeep) {
		t.Errorf("RemoveAll: %v", err)
	}
}
