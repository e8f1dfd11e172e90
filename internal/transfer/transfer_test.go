package transfer

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// pipe is a stream with room in it, as the system's are.
func pipe(tb testing.TB) (*os.File, *os.File) {
	tb.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// outcome is what both ends say of a copy.
type outcome struct {
	sent, received Report
	sendErr, err   error
}

// copied copies src to dest; cut bounds the bytes of data that get through,
// when it is not negative.
func copied(tb testing.TB, src, dest, base string, cut int) (o outcome) {
	tb.Helper()
	ar, aw := pipe(tb)
	br, bw := pipe(tb)
	var down io.Writer = aw
	if cut >= 0 {
		down = &scissors{aw, cut}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		o.sent, o.sendErr = Send(br, down, src, nil)
		aw.Close()
	})
	wg.Go(func() {
		o.received, o.err = Receive(ar, bw, dest, base, nil)
		bw.Close()
		ar.Close()
	})
	wg.Wait()
	return o
}

// scissors is a stream that breaks.
type scissors struct {
	*os.File
	left int
}

func (s *scissors) Write(b []byte) (int, error) {
	if len(b) > s.left {
		n, _ := s.File.Write(b[:s.left])
		s.left = 0
		s.Close()
		return n, io.ErrClosedPipe
	}
	s.left -= len(b)
	return s.File.Write(b)
}

func write(tb testing.TB, name string, b []byte, mode fs.FileMode) {
	tb.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		tb.Fatal(err)
	}
}

// tree is all that is below dir: mode, time and content by name.
func tree(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		text := info.Mode().String() + " " + info.ModTime().String()
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			text += " " + string(b)
		}
		all[filepath.ToSlash(rel)] = text
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// TestTrees: what arrives is what was there, names, bytes, modes and times.
func TestTrees(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		src, dest := filepath.Join(dir, "src"), filepath.Join(dir, "dest")
		if err := os.MkdirAll(src, 0o700); err != nil {
			t.Fatal(err)
		}
		name := rapid.StringMatching(`[a-zé -]{1,8}[a-z]`)
		for range rapid.IntRange(0, 8).Draw(rt, "files") {
			p := filepath.Join(src, name.Draw(rt, "folder")+"d", name.Draw(rt, "name")+".f")
			size := rapid.SampledFrom([]int{0, 1, 5000, maxFrame, maxFrame * 2, resumeFrom, resumeFrom + 7}).Draw(rt, "size")
			write(t, p, bytes.Repeat([]byte{byte(size)}, size), fs.FileMode(rapid.SampledFrom([]int{0o600, 0o755, 0o444, 0o640}).Draw(rt, "mode")))
			when := time.Unix(int64(rapid.IntRange(0, 2e9).Draw(rt, "time")), 0)
			if err := os.Chtimes(p, when, when); err != nil {
				t.Fatal(err)
			}
		}
		o := copied(t, src, dest, "src", -1)
		if o.err != nil || o.sendErr != nil || o.received.Failed != 0 {
			t.Fatalf("%+v", o)
		}
		want, got := tree(t, src), tree(t, dest)
		if !maps.Equal(want, got) {
			t.Fatalf("got\n%q\nwant\n%q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
		if o.sent.Files != o.received.Files || o.sent.Bytes != o.received.Bytes {
			t.Errorf("%+v", o)
		}
	})
}

// TestPlaces: where a copy ends up.
func TestPlaces(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, src, dest, base, want string }{
		{"file into a folder", "f", "into", "f", "into/f"},
		{"file as another", "f", "into/g", "f", "into/g"},
		{"file over another", "f", "old", "f", "old"},
		{"file into a folder that ends so", "f", "into/", "f", "into/f"},
		{"folder into a folder", "d", "into", "d", "into/d/x"},
		{"folder as another", "d", "into/e", "d", "into/e/x"},
		{"what a folder holds", "d", "into", "", "into/x"},
		{"file into nowhere", "f", "no/where", "f", ""},
		{"file over a folder", "f", "into", "sub", ""},
		{"folder over a file", "d", "old", "d", ""},
		{"hostile base", "f", "into", "../up", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			at := func(p string) string { return dir + string(filepath.Separator) + filepath.FromSlash(p) }
			write(t, at("f"), []byte("new"), 0o640)
			write(t, at("d/x"), []byte("new"), 0o640)
			write(t, at("old"), []byte("old"), 0o600)
			write(t, at("into/sub/y"), nil, 0o600)
			o := copied(t, at(tc.src), at(tc.dest), tc.base, -1)
			if tc.want == "" {
				if o.err == nil && o.received.Failed == 0 {
					t.Errorf("%+v", o)
				}
				if _, err := os.Stat(at("up")); err == nil {
					t.Error("it climbed")
				}
				return
			}
			if b, err := os.ReadFile(at(tc.want)); err != nil || string(b) != "new" || o.err != nil || o.sendErr != nil {
				t.Errorf("%q, %v, %+v", b, err, o)
			}
		})
	}
}

