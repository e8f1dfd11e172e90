package depot

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ssmagent/internal/clock"
	"ssmagent/platform/secfile"
)

func newDepot(t *testing.T) Depot {
	dir := t.TempDir()
	return Depot{FS: secfile.OS(), Clock: clock.NewFake(time.Unix(1_700_000_000, 0)), Dir: filepath.Join(dir, "packages"), Locks: filepath.Join(dir, "locks"),
		Manifests: filepath.Join(dir, "manifests"), TryLock: secfile.TryLock, Locked: secfile.ErrLocked, MaxArchive: 1 << 20}
}

func zipped(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, text := range files {
		f, err := w.Create(name)
		if err == nil {
			_, err = f.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func give(b []byte) func(*Incoming) error {
	return func(in *Incoming) error {
		if _, err := in.Write([]byte("an answer that broke off")); err != nil {
			return err
		}
		if err := in.Reset(); err != nil {
			return err
		}
		_, err := in.Write(b)
		return err
	}
}

func (d Depot) locked(t *testing.T, id string) {
	t.Helper()
	unlock, err := d.Lock(id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(unlock)
}

// TestNamesAsRecorded holds the names of directories to the recorded table.
func TestNamesAsRecorded(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../wire/doc/testdata/documents.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Auxiliary struct {
			PackageDirectoryName struct {
				Cases []struct{ Name, Directory string }
			}
		}
	}
	if err := json.Unmarshal(b, &v); err != nil || len(v.Auxiliary.PackageDirectoryName.Cases) < 10 {
		t.Fatalf("%d cases, %v", len(v.Auxiliary.PackageDirectoryName.Cases), err)
	}
	for _, c := range v.Auxiliary.PackageDirectoryName.Cases {
		if got := DirName(c.Name); got != c.Directory {
			t.Errorf("%q: %q, want %q", c.Name, got, c.Directory)
		}
	}
}

func FuzzDirName(f *testing.F) {
	for _, s := range []string{"a.b", "..", "", "a/../b", "ärger", "con ", "x."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name := DirName(s)
		if name == "" || len(name) > maxDirName || strings.ContainsAny(name, "/\\\x00:") || name[0] == '.' || !filepath.IsLocal(name) || strings.HasSuffix(name, ".") {
			t.Fatalf("%q: %q", s, name)
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"name":"a","version":"1","state":8,"time":"2025-01-01T00:00:00Z","lastinstalledversion":"1","retrycount":0}`))
	f.Add([]byte(`{"state":99}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err == nil && strings.HasPrefix(s.Phase.String(), "Phase(") {
			t.Fatalf("%+v", s)
		}
	})
}

func TestState(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	d.locked(t, "Tool")
	if s := d.State("Tool"); s.Phase != None || s.Installed(true) != "" {
		t.Errorf("%+v", s)
	}
	for _, step := range []struct {
		version             string
		set, want           Phase
		installed, toReplac string
		retries             int
	}{
		{"1", New, New, "", "", 0},
		{"1", Installing, Installing, "", "", 0},
		{"1", Installing, Installing, "", "", 1},
		{"1", New, Installing, "", "", 1},
		{"1", Installed, Installed, "1", "1", 0},
		{"2", Upgrading, Upgrading, "1", "1", 0},
		{"2", Failed, Failed, "1", "2", 0},
		{"1", None, None, "", "", 0},
	} {
		if err := d.SetState("Tool", step.version, step.set); err != nil {
			t.Fatal(err)
		}
		s := d.State("Tool")
		if s.Phase != step.want || s.Installed(false) != step.installed || s.Installed(true) != step.toReplac || s.Retries != step.retries || s.Name != "Tool" {
			t.Errorf("%+v: %+v", step, s)
		}
	}
	b, err := os.ReadFile(filepath.Join(d.Dir, "Tool", "installstate"))
	if want := `{"name":"Tool","version":"1","state":0,"time":"2023-11-14T22:13:20Z","lastinstalledversion":"","retrycount":0}`; err != nil || string(b) != want {
		t.Errorf("%s %v", b, err)
	}
	if err := os.WriteFile(filepath.Join(d.Dir, "Tool", "installstate"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := d.State("Tool"); s.Phase != Unknown || s.Version != "" {
		t.Errorf("unreadable: %+v", s)
	}
	d.locked(t, "Other")
	for _, v := range []string{"1.0", "1.1"} {
		if err := os.Mkdir(d.Path("Other", v), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if s := d.State("Other"); s.Phase != Unknown || s.Installed(false) != "1.1" {
		t.Errorf("content without a state: %+v", s)
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	unlock, err := d.Lock("Tool")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock("Tool"); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	left := filepath.Join(d.Dir, "Tool", unfinished+"x")
	if err := os.Mkdir(left, 0o700); err != nil {
		t.Fatal(err)
	}
	unlock()
	d.locked(t, "Tool")
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a dead process left is still there: %v", err)
	}
}

func TestPut(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	d.locked(t, "Tool")
	good := map[string]string{"install.sh": "echo", "data": "x"}
	for _, content := range []map[string]string{{"install.sh": "old", "gone": "x"}, good} {
		if err := d.Put("Tool", "1", give(zipped(t, content))); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Check("Tool", "1"); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(d.Path("Tool", "1"), "install.sh")); err != nil || string(b) != "echo" {
		t.Errorf("%q %v", b, err)
	}
	for want, b := range map[string][]byte{
		"would not lie below": zipped(t, map[string]string{"../x": "x"}),
		"more than 1048576":   make([]byte, 2<<20),
		"no zip archive":      []byte("text"),
	} {
		if err := d.Put("Tool", "1", give(b)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for want, content := range map[string]map[string]string{
		"neither install.sh": {"a": "", "b": ""}, "nothing but one file": {"install.sh": ""},
		"names the package": {"install.sh": "", "manifest.json": `{"name":"Other"}`},
		"has the version":   {"install.sh": "", "manifest.json": `{"name":"tool","version":"3"}`},
		"manifest.json of":  {"install.sh": "", "manifest.json": `{`},
	} {
		if err := d.Put("Tool", "2", give(zipped(t, content))); err != nil {
			t.Fatal(err)
		}
		if err := d.Check("Tool", "2"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := d.Remove("Tool", "2"); err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadDir(filepath.Join(d.Dir, "Tool"))
	if err != nil || len(all) != 1 || all[0].Name() != "1" || d.Check("Tool", "2") == nil {
		t.Errorf("%v %v", all, err)
	}
}

func TestManifestsAndTraces(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	const id = "arn:aws:ssm:::package/Tool"
	d.locked(t, id)
	if d.Manifest(id, "1") != nil || d.Traces(id) != nil {
		t.Error("there is something")
	}
	if err := errors.Join(d.KeepManifest(id, "1", []byte("m")), d.KeepTraces(id, []byte("t"))); err != nil {
		t.Fatal(err)
	}
	if string(d.Manifest(id, "1")) != "m" || string(d.Traces(id)) != "t" || d.Manifest(id, "2") != nil {
		t.Error("it is not kept")
	}
	for range 2 {
		if err := errors.Join(d.DropManifest(id, "1"), d.KeepTraces(id, nil)); err != nil {
			t.Fatal(err)
		}
	}
	if d.Manifest(id, "1") != nil || d.Traces(id) != nil {
		t.Error("it is still there")
	}
}
