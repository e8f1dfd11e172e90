package fsystest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"ssmagent/internal/fsys"
)

// System is what Run tests. A nil func leaves out what needs it.
type System struct {
	FS fsys.FS
	// Dir is an empty directory to work in.
	Dir string
	// Symlink plants a link.
	Symlink func(target, name string) error
	// Perm says that permissions are kept as on Unix.
	Perm bool
}

// Run is the contract of fsys.FS, for the fake disk and the real one.
func Run(t *testing.T, s System) {
	t.Run("create and read", s.createAndRead)
	t.Run("flags", s.flags)
	t.Run("permissions", s.permissions)
	t.Run("directories", s.directories)
	t.Run("rename replaces", s.renameReplaces)
	t.Run("remove", s.remove)
	t.Run("links are refused", s.links)
	t.Run("seek and truncate", s.seekAndTruncate)
	t.Run("write file", s.writeFile)
	t.Run("remove all", s.removeAll)
	t.Run("log", s.log)
}

func (s System) sub(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(s.Dir, name)
	must(t, s.FS.Mkdir(dir, 0o700))
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want %v", err, want)
	}
}

func (s System) put(t *testing.T, name, text string, flag int) {
	t.Helper()
	f, err := s.FS.OpenFile(name, flag, 0o600)
	must(t, err)
	_, err = f.Write([]byte(text))
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}

func (s System) want(t *testing.T, name, text string) {
	t.Helper()
	b, err := fsys.ReadFile(s.FS, name, 1<<20)
	must(t, err)
	if string(b) != text {
		t.Errorf("%s holds %q, want %q", name, b, text)
	}
}

func (s System) createAndRead(t *testing.T) {
	name := filepath.Join(s.sub(t, "create"), "a")
	s.put(t, name, "hello", os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	s.want(t, name, "hello")
	must(t, s.FS.SyncDir(filepath.Dir(name)))
	f, err := s.FS.OpenFile(name, os.O_RDONLY, 0)
	must(t, err)
	info, err := f.Stat()
	must(t, err)
	if info.Size() != 5 || info.Name() != "a" || !info.Mode().IsRegular() {
		t.Errorf("stat says %v %d %v", info.Name(), info.Size(), info.Mode())
	}
	if _, err := f.Write([]byte("x")); err == nil {
		t.Error("wrote to a file opened for reading")
	}
	must(t, f.Close())
	wantErr(t, f.Close(), fs.ErrClosed)
}

func (s System) flags(t *testing.T) {
	name := filepath.Join(s.sub(t, "flags"), "a")
	_, err := s.FS.OpenFile(name, os.O_RDWR, 0o600)
	wantErr(t, err, fs.ErrNotExist)
	_, err = s.FS.OpenFile(filepath.Join(name, "b"), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		t.Error("made a file in a directory that does not exist")
	}
	s.put(t, name, "one", os.O_WRONLY|os.O_CREATE)
	_, err = s.FS.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	wantErr(t, err, fs.ErrExist)
	s.put(t, name, "two", os.O_WRONLY|os.O_APPEND)
	s.want(t, name, "onetwo")
	s.put(t, name, "ONE", os.O_RDWR|os.O_CREATE)
	s.want(t, name, "ONEtwo")
	s.put(t, name, "x", os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	s.want(t, name, "x")
}

func (s System) permissions(t *testing.T) {
	if !s.Perm {
		t.Skip("this system has no permission bits")
	}
	dir := s.sub(t, "perm")
	for _, perm := range []fs.FileMode{0o600, 0o666, 0o777, 0o400} {
		name := filepath.Join(dir, "f"+perm.String())
		f, err := s.FS.OpenFile(name, os.O_WRONLY|os.O_CREATE, perm)
		must(t, err)
		must(t, f.Close())
		info, err := s.FS.Lstat(name)
		must(t, err)
		if info.Mode() != perm {
			t.Errorf("asked for file with %v, got %v", perm, info.Mode())
		}
		name = filepath.Join(dir, "d"+perm.String())
		must(t, s.FS.Mkdir(name, perm|0o100))
		if info, err = s.FS.Lstat(name); err != nil || info.Mode() != perm|0o100|fs.ModeDir {
			t.Errorf("asked for directory with %v, got %v, %v", perm|0o100, info.Mode(), err)
		}
	}
}

func (s System) directories(t *testing.T) {
	dir := s.sub(t, "dirs")
	wantErr(t, s.FS.Mkdir(dir, 0o700), fs.ErrExist)
	wantErr(t, s.FS.Mkdir(filepath.Join(dir, "no", "such"), 0o700), fs.ErrNotExist)
	s.put(t, filepath.Join(dir, "b"), "", os.O_WRONLY|os.O_CREATE)
	must(t, s.FS.Mkdir(filepath.Join(dir, "a"), 0o700))
	entries, err := s.FS.ReadDir(dir)
	must(t, err)
	got := map[string]bool{}
	for _, e := range entries {
		got[e.Name()] = e.IsDir()
	}
	if len(got) != 2 || !got["a"] || got["b"] {
		t.Errorf("entries are %v", got)
	}
	_, err = s.FS.ReadDir(filepath.Join(dir, "none"))
	wantErr(t, err, fs.ErrNotExist)
	_, err = s.FS.OpenFile(dir, os.O_RDONLY, 0)
	wantErr(t, err, fsys.ErrIrregular)
	deep := filepath.Join(dir, "x", "y", "z")
	must(t, fsys.MkdirAll(s.FS, deep, 0o700))
	must(t, fsys.MkdirAll(s.FS, deep, 0o700))
	if err := fsys.MkdirAll(s.FS, filepath.Join(dir, "b"), 0o700); err == nil {
		t.Error("a file passed for a directory")
	}
}

func (s System) renameReplaces(t *testing.T) {
	dir := s.sub(t, "rename")
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	s.put(t, a, "A", os.O_WRONLY|os.O_CREATE)
	s.put(t, b, "B", os.O_WRONLY|os.O_CREATE)
	must(t, s.FS.Rename(a, b))
	s.want(t, b, "A")
	_, err := s.FS.Lstat(a)
	wantErr(t, err, fs.ErrNotExist)
	wantErr(t, s.FS.Rename(a, b), fs.ErrNotExist)
	must(t, s.FS.Mkdir(filepath.Join(dir, "d"), 0o700))
	must(t, s.FS.Rename(filepath.Join(dir, "d"), filepath.Join(dir, "e")))
	must(t, s.FS.Rename(b, filepath.Join(dir, "e", "b")))
	s.want(t, filepath.Join(dir, "e", "b"), "A")
}

func (s System) remove(t *testing.T) {
	dir := s.sub(t, "remove")
	a := filepath.Join(dir, "a")
	s.put(t, a, "A", os.O_WRONLY|os.O_CREATE)
	if err := s.FS.Remove(dir); err == nil {
		t.Error("removed a directory that was not empty")
	}
	must(t, s.FS.Remove(a))
	wantErr(t, s.FS.Remove(a), fs.ErrNotExist)
	must(t, s.FS.Remove(dir))
	_, err := s.FS.Lstat(dir)
	wantErr(t, err, fs.ErrNotExist)
}

func (s System) links(t *testing.T) {
	if s.Symlink == nil {
		t.Skip("no way to plant links here")
	}
	dir := s.sub(t, "links")
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	s.put(t, target, "safe", os.O_WRONLY|os.O_CREATE)
	must(t, s.Symlink(target, link))
	for _, flag := range []int{os.O_RDONLY, os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_CREATE, os.O_WRONLY | os.O_APPEND} {
		_, err := s.FS.OpenFile(link, flag, 0o600)
		wantErr(t, err, fsys.ErrLink)
	}
	_, err := s.FS.ReadDir(link)
	wantErr(t, err, fsys.ErrLink)
	wantErr(t, fsys.MkdirAll(s.FS, link, 0o700), fsys.ErrLink)
	info, err := s.FS.Lstat(link)
	must(t, err)
	if info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("link has mode %v", info.Mode())
	}
	must(t, fsys.WriteFile(s.FS, link, []byte("own"), 0o600))
	s.want(t, link, "own")
	s.want(t, target, "safe")
}

func (s System) seekAndTruncate(t *testing.T) {
	name := filepath.Join(s.sub(t, "seek"), "a")
	f, err := s.FS.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	_, err = f.Write([]byte("0123456789"))
	must(t, err)
	must(t, f.Truncate(4))
	at, err := f.Seek(-2, io.SeekEnd)
	must(t, err)
	if at != 2 {
		t.Errorf("seek went to %d, want 2", at)
	}
	b, err := io.ReadAll(f)
	must(t, err)
	if string(b) != "23" {
		t.Errorf("read %q, want 23", b)
	}
	_, err = f.Seek(6, io.SeekStart)
	must(t, err)
	_, err = f.Write([]byte("x"))
	must(t, err)
	must(t, f.Close())
	s.want(t, name, "0123\x00\x00x")
}

func (s System) writeFile(t *testing.T) {
	dir := s.sub(t, "write")
	name := filepath.Join(dir, "a")
	for _, text := range []string{"first", "", "second"} {
		must(t, fsys.WriteFile(s.FS, name, []byte(text), 0o600))
		s.want(t, name, text)
	}
	_, err := fsys.ReadFile(s.FS, name, 5)
	wantErr(t, err, fsys.ErrTooLarge)
	entries, err := s.FS.ReadDir(dir)
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("something is left beside the file: %v", entries)
	}
	wantErr(t, fsys.WriteFile(s.FS, filepath.Join(dir, "no", "a"), nil, 0o600), fs.ErrNotExist)
}

