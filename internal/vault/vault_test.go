package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ssmagent/internal/fsys"
	"ssmagent/internal/fsys/fsystest"
	"ssmagent/platform/secfile"
)

const data = "/data"

func put(t *testing.T, f fsys.FS, name, text string) {
	t.Helper()
	if err := fsys.MkdirAll(f, filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := fsys.WriteFile(f, name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, f fsys.FS, name string) string {
	t.Helper()
	b, err := fsys.ReadFile(f, name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPutGetDelete(t *testing.T) {
	t.Parallel()
	disk := fsystest.NewDisk()
	v := New(disk, data)
	if _, err := v.Get(RegistrationKey); !errors.Is(err, ErrNotFound) {
		t.Errorf("empty vault: %v", err)
	}
	if err := v.Delete(RegistrationKey); err != nil {
		t.Errorf("delete from nothing: %v", err)
	}
	for key, value := range map[string]string{RegistrationKey: `{"a":1}`, InstanceFingerprint: "{}", EC2RegistrationKey: "x"} {
		if err := v.Put(key, []byte(value)); err != nil {
			t.Fatal(err)
		}
		if got, err := New(disk, data).Get(key); err != nil || string(got) != value {
			t.Errorf("%s: %q, %v", key, got, err)
		}
	}
	want := `{"InstanceFingerprint":"/data/Vault/Store/InstanceFingerprint","RegistrationKey":"/data/Vault/Store/RegistrationKey"}`
	if got := filepath.ToSlash(read(t, disk, "/data/Vault/Manifest")); got != want {
		t.Errorf("manifest %s", got)
	}
	if got := read(t, disk, "/data/Vault/EC2Manifest"); !strings.Contains(got, "EC2RegistrationKey") || strings.Contains(got, "Fingerprint") {
		t.Errorf("EC2 manifest %s", got)
	}
	for name, mode := range map[string]fs.FileMode{"/data/Vault": fs.ModeDir | 0o700, "/data/Vault/Store": fs.ModeDir | 0o700,
		"/data/Vault/Manifest": 0o600, "/data/Vault/Store/RegistrationKey": 0o600} {
		if info, err := disk.Lstat(name); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v %v, want %v", name, info, err, mode)
		}
	}
	if err := v.Delete(RegistrationKey); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Get(RegistrationKey); !errors.Is(err, ErrNotFound) {
		t.Errorf("after delete: %v", err)
	}
	if _, err := disk.Lstat("/data/Vault/Store/RegistrationKey"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the secret is still there: %v", err)
	}
}

// TestStockVault reads what the stock agent leaves, on the real file system.
func TestStockVault(t *testing.T) {
	t.Parallel()
	dir, f := t.TempDir(), secfile.OS()
	store := filepath.Join(dir, "Vault", "Store")
	put(t, f, filepath.Join(store, RegistrationKey), `{"instanceID":"mi-0"}`)
	// Its in-memory manifest lists the keys of both kinds, and paths of old.
	stock, err := json.Marshal(map[string]string{RegistrationKey: "/elsewhere/RegistrationKey", EC2RegistrationKey: "/x", "Other": ""})
	if err != nil {
		t.Fatal(err)
	}
	put(t, f, filepath.Join(dir, "Vault", "Manifest"), string(stock))
	for _, d := range []string{store, filepath.Dir(store)} {
		if os.Geteuid() == 0 { // without the execute bit only root gets in
			if err := os.Chmod(d, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	v := New(f, dir)
	if got, err := v.Get(RegistrationKey); err != nil || string(got) != `{"instanceID":"mi-0"}` {
		t.Errorf("%q, %v", got, err)
	}
	if err := v.Put(InstanceFingerprint, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if m := read(t, f, filepath.Join(dir, "Vault", "Manifest")); !strings.Contains(m, `"Other"`) {
		t.Errorf("foreign keys are gone: %s", m)
	}
	if err := v.CheckWritable(); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "Vault")); err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	v := New(fsystest.NewDisk(), data)
	for _, key := range []string{"", "..", "a/b", `a\b`, "a.b", strings.Repeat("a", 65)} {
		if err := v.Put(key, nil); err == nil {
			t.Errorf("Put(%q) was taken", key)
		}
		if _, err := v.Get(key); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("Get(%q): %v", key, err)
		}
	}
	if err := v.Put("Big", make([]byte, MaxValue+1)); err == nil {
		t.Error("a value too large was taken")
	}
}

func TestLinksRefused(t *testing.T) {
	t.Parallel()
	for _, link := range []string{"Vault", "Vault/Store", "Vault/Store/RegistrationKey", "Vault/Manifest"} {
		dir, target := t.TempDir(), t.TempDir()
		f := secfile.OS()
		if err := New(f, target).Put(RegistrationKey, []byte("planted")); err != nil {
			t.Fatal(err)
		}
		if link != "Vault" {
			if err := New(f, dir).Put(RegistrationKey, []byte("own")); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(filepath.Join(dir, link)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(filepath.Join(target, link), filepath.Join(dir, link)); err != nil {
			t.Skipf("no links here: %v", err)
		}
		if got, err := New(f, dir).Get(RegistrationKey); err == nil {
			t.Errorf("%s as a link: read %q through it", link, got)
		}
		if strings.HasSuffix(link, "Store") || link == "Vault" {
			if err := New(f, dir).Put(RegistrationKey, []byte("x")); err == nil {
				t.Errorf("%s as a link: written through it", link)
			}
		}
	}
}

func TestTornManifest(t *testing.T) {
	t.Parallel()
	for _, torn := range []string{"", "{", `{"RegistrationKey":`, "null", "[]", `{"RegistrationKey":1}`, "\x00\x00"} {
		disk := fsystest.NewDisk()
		v := New(disk, data)
		for _, k := range []string{RegistrationKey, InstanceFingerprint, EC2RegistrationKey} {
			if err := v.Put(k, []byte(k)); err != nil {
				t.Fatal(err)
			}
		}
		put(t, disk, "/data/Vault/Manifest", torn)
		if got, err := v.Get(RegistrationKey); err != nil || string(got) != RegistrationKey {
			t.Errorf("manifest %q: %q, %v", torn, got, err)
		}
		if err := v.Put(RegistrationKey, []byte("new")); err != nil {
			t.Fatal(err)
		}
		if got, err := v.Get(InstanceFingerprint); err != nil || string(got) != InstanceFingerprint {
			t.Errorf("manifest %q, after a write: %q, %v", torn, got, err)
		}
	}
}

// TestCrash stops the machine at every operation of a history and checks that
// each key has the value of the last call that returned, or of the one under way.
func TestCrash(t *testing.T) {
	t.Parallel()
	history := []struct{ key, value string }{ // an empty value deletes
		{RegistrationKey, "one"}, {InstanceFingerprint, "print"}, {RegistrationKey, "two"},
		{RegistrationKey, ""}, {RegistrationKey, "three"}, {InstanceFingerprint, ""},
	}
	for stop := 1; ; stop++ {
		ended := false
		for name, keep := range map[string]func() fsystest.Keep{
			"nothing": fsystest.Nothing, "all": fsystest.All,
			"some": func() fsystest.Keep { return fsystest.Some(uint64(stop)) },
		} {
			disk := fsystest.NewDisk()
			if err := disk.Mkdir(data, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := disk.SyncDir("/"); err != nil {
				t.Fatal(err)
			}
			disk.StopAt(disk.Ops() + stop)
			v := New(disk, data)
			sure, maybe := map[string]string{}, map[string]string{}
			done := 0
			for _, h := range history {
				var err error
				if h.value == "" {
					err = v.Delete(h.key)
				} else {
					err = v.Put(h.key, []byte(h.value))
				}
				if err != nil {
					maybe[h.key] = h.value
					break
				}
				sure[h.key] = h.value
				done++
			}
			ended = done == len(history)
			disk.Crash(keep())
			check(t, disk, sure, maybe, fmt.Sprintf("stopped at %d, kept %s", stop, name))
		}
		if ended {
			return
		}
	}
}

func check(t *testing.T, disk *fsystest.Disk, sure, maybe map[string]string, where string) {
	t.Helper()
	v := New(disk, data)
	for _, key := range []string{RegistrationKey, InstanceFingerprint} {
		got, err := v.Get(key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %s: %v", where, key, err)
			continue
		}
		under, underway := maybe[key]
		if string(got) != sure[key] && (!underway || string(got) != under) {
			t.Errorf("%s: %s is %q, want %q (or %q)", where, key, got, sure[key], under)
		}
		// A deleted secret must not come back.
		if _, err := disk.Lstat(v.path(key)); err == nil && !underway {
			if value, known := sure[key]; known && value == "" {
				t.Errorf("%s: %s was deleted and is still on disk", where, key)
			}
		}
	}
	if err := v.Put(RegistrationKey, []byte("after")); err != nil {
		t.Errorf("%s: write after the crash: %v", where, err)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"RegistrationKey":"/data/Vault/Store/RegistrationKey"}`))
	f.Add([]byte(`{"../../etc/shadow":"/etc/shadow","RegistrationKey":"/etc/shadow"}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, manifest []byte) {
		disk := fsystest.NewDisk()
		v := New(disk, data)
		if err := v.Put(RegistrationKey, []byte("mine")); err != nil {
			t.Fatal(err)
		}
		put(t, disk, "/data/Vault/Manifest", string(manifest))
		got, err := v.Get(RegistrationKey)
		if err == nil && string(got) != "mine" || err != nil && !errors.Is(err, ErrNotFound) && len(manifest) < maxManifest {
			t.Fatalf("%q, %v", got, err)
		}
		if err := v.Put(InstanceFingerprint, []byte("f")); err != nil && len(manifest) < maxManifest {
			t.Fatal(err)
		}
	})
}
