package logbook

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func open(t *testing.T, path string, size int64, rolls int) *File {
	t.Helper()
	l, err := Open(path, size, rolls)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func write(t *testing.T, l *File, text string) {
	t.Helper()
	if n, err := l.Write([]byte(text)); err != nil || n != len(text) {
		t.Fatal(n, err)
	}
}

// TestRolls: the highest number is the newest, as stock agents name them.
func TestRolls(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log", "agent.log")
	l := open(t, path, 10, 5)
	for i := range 9 {
		write(t, l, strings.Repeat(string(rune('a'+i)), 6))
	}
	files, err := Rolled(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, filepath.Base(f)+"="+string(b))
	}
	want := []string{"agent.log.4=dddddd", "agent.log.5=eeeeee", "agent.log.6=ffffff", "agent.log.7=gggggg", "agent.log.8=hhhhhh", "agent.log=iiiiii"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if fi, err := os.Stat(filepath.Dir(path)); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v", fi.Mode(), err)
	}
}

// TestModeIsTheUmasks: a shipper that is not root may read what stock agents'
// logs let it.
func TestModeIsTheUmasks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, filepath.Join(dir, "agent.log"), 10, 5)
	probe, err := os.OpenFile(filepath.Join(dir, "probe"), os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	want, err := probe.Stat()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.Stat(filepath.Join(dir, "agent.log"))
	if err != nil || got.Mode() != want.Mode() {
		t.Errorf("mode %v, not %v, %v", got.Mode(), want.Mode(), err)
	}
}

// TestOthersFollow: a process that does not roll the file over finds the new
// one, whoever rolled it, and nothing is lost.
func TestOthersFollow(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent.log")
	owner, other := open(t, path, 300, 100), Follow(path)
	t.Cleanup(func() { _ = other.Close() })
	var wg sync.WaitGroup
	const each = 200 // six files of the owner alone
	for name, l := range map[string]*File{"owner": owner, "other": other} {
		wg.Go(func() {
			for i := range each {
				_, _ = fmt.Fprintf(l, "%s %d\n", name, i)
			}
		})
	}
	wg.Wait()
	files, err := Rolled(path)
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v", files, err)
	}
	seen := map[string]int{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			seen[line]++
		}
	}
	for _, name := range []string{"owner", "other"} {
		for i := range each {
			if n := seen[fmt.Sprintf("%s %d\n", name, i)]; n != 1 {
				t.Errorf("line %d of %s is there %d times", i, name, n)
			}
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write(t, other, "after it was removed\n")
	if b, err := os.ReadFile(path); err != nil || string(b) != "after it was removed\n" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestStrangersNames: what only looks like one of ours is left alone.
func TestStrangersNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "agent.log")
	strange := []string{"agent.log.gz", "agent.log.01", "agent.log.-1", "agent.log.1.gz", "other.log.1"}
	for _, name := range strange {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, path, 4, 1)
	for range 5 {
		write(t, l, "xxxx")
	}
	for _, name := range strange {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if files, err := Rolled(path); err != nil || len(files) != 2 {
		t.Errorf("%v, %v", files, err)
	}
}