func (s System) removeAll(t *testing.T) {
	dir := s.sub(t, "all")
	must(t, fsys.MkdirAll(s.FS, filepath.Join(dir, "a", "b"), 0o700))
	s.put(t, filepath.Join(dir, "a", "f"), "x", os.O_WRONLY|os.O_CREATE)
	outside := filepath.Join(s.sub(t, "outside"), "f")
	s.put(t, outside, "x", os.O_WRONLY|os.O_CREATE)
	if s.Symlink != nil {
		must(t, s.Symlink(filepath.Dir(outside), filepath.Join(dir, "a", "link")))
	}
	must(t, fsys.RemoveAll(s.FS, dir))
	must(t, fsys.RemoveAll(s.FS, dir))
	_, err := s.FS.Lstat(dir)
	wantErr(t, err, fs.ErrNotExist)
	s.want(t, outside, "x")
}

func (s System) log(t *testing.T) {
	name := filepath.Join(s.sub(t, "log"), "log")
	l, recs, err := fsys.OpenLog(s.FS, name, 0o600, 100)
	must(t, err)
	if len(recs) != 0 {
		t.Errorf("a new log holds %q", recs)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { must(t, l.Append([]byte(`{"a":1}`))) })
	}
	wg.Wait()
	must(t, l.Rewrite([][]byte{[]byte("r")}))
	must(t, l.AppendLazy([]byte("lazy")))
	must(t, l.Close())
	wantErr(t, l.Append([]byte("x")), fsys.ErrClosed)
	recs, err = fsys.ReadLog(s.FS, name, 100)
	must(t, err)
	if len(recs) != 2 || string(recs[0]) != "r" || string(recs[1]) != "lazy" {
		t.Errorf("log holds %q", recs)
	}
}
