package fsystest_test

import (
	"os"
	"testing"

	"ssmagent/internal/fsys/fsystest"
)

func TestDisk(t *testing.T) {
	t.Parallel()
	d := fsystest.NewDisk()
	fsystest.Run(t, fsystest.System{FS: d, Dir: "/", Symlink: d.Symlink, Perm: true})
}

func TestDiskForgets(t *testing.T) {
	t.Parallel()
	write := func(t *testing.T, d *fsystest.Disk, sync, syncDir bool) {
		t.Helper()
		f, err := d.OpenFile("/a", os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("data")); err != nil {
			t.Fatal(err)
		}
		if sync {
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		if syncDir {
			if err := d.SyncDir("/"); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name          string
		sync, syncDir bool
		keep          fsystest.Keep
		want          string
	}{
		{"nothing synced", false, false, fsystest.Nothing(), "absent"},
		{"bytes synced, entry not", true, false, fsystest.Nothing(), "absent"},
		{"entry synced, bytes not", false, true, fsystest.Nothing(), ""},
		{"both synced", true, true, fsystest.Nothing(), "data"},
		{"it happened to be on disk", false, false, fsystest.All(), "data"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := fsystest.NewDisk()
			write(t, d, c.sync, c.syncDir)
			d.Crash(c.keep)
			b, err := readAll(d, "/a")
			if err != nil {
				b = "absent"
			}
			if b != c.want {
				t.Errorf("after the crash: %q, want %q\n%v", b, c.want, d)
			}
		})
	}
}

func readAll(d *fsystest.Disk, name string) (string, error) {
	f, err := d.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	b := make([]byte, 100)
	n, _ := f.Read(b)
	return string(b[:n]), f.Close()
}

func TestRenameReachesBothDirectories(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		d := fsystest.NewDisk()
		for _, err := range []error{d.Mkdir("/a", 0o700), d.Mkdir("/b", 0o700), d.Mkdir("/a/x", 0o700), d.SyncDir("/"), d.SyncDir("/a"), d.Rename("/a/x", "/b/x")} {
			if err != nil {
				t.Fatal(err)
			}
		}
		d.Crash(fsystest.Some(seed))
		_, errA := d.Lstat("/a/x")
		_, errB := d.Lstat("/b/x")
		if (errA == nil) == (errB == nil) {
			t.Fatalf("seed %d: in the one %v, in the other %v", seed, errA, errB)
		}
	}
}