// TestResumes breaks a copy again and again: each goes on where the last one
// was, unless what it left is not the file's beginning.
func TestResumes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	src, dest := filepath.Join(dir, "big"), filepath.Join(dir, "copy")
	content := make([]byte, 8<<20)
	for i := range content {
		content[i] = byte(i * i >> 7)
	}
	write(t, src, content, 0o600)
	for range 3 {
		if o := copied(t, src, dest, "", 2<<20); o.err == nil || o.sendErr == nil {
			t.Fatalf("%+v", o)
		}
		if _, err := os.Stat(dest); err == nil {
			t.Fatal("half a file is in its place")
		}
	}
	o := copied(t, src, dest, "", -1)
	if o.err != nil || o.received.Resumed < 5<<20 || o.sent.Bytes != int64(len(content)) {
		t.Fatalf("%+v", o)
	}
	if b, err := os.ReadFile(dest); err != nil || !bytes.Equal(b, content) {
		t.Fatal("the copy differs", err)
	}

	copied(t, src, dest, "", 4<<20)
	left := filepath.Join(dir, part("copy"))
	b, err := os.ReadFile(left)
	if err != nil {
		t.Fatal(err)
	}
	b[1000]++
	write(t, left, b, 0o600)
	if o := copied(t, src, dest, "", -1); o.err != nil || o.received.Resumed != 0 {
		t.Fatalf("%+v", o)
	}
	if b, err := os.ReadFile(dest); err != nil || !bytes.Equal(b, content) {
		t.Fatal("the copy differs", err)
	}
}

// TestSkips: what is neither file nor folder is told, the rest arrives.
func TestSkips(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "src", "x"), []byte("x"), 0o600)
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "src", "link")); err != nil {
		t.Skip("no links here: ", err)
	}
	o := copied(t, filepath.Join(dir, "src"), filepath.Join(dir, "dest"), "", -1)
	if o.err != nil || o.received.Skipped != 1 || o.received.Files != 1 || !strings.Contains(o.sent.Problems[0], "link: neither") {
		t.Errorf("%+v", o)
	}
	if o := copied(t, filepath.Join(dir, "nothing"), dir, "", -1); !errors.Is(o.err, ErrPeer) || !errors.Is(o.sendErr, fs.ErrNotExist) {
		t.Errorf("%+v", o)
	}
}

// frames builds what a sender says.
type frames struct{ bytes.Buffer }

func (f *frames) add(k kind, b []byte) *frames {
	f.WriteByte(byte(k))
	_ = binary.Write(f, binary.BigEndian, uint32(len(b)))
	f.Write(b)
	return f
}

func (f *frames) json(k kind, v any) *frames {
	b, _ := json.Marshal(v)
	return f.add(k, b)
}

func said() *frames { return new(frames).json(kindHello, hello{Version}).json(kindTotal, Total{}) }

// TestHostile: a sender that wants more than its folder gets nothing.
func TestHostile(t *testing.T) {
	t.Parallel()
	sum := make([]byte, 32)
	folder := entry{Folder: true, Mode: 0o755}
	for name, f := range map[string]*frames{
		"climbs":       said().json(kindEntry, entry{Path: "../up", Size: 1}),
		"climbs later": said().json(kindEntry, entry{Path: "a/../../up"}),
		"absolute":     said().json(kindEntry, entry{Path: "/tmp/up"}),
		"dot":          said().json(kindEntry, entry{Path: "."}),
		"not clean":    said().json(kindEntry, entry{Path: "a//b"}),
		"backslash":    said().json(kindEntry, entry{Path: `..\up`}),
		"NUL":          said().json(kindEntry, entry{Path: "a\x00b"}),
		"long":         said().json(kindEntry, entry{Path: strings.Repeat("a/", 3000) + "a"}),
		"set-user-ID":  said().json(kindEntry, entry{Path: "a", Mode: fs.ModeSetuid | 0o755}),
		"negative":     said().json(kindEntry, entry{Path: "a", Size: -1}),
		"link":         said().json(kindEntry, folder).json(kindEntry, entry{Path: "link/up", Size: 1}).add(kindData, []byte("x")).add(kindSum, sum).add(kindEnd, nil),
		"through link": said().json(kindEntry, folder).json(kindEntry, entry{Path: "link", Folder: true, Mode: 0o777}).add(kindEnd, nil),
		"wrong sum":    said().json(kindEntry, folder).json(kindEntry, entry{Path: "up", Size: 1}).add(kindData, []byte("x")).add(kindSum, sum).add(kindEnd, nil),
		"too short":    said().json(kindEntry, folder).json(kindEntry, entry{Path: "up", Size: 2}).add(kindData, []byte("x")).add(kindSum, sum).add(kindEnd, nil),
		"too long":     said().json(kindEntry, folder).json(kindEntry, entry{Path: "up", Size: 1}).add(kindData, []byte("xy")),
		"wrong offset": said().json(kindEntry, folder).json(kindEntry, entry{Path: "up", Size: 2 << 20}).json(kindOffset, offset{7}),
		"data first":   said().add(kindData, []byte("x")),
		"huge frame":   {*bytes.NewBuffer([]byte{'H', 0xff, 0xff, 0xff, 0xff})},
		"no frame":     {*bytes.NewBuffer([]byte("bash: ssm-session-copy: command not found\n"))},
		"ends":         said(),
		"other":        new(frames).json(kindHello, hello{2}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			outside := filepath.Join(dir, "outside")
			write(t, filepath.Join(outside, "x"), nil, 0o600)
			if err := os.MkdirAll(filepath.Join(dir, "in", "d"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(outside, filepath.Join(dir, "in", "d", "link")); err != nil {
				t.Skip("no links here: ", err)
			}
			before := tree(t, outside)
			report, err := Receive(&f.Buffer, io.Discard, filepath.Join(dir, "in"), "d", nil)
			if err == nil && report.Failed == 0 {
				t.Errorf("%+v", report)
			}
			if !maps.Equal(before, tree(t, outside)) {
				t.Error("it got out")
			}
			for _, p := range []string{"up", "in/up", "in/d/up"} {
				if _, err := os.Lstat(filepath.Join(dir, p)); err == nil {
					t.Errorf("%s is there", p)
				}
			}
		})
	}
}

// TestFaults: each end hears why the other one does not go on.
func TestFaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "big"), make([]byte, 4<<20), 0o600)
	o := copied(t, filepath.Join(dir, "big"), filepath.Join(dir, "no", "where"), "", -1)
	if o.err == nil || !errors.Is(o.sendErr, ErrPeer) || !strings.Contains(o.sendErr.Error(), "no") {
		t.Errorf("%+v", o)
	}
	if os.Geteuid() <= 0 {
		return // root may write into every folder, and Windows has other rights
	}
	if err := os.Mkdir(filepath.Join(dir, "closed"), 0o500); err != nil {
		t.Fatal(err)
	}
	o = copied(t, filepath.Join(dir, "big"), filepath.Join(dir, "closed", "f"), "", -1)
	if o.err != nil || o.sent.Failed != 1 {
		t.Errorf("%+v", o)
	}
}

// TestProgress: it grows to what was announced.
func TestProgress(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "src", "a"), make([]byte, 2<<20), 0o600)
	write(t, filepath.Join(dir, "src", "b"), make([]byte, 10), 0o600)
	ar, aw := pipe(t)
	br, bw := pipe(t)
	var last Progress
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = Send(br, aw, filepath.Join(dir, "src"), nil) })
	_, err := Receive(ar, bw, filepath.Join(dir, "dest"), "", func(p Progress) {
		if p.DoneBytes < last.DoneBytes {
			t.Error("it shrinks")
		}
		last = p
	})
	wg.Wait()
	if want := (Total{2, 2<<20 + 10}); err != nil || last.Total != want || last.DoneBytes != want.Bytes || last.DoneFiles != 2 || !strings.HasSuffix(last.Name, "b") {
		t.Errorf("%+v, %v", last, err)
	}
}

// FuzzReceive: whatever comes, nothing gets out of the folder, and the copy
// ends.
func FuzzReceive(f *testing.F) {
	f.Add(said().json(kindEntry, entry{Path: "a", Size: 1}).add(kindData, []byte("x")).add(kindSum, make([]byte, 32)).add(kindEnd, nil).Bytes())
	f.Add(said().json(kindEntry, entry{Path: "../a", Folder: true}).add(kindEnd, nil).Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "in"), 0o700); err != nil {
			t.Fatal(err)
		}
		_, _ = Receive(bytes.NewReader(b), io.Discard, filepath.Join(dir, "in"), "d", nil)
		if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
			t.Fatalf("%v, %v", names, err)
		}
	})
}

// FuzzSend: whatever the receiver says, the copy ends.
func FuzzSend(f *testing.F) {
	f.Add(new(frames).json(kindHello, hello{Version}).json(kindWanted, wanted{Have: 7, Sum: []byte("x")}).json(kindDone, Report{}).Bytes())
	name := filepath.Join(f.TempDir(), "f")
	write(f, name, make([]byte, resumeFrom), 0o600)
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = Send(bytes.NewReader(b), io.Discard, name, nil)
	})
}

// BenchmarkFile copies 64 MiB through pipes.
func BenchmarkFile(b *testing.B) {
	dir := b.TempDir()
	write(b, filepath.Join(dir, "f"), make([]byte, 64<<20), 0o600)
	b.SetBytes(64 << 20)
	n := 0
	for b.Loop() {
		n++
		if o := copied(b, filepath.Join(dir, "f"), filepath.Join(dir, fmt.Sprint("copy", n%2)), "", -1); o.err != nil {
			b.Fatal(o.err)
		}
	}
}
